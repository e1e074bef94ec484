# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts of a run from its beginning to its end, for a camera of any size; nothing is run to make them."""

from __future__ import annotations

import random
from collections.abc import Iterator

from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.plan.plan import RunPlan, StagePlan
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Entry, Fact
from lsst.ts.comcamcalib.record.fold import apply, begin
from lsst.ts.comcamcalib.record.history import History

from support.records import accepted

__all__ = ["QUANTITIES", "STEP_S", "facts_of", "history_of", "measured_in"]

AMPLIFIERS = tuple(f"C{row}{column}" for row in (1, 0) for column in range(8))
QUANTITIES: dict[CalibType, tuple[tuple[str, float, str], ...]] = {
    CalibType.BIAS: (("level", 0.1, "adu"), ("noise", 6.5, "electron")),
    CalibType.DARK: (("dark_rate", 0.02, "electron/s"),),
    CalibType.FLAT: (("level", 1.0, ""),),
    CalibType.PTC: (("gain", 1.7, "electron/adu"), ("noise", 6.5, "electron"), ("turnoff", 90_000.0, "electron")),
}
"""Quantities of amplifiers: name, usual value and unit."""

STEP_S = 3.0
"""Time from fact to fact (seconds)."""


def facts_of(plan: RunPlan, at: float = 1.8e9, bad: int = 3, physical_filter: str = "r_03") -> Iterator[Fact]:
    """Yield all facts of a run, whose last product fails for some detectors.

    Parameters
    ----------
    plan
        Of the run.
    at
        When it began (TAI unix seconds).
    bad
        Number of detectors that fail in the last verdict.
    physical_filter
        Of the flats.
    """
    yield facts.RunMoved(state=RunState.RUNNING, reason="The run is in progress")
    yield from _frames(plan, at)
    verified = [one for one in plan.stages if one.kind.name == "VERIFY"]
    number = 0
    for stage in plan.stages:
        if stage.kind.name == "REPORT":
            continue
        failed = stage is verified[-1] and bad
        if bad and verified[-1].name in stage.waits_for:
            yield _moved(stage, StageState.SKIPPED, f"{verified[-1].name} has failed")
            continue
        yield _moved(stage, StageState.RUNNING, "")
        yield from _jobs(stage, plan, at)
        flat = physical_filter if stage.calib_type is CalibType.FLAT else ""
        if stage.kind.name == "VERIFY" and stage.calib_type is not None:
            yield measured_in(stage.calib_type, flat, plan.detector_names, int(plan.run_id[:8]))
            yield _verdict(stage.calib_type, flat, plan, bad if failed else 0)
        if stage.kind.name == "CERTIFY" and stage.calib_type is not None:
            number += 1
            yield from _certification(stage, number, plan)
        reason = "The verdict is FAILED" if failed else "All is well"
        yield _moved(stage, StageState.FAILED if failed else StageState.SUCCEEDED, reason)
    ended = RunState.FAILED if bad else RunState.COMPLETED
    yield facts.RunMoved(state=ended, reason=f"The run has ended: {ended.name}")


def history_of(plan: RunPlan, *rest: Fact, at: float = 1.8e9) -> History:
    """Fold the acceptance of a run and some facts, between which some seconds pass."""
    history = begin(accepted(plan, at))
    for number, fact in enumerate(rest, start=2):
        history = apply(history, Entry(number, at + STEP_S * number, fact))
    return history


def measured_in(calib_type: CalibType, physical_filter: str, names: dict[int, str], seed: int = 0) -> facts.Measured:
    """Return what a run measured in a product, a little different for each seed."""
    noise = random.Random(f"{calib_type}{physical_filter}{seed}")
    values = [
        facts.Measurement(
            detector=detector,
            amplifier=amplifier,
            quantity=quantity,
            value=usual * (1 + 0.01 * noise.gauss(0, 1)),
            unit=unit,
        )
        for detector in names
        for quantity, usual, unit in QUANTITIES.get(calib_type, ())
        for amplifier in AMPLIFIERS
    ]
    return facts.Measured(calib_type=calib_type, physical_filter=physical_filter, attempt=1, values=tuple(values))


def _frames(plan: RunPlan, at: float) -> Iterator[Fact]:
    number, count = 0, len(plan.detector_names)
    for kind, sequence in plan.sequences.items():
        for frame in sequence.frames:
            number += 1
            yield facts.FrameIntended(calib_type=kind, index=frame.index, exposure_time_s=frame.exposure_time_s)
            yield facts.FrameTaken(
                calib_type=kind,
                index=frame.index,
                exposure_id=2026112200000 + number,
                obs_id=f"CC_O_20261122_{number:06d}",
                taken_s=at + STEP_S * number,
            )
            # All files of one exposure are lost, those of a few detectors of another.
            lost = {1: tuple(plan.detector_names), 2: tuple(plan.detector_names)[:3]}.get(number, ())
            settled = count - len(lost)
            yield facts.FrameSettled(
                calib_type=kind, index=frame.index, detectors_ingested=settled, detectors_failed=0, missing=lost
            )


def _moved(stage: StagePlan, state: StageState, reason: str) -> Fact:
    return facts.StageMoved(stage_name=stage.name, attempt=1, state=state, reason=reason)


def _jobs(stage: StagePlan, plan: RunPlan, at: float) -> Iterator[Fact]:
    for job in stage.jobs:
        of = {"label": job.label, "attempt": 1}
        job_id = f"{abs(hash((plan.run_id, job.label))):032x}"[:32]
        assert stage.calib_type is not None
        yield facts.JobIntended(
            **of,
            stage_name=stage.name,
            stage_attempt=1,
            calib_type=stage.calib_type,
            mark=f"{plan.run_id}_{stage.name}_{job.label}_1*",
            exposures=tuple(range(2026112200001, 2026112200026)),
            inputs=(),
            pipeline="cpBias.yaml",
            data_query="instrument='LSSTComCam'",
            config="",
            output_dataset_types="bias",
        )
        yield facts.JobFound(**of, job_id=job_id, submitted_s=at + 400)
        yield facts.JobMoved(**of, job_id=job_id, phase="executing")
        yield facts.JobEnded(**of, job_id=job_id, phase="completed", exit_code=0, message="", ended_s=at + 900)


def _verdict(calib_type: CalibType, physical_filter: str, plan: RunPlan, bad: int) -> facts.VerdictGiven:
    names = plan.detector_names
    ids = sorted(names)
    findings = tuple(
        Finding("limits", Outcome.FAILED, "noise", one, AMPLIFIERS[0], value=21.5, limit=18.0, unit="electron")
        for one in ids[:bad]
    )
    return facts.VerdictGiven(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=1,
        verdict=Verdict.FAILED if bad else Verdict.PASSED_WITH_FAILURES,
        job_id="0123456789abcdef",
        reason=f"{bad} detectors are bad." if bad else "Of all tests, 24 failed, fewer than the threshold.",
        detectors_expected=len(names),
        detectors_verified=len(names),
        findings=findings,
        detectors=tuple(
            facts.DetectorVerdict(
                detector=one,
                detector_name=names[one],
                tests_failed=2 if one % 17 == 5 else 0,
                exposures_failed=0,
                amplifiers_failed=0,
                failures_by_test={},
                signal=0.1,
                noise=6.5,
            )
            for one in ids
        ),
    )


def _certification(stage: StagePlan, number: int, plan: RunPlan) -> Iterator[Fact]:
    assert stage.calib_type is not None
    count = len(plan.detector_names)
    yield facts.CertifyIntended(
        number=number,
        stage_name=stage.name,
        calib_type=stage.calib_type,
        verdict=Verdict.PASSED_WITH_FAILURES,
        dataset_type=stage.calib_type.name.lower(),
        collection=plan.options.calib_collection,
        output_collection="u/ocps/0123456789abcdef/run",
        validity_begin="2026-11-22T12:00:00",
        validity_end="2026-11-23T12:00:00",
        dataset_ids=tuple(f"{number:04d}-{one}" for one in plan.detector_names),
    )
    yield facts.Certified(number=number, dataset_count=count, reason=f"{count} datasets are certified")
