# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have pipelines make a product, and check that they did."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable

from ..butler_data import DatasetFound
from ..enums import CalibType, StageState
from ..errors import ServiceError, StageError
from ..plan.plan import JobPlan, StagePlan
from ..plan.request import job_collection, run_collection
from ..record.act import once
from ..record.facts import Dataset, GainsMeasured, JobDistrusted, ProductMade
from ..record.history import History
from ..record.things import Job, Product
from ..services.side_by_side import all_of, both
from .context import RunContext
from .frames import known_to_be_bad
from .job import PlannedJob

__all__ = ["check_inputs", "generate", "may_begin", "run_job"]

NOT_MEASURED = float("nan")


async def generate(stage: StagePlan, context: RunContext) -> str:
    """Run the jobs of a product, each as soon as it may begin, and check the datasets of each.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence that says what was made.

    Raises
    ------
    StageError
        If a job failed, its datasets are not complete, or it did not use this run's own products.
    """
    try:
        await _make_all(stage, context)
    except StageError as error:
        if known := known_to_be_bad(stage.calib_type, context):
            raise StageError(" ".join([known, str(error)])) from error
        raise
    product = context.history.product(stage.calib_type)
    assert product is not None, "the last job makes it"
    if stage.calib_type is CalibType.GAIN:
        await _record_gains(product, context)
    return f"{len(product.datasets)} datasets of type {product.dataset_type} are in {product.run_collection}"


async def _make_all(stage: StagePlan, context: RunContext) -> None:
    """Do all jobs of a stage; if one fails, those that have begun are followed to their ends, and no other begins."""

    async def make(job: JobPlan) -> None:
        try:
            await context.record.until(lambda history: may_begin(job, history))
            await _make(job, stage, context)
        except Exception:
            # At once, because its place at the UWS is free now, and another job may be waiting for it.
            for task, label in tasks.items():
                if label != job.label and not _has_begun(label, stage, context.history):
                    task.cancel()
            raise

    tasks = {asyncio.create_task(make(job), name=f"{stage.name} {job.label}"): job.label for job in stage.jobs}
    try:
        await asyncio.wait(tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()


def _has_begun(label: str, stage: StagePlan, history: History) -> bool:
    """Return whether a job may be at the UWS, or was in this attempt of its stage."""
    job, attempt = history.job(label), history.stages[stage.name].attempt
    return job is not None and not job.absent and (job.open or job.running or job.stage_attempt == attempt)


def may_begin(job: JobPlan, history: History) -> bool:
    """Return whether a job's frames are in the repository, and the jobs that it builds on have succeeded."""
    return all(history.stages[name].state is StageState.SUCCEEDED for name in job.needs_stages) and all(
        label in history.made for label in job.needs
    )


async def _make(plan: JobPlan, stage: StagePlan, context: RunContext) -> None:
    """Run one job of a product, unless it is done, and check its datasets."""
    job = await run_job(plan, stage, context)
    made = context.history.made.get(plan.label)
    if made is not None and made.job_id == job.job_id:
        return  # it was checked before
    await check_inputs(plan, job, context)
    datasets = await _check_datasets(plan, job, context)
    await context.record.note(
        ProductMade(
            label=plan.label,
            attempt=job.attempt,
            job_id=job.job_id,
            calib_type=stage.calib_type,
            dataset_type=plan.dataset_type,
            run_collection=run_collection(job.job_id),
            datasets=tuple(
                Dataset(
                    dataset_id=one.dataset_id,
                    detector=one.detector,
                    physical_filter=one.physical_filter,
                    exposure=one.exposure,
                )
                for one in datasets
            ),
        )
    )


async def run_job(plan: JobPlan, stage: StagePlan, context: RunContext) -> Job:
    """Run one job to its end, unless it is done already.

    Parameters
    ----------
    plan
        The job's plan.
    stage
        The stage that it belongs to.
    context
        What the stages share.

    Returns
    -------
    job
        The job, which completed with exit code 0.

    Raises
    ------
    StageError
        If it did not complete.
    """
    history = context.history
    exposures = tuple(itertools.chain.from_iterable(history.exposure_ids(calib_type) for calib_type in plan.frames))
    inputs = tuple(history.made[label].job_id for label in plan.inputs)
    act = PlannedJob(plan, stage, exposures, inputs, context)
    if (done := act.known()) is not None:
        return done
    if context.places.full:
        limit = f"max_jobs, {context.config.max_jobs}"
        context.record.waiting(
            stage.name, f"a place at the UWS for {plan.label}, where as many jobs as allowed ({limit}) run"
        )
    async with context.places.place(context.urgency[plan.label]):
        return await once(act, context.record)


async def check_inputs(plan: JobPlan, job: Job, context: RunContext) -> None:
    """Check that a job used this run's own products, and not older ones that came first in its chain.

    Raises
    ------
    StageError
        If it did not, or that is not certain.
    """
    # A job without exposures of its own does not look up by time, so any exposure of the run serves for this check.
    used = (context.history.exposure_ids(calib_type)[:1] for calib_type in context.plan.sequences)
    witnesses = job.exposures or tuple(itertools.chain.from_iterable(used))

    async def foreign(dataset_type: str, label: str) -> list[str]:
        own = context.history.made[label]
        try:
            return await context.services.repository.foreign_inputs(
                job_collection(job.job_id),
                dataset_type,
                witnesses,
                context.plan.options.detectors,
                run_collection(own.job_id),
            )
        except ServiceError as error:
            raise StageError(
                f"Whether the job {job.label} ({job.job_id}) used this run's own products only is not certain: which "
                f"{dataset_type} it used could not be looked up: {error}"
            ) from error

    answers = await all_of(foreign(*one) for one in plan.uses.items())
    if problems := list(itertools.chain.from_iterable(answers)):
        raise await _distrust(
            job,
            f"The job {job.label} ({job.job_id}) did not use this run's own products only, so its output can't be "
            f"trusted: {'; '.join(problems)}",
            context,
        )


async def _distrust(job: Job, sentence: str, context: RunContext) -> StageError:
    """Record that a job's output can't be used, so that another attempt does it again; return the error."""
    await context.record.note(JobDistrusted(label=job.label, attempt=job.attempt, reason=sentence))
    return StageError(sentence)


async def _check_datasets(plan: JobPlan, job: Job, context: RunContext) -> list[DatasetFound]:
    """Check that a job wrote its dataset for every detector, and return the datasets.

    Raises
    ------
    StageError
        If it did not, or that can't be looked up.
    """
    repository, options = context.services.repository, context.plan.options
    made_in = run_collection(job.job_id)
    flats = context.history.exposure_ids(CalibType.FLAT) if plan.dimensions == "detector+physical_filter" else ()
    try:
        found, filters = await both(repository.datasets(made_in, plan.dataset_type), repository.physical_filters(flats))
        kinds: Iterable[str | None] = [None]
        if flats:
            kinds = sorted(set(filters.values()))
            unknown = [str(exposure) for exposure in flats if exposure not in filters]
            if unknown:
                raise StageError(f"The repository does not know the filter of the exposures {', '.join(unknown)}")
    except ServiceError as error:
        raise StageError(f"What the job {job.label} ({job.job_id}) made could not be looked up: {error}") from error
    each = 1
    if plan.dimensions == "detector+exposure_pair":
        each = context.flat_pairs
    missing = [
        name + (f" in {kind}" if kind else "")
        for kind in kinds
        for detector, name in context.plan.detector_names.items()
        if sum(1 for one in found if one.detector == detector and kind in (None, one.physical_filter)) < each
    ]
    if missing or not found:
        raise await _distrust(
            job,
            f"The job {job.label} ({job.job_id}) completed, but {made_in} does not have all of its "
            f"{plan.dataset_type}: {', '.join(missing) or 'there is none'} is missing",
            context,
        )
    return [one for one in found if one.detector in options.detectors]


async def _record_gains(product: Product, context: RunContext) -> None:
    """Record the gains of each flat pair and detector."""
    try:
        values = await context.services.repository.gain_values(product.run_collection, product.dataset_type)
    except ServiceError as error:
        raise StageError(f"The gains of job {product.job_id} could not be read: {error}") from error
    for (exposure_id, detector), amplifiers in sorted(values.items()):
        await context.record.note(
            GainsMeasured(
                exposure_id=exposure_id,
                detector=detector,
                gain=tuple(amplifiers.gain.values()),
                noise=tuple(amplifiers.noise.get(name, NOT_MEASURED) for name in amplifiers.gain),
            )
        )
