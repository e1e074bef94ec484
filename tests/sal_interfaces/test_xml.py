# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface keeps the rules of ts_xml, and its enumerations are the package's."""

from __future__ import annotations

import enum
import re
import xml.etree.ElementTree as ET
from importlib import resources

import pytest
from lsst.ts.comcamcalib import enums
from support.interface import TOPIC_TAGS, topics, tree

# Names that no field may have, in any case: words of IDL and of the databases that the topics end in (ts_xml's list).
RESERVED = frozenset(
    [
        "ABSTRACT",
        "ALL",
        "ALTER",
        "ANALYZE",
        "ANY",
        "AS",
        "ASC",
        "ATTRIBUTE",
        "BEGIN",
        "BOOLEAN",
        "BY",
        "CASE",
        "CHAR",
        "COMPONENT",
        "CONST",
        "CONSUMES",
        "CONTEXT",
        "CONTINUOUS",
        "CREATE",
        "CUSTOM",
        "DATABASE",
        "DATABASES",
        "DEC",
        "DEFAULT",
        "DELETE",
        "DESC",
        "DESTINATIONS",
        "DIAGNOSTICS",
        "DISTINCT",
        "DOUBLE",
        "DROP",
        "DURATION",
        "EMITS",
        "END",
        "ENUM",
        "EVENTTYPE",
        "EVERY",
        "EXCEPTION",
        "EXIT",
        "EXPLAIN",
        "FACTORY",
        "FALSE",
        "FIELD",
        "FINDER",
        "FIXED",
        "FLOAT",
        "FOR",
        "FROM",
        "GETRAISES",
        "GRANT",
        "GRANTS",
        "GROUP",
        "GROUPS",
        "HOME",
        "IMPORT",
        "IN",
        "INF",
        "INOUT",
        "INSERT",
        "INTERFACE",
        "INTO",
        "KEY",
        "KEYS",
        "KILL",
        "LIMIT",
        "LOCAL",
        "LONG",
        "MEASUREMENT",
        "MEASUREMENTS",
        "MODULE",
        "MULTIPLE",
        "NAME",
        "NATIVE",
        "OBJECT",
        "OCTET",
        "OFFSET",
        "ON",
        "ONEWAY",
        "ORDER",
        "OUT",
        "PASSWORD",
        "POLICIES",
        "POLICY",
        "PRIMARYKEY",
        "PRIVATE",
        "PRIVILEGES",
        "PROVIDES",
        "PUBLIC",
        "PUBLISHES",
        "QUERIES",
        "QUERY",
        "RAISES",
        "READ",
        "READONLY",
        "REPLICATION",
        "RESAMPLE",
        "RETENTION",
        "REVOKE",
        "SALINDEX",
        "SELECT",
        "SEQUENCE",
        "SERIES",
        "SET",
        "SETRAISES",
        "SHARD",
        "SHARDS",
        "SHORT",
        "SHOW",
        "SLIMIT",
        "SOFFSET",
        "STATS",
        "STRING",
        "STRUCT",
        "SUBSCRIPTION",
        "SUBSCRIPTIONS",
        "SUPPORTS",
        "SWITCH",
        "TAG",
        "TIME",
        "TO",
        "TRUE",
        "TRUNCATABLE",
        "TYPEDEF",
        "TYPEID",
        "TYPEPREFIX",
        "UNION",
        "UNSIGNED",
        "USER",
        "USERS",
        "USES",
        "VALUEBASE",
        "VALUES",
        "VALUETYPE",
        "VOID",
        "WCHAR",
        "WHERE",
        "WITH",
        "WRITE",
        "WSTRING",
    ]
)
UNITS = {"unitless", "second", "electron", "electron/adu", "electron/second"}
IDL_TYPES = {"string", "int", "long long", "boolean", "double"}
FIELDS = [
    pytest.param(kind, name, item, id=f"{topic}.{name}")
    for kind in TOPIC_TAGS
    for topic, fields in topics(kind).items()
    for name, item in fields.items()
]
ENUMS = [
    one
    for one in vars(enums).values()
    if isinstance(one, type) and issubclass(one, enum.IntEnum) and one not in (enum.IntEnum, enums.ErrorCode)
]


@pytest.mark.parametrize(("kind", "name", "item"), FIELDS)
def test_field_keeps_the_rules(kind: str, name: str, item: ET.Element) -> None:
    assert re.fullmatch(r"[a-z][A-Za-z0-9]{0,62}", name)
    assert name.upper() not in RESERVED
    idl_type, units, count = item.findtext("IDL_Type"), item.findtext("Units"), item.findtext("Count", "")
    assert idl_type in IDL_TYPES
    assert units in UNITS
    assert int(count) in ((1, 16) if idl_type == "double" else (1,))
    assert (item.findtext("Description") or "").strip().endswith(".")
    if idl_type in ("string", "boolean", "int", "long long"):
        assert units == "unitless"
    if name.startswith("timestamp"):
        assert (idl_type, units) == ("double", "second")
    if units == "second":
        assert idl_type == "double"


@pytest.mark.parametrize("kind", TOPIC_TAGS)
def test_topics_are_named_and_described(kind: str) -> None:
    for topic in tree(kind).findall(TOPIC_TAGS[kind]):
        assert topic.findtext("Subsystem") == "ComCamCalib"
        assert (topic.findtext("Description") or "").strip().endswith(".")
    for name in topics(kind):
        assert re.fullmatch(r"[a-z][A-Za-z0-9]{0,62}", name)


def test_commands_are_those_of_the_contract() -> None:
    """Generic commands, such as abort, are added by name and not defined."""
    assert {name: list(fields) for name, fields in topics("Commands").items()} == {
        "startCalibrationRun": ["config", "reason", "program", "note"],
        "status": ["runId"],
        "resumeCalibrationRun": ["runId", "reason"],
        "acceptVerification": ["runId", "calibType", "physicalFilter", "attempt", "reason"],
        "decertify": ["runId", "calibType", "reason"],
    }


def test_every_enumeration_is_declared_with_the_same_numbers() -> None:
    declared = {}
    for text in (element.text or "" for element in tree("Events").findall("Enumeration")):
        words = [word.strip().split("_", 1) for word in text.split(",")]
        ((name),) = {word[0] for word in words}
        declared[name] = {member: number for number, (_, member) in enumerate(words, start=1)}
    assert declared == {one.__name__: {member.name: member.value for member in one} for one in ENUMS}
    assert len(ENUMS) == 6


def test_field_that_holds_an_enumeration_says_which() -> None:
    names = {one.__name__ for one in ENUMS}
    for kind in TOPIC_TAGS:
        for fields in topics(kind).values():
            for name in ("state", "calibType", "stageKind", "verdict", "imageType"):
                if name in fields:
                    description = fields[name].findtext("Description", "")
                    assert any(enumeration in description for enumeration in names), description


def test_entry_of_the_component_names_its_generic_topics() -> None:
    text = (resources.files("lsst.ts.comcamcalib.sal_interfaces") / "ComCamCalib" / "SALSubsystem.xml").read_text()
    entry = ET.fromstring(text)
    assert entry.findtext("Name") == "ComCamCalib"
    assert entry.findtext("IndexEnumeration") == "no"
    assert (entry.findtext("AddedGenerics") or "").split(", ") == [
        "csc",
        "configurable",
        "command_abort",
        "logevent_largeFileObjectAvailable",
    ]
