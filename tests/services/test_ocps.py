# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OCPS service on a bus, with an OCPS that the test drives."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts import salobj
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import NotEnabledError, ServiceError, UnreachableError
from lsst.ts.comcamcalib.plan.request import JobRequest
from lsst.ts.comcamcalib.services.ocps import SalOcps
from support.permission import LOST, allowed, refused

LIMIT_S = 20.0
BIAS = JobRequest(
    pipeline="${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml#subset",
    data_query="instrument='LSSTComCam' AND detector IN (0, 1) AND exposure IN (2026112200001)",
    config="-j 8 -i u/ocps/x/run,LSSTComCam/calib -c cpBias:doMedian=True",
    output_dataset_types="bias,mark-1",
)


def on_the_bus(test: Any) -> Any:
    """Mark a test that needs the bus, whose loop is the module's."""
    return pytest.mark.observatory(pytest.mark.asyncio(loop_scope="module")(test))


class DrivenOcps(salobj.Controller):  # type: ignore[misc]
    """An OCPS that does what the test says when it is commanded."""

    def __init__(self) -> None:
        super().__init__("OCPS", 2)
        self.commands: list[Any] = []
        self.on_execute: Callable[[Any], Awaitable[None]] = self.accept
        self.on_abort: Callable[[Any], Awaitable[None]] = self.accept
        self.ended = asyncio.Event()

    async def start(self) -> None:
        await super().start()
        self.cmd_execute.allow_multiple_callbacks = True
        self.cmd_execute.callback = self._execute
        self.cmd_abort_job.callback = self._abort

    async def _execute(self, data: Any) -> None:
        self.commands.append(data)
        await self.on_execute(data)

    async def _abort(self, data: Any) -> None:
        self.commands.append(data)
        await self.on_abort(data)

    async def accept(self, _data: Any) -> None:
        """Do nothing, well."""

    async def in_progress(self, data: Any, result: str) -> None:
        """Publish a result, and then take the time that a job takes."""
        await self.cmd_execute.ack_in_progress(data, timeout=600, result=result)
        await self.ended.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole(bus: None) -> AsyncIterator[DrivenOcps]:
    async with DrivenOcps() as driven:
        yield driven


@pytest_asyncio.fixture(loop_scope="module")
async def driven(whole: DrivenOcps) -> AsyncIterator[DrivenOcps]:
    whole.on_execute = whole.on_abort = whole.accept
    whole.commands.clear()
    whole.ended = asyncio.Event()
    yield whole
    whole.ended.set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ocps(whole: DrivenOcps, domain: salobj.Domain, limits: Limits) -> AsyncIterator[SalOcps]:
    ocps = SalOcps(domain, 2, limits, allowed)
    await ocps.start()
    yield ocps
    await ocps.close()


@on_the_bus
async def test_the_job_id_comes_with_the_first_acknowledgement_while_the_job_runs(
    driven: DrivenOcps, ocps: SalOcps
) -> None:
    driven.on_execute = lambda data: driven.in_progress(data, '{"job_id": "0123abcd"}')
    assert await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S) == "0123abcd"
    (command,) = driven.commands
    sent = {field.name: getattr(command, field.name) for field in dataclasses.fields(BIAS)}
    assert sent == dataclasses.asdict(BIAS)
    assert (command.version, command.prereq_jobs) == ("", "")


@on_the_bus
async def test_jobs_that_are_submitted_at_the_same_time_keep_apart(driven: DrivenOcps, ocps: SalOcps) -> None:
    driven.on_execute = lambda data: driven.in_progress(data, f'{{"job_id": "id of {data.config}"}}')
    requests = [dataclasses.replace(BIAS, config=f"-j {n}") for n in range(8)]
    ids = await asyncio.wait_for(asyncio.gather(*(ocps.submit(request) for request in requests)), LIMIT_S)
    assert ids == [f"id of -j {n}" for n in range(8)]


@on_the_bus
@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("working on it", "gave no job id"),
        ("", "gave no job id"),
        ("[]", "gave no job id"),
        ("17", "gave no job id"),
        ('{"jobId": "0123"}', "gave no job id"),
        ('{"job_id": ""}', "gave no job id"),
        ('{"job_id": 17}', "gave no job id"),
    ],
)
async def test_an_answer_without_a_job_id_leaves_it_open_whether_there_is_a_job(
    driven: DrivenOcps, ocps: SalOcps, result: str, words: str
) -> None:
    driven.on_execute = lambda data: driven.in_progress(data, result)
    with pytest.raises(UnreachableError, match=words):
        await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S)


@on_the_bus
async def test_a_command_that_ends_at_once_leaves_it_open_whether_there_is_a_job(
    driven: DrivenOcps, ocps: SalOcps
) -> None:
    with pytest.raises(UnreachableError, match=r"ended the command to execute pipeline .*cpBias\.yaml#subset at once"):
        await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S)


@on_the_bus
@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("execute not allowed in state=<State.STANDBY: 5>", "It is not ENABLED: enable it."),
        ("Not allowed in state=<State.DISABLED: 1>", "It is not ENABLED: enable it."),
        ("abort_job not allowed in state <State.OFFLINE: 4>", "It is not ENABLED: enable it."),
        (
            "execute not allowed in Fault state: errorCode=1, errorReport='no connection'",
            "It is in FAULT: look at its errorCode, send it to STANDBY, enable it.",
        ),
    ],
)
async def test_a_refusal_because_of_the_state_proves_that_nothing_came_of_it_and_says_what_to_do(
    driven: DrivenOcps, ocps: SalOcps, words: str, remedy: str
) -> None:
    async def refuse(_data: Any) -> None:
        raise salobj.ExpectedError(words)

    driven.on_execute = driven.on_abort = refuse
    with pytest.raises(NotEnabledError) as caught:
        await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S)
    assert str(caught.value) == f"OCPS:2 refused to execute pipeline {BIAS.pipeline}: Failed: {words}. {remedy}"
    with pytest.raises(NotEnabledError) as caught:
        await asyncio.wait_for(ocps.abort_job("0123"), LIMIT_S)
    assert str(caught.value) == f"OCPS:2 refused to abort job 0123: Failed: {words}. {remedy}"


@on_the_bus
@pytest.mark.parametrize(
    "words",
    [
        "500 Server Error: Internal Server Error for url: http://uws-server/api/v1/job",
        "404 Client Error: Not Found for url: http://uws-server/api/v1/job",
        "Expecting value: line 1 column 1 (char 0)",
        "'jobId'",
        "Configuration not set",
        "('Connection aborted.', RemoteDisconnected('Remote end closed connection without response'))",
        "500 Server Error: the job is not allowed in state of the cluster",
        "not ENABLED",
        "",
    ],
)
async def test_any_other_failure_proves_nothing(driven: DrivenOcps, ocps: SalOcps, words: str) -> None:
    async def fail(_data: Any) -> None:
        raise salobj.ExpectedError(words)

    driven.on_execute = driven.on_abort = fail
    with pytest.raises(UnreachableError) as caught:
        await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S)
    assert str(caught.value).startswith(f"OCPS:2 could not execute pipeline {BIAS.pipeline}: Failed:")
    assert words in str(caught.value)
    with pytest.raises(UnreachableError, match="OCPS:2 could not abort job 0123: Failed:"):
        await asyncio.wait_for(ocps.abort_job("0123"), LIMIT_S)


@on_the_bus
async def test_a_password_in_the_configuration_of_the_ocps_is_not_passed_on(driven: DrivenOcps, ocps: SalOcps) -> None:
    async def fail(_data: Any) -> None:
        raise salobj.ExpectedError("500 Server Error: Internal Server Error for url: http://ocps:s3cr3t@uws/api/v1/job")

    driven.on_execute = driven.on_abort = fail
    for asked in (ocps.submit(BIAS), ocps.abort_job("0123")):
        with pytest.raises(UnreachableError, match="for url: http://uws/api/v1/job") as caught:
            await asyncio.wait_for(asked, LIMIT_S)
        assert "s3cr3t" not in str(caught.value)


@on_the_bus
async def test_silence_leaves_it_unknown_whether_there_is_a_job(
    driven: DrivenOcps, ocps: SalOcps, limits: Limits
) -> None:
    async def wait(_data: Any) -> None:
        await driven.ended.wait()

    driven.on_execute = driven.on_abort = wait
    ocps._limits = limits.model_copy(update={"job_submission": 0.3, "job_abort": 0.3})
    with pytest.raises(UnreachableError, match="did not answer the command to execute pipeline"):
        await asyncio.wait_for(ocps.submit(BIAS), LIMIT_S)
    with pytest.raises(UnreachableError, match=r"did not abort job 0123 within 0\.3 s"):
        await asyncio.wait_for(ocps.abort_job("0123"), LIMIT_S)
    ocps._limits = limits


@on_the_bus
async def test_abort_names_the_job(driven: DrivenOcps, ocps: SalOcps) -> None:
    await asyncio.wait_for(ocps.abort_job("0123"), LIMIT_S)
    assert [command.job_id for command in driven.commands] == ["0123"]


@on_the_bus
async def test_every_result_reaches_every_subscriber(
    driven: DrivenOcps, ocps: SalOcps, caplog: pytest.LogCaptureFixture
) -> None:
    heard: list[tuple[str, int]] = []
    last = asyncio.Event()

    def hear(job_id: str, exit_code: int) -> None:
        heard.append((job_id, exit_code))
        if job_id == "last":
            last.set()

    def fail(_job_id: str, _exit_code: int) -> None:
        raise ValueError("a bug")

    ended = [ocps.on_result(fail), ocps.on_result(hear)]
    for job_id, exit_code in (("a", 0), ("b", 1), ("c", 255), ("last", 0)):
        # The text is the one that the job had when it was created: it says nothing.
        result = '{"jobId": "a", "phase": "executing"}'
        await driven.evt_job_result.set_write(job_id=job_id, exit_code=exit_code, result=result)
    await asyncio.wait_for(last.wait(), LIMIT_S)
    assert heard == [("a", 0), ("b", 1), ("c", 255), ("last", 0)]
    assert "A subscriber to job results failed" in caplog.text
    for unsubscribe in ended:
        unsubscribe()
        unsubscribe()


@on_the_bus
async def test_a_closed_connection_says_so(domain: salobj.Domain, limits: Limits) -> None:
    ocps = SalOcps(domain, 2, limits, allowed)
    with pytest.raises(ServiceError, match="OCPS:2 is not connected"):
        await ocps.submit(BIAS)
    await ocps.close()


@on_the_bus
async def test_a_process_that_has_lost_its_journal_sends_nothing(
    driven: DrivenOcps, domain: salobj.Domain, limits: Limits
) -> None:
    ocps = SalOcps(domain, 2, limits, refused)
    await ocps.start()
    with pytest.raises(ServiceError, match=LOST):
        await ocps.submit(BIAS)
    with pytest.raises(ServiceError, match=LOST):
        await ocps.abort_job("0123abcd")
    await ocps.close()
    assert driven.commands == []


@pytest.mark.parametrize("field", ["pipeline", "data_query", "config", "output_dataset_types"])
@pytest.mark.parametrize("bad", ['"', "\\", ";", "`", "$HOME", "\n", "\0", "'"])
async def test_what_would_become_something_else_on_the_way_is_not_sent(limits: Limits, field: str, bad: str) -> None:
    request = dataclasses.replace(BIAS, **{field: getattr(BIAS, field) + bad})
    with pytest.raises(ServiceError, match=f"The job's {field} can't be sent to the OCPS"):
        await SalOcps(None, 2, limits, allowed).submit(request)


@given(st.text(max_size=40))
async def test_no_control_character_passes(limits: Limits, text: str) -> None:
    with pytest.raises(ServiceError) as caught:
        await SalOcps(None, 2, limits, allowed).submit(dataclasses.replace(BIAS, data_query=text))
    clean = text.isprintable() and not set(text) & set('"\\;`$') and text.count("'") % 2 == 0
    assert ("is not connected" in str(caught.value)) == clean
