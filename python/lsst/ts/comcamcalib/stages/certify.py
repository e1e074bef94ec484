# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Certify a product whose verdict is good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

from ..butler_data import ExposureFound
from ..enums import CalibType, StageKind
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..plan.validity import Validity, days_of, validity_of
from ..record.act import once
from ..record.things import GoodProduct
from .certifying import Certifying, look_for_certification, record_look
from .context import RunContext
from .fate import frames_of

__all__ = ["certify"]

LOOK_INTERVAL_S = 10.0
"""Time between two looks whether something was certified, while Butler does not say it (seconds)."""

MANY = 10
"""Largest number of exposures that a sentence names one by one."""


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
        If the verdict is not good, they could not be certified, or they are not found afterwards.

    Notes
    -----
    This does not end before it is known whether something was certified, unless it is cancelled.

    If this is cancelled before Butler has begun, nothing is certified. A call that Butler has begun can't be stopped;
    then this ends as if it had not been cancelled, because the outcome must be known and published. Only if a product
    that this one is built on must still be certified for longer, it ends as cancelled, so that a resumed run does that.
    """
    async with context.certify_lock:
        # Whether it is good is asked only now, because others may have been certified meanwhile for minutes.
        good = _good(stage.calib_type, context)
        validity, known = await _validity(good, context)
        if over := _over(validity, context):
            logging.getLogger(__name__).warning("Run %s, %s: %s", context.run_id, stage.name, over)
        await _certify(good, stage.name, validity, known, (), context)
        product = good.product
        for base in context.plan.recipe(stage.calib_type).builds_on:
            await _extend(CalibType[base], stage, validity, context)
    without = f", without {_detectors(good.left_out, context)}" if good.left_out else ""
    return (
        f"{len(product.ids)} datasets of type {product.dataset_type} are in "
        f"{context.plan.options.calib_collection}, valid {validity.words}{without}"
    )


def _good(calib_type: CalibType, context: RunContext) -> GoodProduct:
    try:
        return context.history.good_product(calib_type)
    except ValueError as error:
        raise StageError(f"{calib_type.name} is not certified, because {error}") from error


async def _extend(base: CalibType, stage: StagePlan, validity: Validity, context: RunContext) -> None:
    """Certify a product of this run for longer if another was built on it from frames of a later day.

    It was certified before these frames were taken, so Butler would not find it for them, nor in the night for which
    the other product is certified.
    """
    certified = [
        one.intent for one in context.history.certifications.values() if one.intent.calib_type is base and one.sound
    ]
    if not certified or context.plan.options.certify_calib_end_date is not None:
        return
    if certified[-1].validity_end >= validity.end_iso_tai:
        return
    this = asyncio.current_task()
    if this is not None and this.cancelling():
        raise asyncio.CancelledError  # stopped while the product was certified, so nothing more may be begun
    name = stage.calib_type.name
    why = f"valid for longer now, because {name}, built on it, has later frames"
    try:
        good = _good(base, context)
        longer, known = await _validity(good, context)
        await _certify(good, stage.name, longer, known, (why,), context)
    except StageError as error:
        raise StageError(
            f"{name} is certified, but {base.name}, which it is built on, could not be made valid for its later "
            f"frames: {error}"
        ) from error


async def _certify(
    good: GoodProduct,
    stage_name: str,
    validity: Validity,
    known: dict[int, ExposureFound],
    remarks: tuple[str, ...],
    context: RunContext,
) -> None:
    """Certify a product for a range, unless that is done already."""
    calib_type = good.product.calib_type
    covered = tuple(exposure for exposure, one in known.items() if _covers(validity, one))
    left_out = tuple(exposure for exposure in _own_exposures(calib_type, context) if exposure not in covered)
    if left_out:
        logging.getLogger(__name__).warning(
            "Run %s, %s: the validity %s does not cover %s from which %s is made; Butler does not find it for these",
            *(context.run_id, stage_name, validity.words, _named(left_out), calib_type.name),
        )
    notes = list(remarks)
    lacking = context.history.not_made(calib_type)
    if bad := [one for one in good.left_out if one not in lacking]:
        notes.append(f"left out, because not good: {_detectors(bad, context)}")
    if lacking:
        notes.append(f"left out, because nothing was made for them: {_detectors(list(lacking), context)}")
    if good.verdict is None:
        notes.append("certified without verification, as certify_unverified asks")
    notes += _acceptances(calib_type, context)
    if left_out:
        notes.append(
            f"WARNING: the validity that was given does not cover {_named(left_out)} from which this product is "
            "made; Butler does not find it for these"
        )
    if over := _over(validity, context):
        notes.append(over)
    await _once_settled(Certifying(good, stage_name, validity, covered, tuple(notes), context), calib_type, context)


async def _once_settled(act: Certifying, calib_type: CalibType, context: RunContext) -> None:
    """Certify, unless that is done already; while Butler does not say whether it was, look again.

    If the stage ended, the run would, too, and another one might certify in the same collection before it is known.
    """
    try:
        await _look_until_settled(act, calib_type, context)
    finally:
        # A stage that is done again later knows nothing worse than at its beginning.
        context.record.not_known(act.stage_name, "")


async def _look_until_settled(act: Certifying, calib_type: CalibType, context: RunContext) -> None:
    said = ""
    while True:
        try:
            await _settle_others(act, calib_type, context)
            await once(act, context.record)
            return
        except StageError as error:
            this = asyncio.current_task()
            stopped = this is not None and this.cancelling()
            if stopped or not any(one.intent.calib_type is calib_type for one in context.history.open_certifications):
                raise
            if str(error) != said:
                said = str(error)
                logging.getLogger(__name__).warning("Run %s, %s: %s", context.run_id, act.stage_name, said)
                context.record.not_known(
                    act.stage_name,
                    f"{said.removesuffix('.')}. The run waits until Butler says it, or the run is aborted.",
                )
        what = f"Butler to say whether {calib_type.name} was certified in {context.plan.options.calib_collection}"
        context.record.waiting(act.stage_name, what)
        await asyncio.sleep(LOOK_INTERVAL_S)


def _acceptances(calib_type: CalibType, context: RunContext) -> list[str]:
    """Say who accepted the verdict on a product, on one that it is built on, or on its frames, and why."""
    history = context.history
    words = {one: f"made from {one.name} frames, which were " for one in frames_of(calib_type, history)}
    words |= {one: f"built on {one.name}, which was " for one in history.bases_of(calib_type)}
    return [
        f"{words.get(one, '')}accepted by {acceptance.who}"
        + (f" in {acceptance.physical_filter}" if acceptance.physical_filter else "")
        + f": {acceptance.why}"
        for one in (calib_type, *words)
        for acceptance in history.accepted_verdicts.values()
        if acceptance.calib_type is one
    ]


async def _settle_others(act: Certifying, calib_type: CalibType, context: RunContext) -> None:
    """Find out what became of other certifications of a type that were begun before the run was interrupted.

    They are of an earlier product, or for a shorter range because the run had fewer frames then.
    """
    for one in context.history.open_certifications:
        if one.intent.calib_type is not calib_type or act.is_the_same_as(one):
            continue
        try:
            done = await look_for_certification(one, context)
        except ServiceError as error:
            raise StageError(
                f"Whether {calib_type.name} was certified in {one.intent.collection} before the run was interrupted "
                f"could not be found out: {str(error).removesuffix('.')}. Check the repository; the CSC looks again"
            ) from error
        await record_look(one, done, (), context)


async def _validity(good: GoodProduct, context: RunContext) -> tuple[Validity, dict[int, ExposureFound]]:
    """Find out the validity of a product from the repository's records of the frames.

    Returns
    -------
    validity
        The range.
    known
        The repository's records of the used exposures of the run so far.
    """
    product, options = good.product, context.plan.options
    used = tuple(
        exposure for calib_type in context.plan.sequences for exposure in context.history.exposure_ids(calib_type)
    )
    what = f"{product.dataset_type} of job {product.job_id} could not be certified in {options.calib_collection}"
    who = f"{product.calib_type.name}.{StageKind.CERTIFY.name}"
    context.record.waiting(who, "Butler to look up when the frames were taken", context.config.limits.butler_query)
    try:
        known = await context.services.repository.exposures(used)
    except ServiceError as error:
        raise StageError(f"{what}: when its frames were taken could not be looked up: {error}") from error
    if unknown := [exposure for exposure in _own_exposures(product.calib_type, context) if exposure not in known]:
        raise StageError(f"{what}: the repository does not know {_named(unknown)}, so its validity can't be determined")
    try:
        days = {day for one in known.values() for day in days_of(one.day_obs, one.end_iso_tai)}
        return validity_of(options, days), known
    except ValueError as error:
        raise StageError(f"{what}: {error}. Start another run with a correct validity") from error


def _own_exposures(product: CalibType, context: RunContext) -> tuple[int, ...]:
    """Return the used exposures from which a product is made."""
    types = [CalibType[name] for name in context.plan.recipe(product).frames]
    return tuple(
        exposure
        for calib_type in types
        if calib_type in context.plan.sequences
        for exposure in context.history.exposure_ids(calib_type)
    )


def _detectors(some: Sequence[int], context: RunContext) -> str:
    names = context.plan.detector_names
    return " and ".join(filter(None, (", ".join(names[one] for one in some[:-1]), names[some[-1]])))


def _over(validity: Validity, context: RunContext) -> str:
    """Say that a validity that follows the frames is over, as when jobs took until after noon; "" if it is not."""
    if context.plan.options.certify_calib_end_date is not None or not validity.ended(context.clock.tai()):
        return ""
    return (
        f"WARNING: the validity ended at {validity.end_iso_tai} TAI, with the day of the last frame, so that the "
        "coming night does not find this; for that, start another run"
    )


def _covers(validity: Validity, exposure: ExposureFound) -> bool:
    return validity.covers(exposure.begin_iso_tai, exposure.end_iso_tai)


def _named(exposures: list[int] | tuple[int, ...]) -> str:
    """Return a text that names exposures; only the first few if there are many."""
    names = ", ".join(str(exposure) for exposure in exposures[:MANY])
    more = f" and {len(exposures) - MANY} more" if len(exposures) > MANY else ""
    return f"exposure{'s' if len(exposures) > 1 else ''} {names}{more}"
