# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Faults that the simulated observatory shows on request.

A fault is data. Each simulator asks one hook, `Faults.strike`, at the moment at which the real system could fail, and
acts on the answer; a scenario is a named list of faults (see `scenarios`).
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Literal

__all__ = ["Fault", "Faults", "Place"]

Place = Literal["focal_plane", "camera", "oods", "header", "ocps", "worker", "http", "kafka", "registry"]

LOOK_S = 0.05  # between two looks at whether a fault is still in force


@dataclasses.dataclass(frozen=True)
class Fault:
    """One way to fail, and when.

    Parameters
    ----------
    place
        The simulator that shows it.
    effect
        What it does there: a word that this simulator knows (``noise`` in the focal plane, ``lose`` at the OODS,
        ``error`` in the worker, …).
    match
        What the occasion must look like for the fault to strike: a value that each named item of the occasion must
        have. An item that the occasion lacks does not match.
    skip
        Number of matching occasions that pass unharmed first.
    times
        Number of times it strikes; None means always.
    value
        A number that the effect needs, such as a factor or seconds.
    text
        A text that the effect needs, such as an error message.
    """

    place: Place
    effect: str
    match: Mapping[str, object] = dataclasses.field(default_factory=dict)
    skip: int = 0
    times: int | None = 1
    value: float = 0.0
    text: str = ""


class Faults:
    """The faults in force, shared by all simulators of one observatory."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._log = logging.getLogger(__name__)
        self._faults: list[Fault] = []
        self._seen: list[int] = []
        self.set(faults)

    def set(self, faults: Iterable[Fault]) -> None:
        """Replace all faults, and begin to count anew."""
        self._faults = list(faults)
        self._seen = [0] * len(self._faults)

    def at(self, place: Place) -> list[Fault]:
        """Return the faults of one place without striking, for simulators that have to know them beforehand."""
        return [fault for fault in self._faults if fault.place == place]

    async def until_over(self, fault: Fault, limit_s: float = 0.0) -> None:
        """Wait until a fault is not in force any more, or until a limit (seconds of the clock; 0 = none) has passed.

        It looks again and again, because waiter and whoever replaces the faults may be in different threads.
        """
        end = time.monotonic() + limit_s if limit_s else float("inf")
        while any(one is fault for one in self._faults) and time.monotonic() < end:  # noqa: ASYNC110
            await asyncio.sleep(LOOK_S)  # an Event would belong to one loop only

    def strike(self, place: Place, **occasion: object) -> Fault | None:
        """Return the first fault that strikes on this occasion, or None; count the occasion for those that match.

        Parameters and counting are those of `strike_all`.
        """
        struck = self.strike_all(place, **occasion)
        return struck[0][0] if struck else None

    def strike_all(self, place: Place, **occasion: object) -> list[tuple[Fault, int]]:
        """Return all faults that strike on this occasion, for simulators that can show several at once.

        The occasion is counted for each fault that it matches.

        Parameters
        ----------
        place
            The simulator that asks.
        **occasion
            What is going on there, such as ``image_type="BIAS"``, ``detector=4`` or ``pipeline="cpBias"``.

        Returns
        -------
        struck
            Each fault that strikes, and how many times it has struck, this time included.
        """
        struck = []
        for i, fault in enumerate(self._faults):
            if fault.place != place or any(occasion.get(key, self) != value for key, value in fault.match.items()):
                continue
            self._seen[i] += 1
            in_turn = fault.skip < self._seen[i] and (fault.times is None or self._seen[i] <= fault.skip + fault.times)
            if in_turn:
                struck.append((fault, self._seen[i] - fault.skip))
        for fault, _ in struck:
            self._log.info("Fault strikes at %s: %s on %s", place, fault.effect, occasion)
        return struck
