# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One process of a night: the product's runs and journal, connected to the night's world."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Event
from lsst.ts.comcamcalib.record.facts import Entry
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest
from lsst.ts.comcamcalib.run.decertification import DecertifyRequest
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.owner import JournalError
from lsst.ts.comcamcalib.run.runner import Runner, StartRequest
from lsst.ts.comcamcalib.services.jobs import JobService
from lsst.ts.comcamcalib.stages.context import Services
from support.reporter import FakeReporter

from .faults import Happening, NightPlan
from .listener import Listener
from .virtual_loop import Killed, OutsideClock, VirtualThreads, virtual_process
from .world import NightWorld

__all__ = ["Killer", "Outcome", "live"]

PATIENCE_S = 4 * 86400.0
"""A night that is not over by then never is (seconds)."""

MAX_RESUMES = 8
"""So often the operator has a run go on; what goes wrong is repaired meanwhile."""

REPORT_S = 20.0
"""How long it takes to write a report (seconds)."""

ANSWER_LIMIT_S = 10.0
"""INTERFACE: every command is answered within this time (seconds), because LOVE gives up then."""

BACKGROUND = ("search for", "stop job", "submission of", "stop the jobs", "record of run")
"""How the names of tasks begin that may go on after the end of a run."""


class Killer:
    """Ends processes: at their n-th write to the journal, at the n-th change outside, or at a time.

    All counts go on from process to process.

    Parameters
    ----------
    kills
        When; each happens once.
    """

    def __init__(self, kills: list[Happening]) -> None:
        self._kills = list(kills)
        self._counts: dict[str, Iterator[int]] = {}
        self.counted: dict[str, int] = {}
        """How often there was each occasion."""
        self.pause_s = 0.0
        """How long nobody restarts the process after the last kill (seconds)."""
        self.done: list[Happening] = []

    def on(self, occasion: str) -> None:
        """Count an occasion, and die if it is the one."""
        number = self.counted[occasion] = self.counted.get(occasion, 0) + 1
        for kill in self._kills:
            if (kill.what, kill.number) == (occasion, number):
                self._die(kill)

    def plan(self, world: NightWorld) -> None:
        """Let the kills at a time happen."""
        for kill in self._kills:
            if kill.what == "at":
                world.at(kill.at_s, lambda kill=kill: self._die(kill) if world.audience is not None else None)  # type: ignore[misc]

    def _die(self, kill: Happening) -> None:
        self._kills.remove(kill)
        self.done.append(kill)
        self.pause_s = kill.seconds
        raise Killed


@dataclasses.dataclass
class Outcome:
    """What is left of a process.

    Parameters
    ----------
    over
        Whether the night is over; otherwise the process was killed.
    """

    over: bool = False
    resumes: int = 0


class Csc:
    """What the CSC does with runs and journal, without SAL."""

    def __init__(self, world: NightWorld, config: CscConfig, path: Path, publish: Callable[[Event], None]) -> None:
        self.world = world
        self.config = config
        self._path = path
        self._clock = OutsideClock(world)
        self._published = publish
        self.journal: Journal
        self.runner: Runner
        self.listener: Listener | None = None
        self.jobs: JobService | None = None
        self.lost = ""
        self.entries: list[Entry] = []

    def _on_lost(self, sentence: str) -> None:
        self.lost = sentence
        self.runner.abandon(sentence)

    async def _publish(self, event: Event) -> None:
        await asyncio.sleep(0)
        if "broker down" in self.world.down:
            raise RuntimeError("KafkaError: Local: Message timed out")
        self._published(event)

    async def _backend(self, reachable: bool, sentence: str) -> None:
        self.runner.backend(reachable, sentence)

    async def start(self) -> None:
        """Open the journal, as at the command start."""
        while True:
            self.journal = Journal(self._path, self._clock, self._on_lost)
            self.runner = Runner(self.config, self.journal, self._publish, self._clock)
            try:
                await self.journal.open()
                await self.runner.start()
                return
            except JournalError:
                # The CSC goes to FAULT; somebody tries it again.
                await self.journal.close()
                await asyncio.sleep(5.0)

    async def refused(self, error: BadInputError | JournalError) -> None:
        """Go to FAULT if a command failed because the journal can't be used; somebody starts the CSC again."""
        if isinstance(error, JournalError) and not (self.runner.open_run or self.runner.unwritten):
            self.world.seen["FAULT: journal unusable"] += 1
            await self.close()
            await asyncio.sleep(5.0)
            await self.start()
            self.enable()

    def enable(self) -> None:
        """Connect to the observatory, as at the command enable."""
        if self.listener is not None:
            return
        limits = self.config.limits
        self.listener = one = self.world.audience = Listener(self.world, limits)
        interval_s, repo = self.config.uws_poll_interval_s, self.config.repo
        self.jobs = JobService(one.ocps, one.uws, interval_s, limits, self._clock, self._backend, repo)
        self.runner.connect(
            Services(
                camera=one.camera,
                components=one.components,
                oods=one.oods,
                jobs=self.jobs,
                uws=one.uws,
                repository=one.repository,
                reporter=FakeReporter(REPORT_S),
            )
        )

    async def disable(self) -> None:
        """Interrupt the open run and disconnect, as at the command disable."""
        await self.runner.disconnect("The CSC went to DISABLED")
        self.world.audience = None
        jobs, listener, self.jobs, self.listener = self.jobs, self.listener, None, None
        if jobs is not None and listener is not None:
            await asyncio.gather(jobs.close(), listener.repository.close())

    async def close(self) -> None:
        """End as the CSC does."""
        await self.disable()
        await self.runner.close()
        await self.journal.close()

    @property
    def facts(self) -> list[str]:
        """The facts of the run in the journal, in words; filled when the CSC has ended."""
        return [f"{entry.at - self.world.epoch_s:9.1f} s {entry.fact!r}" for entry in self.entries]

    @property
    def state(self) -> RunState | None:
        """State of the latest run; None if there is none."""
        return self.runner.run.state if self.runner.run is not None else None


class _Operator:
    """Starts the run, gives the night's commands, and has the run go on until it is COMPLETED or ABORTED."""

    def __init__(self, csc: Csc, outcome: Outcome) -> None:
        self._csc = csc
        self._outcome = outcome
        self._plan = csc.world.plan
        self._commands = [
            asyncio.create_task(self._command(one), name=str(one))
            for one in self._plan.of("command")
            if one.at_s >= csc.world.time_s
        ]

    async def work(self) -> None:
        csc, world = self._csc, self._csc.world
        while world.time_s < PATIENCE_S:
            state = csc.state
            if state is None:
                await self._start()
            elif state in (RunState.COMPLETED, RunState.ABORTED):
                if await self._withdrawn():
                    break
            elif state is RunState.FAILED:
                if self._wants("accept") and await self._accept():
                    continue
                if self._outcome.resumes >= (2 if self._plan.of("product") else MAX_RESUMES):
                    if await self._withdrawn():
                        break
                    continue
                await self._resume()
            elif state is RunState.INTERRUPTED and not self._plan.auto_resume:
                await self._resume()
            else:
                await self._until_it_changes()
        await self._until_nothing_goes_on()
        for command in self._commands:
            command.cancel()

    async def _until_nothing_goes_on(self) -> None:
        """Wait for what goes on in the background, such as the search for jobs that may still appear."""
        limit_s = self._csc.world.time_s + 4 * self._csc.config.limits.uws_unreachable
        names: set[str] = {""}
        while names and self._csc.world.time_s < limit_s:
            await asyncio.sleep(10.0)
            tasks = {task.get_name() for task in asyncio.all_tasks()}
            names = {name for name in tasks if name.startswith(BACKGROUND)}

    async def _until_it_changes(self) -> None:
        run = self._csc.runner.run
        assert run is not None
        state = run.state
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(600.0):
                await run.record.until(lambda history: history.state is not state)

    @contextlib.asynccontextmanager
    async def _answered(self, command: str) -> AsyncIterator[None]:
        """See that a command is answered in time, if the process is not stopped meanwhile."""
        world = self._csc.world
        began_s, stopped = world.time_s, world.seen["stopped"]
        try:
            yield
        finally:
            took_s = world.time_s - began_s
            if took_s > ANSWER_LIMIT_S and world.seen["stopped"] == stopped:
                world.late_answers.append(f"{command} was answered after {took_s:.1f} s")

    async def _start(self) -> None:
        text = json.dumps(options_of(self._plan))
        try:
            async with self._answered("startCalibrationRun"):
                await self._csc.runner.start_run(StartRequest(text, "nights", "", "", "operator"))
        except (BadInputError, JournalError) as error:
            await self._csc.refused(error)
            await asyncio.sleep(self._csc.world.dice("operator").uniform(5.0, 60.0))

    async def _resume(self) -> None:
        dice = self._csc.world.dice("operator")
        await asyncio.sleep(dice.uniform(1.0, 30.0) if dice.random() < 0.5 else dice.uniform(100.0, 900.0))
        try:
            async with self._answered("resumeCalibrationRun"):
                await self._csc.runner.resume("", "operator", "it was repaired")
            self._outcome.resumes += 1
        except (BadInputError, JournalError) as error:
            await self._csc.refused(error)

    def _wants(self, what: str) -> bool:
        return any(one.what == what for one in self._plan.of("decision"))

    async def _accept(self) -> bool:
        """Accept what is FAILED; return whether the run goes on."""
        run = self._csc.runner.run
        assert run is not None
        # After a kill, what was accepted may not be done yet; then the operator sends the command again.
        waiting = {one.calib_type for one in run.history.stages_in(StageState.FAILED) if one.kind is StageKind.VERIFY}
        bad = [
            one
            for one in run.history.verdicts.values()
            if one.verdict is Verdict.FAILED
            or (one.verdict is Verdict.ACCEPTED_BY_OPERATOR and one.calib_type in waiting)
        ]
        for one in bad:
            request = AcceptRequest(
                run.history.run_id, one.calib_type, one.physical_filter, one.attempt, "it is good enough", "operator"
            )
            try:
                await self._csc.runner.decisions.accept(request)
            except BadInputError:
                await asyncio.sleep(self._csc.world.dice("operator").uniform(5.0, 60.0))
            except JournalError as error:
                await self._csc.refused(error)
            else:
                self._csc.world.seen["accepted"] += 1
        return self._csc.state is not RunState.FAILED

    async def _withdrawn(self) -> bool:
        """Withdraw what the run has certified, if the operator wants that; return whether it is done."""
        runner = self._csc.runner
        while runner.decisions.unfinished or runner.decisions.doing:  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(10.0)
        if not self._wants("decertify") or runner.run is None:
            return True
        if not [one for one in runner.run.history.certifications.values() if one.done and one.withdrawn is None]:
            return not runner.run.history.open_certifications or runner.run.state is not RunState.COMPLETED
        try:
            await runner.decisions.decertify(DecertifyRequest(runner.run.history.run_id, 0, "tests", "operator"))
        except BadInputError:
            await asyncio.sleep(self._csc.world.dice("operator").uniform(5.0, 60.0))
        except JournalError as error:
            await self._csc.refused(error)
        else:
            self._csc.world.seen["withdrawn"] += 1
        return False

    async def _command(self, one: Happening) -> None:
        csc = self._csc
        await asyncio.sleep(one.at_s - csc.world.time_s)
        csc.world.seen[f"command: {one.what}"] += 1
        with contextlib.suppress(BadInputError, JournalError):
            if one.what == "abort":
                async with self._answered("abort"):
                    await csc.runner.abort("operator")
            elif one.what == "start another" and csc.runner.open_run is not None:
                await csc.runner.start_run(StartRequest("", "", "", "", "somebody"))
                raise AssertionError("a second run was started beside an open one")
            elif one.what == "accept" and csc.runner.run is not None:
                await self._accept()
            elif one.what == "decertify" and csc.runner.run is not None:
                run_id = csc.runner.run.history.run_id
                await csc.runner.decisions.decertify(DecertifyRequest(run_id, 0, "tests", "operator"))
            elif one.what == "status":
                await csc.runner.publish_status("")
            elif one.what == "interrupt":
                async with self._answered("disable"):
                    await csc.disable()
                await asyncio.sleep(20.0)
                csc.enable()


SMALL: dict[object, dict[str, object]] = {
    "BIAS": {},
    "DARK": {"n_bias": None, "n_dark": 2, "exp_times_dark": 5},
    "BIAS_DARK": {"n_dark": 2, "exp_times_dark": 5},
    "BIAS_DARK_FLAT": {"n_dark": 2, "exp_times_dark": 5, "n_flat": 4, "exp_times_flat": [1.0, 1.0, 2.0, 2.0]},
}
"""Further options by script_mode, so that a run is as small as it can be."""


def options_of(plan: NightPlan) -> dict[str, object]:
    """Return all options of a night's run."""
    given = dict(plan.options)
    small = {"detectors": [0, 1, 4], "n_bias": 2, "max_counter_archiver_check": 30, **SMALL[given["script_mode"]]}
    return {**small, **given}


def live(
    world: NightWorld, config: CscConfig, path: Path, killer: Killer, publish: Callable[[Event], None], outcome: Outcome
) -> Csc | None:
    """Be one process, from its start to its end; return what it leaves if it was not killed."""
    dice = world.dice("process")
    threads = type(
        "JournalThreads",
        (VirtualThreads,),
        {
            "around": staticmethod(lambda what, function: _journal_call(what, function, world, killer)),
            "seconds": staticmethod(lambda what: _journal_seconds(world)),
        },
    )
    with virtual_process(
        world, dice.uniform(10.0, 1e6), lambda: dice.uniform(0.001, 0.05), {"lsst.ts.comcamcalib.run.journal": threads}
    ) as loop:
        csc = Csc(world, config, path, publish)
        world.on_act = lambda _what: killer.on("at act") if world.audience is csc.listener is not None else None

        async def work() -> None:
            await csc.start()
            csc.enable()
            await _Operator(csc, outcome).work()
            run = csc.runner.run
            while run is not None and not csc.entries:
                try:
                    csc.entries = await csc.journal.read(run.history.run_id)
                except JournalError:  # it hangs at this very moment
                    await asyncio.sleep(5.0)
            await csc.close()

        try:
            loop.run_until_complete(loop.create_task(work(), name="process"))
            outcome.over = True
            return csc
        except Killed:
            return None
        finally:
            world.audience = None
            connection = csc.journal._file.connection if hasattr(csc, "journal") else None
            if connection is not None:
                connection.close()


def _journal_call(what: str, function: Callable[[], Any], world: NightWorld, killer: Killer) -> Any:
    writes = what.startswith(("write", "begin"))
    if "journal disk full" in world.down and (writes or what.startswith(("renew", "open"))):
        raise sqlite3.OperationalError("database or disk is full")
    if writes:
        if "journal locked" in world.down:
            raise sqlite3.OperationalError("database is locked")
        killer.on("before write")
    result = function()
    if writes:
        killer.on("after write")
    return result


def _journal_seconds(world: NightWorld) -> float:
    hangs_until_s = world.down.get("journal hangs", 0.0)
    return max(hangs_until_s - world.time_s, 0.0) + world.dice("journal").uniform(0.001, 0.01)
