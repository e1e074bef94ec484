# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory starts and ends without a trace, also when something fails half way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.ocps import OCPS_INDEX, OcpsCsc
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages
from support.bus import HandWorker, count_raws, take_bias
from support.repository import certified

pytestmark = pytest.mark.observatory

LIMIT_S = 30.0
SPEED = 50.0


@pytest.fixture
def options(small_focal_plane: Any, template_repo: Path) -> dict[str, Any]:
    """Keywords for an observatory that starts fast."""
    return {
        "focal_plane": small_focal_plane,
        "template": template_repo,
        "worker": HandWorker(),
        "speed": SPEED,
    }


@pytest.fixture(autouse=True)
def no_other_observatory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget the environment of the observatory that the tests of the whole share."""
    monkeypatch.delenv("LSST_TOPIC_SUBNAME", raising=False)


def is_undisturbed() -> bool:
    """Return whether nothing of an observatory is left in this process."""
    return asyncio.all_tasks() == {asyncio.current_task()} and "LSST_TOPIC_SUBNAME" not in os.environ


async def come_to(comcam: ComCam, state: salobj.State) -> None:
    """Wait until all components have published a state; a command can be answered before that is heard."""
    async with asyncio.timeout(LIMIT_S):
        for attr in comcam.get_work_components():
            while await comcam.next_state(attr) != state:
                pass


async def test_observatory_goes_on_with_a_repository_that_it_finds(options: dict[str, Any], tmp_path: Path) -> None:
    ids = []
    for _ in range(2):
        async with (
            Observatory(tmp_path / "repo", **options),
            salobj.Domain() as domain,
            ComCam(domain, intended_usage=ComCamUsages.TakeImage) as comcam,
        ):
            ids += await take_bias(comcam, 1, files=9)
    assert ids[1] == ids[0] + 1
    assert await asyncio.to_thread(count_raws, tmp_path / "repo") == 18


async def test_repository_is_born_with_a_past_and_is_reset_to_it(options: dict[str, Any], tmp_path: Path) -> None:
    options |= {"template": None, "worker": ReplayWorker(duration_s=0.0), "certified": True}
    async with Observatory(tmp_path / "repo", **options) as observatory:
        born = await asyncio.to_thread(certified, tmp_path / "repo", "LSSTComCam/calib/daily")
        assert {one.dataset_type for one in born} == {"bias", "dark", "flat", "defects"}
        assert {one.detector for one in born} == set(range(9)) and {one.end for one in born} == {""}
        await observatory.reset()
        assert await asyncio.to_thread(certified, tmp_path / "repo", "LSSTComCam/calib/daily") == born


async def test_components_can_start_in_standby(options: dict[str, Any], tmp_path: Path) -> None:
    async with (
        Observatory(tmp_path / "repo", initial_state=salobj.State.STANDBY, **options),
        salobj.Domain() as domain,
        ComCam(domain) as comcam,
    ):
        assert await comcam.get_state("cccamera") == salobj.State.STANDBY
        with pytest.raises(AssertionError, match="ccoods"):
            await comcam.assert_all_enabled()
        await comcam.assert_liveliness()
        await comcam.enable()
        await come_to(comcam, salobj.State.ENABLED)
        await comcam.assert_all_enabled()
        await comcam.standby()
        await come_to(comcam, salobj.State.STANDBY)


async def test_ocps_waits_in_standby_until_somebody_enables_it(options: dict[str, Any], tmp_path: Path) -> None:
    async with (
        Observatory(tmp_path / "repo", **options) as observatory,
        salobj.Domain() as domain,
        salobj.Remote(domain, "OCPS", index=OCPS_INDEX) as ocps,
    ):
        assert "CCOODS ENABLED, OCPS:2 STANDBY" in observatory.describe()
        assert (
            "OCPS:2 is in STANDBY, as the real one after its start: enable it before a run." in observatory.describe()
        )
        with pytest.raises(salobj.AckError, match=r"execute not allowed in state.*STANDBY"):
            await ocps.cmd_execute.set_start(pipeline="p.yaml", timeout=LIMIT_S)
        await salobj.set_summary_state(ocps, salobj.State.ENABLED, timeout=LIMIT_S)
        await observatory.reset()
        assert observatory.ocps.summary_state == salobj.State.STANDBY


async def test_another_ocps_takes_the_place_of_the_one_that_is_left_out(
    options: dict[str, Any], tmp_path: Path
) -> None:
    async with Observatory(tmp_path / "repo", without=["OCPS", "cccamera"], **options) as observatory:
        said = observatory.describe()
        assert "components   CCHeaderService ENABLED, CCOODS ENABLED" in said
        assert "left out     CCCamera, OCPS" in said
        with pytest.raises(RuntimeError, match="without its own OCPS"):
            _ = observatory.ocps
        config = Path(os.environ["DM_CONFIG_OCPS_DIR"]) / "OCPS" / "v4"
        async with (
            OcpsCsc(config, salobj.State.ENABLED),
            salobj.Domain() as domain,
            salobj.Remote(domain, "OCPS", index=OCPS_INDEX) as ocps,
        ):
            ack = await ocps.cmd_execute.set_start(
                pipeline="${CP_PIPE_DIR}/cpBias.yaml", timeout=LIMIT_S, wait_done=False
            )
            assert json.loads(ack.result)["job_id"] in options["worker"].jobs
        await observatory.reset()
    assert is_undisturbed()


async def test_other_servers_take_the_place_of_those_that_are_left_out(
    bus: None, options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = {name: os.environ[name] for name in ("LSST_KAFKA_BROKER_ADDR", "LSST_SCHEMA_REGISTRY_URL")}
    theirs |= {"LSST_TOPIC_SUBNAME": "simtest", "COMCAMCALIB_UWS_URL": "http://127.0.0.1:9/api/v1"}
    for name, value in theirs.items():
        monkeypatch.setenv(name, value)
    left_out = ["broker", "registry", "UWS"]
    async with (
        Observatory(tmp_path / "repo", without=left_out, scenarios=["job-errors"], **options) as observatory,
        salobj.Domain() as domain,
        ComCam(domain, intended_usage=ComCamUsages.TakeImage) as comcam,
    ):
        assert theirs.items() <= observatory.environment.items()
        assert "UWS          http://127.0.0.1:9/api/v1" in observatory.describe()
        await take_bias(comcam, 1, files=9)
        await observatory.reset()
    assert await asyncio.to_thread(count_raws, tmp_path / "repo") == 0


async def test_worker_that_does_not_start_leaves_nothing_behind(options: dict[str, Any], tmp_path: Path) -> None:
    async def start(notify: object) -> None:
        raise RuntimeError("no memory for the worker")

    options["worker"].start = start
    observatory = Observatory(tmp_path / "repo", **options)
    with pytest.raises(RuntimeError, match="no memory for the worker"):
        async with observatory:
            pytest.fail("it must not start")
    assert is_undisturbed()
    assert not observatory.env_file.exists()


async def test_component_that_does_not_start_leaves_nothing_behind(
    options: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def start(self: object) -> None:
        raise RuntimeError("no ocean to sail on")

    monkeypatch.setattr("lsst.ts.comcamcalib.simulation.oods.OodsCsc.start", start)
    observatory = Observatory(tmp_path / "repo", **options)
    with pytest.raises(RuntimeError, match=r"no ocean to sail on|CCOODS did not come to"):
        async with observatory:
            pytest.fail("it must not start")
    assert is_undisturbed()
    assert not observatory.env_file.exists()


async def test_start_can_be_cancelled(options: dict[str, Any], tmp_path: Path) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def start(notify: object) -> None:
        reached.set()
        await never.wait()

    options["worker"].start = start
    starting = asyncio.create_task(Observatory(tmp_path / "repo", **options).__aenter__(), name="start")
    async with asyncio.timeout(LIMIT_S):
        await reached.wait()
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
    assert is_undisturbed()


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"scenarios": ["no-such"]}, "no scenario no-such"),
        ({"speed": 0.0}, "speed is 0"),
        ({"without": ["CCShutter"]}, "no part CCShutter"),
    ],
)
async def test_impossible_observatory_is_refused(
    options: dict[str, Any], tmp_path: Path, wrong: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        async with Observatory(tmp_path / "repo", **{**options, **wrong}):
            pytest.fail("it must not start")
    assert is_undisturbed()


PROGRAM = """
import asyncio, pathlib, sys
from lsst.ts.comcamcalib.simulation.program import run_observatory
repo = pathlib.Path(sys.argv[1])
asyncio.run(run_observatory(repo=repo, replay=True, scenarios=["job-errors"], amplifier_shape=(32, 16)))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_observatory_of_its_own_runs_until_it_is_told_to_end(
    tmp_path: Path, template_repo: Path, number: signal.Signals
) -> None:
    from lsst.ts.comcamcalib.simulation.repo import copy_repo

    await asyncio.to_thread(copy_repo, template_repo, tmp_path / "repo")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", PROGRAM, str(tmp_path / "repo")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    said = ""
    try:
        async with asyncio.timeout(120):
            while "OCPS:2 was enabled here" not in said:
                line = await process.stdout.readline()
                assert line, said
                said += line.decode()
        assert "CCCamera ENABLED, CCHeaderService ENABLED, CCOODS ENABLED, OCPS:2 ENABLED" in said
        assert "scenarios    job-errors" in said
        assert "OCPS:2 was enabled here. The real one is in STANDBY after its start" in said
        assert (tmp_path / "environment.sh").exists()
        process.send_signal(number)
        async with asyncio.timeout(LIMIT_S):
            said += (await process.stdout.read()).decode()
            assert await process.wait() == 0, said
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert "has ended" in said
    assert not (tmp_path / "environment.sh").exists()


CLI = "from lsst.ts.comcamcalib.cli import app; app()"


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, with theirs."""
    try:
        children = {int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}
    except OSError:
        return set()
    return children.union(*(descendants(child) for child in children))


async def until(condition: Callable[[], Any], process: asyncio.subprocess.Process, limit_s: float = 120.0) -> None:
    """Wait for something that nobody tells."""
    async with asyncio.timeout(limit_s):
        while not condition():
            assert process.returncode is None, "it ended too soon"
            await asyncio.sleep(0.05)


@pytest.fixture
async def with_pipelines(tmp_path: Path, template_repo: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """An observatory that starts, with real pipelines, which run in processes of their own."""
    from lsst.ts.comcamcalib.simulation.repo import copy_repo

    await asyncio.to_thread(copy_repo, template_repo, tmp_path / "repo")
    command = (sys.executable, "-c", CLI, "observatory", "--repo", str(tmp_path / "repo"))
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, stdout=log, stderr=log)
    started: set[int] = set()
    try:
        yield process
    finally:
        started |= descendants(process.pid)
        if process.returncode is None:
            process.kill()
            await process.wait()
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


async def end(process: asyncio.subprocess.Process, tmp_path: Path) -> int:
    """Send SIGTERM; return the exit status, once everything has ended that the process had started."""
    started = descendants(process.pid)
    assert started
    process.send_signal(signal.SIGTERM)
    async with asyncio.timeout(LIMIT_S):
        status = await process.wait()
        while any(Path(f"/proc/{pid}").exists() for pid in started):  # noqa: ASYNC110  # not this process's children
            await asyncio.sleep(0.05)
    assert "Traceback" not in (tmp_path / "log").read_text()
    return status


async def test_sigterm_while_it_starts_ends_what_was_started(
    with_pipelines: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    await until(lambda: descendants(with_pipelines.pid), with_pipelines)
    assert await end(with_pipelines, tmp_path) == 128 + signal.SIGTERM
    assert "is ready" not in (tmp_path / "log").read_text()


async def test_sigterm_ends_its_children_and_the_job_that_runs(
    with_pipelines: asyncio.subprocess.Process, tmp_path: Path
) -> None:
    await until((tmp_path / "environment.sh").exists, with_pipelines)
    before = descendants(with_pipelines.pid)
    os.mkfifo(tmp_path / "pipeline.yaml")  # who reads it waits without end
    address = re.search("COMCAMCALIB_UWS_URL=(.*)", (tmp_path / "environment.sh").read_text())
    assert address is not None
    environment = {"PIPELINE_URL": tmp_path / "pipeline.yaml", "BUTLER_REPO": tmp_path / "repo"}
    job = {
        "command": "cd ${JOB_SOURCE_DIR} && bash bin/pipetask.sh",
        "url": "https://github.com/lsst-dm/uws_scripts",
        "commit_ref": "main",
        "environment": [{"name": name, "value": str(value)} for name, value in environment.items()],
    }
    async with aiohttp.ClientSession() as session, session.put(f"{address[1]}/job", json=job) as reply:
        assert reply.status == 200, await reply.text()
    await until(lambda: len(descendants(with_pipelines.pid) - before) >= 2, with_pipelines, limit_s=LIMIT_S)
    assert await end(with_pipelines, tmp_path) == 0
    assert "has ended" in (tmp_path / "log").read_text()
