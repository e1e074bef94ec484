# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What must be true of every night, checked against the world."""

from __future__ import annotations

import collections
import math
import re
from collections.abc import Iterator, Sequence

from lsst.ts.comcamcalib.enums import CalibType, RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.plan.plan import REPORT_STAGE
from lsst.ts.comcamcalib.record.events import (
    Certification,
    Event,
    ImageIngested,
    ImageTaken,
    JobState,
    LargeFile,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.record.views import all_events

from .uws_world import Job
from .world import NightWorld

__all__ = ["judge"]


def judge(history: History, world: NightWorld, published: Sequence[Event]) -> list[str]:
    """Return a sentence for everything that is not as it must be at the end of a night.

    Parameters
    ----------
    history
        The run, as the last process knew it.
    world
        What is outside.
    published
        All events of all processes, in their order.
    """
    return [
        *_ended(history, world),
        *_aborted(history, world),
        *_frames(history, world),
        *_jobs(history, world),
        *_certified(history, world),
        *_good_detectors(history, world),
        *_judged_frames(history),
        *_reported(history),
        *_published(history, published),
        *world.late_answers,
    ]


def _ended(history: History, world: NightWorld) -> Iterator[str]:
    """Faults pass, so the run succeeds in the end, unless a product is bad or the operator aborts the run."""
    aborts = any(one.what == "abort" for one in world.plan.of("command"))
    if bad := _bad(history, world):
        if history.state is RunState.COMPLETED:
            yield f"the run is COMPLETED, although {', '.join(sorted(bad))} can't be good"
        elif history.state is not RunState.FAILED and not (aborts and history.state is RunState.ABORTED):
            yield f"the run with a bad product is {history.state.name}: {history.reason}"
        return
    if history.state is RunState.COMPLETED:
        bad = [stage.name for stage in history.stages.values() if stage.state is not StageState.SUCCEEDED]
        if bad:
            yield f"the run is COMPLETED, but not {', '.join(bad)}"
    elif not (aborts and history.state is RunState.ABORTED) and not _base_withdrawn(history):
        yield f"the run is {history.state.name}: {history.reason}"


def _aborted(history: History, world: NightWorld) -> Iterator[str]:
    """After an abort that was not refused nothing is certified, and the run ends ABORTED, unless it is to go on."""
    for number, (at_s, what) in enumerate(world.wanted):
        until_s = min((later_s for later_s, other in world.wanted[number:] if other == "go on"), default=math.inf)
        if what != "abort":
            continue
        if late := sorted({kind for asked_s, kind in world.certify_log if at_s < asked_s < until_s}):
            yield f"{', '.join(late)} was certified, although the run had been aborted at {at_s:.1f} s"
        if until_s == math.inf and history.state is not RunState.ABORTED:
            yield f"the run is {history.state.name}, although it was aborted at {at_s:.1f} s"


def _base_withdrawn(history: History) -> bool:
    """Whether the operator has withdrawn a product before another one, built on it, was certified."""
    withdrawn = [one for one in history.certifications.values() if one.done and one.withdrawn is not None]
    return bool(withdrawn) and history.state is RunState.FAILED and "was withdrawn by" in history.reason


def _reported(history: History) -> Iterator[str]:
    """Each run has a report, and it is that of its last end."""
    stage = history.stages[REPORT_STAGE]
    if stage.state is not StageState.SUCCEEDED:
        yield f"{REPORT_STAGE} is {stage.state.name} at the end of the run: {stage.reason}"
    elif history.report is None or history.report.attempt != stage.attempt:
        yield f"the report of attempt {stage.attempt} was never told"


def _bad(history: History, world: NightWorld) -> set[str]:
    """Return the products of the run that are bad, or are built on a bad one."""
    bad: set[str] = set()
    detectors, leaves_out = set(history.plan.options.detectors), history.plan.options.certify_good_detectors
    for stage in history.plan.stages:
        name = stage.calib_type.name
        bases = set(history.plan.recipe(stage.calib_type).builds_on)
        own = detectors <= _left_out(name, history, world) if leaves_out else bool(world.bad_detectors[name])
        accepted = any(key[0] is stage.calib_type for key in history.accepted_verdicts)
        if stage.kind is StageKind.VERIFY and (bases & bad or (own and not accepted)):
            bad.add(name)
    return bad


def _left_out(name: str, history: History, world: NightWorld, judged_by_s: float = math.inf) -> set[int]:
    """Return the detectors that a product must not be certified for: its own bad ones, and those of what it needs.

    It needs the products that it is built on, and those that judge the frames that it is made from. A product of the
    second kind holds nothing up if it is bad as a whole, or could not be judged in time: its frames may be good.
    """
    plan = history.plan
    if not plan.options.certify_good_detectors or not plan.options.do_verify:
        return set()
    recipe, detectors = plan.recipe(CalibType[name]), set(plan.options.detectors)
    made = {stage.calib_type.name for stage in plan.stages if stage.kind is StageKind.GENERATE}
    left_out = _own_left_out(CalibType[name], history, world, judged_by_s)
    certified = [at_s for at_s, one in world.certified_log if one.dataset_type == recipe.dataset_type]
    for other in {*recipe.builds_on, *recipe.frames} & made - {name}:
        if other in recipe.builds_on:
            left_out |= _left_out(other, history, world, judged_by_s)
        else:
            of_frames = _left_out(other, history, world, min(judged_by_s, *certified, math.inf))
            left_out |= of_frames if not detectors <= of_frames else set()
    return left_out


def _own_left_out(calib_type: CalibType, history: History, world: NightWorld, judged_by_s: float) -> set[int]:
    """Return the bad detectors of a product, and those that it or its verification lacks, if it was judged by then."""
    labels = {job.label for job in history.plan.recipe(calib_type).jobs}
    makers = [world.jobs.get(one.job_id) for one in history.made.values() if one.label in labels]
    lacking = {job.detectors[0] for job in makers if isinstance(job, Job) and "incomplete" in job.faults}
    if any(one is calib_type for one, _ in history.accepted_verdicts):
        return lacking
    judged = [job for one in history.verdicts_of(calib_type) if isinstance(job := world.jobs.get(one.job_id), Job)]
    if any(job.ended_s - world.epoch_s >= judged_by_s for job in judged):
        return set()
    unknown = {job.detectors[0] for job in judged if "incomplete" in job.faults}
    return world.bad_detectors[calib_type.name] | unknown | lacking


def _judged_frames(history: History) -> Iterator[str]:
    """Nothing is certified that is made of frames of which nobody has said whether they are good."""
    if not history.plan.options.do_verify:
        return
    for intent in (one.intent for one in history.certifications.values() if one.sound):
        if any(one is intent.calib_type for one, _ in history.accepted_verdicts):
            continue
        for frames in (CalibType[name] for name in history.plan.recipe(intent.calib_type).frames):
            stage, verdicts = history.stage(frames, StageKind.VERIFY), history.verdicts_of(frames)
            if stage is not None and stage.state is not StageState.SUCCEEDED and not verdicts:
                yield f"{intent.calib_type.name} was certified, but {stage.name} gave no verdict: {stage.reason}"
            if unknown := [one for one in verdicts if one.verdict is Verdict.UNKNOWN]:
                yield f"{intent.calib_type.name} was certified, but {frames.name} is UNKNOWN: {unknown[0].reason}"


def _good_detectors(history: History, world: NightWorld) -> Iterator[str]:
    """Only good detectors are certified: all of them, and the same ones in all that is built on them."""
    certified: dict[str, set[int | None]] = collections.defaultdict(set)
    for _, one in world.certified_log:
        certified[one.dataset_type].add(one.dataset.detector)
    for intent in (one.intent for one in history.certifications.values()):
        if intent.verdict is Verdict.UNKNOWN:
            yield f"{intent.calib_type.name} was to be certified although its verdict is UNKNOWN"
    for stage in history.stages.values():
        if stage.kind is not StageKind.CERTIFY or stage.calib_type is None:
            continue
        name = stage.calib_type.name
        left_out = _left_out(name, history, world)
        there = certified[world.config.recipes[name].dataset_type]
        if wrong := there & left_out:
            yield f"{name} was certified for the detectors {sorted(wrong)}, which are not good"
        wanted = set(history.plan.options.detectors) - left_out
        if history.state is RunState.COMPLETED and there != wanted:
            yield f"{name} is certified for the detectors {sorted(there)}, not for {sorted(wanted)}"


def _frames(history: History, world: NightWorld) -> Iterator[str]:
    for calib_type, sequence in history.plan.sequences.items():
        ours = {one for one in world.read_out if world.images[one].group_id == sequence.group_id}
        known = {frame.exposure_id: frame for frame in history.taken(calib_type)}
        strays = {one.exposure_id for one in history.stray_frames if one.calib_type is calib_type}
        if unreal := sorted(set(known) - ours):
            yield f"{calib_type.name}: the run has exposures {unreal}, which the camera never took"
        if len(set(known)) < len(history.taken(calib_type)):
            yield f"{calib_type.name}: an exposure stands for two frames"
        # The frame in progress at an abort may be left; nothing else may.
        unknown = sorted(ours - set(known) - strays)
        if unknown and history.state is RunState.COMPLETED:
            yield f"{calib_type.name}: nobody knows of the exposures {unknown}"
        if len(unknown) > 1:
            yield f"{calib_type.name}: more than one exposure is unknown: {unknown}"
        if history.state is RunState.COMPLETED:
            yield from _places(history, calib_type, world)


def _places(history: History, calib_type: CalibType, world: NightWorld) -> Iterator[str]:
    """Each planned frame has exactly one used exposure, and none was taken again that was good."""
    wanted = [frame.index for frame in history.plan.sequences[calib_type].frames if not frame.discarded]
    holders = collections.Counter(frame.replaces or frame.index for frame in history.used(calib_type))
    for place in wanted:
        if holders[place] != 1:
            yield f"{calib_type.name} frame {place} has {holders[place]} used exposures"
    detectors = history.plan.options.detectors
    for frame in history.used(calib_type):
        if lost := [one for one in detectors if (frame.exposure_id, one) not in world.raws]:
            yield f"{calib_type.name}: exposure {frame.exposure_id} is used, but the files of {lost} do not exist"


def _exposures_of(job: Job) -> set[int]:
    return set(job.exposures)


def _jobs(history: History, world: NightWorld) -> Iterator[str]:
    known = {job.job_id: job for job in history.jobs.values() if job.job_id}
    ours = [job for job in world.all_jobs if job.request.output_dataset_types.split(",")[-1].startswith(history.run_id)]
    strays = set(history.stray_jobs)
    for job in ours:
        if job.running:
            state = "is known as ended" if job.job_id in known and known[job.job_id].ended_s else "is not known"
            yield f"job {job.job_id} ({job.label}) still runs; it {state}"
        # Of a job that the UWS has forgotten before anybody asked for it, nobody can know.
        unknown = job.known and job.job_id not in known and job.job_id not in strays
        if unknown and history.state is not RunState.ABORTED:
            yield f"nobody was told of job {job.job_id} ({job.label}), made at {job.created_s - world.epoch_s:.0f} s"
    for number in set(known) | strays:
        if number not in world.jobs:
            yield f"the run knows of job {number}, which never was"
    unused = {frame.exposure_id for frame in history.frames.values() if frame.exposure_id and frame.given_up}
    unused |= {one.exposure_id for one in history.stray_frames}
    for product in history.made.values():
        job = world.jobs.get(product.job_id)
        if not isinstance(job, Job) or job not in ours:
            yield f"{product.label} was made by {product.job_id}, which is no job of this run"
            continue
        # What such a job lacks is left out where good detectors are to be certified.
        lacks = "incomplete" in job.faults and not history.plan.options.certify_good_detectors
        if job.phase != "completed" or lacks:
            yield f"{product.label} was made by {product.job_id}, which is {job.phase}, not good"
        if bad := sorted(_exposures_of(job) & unused):
            yield f"{product.label} was made from the exposures {bad}, which were given up"
        for one in re.findall(r"u/ocps/([0-9a-f]{32})", job.request.config):
            if one not in known:
                yield f"{product.label} builds on job {one}, which the run does not know"


def _certified(history: History, world: NightWorld) -> Iterator[str]:
    if history.plan.options.generate_calibrations:
        for name in _bad(history, world):
            dataset_type = world.config.recipes[name].dataset_type
            if any(one.dataset_type == dataset_type for _, one in world.certified_log):
                yield f"{name} is bad, or built on what is bad, and was certified"
    ours = {dataset: product for product in history.made.values() for dataset in product.ids}
    seen = collections.Counter((one.dataset.dataset_id, one.begin, one.end) for _, one in world.certified_log)
    for (dataset, begin, end), count in seen.items():
        if count > 1:
            yield f"dataset {dataset} was certified {count} times for {begin} to {end}"
    by_type: dict[str, set[str]] = collections.defaultdict(set)
    for at_s, one in world.certified_log:
        by_type[one.dataset_type].add(one.dataset.run)
        yield from _verified(one.dataset.run, at_s, history, world)
    for dataset_type, runs in by_type.items():
        if len(runs) > 1 and history.state is RunState.COMPLETED:
            yield f"two products of type {dataset_type} were certified: {sorted(runs)}"
    withdrawn = {
        one.intent.calib_type for one in history.certifications.values() if one.done and one.withdrawn is not None
    }
    if any(one.what == "decertify" for one in world.plan.of("decision")):
        yield from _as_before(world)
    if history.state is not RunState.COMPLETED:
        return
    for stage in history.stages.values():
        if stage.kind is StageKind.CERTIFY and stage.calib_type not in withdrawn:
            product = history.product(stage.calib_type)
            there = {one.dataset.dataset_id for one in world.validities}
            left_out = _left_out(stage.calib_type.name, history, world) if stage.calib_type is not None else set()
            if (
                product is None
                or not {one.dataset_id for one in product.datasets if one.detector not in left_out} <= there
            ):
                yield f"{stage.name} SUCCEEDED, but its product is not certified"
    older = {one.dataset.dataset_id for one in world.older}
    extra = {one.dataset.dataset_id for one in world.validities} - set(ours) - older
    if extra:
        yield f"{len(extra)} datasets are certified that are no products of the run"


def _as_before(world: NightWorld) -> Iterator[str]:
    """After all was withdrawn, the collection is exactly as it was before the run."""
    before = {(one.dataset.dataset_id, one.begin, one.end) for one in world.older}
    now = {(one.dataset.dataset_id, one.begin, one.end) for one in world.validities}
    for name, begin, end in sorted(before ^ now):
        what = "is not as before" if (name, begin, end) in before else "is there, which was not before"
        yield f"after all was withdrawn, dataset {name} from {begin} to {end} {what}"


def _verified(run_collection: str, at_s: float, history: History, world: NightWorld) -> Iterator[str]:
    """Nothing is certified before a completed verification of this very product."""
    if not history.plan.options.do_verify:
        return
    for name, recipe in world.config.recipes.items():
        if recipe.verification is None or recipe.dataset_type != _type_of(run_collection, world):
            continue
        before = [
            job
            for job in world.all_jobs
            if job.label == recipe.verification.label
            and job.phase == "completed"
            and job.ended_s <= world.epoch_s + at_s
            and run_collection.removesuffix("/run") in job.inputs
        ]
        if not before:
            yield f"{name} of {run_collection} was certified without a verification"


def _type_of(run_collection: str, world: NightWorld) -> str:
    return next((kind for run, kind in world.datasets if run == run_collection), "")


KEYS = {
    RunStatus: lambda one: "",
    StageStatus: lambda one: one.stage_name,
    JobState: lambda one: one.job_id,
    LargeFile: lambda one: one.url,
    ImageTaken: lambda one: one.exposure_id,
    ImageIngested: lambda one: one.exposure_id,
    VerificationResult: lambda one: (one.calib_type, one.physical_filter),
    Certification: lambda one: (one.calib_type, one.dataset_type, one.validity_end),
}


def _published(history: History, published: Sequence[Event]) -> Iterator[str]:
    """What was published last of each thing is what follows from the facts."""
    last = {(type(one), KEYS[type(one)](one)): one for one in published if type(one) in KEYS}
    for one in all_events(history):
        if type(one) not in KEYS:
            continue
        heard = last.get((type(one), KEYS[type(one)](one)))
        if heard != one:
            yield f"published was {heard}, but the facts say {one}"
