# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Warnings when a queue fills up."""

from __future__ import annotations

import logging

__all__ = ["QueueCapacityChecker"]

_FRACTIONS = (0.1, 0.25, 0.5, 0.75, 0.9)


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
    warn_thresholds : `list` [`int`]
        Levels.
    warn_threshold : `int` or `None`
        The next level at which to warn; `None` when the queue was full.

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
        self.warn_thresholds = sorted({round(fraction * queue_len) for fraction in _FRACTIONS} | {queue_len})
        self.warn_threshold: int | None = self.warn_thresholds[0]

    def check_nitems(self, nitems: int) -> bool:
        """Warn if the queue has reached the next level; return whether it has."""
        warned = self.warn_threshold is not None and nitems >= self.warn_threshold
        if warned:
            if nitems >= self.queue_len:
                self.log.error(f"{self.descr} is full ({self.queue_len} elements); data may be lost")
            else:
                self.log.warning(f"{self.descr} is filling: {nitems} of {self.queue_len} elements")
        passed = [level for level in self.warn_thresholds if self.warn_threshold is None or level < self.warn_threshold]
        # Warn again of a level once the queue has emptied to below half of it.
        if warned or (passed and nitems < passed[-1] / 2):
            self.warn_threshold = next((level for level in self.warn_thresholds if level > nitems), None)
        return warned
