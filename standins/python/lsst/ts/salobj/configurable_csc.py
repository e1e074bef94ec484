# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC that is configured by the command start."""

from __future__ import annotations

import abc
import argparse
import asyncio
import os
import pathlib
import re
import types
from collections.abc import Iterable
from typing import Any

from lsst.ts.xml.sal_enums import State
from lsst.ts.xml.type_hints import PathType

from .base import ExpectedError
from .base_csc import BaseCsc
from .config_files import describe_git_version, list_overrides, merge_config_files
from .validator import StandardValidator

__all__ = ["ConfigurableCsc"]

CONFIG_POLL_INTERVAL = 1.0
"""Time between looks at the configuration directory in state STANDBY (seconds)."""


class ConfigurableCsc(BaseCsc, abc.ABC):
    """A CSC with configuration files.

    Parameters
    ----------
    name, index, check_if_duplicate, initial_state, override, simulation_mode
        As for `BaseCsc`.
    config_schema : `dict`
        JSON schema of the configuration, draft 7. Its title ends with " v" and a number.
    config_dir : path or `None`
        Where the files are; `None`: ``$<PKG>_DIR/<name>/v<n>``, with the package of `get_config_pkg`.
    allow_missing_callbacks, extra_commands, discard_out_of_order_telemetry, discard_out_of_order_events
        As for `Controller`.

    Attributes
    ----------
    config_dir : `pathlib.Path`
        Where the files are.
    config_validator : `jsonschema.Draft7Validator`
        Validator of the schema.
    schema_version : `str`
        "v" and the number.
    site : `str`
        Environment variable LSST_SITE.

    Raises
    ------
    ValueError
        If the title has no version, or the directory does not exist; and as for `BaseCsc`.
    RuntimeError
        If LSST_SITE, or the variable that is needed for the directory, is not set.
    """

    def __init__(
        self,
        name: str,
        index: int | None,
        config_schema: dict[str, Any],
        config_dir: PathType | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | None = None,
        override: str = "",
        simulation_mode: int = 0,
        allow_missing_callbacks: bool = False,
        extra_commands: Iterable[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        self.site = os.environ.get("LSST_SITE", "")
        if not self.site:
            raise RuntimeError("Environment variable LSST_SITE must be set: the site whose configuration is read")
        StandardValidator.check_schema(config_schema)
        self.config_validator = StandardValidator(schema=config_schema)
        self.schema_version = _schema_version(config_schema)
        if config_dir is None:
            config_dir = _standard_config_dir(self.get_config_pkg(), name, self.schema_version)
        self.config_dir = pathlib.Path(os.fsdecode(config_dir))
        self._config_poll_task: asyncio.Task[None] | None = None
        super().__init__(
            name,
            index,
            check_if_duplicate=check_if_duplicate,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
            allow_missing_callbacks=allow_missing_callbacks,
            extra_commands=extra_commands,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )

    @property
    def config_dir(self) -> pathlib.Path:
        """Where the configuration files are; an absolute path."""
        return self._config_dir

    @config_dir.setter
    def config_dir(self, config_dir: PathType) -> None:
        path = pathlib.Path(os.fsdecode(config_dir)).resolve()
        if not path.is_dir():
            raise ValueError(f"config_dir={path} does not exist or is no directory")
        self._config_dir = path

    @staticmethod
    @abc.abstractmethod
    def get_config_pkg() -> str:
        """Return the name of the configuration package, such as ts_config_ocs."""

    @abc.abstractmethod
    async def configure(self, config: types.SimpleNamespace) -> None:
        """Take over a configuration, during the command start.

        Parameters
        ----------
        config : `types.SimpleNamespace`
            The configuration; what is nested in it are dictionaries.
        """

    @classmethod
    def read_config_files(
        cls,
        config_validator: StandardValidator,
        config_dir: pathlib.Path,
        files_to_read: list[str],
        git_hash: str = "",
    ) -> types.SimpleNamespace:
        """Read configuration files, each of which overrides those before it, and validate the result.

        Parameters
        ----------
        config_validator : `jsonschema.Draft7Validator`
            Validator.
        config_dir : `pathlib.Path`
            Where they are.
        files_to_read : `list` [`str`]
            Their names.
        git_hash : `str`
            Git reference from which to read them; "": as they are in the directory.

        Raises
        ------
        ExpectedError
            If a file can't be read or is no mapping, or the result does not fit the schema.
        """
        return merge_config_files(config_validator, config_dir, files_to_read, git_hash)

    async def begin_start(self, data: Any) -> None:
        """Read the configuration. A subclass that overrides it calls ``await super().begin_start(data)``."""
        await super().begin_start(data)
        override, _, git_hash = data.configurationOverride.partition(":")
        if override.startswith("_"):
            raise ExpectedError(f"configurationOverride={override!r} must not start with '_'")
        files = ["_init.yaml"]
        loop = asyncio.get_running_loop()
        site_file = f"_{self.site}.yaml"
        if (self.config_dir / site_file).exists():
            files.append(site_file)
        if override:
            files.append(override)
        try:
            config = await loop.run_in_executor(
                None, self.read_config_files, self.config_validator, self.config_dir, files, git_hash
            )
            await self.configure(config)
        except ExpectedError:
            raise
        except Exception as error:
            self.log.exception("The configuration could not be used")
            raise ExpectedError(f"The configuration could not be used: {error}") from error
        await self.evt_configurationApplied.set_write(  # type: ignore[attr-defined]
            configurations=",".join(files),
            version=git_hash or await describe_git_version(self.config_dir),
            url=self.config_dir.as_uri(),
            schemaVersion=self.schema_version,
            force_output=True,
        )

    async def close_tasks(self) -> None:
        """End background tasks. A subclass that overrides it calls ``await super().close_tasks()``."""
        await super().close_tasks()
        await self._stop_config_poll()

    async def _report_summary_state(self) -> None:
        """Tell the state; in STANDBY, watch the configuration directory."""
        await super()._report_summary_state()
        if self.summary_state != State.STANDBY:
            await self._stop_config_poll()
        elif self._config_poll_task is None or self._config_poll_task.done():
            self._config_poll_task = asyncio.create_task(self._config_poll_loop(), name=f"{self} configurations")

    async def _stop_config_poll(self) -> None:
        task, self._config_poll_task = self._config_poll_task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _config_poll_loop(self) -> None:
        """Tell which configurations there are, whenever that changes."""
        while True:
            try:
                await self.evt_configurationsAvailable.set_write(  # type: ignore[attr-defined]
                    overrides=",".join(list_overrides(self.config_dir)),
                    version=await describe_git_version(self.config_dir),
                    url=self.config_dir.as_uri(),
                    schemaVersion=self.schema_version,
                )
            except Exception:
                self.log.exception(f"The configurations in {self.config_dir} could not be listed")
            await asyncio.sleep(CONFIG_POLL_INTERVAL)

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add --configdir and, if the state can be given, --override. A subclass calls ``super().add_arguments``."""
        super().add_arguments(parser)
        parser.add_argument("--configdir", help="directory of the configuration files")
        if cls.enable_cmdline_state:
            parser.add_argument(
                "--override", default="", help="configuration override, for --state disabled or enabled"
            )

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Add config_dir and override. A subclass calls ``super().add_kwargs_from_args``."""
        super().add_kwargs_from_args(args, kwargs)
        kwargs["config_dir"] = args.configdir
        if cls.enable_cmdline_state:
            kwargs["override"] = args.override


def _schema_version(schema: dict[str, Any]) -> str:
    """Return the version at the end of the schema's title."""
    title = schema.get("title", "")
    match = re.search(r" (v\d+)$", title)
    if match is None:
        raise ValueError(f"The title of the configuration schema must end with ' v' and a number: {title!r}")
    return match[1]


def _standard_config_dir(package: str, name: str, schema_version: str) -> pathlib.Path:
    variable = f"{package.upper()}_DIR"
    root = os.environ.get(variable)
    if not root:
        raise RuntimeError(f"Environment variable {variable} must be set: the checkout of {package}")
    return pathlib.Path(root) / name / schema_version
