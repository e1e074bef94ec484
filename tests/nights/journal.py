# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The journal's thread and the machine's processes, as the processes of a night see them."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from .processes import Process, Processes
from .virtual_loop import VirtualThreads
from .world import NightWorld

__all__ = ["Ownership", "surroundings"]


@contextlib.contextmanager
def surroundings(processes: Processes, world: NightWorld) -> Iterator[None]:
    """Let the product's journal work in the process that is at it, in virtual threads that may fail."""

    class Threads(VirtualThreads):
        def seconds(self, _what: str) -> float:  # type: ignore[override]
            return max(world.down.get("journal hangs", 0.0) - world.time_s, 0.0) + dice.uniform(0.001, 0.01)

        def around(self, what: str, function: Callable[[], Any]) -> Any:  # type: ignore[override]
            return _call(what, function, processes, world)

    def place() -> str:
        return _this(processes).place

    dice = world.dice("journal")
    machine = types.SimpleNamespace(
        getpid=lambda: _this(processes).pid, kill=lambda pid, _: _look_for(pid, processes), readlink=os.readlink
    )
    with (
        mock.patch("lsst.ts.comcamcalib.run.journal.WorkerThreads", Threads),
        mock.patch("lsst.ts.comcamcalib.run.owner.os", machine),
        mock.patch("lsst.ts.comcamcalib.run.owner._place", place),
    ):
        yield


def _this(processes: Processes) -> Process:
    assert processes.current is not None, "only a process asks that"
    return processes.current


def _look_for(pid: int, processes: Processes) -> None:
    """Do as `os.kill` with signal 0."""
    if not any(one.pid == pid and one.alive for one in processes.all):
        raise ProcessLookupError(pid)


def _call(what: str, function: Callable[[], Any], processes: Processes, world: NightWorld) -> Any:
    writes = what.startswith(("write", "begin"))
    if "journal disk full" in world.down and (writes or what.startswith(("renew", "open"))):
        raise sqlite3.OperationalError("database or disk is full")
    if processes.writing is not None and (writes or what.startswith(("renew", "open", "close"))):
        world.seen["journal locked by another process"] += 1
        raise sqlite3.OperationalError("database is locked")
    if writes:
        if "journal locked" in world.down:
            raise sqlite3.OperationalError("database is locked")
        processes.on("before write")
        processes.on("in a write")
    result = function()
    if writes:
        processes.on("after write")
    return result


class Ownership:
    """Who owns the journal, by the journal's own row; asked whenever something is changed outside.

    Parameters
    ----------
    path
        The journal.
    processes
        All processes.
    world
        What they change.
    """

    def __init__(self, path: Path, processes: Processes, world: NightWorld) -> None:
        self._path = path
        self._processes = processes
        self._world = world
        self._connection: sqlite3.Connection | None = None
        self.problems: list[str] = []
        """Sentences about what was done by a process that did not own the journal."""
        world.on_made = self._look

    def _look(self, what: str) -> None:
        process = _this(self._processes)
        if self._connection is None:
            self._connection = sqlite3.connect(self._path)
        row = self._connection.execute("SELECT place, pid FROM owner").fetchone()
        if row != (process.place, process.pid):
            number = self._processes.all.index(process) + 1
            self.problems.append(
                f"{what} at {self._world.time_s:.1f} s by process {number}, but the journal belongs to {row}"
            )

    def close(self) -> None:
        """Close the journal."""
        if self._connection is not None:
            self._connection.close()
