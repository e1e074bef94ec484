# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Summary states of a CSC, and the commands that change them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from lsst.ts.xml.sal_enums import State, as_state

from .base import ExpectedError
from .controller import Controller

__all__ = ["StatefulController"]

# From which states a command leads to which.
_TRANSITIONS: dict[str, tuple[tuple[State, ...], State]] = {
    "start": ((State.STANDBY,), State.DISABLED),
    "enable": ((State.DISABLED,), State.ENABLED),
    "disable": ((State.ENABLED,), State.DISABLED),
    "standby": ((State.DISABLED, State.FAULT), State.STANDBY),
    "exitControl": ((State.STANDBY,), State.OFFLINE),
}


class StatefulController(Controller):
    """A controller with a summary state; the parameters are those of `Controller`.

    A subclass sets ``_summary_state`` before it calls this constructor.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._summary_state: State
        self._faulting = False
        # Closes the CSC, after exitControl or a signal.
        self._closing_task: asyncio.Task[None] | None = None
        super().__init__(*args, **kwargs)

    def _begin_closing(self) -> None:
        if self._closing_task is None:
            self._closing_task = asyncio.create_task(self.close(), name=f"closing of {self}")

    @property
    def summary_state(self) -> State:
        """The summary state."""
        return self._summary_state

    @property
    def disabled_or_enabled(self) -> bool:
        """Is the state DISABLED or ENABLED?"""
        return self._summary_state in (State.DISABLED, State.ENABLED)

    def assert_enabled(self, action: str = "") -> None:
        """Raise `ExpectedError` unless the state is ENABLED.

        Parameters
        ----------
        action : `str`
            What is not allowed otherwise, for the message.
        """
        if self._summary_state == State.ENABLED:
            return
        what = f"{action} not allowed" if action else "Not allowed"
        where = f"state={self._summary_state!r}"
        if self._summary_state == State.FAULT:
            error = self.evt_errorCode.data  # type: ignore[attr-defined]
            where = f"Fault state: errorCode={error.errorCode}, errorReport={error.errorReport!r}"
        raise ExpectedError(f"{what} in {where}")

    async def handle_summary_state(self) -> None:
        """Do what a new state needs; called after each change, before it is published. For subclasses."""

    async def _report_summary_state(self) -> None:
        """Tell the state. A subclass that overrides it calls ``await super()._report_summary_state()``."""
        await self.evt_summaryState.set_write(summaryState=int(self._summary_state))  # type: ignore[attr-defined]
        if self._summary_state != State.FAULT:
            await self.evt_errorCode.set_write(  # type: ignore[attr-defined]
                errorCode=0, errorReport="", traceback=""
            )

    async def _handle_and_report(self) -> None:
        try:
            await self.handle_summary_state()
        finally:
            # The state has changed, also if it could not be handled.
            await self._report_summary_state()

    async def fault(self, code: int | None, report: str, traceback: str = "") -> None:
        """Go to state FAULT.

        Parameters
        ----------
        code : `int` or `None`
            Error code; `None` leaves event errorCode as it is.
        report : `str`
            What happened.
        traceback : `str`
            Traceback, if there is one.
        """
        if self._faulting:
            self.log.info(f"Already going to FAULT; ignored: code={code}, report={report!r}")
            return
        self._faulting = True
        try:
            self._summary_state = State.FAULT
            self.log.critical(f"Fault! errorCode={code}, errorReport={report!r}")
            if code is not None:
                with self._logging_trouble("publish the error"):
                    await self.evt_errorCode.set_write(  # type: ignore[attr-defined]
                        errorCode=code, errorReport=report, traceback=traceback, force_output=True
                    )
            with self._logging_trouble("report the state"):
                await self._report_summary_state()
            # A subclass that failed in it may not have published the state.
            with self._logging_trouble("publish the state"):
                await self.evt_summaryState.set_write(summaryState=int(State.FAULT))  # type: ignore[attr-defined]
            with self._logging_trouble("handle the state"):
                await self.handle_summary_state()
        finally:
            self._faulting = False

    @contextlib.contextmanager
    def _logging_trouble(self, what: str) -> Iterator[None]:
        """Log what goes wrong on the way to FAULT, so that the rest of the way is gone."""
        try:
            yield
        except Exception:
            self.log.exception(f"Failed to {what} when going to FAULT")

    async def _do_change_state(self, data: Any, command_name: str) -> None:
        """Change the state by a command: begin_x, the change, end_x, publish it.

        A failure of begin_x leaves the state as it is; one of end_x takes the change back, unless it was expected.
        """
        allowed, new_state = _TRANSITIONS[command_name]
        old_state = self._summary_state
        if old_state not in allowed:
            raise ExpectedError(f"{command_name} not allowed in state {as_state(old_state)!r}")
        await getattr(self, f"begin_{command_name}")(data)
        self._summary_state = new_state
        try:
            await getattr(self, f"end_{command_name}")(data)
        except ExpectedError:
            raise
        except Exception:
            self._summary_state = old_state
            self.log.exception(f"end_{command_name} failed; state is {old_state!r} again")
            raise
        await self._handle_and_report()

    async def do_start(self, data: Any) -> None:
        """Go from STANDBY to DISABLED; ``data`` is the command."""
        await self._do_change_state(data, "start")

    async def do_enable(self, data: Any) -> None:
        """Go from DISABLED to ENABLED; ``data`` is the command."""
        await self._do_change_state(data, "enable")

    async def do_disable(self, data: Any) -> None:
        """Go from ENABLED to DISABLED; ``data`` is the command."""
        await self._do_change_state(data, "disable")

    async def do_standby(self, data: Any) -> None:
        """Go from DISABLED or FAULT to STANDBY; ``data`` is the command."""
        await self._do_change_state(data, "standby")

    async def do_exitControl(self, data: Any) -> None:
        """Go from STANDBY to OFFLINE, and end; ``data`` is the command."""
        await self._do_change_state(data, "exitControl")
        self._begin_closing()

    async def begin_start(self, data: Any) -> None:
        """Begin of do_start, before the state changes; for subclasses, as all that follow."""

    async def begin_enable(self, data: Any) -> None:
        """Begin of do_enable."""

    async def begin_disable(self, data: Any) -> None:
        """Begin of do_disable."""

    async def begin_standby(self, data: Any) -> None:
        """Begin of do_standby."""

    async def begin_exitControl(self, data: Any) -> None:
        """Begin of do_exitControl."""

    async def end_start(self, data: Any) -> None:
        """End of do_start, after the state has changed and before it is published."""

    async def end_enable(self, data: Any) -> None:
        """End of do_enable."""

    async def end_disable(self, data: Any) -> None:
        """End of do_disable."""

    async def end_standby(self, data: Any) -> None:
        """End of do_standby."""

    async def end_exitControl(self, data: Any) -> None:
        """End of do_exitControl."""
