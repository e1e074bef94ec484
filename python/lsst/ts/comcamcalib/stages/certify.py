# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certify a product that was found good."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging

from ..enums import CalibType, CertificationState, StageKind
from ..errors import ServiceError, StageError, UnreachableError
from ..plan.plan import StagePlan
from ..plan.record import Certification, CertificationIntent
from ..plan.validity import Validity, days_of, validity_of
from ..services.butler import CertifyOutcome, ExposureFound
from .context import Product, RunContext

__all__ = ["certify"]

# Whoever cancels (abort, leaving ENABLED) has to answer within 10 s, whatever Butler does.
CANCELLED_LIMIT_S = 5.0

MANY = 10
"""Most exposures that a sentence names one by one."""


@dataclasses.dataclass(frozen=True)
class _Task:
    """What is to be certified, and for when."""

    stage: StagePlan
    who: str
    """Name of the stage that does it: the product's own, or that of a product built on it."""
    product: Product
    validity: Validity
    frames: tuple[int, ...]
    """Used exposures of the run so far for which it has to be found; the validity covers them."""
    left_out: tuple[int, ...]
    """Exposures that the product is made of, but that a validity given on purpose does not cover."""
    why_again: str = ""
    """Why it is certified once more, for more time; empty the first time."""


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """What Butler said when it was asked to certify."""

    outcome: CertifyOutcome | None
    """What it did; None if it is not known."""
    unknown: str = ""
    """Why it is not known, in words; empty if it is."""
    error: ServiceError | None = None
    """What was wrong; None also if the stage was cancelled."""


async def certify(stage: StagePlan, context: RunContext) -> str:
    """Put exactly the datasets that were made into the calibration collection, and read them back.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence about what was certified.

    Raises
    ------
    StageError
        If they could not be certified, or are not found afterwards.

    Notes
    -----
    When this is cancelled before Butler has begun, nothing is certified. What Butler has begun can't be stopped; then
    this ends as if it had not been cancelled, for what was done has to be known and published.
    """
    task = await _prepare(stage, stage.name, context)
    reason = await _certify(task, context)
    context.certified[stage.calib_type] = task.validity
    this = asyncio.current_task()
    if this is not None and this.cancelling():
        # It was stopped meanwhile, and nothing more may be begun.
        return reason
    with contextlib.suppress(asyncio.CancelledError):
        for base in context.plan.recipe(stage.calib_type).builds_on:
            await _extend(CalibType[base], task, context)
    return reason


async def _extend(base: CalibType, task: _Task, context: RunContext) -> None:
    """Certify a product of this run for more time if another was built on it from frames of a later day.

    It was certified when these frames had not been taken yet, and would not be found for them, nor in the night for
    which the other is.
    """
    stage, validity = context.plan.stage(base, StageKind.CERTIFY), context.certified.get(base)
    if stage is None or validity is None or context.plan.options.certify_calib_end_date is not None:
        return
    if validity.end_iso_tai >= task.validity.end_iso_tai:
        return
    name = task.stage.calib_type.name
    # At once, so that no other stage does the same beside this one.
    context.certified[base] = task.validity
    try:
        longer = await _prepare(stage, task.who, context)
        why = f"valid for longer now, because {name}, built on it, has later frames"
        await _certify(dataclasses.replace(longer, why_again=why), context)
    except StageError as error:
        raise StageError(
            f"{name} is certified, but {base.name}, which it is built on, could not be made valid for its later "
            f"frames: {error}"
        ) from error


async def _certify(task: _Task, context: RunContext) -> str:
    """Certify and read back; see `certify`."""
    attempt = _Attempt(None, "the run was stopped meanwhile")
    with contextlib.suppress(asyncio.CancelledError):
        attempt = await _begin(task, context)
    ending = asyncio.create_task(_read_back(task, attempt, context), name=f"read back {task.stage.calib_type.name}")
    while not ending.done():
        # Butler's own limit ends this, or ours.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([ending])
    reason = ending.result()
    if not reason:
        raise asyncio.CancelledError
    return reason


async def _prepare(stage: StagePlan, who: str, context: RunContext) -> _Task:
    """Find out for when a product is to be certified, from its frames as the repository knows them."""
    product, options = context.products[stage.calib_type], context.plan.options
    own = _own_exposures(stage, context)
    used = tuple(exposure for calib_type in context.frames for exposure in context.exposure_ids(calib_type))
    what = f"{product.dataset_type} of job {product.job_id} could not be certified in {options.calib_collection}"
    context.record.waiting(who, "Butler to look up when the frames were taken", context.config.limits.butler_query)
    try:
        known = await context.services.repository.exposures(used)
    except ServiceError as error:
        raise StageError(f"{what}: when its frames were taken could not be looked up: {error}") from error
    if unknown := [exposure for exposure in own if exposure not in known]:
        raise StageError(f"{what}: the repository does not know {_named(unknown)}, so its validity can't be determined")
    try:
        days = {day for one in known.values() for day in days_of(one.day_obs, one.end_iso_tai)}
        validity = validity_of(options, days)
    except ValueError as error:
        raise StageError(f"{what}: {error}. Start another run with a correct validity") from error
    covered = [exposure for exposure, one in known.items() if _covers(validity, one)]
    left_out = tuple(exposure for exposure in own if exposure not in covered)
    if left_out:
        logging.getLogger(__name__).warning(
            "Run %s, %s: the validity %s does not cover %s from which this product is made; Butler does not find it "
            "for these",
            context.run_id,
            stage.name,
            validity.words,
            _named(left_out),
        )
    return _Task(stage, who, product, validity, tuple(covered), left_out)


def _own_exposures(stage: StagePlan, context: RunContext) -> tuple[int, ...]:
    """Return the used exposures that a product is made of."""
    types = [CalibType[name] for name in context.plan.recipe(stage.calib_type).frames]
    return tuple(
        exposure
        for calib_type in types
        if calib_type in context.frames
        for exposure in context.exposure_ids(calib_type)
    )


def _covers(validity: Validity, exposure: ExposureFound) -> bool:
    return validity.covers(exposure.begin_iso_tai, exposure.end_iso_tai)


async def _begin(task: _Task, context: RunContext) -> _Attempt:
    """Have Butler certify, and return what it said."""
    product, collection = task.product, context.plan.options.calib_collection
    limit_s = context.config.limits.butler_certify
    context.record.waiting(task.who, f"Butler to certify in {collection}", limit_s)
    # If the process ends while Butler is at it, whoever closes the run knows what to look for.
    await context.record.intend(
        CertificationIntent(
            run_id=context.run_id,
            calib_type=task.stage.calib_type,
            dataset_type=product.dataset_type,
            collection=collection,
            output_collection=product.run_collection,
            validity_begin=task.validity.begin_iso_tai,
            validity_end=task.validity.end_iso_tai,
            dataset_ids=tuple(product.ids),
        )
    )
    try:
        outcome = await context.services.repository.certify(
            product.run_collection,
            product.dataset_type,
            collection,
            task.validity.begin_iso_tai,
            task.validity.end_iso_tai,
            product.ids,
        )
    except UnreachableError as error:
        # That there was no answer in time proves nothing: Butler may have done it, or still do it.
        return _Attempt(None, "Butler did not answer in time", error)
    except ServiceError as error:
        raise StageError(
            f"{product.dataset_type} of job {product.job_id} could not be certified in {collection}: {error}"
        ) from error
    return _Attempt(outcome)


async def _read_back(task: _Task, attempt: _Attempt, context: RunContext) -> str:
    """See what is certified, and publish it.

    Parameters
    ----------
    task
        What was to be certified.
    attempt
        What Butler said. The repository does what it is asked to certify or read back one after the other, so that it
        answers this question when it is done with the certification, or has dropped it.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence about what was certified; empty if nothing was, because the stage was cancelled.
    """
    product, collection = task.product, context.plan.options.calib_collection
    what = f"{product.dataset_type} of job {product.job_id}"
    if attempt.outcome is not None:
        await context.record.write(_entry(task, attempt, context))
    cancelled = attempt.outcome is None and attempt.error is None
    context.record.waiting(
        task.stage.name, f"Butler to read back from {collection}", context.config.limits.butler_query
    )
    try:
        async with asyncio.timeout(CANCELLED_LIMIT_S if cancelled else None):
            lost = await context.services.repository.read_back(
                product.dataset_type,
                collection,
                task.validity.begin_iso_tai,
                task.validity.end_iso_tai,
                product.ids,
                task.frames,
            )
            done = attempt.outcome is not None or not lost or await _is_certified(task, context)
    except (ServiceError, TimeoutError) as error:
        was = "was" if attempt.outcome is not None else "may have been"
        causes = [str(one) for one in (attempt.error, error) if str(one or "")]
        why = " ".join(causes) or f"Butler did not answer within {CANCELLED_LIMIT_S:g} s"
        raise StageError(f"{what} {was} certified in {collection}, but that could not be read back: {why}") from error
    if not done and attempt.error is not None:
        raise StageError(f"{what} could not be certified in {collection}: {attempt.error}") from attempt.error
    if not done:
        return ""
    if attempt.outcome is None:
        await context.record.write(_entry(task, attempt, context))
    if lost:
        raise StageError(f"{product.dataset_type} was certified, but is not found again: {' '.join(lost)}")
    return (
        f"{len(product.ids)} datasets of type {product.dataset_type} are in {collection}, valid {task.validity.words}"
    )


async def _is_certified(task: _Task, context: RunContext) -> bool:
    """Whether any of the datasets is certified at all, for whatever range."""
    product = task.product
    return bool(
        await context.services.repository.certified_ranges(
            product.dataset_type, context.plan.options.calib_collection, product.ids
        )
    )


def _entry(task: _Task, attempt: _Attempt, context: RunContext) -> Certification:
    options, product, outcome = context.plan.options, task.product, attempt.outcome
    notes = [task.why_again] if task.why_again else []
    if not options.do_verify:
        notes.append("certified without verification, as certify_unverified asks")
    if task.left_out:
        notes.append(
            f"WARNING: the validity that was given does not cover {_named(task.left_out)} from which this product is "
            "made; Butler does not find it for these"
        )
    if outcome is None:
        notes.append(f"{attempt.unknown}, so it is not known what this replaces")
    elif replaced := sorted({one.dataset_id for one in outcome.replaced}):
        datasets = "1 dataset that was" if len(replaced) == 1 else f"{len(replaced)} datasets that were"
        notes.append(f"replaces {datasets} certified before: {', '.join(replaced)}")
    return Certification(
        run_id=context.run_id,
        calib_type=task.stage.calib_type,
        state=CertificationState.CERTIFIED,
        dataset_type=product.dataset_type,
        collection=options.calib_collection,
        output_collection=product.run_collection,
        validity_begin=task.validity.begin_iso_tai,
        validity_end=task.validity.end_iso_tai,
        dataset_count=len(product.ids) if outcome is None else len(outcome.certified),
        reason="; ".join(notes),
    )


def _named(exposures: list[int] | tuple[int, ...]) -> str:
    """Return words for some exposures; of many, only the first are named."""
    names = ", ".join(str(exposure) for exposure in exposures[:MANY])
    more = f" and {len(exposures) - MANY} more" if len(exposures) > MANY else ""
    return f"exposure{'s' if len(exposures) > 1 else ''} {names}{more}"
