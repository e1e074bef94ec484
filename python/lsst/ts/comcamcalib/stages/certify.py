# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certify a product that was found good."""

from __future__ import annotations

import asyncio

from ..enums import CertificationState
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..plan.record import Certification
from ..services.butler import CertifyOutcome
from .context import Product, RunContext

__all__ = ["certify"]


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
    """
    task = asyncio.create_task(_certify(stage, context), name=f"certification {stage.calib_type.name}")
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        # What the Butler thread has begun can't be taken back half way: its outcome has to be known and told.
        await asyncio.gather(task, return_exceptions=True)
        raise


async def _certify(stage: StagePlan, context: RunContext) -> str:
    options, product = context.plan.options, context.products[stage.calib_type]
    limit = context.config.limits.butler_certify
    context.record.waiting(stage.name, f"Butler to certify in {options.calib_collection}", limit)
    validity = (options.certify_calib_begin_date, options.certify_calib_end_date)
    ids = [dataset.dataset_id for dataset in product.datasets]
    repository = context.services.repository
    try:
        outcome = await repository.certify(
            product.run_collection, product.dataset_type, options.calib_collection, *validity, ids
        )
        lost = await repository.read_back(product.dataset_type, options.calib_collection, *validity, ids)
    except ServiceError as error:
        raise StageError(
            f"{product.dataset_type} of job {product.job_id} could not be certified in {options.calib_collection}: {error}"
        ) from error
    await context.record.write(_entry(stage, product, outcome, context))
    if lost:
        raise StageError(f"{product.dataset_type} was certified, but is not found again: {'; '.join(lost)}")
    return f"{len(outcome.certified)} datasets of type {product.dataset_type} are in {options.calib_collection}"


def _entry(stage: StagePlan, product: Product, outcome: CertifyOutcome, context: RunContext) -> Certification:
    options = context.plan.options
    notes = []
    if not options.do_verify:
        notes.append("certified without verification, as certify_unverified asks")
    if outcome.replaced:
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
        dataset_count=len(outcome.certified),
        reason="; ".join(notes),
    )
