# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The operator of a night: starts the run, gives commands, decides, and has the run go on until it is over."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
from collections.abc import AsyncIterator, Iterator

from lsst.ts.comcamcalib.enums import RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.run.acceptance import AcceptRequest
from lsst.ts.comcamcalib.run.decertification import DecertifyRequest
from lsst.ts.comcamcalib.run.owner import JournalError
from lsst.ts.comcamcalib.run.runner import StartRequest

from .csc import Csc
from .faults import DETECTORS, Happening, NightPlan

__all__ = ["Operator", "Outcome"]

PATIENCE_S = 4 * 86400.0
"""A night that is not over by then never is (seconds)."""

UNFINISHED_ABORT = "The abort was not finished"
"""What a run says in its reason whose abort was interrupted."""

MAX_RESUMES = 8
"""So often the operator has a run go on; what goes wrong is repaired meanwhile."""

ANSWER_LIMIT_S = 10.0
"""INTERFACE: every command is answered within this time (seconds), because LOVE gives up then."""

BACKGROUND = ("search for", "stop job", "submission of", "stop the jobs", "record of run")
"""How the names of tasks begin that may go on after the end of a run."""


@dataclasses.dataclass
class Outcome:
    """What goes on from process to process."""

    resumes: int = 0


class Operator:
    """Starts the run, gives the night's commands, and has the run go on until it is COMPLETED or ABORTED."""

    def __init__(self, csc: Csc, outcome: Outcome) -> None:
        self._csc = csc
        self._outcome = outcome
        self._plan = csc.world.plan
        # A product that is bad whatever is done again needs no more; a job that fails may.
        mendable = dict(self._plan.options).get("certify_good_detectors") or self._wants("accept")
        hopeless = self._plan.of("product") and not mendable
        self._patience = 2 if hopeless else MAX_RESUMES
        self._commands = [
            asyncio.create_task(self._command(one), name=str(one))
            for one in self._plan.of("command")
            if one.at_s >= csc.world.time_s
        ]

    async def work(self) -> None:
        csc, world = self._csc, self._csc.world
        while world.time_s < PATIENCE_S:
            await csc.opened.wait()
            state = csc.state
            if state is None:
                await self._start()
            elif state in (RunState.COMPLETED, RunState.ABORTED):
                if await self._withdrawn():
                    break
            elif state is RunState.FAILED:
                if self._wants("accept") and await self._accept():
                    continue
                if self._outcome.resumes >= self._patience:
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
        runner = self._csc.runner
        if runner is None or runner.run is None:
            return
        run, state = runner.run, runner.run.state
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(600.0):
                await run.record.until(lambda history: history.state is not state)

    @contextlib.asynccontextmanager
    async def _answered(self, command: str) -> AsyncIterator[None]:
        """See that a command is answered in time, if the process is not stopped meanwhile."""
        world = self._csc.world
        began_s, stops = world.time_s, self._csc.stops
        try:
            yield
        finally:
            took_s = world.time_s - began_s
            if took_s > ANSWER_LIMIT_S and self._csc.stops == stops:
                world.late_answers.append(f"{command} was answered after {took_s:.1f} s")

    async def _start(self) -> None:
        text = json.dumps(options_of(self._plan))
        try:
            async with self._answered("startCalibrationRun"):
                await self._csc.running().start_run(StartRequest(text, "nights", "", "", "operator"))
        except (BadInputError, JournalError) as error:
            await self._csc.refused(error)
            await asyncio.sleep(self._csc.world.dice("operator").uniform(5.0, 60.0))

    async def _resume(self) -> None:
        dice = self._csc.world.dice("operator")
        await asyncio.sleep(dice.uniform(1.0, 30.0) if dice.random() < 0.5 else dice.uniform(100.0, 900.0))
        try:
            run = self._csc.running().run
            if run is None or UNFINISHED_ABORT not in run.history.reason:
                async with self._answered("resumeCalibrationRun"):
                    await self._csc.running().resume("", "operator", "it was repaired")
            elif dice.random() < 0.5:
                await self._abort()
            else:
                with self._to_go_on():
                    await self._csc.running().resume(run.history.run_id, "operator", "it goes on after all")
            self._outcome.resumes += 1
        except (BadInputError, JournalError) as error:
            await self._csc.refused(error)

    async def _abort(self) -> None:
        run = self._csc.running().open_run
        async with self._answered("abort"):
            await self._csc.running().abort("operator")
        # Without a run, it was a start that was called off. What can't be written is not known after a kill.
        if run is not None and not run.record.unwritten:
            self._csc.world.wanted.append((self._csc.world.time_s, "abort"))

    @contextlib.contextmanager
    def _to_go_on(self) -> Iterator[None]:
        """Let the run go on after all, unless that is refused; if the process is killed meanwhile, it may."""
        wanted = (self._csc.world.time_s, "go on")
        self._csc.world.wanted.append(wanted)
        try:
            yield
        except (BadInputError, JournalError):
            self._csc.world.wanted.remove(wanted)
            raise

    def _wants(self, what: str) -> bool:
        return any(one.what == what for one in self._plan.of("decision"))

    async def _accept(self) -> bool:
        """Accept what is FAILED; return whether the run goes on."""
        run = self._csc.running().run
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
                with self._to_go_on():
                    await self._csc.running().decisions.accept(request)
            except BadInputError:
                await asyncio.sleep(self._csc.world.dice("operator").uniform(5.0, 60.0))
            except JournalError as error:
                await self._csc.refused(error)
            else:
                self._csc.world.seen["accepted"] += 1
        return self._csc.state is not RunState.FAILED

    async def _withdrawn(self) -> bool:
        """Withdraw what the run has certified, if the operator wants that; return whether it is done."""
        while (runner := self._csc.runner) and (runner.decisions.unfinished or runner.decisions.doing):  # noqa: ASYNC110  # nothing tells of it
            await asyncio.sleep(10.0)
        if runner is None:
            return False
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
        if csc.runner is None:
            return  # another process has the journal and does it
        csc.world.seen[f"command: {one.what}"] += 1
        with contextlib.suppress(BadInputError, JournalError):
            if one.what == "abort":
                await self._abort()
            elif one.what == "start another" and csc.running().open_run is not None:
                await csc.running().start_run(StartRequest("", "", "", "", "somebody"))
                raise AssertionError("a second run was started beside an open one")
            elif one.what == "accept" and csc.running().run is not None:
                await self._accept()
            elif one.what == "decertify" and csc.running().run is not None:
                run_id = csc.running().run.history.run_id
                await csc.running().decisions.decertify(DecertifyRequest(run_id, 0, "tests", "operator"))
            elif one.what == "status":
                await csc.running().publish_status("")
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
    small = {"detectors": list(DETECTORS), "n_bias": 2, "max_counter_archiver_check": 30, **SMALL[given["script_mode"]]}
    return {**small, **given}
