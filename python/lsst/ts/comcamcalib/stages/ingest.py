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
from ..plan.plan import Frame, StagePlan
from ..plan.record import ImageIngested, ImageTaken
from .acquire import expose
from .context import RunContext
from .light_watch import watch_light

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
    watching: asyncio.Task[str], arrivals: asyncio.Queue[ImageTaken | None], stage: StagePlan, context: RunContext
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
        self.context = context
        self.options = context.plan.options
        self.sequence = context.plan.sequences[stage.calib_type]
        self.frames = context.frames[stage.calib_type]
        self.ledger = context.ledger
        self.settled: set[int] = set()
        # Frames of which all files are in the repository, for the task that checks the light.
        self.arrivals: asyncio.Queue[ImageTaken | None] = asyncio.Queue()
        self.retakes = 0
        # Lost images that have not been taken again yet.
        self.again: list[ImageTaken] = []
        # Position of the next frame that is not in the plan.
        self.next_index = len(self.sequence.frames) + 1
        # Positions of the two flats of each pair. cp_pipe pairs only flats that follow each other, so if one is lost,
        # both must be taken again.
        self.partner = self._planned_pairs()
        # By exposure id: how many files have arrived, when the last one did (event loop time, seconds), and how often
        # Butler was asked since then.
        self.arrived: dict[int, int] = {}
        self.quiet_since: dict[int, float] = {}
        self.looks: dict[int, int] = {}
        # Look-ups in a row that Butler did not answer.
        self.blind_looks = 0

    async def run(self) -> str:
        while True:
            # Noted before the look-up, so that anything that arrives during it ends the wait below.
            seen = (self.ledger.news.count, self.frames.news.count)
            await self._settle_arrived()
            for image in self._pending():
                if self._next_look(image) <= self._now():
                    await self._look_for(image)
            await self._take_again()
            pending = self._pending()
            if not pending and self.frames.acquisition_ended:
                return self._conclude()
            await self._wait(pending, seen)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    def _pending(self) -> list[ImageTaken]:
        return [image for image in self.frames.used if image.exposure_id not in self.settled]

    def _planned_pairs(self) -> dict[int, int]:
        if self.stage.calib_type is not CalibType.FLAT or not (
            self.options.do_ptc or self.options.do_gain_from_flat_pairs
        ):
            return {}
        used = [frame.index for frame in self.sequence.frames if not frame.discarded]
        pairs = [(used[one], used[other]) for one, other in self.options.flat_pairs()]
        return {**dict(pairs), **{other: one for one, other in pairs}}

    @property
    def _cut_short(self) -> bool:
        """Whether the acquisition ended before all planned frames were taken; then none is taken again."""
        extra = self.next_index - 1 - len(self.sequence.frames)
        return self.frames.acquisition_ended and len(self.frames.taken) - extra < len(self.sequence.frames)

    def _conclude(self) -> str:
        wanted = [frame for frame in self.sequence.frames if not frame.discarded]
        if len(self.frames.used) < len(wanted):
            lost = (
                f"; lost, and not taken again: {', '.join(image.obs_id for image in self.again)}" if self.again else ""
            )
            raise StageError(
                f"There are only {len(self.frames.used)} of {len(wanted)} {self.stage.calib_type.name} frames, because "
                f"the acquisition ended early{lost}"
            )
        again = f", {self.retakes} of them taken again" if self.retakes else ""
        return f"All files of {len(wanted)} frames are in the repository{again}"

    async def _settle_arrived(self) -> None:
        for image in self._pending():
            if not self.ledger.missing(image.exposure_id):
                self.settled.add(image.exposure_id)
                self.arrivals.put_nowait(image)
                await self._tell(image)

    def _next_look(self, image: ImageTaken) -> float:
        """Return when to look in Butler for the missing files of an image (event loop time, seconds).

        If the OODS reported a failure for each of them, that is at once, because a later ingest may have succeeded.
        Otherwise it is when the OODS has reported nothing about the image for too long, and then repeatedly.
        """
        exposure_id = image.exposure_id
        arrived = len(self.ledger.ingested(exposure_id))
        if self.arrived.get(exposure_id) != arrived:
            self.arrived[exposure_id], self.quiet_since[exposure_id], self.looks[exposure_id] = arrived, self._now(), 0
        patience = 0.0 if self._all_failed(exposure_id) else self.options.oods_timeout
        pauses = self.looks[exposure_id] * self.context.config.archiver_check_interval_s
        return self.quiet_since[exposure_id] + patience + pauses

    def _all_failed(self, exposure_id: int) -> bool:
        """Whether the OODS reported a failure for each missing file, so that no more notices are expected."""
        return self.ledger.missing(exposure_id) <= set(self.ledger.failed(exposure_id))

    async def _wait(self, pending: list[ImageTaken], seen: tuple[int, int]) -> None:
        """Wait until a file or frame arrives, or until it is time to look for missing files."""
        look = min((self._next_look(image) for image in pending), default=None)
        limit = None if look is None else max(0.0, look - self._now())
        what = f"files of {', '.join(image.obs_id for image in pending)}" if pending else "the next frame"
        self.context.record.waiting(self.stage.name, what, limit)
        waits = [
            asyncio.create_task(self.ledger.news.since(seen[0]), name=f"{self.stage.name} waits for files"),
            asyncio.create_task(self.frames.news.since(seen[1]), name=f"{self.stage.name} waits for frames"),
        ]
        try:
            await asyncio.wait(waits, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    async def _look_for(self, image: ImageTaken) -> None:
        """Look in Butler for files that no event announced; a file that is not there after the last look-up is lost."""
        exposure_id = image.exposure_id
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
        self.looks[exposure_id] += 1
        if failed or self.looks[exposure_id] >= self.options.max_counter_archiver_check:
            await self._give_up(image)

    async def _give_up(self, image: ImageTaken) -> None:
        self.settled.add(image.exposure_id)
        self.frames.lost.add(image.exposure_id)
        await self._tell(image)
        missing, cause = self._missing(image), self._cause(image)
        if vain := self._why_in_vain(image):
            raise StageError(f"{image.obs_id} is lost ({missing} did not arrive in the repository: {cause}). {vain}")
        if self.retakes >= self.sequence.max_retakes:
            raise StageError(
                f"{image.obs_id} is lost ({missing} did not arrive in the repository: {cause}), and {self.retakes} "
                f"frames were taken again already (max_retakes {self.sequence.max_retakes}). Look at the OODS, then "
                "start another run"
            )
        self.retakes += 1
        self.again.append(image)

    def _why_in_vain(self, image: ImageTaken) -> str:
        """Return why taking a lost frame again would not help; "" if it may help.

        It helps against random losses. It does not help if the same detectors are missing again and again, or if no
        files reach the repository.
        """
        instrument = self.context.config.instrument
        behind = (*instrument.oods, instrument.header_service)
        if unwell := self.context.unwell(*behind).removeprefix(". "):
            return f"No frame is taken again until this is repaired: {unwell}. Then start another run"
        in_a_row = {detector: self._losses_in_a_row(detector) for detector in self.options.detectors}
        always = [
            detector
            for detector, count in in_a_row.items()
            if count >= LOSSES_THAT_ARE_NO_CHANCE
            or (count and detector in self.context.never_delivered and not self._has_delivered(detector))
        ]
        if not self.ledger.missing(image.exposure_id) & set(always):
            return ""
        self.context.never_delivered |= set(always)
        names = ", ".join(self.context.plan.detector_names[detector] for detector in always)
        count = min(in_a_row[detector] for detector in always)  # holds for each of them
        kind = self.stage.calib_type.name
        frames = f"the last {count} {kind} frames" if count > 1 else f"the last {kind} frame, as of earlier ones"
        rest = [detector for detector in self.options.detectors if detector not in always]
        if not rest:
            return (
                f"For {frames}, no file of any detector in use has arrived, so no frame is taken again. Check "
                f"{', '.join(behind)} and the camera's file transfer, then start another run"
            )
        return (
            f"This is not random: no file of {names} has arrived for {frames}, so no frame is taken again. Find out "
            "why (its readout board, the file transfer, the OODS), or start another run without it: "
            f"detectors: {rest}"
        )

    def _has_delivered(self, detector: int) -> bool:
        """Return whether a detector's file has arrived for any frame of the type."""
        return any(detector in self.ledger.ingested(image.exposure_id) for image in self.frames.taken)

    def _losses_in_a_row(self, detector: int) -> int:
        """Return for how many of the last frames of the type, in a row, a detector's file is lost.

        A frame counts if it is lost, or if no file has come for so long that Butler was asked and did not have the file
        either. A frame whose files may still be on their way is left out.
        """
        count = 0
        for image in reversed([one for one in self.frames.taken if not one.discarded]):
            if detector not in self.ledger.missing(image.exposure_id):
                break
            count += image.exposure_id in self.settled or self.looks.get(image.exposure_id, 0) > 0
        return count

    async def _take_again(self) -> None:
        """Take lost frames again; pairs of flats only when no other flat can be taken between the two."""
        if self._cut_short or (self.partner and not self.frames.acquisition_ended):
            return
        while self.again:
            image = self.again[0]
            partner = self.partner.get(image.image_index)
            if partner is None:
                await self._expose(image.exposure_time)
            else:
                await self._give_up_partner(partner)
                first, second = await self._expose(image.exposure_time), await self._expose(image.exposure_time)
                self.partner |= {first: second, second: first}
            del self.again[0]

    async def _expose(self, exposure_time_s: float) -> int:
        """Take a frame that is not in the plan, and return its position."""
        index = self.next_index
        self.next_index += 1
        await expose(Frame(self.stage.calib_type, index, exposure_time_s), self.stage.name, self.context)
        return index

    async def _give_up_partner(self, index: int) -> None:
        """Give up a flat whose partner was lost."""
        for image in self.frames.used:
            if image.image_index == index:
                self.frames.lost.add(image.exposure_id)
                if image.exposure_id not in self.settled:
                    self.settled.add(image.exposure_id)
                    await self._tell(image)
        # If both were lost, one new pair replaces them.
        self.again = [image for image in self.again if image.image_index != index]

    def _missing(self, image: ImageTaken) -> str:
        names = self.context.plan.detector_names
        return ", ".join(names[detector] for detector in sorted(self.ledger.missing(image.exposure_id)))

    def _cause(self, image: ImageTaken) -> str:
        failed = self.ledger.failed(image.exposure_id)
        if failed:
            return "the OODS says: " + "; ".join(dict.fromkeys(failed.values()))
        cause = f"no event reported them within {self.options.oods_timeout:g} s, and Butler does not have them"
        if self.ledger.unattributed:
            cause += f"; the OODS also reported failures without naming a file: {self.ledger.unattributed[-1]}"
        return cause

    async def _tell(self, image: ImageTaken) -> None:
        missing = self._missing(image)
        await self.context.record.write(
            ImageIngested(
                run_id=self.context.run_id,
                exposure_id=image.exposure_id,
                obs_id=image.obs_id,
                detectors_expected=len(self.options.detectors),
                detectors_ingested=len(self.ledger.ingested(image.exposure_id)),
                detectors_failed=len(self.ledger.failed(image.exposure_id)),
                missing=missing.replace(", ", ","),
                reason=self._cause(image) if missing else "",
            )
        )
