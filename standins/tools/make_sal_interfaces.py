# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Write the SAL interface XML of the stand-ins from a JSON file that lists every topic's Avro fields.

Usage: make_sal_interfaces.py golden_avro.json [--interfaces DIR] [--test-data FILE]

It was used once; the XML files are what counts from then on. The descriptions are our own.
"""

from __future__ import annotations

import argparse
import json
import pathlib
from typing import Any
from xml.sax.saxutils import escape

COMPONENTS = ("CCCamera", "CCHeaderService", "CCOODS", "OCPS", "Test")
NUM_PRIVATE_FIELDS = 8
HEADER = '<?xml version="1.0" encoding="UTF-8"?>\n'
SUBSYSTEMS = {
    "CCCamera": "The commissioning camera",
    "CCHeaderService": "Writer of the FITS headers of the commissioning camera",
    "CCOODS": "The observatory operations data service of the commissioning camera",
    "OCPS": "The OCS-controlled pipeline system",
    "Test": "Component for tests of SAL itself",
}
GENERIC_CATEGORIES = {
    "mandatory": ["logevent_heartbeat", "logevent_logLevel", "logevent_logMessage", "logevent_softwareVersions"],
    "csc": [
        *("command_disable", "command_enable", "command_exitControl", "command_setLogLevel", "command_standby"),
        *("command_start", "logevent_errorCode", "logevent_simulationMode", "logevent_summaryState"),
    ],
    "configurable": ["logevent_configurationApplied", "logevent_configurationsAvailable"],
}
OTHER_GENERICS = ["command_enterControl", "logevent_largeFileObjectAvailable"]
# Generic topics that no component of the JSON file has; fields as in the facts, abort has none.
GENERICS_WITHOUT_SOURCE: dict[str, list[list[Any]]] = {"command_abort": []}
GENERIC_DESCRIPTIONS = {
    "command_abort": "Stop what is being done",
    "command_disable": "Go from ENABLED to DISABLED",
    "command_enable": "Go from DISABLED to ENABLED",
    "command_enterControl": "Go from OFFLINE to STANDBY",
    "command_exitControl": "Go from STANDBY to OFFLINE and end",
    "command_setLogLevel": "Set the level from which messages are logged",
    "command_standby": "Go from DISABLED or FAULT to STANDBY",
    "command_start": "Read the configuration and go from STANDBY to DISABLED",
    "logevent_configurationApplied": "The configuration in use",
    "logevent_configurationsAvailable": "The configurations that the start command can name",
    "logevent_errorCode": "Why the CSC is in state FAULT",
    "logevent_heartbeat": "Sign of life, once a second",
    "logevent_largeFileObjectAvailable": "A file can be fetched",
    "logevent_logLevel": "The level from which messages are logged",
    "logevent_logMessage": "A log message",
    "logevent_simulationMode": "What is simulated, 0 for nothing",
    "logevent_softwareVersions": "Versions of the software in use",
    "logevent_summaryState": "The summary state",
}
SAL_TYPES_OF_TEST = {
    **{"byte0": "byte", "short0": "short", "long0": "long"},
    **{"unsignedShort0": "unsigned short", "unsignedInt0": "unsigned int"},
}
SET_TAGS = {
    "Commands": ("SALCommandSet", "SALCommand", "cmd_"),
    "Events": ("SALEventSet", "SALEvent", "evt_"),
    "Telemetry": ("SALTelemetrySet", "SALTelemetry", "tel_"),
}


def write_item(component: str, row: list[Any]) -> str:
    """Return the XML of a field, given as name, Avro type, default, units."""
    name, avro_type, default, units = row
    scalar = avro_type if isinstance(avro_type, str) else avro_type["items"]
    sal_type = "long long" if scalar == "long" else scalar
    if component == "Test":
        sal_type = SAL_TYPES_OF_TEST.get(name, sal_type)
    count = len(default) if isinstance(default, list) else 1
    parts = [f"<EFDB_Name>{name}</EFDB_Name>", f"<IDL_Type>{sal_type}</IDL_Type>", f"<Units>{escape(units)}</Units>"]
    if count > 1:
        parts.append(f"<Count>{count}</Count>")
    return f"    <item>{''.join(parts)}</item>\n"


def write_topic(
    tag: str, prefix: str, sal_name: str, rows: list[list[Any]], description: str = "", category: str = ""
) -> str:
    """Return the XML of a topic."""
    text = f"  <{tag}>\n    <EFDB_Topic>{prefix}_{sal_name}</EFDB_Topic>\n"
    if description:
        text += f"    <Description>{escape(description)}</Description>\n"
    if category:
        text += f"    <Category>{category}</Category>\n"
    return text + "".join(write_item(prefix, row) for row in rows) + f"  </{tag}>\n"


def own_rows(topic: dict[str, Any], indexed: bool) -> list[list[Any]]:
    """Return the fields of a topic without salIndex and the private ones."""
    return list(topic["fields"][NUM_PRIVATE_FIELDS + indexed :])


def write_generics(golden: dict[str, Any]) -> str:
    """Return SALGenerics.xml."""
    rows_by_name = dict(GENERICS_WITHOUT_SOURCE)
    for component in ("CCCamera", "OCPS"):
        for topic in golden[component]["topics"].values():
            rows_by_name.setdefault(topic["sal_name"], own_rows(topic, golden[component]["indexed"]))
    categories = {name: category for category, names in GENERIC_CATEGORIES.items() for name in names}
    text = HEADER + "<SALObjects>\n"
    for kind, sal_prefix in (("Commands", "command_"), ("Events", "logevent_")):
        set_tag, tag, _ = SET_TAGS[kind]
        text += f"<{set_tag}>\n"
        for name in sorted({*OTHER_GENERICS, *GENERICS_WITHOUT_SOURCE, *categories}):
            if name.startswith(sal_prefix):
                description, category = GENERIC_DESCRIPTIONS[name], categories.get(name, "")
                text += write_topic(tag, "SALGeneric", name, rows_by_name[name], description, category)
        text += f"</{set_tag}>\n"
    return text + "</SALObjects>\n"


def write_subsystems(golden: dict[str, Any]) -> str:
    """Return SALSubsystems.xml."""
    text = HEADER + "<SALSubsystemSet>\n"
    for name in COMPONENTS:
        index = "any" if golden[name]["indexed"] else "no"
        generics = ", ".join(item for item in golden[name]["added_generics"] if item != "mandatory")
        text += (
            f"  <SALSubsystem>\n    <Name>{name}</Name>\n    <Description>{SUBSYSTEMS[name]}</Description>\n"
            f"    <IndexEnumeration>{index}</IndexEnumeration>\n    <AddedGenerics>{generics}</AddedGenerics>\n"
            "  </SALSubsystem>\n"
        )
    return text + "</SALSubsystemSet>\n"


def generic_names(golden: dict[str, Any], component: str) -> set[str]:
    """Return the SAL names of the generic topics of a component."""
    added = golden[component]["added_generics"]
    return {name for item in added for name in GENERIC_CATEGORIES.get(item, [item])} | {"ackcmd"}


def write_component(golden: dict[str, Any], component: str, root: pathlib.Path) -> None:
    """Write the files of a component that has topics of its own."""
    generics = generic_names(golden, component)
    omitted = sorted(name.removeprefix("tel_") for name in golden[component].get("avsc_topics_omitted", []))
    for kind, (set_tag, topic_tag, attr_prefix) in SET_TAGS.items():
        text = ""
        for attr_name, topic in sorted(golden[component]["topics"].items()):
            if attr_name.startswith(attr_prefix) and topic["sal_name"] not in generics:
                rows = own_rows(topic, golden[component]["indexed"])
                text += write_topic(topic_tag, component, topic["sal_name"], rows)
        if kind == "Telemetry" and omitted:
            text += "  <!-- Topics that the observatory's package has as .avsc files: their names only. -->\n"
            text += "  <OmittedTopics>\n" + "".join(f"    {name}\n" for name in omitted) + "  </OmittedTopics>\n"
        if text:
            folder = root / component
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{component}_{kind}.xml"
            path.write_text(f"{HEADER}<{set_tag}>\n{text}</{set_tag}>\n")


def trim(golden: dict[str, Any]) -> dict[str, Any]:
    """Return what the tests compare with: own fields only, types and defaults of arrays as [type, length]."""
    trimmed: dict[str, Any] = {}
    for component in COMPONENTS:
        entry = golden[component]
        topics = {}
        for attr_name, topic in entry["topics"].items():
            rows = []
            for name, avro_type, default, units in own_rows(topic, entry["indexed"]):
                scalar = avro_type if isinstance(avro_type, str) else [avro_type["items"], len(default)]
                rows.append([name, scalar, units])
            topics[attr_name] = rows
        trimmed[component] = {
            "indexed": entry["indexed"],
            "added_generics": entry["added_generics"],
            "sal_topic_names_sorted": entry["sal_topic_names_sorted"],
            "topics": topics,
        }
    ack = golden["OCPS"]["topics"]["ack_ackcmd"]
    trimmed["first_fields"] = ack["fields"][: NUM_PRIVATE_FIELDS + 1]
    trimmed["schema_key_order"] = ack["schema_key_order"]
    trimmed["defaults"] = {"boolean": False, "int": 0, "long": 0, "float": 0.0, "double": 0.0, "string": ""}
    return trimmed


def check_trim(golden: dict[str, Any], trimmed: dict[str, Any]) -> None:
    """Fail if something that trimming leaves out is not what the tests put in its place."""
    for component in COMPONENTS:
        for attr_name, topic in golden[component]["topics"].items():
            first = trimmed["first_fields"][0 if golden[component]["indexed"] else 1 :]
            where = f"{component} {attr_name}"
            assert topic["fields"][: len(first)] == first, where
            assert topic["schema_key_order"] == trimmed["schema_key_order"], where
            assert topic["kafka_name"] == f"lsst.sal.{component}.{topic['sal_name']}", where
            assert topic["avro_subject"] == topic["kafka_name"] + "-value", where
            assert (topic["record_name"], topic["namespace"]) == (topic["sal_name"], f"lsst.sal.{component}"), where
            assert topic["partitions"] == 1, where
            for _, avro_type, default, _ in topic["fields"]:
                if isinstance(avro_type, str):
                    assert default == trimmed["defaults"][avro_type], where
                else:
                    assert default == [trimmed["defaults"][avro_type["items"]]] * len(default), where


def main() -> None:
    """Read the command line and write the files."""
    here = pathlib.Path(__file__).resolve().parents[1]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("golden", type=pathlib.Path)
    parser.add_argument("--interfaces", type=pathlib.Path, default=here / "python/lsst/ts/xml/data/sal_interfaces")
    parser.add_argument("--test-data", type=pathlib.Path, default=here / "tests/data/golden_avro.json")
    arguments = parser.parse_args()
    golden = json.loads(arguments.golden.read_text())
    arguments.interfaces.mkdir(parents=True, exist_ok=True)
    (arguments.interfaces / "SALGenerics.xml").write_text(write_generics(golden))
    (arguments.interfaces / "SALSubsystems.xml").write_text(write_subsystems(golden))
    for component in COMPONENTS:
        write_component(golden, component, arguments.interfaces)
    trimmed = trim(golden)
    check_trim(golden, trimmed)
    arguments.test_data.parent.mkdir(parents=True, exist_ok=True)
    arguments.test_data.write_text(json.dumps(trimmed, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main()
