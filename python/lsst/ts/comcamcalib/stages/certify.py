# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certify a product that was found good."""

from __future__ import annotations

import asyncio
import contextlib

from ..enums import CertificationState
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..plan.record import Certification, CertificationIntent
from ..services.butler import CertifyOutcome
from .context import Product, RunContext

__all__ = ["certify"]

# Whoever cancels (abort, leaving ENABLED) has to answer within 10 s, whatever Butler does.
CANCELLED_LIMIT_S = 5.0


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
    this ends as if it had not been cancelled, for what was done has to be known and told.
    """
    outcome: CertifyOutcome | None = None
    with contextlib.suppress(asyncio.CancelledError):
        outcome = await _begin(stage, context)
    ending = asyncio.create_task(_read_back(stage, outcome, context), name=f"read back {stage.calib_type.name}")
    while not ending.done():
        # Butler's own limit ends this, or ours.
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([ending])
    reason = ending.result()
    if not reason:
        raise asyncio.CancelledError
    return reason


async def _begin(stage: StagePlan, context: RunContext) -> CertifyOutcome:
    options, product = context.plan.options, context.products[stage.calib_type]
    limit = context.config.limits.butler_certify
    context.record.waiting(stage.name, f"Butler to certify in {options.calib_collection}", limit)
    begin, end = _validity(context)
    # If the process ends while Butler is at it, whoever closes the run knows what to look for.
    await context.record.intend(
        CertificationIntent(
            run_id=context.run_id,
            calib_type=stage.calib_type,
            dataset_type=product.dataset_type,
            collection=options.calib_collection,
            output_collection=product.run_collection,
            validity_begin=begin,
            validity_end=end,
            dataset_ids=tuple(product.ids),
        )
    )
    try:
        return await context.services.repository.certify(
            product.run_collection, product.dataset_type, options.calib_collection, *_validity(context), product.ids
        )
    except ServiceError as error:
        raise StageError(
            f"{product.dataset_type} of job {product.job_id} could not be certified in {options.calib_collection}: "
            f"{error}"
        ) from error


async def _read_back(stage: StagePlan, outcome: CertifyOutcome | None, context: RunContext) -> str:
    """See what is certified, and tell.

    Parameters
    ----------
    stage
        The stage's plan.
    outcome
        What Butler said; None if it was not waited for. The repository does one thing after the other, so that it
        answers this question when it is done with the certification, or has dropped it.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence about what was certified; empty if nothing was.
    """
    options, product = context.plan.options, context.products[stage.calib_type]
    if outcome is not None:
        await context.record.write(_entry(stage, product, outcome, context))
    try:
        async with asyncio.timeout(None if outcome is not None else CANCELLED_LIMIT_S):
            lost = await context.services.repository.read_back(
                product.dataset_type, options.calib_collection, *_validity(context), product.ids
            )
    except (ServiceError, TimeoutError) as error:
        was = "was" if outcome is not None else "may have been"
        why = str(error) or f"Butler did not answer within {CANCELLED_LIMIT_S:g} s"
        raise StageError(
            f"{product.dataset_type} of job {product.job_id} {was} certified in {options.calib_collection}, "
            f"but that could not be read back: {why}"
        ) from error
    if outcome is None:
        if len(lost) >= len(product.ids):
            return ""
        await context.record.write(_entry(stage, product, None, context))
    if lost:
        raise StageError(f"{product.dataset_type} was certified, but is not found again: {'; '.join(lost)}")
    return f"{len(product.ids)} datasets of type {product.dataset_type} are in {options.calib_collection}"


def _validity(context: RunContext) -> tuple[str, str]:
    options = context.plan.options
    return options.certify_calib_begin_date, options.certify_calib_end_date


def _entry(stage: StagePlan, product: Product, outcome: CertifyOutcome | None, context: RunContext) -> Certification:
    options = context.plan.options
    notes = []
    if not options.do_verify:
        notes.append("certified without verification, as certify_unverified asks")
    if outcome is None:
        notes.append("the run was stopped meanwhile, so what this replaces is not known here")
    elif outcome.replaced:
        ids = ", ".join(sorted(one.dataset_id for one in outcome.replaced))
        notes.append(f"replaces {len(outcome.replaced)} datasets that were certified before: {ids}")
    return Certification(
        run_id=context.run_id,
        calib_type=stage.calib_type,
        state=CertificationState.CERTIFIED,
        dataset_type=product.dataset_type,
        collection=options.calib_collection,
        output_collection=product.run_collection,
        validity_begin=options.certify_calib_begin_date,
        validity_end=options.certify_calib_end_date,
        dataset_count=len(product.ids) if outcome is None else len(outcome.certified),
        reason="; ".join(notes),
    )
