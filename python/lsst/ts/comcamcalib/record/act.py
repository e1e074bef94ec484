# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The one way to do something outside: exactly once, even if the process is killed at any moment."""

from __future__ import annotations

import asyncio
from typing import Protocol, TypeVar

from ..errors import StageError
from .facts import Fact
from .record import Record

__all__ = ["Act", "intend", "once", "write_intent"]

Outcome = TypeVar("Outcome")
Outcome_co = TypeVar("Outcome_co", covariant=True)


class Act(Protocol[Outcome_co]):
    """Something to be done outside, and how to find out whether it has been done."""

    def known(self) -> Outcome_co | None:
        """Return its outcome if the history has it."""

    @property
    def open(self) -> bool:
        """Whether it was intended, and the history does not say what became of it."""

    async def find(self) -> Outcome_co | None:
        """Look outside until it is certain whether it was done, and record that; return the outcome, None if not.

        Raises
        ------
        StageError
            If that can't be found out now. Then nothing may be done.
        """

    async def intent(self) -> Fact:
        """Wait until it may be done, and return the fact that it is about to be done.

        Raises
        ------
        StageError
            If it may not be done.
        """

    async def act(self) -> Outcome_co:
        """Do it, and record the outcome.

        Raises
        ------
        StageError
            If it failed. If it is not certain that nothing was done, it stays open.
        """

    async def withdraw(self, reason: str) -> None:
        """Record that it was intended, but not begun, so that nobody looks for it."""


async def once(act: Act[Outcome], record: Record) -> Outcome:
    """Do something outside, unless it has been done already.

    If an earlier process was killed between intent and outcome, this looks for what it did before it does anything.

    Raises
    ------
    StageError
        If it failed, or it can't be found out whether it was done, or the intent could not be written down.
    """
    outcome = act.known()
    if outcome is None and act.open:
        outcome = await act.find()
    if outcome is None:
        await intend(act, record)
        outcome = await act.act()
    return outcome


async def intend(act: Act[Outcome], record: Record) -> None:
    """Wait until something may be done, and write down that it is about to be done; see `write_intent`.

    Raises
    ------
    StageError
        If it may not be done, or could not be written down.
    """
    await write_intent(act, await act.intent(), record)


async def write_intent(act: Act[Outcome], fact: Fact, record: Record) -> None:
    """Write down that something is about to be done; if that fails or is cancelled, it is withdrawn.

    Raises
    ------
    StageError
        If it could not be written down.
    """
    try:
        await record.intend(fact)
    except asyncio.CancelledError:
        await act.withdraw("it was stopped before it was begun")
        raise
    except StageError as error:
        await act.withdraw(str(error))
        raise
