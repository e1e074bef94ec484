# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's history looks like from outside: its SAL events, and the answer to the command ``status``; pure."""

from __future__ import annotations

import functools
import json
import math
import statistics
from collections.abc import Iterator

from ..enums import CertificationState
from ..plan.request import job_collection
from . import events, facts
from .events import Event
from .facts import Fact
from .history import History
from .things import Certification, Frame, Job, Stage

__all__ = ["all_events", "events_after", "snapshot"]

REPORT_GENERATOR = "ComCamCalib:report"
REPORT_VERSION = 1.0
"""Generator and version in the events about a report's files."""


def events_after(fact: Fact, history: History) -> list[Event]:
    """Return the events to publish after a fact.

    Parameters
    ----------
    fact
        The last fact.
    history
        What follows from all facts, this one included.
    """
    return list(_events(fact, history))


def all_events(history: History) -> Iterator[Event]:
    """Yield the latest event of each thing of a run: everything that was published and still holds."""
    yield run_status(history)
    yield configuration(history)
    yield from (stage_status(stage, history) for stage in history.stages.values())
    for frame in history.frames.values():
        yield from _frame_events(frame, history)
    yield from (job_state(job, history) for job in history.jobs.values() if job.job_id)
    yield from (_stray_job(stray, history) for stray in history.stray_jobs.values())
    for verdict in history.verdicts.values():
        yield from _verdict_events(verdict, history)
    for measured in history.measured.values():
        yield from _measurement_events(measured, history)
    yield from (_gain_estimate(gains, history) for gains in history.gains.values())
    yield from (_certification(one, history) for one in history.certifications.values() if one.done)
    if history.report is not None:
        yield from _report_files(history.report, history)


def snapshot(history: History) -> dict[str, object]:
    """Return what the command ``status`` answers, ready for JSON."""
    return {
        "runId": history.run_id,
        "runState": int(history.state),
        "reason": history.reason,
        "stages": [
            {
                "stageName": stage.name,
                "state": int(stage.state),
                "jobId": _last_job_id(stage, history),
                "reason": stage.reason,
            }
            for stage in history.stages.values()
        ],
        "certifications": [
            {
                "calibType": int(one.calib_type),
                "state": int(one.state),
                "collection": one.collection,
                "datasetCount": one.dataset_count,
                "reason": one.reason,
            }
            for one in (_certification(one, history) for one in history.certifications.values() if one.done)
        ],
        "imagesTaken": sum(1 for frame in history.frames.values() if frame.exposure_id),
        "imagesExpected": history.plan.images_expected,
    }


# One view of each thing


def run_status(history: History) -> events.RunStatus:
    """Return the event about the run as a whole."""
    plan = history.plan
    return events.RunStatus(
        run_id=history.run_id,
        state=history.state,
        script_mode=plan.options.script_mode.value,
        requested_by=history.accepted.requested_by,
        reason=history.reason,
        calib_collection=plan.options.calib_collection,
        repo=plan.config.repo,
        images_expected=plan.images_expected,
        estimated_duration=plan.estimated_duration_s,
        timestamp_accepted=history.accepted_s,
        timestamp_started=history.started_s,
        timestamp_ended=history.ended_s,
    )


def configuration(history: History) -> events.RunConfiguration:
    """Return the event with the effective options."""
    effective = json.dumps(history.plan.options.effective(), default=str)
    return events.RunConfiguration(run_id=history.run_id, config=effective)


def stage_status(stage: Stage, history: History) -> events.StageStatus:
    """Return the event about a stage."""
    return events.StageStatus(
        run_id=history.run_id,
        stage_name=stage.name,
        calib_type=stage.calib_type or 0,
        stage_kind=stage.kind,
        state=stage.state,
        attempt=stage.attempt,
        job_id=_last_job_id(stage, history),
        reason=stage.reason,
        timestamp_started=stage.started_s,
        timestamp_ended=stage.ended_s,
    )


def job_state(job: Job, history: History) -> events.JobState:
    """Return the event about a job whose id is known."""
    config = history.plan.config
    return events.JobState(
        run_id=history.run_id,
        stage_name=job.stage_name,
        calib_type=job.calib_type,
        job_id=job.job_id,
        phase=job.phase,
        exit_code=job.exit_code,
        output_collection=job_collection(job.job_id),
        log_url=f"{config.uws_url.rstrip('/')}/job/{job.job_id}/results",
        log_path=config.log_path_pattern.format(job_id=job.job_id),
        message=job.message,
        timestamp_submitted=job.submitted_s,
        timestamp_ended=job.ended_s,
    )


def _stray_job(stray: facts.JobStray, history: History) -> events.JobState:
    job = Job(
        label="",
        attempt=0,
        stage_name=stray.stage_name,
        calib_type=stray.calib_type,
        job_id=stray.job_id,
        phase=stray.phase,
        exit_code=stray.exit_code,
        message=stray.message,
        submitted_s=stray.submitted_s,
        ended_s=stray.ended_s,
    )
    return job_state(job, history)


def _last_job_id(stage: Stage, history: History) -> str:
    return next((job.job_id for job in reversed(history.jobs_of(stage.name)) if job.job_id), "")


def _frame_events(frame: Frame, history: History) -> Iterator[Event]:
    if frame.exposure_id:
        yield _image_taken(frame, history)
        if frame.settled is not None:
            yield _image_ingested(frame, frame.settled, history)


def _image_taken(frame: Frame, history: History) -> events.ImageTaken:
    planned = len(history.plan.sequences[frame.calib_type].frames) if frame.calib_type in history.plan.sequences else 0
    return events.ImageTaken(
        run_id=history.run_id,
        image_type=frame.calib_type,
        exposure_id=frame.exposure_id,
        obs_id=frame.obs_id,
        exposure_time=frame.exposure_time_s,
        image_index=frame.index,
        images_in_sequence=max(planned, frame.index),
        discarded=frame.discarded,
        timestamp_taken=frame.taken_s,
    )


def _image_ingested(frame: Frame, settled: facts.FrameSettled, history: History) -> events.ImageIngested:
    names = history.plan.detector_names
    return events.ImageIngested(
        run_id=history.run_id,
        exposure_id=frame.exposure_id,
        obs_id=frame.obs_id,
        detectors_expected=len(names),
        detectors_ingested=settled.detectors_ingested,
        detectors_failed=settled.detectors_failed,
        missing=",".join(names.get(detector, str(detector)) for detector in settled.missing),
        reason=settled.reason or frame.given_up,
    )


def _verdict_events(given: facts.VerdictGiven, history: History) -> Iterator[Event]:
    yield events.VerificationResult(
        run_id=history.run_id,
        calib_type=given.calib_type,
        physical_filter=given.physical_filter,
        attempt=given.attempt,
        verdict=given.verdict,
        job_id=given.job_id,
        output_collection=job_collection(given.job_id) if given.job_id else "",
        exposures_expected=given.exposures_expected,
        exposures_verified=given.exposures_verified,
        detectors_expected=given.detectors_expected,
        detectors_verified=given.detectors_verified,
        tests_failed=given.tests_failed,
        exposures_failed=given.exposures_failed,
        exposures_failed_threshold=given.exposures_failed_threshold,
        tests_failed_threshold=given.tests_failed_threshold,
        failures_by_test=json.dumps(given.failures_by_test),
        reason=given.reason,
    )
    for one in given.detectors:
        yield events.DetectorVerification(
            run_id=history.run_id,
            calib_type=given.calib_type,
            physical_filter=given.physical_filter,
            detector=one.detector,
            detector_name=one.detector_name,
            tests_failed=one.tests_failed,
            exposures_failed=one.exposures_failed,
            amplifiers_failed=one.amplifiers_failed,
            failures_by_test=json.dumps(one.failures_by_test),
            signal=one.signal,
            noise=one.noise,
        )


def _measurement_events(measured: facts.Measured, history: History) -> Iterator[Event]:
    drifts = {one.detector: one for one in measured.drifts}
    for detector in dict.fromkeys((*(one.detector for one in measured.values), *drifts)):
        drift = drifts.get(detector)
        own = [one for one in measured.values if one.detector == detector]
        yield events.DetectorMeasurement(
            run_id=history.run_id,
            calib_type=measured.calib_type,
            physical_filter=measured.physical_filter,
            detector=detector,
            detector_name=history.plan.detector_names.get(detector, ""),
            drift=float("nan") if drift is None else drift.drift,
            compared_with="" if drift is None else drift.compared_with,
            **{name: _median(own, name) for name in _MEASURED},
        )


_MEASURED = ("level", "noise", "dark_rate", "gain", "turnoff", "defect_fraction")


def _median(values: list[facts.Measurement], quantity: str) -> float:
    found = [one.value for one in values if one.quantity == quantity and math.isfinite(one.value)]
    return statistics.median(found) if found else float("nan")


def _gain_estimate(gains: facts.GainsMeasured, history: History) -> events.GainEstimate:
    return events.GainEstimate(
        run_id=history.run_id,
        exposure_id=gains.exposure_id,
        detector=gains.detector,
        detector_name=history.plan.detector_names.get(gains.detector, ""),
        gain=_padded(gains.gain),
        noise=_padded(gains.noise),
    )


def _padded(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return as many values as the event has, NaN where there is no amplifier."""
    number = events.GAIN_ESTIMATE_AMPLIFIERS
    return (*values[:number], *(float("nan"),) * (number - len(values)))


def _certification(one: Certification, history: History) -> events.Certification:
    intent = one.intent
    assert isinstance(one.outcome, facts.Certified), "only done certifications are published"
    withdrawn = one.withdrawn
    if withdrawn is None:
        refused = [
            f"it should be {other.words}, but was not: {other.outcome.reason}"
            for other in history.withdrawals.values()
            if isinstance(other.outcome, facts.DecertifyAbsent) and intent.number in other.intent.certifications
        ]
        reason = "; ".join(filter(None, [one.outcome.reason, *refused[-1:]]))
    else:
        assert isinstance(withdrawn.outcome, facts.Decertified), "only done withdrawals are noted"
        reason = "; ".join(filter(None, [withdrawn.words, withdrawn.outcome.reason]))
    return events.Certification(
        run_id=history.run_id,
        calib_type=intent.calib_type,
        state=CertificationState.CERTIFIED if withdrawn is None else CertificationState.DECERTIFIED,
        dataset_type=intent.dataset_type,
        collection=intent.collection,
        output_collection=intent.output_collection,
        validity_begin=intent.validity_begin,
        validity_end=intent.validity_end,
        dataset_count=one.outcome.dataset_count,
        reason=reason,
    )


def _report_files(written: facts.ReportWritten, history: History) -> Iterator[Event]:
    for one in written.files:
        yield events.LargeFile(
            url=one.url,
            generator=REPORT_GENERATOR,
            version=REPORT_VERSION,
            byte_size=one.byte_size,
            check_sum=one.checksum,
            mime_type=one.mime_type,
            id=history.run_id,
        )


# Which views a fact changes


@functools.singledispatch
def _events(_fact: Fact, _history: History) -> Iterator[Event]:
    yield from ()  # intents, and looks that found nothing, are not published


@_events.register
def _(_fact: facts.RunAccepted, history: History) -> Iterator[Event]:
    yield from all_events(history)


@_events.register
def _(_fact: facts.RunMoved, history: History) -> Iterator[Event]:
    yield run_status(history)


@_events.register
def _(fact: facts.StageMoved, history: History) -> Iterator[Event]:
    if fact.stage_name in history.stages:
        yield stage_status(history.stages[fact.stage_name], history)


@_events.register
def _(fact: facts.FrameTaken, history: History) -> Iterator[Event]:
    yield _image_taken(history.frames[fact.calib_type, fact.index], history)


@_events.register
def _(fact: facts.FrameSettled, history: History) -> Iterator[Event]:
    yield from _settled_event(history.frames[fact.calib_type, fact.index], history)


@_events.register
def _(fact: facts.FrameGivenUp, history: History) -> Iterator[Event]:
    frame = history.frames[fact.calib_type, fact.index]
    if frame.settled is not None and not frame.settled.reason:  # with a reason of its own, the event is the same
        yield from _settled_event(frame, history)


def _settled_event(frame: Frame, history: History) -> Iterator[Event]:
    if frame.settled is not None and frame.exposure_id:
        yield _image_ingested(frame, frame.settled, history)


def _job_event(label: str, attempt: int, history: History) -> Iterator[Event]:
    job = history.jobs[label, attempt]
    yield job_state(job, history)
    stage = history.stages.get(job.stage_name)
    if stage is not None:
        yield stage_status(stage, history)  # it names its last job


@_events.register
def _(fact: facts.JobFound, history: History) -> Iterator[Event]:
    yield from _job_event(fact.label, fact.attempt, history)


@_events.register
def _(fact: facts.JobMoved, history: History) -> Iterator[Event]:
    yield job_state(history.jobs[fact.label, fact.attempt], history)


@_events.register
def _(fact: facts.JobEnded, history: History) -> Iterator[Event]:
    yield job_state(history.jobs[fact.label, fact.attempt], history)


@_events.register
def _(fact: facts.JobStray, history: History) -> Iterator[Event]:
    yield _stray_job(fact, history)


@_events.register
def _(fact: facts.GainsMeasured, history: History) -> Iterator[Event]:
    yield _gain_estimate(fact, history)


@_events.register
def _(fact: facts.VerdictGiven, history: History) -> Iterator[Event]:
    # Not the fact itself, because somebody may have accepted a verdict of the same attempt.
    yield from _verdict_events(history.verdicts[fact.calib_type, fact.physical_filter], history)


@_events.register
def _(fact: facts.VerdictAccepted, history: History) -> Iterator[Event]:
    verdict = history.verdicts.get((fact.calib_type, fact.physical_filter))
    if verdict is not None and verdict.attempt == fact.attempt:
        yield from _verdict_events(verdict, history)


@_events.register
def _(fact: facts.Measured, history: History) -> Iterator[Event]:
    yield from _measurement_events(fact, history)


@_events.register
def _(fact: facts.Certified, history: History) -> Iterator[Event]:
    if (one := history.certifications.get(fact.number)) is not None:
        yield _certification(one, history)


@_events.register
def _(fact: facts.Decertified, history: History) -> Iterator[Event]:
    yield run_status(history)  # its reason tells
    yield from _withdrawn(fact.number, history)


@_events.register
def _(fact: facts.DecertifyAbsent, history: History) -> Iterator[Event]:
    yield from _withdrawn(fact.number, history)


def _withdrawn(number: int, history: History) -> Iterator[Event]:
    numbers = history.withdrawals[number].intent.certifications if number in history.withdrawals else ()
    for one in numbers:
        if one in history.certifications and history.certifications[one].done:
            yield _certification(history.certifications[one], history)


@_events.register
def _(fact: facts.ReportWritten, history: History) -> Iterator[Event]:
    yield from _report_files(fact, history)
