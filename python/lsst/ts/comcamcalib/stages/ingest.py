# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Wait until every file of every used frame is in the repository; have lost frames taken again."""

from __future__ import annotations

import asyncio
import logging

from ..enums import CalibType
from ..errors import ServiceError, StageError
from ..plan.plan import StagePlan
from ..record.facts import FrameGivenUp, FrameSettled
from ..record.history import History
from ..record.things import Frame
from .acquire import acquisition_ended
from .context import RunContext
from .light_watch import watch_light
from .retakes import Retakes

__all__ = ["ingest"]

# If the database does not answer this many look-ups in a row, it is not just busy.
MAX_BLIND_LOOKS = 10

# If this many frames in a row lack the same detectors, the losses are not random.
LOSSES_THAT_ARE_NO_CHANCE = 2


async def ingest(stage: StagePlan, context: RunContext) -> str:
    """Account for every file of every used frame of one type.

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
        If frames are lost that can't be taken again, or the frames were not all taken; with ``on_failure: stop`` also
        as soon as the first flats prove that no good product can be made from the set.
    """
    account = _Ingest(stage, context)
    if stage.calib_type is not CalibType.FLAT or not context.plan.options.do_verify:
        return await account.run()
    accounting = asyncio.create_task(account.run(), name=f"{stage.name} accounts for files")
    watching = asyncio.create_task(watch_light(stage, account.arrivals, context), name=f"{stage.name} looks at light")
    try:
        await asyncio.wait([accounting, watching], return_when=asyncio.FIRST_COMPLETED)
        if not (accounting.done() and accounting.exception()):
            in_vain = await _outlook(watching, account.arrivals, stage, context)
            if in_vain and context.plan.options.on_failure == "stop":
                raise StageError(in_vain)
        return await accounting
    finally:
        accounting.cancel()
        watching.cancel()
        await asyncio.gather(accounting, watching, return_exceptions=True)


async def _outlook(
    watching: asyncio.Task[str], arrivals: asyncio.Queue[Frame | None], stage: StagePlan, context: RunContext
) -> str:
    """Return the result of the check of the light; wait for it a short time after all files have arrived."""
    limit = context.config.limits.butler_query
    arrivals.put_nowait(None)
    if not watching.done():
        context.record.waiting(stage.name, "the check of the light of the first flats", limit)
        await asyncio.wait([watching], timeout=limit)
    if not watching.done():
        logging.getLogger(__name__).warning(
            "Run %s: the light of the flats could not be checked within %g s; their verification will judge it",
            *(context.run_id, limit),
        )
        return ""
    return watching.result()


class _Ingest:
    """Keeps track of the files of one type's frames."""

    def __init__(self, stage: StagePlan, context: RunContext) -> None:
        self.stage = stage
        self.calib_type = stage.calib_type
        self.context = context
        self.options = context.plan.options
        self.ledger = context.ledger
        self.retakes = Retakes(stage, context)
        # Frames of which all files are in the repository, for the task that checks the light.
        self.arrivals: asyncio.Queue[Frame | None] = asyncio.Queue()
        for frame in context.history.used(stage.calib_type):
            if frame.complete:  # since an earlier attempt, or since before the run was interrupted
                self.arrivals.put_nowait(frame)
        # By exposure id: how many files have arrived, when the last one did (seconds of the clock), and how often
        # Butler was asked since then.
        self.arrived: dict[int, int] = {}
        self.quiet_since: dict[int, float] = {}
        self.looks: dict[int, int] = {}
        # Look-ups in a row that Butler did not answer.
        self.blind_looks = 0
        # Exposures of before this attempt, and those about which Butler was asked once.
        self.before = {frame.exposure_id for frame in self._pending()}
        self.asked: set[int] = set()

    async def run(self) -> str:
        while True:
            # Noted before the look-up, so that anything that arrives during it ends the wait below.
            seen = (self.ledger.news.count, self._taken(self.context.history))
            await self._settle_arrived()
            for frame in self._pending():
                # One may have become complete meanwhile; that wakes the wait below.
                if self.ledger.missing(frame.exposure_id) and self._next_look(frame) <= self._now():
                    await self._look_for(frame)
            await self.retakes.take()
            pending = self._pending()
            if not pending and acquisition_ended(self.calib_type, self.context):
                return self._conclude()
            await self._wait(pending, seen)

    def _now(self) -> float:
        return self.context.clock.monotonic()

    def _taken(self, history: History) -> tuple[int, bool]:
        """Return how many frames were taken, and whether the acquisition has ended."""
        return len(history.taken(self.calib_type)), acquisition_ended(self.calib_type, self.context)

    def _pending(self) -> list[Frame]:
        """Return the frames that are not accounted for.

        One that is settled without some of its files is among them: the process was killed before it was given up.
        """
        return [frame for frame in self.context.history.used(self.calib_type) if not frame.complete]

    def _conclude(self) -> str:
        wanted = [frame for frame in self.context.plan.sequences[self.calib_type].frames if not frame.discarded]
        used = self.context.history.used(self.calib_type)
        if len(used) < len(wanted):
            names = ", ".join(frame.obs_id for frame in self.retakes.lost)
            lost = f"; lost, and not taken again: {names}" if names else ""
            raise StageError(
                f"There are only {len(used)} of {len(wanted)} {self.calib_type.name} frames, because "
                f"the acquisition ended early{lost}"
            )
        count = sum(1 for frame in used if frame.replaces)
        again = f", {count} of them taken again" if count else ""
        return f"All files of {len(wanted)} frames are in the repository{again}"

    async def _settle_arrived(self) -> None:
        arrived = [frame for frame in self._pending() if not self.ledger.missing(frame.exposure_id)]
        for frame in arrived:
            self.arrivals.put_nowait(frame)
        # Together, so that the files of many frames that come at once cost one write to the journal.
        await asyncio.gather(*(self._settle(frame) for frame in arrived))

    def _next_look(self, frame: Frame) -> float:
        """Return when to look in Butler for the missing files of a frame (seconds of the clock).

        If the OODS reported a failure for each of them, that is at once, because a later ingest may have succeeded.
        Otherwise it is when the OODS has reported nothing about the frame for too long, and then repeatedly. The files
        of a frame from before an interruption may have been announced then, so Butler is asked about it at once, too.
        """
        exposure_id = frame.exposure_id
        arrived = len(self.ledger.ingested(exposure_id))
        if self.arrived.get(exposure_id) != arrived:
            self.arrived[exposure_id], self.quiet_since[exposure_id], self.looks[exposure_id] = arrived, self._now(), 0
        if self._from_before(frame):
            return 0.0
        patience = 0.0 if self._all_failed(exposure_id) else self.options.oods_timeout
        pauses = self.looks[exposure_id] * self.context.config.archiver_check_interval_s
        return self.quiet_since[exposure_id] + patience + pauses

    def _from_before(self, frame: Frame) -> bool:
        """Whether a frame's files may have been announced when nobody listened, and Butler was not asked since."""
        return frame.exposure_id not in self.asked and (frame.found or frame.exposure_id in self.before)

    def _all_failed(self, exposure_id: int) -> bool:
        """Whether the OODS reported a failure for each missing file, so that no more notices are expected."""
        return self.ledger.missing(exposure_id) <= set(self.ledger.failed(exposure_id))

    async def _wait(self, pending: list[Frame], seen: tuple[int, tuple[int, bool]]) -> None:
        """Wait until a file or frame arrives, or until it is time to look for missing files."""
        look = min((self._next_look(frame) for frame in pending), default=None)
        limit = None if look is None else max(0.0, look - self._now())
        what = f"files of {', '.join(frame.obs_id for frame in pending)}" if pending else "the next frame"
        self.context.record.waiting(self.stage.name, what, limit)
        frames = self.context.record.until(lambda history: self._taken(history) != seen[1])
        waits = [
            asyncio.create_task(self.ledger.news.since(seen[0]), name=f"{self.stage.name} waits for files"),
            asyncio.create_task(frames, name=f"{self.stage.name} waits for frames"),
        ]
        try:
            await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _look_for(self, frame: Frame) -> None:
        """Look in Butler for files that no event announced; a file that is not there after the last look-up is lost."""
        exposure_id = frame.exposure_id
        from_before = self._from_before(frame)
        self.asked.add(exposure_id)
        failed = self._all_failed(exposure_id)
        present: set[tuple[int, int]] = set()
        try:
            present = await self.context.services.repository.raws_present([exposure_id], self.options.detectors)
        except ServiceError as error:
            # Without an answer the file may well be there, so the frame is neither given up nor taken again.
            self.blind_looks += 1
            if self.blind_looks >= MAX_BLIND_LOOKS:
                raise StageError(
                    f"Whether the missing files are in the repository could not be checked {self.blind_looks} times "
                    f"in a row: {error}"
                ) from error
            self.quiet_since[exposure_id] += self.context.config.archiver_check_interval_s
            return
        self.blind_looks = 0
        for _, detector in present:
            self.ledger.present(exposure_id, detector)
        if not self.ledger.missing(exposure_id):
            await self._settle_arrived()
            return
        if from_before and not failed:
            return  # its files may still be on their way
        self.looks[exposure_id] += 1
        if failed or self.looks[exposure_id] >= self.options.max_counter_archiver_check:
            await self._give_up(frame)

    async def _give_up(self, frame: Frame) -> None:
        missing, cause = self._missing(frame), self._cause(frame)
        lost = f"{frame.obs_id} is lost ({missing} did not arrive in the repository: {cause})"
        await self._settle(frame)
        await self.context.record.note(FrameGivenUp(calib_type=self.calib_type, index=frame.index, reason=lost))
        if vain := self._why_in_vain(frame):
            raise StageError(f"{lost}. {vain}")
        self.retakes.check_number()

    def _why_in_vain(self, frame: Frame) -> str:
        """Return why taking a lost frame again would not help; "" if it may help.

        It helps against random losses. It does not help if the same detectors are missing again and again, or if no
        files reach the repository.
        """
        instrument = self.context.config.instrument
        behind = (*instrument.oods, instrument.header_service)
        if unwell := self.context.unwell(*behind).removeprefix(". "):
            return f"No frame is taken again until this is repaired: {unwell}. Then resume the run"
        in_a_row = {detector: self._losses_in_a_row(detector) for detector in self.options.detectors}
        always = [
            detector
            for detector, count in in_a_row.items()
            if count >= LOSSES_THAT_ARE_NO_CHANCE
            or (count and detector in self.context.never_delivered and not self._has_delivered(detector))
        ]
        if not self._missing_of(frame) & set(always):
            return ""
        self.context.never_delivered |= set(always)
        names = ", ".join(self.context.plan.detector_names[detector] for detector in always)
        count = min(in_a_row[detector] for detector in always)  # holds for each of them
        kind = self.calib_type.name
        frames = f"the last {count} {kind} frames" if count > 1 else f"the last {kind} frame, as of earlier ones"
        rest = [detector for detector in self.options.detectors if detector not in always]
        if not rest:
            return (
                f"For {frames}, no file of any detector in use has arrived, so no frame is taken again. Check "
                f"{', '.join(behind)} and the camera's file transfer, then resume the run"
            )
        return (
            f"This is not random: no file of {names} has arrived for {frames}, so no frame is taken again. Find out "
            "why (its readout board, the file transfer, the OODS) and resume the run, or start another run without it: "
            f"detectors: {rest}"
        )

    def _has_delivered(self, detector: int) -> bool:
        """Return whether a detector's file has arrived for any frame of the type."""
        return any(detector not in self._missing_of(frame) for frame in self.context.history.taken(self.calib_type))

    def _losses_in_a_row(self, detector: int) -> int:
        """Return for how many of the last frames of the type, in a row, a detector's file is lost.

        A frame counts if it is lost, or if no file has come for so long that Butler was asked and did not have the file
        either. A frame whose files may still be on their way is left out.
        """
        count = 0
        for frame in reversed([one for one in self.context.history.taken(self.calib_type) if not one.discarded]):
            if detector not in self._missing_of(frame):
                break
            count += frame.settled is not None or self.looks.get(frame.exposure_id, 0) > 0
        return count

    def _missing_of(self, frame: Frame) -> frozenset[int]:
        """Return the detectors of which no file is in the repository."""
        if frame.settled is not None:
            return frozenset(frame.settled.missing)
        return self.ledger.missing(frame.exposure_id)

    def _missing(self, frame: Frame) -> str:
        names = self.context.plan.detector_names
        return ", ".join(names[detector] for detector in sorted(self._missing_of(frame)))

    def _cause(self, frame: Frame) -> str:
        failed = self.ledger.failed(frame.exposure_id)
        if failed:
            return "the OODS says: " + "; ".join(dict.fromkeys(failed.values()))
        cause = f"no event reported them within {self.options.oods_timeout:g} s, and Butler does not have them"
        if self.ledger.unattributed:
            cause += f"; the OODS also reported failures without naming a file: {self.ledger.unattributed[-1]}"
        return cause

    async def _settle(self, frame: Frame) -> None:
        missing = tuple(sorted(self.ledger.missing(frame.exposure_id)))
        await self.context.record.note(
            FrameSettled(
                calib_type=self.calib_type,
                index=frame.index,
                detectors_ingested=len(self.ledger.ingested(frame.exposure_id)),
                detectors_failed=len(self.ledger.failed(frame.exposure_id)),
                missing=missing,
                reason=self._cause(frame) if missing else "",
            )
        )
