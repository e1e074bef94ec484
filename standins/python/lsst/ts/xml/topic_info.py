# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One topic of a component: its names, its Avro schema, its message class."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import warnings
from typing import Any

from .field_info import PRIVATE_FIELDS, SAL_INDEX_FIELD, FieldInfo
from .type_hints import BaseMsgType

__all__ = ["TopicInfo", "attr_name_of"]

# What the SAL name of a topic begins with, and what the attribute name begins with then.
_PREFIXES = (("command_", "cmd_"), ("logevent_", "evt_"))


def attr_name_of(sal_name: str) -> str:
    """Return the name of a topic as an attribute of a Remote or Controller, such as evt_summaryState."""
    if sal_name == "ackcmd":
        return "ack_ackcmd"
    for sal_prefix, attr_prefix in _PREFIXES:
        if sal_name.startswith(sal_prefix):
            return attr_prefix + sal_name.removeprefix(sal_prefix)
    return "tel_" + sal_name


class TopicInfo:
    """Everything about a topic that its component's XML says.

    Parameters
    ----------
    component_name : `str`
        Name of the SAL component.
    topic_subname : `str`
        Second part of the Kafka topic's name: "sal" at the observatory.
    sal_name : `str`
        SAL's name of the topic, such as logevent_summaryState.
    fields : `list` [`FieldInfo`]
        The topic's own fields, without the private ones.
    indexed : `bool`
        Is the component indexed?
    description : `str`
        As in the XML.
    partitions : `int`
        Number of partitions of the Kafka topic.
    """

    def __init__(
        self,
        component_name: str,
        topic_subname: str,
        sal_name: str,
        fields: list[FieldInfo],
        indexed: bool,
        description: str = "",
        partitions: int = 1,
    ) -> None:
        self.component_name = component_name
        self.topic_subname = topic_subname
        self.sal_name = sal_name
        self.indexed = indexed
        self.description = description
        self.partitions = partitions
        index_field = [SAL_INDEX_FIELD] if indexed else []
        self.fields: dict[str, FieldInfo] = {field.name: field for field in (*index_field, *PRIVATE_FIELDS, *fields)}

    def __repr__(self) -> str:
        return f"TopicInfo({self.kafka_name})"

    @property
    def attr_name(self) -> str:
        """Name as an attribute of a Remote or Controller."""
        return attr_name_of(self.sal_name)

    @property
    def kafka_name(self) -> str:
        """Name of the Kafka topic."""
        return f"lsst.{self.topic_subname}.{self.component_name}.{self.sal_name}"

    @property
    def avro_subject(self) -> str:
        """Subject of the schema registry."""
        return f"{self.kafka_name}-value"

    @property
    def array_fields(self) -> dict[str, int]:
        """Length of each field that is an array."""
        return {name: field.count for name, field in self.fields.items() if field.is_array}

    def make_avro_schema(self) -> dict[str, Any]:
        """Return the Avro schema. Its namespace doesn't depend on the subname."""
        return {
            "type": "record",
            "name": self.sal_name,
            "namespace": f"lsst.sal.{self.component_name}",
            "fields": [field.make_avro_schema() for field in self.fields.values()],
            "description": self.description,
        }

    @functools.cached_property
    def rev_code(self) -> str:
        """First 8 hexadecimal digits of the MD5 of the schema: the value of private_revCode."""
        return hashlib.md5(json.dumps(self.make_avro_schema(), indent=4).encode()).hexdigest()[:8]

    def get_revcode(self) -> str:
        """Return the value of private_revCode."""
        return self.rev_code

    def make_dataclass(self) -> type[BaseMsgType]:
        """Return the class of the topic's messages; the same one for every subname."""
        return _make_dataclass(self.component_name, self.sal_name, tuple(self.fields.values()))


@functools.cache
def _make_dataclass(component_name: str, sal_name: str, fields: tuple[FieldInfo, ...]) -> type[BaseMsgType]:
    lengths = {field.name: field.count for field in fields if field.is_array}

    def warn_of_wrong_lengths(self: BaseMsgType) -> None:
        for name, length in lengths.items():
            actual = len(getattr(self, name))
            if actual != length:
                warnings.warn(
                    f"{component_name} {sal_name}: array {name} has {actual} elements instead of {length}", stacklevel=3
                )

    declarations: list[Any] = []
    for field in fields:
        if field.is_array:
            declarations.append((field.name, list, dataclasses.field(default_factory=field.make_default)))
        else:
            declarations.append((field.name, field.python_type, field.default_scalar_value))
    message_class = dataclasses.make_dataclass(
        f"{component_name}_{sal_name}",
        declarations,
        namespace={"__post_init__": warn_of_wrong_lengths} if lengths else None,
    )
    message_class.__module__ = __name__
    return message_class
