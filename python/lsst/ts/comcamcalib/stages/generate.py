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
from collections.abc import Iterable

from ..enums import CalibType
from ..errors import NotEnabledError, ServiceError, StageError
from ..plan.plan import JobPlan, StagePlan
from ..plan.record import GAIN_ESTIMATE_AMPLIFIERS, GainEstimate
from ..plan.request import JobRequest, job_collection, job_request
from ..services.butler import AmplifierValues, DatasetFound
from ..services.jobs import JobStatus
from ..services.side_by_side import all_of, both
from .context import Product, RunContext, job_state
from .frames import known_to_be_bad

__all__ = ["generate", "run_job"]

NOT_MEASURED = float("nan")

_log = logging.getLogger(__name__)


async def generate(stage: StagePlan, context: RunContext) -> str:
    """Run the jobs of a product, one after the other, and check the datasets of each.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share; it gets the product.

    Returns
    -------
    reason
        One sentence that says what was made.

    Raises
    ------
    StageError
        If a job failed, its datasets are not complete, or it did not use this run's own products.
    """
    datasets: list[DatasetFound] = []
    job_id = ""
    try:
        for job in stage.jobs:
            job_id = await run_job(job, stage, context)
            datasets = await _check_datasets(job, job_id, context)
    except StageError as error:
        if known := known_to_be_bad(stage.calib_type, context):
            raise StageError(" ".join([known, str(error)])) from error
        raise
    product = Product(stage.jobs[-1].dataset_type, job_id, tuple(datasets))
    context.products[stage.calib_type] = product
    if stage.calib_type is CalibType.GAIN:
        await _tell_gains(product, context)
    return f"{len(datasets)} datasets of type {product.dataset_type} are in {product.run_collection}"


async def run_job(job: JobPlan, stage: StagePlan, context: RunContext) -> str:
    """Run one job to its end, and check that it used this run's own products.

    Parameters
    ----------
    job
        The job's plan.
    stage
        The stage that it belongs to.
    context
        What the stages share.

    Returns
    -------
    job_id
        Identifier of the job, which completed with exit code 0.

    Raises
    ------
    StageError
        If it did not complete, or used datasets that are not this run's.
    """
    exposures = tuple(itertools.chain.from_iterable(context.exposure_ids(calib_type) for calib_type in job.frames))
    try:
        status = await _run_when_enabled(job, exposures, stage, context)
    except ServiceError as error:
        raise StageError(f"The job {job.label} could not be run: {error}") from error
    if not status.succeeded:
        raise StageError(
            f"The job {job.label} ({status.job_id}) failed with exit code {status.exit_code} in phase {status.phase}: "
            f"{status.message or 'its log does not say why'}"
        )
    context.job_ids[job.label] = status.job_id
    await _check_inputs(job, status.job_id, exposures, context)
    return status.job_id


async def _request(job: JobPlan, exposures: tuple[int, ...], context: RunContext) -> JobRequest:
    """Make the OCPS command of a job."""
    return job_request(
        job,
        context.plan,
        exposures=exposures,
        job_ids=[context.job_ids[label] for label in job.inputs],
        collections=await context.existing(job.collections),
        mark=job.mark,
    )


async def _run_when_enabled(
    job: JobPlan, exposures: tuple[int, ...], stage: StagePlan, context: RunContext
) -> JobStatus:
    """Run a job as soon as the OCPS is ENABLED, if that is within its limit.

    Raises
    ------
    ServiceError
        If the job could not be submitted.
    """
    clock = asyncio.get_running_loop().time
    limits = context.config.limits
    deadline = clock() + limits.ocps_enabled
    while True:
        await _wait_for_ocps(deadline, job, stage, context)
        request = await _request(job, exposures, context)
        # If the answer does not prove whether there is a job, the search for it may take as long again.
        context.record.waiting(stage.name, f"the OCPS to accept {job.label}", 2 * limits.job_submission)
        try:
            return await context.services.jobs.run(request, lambda status: _tell_job(status, job, stage, context))
        except NotEnabledError as error:
            # It left ENABLED a moment ago and did nothing, so the command can be sent again.
            if clock() >= deadline:
                raise
            _log.warning("Run %s, %s: %s", context.run_id, stage.name, error)
            context.record.waiting(stage.name, f"the OCPS to be ENABLED, for {job.label}", deadline - clock())
            await asyncio.sleep(context.config.uws_poll_interval_s)


async def _wait_for_ocps(deadline: float, job: JobPlan, stage: StagePlan, context: RunContext) -> None:
    """Wait until the OCPS is ENABLED and sends heartbeats; publish what is being waited for.

    Raises
    ------
    ServiceError
        If it is not by the deadline (seconds of the loop's clock).
    """
    clock = asyncio.get_running_loop().time
    told = ""
    while problem := _ocps_problem(context):
        if clock() >= deadline:
            raise ServiceError(
                f"{problem} The run waited for that for {context.config.limits.ocps_enabled:g} s; the job was not "
                "submitted. Then start another run."
            )
        context.record.waiting(stage.name, f"the OCPS, for {job.label}: {problem}", deadline - clock())
        if problem != told:
            _log.warning("Run %s, %s waits: %s", context.run_id, stage.name, problem)
            told = problem
        await asyncio.sleep(context.config.uws_poll_interval_s)
    if told:
        _log.info("Run %s, %s: the OCPS is ENABLED again, the run goes on", context.run_id, stage.name)


def _ocps_problem(context: RunContext) -> str:
    """Return what is wrong with the OCPS, "" if nothing is."""
    name = f"{context.config.instrument.ocps} "
    return next((problem for problem in context.services.components.problems() if problem.startswith(name)), "")


async def _tell_job(status: JobStatus, job: JobPlan, stage: StagePlan, context: RunContext) -> None:
    config = context.config
    if (stage.name, status.job_id) not in context.submitted_jobs:
        context.submitted_jobs.append((stage.name, status.job_id))
    if not status.ended:
        context.record.waiting(stage.name, f"the job {job.label} ({status.job_id}), {status.phase}", config.limits.job)
    await context.record.write(job_state(status, context.run_id, stage.name, stage.calib_type, config))


async def _check_inputs(job: JobPlan, job_id: str, exposures: tuple[int, ...], context: RunContext) -> None:
    """Check that a job used this run's own products, and not older ones that came first in its chain."""
    # A job without exposures of its own does not look up by time, so any exposure of the run serves for this check.
    witnesses = exposures or tuple(image.exposure_id for frames in context.frames.values() for image in frames.used[:1])

    async def foreign(dataset_type: str, label: str) -> list[str]:
        expected = f"{job_collection(context.job_ids[label])}/run"
        try:
            return await context.services.repository.foreign_inputs(
                job_collection(job_id), dataset_type, witnesses, context.plan.options.detectors, expected
            )
        except ServiceError as error:
            return [f"which {dataset_type} it used could not be looked up: {error}"]

    answers = await all_of(foreign(*one) for one in job.uses.items())
    if problems := list(itertools.chain.from_iterable(answers)):
        raise StageError(
            f"It is not certain that the job {job.label} ({job_id}) used this run's own products only, "
            f"so its output can't be trusted: {'; '.join(problems)}"
        )


async def _check_datasets(job: JobPlan, job_id: str, context: RunContext) -> list[DatasetFound]:
    """Check that a job wrote its dataset for every detector, and return the datasets."""
    repository, options = context.services.repository, context.plan.options
    run_collection = f"{job_collection(job_id)}/run"
    flats = context.exposure_ids(CalibType.FLAT) if job.dimensions == "detector+physical_filter" else ()
    try:
        found, filters = await both(
            repository.datasets(run_collection, job.dataset_type), repository.physical_filters(flats)
        )
        kinds: Iterable[str | None] = [None]
        if flats:
            kinds = sorted(set(filters.values()))
            unknown = [str(exposure) for exposure in flats if exposure not in filters]
            if unknown:
                raise StageError(f"The repository does not know the filter of the exposures {', '.join(unknown)}")
    except ServiceError as error:
        raise StageError(f"What the job {job.label} ({job_id}) made could not be looked up: {error}") from error
    each = 1
    if job.dimensions == "detector+exposure_pair":
        each = context.flat_pairs
    missing = [
        name + (f" in {kind}" if kind else "")
        for kind in kinds
        for detector, name in context.plan.detector_names.items()
        if sum(1 for one in found if one.detector == detector and kind in (None, one.physical_filter)) < each
    ]
    if missing or not found:
        raise StageError(
            f"The job {job.label} ({job_id}) completed, but {run_collection} does not have all of its "
            f"{job.dataset_type}: {', '.join(missing) or 'there is none'} is missing"
        )
    return [one for one in found if one.detector in options.detectors]


async def _tell_gains(product: Product, context: RunContext) -> None:
    """Publish the gains of each flat pair and detector."""
    try:
        values = await context.services.repository.gain_values(product.run_collection, product.dataset_type)
    except ServiceError as error:
        raise StageError(f"The gains of job {product.job_id} could not be read: {error}") from error
    for (exposure_id, detector), amplifiers in sorted(values.items()):
        await context.record.write(
            GainEstimate(
                run_id=context.run_id,
                exposure_id=exposure_id,
                detector=detector,
                detector_name=context.config.instrument.detector_names[detector],
                **_by_amplifier(amplifiers),
            )
        )


def _by_amplifier(values: AmplifierValues) -> dict[str, tuple[float, ...]]:
    """Return gains and noises for the event, in readout order, NaN if there is no value."""
    names = list(values.gain)[:GAIN_ESTIMATE_AMPLIFIERS]
    padding = (NOT_MEASURED,) * (GAIN_ESTIMATE_AMPLIFIERS - len(names))
    return {
        "gain": (*(values.gain[name] for name in names), *padding),
        "noise": (*(values.noise.get(name, NOT_MEASURED) for name in names), *padding),
    }
