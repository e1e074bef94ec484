# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lost frames are taken again, flats of a pair together."""

from __future__ import annotations

from ..enums import CalibType
from ..errors import StageError
from ..plan.plan import StagePlan
from ..record.facts import FrameGivenUp, FrameIntended, FrameSettled
from ..record.things import Frame
from .acquire import acquisition_ended, expose
from .context import RunContext

__all__ = ["Retakes"]


class Retakes:
    """The frames of one type that are taken again.

    Each used frame of the plan is a place in the sequence. If the frame that holds it is given up, another one is
    taken for it. All of that follows from the history, so it goes on after an interruption.

    Parameters
    ----------
    stage
        The INGEST stage that finds out which frames are lost.
    context
        What the stages share.
    """

    def __init__(self, stage: StagePlan, context: RunContext) -> None:
        self._stage_name = stage.name
        self._calib_type = stage.calib_type
        self._context = context
        self._planned = context.plan.sequences[stage.calib_type].frames
        # Places of the two flats of each pair. cp_pipe pairs only flats that follow each other, so if one is lost, both
        # must be taken again.
        self._partner = self._planned_pairs()

    def check_number(self) -> None:
        """Check that no more frames are lost than may be taken again.

        Raises
        ------
        StageError
            If there are more. Lost frames of earlier attempts do not count: somebody has looked at the cause, and
            resumed the run.
        """
        stage = self._context.history.stages[self._stage_name]
        lost = [
            frame
            for frame in self._context.history.frames_of(self._calib_type)
            if frame.given_up_in == stage.attempt and frame.settled is not None and frame.settled.missing
        ]
        max_retakes = self._context.plan.sequences[self._calib_type].max_retakes
        if len(lost) > max_retakes:
            raise StageError(
                f"{lost[-1].given_up}. {len(lost)} {self._calib_type.name} frames are lost now, more than may be taken "
                f"again (max_retakes {max_retakes}). Look at the OODS, then resume the run"
            )

    @property
    def lost(self) -> list[Frame]:
        """Frames that were given up and not taken again yet."""
        return [self._holder(place) for place in self._empty()]

    async def take(self) -> None:
        """Take lost frames again; pairs of flats only when no other flat can be taken between the two.

        Raises
        ------
        StageError
            If a frame can't be taken, or too many are lost.
        """
        self.check_number()  # an earlier process may have been killed before it could
        ended = acquisition_ended(self._calib_type, self._context)
        if (ended and self._cut_short()) or (self._partner and not ended):
            return
        while empty := self._empty():
            place = empty[0]
            partner = self._partner.get(place)
            if partner is None:
                await self._expose(place)
            else:
                if not self._may_complete(partner):
                    await self._give_up(self._holder(partner))
                for one in sorted((place, partner)):
                    if one in self._empty():
                        await self._expose(one)

    def _planned_pairs(self) -> dict[int, int]:
        options = self._context.plan.options
        if self._calib_type is not CalibType.FLAT or not (options.do_ptc or options.do_gain_from_flat_pairs):
            return {}
        used = [frame.index for frame in self._planned if not frame.discarded]
        pairs = [(used[one], used[other]) for one, other in options.flat_pairs()]
        return {**dict(pairs), **{other: one for one, other in pairs}}

    def _cut_short(self) -> bool:
        """Whether not all planned frames were taken; then none is taken again."""
        frames = self._context.history.frames
        return any(
            (known := frames.get((self._calib_type, frame.index))) is None or not known.exposure_id
            for frame in self._planned
        )

    def _holder(self, place: int) -> Frame:
        """Return the frame that was taken last for a place."""
        taken = self._context.history.taken(self._calib_type)
        return [frame for frame in taken if place in (frame.index, frame.replaces)][-1]

    def _empty(self) -> list[int]:
        """Return the places whose frame was given up, and for which no other one has been taken."""
        used = [frame.index for frame in self._planned if not frame.discarded]
        taken = {frame.index for frame in self._context.history.taken(self._calib_type)}
        return [place for place in used if place in taken and self._holder(place).given_up]

    def _may_complete(self, place: int) -> bool:
        """Return whether the frame of a place makes a pair with the frame that is taken next, or is given up already.

        It does if it was taken again and is the last exposure of its type: the next one follows it.
        """
        holder = self._holder(place)
        last = self._context.history.taken(self._calib_type)[-1]
        return bool(holder.given_up) or (bool(holder.replaces) and holder == last)

    async def _give_up(self, frame: Frame) -> None:
        """Give up a flat whose partner was lost."""
        if frame.settled is None:
            ledger = self._context.ledger
            await self._context.record.note(
                FrameSettled(
                    calib_type=self._calib_type,
                    index=frame.index,
                    detectors_ingested=len(ledger.ingested(frame.exposure_id)),
                    detectors_failed=len(ledger.failed(frame.exposure_id)),
                    reason="its partner was lost, so it is not waited for",
                )
            )
        reason = "its partner was lost, and cp_pipe pairs only flats that follow each other"
        await self._context.record.note(FrameGivenUp(calib_type=self._calib_type, index=frame.index, reason=reason))

    async def _expose(self, place: int) -> None:
        """Take a frame for a place."""
        frames = self._context.history.frames_of(self._calib_type)
        # One that was intended before the run was interrupted may have been taken, and keeps its position.
        begun = [frame.index for frame in frames if frame.replaces == place and not frame.exposure_id]
        index = begun[-1] if begun else 1 + max(len(self._planned), *(frame.index for frame in frames))
        planned = next(frame for frame in self._planned if frame.index == place)
        wanted = FrameIntended(
            calib_type=self._calib_type,
            index=index,
            exposure_time_s=planned.exposure_time_s,
            replaces=place,
        )
        await expose(wanted, self._stage_name, self._context)
