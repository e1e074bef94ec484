# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check, before a run that must replace nothing, that nothing is certified where it will certify."""

from __future__ import annotations

from collections.abc import Iterator

from ..butler_data import ReplacedDataset
from ..enums import CalibType, StageKind, StageState
from ..errors import ServiceError
from ..plan.plan import RunPlan
from ..plan.validity import Validity, day_obs_of, validity_of
from ..record.history import History
from ..services.butler_certify import in_words
from ..services.side_by_side import all_of
from ..stages.context import Services

__all__ = ["check_conflicts"]


async def check_conflicts(plan: RunPlan, services: Services, tai_s: float, history: History | None) -> list[str]:
    """Return a sentence for each product that will be certified and would replace something.

    Parameters
    ----------
    plan
        The run's plan; only with on_conflict: fail is anything checked.
    services
        The connections to the outside.
    tai_s
        The time (TAI unix seconds): frames that are not taken yet are taken on its day.
    history
        What has happened in the run so far; None if it is new.

    Notes
    -----
    It is looked again when a product is certified. Until then, flats are compared only if the run says their filter.
    """
    options = plan.options
    if options.on_conflict != "fail":
        return []
    try:
        validity = _validity(plan, tai_s, history)
        found = await all_of(_look(one, plan, validity, services, history) for one in _to_certify(plan, history))
    except ServiceError as error:
        return [f"What is certified in {options.calib_collection} could not be looked up: {error}"]
    except ValueError:
        return []  # an empty validity; the options say that
    return [
        f"{calib_type.name}: on_conflict is fail, and {options.calib_collection} has for a part of the validity "
        f"{validity.words}: {in_words(plan.recipe(calib_type).dataset_type, there)}. Give on_conflict: replace or "
        "truncate, another calib_collection or another validity; or withdraw what is there, with decertify"
        for calib_type, there in found
        if there
    ]


def _validity(plan: RunPlan, tai_s: float, history: History | None) -> Validity:
    frames = [] if history is None else [frame for frame in history.frames.values() if frame.exposure_id]
    there = {(frame.calib_type, frame.index) for frame in frames}
    planned = {(one.calib_type, one.index) for sequence in plan.sequences.values() for one in sequence.frames}
    days = {day_obs_of(frame.taken_s) for frame in frames if frame.used}
    # A run of yesterday that only has to certify says nothing about today.
    return validity_of(plan.options, days if days and planned <= there else days | {day_obs_of(tai_s)})


def _to_certify(plan: RunPlan, history: History | None) -> Iterator[CalibType]:
    for stage in plan.stages:
        if stage.kind is not StageKind.CERTIFY:
            continue
        if history is None or history.stages[stage.name].state is not StageState.SUCCEEDED:
            yield stage.calib_type


async def _look(
    calib_type: CalibType, plan: RunPlan, validity: Validity, services: Services, history: History | None
) -> tuple[CalibType, list[ReplacedDataset]]:
    """Return what is there of a product, without what the run itself has certified."""
    options, own = plan.options, set[str]()
    if history is not None:
        own = {name for one in history.certifications.values() for name in one.intent.dataset_ids}
    physical_filter = ""
    if calib_type is CalibType.FLAT:
        if options.filter is None:
            return calib_type, []
        try:
            physical_filter = await services.camera.find_filter(options.filter)
        except ServiceError:
            return calib_type, []  # another check says that
    there = await services.repository.certified_for_others(
        plan.recipe(calib_type).dataset_type,
        options.calib_collection,
        validity.begin_iso_tai,
        validity.end_iso_tai,
        options.detectors,
    )
    return calib_type, [
        one
        for one in there
        if one.dataset_id not in own and (not physical_filter or one.physical_filter == physical_filter)
    ]
