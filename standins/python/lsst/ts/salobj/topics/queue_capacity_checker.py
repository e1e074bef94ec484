# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings when a queue fills up."""

from __future__ import annotations

import logging

__all__ = ["QueueCapacityChecker"]

# Shorter queues have fewer levels, because levels that are close together only repeat each other.
_SHORT = 20


class QueueCapacityChecker:
    """Warn each time a queue has filled up to a further level.

    Parameters
    ----------
    descr : `str`
        Name of the queue, for the warning.
    log : `logging.Logger`
        Logger of the warning.
    queue_len : `int`
        Length of the queue; must be at least 10.

    Attributes
    ----------
    warn_thresholds : `tuple` [`int`, ...]
        Levels.

    Raises
    ------
    ValueError
        If the queue is too short.
    """

    def __init__(self, descr: str, log: logging.Logger, queue_len: int) -> None:
        if queue_len < 10:
            raise ValueError(f"queue_len={queue_len} must be at least 10")
        self.descr = descr
        self.log = log
        self.queue_len = queue_len
        half = [] if queue_len < _SHORT else [queue_len // 2]
        self.warn_thresholds = (max(5, queue_len // 10), *half, queue_len * 9 // 10, queue_len)
        self._reached = 0  # how many of the levels

    @property
    def warn_threshold(self) -> int | None:
        """The next level at which to warn; None when the queue was full."""
        return self.warn_thresholds[self._reached] if self._reached < len(self.warn_thresholds) else None

    @property
    def reset_threshold(self) -> int | None:
        """Half of the level that was reached last; emptied that far, the queue gets its warning again."""
        return self.warn_thresholds[self._reached - 1] // 2 if self._reached > 0 else None

    def check_nitems(self, nitems: int) -> bool:
        """Warn if the queue has reached the next level; return whether it has."""
        reached = sum(nitems >= level for level in self.warn_thresholds)
        warned = reached > self._reached
        if warned:
            self._reached = reached
            if nitems >= self.queue_len:
                self.log.error(f"{self.descr} is full ({self.queue_len} elements); data may be lost")
            else:
                self.log.warning(f"{self.descr} is filling: {nitems} of {self.queue_len} elements")
        while self.reset_threshold is not None and nitems <= self.reset_threshold:
            self._reached -= 1
        return warned
