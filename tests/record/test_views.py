# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is published follows from the history, now and when it is published again."""

from __future__ import annotations

import json

from hypothesis import given, settings
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.record import events, facts
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.record.fold import apply, begin, fold
from lsst.ts.comcamcalib.record.views import all_events, events_after, snapshot
from support.facts import any_run
from support.plans import RUN_ID, make_plan
from support.records import accepted

KEYS: dict[type, tuple[str, ...]] = {
    events.RunStatus: (),
    events.RunConfiguration: (),
    events.StageStatus: ("stage_name",),
    events.ImageTaken: ("image_type", "image_index"),
    events.VerificationResult: ("calib_type", "physical_filter"),
    events.GainEstimate: ("exposure_id", "detector"),
}
"""What tells things apart of which a history has one latest event each."""


def key(event: Event) -> tuple[object, ...]:
    return (type(event), *(getattr(event, name) for name in KEYS[type(event)]))


@settings(deadline=None)
@given(any_run())
def test_what_is_published_again_is_what_was_published_last(entries: list[Entry]) -> None:
    history = begin(entries[0])
    last = {key(event): event for event in events_after(entries[0].fact, history) if type(event) in KEYS}
    for entry in entries[1:]:
        history = apply(history, entry)
        last |= {key(event): event for event in events_after(entry.fact, history) if type(event) in KEYS}
    for event in all_events(history):
        if type(event) in KEYS and key(event) in last and not isinstance(event, events.StageStatus):
            assert repr(event) == repr(last[key(event)])


@settings(deadline=None)
@given(any_run())
def test_status_of_any_run_can_be_answered(entries: list[Entry]) -> None:
    summary = json.loads(json.dumps(snapshot(fold(entries))))
    assert summary["runId"] == RUN_ID
    assert len(summary["stages"]) == len(make_plan().stages)


def test_acceptance_publishes_run_configuration_and_all_stages() -> None:
    entry = accepted(make_plan())
    published = events_after(entry.fact, begin(entry))
    stages = [event for event in published if isinstance(event, events.StageStatus)]
    assert [event.stage_name for event in stages] == [stage.name for stage in make_plan().stages]
    assert {event.state for event in stages} == {StageState.PENDING}
    (status,) = (event for event in published if isinstance(event, events.RunStatus))
    assert (status.state, status.requested_by) == (RunState.ACCEPTED, "op@console")
    (configuration,) = (event for event in published if isinstance(event, events.RunConfiguration))
    assert json.loads(configuration.config)["n_flat"] == 4


def test_intents_and_looks_in_vain_are_not_published() -> None:
    entry = accepted(make_plan())
    quiet = [
        facts.Decision(what="abort", who="op@console"),
        facts.FrameIntended(calib_type=1, index=1, exposure_time_s=0.0),
        facts.FrameAbsent(calib_type=1, index=1, reason="no exposure"),
        facts.CertifyAbsent(number=1, reason="nothing is there"),
    ]
    history = begin(entry)
    for number, fact in enumerate(quiet, start=2):
        history = apply(history, Entry(number, 2.0, fact))
        assert events_after(fact, history) == []


def test_gains_fill_the_events_array() -> None:
    gains = facts.GainsMeasured(exposure_id=1, detector=4, gain=(1.5,) * 8, noise=(6.0,) * 8)
    history = fold([accepted(make_plan()), Entry(2, 1.0, gains)])
    (event,) = (one for one in all_events(history) if isinstance(one, events.GainEstimate))
    assert event.gain[:8] == (1.5,) * 8
    assert len(event.gain) == len(event.noise) == 16
    assert event.detector_name == "R22_S11"
