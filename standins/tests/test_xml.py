# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""lsst.ts.xml: every topic has exactly the schema that the real package gives it."""

from __future__ import annotations

import hashlib
import json
import pathlib
import shutil
from typing import Any

import lsst.ts.xml
import pytest
from lsst.ts.xml import sal_interfaces
from lsst.ts.xml.component_info import ComponentInfo
from lsst.ts.xml.field_info import FieldInfo
from lsst.ts.xml.sal_enums import SalRetCode, State, as_salRetCode, as_state

GOLDEN = json.loads((pathlib.Path(__file__).parent / "data" / "golden_avro.json").read_text())
COMPONENTS = ["CCCamera", "CCHeaderService", "CCOODS", "OCPS", "Test"]


def expected_fields(component: str, attr_name: str) -> list[dict[str, Any]]:
    """Return what the real package has in the schema, without descriptions."""
    rows = [list(row) for row in GOLDEN["first_fields"][0 if GOLDEN[component]["indexed"] else 1 :]]
    for name, avro_type, units in GOLDEN[component]["topics"][attr_name]:
        if isinstance(avro_type, str):
            rows.append([name, avro_type, GOLDEN["defaults"][avro_type], units])
        else:
            item, length = avro_type
            rows.append([name, {"type": "array", "items": item}, [GOLDEN["defaults"][item]] * length, units])
    return [dict(zip(("name", "type", "default", "units"), row, strict=True)) for row in rows]


@pytest.mark.parametrize("component", COMPONENTS)
def test_every_topic_is_that_of_the_real_package(component: str) -> None:
    golden = GOLDEN[component]
    info = ComponentInfo(component, "sal")
    assert info.indexed == golden["indexed"]
    assert info.added_generics == golden["added_generics"]
    assert list(info.topics) == sorted(golden["topics"])
    assert info.sal_topic_names == golden["sal_topic_names_sorted"]
    for attr_name, topic in info.topics.items():
        schema = topic.make_avro_schema()
        assert list(schema) == GOLDEN["schema_key_order"]
        assert (schema["type"], schema["name"]) == ("record", topic.sal_name)
        assert schema["namespace"] == f"lsst.sal.{component}"
        without_descriptions = [{k: v for k, v in field.items() if k != "description"} for field in schema["fields"]]
        assert without_descriptions == expected_fields(component, attr_name), attr_name
        assert list(schema["fields"][0]) == ["name", "type", "default", "description", "units"]
        assert topic.kafka_name == f"lsst.sal.{component}.{topic.sal_name}"
        assert topic.avro_subject == f"{topic.kafka_name}-value"
        assert topic.partitions == 1


def test_the_subname_is_in_the_topic_but_not_in_the_namespace() -> None:
    topic = ComponentInfo("OCPS", "test_abc").topics["evt_job_result"]
    assert topic.kafka_name == "lsst.test_abc.OCPS.logevent_job_result"
    assert topic.make_avro_schema()["namespace"] == "lsst.sal.OCPS"


def test_the_revision_code_is_a_hash_of_the_schema() -> None:
    topic = ComponentInfo("OCPS", "sal").topics["cmd_execute"]
    digest = hashlib.md5(json.dumps(topic.make_avro_schema(), indent=4).encode()).hexdigest()
    assert topic.rev_code == topic.get_revcode() == digest[:8]


def test_messages_have_all_fields_and_their_class_does_not_depend_on_the_subname() -> None:
    message_class = ComponentInfo("Test", "a").topics["evt_arrays"].make_dataclass()
    assert message_class is ComponentInfo("Test", "b").topics["evt_arrays"].make_dataclass()
    one, other = message_class(), message_class(salIndex=3)  # type: ignore[call-arg]
    assert list(vars(one))[:2] == ["salIndex", "private_sndStamp"]
    assert one.int0 == [0] * 5  # type: ignore[attr-defined]
    assert one.int0 is not other.int0  # type: ignore[attr-defined]
    assert other.salIndex == 3


def test_an_array_of_the_wrong_length_is_warned_of() -> None:
    message_class = ComponentInfo("Test", "sal").topics["evt_arrays"].make_dataclass()
    with pytest.warns(UserWarning, match="int0 has 2 elements instead of 5"):
        message_class(int0=[1, 2])  # type: ignore[call-arg]


def test_the_list_of_components_names_those_of_the_xml() -> None:
    from lsst.ts.xml.get_component_info import VALID_COMPONENT_NAMES

    assert sorted(sal_interfaces.read_subsystems()) == sorted(lsst.ts.xml.subsystems)
    assert set(lsst.ts.xml.subsystems) == VALID_COMPONENT_NAMES


def test_an_unknown_component_is_refused() -> None:
    with pytest.raises(ValueError, match="no SAL component 'NoSuchCsc'"):
        ComponentInfo("NoSuchCsc", "sal")


def test_a_component_can_be_added(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "sal_interfaces"
    shutil.copytree(lsst.ts.xml.get_sal_interfaces_dir(), root)
    for module in (sal_interfaces, __import__("lsst.ts.xml.component_info", fromlist=["x"])):
        monkeypatch.setattr(module, "get_sal_interfaces_dir", lambda: root)
    with pytest.raises(ValueError, match="no SAL component"):
        ComponentInfo("Added", "sal")
    subsystems = root / "SALSubsystems.xml"
    entry = (
        "<SALSubsystem><Name>Added</Name><IndexEnumeration>one=1, two=2</IndexEnumeration>"
        "<AddedGenerics>csc, command_abort</AddedGenerics></SALSubsystem></SALSubsystemSet>"
    )
    subsystems.write_text(subsystems.read_text().replace("</SALSubsystemSet>", entry))
    (root / "Added").mkdir()
    (root / "Added" / "Added_Events.xml").write_text(
        "<SALEventSet><Enumeration>Kind_A, Kind_B</Enumeration><SALEvent><EFDB_Topic>Added_logevent_found</EFDB_Topic>"
        "<Description>Something</Description><item><EFDB_Name>where</EFDB_Name><IDL_Type>string</IDL_Type>"
        "<IDL_Size>20</IDL_Size><Units>unitless</Units><Count>4</Count></item><item><EFDB_Name>depth</EFDB_Name>"
        "<IDL_Type>unsigned int</IDL_Type><Units>meter</Units><Count>2</Count></item></SALEvent></SALEventSet>"
    )
    info = ComponentInfo("Added", "sal")
    assert info.indexed
    assert "Added" not in lsst.ts.xml.subsystems, "the list is another file's, as in the original"
    assert {"cmd_abort", "cmd_start", "evt_heartbeat", "evt_found", "ack_ackcmd"} <= set(info.topics)
    assert "cmd_enterControl" not in info.topics
    fields = {f["name"]: f for f in info.topics["evt_found"].make_avro_schema()["fields"]}
    assert fields["where"]["type"] == "string", "a string is never an array"
    assert fields["depth"]["type"] == {"type": "array", "items": "long"}
    assert fields["depth"]["units"] == "meter"


def test_sal_has_no_other_types() -> None:
    with pytest.raises(ValueError, match="no type 'char'"):
        FieldInfo("letter", "char")


def test_numbers_become_states_and_codes_where_they_can() -> None:
    assert as_state(4) is State.OFFLINE
    assert as_state(99) == 99
    assert as_salRetCode(-302) is SalRetCode.CMD_FAILED
    assert as_salRetCode(5) == 5
