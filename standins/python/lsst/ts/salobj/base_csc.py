# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A commandable SAL component: a controller with summary states, heartbeat, simulation mode."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Iterable
from typing import ClassVar

import lsst.ts.xml
from lsst.ts.xml.sal_enums import State

from .base import ExpectedError
from .csc_command_line import CommandLine
from .csc_utils import make_state_transition_dict
from .stateful_controller import StatefulController
from .topics import ReadTopic

__all__ = ["BaseCsc"]

DUPLICATE_CHECK_HEARTBEATS = 3
"""For how many heartbeat intervals to listen for another CSC of this name and index."""


class BaseCsc(CommandLine, StatefulController):
    """A CSC without configuration.

    Parameters
    ----------
    name : `str`
        Name of the SAL component.
    index : `int` or `None`
        SAL index; `None` means 0.
    check_if_duplicate : `bool`
        Refuse to start if another CSC with this name and index is alive?
    initial_state : `State` or `None`
        State to go to after the start; `None`: ``default_initial_state``.
    override : `str`
        Configuration override to use if ``initial_state`` is DISABLED or ENABLED.
    simulation_mode : `int`
        What to simulate; 0 for nothing.
    allow_missing_callbacks, extra_commands, discard_out_of_order_telemetry, discard_out_of_order_events
        As for `Controller`.

    Attributes
    ----------
    version : `str`
        Version of the CSC. A subclass must have it.
    valid_simulation_modes : `tuple` [`int`, ...]
        The simulation modes that it has.
    simulation_help : `str` or `None`
        What they mean, for the command line.
    default_initial_state : `State`
        State after the start unless another one is asked for.
    enable_cmdline_state : `bool`
        Can the state be given on the command line?
    heartbeat_interval : `float`
        Time between heartbeats (seconds).
    check_if_duplicate : `bool`
        As the parameter; it can be changed until the start.

    Raises
    ------
    ValueError
        If ``initial_state`` is FAULT or ``simulation_mode`` is not valid; and as for `Controller`.
    """

    version: ClassVar[str]
    valid_simulation_modes: ClassVar[Iterable[int]] = (0,)
    simulation_help: ClassVar[str | None] = None
    default_initial_state: ClassVar[State] = State.STANDBY
    enable_cmdline_state: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        index: int | None = None,
        check_if_duplicate: bool = False,
        initial_state: State | None = None,
        override: str = "",
        simulation_mode: int = 0,
        allow_missing_callbacks: bool = False,
        extra_commands: Iterable[str] = frozenset(),
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if not hasattr(self, "version"):
            raise RuntimeError(f"Class {type(self).__name__} must have a class attribute version")
        if self.valid_simulation_modes is None:
            raise RuntimeError(f"Class {type(self).__name__} must list its valid_simulation_modes")
        initial_state = self.default_initial_state if initial_state is None else State(initial_state)
        if initial_state == State.FAULT:
            raise ValueError("initial_state can't be FAULT")
        self._check_simulation_mode(simulation_mode)
        self.check_if_duplicate = check_if_duplicate
        self._initial_state = initial_state
        # From the default state it goes up by commands; in OFFLINE it just is, since exitControl would end it.
        self._summary_state = State.OFFLINE if initial_state == State.OFFLINE else State(self.default_initial_state)
        self._override = override
        self._simulation_mode = simulation_mode
        self.heartbeat_interval = 1.0
        self._heartbeat_task: asyncio.Task[None] | None = None
        super().__init__(
            name,
            index,
            do_callbacks=True,
            allow_missing_callbacks=allow_missing_callbacks,
            extra_commands=extra_commands,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        self._signals: list[signal.Signals] = []
        self._handle_signals()

    # ---- start and end --------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Start: as `Controller.start`, then make sure that it is alone, send heartbeats and publish its versions."""
        others = None
        if self.check_if_duplicate:
            others = ReadTopic(salinfo=self.salinfo, attr_name="evt_heartbeat", max_history=0)
        await super().start()
        if others is not None:
            await self._check_alone(others)
        self._heartbeat_task = asyncio.create_task(self._heartbeat_loop(), name=f"{self} heartbeat")
        await self.set_simulation_mode(self._simulation_mode)
        await self.evt_softwareVersions.set_write(  # type: ignore[attr-defined]
            xmlVersion=lsst.ts.xml.__version__, cscVersion=self.version
        )

    async def start_phase2(self) -> None:
        """Publish the summary state, and go to the initial state."""
        await super().start_phase2()
        await self._handle_and_report()
        transitions = make_state_transition_dict()[self._summary_state, self._initial_state]
        for command_name, _ in transitions:
            if command_name == "enterControl":
                self._summary_state = State.STANDBY
                await self._handle_and_report()
                continue
            data = getattr(self, f"cmd_{command_name}").DataType()
            if command_name == "start":
                data.configurationOverride = self._override
            try:
                await getattr(self, f"do_{command_name}")(data)
            except Exception as error:
                self.log.error(
                    f"{self} stays in state {self._summary_state.name} instead of going to {self._initial_state.name}: "
                    f"{command_name} failed: {error}",
                    exc_info=not isinstance(error, ExpectedError),
                )
                break

    async def close_tasks(self) -> None:
        """End the heartbeat. A subclass that overrides it calls ``await super().close_tasks()``."""
        await super().close_tasks()
        loop = asyncio.get_running_loop()
        for signal_number in self._signals:
            loop.remove_signal_handler(signal_number)
        self._signals = []
        if self._heartbeat_task is not None:
            self._heartbeat_task.cancel()
            await asyncio.gather(self._heartbeat_task, return_exceptions=True)

    def _handle_signals(self) -> None:
        """Close on SIGINT and SIGTERM, if this is the main thread."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for signal_number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signal_number, self._begin_closing)
            self._signals.append(signal_number)

    async def _check_alone(self, reader: ReadTopic) -> None:
        """Raise `ExpectedError` if another CSC with this name and index sends heartbeats."""
        deadline = time.monotonic() + DUPLICATE_CHECK_HEARTBEATS * self.heartbeat_interval
        try:
            while (remaining := deadline - time.monotonic()) > 0:
                # This CSC has sent no heartbeat yet, so whatever comes is another one's.
                heartbeat = await reader.next(flush=False, timeout=remaining)
                if getattr(heartbeat, "salIndex", 0) == self.salinfo.index:
                    raise ExpectedError(
                        f"{self.salinfo.name_index} found another instance: process {heartbeat.private_origin} of "
                        f"{heartbeat.private_identity}; stop it first"
                    )
        except TimeoutError:
            pass
        finally:
            self.salinfo.remove_reader(reader)

    async def _heartbeat_loop(self) -> None:
        """Send a heartbeat in every interval, whatever happens."""
        next_time = time.monotonic()
        while True:
            try:
                await self.evt_heartbeat.write()  # type: ignore[attr-defined]
            except Exception:
                self.log.exception("A heartbeat could not be sent")
            next_time = max(next_time + self.heartbeat_interval, time.monotonic())
            await asyncio.sleep(next_time - time.monotonic())

    # ---- simulation mode ------------------------------------------------------------------------------------------

    @property
    def simulation_mode(self) -> int:
        """What is simulated; 0 for nothing."""
        return self._simulation_mode

    async def set_simulation_mode(self, simulation_mode: int) -> None:
        """Set the simulation mode and publish it; `ValueError` if it is not valid."""
        self._check_simulation_mode(simulation_mode)
        await self.implement_simulation_mode(simulation_mode)
        self._simulation_mode = simulation_mode
        await self.evt_simulationMode.set_write(mode=simulation_mode)  # type: ignore[attr-defined]

    async def implement_simulation_mode(self, simulation_mode: int) -> None:
        """Do what the simulation mode needs; for subclasses."""

    def _check_simulation_mode(self, simulation_mode: int) -> None:
        if simulation_mode not in self.valid_simulation_modes:
            raise ValueError(
                f"simulation_mode={simulation_mode} is not valid; valid are {sorted(self.valid_simulation_modes)}"
            )
