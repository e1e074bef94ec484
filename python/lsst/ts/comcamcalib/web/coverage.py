# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collection has, without asking for months of it each time.

Butler takes a third of a millisecond for each range of validity. A whole LSSTCam with new calibrations each day has
sixty thousand ranges in two months, but a thousand that are valid now. So what has ended is asked for once, and only
where nothing is valid now; after that it is remembered. If there is no answer, nobody knows until it is asked for again
some minutes later.
"""

from __future__ import annotations

import dataclasses
import datetime
import logging
from collections.abc import Collection, Iterable, Mapping

from ..butler_data import Coverage
from ..enums import CalibType
from ..errors import ServiceError
from ..services.butler import ButlerService

__all__ = ["RETRY", "Covered", "Known"]

RETRY = datetime.timedelta(minutes=5)
"""How long the repository is left alone after it could not say what has ended."""


@dataclasses.dataclass(frozen=True)
class Known:
    """What is known of a collection."""

    ranges: tuple[Coverage, ...] = ()
    """What is valid now or later, and what has ended lately."""
    not_known: Mapping[CalibType, str] = dataclasses.field(default_factory=dict)
    """Products of which it could not be looked up what has ended lately, with the reason."""


class Covered:
    """What one collection has.

    Parameters
    ----------
    collection
        Its name.
    types
        The products, with their dataset types.
    detectors
        Ids of the detectors that should have them.
    """

    def __init__(self, collection: str, types: Mapping[CalibType, str], detectors: Collection[int]) -> None:
        self._collection = collection
        self._types = types
        self._detectors = frozenset(detectors)
        self._looked_back: set[CalibType] = set()
        self._looked = ""
        # Why it could not be looked up last what has ended; empty: it could.
        self._failure = ""
        self._again = ""
        # Of each type, detector and filter the range that ended last.
        self._ended: dict[tuple[str, int, str], Coverage] = {}

    async def look(self, repository: ButlerService, now: str, since: str) -> Known:
        """Find out what is valid now or later, and what has ended since some time (ISO 8601 TAI).

        Raises
        ------
        ServiceError
            If the repository does not say what is valid.
        """
        found = await repository.coverage(list(self._types.values()), self._collection, self._looked or now)
        self._looked = now
        # What has ended meanwhile is kept. What was valid and is withdrawn is not: it is not found any more.
        self._keep_ended(found, now, since)
        valid = [one for one in found if not one.end_iso_tai or one.end_iso_tai > now]
        lacking = self._lacking(valid)
        if self._again <= now:
            await self._look_back(repository, lacking, now, since)
        not_known = {one: self._failure for one in lacking if one not in self._looked_back}
        return Known((*valid, *self._ended.values()), not_known)

    def _lacking(self, valid: Iterable[Coverage]) -> list[CalibType]:
        """Return the types of which what has ended is of interest and is not known yet."""
        there: dict[str, set[int]] = {}
        for one in valid:
            there.setdefault(one.dataset_type, set()).add(one.detector)
        return [
            calib_type
            for calib_type, dataset_type in self._types.items()
            if calib_type not in self._looked_back
            # Nobody knows in which filters there should be flats but by those that there were.
            and (calib_type is CalibType.FLAT or self._detectors - there.get(dataset_type, set()))
        ]

    async def _look_back(self, repository: ButlerService, types: Iterable[CalibType], now: str, since: str) -> None:
        """Look which of some types have ended; after a failure the rest must wait, because each can take a minute."""
        for calib_type in types:
            dataset_type = self._types[calib_type]
            try:
                ended = await repository.coverage([dataset_type], self._collection, since)
            except ServiceError as error:
                if str(error) != self._failure:
                    logging.getLogger(__name__).warning(
                        "It could not be looked up which %s in %s have ended lately: %s. The board shows what is not "
                        "valid as UNKNOWN, and asks again.",
                        *(dataset_type, self._collection, error),
                    )
                self._failure = str(error)
                self._again = (datetime.datetime.fromisoformat(now) + RETRY).isoformat()
                return
            self._looked_back.add(calib_type)
            self._keep_ended(ended, now, since)
        self._failure = ""

    def _keep_ended(self, ranges: Iterable[Coverage], now: str, since: str) -> None:
        kept: dict[tuple[str, int, str], Coverage] = {}
        for one in (*self._ended.values(), *ranges):
            place = one.dataset_type, one.detector, one.physical_filter
            # An end that is open is empty, and so before any time.
            if since < one.end_iso_tai <= now and (place not in kept or kept[place].end_iso_tai < one.end_iso_tai):
                kept[place] = one
        self._ended = kept
