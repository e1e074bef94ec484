# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""One certification, done exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

from ..butler_data import CertifyOutcome, CertifyRequest, ReplacedDataset
from ..errors import ChangedError, ConflictError, ServiceError, StageError, UnreachableError
from ..plan.validity import Validity
from ..record.act import intend
from ..record.facts import Certified, CertifiedBefore, CertifyAbsent, CertifyIntended
from ..record.things import Certification, GoodProduct
from ..services.butler_certify import conflict
from .context import RunContext

__all__ = ["Certifying", "look_for_certification", "record_look"]

# Whoever cancels (abort, leaving ENABLED) must answer within 10 s, even if Butler hangs.
CANCELLED_LIMIT_S = 5.0

CONFLICT_REMEDY = (
    "Withdraw that with decertify, and resume the run; or start another run with on_conflict: replace or truncate, or "
    "with another calib_collection or validity."
)

LOOKS = 3
"""How often it is looked what a certification replaces, because others may certify at the same time."""


@dataclasses.dataclass(frozen=True)
class _Answer:
    """Butler's answer to a request to certify."""

    outcome: CertifyOutcome | None
    """What Butler did; None if that is unknown."""
    unknown: str = ""
    """Why the outcome is unknown; empty if it is known."""
    error: ServiceError | None = None
    """The error; None also if the stage was cancelled."""


class Certifying:
    """The act of certifying a product; see `lsst.ts.comcamcalib.record.act.Act`.

    Parameters
    ----------
    good
        The product and its good verdict.
    stage_name
        The stage that certifies: the product's own, or that of a product built on it.
    validity
        The range for which it is certified.
    frames
        Used exposures of the run so far for which Butler must find the product; the validity covers them.
    remarks
        Sentences for the event.
    context
        What the stages share.
    """

    def __init__(
        self,
        good: GoodProduct,
        stage_name: str,
        validity: Validity,
        frames: tuple[int, ...],
        remarks: tuple[str, ...],
        context: RunContext,
    ) -> None:
        self._product = good.product
        self._left_out = good.left_out
        self.stage_name = stage_name
        """The stage that certifies."""
        self._validity = validity
        self._frames = frames
        self._remarks = remarks
        self._context = context
        self._collection = context.plan.options.calib_collection
        self._what = f"{good.product.dataset_type} of job {good.product.job_id}"
        self._request = CertifyRequest(
            run_collection=good.product.run_collection,
            dataset_type=good.product.dataset_type,
            dataset_ids=good.product.ids,
            calib_collection=self._collection,
            begin_iso_tai=validity.begin_iso_tai,
            end_iso_tai=validity.end_iso_tai,
            verdict=good.verdict,
            on_conflict=context.plan.options.on_conflict,
        )

    @property
    def _latest(self) -> Certification | None:
        """The last certification of the same datasets for the same range."""
        same = [one for one in self._context.history.certifications.values() if self.is_the_same_as(one)]
        return same[-1] if same else None

    def is_the_same_as(self, other: Certification) -> bool:
        """Return whether a certification is of the same datasets for the same range."""
        intent = other.intent
        return (intent.output_collection, intent.dataset_ids) == (
            self._request.run_collection,
            self._request.dataset_ids,
        ) and Validity(intent.validity_begin, intent.validity_end) == self._validity

    def known(self) -> Certification | None:
        """Return the certification if it is done."""
        return self._latest if self._latest is not None and self._latest.sound else None

    @property
    def open(self) -> bool:
        """Whether it may have been done."""
        return self._latest is not None and self._latest.outcome is None

    async def find(self) -> Certification | None:
        """Look in the collection whether it was done, and record that; see `Act.find`."""
        latest = self._latest
        assert latest is not None, "only an intended certification is looked for"
        limit_s = self._context.config.limits.butler_query
        self._context.record.waiting(self.stage_name, f"Butler to look into {self._collection}", limit_s)
        try:
            there = await look_for_certification(latest, self._context)
            lost = await self._read_back() if there else []
        except ServiceError as error:
            raise StageError(
                f"Whether {self._what} was certified in {self._collection} could not be found out: "
                f"{str(error).removesuffix('.')}. Check the repository; the CSC looks again"
            ) from error
        await record_look(latest, there, tuple(lost), self._context)
        return self.known()

    async def intent(self) -> CertifyIntended:
        """Look up what will be replaced, and return the fact that the product is about to be certified."""
        limits = self._context.config.limits
        self._context.record.waiting(self.stage_name, f"Butler to look into {self._collection}", limits.butler_query)
        latest = self._latest
        try:
            before = await self._context.services.repository.certified_before(self._request)
            appeared = await look_for_certification(latest, self._context) if latest is not None else set()
        except ServiceError as error:
            raise self._failed(error) from error
        if before and self._request.on_conflict == "fail":
            raise self._failed(conflict(self._request, before))
        replaces = tuple(_certified_before(one) for one in before)
        if latest is not None and not before and appeared == set(self._request.dataset_ids):
            # A process that was stopped in the middle of it has done it after it was looked for in vain.
            replaces = latest.intent.replaces
        self._request = dataclasses.replace(self._request, expects=tuple(before))
        history = self._context.history
        return CertifyIntended(
            number=len(history.certifications) + 1,
            stage_name=self.stage_name,
            calib_type=self._product.calib_type,
            verdict=self._request.verdict,
            dataset_type=self._request.dataset_type,
            collection=self._collection,
            output_collection=self._request.run_collection,
            validity_begin=self._validity.begin_iso_tai,
            validity_end=self._validity.end_iso_tai,
            dataset_ids=self._request.dataset_ids,
            replaces=replaces,
            remarks=self._remarks,
            on_conflict=self._request.on_conflict,
            left_out=self._left_out,
        )

    async def act(self) -> Certification:
        """Certify and read back; see `Act.act`.

        Notes
        -----
        A call that Butler has begun can't be stopped. If this is cancelled then, it ends as if it had not been, because
        the outcome must be known and published.
        """
        answer = _Answer(None, "the run was stopped meanwhile")
        with contextlib.suppress(asyncio.CancelledError):
            answer = await self._begin()
        ending = asyncio.create_task(self._conclude(answer), name=f"read back {self._what}")
        while not ending.done():
            # Ends by Butler's own limit, or by ours.
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait([ending])
        if not ending.result():
            raise asyncio.CancelledError
        certification = self._latest
        assert certification is not None
        return certification

    async def withdraw(self, reason: str) -> None:
        """Record that nothing was certified; see `Act.withdraw`."""
        if self.open:
            await self._note_absent(reason)

    async def _begin(self) -> _Answer:
        """Have Butler certify, and return its answer."""
        limit_s = self._context.config.limits.butler_certify
        self._context.record.waiting(self.stage_name, f"Butler to certify in {self._collection}", limit_s)
        try:
            outcome = await self._certify()
        except UnreachableError as error:
            # No answer in time proves nothing: Butler may have certified, or may still do so.
            return _Answer(None, "Butler did not answer in time", error)
        except ServiceError as error:
            # Butler does all or nothing, and says that it did nothing.
            await self._note_absent(str(error))
            raise self._failed(error) from error
        return _Answer(outcome)

    async def _certify(self) -> CertifyOutcome:
        """Have Butler certify; if what that replaces has changed since it was written down, look again."""
        for _ in range(LOOKS - 1):
            try:
                return await self._context.services.repository.certify(self._request)
            except ChangedError as error:
                await self._note_absent(str(error))
                await intend(self, self._context.record)
        return await self._context.services.repository.certify(self._request)

    def _failed(self, error: ServiceError) -> StageError:
        remedy = f" {CONFLICT_REMEDY}" if isinstance(error, ConflictError) else ""
        return StageError(f"{self._what} could not be certified in {self._collection}: {error}{remedy}")

    async def _conclude(self, answer: _Answer) -> bool:
        """Find out what is certified, and record it; return whether it is certified.

        The repository certifies and reads back in the order of the requests, so it answers this one only after it has
        ended the certification, or dropped it.
        """
        latest = self._latest
        assert latest is not None
        cancelled = answer.outcome is None and answer.error is None
        limit_s = self._context.config.limits.butler_query
        self._context.record.waiting(self.stage_name, f"Butler to read back from {self._collection}", limit_s)
        try:
            async with asyncio.timeout(CANCELLED_LIMIT_S if cancelled else None):
                lost = await self._read_back()
                there = set(self._request.dataset_ids)
                if answer.outcome is None:
                    there = await look_for_certification(latest, self._context)
        except (ServiceError, TimeoutError) as error:
            was = "was" if answer.outcome is not None else "may have been"
            causes = [str(one) for one in (answer.error, error) if str(one or "")]
            why = " ".join(causes) or f"Butler did not answer within {CANCELLED_LIMIT_S:g} s"
            if answer.outcome is not None:
                await self._note_certified(answer, (f"It could not be read back: {why}",))
            raise StageError(
                f"{self._what} {was} certified in {self._collection}, but that could not be read back: {why}"
            ) from error
        if not there:
            await self._note_absent(str(answer.error or answer.unknown))
            if answer.error is not None:
                raise self._failed(answer.error)
            return False
        await self._note_certified(answer, tuple(lost))
        if lost:
            raise StageError(f"{self._product.dataset_type} was certified, but is not found again: {' '.join(lost)}")
        return True

    async def _read_back(self) -> list[str]:
        return await self._context.services.repository.read_back(
            self._request.dataset_type,
            self._collection,
            self._validity.begin_iso_tai,
            self._validity.end_iso_tai,
            self._request.dataset_ids,
            self._frames,
        )

    async def _note_certified(self, answer: _Answer, lost: tuple[str, ...]) -> None:
        latest, outcome = self._latest, answer.outcome
        assert latest is not None
        # What a try has withdrawn whose answer was lost was looked up before it.
        withdrawn = latest.intent.replaces if outcome is None or outcome.found else outcome.replaced
        replaced = _replaced({one.dataset_id for one in withdrawn})
        remarks = [*self._remarks, answer.unknown, replaced]
        count = len(self._request.dataset_ids) if outcome is None else len(outcome.certified)
        await self._context.record.note(
            Certified(
                number=latest.intent.number,
                dataset_count=count,
                reason="; ".join(filter(None, [*remarks, *lost])),
                lost=lost,
                found=outcome is None,
            )
        )

    async def _note_absent(self, reason: str) -> None:
        latest = self._latest
        assert latest is not None
        await self._context.record.note(CertifyAbsent(number=latest.intent.number, reason=reason))


async def look_for_certification(one: Certification, context: RunContext) -> set[str]:
    """Return the ids of the datasets of a certification that are certified for its whole range.

    Butler certifies all or nothing; if only some are there, somebody else has changed the collection since.

    Raises
    ------
    ServiceError
        If the repository does not answer.
    """
    intent = one.intent
    wanted = Validity(intent.validity_begin, intent.validity_end)
    ranges = await context.services.repository.certified_ranges(
        intent.dataset_type, intent.collection, intent.dataset_ids
    )
    return {
        found.dataset_id for found in ranges if Validity(found.begin_iso_tai, found.end_iso_tai).contains(wanted)
    } & set(intent.dataset_ids)


async def record_look(one: Certification, there: set[str], lost: tuple[str, ...], context: RunContext) -> None:
    """Record what a look for a certification has found: which of its datasets, and what could not be read back."""
    intent = one.intent
    if missing := set(intent.dataset_ids) - there:
        lost = (*lost, f"not all are in {intent.collection}: {', '.join(sorted(missing))} are not")
    if not there:
        reason = "nothing of it is in the collection"
        await context.record.note(CertifyAbsent(number=intent.number, reason=reason))
        return
    replaced = _replaced({before.dataset_id for before in intent.replaces})
    remarks = [*intent.remarks, "found in the collection afterwards", replaced, *lost]
    await context.record.note(
        Certified(
            number=intent.number,
            dataset_count=len(there),
            reason="; ".join(filter(None, remarks)),
            lost=lost,
            found=True,
        )
    )


def _certified_before(one: ReplacedDataset) -> CertifiedBefore:
    return CertifiedBefore(
        dataset_id=one.dataset_id,
        detector=one.detector,
        physical_filter=one.physical_filter,
        validity_begin=one.begin_iso_tai,
        validity_end=one.end_iso_tai,
        run_collection=one.run,
    )


def _replaced(dataset_ids: set[str]) -> str:
    if not dataset_ids:
        return ""
    datasets = "1 dataset that was" if len(dataset_ids) == 1 else f"{len(dataset_ids)} datasets that were"
    return f"replaces {datasets} certified before: {', '.join(sorted(dataset_ids))}"
