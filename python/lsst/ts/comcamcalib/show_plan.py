# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show on a terminal what a run would do: exposures, jobs, certifications, and how long it would take.

It is planned as the CSC would plan it now, but without a CSC and without moving anything.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping

from rich.console import Console
from rich.table import Table

from .butler_data import ReplacedDataset
from .clock import Clock
from .config import CscConfig
from .enums import CalibType, StageKind
from .errors import ServiceError
from .options import parse_options
from .plan.build import build_plan
from .plan.estimate import Schedule, durations, schedule
from .plan.plan import JobPlan, RunPlan, Sequence, StagePlan
from .plan.request import job_request, pipetask_line
from .plan.validity import Validity, day_obs_of, validity_of
from .services.replacements import look_for_replacements

__all__ = ["Replacements", "certified_types", "make_plan", "replacements_of", "show_plan"]

OCPS_INPUTS = "<inputs of the OCPS's own configuration>"


@dataclasses.dataclass(frozen=True)
class Replacements:
    """What a run would replace, as far as it was looked up."""

    by_type: Mapping[str, list[ReplacedDataset]] = dataclasses.field(default_factory=dict)
    """By dataset type."""
    not_looked: str = ""
    """Why the repository was not looked into; empty if it was."""


def make_plan(text: str, config: CscConfig, now_tai_s: float | None = None) -> RunPlan:
    """Plan the run that the CSC would make of some options.

    Parameters
    ----------
    text
        The operator's options; "" means the defaults.
    config
        The CSC's configuration.
    now_tai_s
        When the run would begin, TAI unix (seconds); None: now.

    Raises
    ------
    BadInputError
        If the options are wrong; one sentence for each mistake.
    """
    now_s = Clock().tai() if now_tai_s is None else now_tai_s
    day_obs = day_obs_of(now_s)
    options = parse_options(text, config.option_rules(), now_day_obs=day_obs)
    return build_plan(f"{day_obs}-000", options, config, now_s)


def replacements_of(plan: RunPlan, repo: str, look: bool = True) -> Replacements:
    """Look into the repository for what a run would replace, if it can be reached.

    Parameters
    ----------
    plan
        A plan that `make_plan` made.
    repo
        Where this machine finds the repository.
    look
        False: the repository is left alone.
    """
    dataset_types = certified_types(plan)
    if not dataset_types:
        return Replacements()
    if not look:
        return Replacements(not_looked="--no-look was given")
    config = plan.config
    try:
        found = look_for_replacements(
            repo,
            config.instrument.name,
            dataset_types,
            plan.options.calib_collection,
            validity_of(plan.options, [_day_obs(plan)]),
            plan.options.detectors,
            config.limits.butler_query,
        )
    except (ServiceError, ValueError) as error:
        return Replacements(not_looked=str(error))
    return Replacements(found)


def _day_obs(plan: RunPlan) -> int:
    """Return the day of observation on which a run begins, such as 20261122, from its id."""
    return int(plan.run_id.partition("-")[0])


def certified_types(plan: RunPlan) -> list[str]:
    """Return the dataset types that a run would certify."""
    return [plan.recipe(stage.calib_type).dataset_type for stage in plan.stages if stage.kind is StageKind.CERTIFY]


def show_plan(plan: RunPlan, replacements: Replacements, console: Console) -> None:
    """Print a plan.

    Parameters
    ----------
    plan
        The plan. Its run id is not shown, because only an accepted run has one.
    replacements
        What would be replaced.
    console
        Where to print.
    """
    done = schedule(plan)
    console.print(
        f"This run would take {_count(plan.images_expected, 'exposure')}, run {_count(plan.jobs_expected, 'job')} and "
        f"last about "
        f"{_time(done.makespan_s)}. Nothing was moved."
    )
    for notice in plan.notices:
        console.print(f"Notice: {notice}", markup=False, style="yellow")
    console.print()
    console.print(_exposures(plan))
    _show_jobs(plan, done, console)
    _show_certifications(plan, replacements, console)
    _show_critical_path(plan, done, console)


# Exposures


def _exposures(plan: RunPlan) -> Table:
    table = Table("Exposures", "used", "discarded", "exposure times", "lasts", title_justify="left")
    seconds = durations(plan)
    for calib_type, sequence in plan.sequences.items():
        table.add_row(
            _with_filter(calib_type, plan),
            str(sum(1 for frame in sequence.frames if not frame.discarded)),
            str(sum(1 for frame in sequence.frames if frame.discarded)),
            _times(sequence),
            _time(seconds[f"{calib_type.name}.ACQUIRE"]),
        )
    frames = list(itertools.chain.from_iterable(sequence.frames for sequence in plan.sequences.values()))
    discarded = sum(1 for frame in frames if frame.discarded)
    lasts = sum(seconds[f"{calib_type.name}.ACQUIRE"] for calib_type in plan.sequences)
    table.add_section()
    table.add_row("total", str(len(frames) - discarded), str(discarded), "", _time(lasts))
    return table


def _with_filter(calib_type: CalibType, plan: RunPlan) -> str:
    if calib_type is CalibType.FLAT and plan.options.filter is not None:
        return f"{calib_type.name} ({plan.options.filter})"
    return calib_type.name


def _times(sequence: Sequence) -> str:
    """Return the exposure times in order, equal ones together: ``2 x 1 s, 2 x 5 s``."""
    groups = [(time, len(list(equal))) for time, equal in itertools.groupby(f.exposure_time_s for f in sequence.frames)]
    return ", ".join(f"{count} x {time:g} s" for time, count in groups)


# Jobs


def _show_jobs(plan: RunPlan, done: Schedule, console: Console) -> None:
    if not plan.jobs_expected:
        return
    table = Table(title_justify="left")
    table.add_column("Job", no_wrap=True)
    table.add_column("begins after", overflow="fold")
    table.add_column("at", no_wrap=True)
    table.add_column("until", no_wrap=True)
    jobs = [(stage, job) for stage in plan.stages for job in stage.jobs]
    jobs.sort(key=lambda one: done.jobs[one[1].label].begin_s)
    for _, job in jobs:
        span = done.jobs[job.label]
        needs = ", ".join((*job.needs, *job.needs_stages))
        table.add_row(job.label, needs, _time(span.begin_s), _time(span.end_s))
    console.print()
    console.print(table)
    console.print(
        f"At most {_count(plan.config.max_jobs, 'job')} {'runs' if plan.config.max_jobs == 1 else 'run'} at once, the "
        "most urgent first. Input collections that do not exist when a job begins are left out."
    )
    for stage, job in jobs:
        _show_job(stage, job, plan, console)


def _show_job(stage: StagePlan, job: JobPlan, plan: RunPlan, console: Console) -> None:
    request = job_request(
        job,
        plan,
        exposures=[f"<exposures of {frames.name}>" for frames in job.frames],
        job_ids=[f"<job {label}>" for label in job.inputs],
        collections=job.collections,
        mark="<mark>",
    )
    line = pipetask_line(request, repo=plan.config.repo, ocps_inputs=OCPS_INPUTS, job_id=f"<job {job.label}>")
    console.print(f"\n{job.label} ({stage.name}) makes {_made(job)}:", markup=False)
    # A line that is to be copied must not be broken, so it is no cell of a table.
    console.print(f"  {line}", markup=False, soft_wrap=True)


def _made(job: JobPlan) -> str:
    return f"{job.dataset_type} of each {job.dimensions.replace('+', ' and ')}" if job.dimensions else job.dataset_type


# Certifications


def _show_certifications(plan: RunPlan, replacements: Replacements, console: Console) -> None:
    console.print()
    stages = [stage for stage in plan.stages if stage.kind is StageKind.CERTIFY]
    if not stages:
        console.print("Nothing would be certified.")
        return
    options, day_obs = plan.options, _day_obs(plan)
    collection = options.calib_collection
    try:
        validity = validity_of(options, [day_obs]).words
    except ValueError as error:
        validity = f"not known: {error}"
    follows = options.certify_calib_begin_date is None or options.certify_calib_end_date is None
    if_taken = f", if all frames are of day_obs {day_obs}" if follows else ""
    console.print(f"Would be certified in {collection}, {validity}{if_taken}:", markup=False)
    table = Table("Dataset type", "only if these SUCCEEDED", "replaces", title_justify="left")
    for stage in stages:
        dataset_type = plan.recipe(stage.calib_type).dataset_type
        replaced = replacements.by_type.get(dataset_type, [])
        table.add_row(
            dataset_type, ", ".join(stage.needs), "not known" if replacements.not_looked else _summary(replaced)
        )
    console.print(table)
    if replacements.not_looked:
        console.print(f"What they would replace was not looked at: {replacements.not_looked}.", markup=False)
    if any(one.physical_filter for replaced in replacements.by_type.values() for one in replaced):
        console.print("What depends on the filter is replaced only in the filter in which the new frames are taken.")
    for line in _replaced_lines(replacements.by_type):
        console.print(f"  {line}", markup=False)


def _summary(replaced: list[ReplacedDataset]) -> str:
    if not replaced:
        return "nothing"
    return _count(len({one.dataset_id for one in replaced}), "dataset")


def _replaced_lines(by_type: Mapping[str, Iterable[ReplacedDataset]]) -> Iterator[str]:
    for dataset_type, replaced in by_type.items():
        for one in sorted(replaced, key=lambda one: (one.physical_filter or "", one.detector or 0, one.begin_iso_tai)):
            valid = Validity(one.begin_iso_tai, one.end_iso_tai).words
            kind = f" {one.physical_filter}" if one.physical_filter else ""
            yield f"{dataset_type}{kind} of detector {one.detector}, valid {valid}: {one.dataset_id}"


# How long it lasts


def _show_critical_path(plan: RunPlan, done: Schedule, console: Console) -> None:
    seconds = durations(plan)
    steps = " > ".join(f"{name} {_time(seconds[name])}" for name in done.critical_path)
    console.print()
    console.print(f"Expected duration: {_time(done.makespan_s)}, determined by {steps}.", markup=False)


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _time(seconds: float) -> str:
    """Return a duration in words: ``45 s``, ``12 min 05 s``, ``1 h 02 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.3g} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    minutes = round(seconds / 60)
    return f"{minutes // 60} h {minutes % 60:02d} min"
