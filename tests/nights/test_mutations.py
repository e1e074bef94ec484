# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each test breaks one rule of the product, and sees that a night notices it; see also `test_second_process`."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.record.facts import Fact, JobIntended
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.run.recorder import Recorder
from lsst.ts.comcamcalib.run.run import Run
from lsst.ts.comcamcalib.stages import job
from lsst.ts.comcamcalib.stages.exposing import Exposing
from lsst.ts.comcamcalib.stages.job import PlannedJob
from lsst.ts.comcamcalib.stages.ledger import IngestLedger

from .faults import Happening, NightPlan
from .night import NightResult, folder_for_nights, night

BIASES = (("script_mode", "BIAS"),)
DARKS = (("script_mode", "BIAS_DARK"),)


def killed(when: str, *numbers: int) -> list[Happening]:
    return [Happening("kill", when, number, 0.0, 5.0) for number in numbers]


def had(one: Happening, options: tuple[tuple[str, object], ...]) -> NightResult:
    with folder_for_nights() as folder:
        return night(NightPlan(1, options, (one,), True), Path(folder))


def noticed(problem: str, happenings: list[Happening], options: tuple[tuple[str, object], ...] = BIASES) -> None:
    """See that in at least one of some nights, each with one happening, the invariants say what is wrong."""
    problems = [sentence for one in happenings for sentence in had(one, options).problems]
    assert [sentence for sentence in problems if re.search(problem, sentence)], problems


def test_product_that_is_certified_although_its_verdict_is_not_good(monkeypatch: pytest.MonkeyPatch) -> None:
    judging = sys.modules["lsst.ts.comcamcalib.verification.judge"]  # the package has a function of that name
    monkeypatch.setattr(judging, "_verdict", lambda *_arguments: (Verdict.PASSED, ()))
    bad = [Happening("product", "BIAS")]
    noticed("BIAS is bad, or built on what is bad, and was certified", bad)


def test_act_before_its_intent_is_durable(monkeypatch: pytest.MonkeyPatch) -> None:
    really, writes = Recorder.intend, []

    async def intend(recorder: Recorder, fact: Fact) -> None:
        writes.append(asyncio.create_task(really(recorder, fact)))
        await asyncio.sleep(0)  # the history has it, but not yet the disk

    monkeypatch.setattr(Recorder, "intend", intend)
    noticed("nobody was told of job .* \\(cpBias\\)", killed("before write", *range(12, 17)))


def test_frame_that_counts_before_its_files_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(IngestLedger, "missing", lambda *_arguments: frozenset())
    noticed("is used, but the files of .* do not exist", [Happening("files", "one lost", number) for number in (1, 2)])


def test_job_that_is_tried_again_under_the_number_of_the_first_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    def intended(**fields: Any) -> JobIntended:
        return JobIntended(**{**fields, "attempt": 1})

    monkeypatch.setattr(job, "JobIntended", intended)
    bad = [Happening("job", "ends in error", number) for number in (1, 2, 3)]
    noticed("the run is FAILED: .* failed with exit code 1", bad, DARKS)


def test_frame_that_is_not_looked_for_before_it_is_taken_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Exposing, "open", False)
    noticed("BIAS: nobody knows of the exposures", killed("at act", 1, 2, 3))


def test_job_that_is_not_looked_for_before_it_is_submitted_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PlannedJob, "open", False)
    noticed("nobody was told of job .* \\(cpBias\\)", killed("at act", 7, 8))


ABORT_S = 5.0
"""When the run has not taken all its frames yet."""


def begun_after_abort(at_s: float) -> list[str]:
    """Return the kinds of what was still to be done outside after an abort, which the invariants leave open."""
    facts = [json.loads(body) for _, body in had(Happening("command", "abort", 0, at_s), DARKS).facts]
    (aborted,) = [number for number, fact in enumerate(facts) if fact["kind"] == "decision" and fact["what"] == "abort"]
    return [fact["kind"] for fact in facts[aborted:] if fact["kind"].endswith("_intended")]


def test_abort_that_lets_the_run_begin_more(monkeypatch: pytest.MonkeyPatch) -> None:
    assert begun_after_abort(ABORT_S) == []
    # Stages that are not stopped still ask the history before each exposure, so both rules are broken.
    monkeypatch.setattr(Run, "_stop", lambda *_arguments, **_keywords: None)
    monkeypatch.setattr(History, "no_more_exposures", "")
    assert "frame_intended" in begun_after_abort(ABORT_S)
