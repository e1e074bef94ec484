# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the stages need of a run's record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from ..enums import CalibType
from ..measurements import Trend
from .facts import Fact
from .history import History

__all__ = ["Record"]


class Record(Protocol):
    """Where a run records its facts; an implementation writes them to the journal and publishes what follows."""

    @property
    def history(self) -> History:
        """What follows from the facts so far."""

    async def intend(self, fact: Fact) -> None:
        """Record what is about to be done outside; return as soon as that is durable.

        Raises
        ------
        StageError
            If it could not be written within its limit. Then it must not be done.
        """

    async def note(self, fact: Fact) -> None:
        """Record what has happened.

        It is written and published even if this is cancelled. If it can't be written now, that is tried until it can,
        and an alarm says so.
        """

    async def until(self, condition: Callable[[History], bool]) -> None:
        """Wait until the history fulfils a condition."""

    async def trends(
        self, calib_type: CalibType, physical_filter: str, runs: int, depths: Mapping[int, Mapping[str, float]]
    ) -> Mapping[tuple[int, str, str], Trend]:
        """Return what the latest earlier runs measured in a product, by detector, amplifier and quantity.

        Runs of which the product was bad, or was withdrawn afterwards, do not count.

        Parameters
        ----------
        calib_type, physical_filter
            The product; the filter is "" for all but flats.
        runs
            Largest number of runs.
        depths
            What the frames of the present product are made of, by detector (see `depth_of`): of what follows from
            that, only the runs with the same count.

        Raises
        ------
        ServiceError
            If the journal can't be read.
        """

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        """Show in the telemetry what a stage is doing or waiting for, and its limit (seconds; None: none of its own).

        This is no fact, and is forgotten with the process.
        """

    def not_known(self, who: str, problem: str) -> None:
        """Raise an alarm because a stage can't find out what it has done; an empty sentence, or its end, clears it.

        This is no fact, and is forgotten with the process.
        """
