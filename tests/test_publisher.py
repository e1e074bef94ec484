# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is published has exactly the fields that the component's XML declares."""

from __future__ import annotations

import dataclasses
import xml.etree.ElementTree as ET
from typing import Any, get_args, get_type_hints

import pytest
from lsst.ts.comcamcalib.publisher import EVENTS, Publisher, to_fields
from lsst.ts.comcamcalib.record.events import Alarms, Event, GainEstimate, StageStatus
from lsst.ts.comcamcalib.run.progress import Progress
from support.events import one_of_each, run_status
from support.interface import generic_event, topics

IDL_TYPES = {"string": str, "int": int, "long": int, "long long": int, "boolean": bool, "float": float, "double": float}


class Topic:
    """A topic that remembers what was written to it."""

    def __init__(self) -> None:
        self.written: list[dict[str, Any]] = []

    async def set_write(self, *, force_output: bool | None = None, **fields: Any) -> None:
        self.written.append({"force_output": force_output, **fields})


class Csc:
    """A CSC with nothing but topics."""

    def __getattr__(self, name: str) -> Topic:
        assert name.startswith(("evt_", "tel_")), name
        topic = Topic()
        setattr(self, name, topic)
        return topic


def test_every_kind_of_entry_has_an_event() -> None:
    assert set(EVENTS) == set(get_args(Event))
    assert set(EVENTS.values()) | {"commandRejected"} == {*topics("Events"), "largeFileObjectAvailable"}


def declared_fields(topic: str) -> dict[str, ET.Element]:
    return topics("Events").get(topic) or generic_event(topic)


@pytest.mark.parametrize("entry", one_of_each(), ids=lambda entry: EVENTS[type(entry)])
def test_fields_of_an_entry_are_those_of_its_event(entry: Event) -> None:
    declared = declared_fields(EVENTS[type(entry)])
    fields = to_fields(entry)
    assert list(fields) == list(declared)
    for name, value in fields.items():
        item: ET.Element = declared[name]
        idl_type, count = item.findtext("IDL_Type", ""), int(item.findtext("Count", "1"))
        if count > 1:
            assert isinstance(value, list) and len(value) == count, name
        else:
            assert type(value) is IDL_TYPES[idl_type], name


@pytest.mark.parametrize("entry_type", EVENTS, ids=lambda entry_type: EVENTS[entry_type])
def test_types_of_an_entry_are_those_of_its_event(entry_type: type[Event]) -> None:
    """Whatever value a field has: exposure ids need 64 bits, times are double."""
    hints = get_type_hints(entry_type)
    declared = declared_fields(EVENTS[entry_type])
    for field, item in zip(dataclasses.fields(entry_type), declared.values(), strict=True):
        idl_type = item.findtext("IDL_Type", "")
        if hints[field.name] == tuple[float, ...]:
            assert (idl_type, item.findtext("Count")) == ("double", "16"), field.name
        else:
            assert issubclass(hints[field.name], IDL_TYPES[idl_type]), field.name
        if field.name == "exposure_id":
            assert idl_type == "long long"


def test_fields_of_the_progress_are_those_of_the_telemetry() -> None:
    declared = topics("Telemetry")
    assert list(declared) == ["progress"]
    fields = to_fields(Progress())
    assert list(fields) == list(declared["progress"])
    for name, item in declared["progress"].items():
        assert type(fields[name]) is IDL_TYPES[item.findtext("IDL_Type", "")], name


async def test_entry_is_published_also_if_it_has_not_changed() -> None:
    csc = Csc()
    publisher = Publisher(csc)
    for _ in range(2):
        await publisher.publish(run_status())
    first, second = csc.evt_runState.written
    assert first == second
    assert first["force_output"] is True
    assert first["runId"] == "20261122-001"
    assert (first["state"], type(first["state"])) == (2, int)
    assert first["timestampEnded"] == 0.0


async def test_arrays_are_lists() -> None:
    csc = Csc()
    await Publisher(csc).publish(next(entry for entry in one_of_each() if isinstance(entry, GainEstimate)))
    (written,) = csc.evt_gainEstimate.written
    assert type(written["gain"]) is list and len(written["gain"]) == 16


async def test_refused_command_is_published_each_time() -> None:
    csc = Csc()
    for _ in range(2):
        await Publisher(csc).rejected("abort", "LOVE@host", "There is no open run.")
    assert (
        csc.evt_commandRejected.written
        == [
            {
                "commandName": "abort",
                "requestedBy": "LOVE@host",
                "reason": "There is no open run.",
                "force_output": True,
            }
        ]
        * 2
    )
    assert set(csc.evt_commandRejected.written[0]) - {"force_output"} == set(topics("Events")["commandRejected"])


async def test_progress_is_telemetry() -> None:
    csc = Csc()
    await Publisher(csc).progress(Progress(run_id="x", fraction_complete=0.5))
    (written,) = csc.tel_progress.written
    assert (written["runId"], written["fractionComplete"]) == ("x", 0.5)


def test_names_are_translated_word_by_word() -> None:
    fields = to_fields(next(entry for entry in one_of_each() if isinstance(entry, StageStatus)))
    assert {"runId", "stageName", "calibType", "stageKind", "timestampStarted"} <= set(fields)
    assert to_fields(Alarms())["operatorDecisionNeeded"] is False
