# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The processes of a night: each with a loop of its own, on one time; started, stopped for a while, ended, killed."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Protocol

from .faults import Happening
from .virtual_loop import Killed, VirtualLoop, bury, leap
from .world import NightWorld

__all__ = ["Process", "Processes", "Program"]

NEXT_POD_S = 10.0
"""A process that is started because another is stopped starts at the latest after this time (seconds)."""

LAST_S = 60.0
"""For so long what is left of the processes is watched when the run is over (seconds)."""

MAX_PROCESSES = 60


class Program(Protocol):
    """What a process does."""

    fault: str
    """Why it does nothing more; "" if it still does."""
    over: bool
    """Whether the run is over."""
    stops: int
    """How often the process was stopped for a while."""

    @property
    def owns(self) -> bool:
        """Whether it has the journal, as far as it knows."""

    @property
    def ears(self) -> list[Any]:
        """What hears what is published."""

    def work(self) -> Coroutine[Any, Any, None]:
        """Do it, to the end."""

    def terminate(self) -> None:
        """End in order, as at SIGTERM."""

    def die(self) -> None:
        """Leave what a killed process leaves."""


@dataclasses.dataclass(eq=False)
class Process:
    """One process.

    Parameters
    ----------
    pid, place
        Its number, and in which machine and container; see `lsst.ts.comcamcalib.run.owner`.
    loop
        Its loop.
    """

    pid: int
    place: str
    loop: VirtualLoop
    program: Program
    task: asyncio.Task[None]
    alive: bool = True
    stopped: bool = False
    owned: bool = False
    """Whether it has the journal, as far as it knows."""
    replaced: bool = False
    """Whether another process has taken over the journal."""
    faulty: bool = False
    """Whether it does nothing more."""


class Processes:
    """All processes of a night, which take turns.

    Parameters
    ----------
    world
        What is outside.
    happenings
        When one is killed, or a second one is started: at the n-th write to the journal, at the n-th change outside, or
        at a time. All counts go on from process to process.
    program
        Makes the program of a process, given that process's number; called within its loop.
    """

    def __init__(self, world: NightWorld, happenings: list[Happening], program: Callable[[int], Program]) -> None:
        self._world = world
        self._happenings = list(happenings)
        self._program = program
        self._dice = world.dice("process")
        self._second_dice = world.dice("second process")
        # On one machine it is seen at once that a process has ended; between two pods it is not.
        self._pods = world.dice("machine").random() < 0.5
        self._awake: tuple[Process, ...] = ()
        self._working = False
        self.all: list[Process] = []
        self.current: Process | None = None
        """The process in which something happens right now; None: it happens outside."""
        self.counted: dict[str, int] = {}
        """How often there was each occasion."""
        self.writing: Process | None = None
        """The process that was stopped in the middle of a write to the journal."""
        self.silent: list[int] = []
        """Processes whose journal another has taken over, and that did not say so."""
        self.over = False
        """Whether the run is over."""
        self._starting = 0
        world.on_act = lambda _what: self.on("at act")
        world.on_stop = self._stop_for_a_while
        for one in happenings:
            if not one.number:
                world.at(one.at_s, lambda one=one: self._happen(one))  # type: ignore[misc]

    @property
    def owner(self) -> Process | None:
        """The process that has the journal, as far as it knows, otherwise any that is there; None: there is none."""
        alive = [one for one in self.all if one.alive and not one.program.fault]
        return next((one for one in alive if one.program.owns), alive[0] if alive else None)

    # Life

    def run(self) -> None:
        """Let them live until the run is over."""
        self.start()
        while not self._ended():
            self._step()
        # Whoever comes back late does nothing more.
        until_s = self._world.time_s + LAST_S
        self._world.at(until_s, lambda: None)
        while self._world.time_s < until_s:
            self._step()
        self.silent = [one.pid for one in self.all if one.alive and one.replaced and not one.program.fault]
        for one in self.all:
            if one.alive:
                self._bury(one)

    def _ended(self) -> bool:
        if not self._working and not self._starting and not self.over:
            if len(self.all) >= MAX_PROCESSES:
                return True
            self._start_after(1.0)
        return self.over and not self._working

    def start(self) -> None:
        """Start a process."""
        self._starting = max(self._starting - 1, 0)
        number = len(self.all) + 1
        dice = self._dice
        loop = VirtualLoop(self._world, dice.uniform(10.0, 1e6), lambda: dice.uniform(0.001, 0.05))
        with _within(loop):
            program = self._program(number)
            task = loop.create_task(program.work(), name="process")
        place = f"pod {number}" if self._pods else "the machine"
        self.all.append(Process(1 if self._pods else 1000 + number, place, loop, program, task))
        self._note_change()

    def _start_after(self, seconds: float) -> None:
        self._starting += 1
        self._world.after(seconds, self.start)

    def kill(self, process: Process, pause_s: float) -> None:
        """Kill a process; if no other works, somebody starts one after a pause (seconds)."""
        process.alive = False
        self._world.listeners = [one for one in self._world.listeners if one not in process.program.ears]
        process.program.die()
        if not any(one.alive and not one.program.fault for one in self.all):
            self._start_after(pause_s)
        if process is self.current:
            raise Killed  # its frames are unwound first
        if not process.stopped:
            self._bury(process)
        self._note_change()

    def _bury(self, process: Process) -> None:
        process.alive = False
        if self._world.writer is not None and self._world.writer.loop is process.loop:
            self._world.writer = None  # the database undoes what was not committed
        self._world.listeners = [one for one in self._world.listeners if one not in process.program.ears]
        process.program.die()
        bury(process.loop)
        self._note_change()

    def _note_change(self) -> None:
        self._awake = tuple(one for one in self.all if one.alive and not one.stopped)
        self._working = any(one.alive and (one.stopped or not one.program.fault) for one in self.all)

    # Turns

    def _step(self) -> None:
        """Let each process that is awake do all that it can do now; if none has anything to do, let time leap."""
        busy = False
        for one in self._awake:
            if one.alive and not one.stopped and one.loop.due():
                busy = True
                self._turn(one)
        if not busy:
            timers = [timer_s for one in self._awake if (timer_s := one.loop.next_s) is not None]
            leap(self._world, min(timers) if timers else None)

    def _turn(self, process: Process) -> None:
        before, self.current = self.current, process
        try:
            with _within(process.loop):
                process.loop.turn()
        except Killed:
            self._bury(process)
        finally:
            self.current = before
        if process.program.fault and not process.faulty:
            process.faulty = True
            self._note_change()
        elif process.owned is not process.program.owns:
            process.owned = not process.owned
            if process.owned:
                self._note_replaced(process)
        if process.alive and process.task.done():
            self.over = self.over or process.program.over
            self._bury(process)
            process.task.result()

    def _note_replaced(self, by: Process) -> None:
        for one in self.all:
            one.replaced = one.replaced or (one is not by and one.alive and one.program.owns)

    # What happens to them

    def on(self, occasion: str) -> None:
        """Count an occasion to be killed or stopped, and let that happen if it is the one."""
        number = self.counted[occasion] = self.counted.get(occasion, 0) + 1
        for one in tuple(self._happenings):
            if one.number == number and one.what.endswith(occasion):
                self._happen(one)

    def _happen(self, one: Happening) -> None:
        owner = self.owner
        if one not in self._happenings or owner is None or self.over:
            return
        self._happenings.remove(one)
        if one.where == "kill":
            self._world.seen[f"kill: {one.what}"] += 1
            self.kill(owner, one.seconds)
            return
        if any(other.stopped for other in self.all):
            return  # one thing at a time
        self._world.seen[f"second process: {one.what}"] += 1
        if one.what in ("first ends", "second ends"):
            self._start_second()
            if one.what == "first ends":
                self._world.after(one.seconds, lambda: self._terminate(owner))
        else:
            self._world.after(self._second_dice.uniform(0.0, NEXT_POD_S), self._start_second)
            self.writing = owner if one.what == "first stopped in a write" else None
            self.stop(owner, one.seconds)

    def _start_second(self) -> None:
        """Start a process; if it waits in vain, it is one too many, and gets SIGTERM."""
        self.start()
        second, patience_s = self.all[-1], self._second_dice.uniform(20.0, 100.0)
        self._world.after(patience_s, lambda: None if second.program.owns else self._terminate(second))

    def _terminate(self, process: Process) -> None:
        if process.alive:
            process.loop.call_soon(process.program.terminate)

    def _stop_for_a_while(self, seconds: float) -> None:
        owner = self.owner
        if owner is not None and not owner.stopped:
            self.stop(owner, seconds)

    def stop(self, process: Process, seconds: float) -> None:
        """Stop a process for some time (seconds), as SIGSTOP and SIGCONT do, also in the middle of what it is doing."""
        process.stopped = True
        process.program.stops += 1
        for one in process.program.ears:
            one.held = []
        self._note_change()
        until_s = self._world.time_s + seconds
        if process is not self.current:
            self._world.at(until_s, lambda: self._go_on(process))
            return
        self._world.at(until_s, lambda: None)
        self.current = None
        with _outside():
            while self._world.time_s < until_s and process.alive:
                self._step()
        self.current = process
        self._go_on(process)
        if not process.alive:
            raise Killed

    def _go_on(self, process: Process) -> None:
        process.stopped = False
        if self.writing is process:
            self.writing = None
        for one in process.program.ears:
            held, one.held = one.held or [], None
            if held:
                self._world.after(self._second_dice.uniform(0.0, 0.5), functools.partial(_tell, one, held))
        self._note_change()
        if not process.alive and process is not self.current:
            self._bury(process)


def _tell(one: Any, held: list[Any]) -> None:
    for send in held:
        one.hear(send)


@contextlib.contextmanager
def _within(loop: VirtualLoop) -> Iterator[None]:
    """Be in the loop of a process."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(loop)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)


@contextlib.contextmanager
def _outside() -> Iterator[None]:
    """Be in no loop, although a process is in the middle of something."""
    before = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    try:
        yield
    finally:
        asyncio._set_running_loop(before)
