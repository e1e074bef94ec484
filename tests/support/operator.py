# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An operator at a bare salobj Remote: sends commands, hears everything that the CSC publishes."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.enums import RunState, StageState

if TYPE_CHECKING:
    from lsst.ts.comcamcalib.csc import ComCamCalibCsc

__all__ = ["ENDED", "LIMIT_S", "Operator"]

LIMIT_S = 60.0
# INTERFACE: every command reaches its final acknowledgement within this time, because LOVE gives up then.
COMMAND_LIMIT_S = 10.0

ENDED = (RunState.COMPLETED, RunState.FAILED, RunState.ABORTED)

RUN_EVENTS = (
    *("runState", "runConfiguration", "stageState", "imageTaken", "imageIngested", "jobState", "verificationResult"),
    *(
        "detectorVerification",
        "detectorMeasurement",
        "gainEstimate",
        "certification",
        "largeFileObjectAvailable",
        "commandRejected",
        "alarms",
    ),
)
EVENTS = (*RUN_EVENTS, "summaryState", "errorCode", "heartbeat", "logMessage")


class Operator:
    """A Remote, and everything that it heard since it was entered, history left out.

    Attributes
    ----------
    heard : list [tuple [str, object, float]]
        Topic, sample and time of arrival (monotonic clock), in the order of arrival.
    """

    def __init__(self, domain: salobj.Domain) -> None:
        self.remote = salobj.Remote(domain, "ComCamCalib")
        self.heard: list[tuple[str, Any, float]] = []
        self._begin_tai = 0.0
        self._heard_until: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def __aenter__(self) -> Self:
        await self.remote.start_task
        self._begin_tai = utils.current_tai()
        for name in EVENTS:
            getattr(self.remote, f"evt_{name}").callback = self._listener(name)
        self.remote.tel_progress.callback = self._listener("progress")
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.remote.close()

    def _listener(self, name: str) -> Callable[[Any], Any]:
        async def hear(sample: Any) -> None:
            if sample.private_sndStamp >= self._begin_tai:
                self.heard.append((name, sample, time.monotonic()))
                self._heard_until[name] = sample.private_sndStamp
                self._changed.set()

        return hear

    # What was heard

    def forget(self) -> None:
        """Forget what was heard so far."""
        self.heard.clear()

    def samples(self, topic: str, **fields: object) -> list[Any]:
        """Return the samples of a topic whose fields have these values, in the order in which they were sent."""
        chosen = [
            sample
            for name, sample, _ in self.heard
            if name == topic and all(getattr(sample, field) == value for field, value in fields.items())
        ]
        return sorted(chosen, key=lambda sample: sample.private_sndStamp)

    def last(self, topic: str, **fields: object) -> Any:
        """Return the last sample of a topic whose fields have these values."""
        samples = self.samples(topic, **fields)
        assert samples, f"No {topic} with {fields} was heard"
        return samples[-1]

    def stages(self, run_id: str) -> dict[str, StageState]:
        """Return the last state of each stage of a run."""
        return {one.stageName: StageState(one.state) for one in self.samples("stageState", runId=run_id)}

    async def wait_for(self, what: str, condition: Callable[[], Any], limit_s: float = LIMIT_S) -> Any:
        """Wait until what was heard meets a condition; return what the condition returned."""
        try:
            async with asyncio.timeout(limit_s):
                while not (met := condition()):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            last = [f"{name} {getattr(sample, 'reason', '')}" for name, sample, _ in self.heard[-12:]]
            raise AssertionError(f"No {what} within {limit_s:g} s. Heard last: {last}") from None
        return met

    async def hear(self, topic: str, limit_s: float = LIMIT_S, **fields: object) -> Any:
        """Wait for a sample of a topic whose fields have these values; return the last one."""
        (*_, sample) = await self.wait_for(f"{topic} {fields}", lambda: self.samples(topic, **fields), limit_s)
        return sample

    async def until_ended(self, run_id: str, limit_s: float = LIMIT_S) -> Any:
        """Wait for the end of a run; return its last runState."""

        def ended() -> list[Any]:
            return [one for one in self.samples("runState", runId=run_id) if one.state in ENDED]

        return (await self.wait_for(f"end of run {run_id}", ended, limit_s))[-1]

    async def hear_all(self, csc: ComCamCalibCsc) -> None:
        """Wait until everything was heard that a CSC in this process has published of runs.

        Kafka keeps the order within a topic only: what is heard last need not have been published last.
        """

        def behind() -> list[str]:
            published = {name: getattr(csc, f"evt_{name}").data.private_sndStamp for name in RUN_EVENTS}
            heard = {name: self._heard_until.get(name, self._begin_tai) for name in RUN_EVENTS}
            return [name for name in RUN_EVENTS if published[name] > heard[name]]

        await self.wait_for(f"newest sample of {behind()}", lambda: not behind(), limit_s=10.0)

    # What an operator does

    async def command(self, name: str, **fields: Any) -> Any:
        """Send a command; return its final acknowledgement, which must come in time."""
        command = getattr(self.remote, f"cmd_{name}")
        # A message of its own, because a Remote's commands share their data.
        return await command.start(data=command.DataType(**fields), timeout=COMMAND_LIMIT_S)

    async def bring(self, **transitions: salobj.State) -> None:
        """Send these state transition commands in turn, and see the CSC in the state that is given for each."""
        for name, state in transitions.items():
            before = utils.current_tai()
            await self.command(name)

            def is_there(before: float = before, state: salobj.State = state) -> bool:
                states = [one for one in self.samples("summaryState") if one.private_sndStamp > before]
                return bool(states) and states[-1].summaryState == state

            await self.wait_for(f"state {state.name} after {name}", is_there)

    async def start_run(self, **options: Any) -> str:
        """Start a run with these options; return its identifier."""
        ack = await self.command("startCalibrationRun", config=json.dumps(options), reason="e2e", program="tests")
        run_id = json.loads(ack.result)["runId"]
        assert isinstance(run_id, str)
        return run_id

    async def refused(self, name: str, **fields: Any) -> list[str]:
        """Send a command that must be refused, in all the ways of a refusal; return its sentences.

        The acknowledgement is CMD_FAILED, commandRejected has the same text and who it was, and a warning is logged.
        """
        before = utils.current_tai()
        try:
            ack = await self.command(name, **fields)
        except salobj.AckError as error:
            ack = error.ackcmd
        assert ack.ack == salobj.SalRetCode.CMD_FAILED, f"{name} was not refused: {ack}"
        rejections = await self.wait_for(
            f"commandRejected for {name}",
            lambda: [one for one in self.samples("commandRejected", commandName=name) if one.private_sndStamp > before],
            limit_s=10.0,
        )
        (rejected,) = rejections
        assert rejected.requestedBy == self.remote.salinfo.domain.user_host
        assert rejected.reason
        assert rejected.reason in ack.result
        await self.wait_for(
            f"warning about {name}",
            lambda: [
                one
                for one in self.samples("logMessage")
                if one.private_sndStamp > before and one.level >= 30 and name in one.message
            ],
            limit_s=10.0,
        )
        return str(rejected.reason).splitlines()
