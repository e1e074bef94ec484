# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Give a verdict on a product."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping

from ..config import VerificationRecipe
from ..enums import CalibType, Verdict
from ..errors import ServiceError, StageError
from ..findings import Finding
from ..plan.plan import StagePlan
from ..record.facts import MAX_FINDINGS, DetectorVerdict, FramesBlamed, JobDistrusted, VerdictGiven
from ..record.history import STAGE_ENDED
from ..record.things import GOOD_VERDICTS
from ..verification import Judgement, MeasuredProduct
from ..verification.rules.gains_of_flats import gains_of_flats
from .context import RunContext
from .fate import share_fate
from .frames import blame_frames, known_to_be_bad, verify_attempt
from .generate import check_inputs, run_job
from .judging import judge_by_statistics, judge_by_values
from .measure import measure, values_of

__all__ = ["verify"]


async def verify(stage: StagePlan, context: RunContext) -> str:
    """Verify a product: by cp_verify if the recipe has a verification, otherwise by its own values.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share.

    Returns
    -------
    reason
        The verdict, in a sentence.

    Raises
    ------
    StageError
        If the verdict is FAILED or UNKNOWN.
    """
    recipe = context.plan.recipe(stage.calib_type).verification
    judgements: list[tuple[str, Judgement]]
    if recipe is None:
        product = context.history.product(stage.calib_type)
        assert product is not None, "its GENERATE stage has succeeded"
        job_id = product.job_id
        context.record.waiting(stage.name, f"the values of {product.dataset_type} in {product.run_collection}")
        measured = await measure(stage.calib_type, context)
        judgements = [("", await judge_by_values(measured[""], context))]
    else:
        # Measured while the job runs, so that the verdict does not come later for that.
        measuring = asyncio.create_task(measure(stage.calib_type, context), name=f"{stage.name} measures the product")
        try:
            job_id, judgements = await _judge_by_job(recipe, stage, measuring, context)
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)
    judgements = [(kind, share_fate(stage.calib_type, one, context.history)) for kind, one in judgements]
    for physical_filter, judgement in judgements:
        if judgement.verdict is not Verdict.PASSED:
            logging.getLogger(__name__).warning(
                "Run %s, %s%s is %s: %s",
                *(context.run_id, stage.name, f" in {physical_filter}" if physical_filter else ""),
                *(judgement.verdict.name, judgement.reason),
            )
        await _record(physical_filter, judgement, job_id, stage.calib_type, context)
    worst = [judgement for _, judgement in judgements if judgement.verdict not in GOOD_VERDICTS]
    if worst:
        raise StageError("; ".join(f"{stage.calib_type.name} is {one.verdict.name}: {one.reason}" for one in worst))
    return "; ".join(f"{one.verdict.name}: {one.reason}" for _, one in judgements)


async def _judge_by_job(
    recipe: VerificationRecipe,
    stage: StagePlan,
    measuring: asyncio.Task[dict[str, MeasuredProduct]],
    context: RunContext,
) -> tuple[str, list[tuple[str, Judgement]]]:
    """Judge a product by cp_verify's statistics and its own values.

    Returns
    -------
    job_id
        The verification's job.
    judgements
        By filter; "" for all but flats.

    Raises
    ------
    StageError
        If there are no statistics.
    """
    try:
        job = await run_job(stage.jobs[0], stage, context)
        await check_inputs(stage.jobs[0], job, context)
    except StageError as error:
        latest = context.history.job(stage.jobs[0].label)
        judgement = _without_statistics(stage.calib_type, str(error), context)
        await _record("", judgement, latest.job_id if latest is not None else "", stage.calib_type, context)
        if judgement.verdict is Verdict.FAILED:
            raise StageError(judgement.reason) from error
        raise StageError(f"{stage.calib_type.name} is UNKNOWN: {error}") from error
    if any(context.history.stages[name].state not in STAGE_ENDED for name in stage.after):
        context.record.waiting(stage.name, f"{' and '.join(stage.after)}, which may find these frames bad")
        await context.record.until(
            lambda history: all(history.stages[name].state in STAGE_ENDED for name in stage.after)
        )
    if not measuring.done():
        context.record.waiting(stage.name, "the values of the product")
    judgements = await _judge_statistics(recipe, job.job_id, stage, await measuring, context)
    if incomplete := [one for _, one in judgements if _is_incomplete(one)]:
        # The next attempt does not judge the same statistics once more.
        await context.record.note(JobDistrusted(label=job.label, attempt=job.attempt, reason=incomplete[0].reason))
    await _note_frames(stage, [one for _, one in judgements], context)
    return job.job_id, judgements


def _is_incomplete(judgement: Judgement) -> bool:
    """Return whether statistics are missing, can't be used or contradict each other."""
    return judgement.verdict not in GOOD_VERDICTS and any(
        one.rule in ("completeness", "agreement") for one in judgement.findings
    )


def _without_statistics(calib_type: CalibType, problem: str, context: RunContext) -> Judgement:
    """Return the judgement of a product without statistics: FAILED if its frames are already known to be bad."""
    known = known_to_be_bad(calib_type, context)
    return Judgement(Verdict.FAILED, f"{known} {problem}") if known else Judgement.unknown(problem)


async def _note_frames(stage: StagePlan, judgements: list[Judgement], context: RunContext) -> None:
    """Note what a verification found out about its frames, for all products made from them."""
    if all(one.exposures_expected and one.verdict is not Verdict.UNKNOWN for one in judgements) and (
        stage.calib_type in context.history.blamed
    ):
        # The verification used all pixels of all frames, so it overrides the first look at some of them.
        await context.record.note(FramesBlamed(calib_type=stage.calib_type, reason=""))
    for one in judgements:
        if one.bad_frames:
            await blame_frames(stage.calib_type, f"{stage.name} found: {one.bad_frames}", context)


async def _judge_statistics(
    recipe: VerificationRecipe,
    job_id: str,
    stage: StagePlan,
    measured: Mapping[str, MeasuredProduct],
    context: RunContext,
) -> list[tuple[str, Judgement]]:
    """Judge the statistics of a verification job, with what was measured in the product and with the same flats."""
    gains = await _heed_gains(context) if stage.calib_type is CalibType.FLAT else []
    try:
        return await judge_by_statistics(recipe, job_id, stage, measured, gains, context)
    except ServiceError as error:
        problem = f"the statistics of job {job_id} could not be read: {error}"
        return [("", _without_statistics(stage.calib_type, problem, context))]


async def _heed_gains(context: RunContext) -> list[Finding]:
    """Return the implausible gains and noises that speak against the flats with which they were measured."""
    threshold = context.plan.options.number_verification_tests_threshold(CalibType.FLAT)
    findings: list[Finding] = []
    for calib_type in (CalibType.PTC, CalibType.GAIN):
        product = context.history.product(calib_type)
        if product is not None:
            judgement = await judge_by_values(await values_of(product, context), context, only_plausible=True)
            if judgement.verdict is Verdict.FAILED or judgement.left_out:
                findings += gains_of_flats(judgement, calib_type, threshold)
    return findings


async def _record(
    physical_filter: str, judgement: Judgement, job_id: str, calib_type: CalibType, context: RunContext
) -> None:
    await context.record.note(
        VerdictGiven(
            calib_type=calib_type,
            physical_filter=physical_filter,
            attempt=verify_attempt(calib_type, context),
            verdict=judgement.verdict,
            job_id=job_id,
            reason=judgement.reason,
            exposures_expected=judgement.exposures_expected,
            exposures_verified=judgement.exposures_verified,
            detectors_expected=judgement.detectors_expected,
            detectors_verified=judgement.detectors_verified,
            tests_failed=judgement.tests_failed,
            exposures_failed=judgement.exposures_failed,
            exposures_failed_threshold=judgement.exposures_failed_threshold,
            tests_failed_threshold=judgement.tests_failed_threshold,
            failures_by_test=dict(judgement.failures_by_test),
            detectors=tuple(
                DetectorVerdict(
                    detector=one.detector,
                    detector_name=one.detector_name,
                    tests_failed=one.tests_failed,
                    exposures_failed=one.exposures_failed,
                    amplifiers_failed=one.amplifiers_failed,
                    failures_by_test=dict(one.failures_by_test),
                    signal=one.signal,
                    noise=one.noise,
                )
                for one in judgement.detectors
            ),
            findings=judgement.findings[:MAX_FINDINGS],
            findings_dropped=max(len(judgement.findings) - MAX_FINDINGS, 0),
            left_out=judgement.left_out,
        )
    )
