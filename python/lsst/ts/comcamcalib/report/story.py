# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the journal says of a run, as sections of the report; pure."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Literal

from lsst.ts import utils

from ..enums import CalibType, RunState, StageKind
from ..findings import Finding
from ..plan.estimate import Span, critical_chain
from ..plan.request import job_collection
from ..record import facts
from ..record.facts import Entry
from ..record.history import History
from ..record.things import Certification, Frame, Job, Stage
from . import data

__all__ = [
    "critical_stages",
    "drifts",
    "exposures",
    "iso_utc",
    "jobs",
    "measurements",
    "products",
    "run_section",
    "timeline",
]


@functools.lru_cache(maxsize=4096)  # astropy takes 0.2 ms, and the status page shows the same times again and again
def iso_utc(tai_s: float) -> str:
    """Return TAI unix seconds as ISO 8601, UTC, to the second; "" for 0."""
    return f"{utils.astropy_time_from_tai_unix(tai_s).utc.isot[:19]}Z" if tai_s else ""


def run_section(history: History, entries: Sequence[Entry], state: RunState, reason: str) -> data.RunSection:
    """Return what was run, by whom and why, and how it ended."""
    plan, options = history.plan, history.plan.options
    end_s = history.ended_s or entries[-1].at
    return data.RunSection(
        run_id=history.run_id,
        state=state.name,
        reason=reason,
        day_obs=history.accepted.day_obs,
        script_mode=options.script_mode.value,
        instrument=plan.config.instrument.name,
        detectors=plan.detector_names,
        requested_by=history.accepted.requested_by,
        why=history.accepted.why or options.reason,
        program=options.program,
        test_case=options.test_case,
        note=options.note,
        accepted=iso_utc(history.accepted_s),
        started=iso_utc(history.started_s),
        ended=iso_utc(history.ended_s),
        duration_s=end_s - history.started_s if history.started_s else None,
        estimated_duration_s=plan.estimated_duration_s,
        repo=plan.config.repo,
        calib_collection=options.calib_collection,
        notices=plan.notices,
        decisions=tuple(_decisions(entries)),
    )


def _decisions(entries: Sequence[Entry]) -> Iterator[data.DecisionRow]:
    for entry in entries:
        fact = entry.fact
        if isinstance(fact, facts.Decision):
            yield data.DecisionRow(at=iso_utc(entry.at), what=fact.what, who=fact.who, why=fact.why)
        elif isinstance(fact, facts.VerdictAccepted):
            what = f"accept {fact.calib_type.name} {fact.physical_filter}".strip()
            yield data.DecisionRow(at=iso_utc(entry.at), what=what, who=fact.who, why=fact.why)
        elif isinstance(fact, facts.DecertifyIntended):
            numbers = ", ".join(map(str, fact.certifications))
            what = f"withdraw certification {numbers} from {fact.collection}"
            yield data.DecisionRow(at=iso_utc(entry.at), what=what, who=fact.who, why=fact.why)


def timeline(history: History, entries: Sequence[Entry]) -> tuple[tuple[data.StageRow, ...], tuple[str, ...]]:
    """Return the stages, and the names of all stages and jobs on the critical path."""
    chain = critical_chain(history.plan, dict(_spans(history, entries)))
    critical = set(critical_stages(chain, history))
    work = [stage for stage in history.stages.values() if stage.kind is not StageKind.REPORT]
    return tuple(_stage(one, history, one.name in critical) for one in work), chain


def critical_stages(chain: Iterable[str], history: History) -> tuple[str, ...]:
    """Return the critical path in stages only: one that is on it by some of its jobs is named once."""
    stages = {job.label: stage.name for stage in history.plan.stages for job in stage.jobs}
    return tuple(dict.fromkeys(stages.get(name, name) for name in chain))


def _spans(history: History, entries: Sequence[Entry]) -> Iterator[tuple[str, Span]]:
    now_s = history.ended_s or entries[-1].at
    for stage in history.stages.values():
        if stage.started_s and stage.kind is not StageKind.REPORT:
            yield stage.name, Span(stage.started_s, stage.ended_s or now_s)
        for job in history.jobs_of(stage.name):
            if job.submitted_s:
                yield job.label, Span(job.submitted_s, job.ended_s or now_s)


def _from_start(history: History) -> Callable[[float], float | None]:
    begin_s = history.started_s or history.accepted_s
    return lambda at_s: at_s - begin_s if at_s else None


def _stage(stage: Stage, history: History, critical: bool) -> data.StageRow:
    since = _from_start(history)
    return data.StageRow(
        name=stage.name,
        kind=stage.kind.name,
        state=stage.state.name,
        attempt=stage.attempt,
        reason=stage.reason,
        begin_s=since(stage.started_s),
        end_s=since(stage.ended_s) if stage.started_s else None,
        critical=critical,
    )


def jobs(history: History, critical: Sequence[str]) -> tuple[data.JobRow, ...]:
    """Return all attempts at jobs, and the jobs that were one too many."""
    found = [_job(job, history, job.label in critical) for job in history.jobs.values()]
    strays = [_stray(stray, history) for stray in history.stray_jobs.values()]
    return (*found, *strays)


def _job(job: Job, history: History, critical: bool) -> data.JobRow:
    since, config = _from_start(history), history.plan.config
    latest = history.job(job.label)
    return data.JobRow(
        label=job.label,
        attempt=job.attempt,
        stage_name=job.stage_name,
        job_id=job.job_id,
        phase=job.phase,
        exit_code=job.exit_code,
        message=job.message,
        problem=job.absent or job.distrusted,
        submitted=iso_utc(job.submitted_s),
        begin_s=since(job.submitted_s),
        end_s=since(job.ended_s),
        critical=critical and latest is not None and latest.attempt == job.attempt,
        exposures=job.exposures,
        output_collection=job_collection(job.job_id) if job.job_id else "",
        results_url=f"{config.uws_url.rstrip('/')}/job/{job.job_id}/results" if job.job_id else "",
        log_path=config.log_path_pattern.format(job_id=job.job_id) if job.job_id else "",
    )


def _stray(stray: facts.JobStray, history: History) -> data.JobRow:
    job = Job(
        label="",
        attempt=0,
        stage_name=stray.stage_name,
        job_id=stray.job_id,
        phase=stray.phase,
        exit_code=stray.exit_code,
        message=stray.message,
        submitted_s=stray.submitted_s,
        ended_s=stray.ended_s,
        distrusted="It is one too many, was stopped, and nothing of it is used",
    )
    return _job(job, history, critical=False)


def exposures(history: History) -> tuple[data.ExposureRow, ...]:
    """Return all frames, and the exposures that were one too many."""
    expected = len(history.plan.options.detectors)
    strays = tuple(
        data.ExposureRow(
            calib_type=one.calib_type.name,
            index=0,
            exposure_id=one.exposure_id,
            obs_id=one.obs_id,
            exposure_time_s=None,
            taken="",
            fate="one too many",
            reason=one.reason,
            files=None,
            files_expected=expected,
            missing=(),
        )
        for one in history.stray_frames
    )
    return (*(_exposure(frame, history) for frame in history.frames.values()), *strays)


def _exposure(frame: Frame, history: History) -> data.ExposureRow:
    settled, names = frame.settled, history.plan.detector_names
    fate, reason = _fate(frame)
    return data.ExposureRow(
        calib_type=frame.calib_type.name,
        index=frame.index,
        exposure_id=frame.exposure_id or None,
        obs_id=frame.obs_id,
        exposure_time_s=frame.exposure_time_s,
        taken=iso_utc(frame.taken_s),
        fate=fate,
        reason=reason,
        files=None if settled is None else settled.detectors_ingested,
        files_expected=len(names),
        missing=() if settled is None else tuple(names.get(one, str(one)) for one in settled.missing),
    )


def _fate(frame: Frame) -> tuple[str, str]:
    settled = frame.settled.reason if frame.settled is not None else ""
    if frame.given_up:
        return "given up", frame.given_up
    if frame.absent:
        return "not taken", frame.absent
    if not frame.exposure_id:
        return "unknown", "it was commanded, and nothing is known of it"
    return ("discarded" if frame.discarded else "used"), settled


def products(history: History) -> tuple[data.ProductSection, ...]:
    """Return a section for each type of calibration that the run makes or verifies."""
    types = dict.fromkeys(
        stage.calib_type for stage in history.plan.stages if stage.kind in (StageKind.GENERATE, StageKind.VERIFY)
    )
    return tuple(_product(calib_type, history) for calib_type in sorted(types))


def _product(calib_type: CalibType, history: History) -> data.ProductSection:
    product = history.product(calib_type)
    certifications = [one for one in history.certifications.values() if one.intent.calib_type is calib_type]
    datasets = product.datasets if product is not None else ()
    return data.ProductSection(
        calib_type=calib_type.name,
        dataset_type=history.plan.recipe(calib_type).dataset_type,
        made=product is not None,
        job_id=product.job_id if product is not None else "",
        run_collection=product.run_collection if product is not None else "",
        datasets=tuple(
            data.DatasetRow(
                dataset_id=one.dataset_id,
                detector=one.detector,
                physical_filter=one.physical_filter,
                exposure=one.exposure,
            )
            for one in datasets
        ),
        verdicts=tuple(_verdict(one, history) for one in history.verdicts_of(calib_type)),
        certifications=tuple(map(_certification, certifications)),
        fetch=_fetch(calib_type, history),
        undo=f"comcamcalib decertify {history.run_id} {calib_type.name} --reason …"
        if any(one.done and one.withdrawn is None for one in certifications)
        else "",
    )


def _fetch(calib_type: CalibType, history: History) -> tuple[str, ...]:
    """Return lines of Python that read the first dataset of a product: as certified, and as it was made."""
    product, plan = history.product(calib_type), history.plan
    if product is None or not product.datasets:
        return ()
    first = product.datasets[0]
    data_id: dict[str, object] = {"instrument": plan.config.instrument.name, "detector": first.detector}
    lines = []
    frames = [exposure for name in plan.recipe(calib_type).frames for exposure in history.exposure_ids(CalibType[name])]
    certified = [
        one
        for one in history.certifications.values()
        if one.intent.calib_type is calib_type and one.done and one.withdrawn is None
    ]
    if certified and frames:
        # The validity must cover an exposure by which it is looked up; for flats it also gives the filter.
        by_exposure = data_id | {"exposure": frames[-1]}
        lines.append(_get(product.dataset_type, by_exposure, certified[-1].intent.collection))
    by_itself = data_id | {"physical_filter": first.physical_filter, "exposure": first.exposure}
    return (*lines, _get(product.dataset_type, by_itself, product.run_collection))


def _get(dataset_type: str, data_id: Mapping[str, object], collection: str) -> str:
    arguments = ", ".join(f"{name}={value!r}" for name, value in data_id.items() if value is not None)
    return f"butler.get({dataset_type!r}, {arguments}, collections={collection!r})"


def _verdict(given: facts.VerdictGiven, history: History) -> data.VerdictSection:
    names = history.plan.detector_names
    accepted = history.accepted_verdicts.get((given.calib_type, given.physical_filter))
    return data.VerdictSection(
        physical_filter=given.physical_filter,
        attempt=given.attempt,
        verdict=given.verdict.name,
        reason=given.reason,
        job_id=given.job_id,
        accepted_by=accepted.who if accepted is not None else "",
        accepted_because=accepted.why if accepted is not None else "",
        exposures_expected=given.exposures_expected,
        exposures_verified=given.exposures_verified,
        detectors_expected=given.detectors_expected,
        detectors_verified=given.detectors_verified,
        tests_failed=given.tests_failed,
        failures_by_test=given.failures_by_test,
        detectors=tuple(
            data.DetectorRow(
                detector=one.detector,
                name=one.detector_name,
                tests_failed=one.tests_failed,
                exposures_failed=one.exposures_failed,
                amplifiers_failed=one.amplifiers_failed,
                failures_by_test=one.failures_by_test,
                signal=one.signal,
                noise=one.noise,
                left_out=one.detector in given.left_out,
            )
            for one in given.detectors
        ),
        left_out=tuple(names.get(one, str(one)) for one in given.left_out),
        findings=tuple(_finding(one, history) for one in given.findings),
        findings_dropped=given.findings_dropped,
    )


def _finding(finding: Finding, history: History) -> data.FindingRow:
    names = history.plan.detector_names
    return data.FindingRow(
        rule=finding.rule,
        outcome=finding.outcome.name,
        quantity=finding.quantity,
        detector="" if finding.detector is None else names.get(finding.detector, str(finding.detector)),
        amplifier=finding.amplifier,
        exposure=finding.exposure,
        value=finding.value,
        limit=finding.limit,
        unit=finding.unit,
        detail=finding.detail,
        kind=finding.kind,
    )


def _certification(one: Certification) -> data.Certification:
    intent, outcome = one.intent, one.outcome
    return data.Certification(
        number=intent.number,
        stage_name=intent.stage_name,
        outcome=_outcome(one),
        verdict=intent.verdict.name if intent.verdict is not None else "",
        dataset_type=intent.dataset_type,
        collection=intent.collection,
        output_collection=intent.output_collection,
        validity_begin=intent.validity_begin,
        validity_end=intent.validity_end,
        dataset_ids=intent.dataset_ids,
        replaces=tuple(
            data.RangeRow(
                dataset_id=one.dataset_id,
                run_collection=one.run_collection,
                detector=one.detector,
                physical_filter=one.physical_filter,
                validity_begin=one.validity_begin,
                validity_end=one.validity_end,
            )
            for one in intent.replaces
        ),
        remarks=intent.remarks,
        reason=outcome.reason if outcome is not None else "whether it was done is not known",
        withdrawn=one.withdrawn.words if one.withdrawn is not None else "",
    )


def _outcome(one: Certification) -> Literal["certified", "not certified", "unknown", "withdrawn"]:
    if one.withdrawn is not None:
        return "withdrawn"
    if one.outcome is None:
        return "unknown"
    return "certified" if one.done else "not certified"


def measurements(history: History) -> data.Measurements:
    """Return what was measured in the products."""
    rows = [(measured, one) for measured in history.measured.values() for one in measured.values]
    return data.Measurements(
        calib_type=tuple(measured.calib_type.name for measured, _ in rows),
        physical_filter=tuple(measured.physical_filter for measured, _ in rows),
        detector=tuple(one.detector for _, one in rows),
        amplifier=tuple(one.amplifier for _, one in rows),
        quantity=tuple(one.quantity for _, one in rows),
        value=tuple(one.value for _, one in rows),
        unit=tuple(one.unit for _, one in rows),
    )


def drifts(history: History) -> tuple[data.DriftRow, ...]:
    """Return how the products differ from those that were certified before."""
    names = history.plan.detector_names
    return tuple(
        data.DriftRow(
            calib_type=measured.calib_type.name,
            physical_filter=measured.physical_filter,
            detector=one.detector,
            name=names.get(one.detector, str(one.detector)),
            drift=one.drift,
            compared_with=one.compared_with,
        )
        for measured in history.measured.values()
        for one in measured.drifts
    )
