# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A withdrawal of certifications, done exactly once."""

from __future__ import annotations

import dataclasses

from ..butler_data import ReplacedDataset, TypedRange, UndoneCertification, Withdrawal
from ..errors import ChangedError, ServiceError, StageError, UnreachableError
from ..record.act import write_intent
from ..record.facts import Decertified, DecertifyAbsent, DecertifyIntended, RangeChange
from ..record.things import Certification
from ..record.things import Withdrawal as KnownWithdrawal
from .context import RunContext

__all__ = ["Withdrawing"]

LOOKS = 3
"""How often it is looked what must change, because others may certify at the same time."""


class Withdrawing:
    """The act of withdrawing certifications of a run; see `lsst.ts.comcamcalib.record.act.Act`.

    Parameters
    ----------
    numbers
        Numbers of the certifications within the run.
    who, why
        Who wants that, and why.
    context
        The run's record, and the connections.
    """

    def __init__(self, numbers: tuple[int, ...], who: str, why: str, context: RunContext) -> None:
        self._numbers = numbers
        self._who = who
        self._why = why
        self._context = context
        self._collection = context.plan.options.calib_collection
        self._planned = Withdrawal(self._collection, tuple(_undone(one) for one in self._certifications))
        # Whether a process that was stopped in the middle of it has done it after it was looked for in vain.
        self._appeared = False

    @property
    def _certifications(self) -> list[Certification]:
        return [self._context.history.certifications[number] for number in self._numbers]

    @property
    def _latest(self) -> KnownWithdrawal | None:
        """The last withdrawal of the same certifications."""
        same = [one for one in self._context.history.withdrawals.values() if one.intent.certifications == self._numbers]
        return same[-1] if same else None

    def known(self) -> KnownWithdrawal | None:
        """Return the withdrawal if it is done."""
        latest = self._latest
        return latest if latest is not None and isinstance(latest.outcome, Decertified) else None

    @property
    def open(self) -> bool:
        """Whether it may have been done."""
        return self._latest is not None and self._latest.outcome is None

    async def find(self) -> KnownWithdrawal | None:
        """Look in the collection whether it was done, and record that; see `Act.find`."""
        latest = self._latest
        assert latest is not None, "only an intended withdrawal is looked for"
        self._planned = _planned(latest.intent, self._planned.certifications)
        try:
            done = await self._is_done()
            lost = await self._read_back() if done else []
        except ServiceError as error:
            raise StageError(
                f"Whether the datasets were withdrawn from {self._collection} could not be found out: "
                f"{str(error).removesuffix('.')}. Check the repository; the CSC looks again"
            ) from error
        if done:
            await self._note_done(lost, found=True)
        else:
            await self._note_absent("it was not done when the service ended")
        return self.known()

    async def intent(self) -> DecertifyIntended:
        """Look up what must change, and return the fact that it is about to be changed."""
        repository = self._context.services.repository
        try:
            planned = await repository.look_withdrawal(dataclasses.replace(self._planned, out=(), back=()))
        except ServiceError as error:
            raise self._failed(error) from error
        self._appeared = not planned.out and self._latest is not None
        if self._appeared:
            assert self._latest is not None
            planned = _planned(self._latest.intent, planned.certifications)
        elif not planned.out:
            raise StageError(
                f"Nothing of it is certified in {self._collection} any more: somebody else has withdrawn it"
            )
        self._planned = planned
        return DecertifyIntended(
            number=len(self._context.history.withdrawals) + 1,
            certifications=self._numbers,
            collection=self._collection,
            out=tuple(_change(one) for one in planned.out),
            back=tuple(_change(one) for one in planned.back),
            who=self._who,
            why=self._why,
        )

    async def act(self) -> KnownWithdrawal:
        """Withdraw, and read back as somebody else would; see `Act.act`.

        Notes
        -----
        A call that Butler has begun can't be stopped. If this is cancelled then, it stays open, and is looked for when
        the CSC is ENABLED again.
        """
        found = False
        try:
            await self._withdraw()
        except UnreachableError as error:
            # No answer in time proves nothing: Butler may have done it, or may still do so.
            found = await self._settle(error)
        except ServiceError as error:
            await self._note_absent(str(error))
            raise self._failed(error) from error
        try:
            lost = await self._read_back()
        except ServiceError as error:
            lost = [f"It could not be read back: {error}"]
        await self._note_done(lost, found=found or self._appeared)
        outcome = self.known()
        assert outcome is not None
        return outcome

    async def withdraw(self, reason: str) -> None:
        """Record that nothing was withdrawn; see `Act.withdraw`."""
        if self.open:
            await self._note_absent(reason)

    async def _withdraw(self) -> None:
        """Have Butler withdraw; if the collection has changed since it was looked up, look again."""
        for _ in range(LOOKS - 1):
            try:
                return await self._withdraw_unless_done()
            except ChangedError as error:
                try:
                    next_intent = await self.intent()
                except StageError:
                    await self._note_absent(str(error))
                    raise
                await self._note_absent(str(error), again=True)
                await write_intent(self, next_intent, self._context.record)
        return await self._withdraw_unless_done()

    async def _withdraw_unless_done(self) -> None:
        if not self._appeared:
            await self._context.services.repository.withdraw(self._planned)

    async def _settle(self, error: UnreachableError) -> bool:
        """Find out whether Butler has withdrawn although it did not answer."""
        try:
            done = await self._is_done()
        except ServiceError as other:
            raise StageError(
                f"The datasets may have been withdrawn from {self._collection}, but that is not known: {error} {other} "
                "The CSC looks again"
            ) from error
        if not done:
            await self._note_absent(str(error))
            raise self._failed(error)
        return True

    async def _is_done(self) -> bool:
        """Whether none of the run's own datasets is certified any more; Butler withdraws all or nothing."""
        for one in self._planned.certifications:
            if await self._context.services.repository.certified_ranges(
                one.dataset_type, self._collection, one.dataset_ids
            ):
                return False
        return True

    async def _read_back(self) -> list[str]:
        exposures = self._context.history.known_exposures
        return await self._context.services.repository.read_back_withdrawal(self._planned, sorted(exposures)[:1])

    def _failed(self, error: ServiceError) -> StageError:
        return StageError(f"Nothing was withdrawn from {self._collection}: {error}")

    async def _note_done(self, lost: list[str], found: bool) -> None:
        latest = self._latest
        assert latest is not None
        remarks = ["found after the service ended" if found else "", _words(latest.intent, self._planned), *lost]
        await self._context.record.note(
            Decertified(
                number=latest.intent.number, reason="; ".join(filter(None, remarks)), lost=tuple(lost), found=found
            )
        )

    async def _note_absent(self, reason: str, again: bool = False) -> None:
        latest = self._latest
        assert latest is not None
        await self._context.record.note(DecertifyAbsent(number=latest.intent.number, reason=reason, again=again))


def _undone(one: Certification) -> UndoneCertification:
    intent = one.intent
    return UndoneCertification(
        dataset_type=intent.dataset_type,
        dataset_ids=intent.dataset_ids,
        begin_iso_tai=intent.validity_begin,
        end_iso_tai=intent.validity_end,
        truncated=intent.on_conflict == "truncate",
        replaced=tuple(
            ReplacedDataset(
                old.dataset_id,
                old.detector,
                old.physical_filter,
                old.validity_begin,
                old.validity_end,
                old.run_collection,
            )
            for old in intent.replaces
        ),
    )


def _change(one: TypedRange) -> RangeChange:
    return RangeChange(
        dataset_type=one.dataset_type,
        dataset_id=one.dataset_id,
        detector=one.detector,
        physical_filter=one.physical_filter,
        validity_begin=one.begin_iso_tai,
        validity_end=one.end_iso_tai,
    )


def _typed(one: RangeChange) -> TypedRange:
    return TypedRange(
        one.dataset_type, one.dataset_id, one.detector, one.physical_filter, one.validity_begin, one.validity_end
    )


def _planned(intent: DecertifyIntended, certifications: tuple[UndoneCertification, ...]) -> Withdrawal:
    out, back = tuple(_typed(one) for one in intent.out), tuple(_typed(one) for one in intent.back)
    return Withdrawal(intent.collection, certifications, out, back)


def _words(intent: DecertifyIntended, planned: Withdrawal) -> str:
    """Say what is out of the collection, and what is back."""
    own = {name for one in planned.certifications for name in one.dataset_ids}
    out = {one.dataset_id for one in intent.out} & own
    back = sorted({one.dataset_id for one in intent.back})
    out_words = f"{len(out)} dataset{' is' if len(out) == 1 else 's are'} out of {intent.collection}"
    if not back:
        return f"{out_words}; it had replaced nothing"
    datasets = "1 dataset" if len(back) == 1 else f"{len(back)} datasets"
    return f"{out_words}; back with the former ranges: {datasets} ({', '.join(back)})"
