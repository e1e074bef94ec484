# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out what operators decide about verdicts and certifications: acceptVerification and decertify."""

from __future__ import annotations

import asyncio
import functools
import logging
import re
from typing import TYPE_CHECKING, Any

from ..clock import Clock
from ..enums import CalibType, RunState, StageKind
from ..errors import BadInputError, StageError
from ..record.act import once
from ..record.history import History
from ..stages.context import RunContext, Services
from ..stages.withdrawing import Withdrawing
from .acceptance import AcceptRequest, calib_type_of, goes_on, kinds_after
from .decertification import DecertifyRequest, in_words, standing
from .journal import Journal
from .outdated_reports import OutdatedReports
from .owner import JournalError
from .resumption import differences, other_repository
from .run import Run
from .start import Checking, write_end

if TYPE_CHECKING:
    from .runner import Runner

__all__ = ["Decisions"]

ANSWER_LIMIT_S = 6.0
"""After this time the answer is that Butler is still at it (seconds), because the command must be answered in 10 s."""

CLOSE_LIMIT_S = 2.0
"""Longest wait for what goes on when the CSC leaves ENABLED (seconds)."""

RETRY_INTERVAL_S = 10.0
"""Time between two attempts to find out what became of a withdrawal (seconds)."""


class Decisions:
    """What operators decide about runs of which the results are known.

    Parameters
    ----------
    runner
        Which run is open, and how others are found.
    journal
        The open journal.
    clock
        The clock.
    """

    def __init__(self, runner: Runner, journal: Journal, clock: Clock) -> None:
        self._runner = runner
        self._journal = journal
        self._clock = clock
        self._log = logging.getLogger(__name__)
        self.unfinished: dict[str, str] = {}
        """Runs of which something was being withdrawn, and it is not known what became of it; and why."""
        self.doing = ""
        """A sentence about what is being withdrawn right now; "" if nothing is."""
        self._task: asyncio.Task[str] | None = None
        self._finishing: asyncio.Task[None] | None = None
        self.reports = OutdatedReports(runner, journal, self._leave)
        """Reports that do not have what was decided."""

    async def load(self) -> None:
        """Read which withdrawals were not finished when an earlier process ended.

        Raises
        ------
        JournalError
            If the journal can't be read.
        """
        self.unfinished = dict.fromkeys(
            await self._journal.unfinished_withdrawals(), "the service ended while it was going on"
        )
        await self.reports.load()

    @property
    def problem(self) -> str:
        """A sentence about withdrawals that are not finished; "" if there are none."""
        return " ".join(
            f"What run {run_id} certified is being withdrawn, which is not finished: {how}."
            for run_id, how in self.unfinished.items()
        )

    # acceptVerification

    async def accept(self, request: AcceptRequest) -> dict[str, str]:
        """Accept bad verdicts on a product of a run, which then goes on.

        Returns
        -------
        result
            The run's identifier, and what follows, in a sentence.

        Raises
        ------
        BadInputError
            If it is refused; the message has all reasons.
        JournalError
            If the journal can't be read.
        """
        _check_reason(request.reason, "acceptVerification")
        calib_type_of(request.calib_type)
        runner = self._runner
        current = runner.open_run
        if current is not None and current.history.run_id == request.run_id and current.state is RunState.RUNNING:
            return {"runId": request.run_id, "plan": await current.accept(runner.connected(), request)}
        checking = await runner.begin_checks(resumes=request.run_id)
        try:
            services = runner.connected()
            run = await runner.find(request.run_id)
            if not run.resumable and run.state is not RunState.COMPLETED:
                raise BadInputError([f"Run {request.run_id} is {run.state.name}; wait for its end."])
            _check_no_abort(run.history)
            if goes_on(run.history, request):
                await self._check(run, services, checking, kinds_after(run.history, request))
                await runner.adopt(run, checking)
                plan = await run.accept(services, request)
            else:
                plan = await run.accept(services, request)
                await self._leave(run)
        finally:
            runner.end_checks()
        return {"runId": request.run_id, "plan": plan}

    async def _check(self, run: Run, services: Services, checking: Checking, kinds: frozenset[StageKind]) -> None:
        """Check all that a run needs to go on with stages of some kinds."""
        if problems := differences(run.history.plan, self._runner.config):
            raise BadInputError(problems)
        await self._runner.check(run.history.plan, services, checking, run, kinds)

    async def _leave(self, run: Run) -> None:
        """Be done with a run; if it is not the latest one, publish that one last, for clients that join late."""
        self.reports.look(run.history)
        current = self._runner.run
        if current is run:
            return
        await run.record.close()
        if current is not None:
            await current.record.publish_all()

    # decertify

    async def decertify(self, request: DecertifyRequest) -> dict[str, str]:
        """Withdraw what a run has certified, and put back what that had replaced.

        Returns
        -------
        result
            The run's identifier, and what was done, in a sentence.

        Raises
        ------
        BadInputError
            If it is refused or called off, or something else is certified there by now; then nothing is changed.
        JournalError
            If the journal can't be read.
        """
        _check_reason(request.reason, "decertify")
        runner = self._runner
        wanted = [calib_type_of(request.calib_type)] if request.calib_type else list(CalibType)
        checking = await runner.begin_checks()
        handed_over = False
        try:
            services = runner.connected()
            run = await runner.find(request.run_id)
            if runner.run is not None:
                await write_end(runner.run)
            if problems := other_repository(run.history.plan, runner.config):
                raise BadInputError(problems)
            context = RunContext(run.record, services, self._clock)
            numbers = await standing(wanted, context)
            act = Withdrawing(numbers, request.who, request.reason.strip(), context)
            checking.refuse_if_called_off()
            self.doing = f"What run {request.run_id} certified is being withdrawn, as {request.who} wants it."
            self._task = asyncio.create_task(self._withdraw(act, run), name=f"decertify {request.run_id}")
            handed_over = True
        finally:
            if not handed_over:
                runner.end_checks()
        self._task.add_done_callback(functools.partial(self._conclude, request.run_id))
        await asyncio.wait([self._task], timeout=ANSWER_LIMIT_S)
        if not self._task.done():
            plan = "Butler is still at it; the event certification tells when it is done"
            return {"runId": request.run_id, "plan": plan}
        try:
            return {"runId": request.run_id, "plan": self._task.result()}
        except StageError as error:
            raise BadInputError([await self.with_run_ids(str(error))]) from error
        except asyncio.CancelledError:
            raise BadInputError([self._stopped(request.run_id)]) from None

    def _stopped(self, run_id: str) -> str:
        """Say what becomes of a withdrawal that was stopped; one that was not written down yet does not go on."""
        if run_id in self.unfinished:
            return "The CSC left ENABLED meanwhile; it goes on when the CSC is ENABLED again."
        return "Nothing was withdrawn, because the CSC left ENABLED meanwhile. Enable it, then send decertify again."

    def _conclude(self, run_id: str, task: asyncio.Task[str]) -> None:
        """Let other things be done; begin to find out what became of the withdrawal, if that is not known."""
        self.doing = ""
        self._runner.end_checks()
        self._begin_to_finish()
        # The command may have been answered already.
        if task.cancelled():
            self._log.warning("Run %s: %s", run_id, self._stopped(run_id))
        elif (error := task.exception()) is not None:
            self._log.warning("%s: %s", task.get_name(), error)

    async def _withdraw(self, act: Withdrawing, run: Run) -> str:
        """Withdraw, and return what was done in a sentence."""
        run_id = run.history.run_id
        try:
            done = await once(act, run.record)
            self._log.warning("Run %s: %s", run_id, in_words(done, run.history))
            return in_words(done, run.history)
        finally:
            if run.history.open_withdrawals:
                self.unfinished[run_id] = "whether Butler has done it is not known"
            await self._leave(run)

    # What an earlier process has left

    def connect(self) -> None:
        """Finish what was not finished, because the CSC is ENABLED."""
        self._begin_to_finish()
        self.reports.begin()

    def _begin_to_finish(self) -> None:
        """Begin to finish what is not finished; without connections, it is begun when the CSC is ENABLED again."""
        if self.unfinished and self._runner.is_connected and (self._finishing is None or self._finishing.done()):
            self._finishing = asyncio.create_task(self._finish(), name="finish decertify")

    async def close(self) -> None:
        """End what goes on, because the CSC leaves ENABLED; it is finished when the CSC is ENABLED again."""
        tasks = self.abandon()
        if tasks:
            await asyncio.wait(tasks, timeout=CLOSE_LIMIT_S)

    def abandon(self) -> list[asyncio.Task[Any]]:
        """Do nothing more; return the tasks that end."""
        own = (self._task, self._finishing, self.reports.task)
        tasks: list[asyncio.Task[Any]] = [task for task in own if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        return tasks

    async def _finish(self) -> None:
        """Find out what became of withdrawals, and do those that were not done; try until that is known."""
        if self._task is not None:
            await asyncio.wait([self._task])
        while self.unfinished:
            for run_id in list(self.unfinished):
                try:
                    await self._finish_one(run_id)
                except (StageError, BadInputError, JournalError) as error:
                    self.unfinished[run_id] = str(error)
                    self._log.warning("Run %s: what was being withdrawn is looked for again: %s", run_id, error)
            if self.unfinished:
                await asyncio.sleep(RETRY_INTERVAL_S)

    async def _finish_one(self, run_id: str) -> None:
        run = await self._runner.find(run_id)
        try:
            for one in run.history.open_withdrawals:
                intent = one.intent
                context = RunContext(run.record, self._runner.connected(), self._clock)
                act = Withdrawing(intent.certifications, intent.who, intent.why, context)
                try:
                    done = await once(act, run.record)
                except StageError as error:
                    if run.history.open_withdrawals:
                        raise
                    self._log.warning("Run %s: %s", run_id, await self.with_run_ids(str(error)))
                else:
                    self._log.warning("Run %s: %s", run_id, in_words(done, run.history))
            self.unfinished.pop(run_id, None)
        finally:
            await self._leave(run)

    async def with_run_ids(self, sentence: str) -> str:
        """Add to the RUN collections of a sentence the runs that certified them, as far as the journal knows them."""
        for collection in sorted(set(re.findall(r"u/ocps/[^\s/]+/run", sentence))):
            try:
                run_id = await self._journal.run_that_certified(collection)
            except JournalError:
                return sentence
            if run_id:
                sentence = sentence.replace(collection, f"{collection} (run {run_id})")
        return sentence


def _check_no_abort(history: History) -> None:
    """Refuse to go on with a run that was interrupted while it was being aborted."""
    if history.state is RunState.INTERRUPTED and history.abort is not None:
        raise BadInputError(
            [
                f"Run {history.run_id} was aborted, and then interrupted. End it with abort, or go on with "
                "resumeCalibrationRun, and then accept the verdict."
            ]
        )


def _check_reason(reason: str, command: str) -> None:
    if not reason.strip():
        raise BadInputError([f"reason: {command} needs a reason; say why, because it is recorded with your name."])
