# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory as a whole: what it serves, its scenarios, and that a reset makes it as good as new."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from confluent_kafka.admin import AdminClient
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages
from support.bus import HandWorker, count_raws, take_bias

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="module")]

LIMIT_S = 30.0
SPEED = 50.0


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def whole_observatory(
    small_focal_plane: Any, template_repo: Path, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Observatory]:
    async with Observatory(
        tmp_path_factory.mktemp("observatory") / "repo",
        focal_plane=small_focal_plane,
        template=template_repo,
        worker=HandWorker(),
        speed=SPEED,
        ocps_state=salobj.State.ENABLED,
    ) as observatory:
        yield observatory


@pytest_asyncio.fixture(loop_scope="module")
async def observatory(whole_observatory: Observatory) -> AsyncIterator[Observatory]:
    yield whole_observatory
    await whole_observatory.reset()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def comcam(whole_observatory: Observatory) -> AsyncIterator[ComCam]:
    async with salobj.Domain() as domain, ComCam(domain, intended_usage=ComCamUsages.TakeImage) as comcam:
        yield comcam


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def header_service(whole_observatory: Observatory) -> AsyncIterator[salobj.Remote]:
    async with salobj.Domain() as domain, salobj.Remote(domain, "CCHeaderService") as remote:
        yield remote


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ocps(whole_observatory: Observatory) -> AsyncIterator[salobj.Remote]:
    async with salobj.Domain() as domain, salobj.Remote(domain, "OCPS", index=2) as remote:
        yield remote


async def test_images_go_from_camera_to_repository_and_headers_to_disk(
    observatory: Observatory, comcam: ComCam, header_service: salobj.Remote
) -> None:
    header = header_service.evt_largeFileObjectAvailable
    header.flush()
    (exposure_id,) = await take_bias(comcam, 1, files=9)
    name = f"CC_O_{exposure_id // 100_000}_{exposure_id % 100_000:06d}"
    assert (await header.next(flush=False, timeout=LIMIT_S)).id == name
    assert await asyncio.to_thread(count_raws, observatory.repo) == 9
    files = observatory.work_directory.glob(f"raw/*/{name}_R22_S??.fits")
    assert len(list(files)) == 9


async def test_environment_file_can_be_sourced(observatory: Observatory) -> None:
    command = f". {shlex.quote(str(observatory.env_file))} && env"
    output = await asyncio.to_thread(subprocess.run, ["sh", "-c", command], capture_output=True, text=True, check=True)
    sourced = dict(line.split("=", 1) for line in output.stdout.splitlines() if "=" in line)
    assert observatory.environment.items() <= sourced.items()
    assert observatory.environment.items() <= dict(os.environ).items()


async def test_environment_leads_to_what_exists(observatory: Observatory) -> None:
    environment = observatory.environment
    own = Path(environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    assert {path.name for path in own.iterdir()} >= {"_init.yaml", "_test.yaml"}
    assert (Path(environment["CP_PIPE_DIR"]) / "pipelines" / "LSSTComCam" / "cpBias.yaml").exists()
    assert (Path(environment["CP_VERIFY_DIR"]) / "pipelines" / "LSSTComCam" / "verifyBias.yaml").exists()
    async with (
        aiohttp.ClientSession() as session,
        session.get(f"{environment['COMCAMCALIB_UWS_URL']}/job") as reply,
    ):
        assert await reply.json() == []


async def test_configuration_is_the_csc_s_own(observatory: Observatory) -> None:
    from lsst.ts.comcamcalib.config import CscConfig
    from lsst.ts.comcamcalib.config_schema import CONFIG_SCHEMA

    read = salobj.ConfigurableCsc.read_config_files(
        salobj.StandardValidator(CONFIG_SCHEMA),
        Path(observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1",
        ["_init.yaml", "_test.yaml"],
    )
    config = CscConfig.from_namespace(read)
    assert config.repo == observatory.environment["COMCAMCALIB_REPO"]
    assert config.uws_url == observatory.environment["COMCAMCALIB_UWS_URL"]


async def test_topics_of_all_components_exist_before_it_is_ready(observatory: Observatory) -> None:
    admin = AdminClient({"bootstrap.servers": observatory.environment["LSST_KAFKA_BROKER_ADDR"]})
    topics = set((await asyncio.to_thread(admin.list_topics, timeout=10)).topics)
    for name in (
        *("Script.logevent_state", "ScriptQueue.command_add", "Watcher.logevent_alarm", "LOVE.logevent_heartbeat"),
        *("CCCamera.focal_plane_Ccd", "CCCamera.command_takeImages", "OCPS.ackcmd", "Test.ackcmd"),
        *("ComCamCalib.command_startCalibrationRun", "ComCamCalib.logevent_alarms", "ComCamCalib.progress"),
    ):
        assert f"lsst.sim.{name}" in topics


async def test_scenarios_can_be_chosen_from_another_process(observatory: Observatory, comcam: ComCam) -> None:
    url = observatory.environment["COMCAMCALIB_SCENARIOS_URL"]
    async with aiohttp.ClientSession() as session:
        async with session.post(url, json=["image-lost", "job-errors"]) as reply:
            assert (reply.status, await reply.json()) == (200, ["image-lost", "job-errors"])
        for wrong in (["image-lost", "no-such"], "image-lost", [1]):
            async with session.post(url, json=wrong) as reply:
                assert reply.status == 400, wrong
        async with session.post(url, data=b"{") as reply:
            assert reply.status == 400
        async with session.get(url) as reply:
            assert await reply.json() == ["image-lost", "job-errors"]
    await take_bias(comcam, 3, files=26)
    assert await asyncio.to_thread(count_raws, observatory.repo) == 26


async def test_reset_makes_it_as_good_as_new(observatory: Observatory, comcam: ComCam, ocps: salobj.Remote) -> None:
    observatory.set_scenarios(["noisy-detector"])
    (before,) = await take_bias(comcam, 1, files=9)
    await comcam.rem.cccamera.cmd_setFilter.set_start(name="i_06", timeout=LIMIT_S)
    ack = await ocps.cmd_execute.set_start(pipeline="p.yaml", timeout=LIMIT_S, wait_done=False)
    # The command may end before the reset does, and salobj forgets a command that has ended.
    ended = asyncio.create_task(ocps.cmd_execute.next_ackcmd(ack, timeout=LIMIT_S), name="end of the command")
    await observatory.camera.fault(1, "for a test")
    await observatory.reset()
    with pytest.raises(salobj.AckError, match="404"):
        await ended
    assert observatory.scenarios == []
    assert observatory.world.focal_plane.faults == ()
    assert observatory.camera.summary_state == salobj.State.ENABLED
    assert observatory.camera.evt_endSetFilter.data.filterName == "r_03"
    assert await asyncio.to_thread(count_raws, observatory.repo) == 0
    (after,) = await take_bias(comcam, 1, files=9)
    assert after > before
    assert await asyncio.to_thread(count_raws, observatory.repo) == 9
