# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Have pipelines make a product, and check that they did."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Sequence

from ..butler_data import DatasetFound
from ..enums import CalibType, StageKind, StageState
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
    made = f"{len(product.datasets)} datasets of type {product.dataset_type} are in {product.run_collection}"
    if without := context.history.not_made(stage.calib_type):
        made += f", without {', '.join(context.plan.detector_names[one] for one in without)}, for which none was made"
    return made


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
    """Return whether a job's frames are in the repository, and the products that it builds on are made."""
    return all(history.stages[name].state is StageState.SUCCEEDED for name in job.needs_stages) and all(
        _is_made(label, job, history) for label in job.needs
    )


def _is_made(label: str, job: JobPlan, history: History) -> bool:
    """Return whether a product that a job builds on is made; that of another stage is when that stage has succeeded.

    What an earlier attempt of that stage has made must not be used while the stage makes it again.
    """
    if (product := history.made.get(label)) is None:
        return False
    maker = f"{product.calib_type.name}.{StageKind.GENERATE.name}"
    return maker == job.stage_name or history.stages[maker].state is StageState.SUCCEEDED


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
    if plan.frames and not exposures:
        # Without exposures in its query the job would process all that the repository has.
        types = " and ".join(one.name for one in plan.frames)
        raise StageError(f"The job {plan.label} was not submitted: the run has no exposure of {types} that counts")
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
                # The others are left out of all that is built on it.
                [one for one in context.plan.options.detectors if one in {it.detector for it in own.datasets}],
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

    With the option certify_good_detectors, detectors that lack a dataset are left out, and those for which this run has
    not made what the job uses: their datasets are made with older products.

    Raises
    ------
    StageError
        If it did not, or that can't be looked up.
    """
    made_in = run_collection(job.job_id)
    found, kinds = await _look_up_datasets(plan, job, context)
    each = context.flat_pairs if plan.dimensions == "detector+exposure_pair" else 1
    names, wanted = context.plan.detector_names, _detectors_with_inputs(plan, context)
    missing = {
        detector: [
            names[detector] + (f" in {kind}" if kind else "")
            for kind in kinds
            if sum(1 for one in found if one.detector == detector and kind in (None, one.physical_filter)) < each
        ]
        for detector in wanted
    }
    complete = [detector for detector in wanted if not missing[detector]]
    lacking = ", ".join(itertools.chain.from_iterable(missing.values()))
    if not complete or (lacking and not context.plan.options.certify_good_detectors):
        raise await _distrust(
            job,
            f"The job {job.label} ({job.job_id}) completed, but {made_in} does not have all of its "
            f"{plan.dataset_type}: {lacking or 'there is none'} is missing",
            context,
        )
    if lacking:
        logging.getLogger(__name__).warning(
            "Run %s: the job %s (%s) completed, but made no %s for %s, which is left out",
            *(context.run_id, job.label, job.job_id, plan.dataset_type, lacking),
        )
    return [one for one in found if one.detector in complete]


def _detectors_with_inputs(plan: JobPlan, context: RunContext) -> list[int]:
    """Return the detectors for which this run has made all that a job uses."""
    made = [{one.detector for one in context.history.made[label].datasets} for label in plan.uses.values()]
    return [one for one in context.plan.detector_names if all(one in some for some in made)]


async def _look_up_datasets(
    plan: JobPlan, job: Job, context: RunContext
) -> tuple[list[DatasetFound], Sequence[str | None]]:
    """Return the datasets that a job made, and the filters in which there must be some; None: in whichever."""
    repository = context.services.repository
    flats = context.history.exposure_ids(CalibType.FLAT) if plan.dimensions == "detector+physical_filter" else ()
    try:
        found, filters = await both(
            repository.datasets(run_collection(job.job_id), plan.dataset_type), repository.physical_filters(flats)
        )
    except ServiceError as error:
        raise StageError(f"What the job {job.label} ({job.job_id}) made could not be looked up: {error}") from error
    if unknown := [str(exposure) for exposure in flats if exposure not in filters]:
        raise StageError(f"The repository does not know the filter of the exposures {', '.join(unknown)}")
    return found, sorted(set(filters.values())) if flats else [None]


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
