# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measure a product, and look up what is certified before it."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Mapping

from ..butler_data import DetectorValues, Predecessor
from ..enums import CalibType, StageKind
from ..errors import ServiceError
from ..measurements import Trend, depth_of
from ..record.facts import Drift, Measured, Measurement
from ..record.things import Product
from ..verification import MeasuredProduct, drift_by_quantity
from .context import RunContext
from .frames import verify_attempt

__all__ = ["measure", "values_of"]


async def measure(calib_type: CalibType, context: RunContext) -> dict[str, MeasuredProduct]:
    """Measure a product of this run, compare it with what is certified now, and note the values.

    Parameters
    ----------
    calib_type
        The product. If the run has not made it, nothing is measured.
    context
        What the stages share.

    Returns
    -------
    measured
        What was measured, by filter; "" for all but flats. Detectors that can't be read are named in it.
    """
    product = context.history.product(calib_type)
    if product is None:
        return {}
    filters = sorted({one.physical_filter or "" for one in product.datasets})
    found = {}
    for physical_filter in filters:
        try:
            before: Mapping[int, Predecessor] = await _predecessors(calib_type, physical_filter, context)
            one = await _measured(product, physical_filter, before, context)
        except ServiceError as error:
            sentence = f"what is certified could not be looked up: {error}"
            one = _empty(product, physical_filter, dict.fromkeys(context.plan.detector_names, sentence), context)
        found[physical_filter] = one
        await context.record.note(_fact(one, context))
    return found


async def values_of(product: Product, context: RunContext) -> MeasuredProduct:
    """Read the values of a product without filters, and compare them with nothing."""
    return await _measured(product, "", {}, context, with_trends=False)


async def _predecessors(calib_type: CalibType, physical_filter: str, context: RunContext) -> dict[int, Predecessor]:
    """Look up what is certified for the run's frames, in the collections that its jobs use."""
    stage = context.plan.stage(calib_type, StageKind.GENERATE)
    assert stage is not None, "it was made"
    frames = (CalibType[name] for name in context.plan.recipe(calib_type).frames)
    exposures = [exposure for one in frames for exposure in context.history.exposure_ids(one)]
    if not exposures:
        return {}
    # What is certified for GAIN is the ptc.
    kind = CalibType.PTC if calib_type is CalibType.GAIN else calib_type
    own = {one for product in context.history.made.values() for one in product.ids}
    own |= {one for each in context.history.certifications.values() for one in each.intent.dataset_ids}
    return await context.services.repository.predecessors(
        context.plan.recipe(kind).dataset_type, stage.jobs[-1].collections, exposures[0], physical_filter, own
    )


async def _measured(
    product: Product,
    physical_filter: str,
    before: Mapping[int, Predecessor],
    context: RunContext,
    with_trends: bool = True,
) -> MeasuredProduct:
    """Measure a product, one detector after the other, because a frame takes much memory."""
    values: dict[int, DetectorValues] = {}
    unread: dict[int, str] = {}
    predecessors_unread: dict[int, str] = {}
    for detector in context.plan.detector_names:
        ids = [
            one.dataset_id
            for one in product.datasets
            if one.detector == detector and (one.physical_filter or "") == physical_filter
        ]
        if not ids:
            continue
        predecessor = before[detector].dataset_id if detector in before else ""
        rows = context.config.instrument.amplifier_rows_of(detector)
        left_out = tuple(context.plan.config.known_to_be_bad().get(detector, ()))
        read = functools.partial(context.services.repository.product_values, product.calib_type, ids, rows)
        try:
            values[detector] = await read(predecessor, left_out)
        except ServiceError as error:
            unread[detector] = str(error)
        if predecessor and detector in unread:
            # If the product can be read by itself, the predecessor is the cause.
            with contextlib.suppress(ServiceError):
                values[detector] = await read("", left_out)
                predecessors_unread[detector] = unread.pop(detector)
    trends, problem = await _trends(product.calib_type, physical_filter, values, context) if with_trends else (None, "")
    return MeasuredProduct(
        calib_type=product.calib_type,
        physical_filter=physical_filter,
        detectors=context.plan.detector_names,
        amplifiers=context.plan.amplifiers,
        values=values,
        unread=unread,
        predecessors_unread=predecessors_unread,
        compared_with={one: f"{it.collection} {it.dataset_id}" for one, it in before.items()},
        pairs=context.flat_pairs if product.calib_type is CalibType.GAIN else 0,
        trends=trends,
        trends_unread=problem,
    )


def _empty(product: Product, physical_filter: str, unread: Mapping[int, str], context: RunContext) -> MeasuredProduct:
    return MeasuredProduct(
        calib_type=product.calib_type,
        physical_filter=physical_filter,
        detectors=context.plan.detector_names,
        amplifiers=context.plan.amplifiers,
        values={},
        unread=unread,
        pairs=context.flat_pairs if product.calib_type is CalibType.GAIN else 0,
    )


async def _trends(
    calib_type: CalibType, physical_filter: str, values: Mapping[int, DetectorValues], context: RunContext
) -> tuple[Mapping[tuple[int, str, str], Trend] | None, str]:
    """Return what earlier runs measured, or None and why that is not known."""
    limits = context.config.values
    if limits is None or limits.trend is None:
        return None, ""
    depths = {
        detector: depth_of((one.quantity, one.value) for one in of_one.values) for detector, of_one in values.items()
    }
    try:
        return await context.record.trends(calib_type, physical_filter, limits.trend.runs, depths), ""
    except ServiceError as error:
        return None, str(error)


def _fact(measured: MeasuredProduct, context: RunContext) -> Measured:
    limits = context.config.values
    wanted = limits.drift.get(measured.calib_type.name, ()) if limits is not None else ()
    bad = context.plan.config.known_to_be_bad()
    by_detector = {one: drift_by_quantity(values, wanted, bad.get(one, {})) for one, values in measured.values.items()}
    return Measured(
        calib_type=measured.calib_type,
        physical_filter=measured.physical_filter,
        attempt=verify_attempt(measured.calib_type, context),
        values=tuple(
            Measurement(
                detector=detector, amplifier=one.amplifier, quantity=one.quantity, value=one.value, unit=one.unit
            )
            for detector, of_one in measured.values.items()
            for one in (*of_one.values, *of_one.changes)
        ),
        drifts=tuple(
            Drift(
                detector=detector,
                drift=max(changes.values(), default=math.nan),
                compared_with=measured.compared_with.get(detector, ""),
                by_quantity=changes,
            )
            for detector, changes in by_detector.items()
        ),
    )
