# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries out the commands: at most one run is open; the others are known from the journal."""

from __future__ import annotations

import logging

from ..clock import Clock
from ..config import CscConfig
from ..enums import RunState, StageKind
from ..errors import BadInputError
from ..options import parse_options
from ..plan.build import build_plan
from ..plan.plan import RunPlan
from ..plan.validity import day_obs_of
from ..record.events import Alarms, Event
from ..record.facts import RunAccepted
from ..record.fold import begin
from ..record.history import OPEN_RUN_STATES, History
from ..services.side_by_side import both
from ..stages.context import Services
from .auto_resume import AutoResume
from .decisions import Decisions
from .journal import Journal
from .owner import JournalLostError
from .preflight import preflight
from .progress import Progress, alarms_of, progress_of
from .recorder import Publish, Recorder
from .resumption import differences, find_history, read_history, run_to_resume, what_is_left
from .run import INTERRUPT_LIMIT_S, Run
from .start import Checking, StartRequest, refuse_beside, write_end
from .status import publish_run

__all__ = ["Runner", "StartRequest"]


class Runner:
    """The runs of this CSC: the open one, otherwise the latest, and through the journal all earlier ones.

    Parameters
    ----------
    config
        The CSC's configuration.
    journal
        The open journal.
    publish
        Publishes an event.
    clock
        The clock.
    """

    def __init__(self, config: CscConfig, journal: Journal, publish: Publish, clock: Clock) -> None:
        self.config = config
        self._journal = journal
        self._publish = publish
        self._clock = clock
        self._services: Services | None = None
        self.run: Run | None = None
        """The open run, otherwise the latest; None if there never was one."""
        # What is being checked: a run to be started or resumed, or a decision about one; None if nothing is.
        self._checking: Checking | None = None
        self._auto_resume = AutoResume(self.resume, self.abort)
        # Why the services behind the OCPS count as unreachable; empty if they answer.
        self._backend_problem = ""
        self._alarms = Alarms()
        self.decisions = Decisions(self, journal, clock)
        """What operators decide about verdicts and certifications."""

    async def start(self) -> None:
        """Read the latest run, and publish it; one that was open when an earlier process ended becomes INTERRUPTED.

        Raises
        ------
        JournalError
            If the journal can't be read.
        """
        await self.decisions.load()
        run_id = await self._journal.open_run() or await self._journal.latest()
        if not run_id:
            return
        self.run = self._run_of(await read_history(self._journal, run_id))
        if self.run.state in OPEN_RUN_STATES:
            await self.run.found_open()
        else:  # before it went to STANDBY, this process may have published alarms of that run
            await self._publish(self._alarms)
        # The earlier process may have ended after it wrote something down and before it published that.
        await self.run.record.publish_all()

    async def close(self) -> None:
        """Try to write what is not in the journal yet, because the journal is about to be closed."""
        if self.run is not None:
            await self.run.record.close()

    def connect(self, services: Services) -> None:
        """Use these connections from now on; with ``auto_resume``, go on with an interrupted run, or with its abort."""
        self._services = services
        self.decisions.connect()
        if self.config.auto_resume and self.run is not None:
            self._auto_resume.begin(self.run)

    async def disconnect(self, reason: str, limit_s: float = INTERRUPT_LIMIT_S) -> None:
        """Interrupt the open run, because the connections are about to be closed.

        Parameters
        ----------
        reason
            Why, in a sentence without its full stop.
        limit_s
            Longest wait for what is in progress (seconds).
        """
        self._services = None
        if self._checking is not None:
            self._checking.call_off("The CSC left ENABLED while the checks were going on.")
        await self._auto_resume.close()
        await self.decisions.close()
        if self.run is not None and not self.run.record.lost:
            await self.run.interrupt(reason, limit_s)
            await self.run.record.flush()
        self._backend_problem = ""

    def abandon(self, reason: str) -> None:
        """Do nothing more, because another process owns the journal now."""
        self._services = None
        self.decisions.abandon()
        self._auto_resume.cancel()
        if self.run is not None:
            self.run.abandon(reason)

    @property
    def open_run(self) -> Run | None:
        """The open run; None if there is none."""
        return self.run if self.run is not None and self.run.state in OPEN_RUN_STATES else None

    @property
    def unwritten(self) -> bool:
        """Whether facts are not in the journal yet; they would be lost if the journal were closed."""
        return self.run is not None and self.run.record.unwritten

    @property
    def journal_problem(self) -> str:
        """Why the journal can't be written, as far as that is known; empty if it can."""
        record = self.run.record if self.run is not None else None
        return (record.lost or record.journal_problem if record is not None else "") or self._journal.problem

    async def start_run(self, request: StartRequest) -> str:
        """Check everything, then start a run.

        Parameters
        ----------
        request
            What the operator sent.

        Returns
        -------
        run_id
            Identifier of the run, which is in progress.

        Raises
        ------
        BadInputError
            If it is refused; the message has all reasons.
        JournalError
            If the run can't be written to the journal.
        """
        checking = await self.begin_checks()
        try:
            return await self._start_run(request, self.connected(), checking)
        finally:
            self.end_checks()

    async def _start_run(self, request: StartRequest, services: Services, checking: Checking) -> str:
        day_obs = day_obs_of(self._clock.tai())
        options = parse_options(
            request.config,
            self.config.option_rules(),
            command_reason=request.reason,
            command_program=request.program,
            command_note=request.note,
            now_day_obs=day_obs,
        )
        await self.check(build_plan("", options, self.config), services, checking)
        now_s = self._clock.tai()

        def accept(run_id: str) -> RunAccepted:
            plan = build_plan(run_id, options, self.config, now_s)
            return RunAccepted(plan=plan, day_obs=day_obs, requested_by=request.requested_by, why=request.reason)

        entry = await self._journal.begin(day_obs, now_s, accept)
        run = self._run_of(begin(entry))
        self.run = run
        for notice in run.history.plan.notices:
            logging.getLogger(__name__).warning("Run %s: %s", run.history.run_id, notice)
        await run.record.publish_all()
        if checking.called_off:
            # The run is in the journal, so it ends like any other.
            if checking.aborted_by and run.state is RunState.ACCEPTED:
                await run.abort(services, checking.aborted_by)
            else:
                await run.interrupt("The CSC left ENABLED while the run was being accepted")
            raise BadInputError(
                [f"Run {run.history.run_id} was accepted, but it is {run.state.name} already: {run.history.reason}"]
            )
        if run.state is RunState.ACCEPTED:
            await run.start(services, checking.left_s)
        return run.history.run_id

    async def resume(self, run_id: str, requested_by: str, why: str = "") -> dict[str, str]:
        """Go on with a run that was interrupted, failed or was aborted.

        Parameters
        ----------
        run_id
            The run; "" for the latest that was interrupted or failed.
        requested_by, why
            Who wants that, and why.

        Returns
        -------
        result
            The run's identifier, and what it will do, in a sentence.

        Raises
        ------
        BadInputError
            If it is refused; the message has all reasons.
        JournalError
            If the journal can't be read.
        """
        checking = await self.begin_checks(resumes=run_id)
        try:
            services = self.connected()
            run = await run_to_resume(run_id, self.run, self._journal, self._run_of)
            if problems := differences(run.history.plan, self.config):
                raise BadInputError(problems)
            await self.check(run.history.plan, services, checking, run)
            plan = what_is_left(run.history)
            await self.adopt(run, checking)
            await run.resume(services, requested_by, why, checking.left_s)
        finally:
            self.end_checks()
        return {"runId": run.history.run_id, "plan": plan}

    async def find(self, run_id: str) -> Run:
        """Return a run that an operator names.

        Raises
        ------
        BadInputError
            If there is none.
        """
        if self.run is not None and self.run.history.run_id == run_id:
            return self.run
        if not run_id:
            raise BadInputError(["runId: name the run, such as 20261122-001."])
        return self._run_of(await find_history(self._journal, run_id))

    async def adopt(self, run: Run, checking: Checking) -> None:
        """Make a run that is about to go on the current one.

        Raises
        ------
        BadInputError
            If that was called off.
        """
        if self.run is not None and self.run is not run:
            await self.run.record.close()
        checking.refuse_if_called_off()
        self.run = run

    async def begin_checks(self, resumes: str | None = None) -> Checking:
        """Begin to check a run that is to be started, resumed or changed; no other is meanwhile.

        Parameters
        ----------
        resumes
            The run that is to go on ("": the latest); None: a new one begins, or one that has ended is changed.

        Raises
        ------
        BadInputError
            If another run is open or being checked.
        """
        await self.decisions.reports.recorded()
        refuse_beside(self.open_run, resumes)
        if busy := self.decisions.doing or self.decisions.problem:
            raise BadInputError([f"{busy} Until then no run is begun, resumed or changed."])
        if self._checking is not None:
            raise BadInputError(["Another run is being checked right now; there can be only one."])
        self._checking = Checking()
        return self._checking

    def end_checks(self) -> None:
        """Let another run be checked."""
        self._checking = None

    @property
    def busy(self) -> bool:
        """Whether a command about runs is being checked or done."""
        return self._checking is not None or bool(self.decisions.doing or self.decisions.problem)

    async def check(
        self,
        plan: RunPlan,
        services: Services,
        checking: Checking,
        run: Run | None = None,
        kinds: frozenset[StageKind] = frozenset(StageKind),
    ) -> None:
        """Check everything outside that stages of some kinds need; a run that goes on is given, and comes to rest.

        Raises
        ------
        BadInputError
            If anything is missing, or the start was called off.
        """
        if self.run is not None:
            await write_end(self.run)
        limit_s = checking.check_limit_s(plan.config.limits)
        history = run.history if run is not None else None
        checks = preflight(plan, services, self._clock.tai(), limit_s, history, kinds)
        if run is None:
            problems = await checking.unless_called_off(checks)
        else:
            problems, _ = await checking.unless_called_off(both(checks, run.at_rest(limit_s)))
        if problems:
            raise BadInputError([await self.decisions.with_run_ids(one) for one in problems])

    async def abort(self, requested_by: str, why: str = "") -> None:
        """Stop the open run, which ends ABORTED in the background; or a start that is being checked, which is refused.

        Parameters
        ----------
        requested_by, why
            Who wants that, and why.

        Raises
        ------
        BadInputError
            If there is no open run, or it is being aborted already.
        """
        run = self.open_run
        if self.decisions.doing:
            raise BadInputError([f"{self.decisions.doing} That can't be aborted, and no run is open."])
        if self._checking is not None and (run is None or run.state is RunState.INTERRUPTED):
            self._checking.abort(requested_by)
            if run is None:
                return
        if run is None:
            raise BadInputError(["There is no open run that could be aborted."])
        if run.state is RunState.ABORTING:
            raise BadInputError([f"Run {run.history.run_id} is being aborted already."])
        await run.abort(self.connected(), requested_by, why)

    async def publish_status(self, run_id: str) -> dict[str, object]:
        """Publish the latest event of each thing of a run again ("": the open run, otherwise the latest), and alarms.

        Returns
        -------
        snapshot
            A summary, ready for JSON.

        Raises
        ------
        BadInputError
            If there is no such run.
        JournalLostError
            If another process has the runs by now.
        """
        if loss := await self._journal.loss():
            raise JournalLostError(loss)
        summary = await publish_run(run_id, self.run, self._journal, self._publish)
        await self._publish(self._alarms)
        return summary

    def progress(self) -> Progress:
        """Return the progress of the open run, otherwise of the latest."""
        return progress_of(self.run.record, self._clock.tai()) if self.run is not None else Progress()

    @property
    def active(self) -> bool:
        """Whether a run is in progress."""
        run = self.open_run
        return run is not None and run.state is not RunState.INTERRUPTED

    async def update_alarms(self) -> None:
        """Publish the alarms if they have changed."""
        # Alarms of a run that ended in an earlier process are not published again.
        run = self.run if self.run is not None and not self.run.ended_earlier else None
        alarms = alarms_of(run.record if run is not None else None, self._backend_problem, self.decisions.problem)
        if alarms != self._alarms:
            self._alarms = alarms
            await self._publish(alarms)

    def backend(self, reachable: bool, reason: str) -> None:
        """Note whether the services behind the OCPS answer."""
        self._backend_problem = "" if reachable else reason

    @property
    def alarms(self) -> Alarms:
        """The alarms as they were published last."""
        return self._alarms

    @property
    def is_connected(self) -> bool:
        """Whether there are connections."""
        return self._services is not None

    def connected(self) -> Services:
        """Return the connections.

        Raises
        ------
        BadInputError
            If there are none.
        """
        if self._services is None:
            raise BadInputError(
                [
                    "The CSC is not connected to camera, OCPS and Butler; it must be ENABLED. If it is, "
                    "disable it and enable it again."
                ]
            )
        return self._services

    def _run_of(self, history: History) -> Run:
        return Run(Recorder(history, self._journal, self._publish_and_alarm, self._clock), self._clock)

    async def _publish_and_alarm(self, event: Event) -> None:
        await self._publish(event)
        await self.update_alarms()
