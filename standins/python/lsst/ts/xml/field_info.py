# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One field of a topic."""

from __future__ import annotations

import dataclasses
from typing import Any

__all__ = ["PRIVATE_FIELDS", "SAL_INDEX_FIELD", "FieldInfo"]

# SAL's types, with the Avro type and the default value of each. SAL's "long" has 4 bytes.
_AVRO_TYPES: dict[str, tuple[str, Any]] = {
    "boolean": ("boolean", False),
    "byte": ("int", 0),
    "short": ("int", 0),
    "int": ("int", 0),
    "long": ("int", 0),
    "unsigned short": ("int", 0),
    "long long": ("long", 0),
    "unsigned int": ("long", 0),
    "float": ("float", 0.0),
    "double": ("double", 0.0),
    "string": ("string", ""),
}
_PYTHON_TYPES: dict[str, type] = {
    "boolean": bool,
    "int": int,
    "long": int,
    "float": float,
    "double": float,
    "string": str,
}


@dataclasses.dataclass(frozen=True)
class FieldInfo:
    """Name, type, length, units and description of a field.

    Parameters
    ----------
    name : `str`
        Name of the field.
    sal_type : `str`
        Type in SAL's words, such as "long long".
    count : `int`
        Number of elements; more than 1 makes the field an array, unless it is a string.
    units, description : `str`
        As in the XML.

    Raises
    ------
    ValueError
        If SAL has no such type.
    """

    name: str
    sal_type: str
    count: int = 1
    units: str = "unitless"
    description: str = ""

    def __post_init__(self) -> None:
        if self.sal_type not in _AVRO_TYPES:
            raise ValueError(f"Field {self.name}: SAL has no type {self.sal_type!r}; known are {sorted(_AVRO_TYPES)}")
        if self.sal_type == "string" and self.count != 1:
            object.__setattr__(self, "count", 1)

    @property
    def is_array(self) -> bool:
        """Is the field an array?"""
        return self.count > 1

    @property
    def scalar_avro_type(self) -> str:
        """Avro type of the field or, for an array, of an element."""
        return _AVRO_TYPES[self.sal_type][0]

    @property
    def default_scalar_value(self) -> Any:
        """Default of the field or, for an array, of an element."""
        return _AVRO_TYPES[self.sal_type][1]

    @property
    def python_type(self) -> type:
        """Python type of the field or, for an array, of an element."""
        return _PYTHON_TYPES[self.scalar_avro_type]

    def make_default(self) -> Any:
        """Return a new default value: a scalar, or a list of ``count`` elements."""
        return [self.default_scalar_value] * self.count if self.is_array else self.default_scalar_value

    def make_avro_schema(self) -> dict[str, Any]:
        """Return the field's part of the Avro schema."""
        avro_type: Any = self.scalar_avro_type
        return {
            "name": self.name,
            "type": {"type": "array", "items": avro_type} if self.is_array else avro_type,
            "default": self.make_default(),
            "description": self.description,
            "units": self.units,
        }


SAL_INDEX_FIELD = FieldInfo("salIndex", "long", description="SAL index of the sender")
"""First field of every topic of an indexed component."""

PRIVATE_FIELDS = (
    FieldInfo("private_sndStamp", "double", units="second", description="Time of sending (TAI unix seconds)"),
    FieldInfo("private_rcvStamp", "double", units="second", description="Time of receiving (TAI unix seconds)"),
    FieldInfo("private_efdStamp", "double", units="second", description="Time of sending (UTC unix seconds)"),
    FieldInfo("private_kafkaStamp", "double", units="second", description="Time of sending (TAI unix seconds)"),
    FieldInfo("private_seqNum", "long", description="Sequence number"),
    FieldInfo("private_revCode", "string", description="Hash of the topic's schema"),
    FieldInfo("private_identity", "string", description="Who sent it: user@host or a CSC's name[:index]"),
    FieldInfo("private_origin", "long", description="Process id of the sender"),
)
"""Fields that every topic has, in their order."""
