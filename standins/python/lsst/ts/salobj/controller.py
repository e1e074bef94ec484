# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One side of a component: receives its commands, writes its events and telemetry."""

from __future__ import annotations

import asyncio
import inspect
import types
from collections.abc import Iterable
from typing import Any, Self

from .base import ExpectedError
from .domain import Domain
from .sal_info import SalInfo
from .sal_log_handler import SalLogHandler
from .topics import ControllerCommand, ControllerEvent, ControllerTelemetry

__all__ = ["SHUTDOWN_DELAY", "Controller"]

SHUTDOWN_DELAY = 1.0
"""Time that `Controller.close` leaves for the last messages to be read (seconds)."""


class Controller:
    """Topics of a component as attributes: cmd_x, evt_x, tel_x.

    Parameters
    ----------
    name : `str`
        Name of the SAL component.
    index : `int` or `None`
        SAL index; `None` means 0.
    do_callbacks : `bool`
        Call a method do_x for each command x?
    write_only : `bool`
        Receive no commands?
    allow_missing_callbacks : `bool`
        May methods do_x be missing? Their commands are refused then.
    extra_commands : iterable of `str`
        Commands that may have a method do_x although the component doesn't have them (yet).
    discard_out_of_order_telemetry, discard_out_of_order_events : `bool`
        As for `SalInfo`.

    Attributes
    ----------
    domain : `Domain`
        Owner of the controller's SalInfo and of all remotes that are made with it.
    salinfo : `SalInfo`
        The component.
    log : `logging.Logger`
        Its records are also written as events.
    start_task : `asyncio.Task`
        Done when the controller has started.
    done_task : `asyncio.Future`
        Done when it is closed, with the exception that ended it if there is one.
    isopen : `bool`
        Has closing not yet begun?
    delay_start_event : `asyncio.Event`
        The start waits for it; set from the beginning. For tests.

    Raises
    ------
    TypeError
        With ``do_callbacks``, if methods do_x are missing or superfluous, or are no coroutine functions.
    ValueError
        As for `SalInfo`, or if ``do_callbacks`` and ``write_only`` are both true.
    """

    def __init__(
        self,
        name: str,
        index: int | None = None,
        *,
        do_callbacks: bool = False,
        write_only: bool = False,
        allow_missing_callbacks: bool = False,
        extra_commands: Iterable[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if do_callbacks and write_only:
            raise ValueError("do_callbacks and write_only can't both be true")
        self.isopen = False
        self.start_called = False
        self._do_callbacks = do_callbacks
        self.domain = Domain()
        try:
            self.salinfo = SalInfo(
                self.domain,
                name,
                index or 0,
                write_only=write_only,
                discard_out_of_order_telemetry=discard_out_of_order_telemetry,
                discard_out_of_order_events=discard_out_of_order_events,
            )
            self.salinfo.identity = self.domain.default_identity = self.salinfo.name_index
            self.log = self.salinfo.log
            self._add_topics(write_only)
            if do_callbacks:
                self._check_callbacks(set(extra_commands), allow_missing_callbacks)
            self._log_handler = SalLogHandler(self)
        except Exception:
            self.domain.basic_close()
            raise
        self.log.addHandler(self._log_handler)
        self.done_task: asyncio.Future[None] = asyncio.Future()
        self.delay_start_event = asyncio.Event()
        self.delay_start_event.set()
        self.isopen = True
        self.start_task = asyncio.create_task(self._protected_start(), name=f"start of {self}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.salinfo.name}, {self.salinfo.index})"

    def _add_topics(self, write_only: bool) -> None:
        missing = {"logMessage", "logLevel"} - set(self.salinfo.event_names)
        if missing:
            raise ValueError(f"SAL component {self.salinfo.name} has no event {', '.join(sorted(missing))}")
        if not write_only:
            for command_name in self.salinfo.command_names:
                setattr(self, f"cmd_{command_name}", ControllerCommand(self.salinfo, command_name))
        for event_name in self.salinfo.event_names:
            setattr(self, f"evt_{event_name}", ControllerEvent(self.salinfo, event_name))
        for telemetry_name in self.salinfo.telemetry_names:
            setattr(self, f"tel_{telemetry_name}", ControllerTelemetry(self.salinfo, telemetry_name))

    def _check_callbacks(self, extra_commands: set[str], allow_missing: bool) -> None:
        """Raise `TypeError` unless there is exactly one do_x a command."""
        commands = set(self.salinfo.command_names)
        present = {name.removeprefix("do_") for name in dir(self) if name.startswith("do_")}
        missing = commands - present
        problems = []
        if missing and not allow_missing:
            problems.append(f"This class must add {_list_methods(missing)} methods")
        superfluous = present - commands - extra_commands
        if superfluous:
            problems.append(f"must remove {_list_methods(superfluous)} methods")
        if problems:
            raise TypeError(" and ".join(problems))
        for name in sorted(present & commands):
            if not inspect.iscoroutinefunction(getattr(self, f"do_{name}")):
                raise TypeError(f"Method do_{name} must be a coroutine function")

    async def _protected_start(self) -> None:
        """Start, and close if that fails."""
        try:
            self.start_called = True
            await self.start()
            await self.start_phase2()
        except Exception as error:
            self.log.error(f"{self} could not be started: {error!r}")
            await self.close(exception=error, cancel_start=False)
            raise

    async def start(self) -> None:
        """Start: wait for the remotes, connect, begin to receive commands, publish the log level.

        A subclass that overrides it calls ``await super().start()`` first.
        """
        await self.delay_start_event.wait()
        await asyncio.gather(*(remote.start_task for remote in list(self.domain.remotes) if remote.start_called))
        await self.salinfo.start()
        if self._do_callbacks:
            for name in self.salinfo.command_names:
                callback = getattr(self, f"do_{name}", self._unsupported_cmd_callback)
                getattr(self, f"cmd_{name}").callback = callback
        self._log_handler.start()
        await self.put_log_level()

    async def start_phase2(self) -> None:
        """Do what has to be done after `start`; for subclasses."""

    async def do_setLogLevel(self, data: Any) -> None:
        """Set the log level.

        Parameters
        ----------
        data : `BaseMsgType`
            The command setLogLevel: the level; its subsystem is not used.
        """
        self.log.setLevel(data.level)
        await self.put_log_level()

    async def _unsupported_cmd_callback(self, data: Any) -> None:
        """Refuse a command that has no do_x; the original has this name."""
        raise ExpectedError("There is no such command in this component")

    async def put_log_level(self) -> None:
        """Write event logLevel."""
        level = self.log.getEffectiveLevel()
        await self.evt_logLevel.set_write(level=level, subsystem="", force_output=True)  # type: ignore[attr-defined]

    async def close_tasks(self) -> None:
        """End background tasks before the topics are closed; for subclasses, which call ``super().close_tasks()``."""

    async def close(self, exception: Exception | None = None, cancel_start: bool = True) -> None:
        """End everything, leave `SHUTDOWN_DELAY` for the last messages to be read, close the domain.

        Parameters
        ----------
        exception : `Exception` or `None`
            What makes it end; ``done_task`` gets it.
        cancel_start : `bool`
            Cancel a start that goes on?
        """
        if not self.isopen:
            await asyncio.wait([self.done_task])
            return
        self.isopen = False
        try:
            if cancel_start and not self.start_task.done():
                self.start_task.cancel()
            try:
                await self.close_tasks()
            except Exception:
                self.log.exception("close_tasks failed; closing goes on")
            if self.salinfo.running:
                await asyncio.sleep(SHUTDOWN_DELAY)
            self.log.removeHandler(self._log_handler)
            await self._log_handler.stop()
            await self.domain.close()
        except Exception as error:
            self.log.exception(f"Closing {self} failed")
            exception = exception or error
        finally:
            # Both do nothing unless closing was cut short.
            self.log.removeHandler(self._log_handler)
            self.domain.basic_close()
            self._set_done(exception)

    def _set_done(self, exception: Exception | None) -> None:
        if self.done_task.done():
            return
        if exception is None:
            self.done_task.set_result(None)
        else:
            self.done_task.set_exception(exception)
            self.done_task.exception()  # nobody has to look at it

    async def __aenter__(self) -> Self:
        await self.start_task
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()


def _list_methods(names: set[str]) -> str:
    return ", ".join(f"do_{name}" for name in sorted(names))
