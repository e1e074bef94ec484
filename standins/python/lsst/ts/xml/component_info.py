# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""All topics of a component, read from its XML."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ElementTree
from typing import NamedTuple

from .field_info import FieldInfo
from .sal_interfaces import get_sal_interfaces_dir, read_subsystems, text_of
from .topic_info import TopicInfo

__all__ = ["ComponentInfo"]

_GENERICS = "SALGenerics"
_FILE_KINDS = ("Commands", "Events", "Telemetry")
_TOPIC_TAGS = ("SALCommand", "SALEvent", "SALTelemetry")

_ACK_FIELDS = (
    FieldInfo("ack", "long", description="Acknowledgement code, one of SalRetCode"),
    FieldInfo("error", "long", description="Error code, 0 for none"),
    FieldInfo("result", "string", description="Explanation"),
    FieldInfo("identity", "string", description="private_identity of the command"),
    FieldInfo("origin", "long", description="private_origin of the command"),
    FieldInfo("cmdtype", "long", description="Position of the command among the component's sorted topic names"),
    FieldInfo("timeout", "double", units="second", description="Estimated duration, for CMD_INPROGRESS"),
)


class _Topic(NamedTuple):
    """What the XML says of a topic."""

    sal_name: str
    description: str
    fields: list[FieldInfo]
    category: str = ""  # of a generic topic


class _Definition(NamedTuple):
    """What the XML files of a component say, and which topics exist in SAL but are not in these files."""

    topics: list[_Topic]
    omitted: list[str]


class ComponentInfo:
    """Topics and other properties of a SAL component.

    Parameters
    ----------
    name : `str`
        Name of the component, as in SALSubsystems.xml.
    topic_subname : `str`
        Second part of the names of its Kafka topics.

    Attributes
    ----------
    topics : `dict` [`str`, `TopicInfo`]
        The topics by attribute name, sorted.
    sal_topic_names : `list` [`str`]
        SAL names of all topics, sorted, with those that the real interface has and these files leave out: a command's
        number in acknowledgements (cmdtype) is its position in this list.

    Raises
    ------
    ValueError
        If SALSubsystems.xml has no such component, or an added generic topic doesn't exist.
    """

    def __init__(self, name: str, topic_subname: str) -> None:
        subsystem = read_subsystems().get(name)
        if subsystem is None:
            raise ValueError(f"There is no SAL component {name!r} in {get_sal_interfaces_dir() / 'SALSubsystems.xml'}")
        self.name = name
        self.topic_subname = topic_subname
        self.description = subsystem.description
        self.indexed = subsystem.indexed
        self.added_generics = list(subsystem.added_generics)
        own = _read_definition(name)
        found = [_Topic("ackcmd", "Command acknowledgement", list(_ACK_FIELDS))]
        found += _select_generics(name, self.added_generics) + own.topics
        infos = [
            TopicInfo(name, topic_subname, topic.sal_name, topic.fields, self.indexed, topic.description)
            for topic in found
        ]
        self.topics: dict[str, TopicInfo] = {info.attr_name: info for info in sorted(infos, key=lambda i: i.attr_name)}
        self.sal_topic_names = sorted([info.sal_name for info in self.topics.values()] + own.omitted)

    def __repr__(self) -> str:
        return f"ComponentInfo(name={self.name!r}, topic_subname={self.topic_subname!r})"


def _select_generics(component_name: str, added: list[str]) -> list[_Topic]:
    """Return the generic topics that a component has."""
    generics = _read_definition(_GENERICS).topics
    unknown = [item for item in added if not any(item in (topic.category, topic.sal_name) for topic in generics)]
    if unknown:
        raise ValueError(f"AddedGenerics of component {component_name} names unknown generic topics: {unknown}")
    return [topic for topic in generics if topic.category in added or topic.sal_name in added]


def _read_definition(name: str) -> _Definition:
    """Read the XML files of a component, or of the generic topics, unless they were read and have not changed."""
    root = get_sal_interfaces_dir()
    if name == _GENERICS:
        paths = [root / f"{_GENERICS}.xml"]
    else:
        paths = [root / name / f"{name}_{kind}.xml" for kind in _FILE_KINDS]
    stamps = [(str(path), path.stat().st_mtime_ns) for path in paths if path.exists()]
    return _parse_files(name, tuple(stamps))


@functools.lru_cache(maxsize=64)
def _parse_files(name: str, stamps: tuple[tuple[str, int], ...]) -> _Definition:
    prefix = "SALGeneric" if name == _GENERICS else name
    topics: list[_Topic] = []
    omitted: list[str] = []
    for path, _ in stamps:
        tree = ElementTree.parse(path).getroot()
        topics += [_parse_topic(prefix, element) for tag in _TOPIC_TAGS for element in tree.iter(tag)]
        omitted += text_of(tree, "OmittedTopics").split()
    return _Definition(topics, omitted)


def _parse_topic(prefix: str, element: ElementTree.Element) -> _Topic:
    sal_name = text_of(element, "EFDB_Topic").removeprefix(f"{prefix}_")
    fields = [_parse_field(item) for item in element.iter("item")]
    return _Topic(sal_name, text_of(element, "Description"), fields, text_of(element, "Category"))


def _parse_field(item: ElementTree.Element) -> FieldInfo:
    return FieldInfo(
        name=text_of(item, "EFDB_Name"),
        sal_type=" ".join(text_of(item, "IDL_Type").split()),
        count=int(text_of(item, "Count", default="1")),
        units=text_of(item, "Units", default="unitless"),
        description=text_of(item, "Description"),
    )
