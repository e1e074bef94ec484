# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler repository: what is certified in it, and how calibrations are certified and withdrawn."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING

from ..butler_data import (
    CertifiedRange,
    CertifyOutcome,
    CertifyRequest,
    Coverage,
    Predecessor,
    ReplacedDataset,
    Withdrawal,
)
from ..config import Limits
from . import butler_certify, butler_lookup, butler_products, butler_read_back, butler_withdraw
from .butler_reader import ButlerReader
from .permission import Permission

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["ButlerService"]


class ButlerService(ButlerReader):
    """The Butler repository with what is certified in it: certifications in order, look-ups in parallel to them.

    Only `certify` and `withdraw` change something. `certified_ranges`, `read_back`, `look_withdrawal` and
    `read_back_withdrawal` take turns with them: what was requested before has ended, or was dropped, when they look.

    Parameters
    ----------
    repo, instrument, raw_collection, limits
        See `ButlerReader`; of the limits ``butler_certify``, too.
    permission
        Whether this process may change anything in the repository.
    """

    def __init__(self, repo: str, instrument: str, raw_collection: str, limits: Limits, permission: Permission) -> None:
        super().__init__(repo, instrument, raw_collection, limits)
        self._permission = permission

    async def detectors_without(
        self, dataset_type: str, collections: Sequence[str], detectors: Collection[int], at_iso_tai: str
    ) -> list[int]:
        """Return the detectors for which some collections have no calibration of a type at some time.

        Parameters
        ----------
        dataset_type
            Type of the calibration.
        collections
            Collections to search; those that do not exist are skipped.
        detectors
            The detectors that need one.
        at_iso_tai
            The time (ISO 8601 TAI).
        """
        what = f"look for {dataset_type} in {', '.join(collections)}"
        look_up = butler_lookup.detectors_without
        return await self._look_up(what, look_up, self._instrument, dataset_type, collections, detectors, at_iso_tai)

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        """Return what a calibration collection has for any time since some time.

        Parameters
        ----------
        dataset_types
            Types of calibrations; those that the repository does not know are left out.
        collection
            The collection; if it does not exist, nothing is there.
        since_iso_tai
            The time (ISO 8601 TAI).
        """
        what = f"look up what {collection} has"
        look_up = butler_lookup.coverage
        return await self._look_up(what, look_up, self._instrument, dataset_types, collection, since_iso_tai)

    async def predecessors(
        self,
        dataset_type: str,
        collections: Sequence[str],
        exposure_id: int,
        physical_filter: str,
        own: Collection[str],
    ) -> dict[int, Predecessor]:
        """Return what is certified for each detector at the time of an exposure; detectors without it are left out.

        Parameters
        ----------
        dataset_type
            Type of the calibration.
        collections
            Collections to search, in order; those that do not exist are skipped.
        exposure_id
            The exposure.
        physical_filter
            The filter; "" if the type has none.
        own
            UUIDs that do not count: those of the run itself, which may be certified already.
        """
        what = f"look which {dataset_type} is certified in {', '.join(collections)}"
        look_up = butler_products.predecessors
        return await self._look_up(
            what, look_up, self._instrument, dataset_type, collections, exposure_id, physical_filter, own
        )

    async def certify_obstacle(self, calib_collection: str) -> str:
        """Return why nothing can be certified in a collection; "" if it is a CALIBRATION one or does not exist."""
        return await self._look_up(f"look at {calib_collection}", butler_certify.certify_obstacle, calib_collection)

    async def certified_before(self, request: CertifyRequest) -> list[ReplacedDataset]:
        """Return the certifications that `certify` would withdraw; this changes nothing."""
        what = f"look which {request.dataset_type} are certified in {request.calib_collection}"
        return await self._look_up(what, butler_certify.certified_before, self._instrument, request)

    async def certified_for_others(
        self, dataset_type: str, calib_collection: str, begin_iso_tai: str, end_iso_tai: str, detectors: Collection[int]
    ) -> list[ReplacedDataset]:
        """Return what is certified for a part of a range for some detectors, in whatever filter.

        So conflicts are seen before there are datasets to certify.

        Parameters
        ----------
        dataset_type, calib_collection
            What to look for, and where.
        begin_iso_tai, end_iso_tai
            The range (ISO 8601 TAI); "": unbounded.
        detectors
            The detectors.
        """
        return await self._look_up(
            f"look which {dataset_type} are certified in {calib_collection}",
            butler_certify.certified_for_others,
            self._instrument,
            dataset_type,
            calib_collection,
            begin_iso_tai,
            end_iso_tai,
            detectors,
        )

    async def certify(self, request: CertifyRequest) -> CertifyOutcome:
        """Certify datasets for a validity range, all or none.

        What becomes of older certifications of the same data ids, the request says. Repeating a certification changes
        nothing.

        Raises
        ------
        ConflictError
            If there are some, and they may not be replaced.
        ChangedError
            If they are not what the request expects.
        """
        what = f"certify {request.dataset_type} of {request.run_collection} in {request.calib_collection}"
        limit_s = self._limits.butler_certify
        await self._permission()
        return await self._threads.in_order(what, limit_s, butler_certify.certify, self._instrument, request)

    async def certified_ranges(
        self, dataset_type: str, calib_collection: str, dataset_ids: Collection[str]
    ) -> list[CertifiedRange]:
        """Return the ranges for which some datasets (UUIDs) are certified in a collection."""
        return await self._threads.in_order(
            f"look which {dataset_type} are certified in {calib_collection}",
            self._limits.butler_query,
            butler_certify.certified_ranges,
            self._instrument,
            dataset_type,
            calib_collection,
            dataset_ids,
        )

    async def read_back(
        self,
        dataset_type: str,
        calib_collection: str,
        begin_iso_tai: str,
        end_iso_tai: str,
        dataset_ids: Collection[str],
        exposures: Collection[int] = (),
    ) -> list[str]:
        """Return a sentence for each of these datasets that Butler does not find in the collection as it should.

        Butler should find exactly this dataset within the whole range, and for each exposure that the range covers.

        Parameters
        ----------
        dataset_type, calib_collection
            What was certified, and where.
        begin_iso_tai, end_iso_tai
            The range for which it was certified (ISO 8601 TAI); "": unbounded.
        dataset_ids
            UUIDs of what was certified.
        exposures
            Exposures for which Butler should find it if the range covers them.
        """
        return await self._threads.in_order(
            f"read {dataset_type} back from {calib_collection}",
            self._limits.butler_query,
            butler_read_back.read_back,
            self._instrument,
            dataset_type,
            calib_collection,
            begin_iso_tai,
            end_iso_tai,
            dataset_ids,
            exposures,
        )

    async def look_withdrawal(self, wanted: Withdrawal) -> Withdrawal:
        """Return what must go out of a collection, and come back into it, to undo certifications; this changes nothing.

        If nothing must go out, none of the datasets is certified any more.

        Raises
        ------
        ConflictError
            If somebody else has certified there in the meantime.
        ServiceError
            If a dataset that should come back is not in the repository any more.
        """
        what = f"look what is certified in {wanted.calib_collection}"
        limit_s = self._limits.butler_query
        return await self._threads.in_order(what, limit_s, butler_withdraw.look, self._instrument, wanted)

    async def withdraw(self, planned: Withdrawal) -> None:
        """Undo certifications as `look_withdrawal` has planned it, all or nothing.

        Raises
        ------
        ChangedError
            If the collection is not as it was then; nothing was changed.
        """
        what = f"withdraw from {planned.calib_collection}"
        limit_s = self._limits.butler_certify
        await self._permission()
        await self._threads.in_order(what, limit_s, butler_withdraw.withdraw, self._instrument, planned)

    async def read_back_withdrawal(self, done: Withdrawal, exposures: Collection[int] = ()) -> list[str]:
        """Return a sentence for each dataset type that a user does not find as it should be after a withdrawal.

        The repository is opened anew for that; it is asked by time, and for the exposures.
        """
        what = f"read back what was withdrawn from {done.calib_collection}"

        def read(_butler: Butler) -> list[str]:
            return butler_withdraw.read_back(self._repo, self._instrument, done, exposures)

        return await self._threads.in_order(what, self._limits.butler_query, read)
