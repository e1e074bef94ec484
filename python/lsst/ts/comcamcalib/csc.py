# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC: takes commands, publishes events and telemetry, and leaves all decisions to the modules below it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import signal
import sys
import types
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from lsst.ts import salobj, utils

from . import __version__
from .broker import LoginRefusedError, check_login
from .clock import Clock
from .config import CscConfig
from .config_schema import CONFIG_SCHEMA
from .config_validator import ConfigValidator
from .connection import Connection
from .ending import close_within
from .enums import ErrorCode
from .environment import check_environment
from .errors import BadInputError
from .package_log import PackageLog
from .publisher import Publisher
from .record.events import Alarms
from .run.acceptance import AcceptRequest
from .run.claim import Claim
from .run.decertification import DecertifyRequest
from .run.journal import WRITE_LIMIT_S
from .run.owner import JournalError, JournalLostError
from .run.progress import Progress
from .run.runner import Runner, StartRequest
from .sal_interfaces.install import interface_problem
from .services.butler import ButlerService
from .services.camera_class import camera_classes
from .web.look import look_at
from .web.server import StatusPage

__all__ = ["ComCamCalibCsc", "run_comcamcalib"]

# Intervals of the telemetry (seconds): during a run, and otherwise.
PROGRESS_INTERVAL_S = 1.0
IDLE_PROGRESS_INTERVAL_S = 10.0

TERMINATED = 128 + signal.SIGTERM
"""Exit status of a process that was ended by a signal, as shells count."""

# Leaving ENABLED, and the end of the process, must take less than 10 s. First the run is interrupted (see
# INTERRUPT_LIMIT_S of the runs, and the journal's own limit). Then the connections have what is left of LEAVE_LIMIT_S
# (seconds), but at least CLOSE_LIMIT_S, to close. A connection that takes longer goes on closing by itself.
LEAVE_LIMIT_S = 8.5
CLOSE_LIMIT_S = 1.0

# All that is closed at the end of the process has so long (seconds), before salobj takes a second for its own; what
# takes longer ends with the process. The connections leave the journal its time.
END_LIMIT_S = 8.5

# Going to FAULT ends the open run, so a broker that is down for a short time must not cause it.
MAX_TELEMETRY_FAILURES = 30


class ComCamCalibCsc(salobj.ConfigurableCsc):  # type: ignore[misc]
    """Makes, verifies and certifies LSSTComCam's calibrations.

    Parameters
    ----------
    config_dir
        Directory of configuration files; None for the standard one.
    initial_state
        State to start in.
    override
        Configuration override file, if the initial state is DISABLED or ENABLED.
    simulation_mode
        Only 0: the simulated observatory runs outside the CSC.
    """

    valid_simulation_modes = (0,)
    version = __version__
    enable_cmdline_state = True

    def __init__(
        self,
        config_dir: str | Path | None = None,
        initial_state: salobj.State = salobj.State.STANDBY,
        override: str = "",
        simulation_mode: int = 0,
    ) -> None:
        self.config: CscConfig | None = None
        self._clock = Clock()
        # Sends the CSC to FAULT because another process has taken over its journal.
        self._losing: asyncio.Task[None] = utils.make_done_future()
        self._connection: Connection | None = None
        # Connections that are still closing after their limit; nothing waits for them.
        self._closing: list[Connection] = []
        # Publishes the telemetry until the CSC closes.
        self._progress_task: asyncio.Task[None] = utils.make_done_future()
        super().__init__(
            name="ComCamCalib",
            index=None,
            config_schema=CONFIG_SCHEMA,
            config_dir=config_dir,
            initial_state=initial_state,
            override=override,
            simulation_mode=simulation_mode,
        )
        self.config_validator = ConfigValidator(CONFIG_SCHEMA)
        self._publisher = Publisher(self)
        self._package_log = PackageLog(self.log)
        self._claim = Claim(
            self._publisher.publish,
            self._clock,
            on_open=self._on_runner,
            on_unusable=self._on_journal_unusable,
            on_lost=self._on_journal_lost,
        )
        self.status_page = StatusPage(
            lambda: look_at(self.summary_state.name, self._claim, self._clock, self._fault_report()),
            self._repository,
            self._clock,
        )
        """The page for people and monitoring, from DISABLED on."""

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Take over the command line, unless something is missing without which the CSC can't be made."""
        super().add_kwargs_from_args(args, kwargs)
        config_dir = kwargs.get("config_dir")
        check_environment(None if config_dir is None else Path(config_dir))

    @staticmethod
    def get_config_pkg() -> str:
        """Return the name of the configuration package."""
        return "ts_config_ocs"

    async def configure(self, config: types.SimpleNamespace) -> None:
        """Use a configuration; called by the command start."""
        try:
            read = CscConfig.from_namespace(config)
            await asyncio.to_thread(camera_classes, read.instrument)
            self.config = read
        except BadInputError as error:
            raise salobj.ExpectedError(f"The configuration can't be used: {error}") from error

    async def start(self) -> None:
        """Start, and clear the alarms of an earlier process; end if Kafka can't be used or refuses the login."""
        try:
            await check_login(self.salinfo.get_broker_client_configuration())
        except LoginRefusedError as error:
            raise salobj.ExpectedError(str(error)) from error
        logging.getLogger(__package__).addHandler(self._package_log)
        try:
            await super().start()
        except (RuntimeError, ValueError, OSError, KafkaException) as error:  # no broker, topics or settings for it
            self.log.debug("The start failed", exc_info=True)
            raise salobj.ExpectedError(f"The CSC could not be started: {error}") from error
        if self._claim.runner is None:
            await self._publisher.publish(Alarms())
        self._progress_task = asyncio.create_task(self._progress_loop(), name="progress telemetry")

    async def handle_summary_state(self) -> None:
        """Open the journal when configured; connect to the observatory while ENABLED."""
        await super().handle_summary_state()
        if self.summary_state is not salobj.State.ENABLED:
            await self._disconnect(f"The CSC went to {self.summary_state.name}", LEAVE_LIMIT_S)
        if self.disabled_or_enabled:
            assert self.config is not None, "Bug: the CSC is DISABLED without a configuration"
            # Before the journal: if that can't be used the CSC goes to FAULT, and the page is wanted then.
            await self.status_page.open(self.config)
            await self._claim.open(self.config)
        elif self.summary_state is salobj.State.FAULT:
            await self._claim.close()
        else:
            await asyncio.gather(self._claim.close(), self.status_page.close())
        if self.summary_state is salobj.State.ENABLED and self._connection is None:
            await self._connect()

    async def close_tasks(self) -> None:
        """End all tasks and connections of this CSC."""
        await super().close_tasks()
        await close_within(END_LIMIT_S, {"service of runs": self._end_runs(), "status page": self.status_page.close()})
        logging.getLogger(__package__).removeHandler(self._package_log)

    async def _end_runs(self) -> None:
        """Interrupt what is open, disconnect, and close the journal."""
        self._progress_task.cancel()
        await asyncio.gather(self._progress_task, self._losing, return_exceptions=True)
        await self._disconnect("The CSC was closed", END_LIMIT_S - WRITE_LIMIT_S - CLOSE_LIMIT_S)
        await self._claim.close()

    async def do_start(self, data: salobj.BaseMsgType) -> None:
        """Read the configuration and open the journal; a refusal is published."""
        async with self._refusing("start", data):
            await super().do_start(data)
            self._assert_no_fault()

    async def do_enable(self, data: salobj.BaseMsgType) -> None:
        """Connect to the observatory; a refusal is published."""
        async with self._refusing("enable", data):
            await super().do_enable(data)
            self._assert_no_fault()

    async def do_disable(self, data: salobj.BaseMsgType) -> None:
        """Interrupt what is open and disconnect; a refusal is published."""
        async with self._refusing("disable", data):
            await super().do_disable(data)

    async def do_standby(self, data: salobj.BaseMsgType) -> None:
        """Close the journal; a refusal is published."""
        async with self._refusing("standby", data):
            await super().do_standby(data)

    async def do_exitControl(self, data: salobj.BaseMsgType) -> None:
        """End the CSC; a refusal is published."""
        async with self._refusing("exitControl", data):
            await super().do_exitControl(data)

    def _assert_no_fault(self) -> None:
        """Raise ExpectedError if a change of state has led to FAULT, so that it is not acknowledged as done."""
        if self.summary_state is salobj.State.FAULT:
            raise salobj.ExpectedError(f"The CSC went to FAULT: {self.evt_errorCode.data.errorReport}")

    async def do_startCalibrationRun(self, data: salobj.BaseMsgType) -> salobj.type_hints.AckCmdDataType:
        """Check everything, then start a calibration run."""
        async with self._refusing("startCalibrationRun", data):
            self.assert_enabled()
            request = StartRequest(data.config, data.reason, data.program, data.note, data.private_identity)
            run_id = await self._running().start_run(request)
        return self._done(data, {"runId": run_id})

    async def do_abort(self, data: salobj.BaseMsgType) -> None:
        """Stop the open run."""
        async with self._refusing("abort", data):
            self.assert_enabled()
            await self._running().abort(data.private_identity)

    async def do_status(self, data: salobj.BaseMsgType) -> salobj.type_hints.AckCmdDataType:
        """Publish the latest event of each thing of a run again."""
        async with self._refusing("status", data):
            if not self.disabled_or_enabled:
                raise BadInputError([f"status is possible in DISABLED and ENABLED, not in {self.summary_state.name}."])
            runner = self._running()
            snapshot = await runner.publish_status(data.runId)
            await self._publisher.progress(runner.progress())
        return self._done(data, snapshot)

    async def do_resumeCalibrationRun(self, data: salobj.BaseMsgType) -> salobj.type_hints.AckCmdDataType:
        """Check everything, then go on with a run."""
        async with self._refusing("resumeCalibrationRun", data):
            self.assert_enabled()
            result = await self._running().resume(data.runId, data.private_identity, data.reason)
        return self._done(data, result)

    async def do_acceptVerification(self, data: salobj.BaseMsgType) -> salobj.type_hints.AckCmdDataType:
        """Accept a verdict on a product that is not good, and go on with the run."""
        async with self._refusing("acceptVerification", data):
            self.assert_enabled()
            who = data.private_identity
            request = AcceptRequest(data.runId, data.calibType, data.physicalFilter, data.attempt, data.reason, who)
            result = await self._running().decisions.accept(request)
        return self._done(data, result)

    async def do_decertify(self, data: salobj.BaseMsgType) -> salobj.type_hints.AckCmdDataType:
        """Withdraw what a run has certified, and put back what that had replaced."""
        async with self._refusing("decertify", data):
            self.assert_enabled()
            request = DecertifyRequest(data.runId, data.calibType, data.reason, data.private_identity)
            result = await self._running().decisions.decertify(request)
        return self._done(data, result)

    @contextlib.asynccontextmanager
    async def _refusing(self, command: str, data: salobj.BaseMsgType) -> AsyncIterator[None]:
        """Turn a refusal into its acknowledgement, its event and its log message."""
        try:
            yield
        except (BadInputError, JournalError, salobj.ExpectedError) as error:
            self.log.warning("%s by %s was refused: %s", command, data.private_identity, error)
            await self._publisher.rejected(command, data.private_identity, str(error))
            # The CSC can't work without a journal. But a query that failed must cost neither an open run nor entries
            # that the journal has not taken yet; these are tried again.
            runner = self._claim.runner
            unusable = isinstance(error, JournalError) and not isinstance(error, JournalLostError)
            if unusable and runner is not None and not (runner.open_run or runner.unwritten):
                await self.fault(ErrorCode.JOURNAL_UNUSABLE, str(error))
            raise salobj.ExpectedError(str(error)) from error
        except Exception as error:
            sentence = f"Unforeseen {type(error).__name__}: {error}. The CSC's log has the traceback"
            await self._publisher.rejected(command, data.private_identity, sentence)
            raise

    def _running(self) -> Runner:
        if self._claim.runner is None and self._claim.problem:
            raise BadInputError([f"{self._claim.problem}."])
        if self._claim.runner is None:
            raise BadInputError(["The journal of runs is not open; send the CSC to STANDBY and start it again."])
        return self._claim.runner

    def _done(self, data: salobj.BaseMsgType, result: dict[str, Any]) -> salobj.type_hints.AckCmdDataType:
        return self.salinfo.make_ackcmd(
            private_seqNum=data.private_seqNum, ack=salobj.SalRetCode.CMD_COMPLETE, result=json.dumps(result)
        )

    def _fault_report(self) -> str:
        """Return why the CSC is in FAULT; empty if it is not."""
        return str(self.evt_errorCode.data.errorReport) if self.summary_state is salobj.State.FAULT else ""

    def _repository(self) -> ButlerService | None:
        return self._connection.services.repository if self._connection is not None else None

    def _on_runner(self, runner: Runner) -> None:
        if self._connection is not None:
            runner.connect(self._connection.services)

    async def _on_journal_unusable(self, sentence: str) -> None:
        await self.fault(ErrorCode.JOURNAL_UNUSABLE, sentence)

    def _on_journal_lost(self, sentence: str) -> None:
        self._losing = asyncio.create_task(self.fault(ErrorCode.JOURNAL_LOST, sentence), name="FAULT: journal lost")

    async def _connect(self) -> None:
        if self.config is None:
            return
        self._connection = connection = Connection(
            self.domain, self.config, self._clock, self._on_backend, self._claim.confirm
        )
        await connection.start()
        if self._claim.runner is not None:
            self._claim.runner.connect(connection.services)

    async def _disconnect(self, reason: str, limit_s: float) -> None:
        clock = asyncio.get_running_loop().time
        deadline = clock() + limit_s
        connection, self._connection = self._connection, None
        if self._claim.runner is not None:
            await self._claim.runner.disconnect(reason)
        if connection is not None:
            self._closing = [one for one in (*self._closing, connection) if not one.closed]
            await connection.close(max(deadline - clock(), CLOSE_LIMIT_S))

    async def _on_backend(self, reachable: bool, reason: str) -> None:
        if self._claim.runner is not None:
            self._claim.runner.backend(reachable, reason)
            await self._claim.runner.update_alarms()

    async def _progress_loop(self) -> None:
        """Publish the telemetry at its two rates, until cancelled; a fault is declared only if it fails for long."""
        since_last = IDLE_PROGRESS_INTERVAL_S
        failures = 0
        was_active = False
        while True:
            runner = self._claim.runner
            active = runner is not None and runner.active
            try:
                # Publish once more after a run, so that its end is not published ten seconds late.
                if since_last >= IDLE_PROGRESS_INTERVAL_S or active or was_active:
                    await self._publisher.progress(runner.progress() if runner is not None else Progress())
                    since_last = 0.0
                was_active = active
                if runner is not None:
                    await runner.update_alarms()
                failures = 0
            except Exception as error:
                failures += 1
                self.log.exception("The progress telemetry could not be published, %d times in a row", failures)
                if failures == MAX_TELEMETRY_FAILURES:
                    await self.fault(ErrorCode.PUBLISHING_FAILED, f"The telemetry could not be published: {error}")
            await asyncio.sleep(PROGRESS_INTERVAL_S)
            since_last += PROGRESS_INTERVAL_S


def run_comcamcalib() -> None:
    """Run the CSC from the command line."""
    # salobj sends log messages to Kafka only. Standard error has them when Kafka is away, and is what Kubernetes keeps.
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    if problem := interface_problem():
        sys.exit(problem)
    try:
        sys.exit(asyncio.run(_run()))
    except (BadInputError, salobj.ExpectedError) as error:  # the sentence says all; a traceback would hide it
        sys.exit(str(error))


async def _run() -> int:
    """Run the CSC until it ends; return the exit status: 0 after exitControl, that of SIGTERM after a signal.

    Kubernetes takes a Job whose pod has ended with 0 for done, and would make no new pod when a node is drained.
    """
    csc = ComCamCalibCsc.make_from_cmd_line(index=None, check_if_duplicate=True)
    try:
        await csc.done_task
    finally:
        # If the start has failed, done_task has told it.
        await asyncio.gather(csc.start_task, return_exceptions=True)
    await csc.close()
    return 0 if csc.summary_state == salobj.State.OFFLINE else TERMINATED
