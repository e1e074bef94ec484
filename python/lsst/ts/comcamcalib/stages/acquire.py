# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Take the frames of one type."""

from __future__ import annotations

import asyncio

from ..enums import CalibType
from ..errors import ServiceError, StageError
from ..plan.plan import Frame, StagePlan
from ..plan.record import ImageTaken
from ..services.camera import FrameRequest, TakenFrame
from .context import RunContext

__all__ = ["acquire", "expose"]


async def acquire(stage: StagePlan, context: RunContext) -> str:
    """Take every frame of a sequence, one by one.

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
    frames = context.frames[stage.calib_type]
    sequence = context.plan.sequences[stage.calib_type]
    try:
        if stage.calib_type is CalibType.FLAT and context.plan.options.filter:
            await _set_filter(context.plan.options.filter, stage, context)
        for frame in sequence.frames:
            if sequence.pause_s and frame.index > 1:
                context.record.waiting(stage.name, "the pause between exposures", sequence.pause_s)
                await asyncio.sleep(sequence.pause_s)
            await expose(frame, stage.name, context)
    finally:
        frames.acquisition_ended = True
        frames.news.tell()
    return f"{len(sequence.frames)} frames were taken"


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


async def expose(frame: Frame, stage_name: str, context: RunContext) -> ImageTaken:
    """Take one frame and record it.

    If this is cancelled, the exposure in progress is completed first, unless the context says otherwise: the camera
    completes it in any case, and the run must know what it took.

    Parameters
    ----------
    frame
        The frame to take.
    stage_name
        Stage that waits for it.
    context
        What the stages share.

    Returns
    -------
    image
        The exposure.

    Raises
    ------
    StageError
        If it could not be taken; the message names the frame.
    """
    if context.camera_lock.locked():
        context.record.waiting(stage_name, "the camera, which takes another frame of the run")
    async with context.camera_lock:
        if context.no_more_exposures:
            raise StageError(f"No further exposure was taken, because {context.no_more_exposures}")
        task = asyncio.create_task(
            _take(frame, stage_name, context), name=f"exposure {frame.calib_type.name} {frame.index}"
        )
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if not context.finish_exposure:
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            raise


async def _take(frame: Frame, stage_name: str, context: RunContext) -> ImageTaken:
    options, sequence = context.plan.options, context.plan.sequences[frame.calib_type]
    frames = context.frames[frame.calib_type]
    total = max(len(sequence.frames), frame.index)
    name = f"{frame.calib_type.name} frame {frame.index} of {total}"
    limits = context.config.limits
    limit_s = frame.exposure_time_s + limits.exposure_overhead + 2 * limits.readout
    context.record.waiting(stage_name, f"{name}, {frame.exposure_time_s:g} s", limit_s)
    request = FrameRequest(
        image_type=frame.calib_type.name,
        exposure_time_s=frame.exposure_time_s,
        group_id=sequence.group_id,
        reason=options.reason,
        program=options.program,
        test_type=options.test_case,
        note=options.note,
    )
    try:
        taken: TakenFrame = await context.services.camera.take(request)
    except ServiceError as error:
        instrument = context.config.instrument
        unwell = context.unwell(instrument.camera, instrument.header_service)
        raise StageError(f"{name} was not taken: {str(error).removesuffix('.')}{unwell}") from error
    image = ImageTaken(
        run_id=context.run_id,
        image_type=frame.calib_type,
        exposure_id=taken.exposure_id,
        obs_id=taken.obs_id,
        exposure_time=frame.exposure_time_s,
        image_index=frame.index,
        images_in_sequence=total,
        discarded=frame.discarded,
        timestamp_taken=taken.timestamp_taken_s,
    )
    await context.record.write(image)
    frames.taken.append(image)
    frames.news.tell()
    return image
