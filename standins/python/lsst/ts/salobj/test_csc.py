# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC for tests of SAL itself: component Test."""

from __future__ import annotations

import asyncio
import random
import string
import types
from typing import Any

from lsst.ts.xml.sal_enums import State

from . import __version__
from .configurable_csc import ConfigurableCsc
from .type_hints import PathType

__all__ = ["TestCsc"]

CONFIG_SCHEMA: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "$id": "https://github.com/lsst-ts/ts_salobj/TestCsc.yaml",
    "title": "Test v2",
    "description": "Configuration of TestCsc: one value of each type",
    "type": "object",
    "properties": {
        "string0": {"type": "string"},
        "bool0": {"type": "boolean"},
        "int0": {"type": "integer"},
        "float0": {"type": "number"},
        "intarr0": {"type": "array", "items": {"type": "integer"}},
        "multi_type": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}, {"type": "null"}]},
    },
    "required": ["string0", "bool0", "int0", "float0", "intarr0", "multi_type"],
    "additionalProperties": False,
}

# Ranges of integers by the field's SAL type.
_INTEGER_BITS = {"byte": 7, "short": 15, "int": 31, "long": 31, "long long": 63}
_UNSIGNED_BITS = {"unsigned short": 16, "unsigned int": 32}
MAX_STRING_LENGTH = 20


class TestCsc(ConfigurableCsc):
    """CSC of component Test: it publishes what its commands set, waits, and fails on command.

    Parameters
    ----------
    index : `int`
        SAL index.
    config_dir, check_if_duplicate, initial_state, override, simulation_mode
        As for `ConfigurableCsc`.

    Attributes
    ----------
    config : `types.SimpleNamespace` or `None`
        The configuration.
    """

    __test__ = False  # its name makes pytest think that it holds tests
    enable_cmdline_state = True
    valid_simulation_modes = (0,)
    version = __version__

    def __init__(
        self,
        index: int,
        config_dir: PathType | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | None = None,
        override: str = "",
        simulation_mode: int = 0,
    ) -> None:
        self.config: types.SimpleNamespace | None = None
        super().__init__(
            name="Test",
            index=index,
            config_schema=CONFIG_SCHEMA,
            config_dir=config_dir,
            check_if_duplicate=check_if_duplicate,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
        )
        self.cmd_wait.allow_multiple_callbacks = True  # type: ignore[attr-defined]

    @staticmethod
    def get_config_pkg() -> str:
        """Return the name of the configuration package."""
        return "ts_config_ocs"

    async def configure(self, config: types.SimpleNamespace) -> None:
        """Keep the configuration."""
        self.config = config

    async def do_setArrays(self, data: Any) -> None:
        """Publish the arrays of the command ``data`` as event and telemetry."""
        self.assert_enabled("setArrays")
        await self._publish("arrays", data)

    async def do_setScalars(self, data: Any) -> None:
        """Publish the scalars of the command ``data`` as event and telemetry."""
        self.assert_enabled("setScalars")
        await self._publish("scalars", data)

    async def do_fault(self, data: Any) -> None:
        """Go to state FAULT."""
        self.log.warning("Going to FAULT as commanded")
        await self.fault(code=1, report="executing the fault command")

    async def do_wait(self, data: Any) -> None:
        """Wait for the command's duration (seconds); a negative one is waited for without an acknowledgement of it.

        The command's ``ack`` is not used.
        """
        self.assert_enabled("wait")
        if data.duration >= 0:
            await self.cmd_wait.ack_in_progress(data, timeout=data.duration)  # type: ignore[attr-defined]
        await asyncio.sleep(abs(data.duration))

    async def _publish(self, name: str, data: Any) -> None:
        values = self.as_dict(data, self._own_fields(name))
        await getattr(self, f"evt_{name}").set_write(**values)
        await getattr(self, f"tel_{name}").set_write(**values)

    def _own_fields(self, name: str) -> list[str]:
        fields = self.salinfo.component_info.topics[f"evt_{name}"].fields
        return [field for field in fields if field != "salIndex" and not field.startswith("private_")]

    @property
    def arrays_fields(self) -> list[str]:
        """Names of the array fields."""
        return self._own_fields("arrays")

    @property
    def scalars_fields(self) -> list[str]:
        """Names of the scalar fields."""
        return self._own_fields("scalars")

    def as_dict(self, data: Any, fields: list[str]) -> dict[str, Any]:
        """Return fields of a message as a dictionary."""
        return {name: getattr(data, name) for name in fields}

    def make_random_arrays_dict(self) -> dict[str, Any]:
        """Return random values of the array fields."""
        return self._make_random("arrays")

    def make_random_scalars_dict(self) -> dict[str, Any]:
        """Return random values of the scalar fields."""
        return self._make_random("scalars")

    def _make_random(self, name: str) -> dict[str, Any]:
        infos = self.salinfo.component_info.topics[f"evt_{name}"].fields
        return {
            field: [_random_value(infos[field].sal_type) for _ in range(infos[field].count)]
            if infos[field].is_array
            else _random_value(infos[field].sal_type)
            for field in self._own_fields(name)
        }

    def assert_arrays_equal(self, arrays1: Any, arrays2: Any) -> None:
        """Assert that two messages, or dictionaries, have the same array fields."""
        self._assert_equal("arrays", arrays1, arrays2)

    def assert_scalars_equal(self, scalars1: Any, scalars2: Any) -> None:
        """Assert that two messages, or dictionaries, have the same scalar fields."""
        self._assert_equal("scalars", scalars1, scalars2)

    def _assert_equal(self, name: str, one: Any, other: Any) -> None:
        for field in self._own_fields(name):
            value1, value2 = (item[field] if isinstance(item, dict) else getattr(item, field) for item in (one, other))
            # As text, because NaN is to be equal to NaN here.
            assert repr(value1) == repr(value2) or value1 == value2, f"{field}: {value1!r} != {value2!r}"


def _random_value(sal_type: str) -> Any:
    """Return a random value; floats are such that 4 bytes hold them exactly."""
    if sal_type == "boolean":
        return random.random() < 0.5
    if sal_type == "string":
        return "".join(random.choices(string.ascii_letters + string.digits, k=random.randint(1, MAX_STRING_LENGTH)))
    if sal_type in ("float", "double"):
        return random.randint(-(1 << 20), 1 << 20) / 64
    if sal_type in _UNSIGNED_BITS:
        # SAL's unsigned short and unsigned int are Avro's int and long, so all of their values fit.
        return random.randint(0, (1 << _UNSIGNED_BITS[sal_type]) - 1)
    limit = 1 << _INTEGER_BITS[sal_type]
    return random.randint(-limit, limit - 1)
