# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certify a product whose verdict is good."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging

from lsst.ts.utils import current_tai

from ..enums import CalibType, CertificationState, StageKind
from ..errors import ServiceError, StageError, UnreachableError
from ..plan.plan import StagePlan
from ..plan.record import Certification, CertificationIntent
from ..plan.validity import Validity, days_of, validity_of
from ..services.butler import CertifyOutcome, ExposureFound
from .context import Product, RunContext

__all__ = ["certify"]

# Whoever cancels (abort, leaving ENABLED) must answer within 10 s, even if Butler hangs.
CANCELLED_LIMIT_S = 5.0

MANY = 10
"""Largest number of exposures that a sentence names one by one."""


@dataclasses.dataclass(frozen=True)
class _Task:
    """A product to certify, and its validity."""

    stage: StagePlan
    who: str
    """Name of the stage that certifies: the product's own, or that of a product built on it."""
    product: Product
    validity: Validity
    frames: tuple[int, ...]
    """Used exposures of the run so far for which Butler must find the product; the validity covers them."""
    left_out: tuple[int, ...]
    """Exposures from which the product is made, but which the operator's validity does not cover."""
    why_again: str = ""
    """Why it is certified once more, for longer; empty the first time."""


@dataclasses.dataclass(frozen=True)
class _Attempt:
    """Butler's answer to a request to certify."""

    outcome: CertifyOutcome | None
    """What Butler did; None if that is unknown."""
    unknown: str = ""
    """Why the outcome is unknown; empty if it is known."""
    error: ServiceError | None = None
    """The error; None also if the stage was cancelled."""


async def certify(stage: StagePlan, context: RunContext) -> str:
    """Certify exactly the datasets of the product in the calibration collection, and read them back.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence that says what was certified.

    Raises
    ------
    StageError
        If they could not be certified, or are not found afterwards.

    Notes
    -----
    If this is cancelled before Butler has begun, nothing is certified. A call that Butler has begun can't be stopped;
    then this ends as if it had not been cancelled, because the outcome must be known and published.
    """
    task = await _prepare(stage, stage.name, context)
    if over := _over(task.validity, context):
        logging.getLogger(__name__).warning("Run %s, %s: %s", context.run_id, stage.name, over)
    reason = await _certify(task, context)
    context.certified[stage.calib_type] = task.validity
    this = asyncio.current_task()
    if this is not None and this.cancelling():
        # The stage was stopped meanwhile, so nothing more may be started.
        return reason
    with contextlib.suppress(asyncio.CancelledError):
        for base in context.plan.recipe(stage.calib_type).builds_on:
            await _extend(CalibType[base], task, context)
    return reason


async def _extend(base: CalibType, task: _Task, context: RunContext) -> None:
    """Certify a product of this run for longer if another was built on it from frames of a later day.

    It was certified before these frames were taken, so Butler would not find it for them, nor in the night for which
    the other product is certified.
    """
    stage, validity = context.plan.stage(base, StageKind.CERTIFY), context.certified.get(base)
    if stage is None or validity is None or context.plan.options.certify_calib_end_date is not None:
        return
    if validity.end_iso_tai >= task.validity.end_iso_tai:
        return
    name = task.stage.calib_type.name
    # Noted at once, so that no other stage does the same at the same time.
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
        # Ends by Butler's own limit, or by ours.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([ending])
    reason = ending.result()
    if not reason:
        raise asyncio.CancelledError
    return reason


async def _prepare(stage: StagePlan, who: str, context: RunContext) -> _Task:
    """Find out the validity of a product from the repository's records of its frames."""
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
    """Return the used exposures from which a product is made."""
    types = [CalibType[name] for name in context.plan.recipe(stage.calib_type).frames]
    return tuple(
        exposure
        for calib_type in types
        if calib_type in context.frames
        for exposure in context.exposure_ids(calib_type)
    )


def _over(validity: Validity, context: RunContext) -> str:
    """Say that a validity that follows the frames is over, as when jobs took until after noon; "" if it is not."""
    if context.plan.options.certify_calib_end_date is not None or not validity.ended(current_tai()):
        return ""
    return (
        f"WARNING: the validity ended at {validity.end_iso_tai} TAI, with the day of the last frame, so that the "
        "coming night does not find this; for that, start another run"
    )


def _covers(validity: Validity, exposure: ExposureFound) -> bool:
    return validity.covers(exposure.begin_iso_tai, exposure.end_iso_tai)


async def _begin(task: _Task, context: RunContext) -> _Attempt:
    """Have Butler certify, and return its answer."""
    product, collection = task.product, context.plan.options.calib_collection
    limit_s = context.config.limits.butler_certify
    context.record.waiting(task.who, f"Butler to certify in {collection}", limit_s)
    # If the process ends while Butler certifies, closing the run finds from this entry what to look for.
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
        # No answer in time proves nothing: Butler may have certified, or may still do so.
        return _Attempt(None, "Butler did not answer in time", error)
    except ServiceError as error:
        raise StageError(
            f"{product.dataset_type} of job {product.job_id} could not be certified in {collection}: {error}"
        ) from error
    return _Attempt(outcome)


async def _read_back(task: _Task, attempt: _Attempt, context: RunContext) -> str:
    """Find out what is certified, and publish it.

    Parameters
    ----------
    task
        The product and its validity.
    attempt
        Butler's answer. The repository certifies and reads back in the order of the requests, so it answers this one
        only after it has ended the certification, or dropped it.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence that says what was certified; empty if nothing was because the stage was cancelled.
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
    """Whether any of the datasets is certified for any range."""
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
    if over := _over(task.validity, context):
        notes.append(over)
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
    """Return a text that names exposures; only the first few if there are many."""
    names = ", ".join(str(exposure) for exposure in exposures[:MANY])
    more = f" and {len(exposures) - MANY} more" if len(exposures) > MANY else ""
    return f"exposure{'s' if len(exposures) > 1 else ''} {names}{more}"
