# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Take the frames of one type."""

from __future__ import annotations

import asyncio

from ..enums import CalibType, StageKind
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..record import things
from ..record.act import once
from ..record.facts import FrameIntended
from .context import RunContext
from .exposing import Exposing, set_earlier_apart

__all__ = ["acquire", "acquisition_ended", "expose"]


async def acquire(stage: StagePlan, context: RunContext) -> str:
    """Take every frame of a sequence that is not taken yet, one by one.

    Parameters
    ----------
    stage
        The stage's plan.
    context
        What the stages share.

    Returns
    -------
    reason
        One sentence that says what was done.

    Raises
    ------
    StageError
        If a frame could not be taken.
    """
    sequence = context.plan.sequences[stage.calib_type]
    await set_earlier_apart(stage.calib_type, context)
    taken_before = len(context.history.taken(stage.calib_type))
    if stage.calib_type is CalibType.FLAT and context.plan.options.filter and taken_before < len(sequence.frames):
        await _set_filter(context.plan.options.filter, stage, context)
    paused = True
    for frame in sequence.frames:
        known = context.history.frames.get((frame.calib_type, frame.index))
        if known is not None and known.exposure_id:
            paused = False
            continue
        if sequence.pause_s and frame.index > 1 and not paused:
            context.record.waiting(stage.name, "the pause between exposures", sequence.pause_s)
            await asyncio.sleep(sequence.pause_s)
        wanted = FrameIntended(
            calib_type=frame.calib_type,
            index=frame.index,
            exposure_time_s=frame.exposure_time_s,
            discarded=frame.discarded,
        )
        await expose(wanted, stage.name, context)
        paused = False
    again = f", {taken_before} of them before the run was interrupted" if taken_before else ""
    return f"{len(sequence.frames)} frames were taken{again}"


async def _set_filter(filter_name: str, stage: StagePlan, context: RunContext) -> None:
    async with context.camera_lock:
        context.record.waiting(stage.name, f"the filter {filter_name}", context.config.limits.filter_change)
        try:
            await context.services.camera.set_filter(filter_name)
        except ServiceError as error:
            unwell = context.unwell(context.config.instrument.camera)
            raise StageError(
                f"The filter for the flats could not be put in place: {str(error).removesuffix('.')}{unwell}"
            ) from error


async def expose(wanted: FrameIntended, stage_name: str, context: RunContext) -> things.Frame:
    """Take one frame, unless it has been taken already, and record it.

    If this is cancelled, the exposure in progress is completed first, unless the context says otherwise: the camera
    completes it in any case, and the run should know what it took.

    Parameters
    ----------
    wanted
        The frame to take.
    stage_name
        Stage that waits for it.
    context
        What the stages share.

    Returns
    -------
    frame
        The frame with its exposure.

    Raises
    ------
    StageError
        If it could not be taken; the message names the frame.
    """
    if context.camera_lock.locked():
        context.record.waiting(stage_name, "the camera, which takes another frame of the run")
    async with context.camera_lock:
        task = asyncio.create_task(
            once(Exposing(wanted, stage_name, context), context.record),
            name=f"exposure {wanted.calib_type.name} {wanted.index}",
        )
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not context.finish_exposure:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise


def acquisition_ended(calib_type: CalibType, context: RunContext) -> bool:
    """Return whether no further frame of the plan will be taken in this attempt."""
    stage = context.history.stage(calib_type, StageKind.ACQUIRE)
    return stage is None or bool(stage.ended_s)
