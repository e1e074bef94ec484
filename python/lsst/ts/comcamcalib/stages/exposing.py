# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""One frame, taken exactly once."""

from __future__ import annotations

import asyncio
import logging

from ..enums import CalibType
from ..errors import ServiceError, StageError
from ..plan.validity import tai_unix
from ..record.facts import FrameAbsent, FrameIntended, FrameStray, FrameTaken
from ..record.things import Frame
from ..services.camera import FrameRequest
from ..services.exposure import TakenFrame
from .context import RunContext

__all__ = ["Exposing", "look_for_frames", "record_found", "set_earlier_apart"]

LOOK_INTERVAL_S = 1.0
"""Time between two looks for a frame that may have been taken (seconds)."""


class Exposing:
    """The act of taking one frame; see `lsst.ts.comcamcalib.record.act.Act`.

    Parameters
    ----------
    wanted
        The frame.
    stage_name
        Stage that waits for it.
    context
        What the stages share.
    """

    def __init__(self, wanted: FrameIntended, stage_name: str, context: RunContext) -> None:
        self._wanted = wanted
        self._stage_name = stage_name
        self._context = context
        self._sequence = context.plan.sequences[wanted.calib_type]
        total = max(len(self._sequence.frames), wanted.index)
        self._name = f"{wanted.calib_type.name} frame {wanted.index} of {total}"

    @property
    def _frame(self) -> Frame | None:
        return self._context.history.frames.get((self._wanted.calib_type, self._wanted.index))

    def known(self) -> Frame | None:
        """Return the frame if it has been taken."""
        frame = self._frame
        return frame if frame is not None and frame.exposure_id else None

    @property
    def open(self) -> bool:
        """Whether it may have been taken."""
        frame = self._frame
        return frame is not None and frame.open

    async def find(self) -> Frame | None:
        """Look until it is certain whether the frame was taken; see `Act.find`.

        An exposure shows in the camera's events, and in the repository as soon as one of its files is there. If the
        camera is idle and neither has shown one ``oods_timeout`` after it would have ended, there is none.
        """
        context, frame = self._context, self._frame
        assert frame is not None, "only an intended frame is looked for"
        clock, patience_s = context.clock, frame.exposure_time_s + context.plan.options.oods_timeout
        # The clock may have been set back since the intent.
        left_s = min(max(frame.intended_s + patience_s - clock.tai(), 0.0), patience_s)
        no_file = clock.monotonic() + left_s
        limits = context.config.limits
        deadline = no_file + frame.exposure_time_s + limits.exposure_overhead + limits.readout
        what = f"news of {self._name}, which was being taken when the run was interrupted"
        while True:
            now = clock.monotonic()
            context.record.waiting(self._stage_name, what, max(no_file - now, 0.0))
            obstacle = await context.services.camera.obstacle()
            # Looked for after the camera was seen idle, so that an exposure that ended meanwhile is not missed.
            if found := await look_for_frames(frame, context):
                await record_found(frame, found, context)
                return self.known()
            if now >= no_file and not obstacle:
                break
            if now >= deadline:
                raise StageError(
                    f"Whether {self._name} was taken before the run was interrupted could not be found out: "
                    f"{obstacle} Then resume the run"
                )
            await asyncio.sleep(LOOK_INTERVAL_S)
        await self.withdraw("neither the camera nor the repository has an exposure for it")
        return None

    async def intent(self) -> FrameIntended:
        """Return the fact that the frame is about to be taken; see `Act.intent`.

        An exposure that is found belongs to the only frame of its group that may have been taken. So it is found out
        first what became of any other one.
        """
        if why := self._context.history.no_more_exposures:
            raise StageError(f"No further exposure was taken, because {why}")
        for frame in self._context.history.frames_of(self._wanted.calib_type):
            if frame.open and frame.index != self._wanted.index:
                await Exposing(frame.intent, self._stage_name, self._context).find()
        return self._wanted

    async def act(self) -> Frame:
        """Have the camera take the frame; see `Act.act`."""
        context, wanted = self._context, self._wanted
        if why := context.history.no_more_exposures:
            await self.withdraw(f"no further exposure was taken, because {why}")
            raise StageError(f"No further exposure was taken, because {why}")
        limits = context.config.limits
        limit_s = wanted.exposure_time_s + limits.exposure_overhead + 2 * limits.readout
        context.record.waiting(self._stage_name, f"{self._name}, {wanted.exposure_time_s:g} s", limit_s)
        options = context.plan.options
        request = FrameRequest(
            image_type=wanted.calib_type.name,
            exposure_time_s=wanted.exposure_time_s,
            group_id=self._sequence.group_id,
            reason=options.reason,
            program=options.program,
            test_type=options.test_case,
            note=options.note,
        )
        try:
            taken = await context.services.camera.take(request)
        except ServiceError as error:
            instrument = context.config.instrument
            unwell = context.unwell(instrument.camera, instrument.header_service)
            raise StageError(f"{self._name} was not taken: {str(error).removesuffix('.')}{unwell}") from error
        await _record_taken(wanted.calib_type, wanted.index, taken, False, context)
        frame = self.known()
        assert frame is not None, "it has just been recorded"
        return frame

    async def withdraw(self, reason: str) -> None:
        """Record that the frame was not taken; see `Act.withdraw`."""
        wanted = self._wanted
        await self._context.record.note(FrameAbsent(calib_type=wanted.calib_type, index=wanted.index, reason=reason))


async def look_for_frames(frame: Frame, context: RunContext) -> list[TakenFrame]:
    """Look once for exposures of a frame's group that are not known yet.

    Parameters
    ----------
    frame
        A frame that may have been taken.
    context
        What the stages share.

    Returns
    -------
    found
        The exposures, in their order; only those that are read out, or whose files are in the repository.

    Raises
    ------
    StageError
        If the repository does not answer; without it nothing is certain.
    """
    group_id = context.plan.sequences[frame.calib_type].group_id
    known = context.history.known_exposures
    try:
        there = await context.services.repository.exposures_of_group(group_id)
    except ServiceError as error:
        raise StageError(
            f"Whether {frame.calib_type.name} frame {frame.index} was taken before the run was interrupted could not "
            f"be found out: {error}"
        ) from error
    found = {one.exposure_id: TakenFrame(one.exposure_id, one.obs_id, tai_unix(one.begin_iso_tai)) for one in there}
    found |= {one.exposure_id: one for one in context.services.camera.taken_for(group_id)}
    return [found[one] for one in sorted(found) if one not in known]


async def set_earlier_apart(calib_type: CalibType, context: RunContext) -> None:
    """Record exposures that have the group id of a type of which the run has not taken a frame yet, to never use them.

    They are of another run with the same identifier: identifiers are counted anew after a journal was moved away.

    Raises
    ------
    StageError
        If the repository does not answer.
    """
    if context.history.frames_of(calib_type):
        return
    first = Frame(FrameIntended(calib_type=calib_type, index=1, exposure_time_s=0.0))
    try:
        earlier = await look_for_frames(first, context)
    except StageError as error:
        raise StageError(
            f"Whether an earlier run of the same name has left {calib_type.name} exposures could not be looked up: "
            f"{error.__cause__}"
        ) from error
    for one in earlier:
        logging.getLogger(__name__).warning(
            "Run %s: %s is of an earlier run of the same name, and is never used", context.run_id, one.obs_id
        )
        await context.record.note(
            FrameStray(
                calib_type=calib_type,
                exposure_id=one.exposure_id,
                obs_id=one.obs_id,
                reason="it was taken before this run took its first frame",
            )
        )


async def record_found(frame: Frame, found: list[TakenFrame], context: RunContext) -> None:
    """Record the exposures that were found: the first is the frame's, the others are one too many."""
    first, *others = found
    log = logging.getLogger(__name__)
    log.warning(
        "Run %s: %s frame %d was taken before the run was interrupted: it is %s",
        *(context.run_id, frame.calib_type.name, frame.index, first.obs_id),
    )
    await _record_taken(frame.calib_type, frame.index, first, True, context)
    for other in others:
        log.warning("Run %s: %s is one too many, and is never used", context.run_id, other.obs_id)
        await context.record.note(
            FrameStray(
                calib_type=frame.calib_type,
                exposure_id=other.exposure_id,
                obs_id=other.obs_id,
                reason=f"{first.obs_id} is the frame that was intended",
            )
        )


async def _record_taken(calib_type: CalibType, index: int, taken: TakenFrame, found: bool, context: RunContext) -> None:
    await context.record.note(
        FrameTaken(
            calib_type=calib_type,
            index=index,
            exposure_id=taken.exposure_id,
            obs_id=taken.obs_id,
            taken_s=taken.timestamp_taken_s,
            found=found,
        )
    )
