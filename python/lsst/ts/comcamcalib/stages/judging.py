# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Judge a product by the statistics that cp_verify wrote."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from ..butler_data import StatisticsTypes
from ..config import VerificationRecipe
from ..enums import CalibType
from ..findings import Finding
from ..plan.build import FRAME_TYPES
from ..plan.plan import StagePlan
from ..plan.request import run_collection
from ..verification import (
    NO_EXPOSURE,
    FrameFacts,
    Judgement,
    MeasuredProduct,
    RuleContext,
    judge_statistics,
    judge_values,
    plausibility,
    value_findings,
)
from .context import RunContext
from .frames import frame_facts

__all__ = ["judge_by_statistics", "judge_by_values", "rule_context"]


def rule_context(
    calib_type: CalibType,
    context: RunContext,
    *,
    physical_filter: str = "",
    exposures: tuple[int | None, ...] = (),
    recipe: VerificationRecipe | None = None,
    frames: FrameFacts | None = None,
) -> RuleContext:
    """Return what is judged, and by which rules.

    Parameters
    ----------
    calib_type
        The product.
    context
        What the stages share.
    physical_filter, exposures, recipe, frames
        See `RuleContext`; none of them for a product that is judged by its own values.
    """
    plan = context.plan
    threshold = plan.options.number_verification_tests_threshold(calib_type) if recipe is not None else 0
    return RuleContext(
        calib_type=calib_type,
        physical_filter=physical_filter,
        exposures=exposures,
        detectors=plan.detector_names,
        amplifiers=plan.amplifiers,
        rules=plan.config.rules(calib_type),
        threshold=threshold,
        amplifier_names=plan.config.instrument.amplifier_names,
        bad_amplifiers=plan.config.known_to_be_bad(),
        leave_out=plan.options.certify_good_detectors,
        left_out_before=context.history.left_out_before(calib_type),
        recipe=recipe,
        frames=frames,
    )


async def judge_by_statistics(
    recipe: VerificationRecipe,
    job_id: str,
    stage: StagePlan,
    measured: Mapping[str, MeasuredProduct],
    more: Sequence[Finding],
    context: RunContext,
) -> list[tuple[str, Judgement]]:
    """Judge the statistics of a verification job, by filter for flats; in a thread, because it takes seconds.

    Parameters
    ----------
    recipe, job_id, stage
        How it was verified, and by which job of which stage.
    measured
        What was measured in the product, by filter; empty if the run has made none.
    more
        Findings about the same product from elsewhere.
    context
        What the stages share.

    Raises
    ------
    ServiceError
        If the statistics can't be read.
    """
    repository, calib_type = context.services.repository, stage.calib_type
    facts = None
    if calib_type in FRAME_TYPES:
        facts = await frame_facts(calib_type, stage.jobs[0].collections, context)
    types = StatisticsTypes(recipe.run_statistics, recipe.detector_statistics, recipe.exposure_statistics)
    judgements = []
    for physical_filter, some in (await _exposures(calib_type, context)).items():
        expected = rule_context(
            calib_type, context, physical_filter=physical_filter, exposures=some, recipe=recipe, frames=facts
        )
        statistics = await repository.statistics(run_collection(job_id), types, physical_filter or None)
        own = await _of_values(measured[physical_filter], expected, context) if physical_filter in measured else []
        judgement = await asyncio.to_thread(judge_statistics, statistics, expected, [*more, *own])
        judgements.append((physical_filter, judgement))
    return judgements


async def _exposures(calib_type: CalibType, context: RunContext) -> dict[str, tuple[int | None, ...]]:
    """Return the exposures that must have statistics, by filter; "" for all but flats."""
    if calib_type not in FRAME_TYPES:
        return {"": NO_EXPOSURE}
    exposures = context.history.exposure_ids(calib_type)
    if calib_type is not CalibType.FLAT:
        return {"": exposures}
    filters = await context.services.repository.physical_filters(exposures)
    kinds = sorted({filters.get(exposure, "") for exposure in exposures})
    by_filter: dict[str, tuple[int | None, ...]] = {
        kind: tuple(one for one in exposures if filters.get(one, "") == kind) for kind in kinds
    }
    # Without exposures there is nothing to judge, which must be said.
    return by_filter or {"": ()}


async def judge_by_values(measured: MeasuredProduct, context: RunContext, only_plausible: bool = False) -> Judgement:
    """Judge a product by what was measured in it, without cp_verify.

    Parameters
    ----------
    measured
        What was measured.
    context
        What the stages share.
    only_plausible
        Whether only matters if the values are there and plausible, and not what they are compared with.
    """
    expected = rule_context(measured.calib_type, context, physical_filter=measured.physical_filter)
    found = await _of_values(measured, expected, context, only_plausible)
    return await asyncio.to_thread(judge_values, measured, found, expected)


async def _of_values(
    measured: MeasuredProduct, expected: RuleContext, context: RunContext, only_plausible: bool = False
) -> list[Finding]:
    """Apply the rules on values; in a thread, because there may be thousands of values."""
    rules = plausibility if only_plausible else value_findings
    return await asyncio.to_thread(rules, measured, context.config, expected)
