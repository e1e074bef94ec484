# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated OCPS, with a real UWS server and a worker whose jobs the test moves itself."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.configuration import write_ocps_configuration
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.ocps import OCPS_INDEX, OcpsCsc
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from support.bus import Ear, HandWorker
from support.held_server import HeldServer

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 30.0
CP_BIAS = "${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_worker() -> HandWorker:
    return HandWorker()


@pytest.fixture(scope="module")
def faults() -> Faults:
    return Faults()


@pytest_asyncio.fixture(loop_scope="module")
async def worker(whole_worker: HandWorker, faults: Faults) -> AsyncIterator[HandWorker]:
    """The worker without jobs; what an earlier test left behind ends, so its job_result may come during the next."""
    yield whole_worker
    faults.set([])
    for job_id in whole_worker.jobs:
        whole_worker.move(job_id, "error")
    whole_worker.jobs.clear()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def uws(
    whole_worker: HandWorker, faults: Faults, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[UwsServer]:
    async with UwsServer(whole_worker, tmp_path_factory.mktemp("uws"), faults) as server:
        yield server


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ocps(
    bus: None, uws: UwsServer, faults: Faults, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[OcpsCsc]:
    config = write_ocps_configuration(tmp_path_factory.mktemp("config"), uws.url, Path("/repo/simulated"))
    async with OcpsCsc(config, salobj.State.ENABLED, faults) as csc:
        assert csc.summary_state == salobj.State.ENABLED
        yield csc


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def client(ocps: OcpsCsc) -> AsyncIterator[salobj.Remote]:
    async with salobj.Domain() as domain, salobj.Remote(domain, "OCPS", index=OCPS_INDEX) as remote:
        yield remote


async def execute(client: salobj.Remote, **fields: str) -> tuple[str, Any]:
    """Submit a job; return its id and the acknowledgement that has it."""
    given = {
        "pipeline": CP_BIAS,
        "config": "-j 1",
        "data_query": "detector=0",
        "output_dataset_types": "bias",
        **fields,
    }
    ack = await client.cmd_execute.set_start(**given, timeout=LIMIT_S, wait_done=False)
    return json.loads(ack.result)["job_id"], ack


def results(heard: Any, *job_ids: str) -> list[Any]:
    return [sample for sample in heard.samples("job_result") if sample.job_id in job_ids]


async def finish(client: salobj.Remote, ack: Any) -> Any:
    return await client.cmd_execute.next_ackcmd(ack, timeout=LIMIT_S)


async def test_job_id_is_published_in_progress_and_the_result_is_the_submissions(
    client: salobj.Remote, worker: HandWorker
) -> None:
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        assert (ack.ack, ack.timeout) == (salobj.SalRetCode.CMD_INPROGRESS, 600)
        worker.move(job_id, "executing")
        worker.move(job_id, "completed")
        last = await finish(client, ack)
        await heard.wait_for(lambda: results(heard, job_id))
    assert (last.ack, last.result) == (salobj.SalRetCode.CMD_COMPLETE, "Done")
    (result,) = results(heard, job_id)
    assert (result.exit_code, result.salIndex) == (0, OCPS_INDEX)
    submission = json.loads(result.result)
    assert submission["jobId"] == job_id
    assert submission["phase"] == "pending", "the phase is that of the submission, not that of the end"


async def test_failed_job_completes_the_command_all_the_same(client: salobj.Remote, worker: HandWorker) -> None:
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "error")
        assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE
        await heard.wait_for(lambda: results(heard, job_id))
    assert results(heard, job_id)[0].exit_code == 1


async def test_job_has_the_environment_of_the_worker_script(client: salobj.Remote, worker: HandWorker) -> None:
    job_id, _ = await execute(client, version="w_2026_40", config="-i u/ocps/1 -j 8", data_query="exposure IN (1, 2)")
    environment = worker.jobs[job_id].environment
    assert environment["PIPELINE_URL"] == CP_BIAS
    assert environment["BUTLER_REPO"] == "/repo/simulated"
    assert environment["RUN_OPTIONS"] == "-i LSSTComCam/raw/all -i u/ocps/1 -j 8"
    assert environment["DATA_QUERY"] == "exposure IN (1, 2)"
    assert environment["OUTPUT_GLOB"] == "bias"
    assert environment["IMAGE_TAG"] == "w_2026_40"


async def test_dataset_types_that_nobody_names_are_those_of_the_configuration(
    client: salobj.Remote, worker: HandWorker
) -> None:
    job_id, _ = await execute(client, output_dataset_types="")
    assert worker.jobs[job_id].environment["OUTPUT_GLOB"] == "*_metricvalue"


async def test_aborted_job_tells_255_and_fails_the_command_that_followed_it(
    client: salobj.Remote, worker: HandWorker
) -> None:
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "executing")
        # The command can end before its job's abortion is acknowledged.
        finishing = asyncio.create_task(finish(client, ack))
        aborted = await client.cmd_abort_job.set_start(job_id=job_id, timeout=LIMIT_S)
        assert aborted.ack == salobj.SalRetCode.CMD_COMPLETE
        with pytest.raises(salobj.AckError, match="404 Client Error"):
            await finishing
        await heard.wait_for(lambda: results(heard, job_id))
    assert job_id not in worker.jobs
    # One only: there is none from the command that followed the job.
    (result,) = results(heard, job_id)
    assert result.exit_code == 255
    assert set(json.loads(result.result)) == {"status", "message", "code"}


async def test_job_that_is_forgotten_fails_the_command_without_a_result(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    with Ear(client, "job_result") as heard:
        forgotten, ack = await execute(client)
        faults.set([Fault("http", "status", match={"method": "GET"}, value=404)])
        with pytest.raises(salobj.AckError, match="404 Client Error"):
            await finish(client, ack)
        job_id, ack = await execute(client)
        worker.move(job_id, "completed")
        await finish(client, ack)
        await heard.wait_for(lambda: results(heard, job_id))
    assert results(heard, forgotten) == []


async def test_jobs_are_followed_side_by_side(client: salobj.Remote, worker: HandWorker) -> None:
    with Ear(client, "job_result") as heard:
        first, first_ack = await execute(client)
        second, second_ack = await execute(client)
        worker.move(second, "completed")
        await finish(client, second_ack)
        worker.move(first, "completed")
        await finish(client, first_ack)
        await heard.wait_for(lambda: len(results(heard, first, second)) == 2)
    assert [sample.job_id for sample in results(heard, first, second)] == [second, first]


async def test_job_waits_for_the_end_of_those_before_it_whatever_it_is(
    client: salobj.Remote, worker: HandWorker
) -> None:
    first, _ = await execute(client)
    unknown = "0" * 32
    waiting = asyncio.create_task(execute(client, prereq_jobs=f"{unknown},{first}"))
    worker.move(first, "executing")
    done, _ = await asyncio.wait([waiting], timeout=1.5)
    assert not done and len(worker.jobs) == 1
    worker.move(first, "error")
    second, _ = await waiting
    assert second != first


async def test_abort_of_an_unknown_job_is_refused(client: salobj.Remote, worker: HandWorker) -> None:
    with pytest.raises(salobj.AckError, match="404 Client Error"):
        await client.cmd_abort_job.set_start(job_id="0" * 32, timeout=LIMIT_S)


SUBMIT = {"resource": "submit"}


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (
            Fault("http", "status", SUBMIT, value=500, text="quota exceeded"),
            r"Failed: 500 Server Error: Internal Server Error for url: http://127\.0\.0\.1:\d+/api/v1/job",
        ),
        (
            Fault("http", "status_reply", SUBMIT, value=500, text="Job creation timed out."),
            r"Failed: 500 Server Error: Internal Server Error for url: http://127\.0\.0\.1:\d+/api/v1/job",
        ),
        (Fault("http", "garbage", SUBMIT), r"Failed: Expecting value: line 1 column 1 \(char 0\)"),
        (Fault("http", "garbage", SUBMIT, text="{}"), "Failed: 'jobId'"),
        (Fault("http", "redirect", SUBMIT, text="/api/v1/job"), "Failed: list indices must be integers or slices.*"),
        (Fault("http", "drop", SUBMIT), r"Failed: \('Connection aborted\.', .*"),
    ],
)
async def test_submission_that_goes_wrong_ends_with_the_text_of_the_exception_and_no_more(
    client: salobj.Remote, worker: HandWorker, faults: Faults, fault: Fault, said: str
) -> None:
    faults.set([fault])
    with pytest.raises(salobj.AckError) as error:
        await client.cmd_execute.set_start(pipeline=CP_BIAS, timeout=LIMIT_S)
    assert re.fullmatch(said, error.value.ackcmd.result)
    # Who gets such an answer can't know from it whether there is a job.
    made = fault.effect in ("status_reply", "garbage")
    assert len(worker.jobs) == made


async def test_redirected_abort_says_that_it_has_aborted_and_has_not(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    job_id, ack = await execute(client)
    faults.set([Fault("http", "redirect", match={"resource": "delete"}, text=f"/api/v1/job/{job_id}")])
    with Ear(client, "job_result") as heard:
        aborted = await client.cmd_abort_job.set_start(job_id=job_id, timeout=LIMIT_S)
        await heard.wait_for(lambda: results(heard, job_id))
    assert aborted.ack == salobj.SalRetCode.CMD_COMPLETE
    assert results(heard, job_id)[0].exit_code == 255
    assert job_id in worker.jobs
    worker.move(job_id, "completed")
    assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE


async def test_whole_csc_stands_still_while_the_server_takes_its_time(
    client: salobj.Remote, worker: HandWorker, ocps: OcpsCsc, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with HeldServer() as slow:
        monkeypatch.setattr(ocps._config, "url", slow.url)
        executing = asyncio.create_task(client.cmd_execute.set_start(pipeline=CP_BIAS, timeout=LIMIT_S))
        async with asyncio.timeout(LIMIT_S):
            await slow.arrived.wait()
        with Ear(client, "heartbeat") as heard:
            other = salobj.Remote(client.salinfo.domain, "OCPS", index=OCPS_INDEX, include=[])
            async with other:
                refused = asyncio.create_task(other.cmd_enable.start(timeout=LIMIT_S))
                done, _ = await asyncio.wait([executing, refused], timeout=3.0)
                assert not done
                assert heard.names == []
                slow.released.set()
                for command, said in ((executing, "'jobId'"), (refused, "not allowed in state")):
                    with pytest.raises(salobj.AckError, match=said):
                        await command
                await heard.wait_for(lambda: heard.samples("heartbeat"))


async def test_nothing_is_executed_unless_enabled(client: salobj.Remote, worker: HandWorker, ocps: OcpsCsc) -> None:
    await client.cmd_disable.start(timeout=LIMIT_S)
    for command in (client.cmd_execute, client.cmd_abort_job):
        with pytest.raises(salobj.AckError, match="DISABLED"):
            await command.start(timeout=LIMIT_S)
    await client.cmd_enable.start(timeout=LIMIT_S)
    assert not worker.jobs


async def test_ocps_that_leaves_enabled_after_a_job_acknowledges_that_job_and_refuses_the_next(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["ocps-standby"]))
    with Ear(client, "summaryState") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "completed")
        assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE
        await heard.wait_for(lambda: _is_standby(heard))
    with pytest.raises(salobj.AckError, match=r"execute not allowed in state.*STANDBY"):
        await client.cmd_execute.set_start(pipeline=CP_BIAS, timeout=LIMIT_S)
    await client.cmd_start.set_start(configurationOverride="", timeout=LIMIT_S)
    await client.cmd_enable.start(timeout=LIMIT_S)
    job_id, ack = await execute(client)
    worker.move(job_id, "completed")
    assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE


def _is_standby(heard: Ear) -> bool:
    return any(sample.summaryState == salobj.State.STANDBY for sample in heard.samples("summaryState"))


@pytest.mark.parametrize("change", [{"sal_index": 1}, {"instance": "LATISS"}, {"poll_interval": 0}])
async def test_configuration_of_another_camera_is_refused(
    client: salobj.Remote, worker: HandWorker, ocps: OcpsCsc, change: dict[str, Any]
) -> None:
    file = ocps.config_dir / "other.yaml"
    (entry,) = yaml.safe_load((ocps.config_dir / "_init.yaml").read_text())["instances"]
    file.write_text(yaml.safe_dump({"instances": [{**entry, **change}]}))
    for command in ("disable", "standby"):
        await getattr(client, f"cmd_{command}").start(timeout=LIMIT_S)
    with pytest.raises(salobj.AckError):
        await client.cmd_start.set_start(configurationOverride="other.yaml", timeout=LIMIT_S)
    assert ocps.summary_state == salobj.State.STANDBY
    await client.cmd_start.set_start(configurationOverride="", timeout=LIMIT_S)
    await client.cmd_enable.start(timeout=LIMIT_S)


@pytest.mark.parametrize(("scenario", "count"), [("job-result-lost", 0), ("job-result-doubled", 2)])
async def test_result_of_a_job_may_be_lost_or_doubled(
    client: salobj.Remote, worker: HandWorker, faults: Faults, scenario: str, count: int
) -> None:
    faults.set(scenario_faults([scenario]))
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "completed")
        assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE
        faults.set([])
        sentinel, ack = await execute(client)
        worker.move(sentinel, "completed")
        await finish(client, ack)
        await heard.wait_for(lambda: results(heard, sentinel))
    assert [sample.exit_code for sample in results(heard, job_id)] == [0] * count


async def test_result_of_somebody_elses_job_comes_first(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["job-result-of-a-stranger"]))
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "completed")
        await finish(client, ack)
        await heard.wait_for(lambda: results(heard, job_id))
    theirs, ours = heard.samples("job_result")
    assert (ours.job_id, ours.exit_code) == (job_id, 0)
    assert theirs.exit_code == 1
    assert json.loads(theirs.result)["jobId"] == theirs.job_id != job_id


async def test_failed_look_at_a_job_ends_the_command_without_a_result_and_the_job_runs_on(
    client: salobj.Remote, worker: HandWorker, faults: Faults, uws: UwsServer
) -> None:
    faults.set(scenario_faults(["ocps-loses-job"]))
    with Ear(client, "job_result") as heard:
        job_id, ack = await execute(client)
        worker.move(job_id, "executing")
        with pytest.raises(salobj.AckError, match="500 Server Error"):
            await finish(client, ack)
        faults.set([])
        worker.move(job_id, "completed")
        sentinel, ack = await execute(client)
        worker.move(sentinel, "completed")
        await finish(client, ack)
        await heard.wait_for(lambda: results(heard, sentinel))
    assert results(heard, job_id) == []
    async with aiohttp.ClientSession() as session, session.get(f"{uws.url}/job/{job_id}/phase") as reply:
        assert await reply.json() == "completed"


async def test_job_is_followed_to_its_end_by_an_ocps_in_fault(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["ocps-fault"]))
    with Ear(client, "job_result", "summaryState", "errorCode") as heard:
        job_id, ack = await execute(client)
        await heard.wait_for(lambda: {"summaryState", "errorCode"} <= set(heard.names))
        assert heard.samples("summaryState")[-1].summaryState == salobj.State.FAULT
        assert heard.samples("errorCode")[0].errorCode == 1
        with pytest.raises(salobj.AckError, match=r"(?i)fault"):
            await client.cmd_execute.set_start(pipeline=CP_BIAS, timeout=LIMIT_S)
        worker.move(job_id, "completed")
        assert (await finish(client, ack)).ack == salobj.SalRetCode.CMD_COMPLETE
        await heard.wait_for(lambda: results(heard, job_id))
    for command in ("standby", "start", "enable"):
        await getattr(client, f"cmd_{command}").start(timeout=LIMIT_S)


async def test_job_of_a_restarted_ocps_is_never_acknowledged(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["ocps-restarted"]))
    with Ear(client, "job_result", "summaryState", "heartbeat") as heard:
        job_id, ack = await execute(client)
        with pytest.raises(salobj.AckTimeoutError):
            await client.cmd_execute.set_start(pipeline=CP_BIAS, timeout=1.0)
        await heard.wait_for(lambda: _is_standby(heard))
        worker.move(job_id, "completed")
        for command in ("start", "enable"):
            await getattr(client, f"cmd_{command}").start(timeout=LIMIT_S)
        sentinel, later = await execute(client)
        worker.move(sentinel, "completed")
        await finish(client, later)
        await heard.wait_for(lambda: results(heard, sentinel) and heard.names.count("heartbeat"))
    assert results(heard, job_id) == []
    with pytest.raises(salobj.AckTimeoutError):
        await client.cmd_execute.next_ackcmd(ack, timeout=1.0)
    before = heard.names[: heard.names.index("summaryState")]
    assert before.count("heartbeat") <= 1, "no heartbeat while it restarts"


async def test_collections_of_the_ocps_come_before_those_of_the_client(
    client: salobj.Remote, worker: HandWorker, faults: Faults
) -> None:
    faults.set(scenario_faults(["older-product-first"]))
    job_id, _ = await execute(client, config="-i u/ocps/1 -j 8")
    options = worker.jobs[job_id].environment["RUN_OPTIONS"]
    assert options == "-i LSSTComCam/raw/all,LSSTComCam/calib -i u/ocps/1 -j 8"
