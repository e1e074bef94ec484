# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The image: what is in it, and that its CSC makes calibrations as it will on a cluster, through the end of its pod."""

from __future__ import annotations

import asyncio
import collections
import os
import stat
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.containers import CANARY, Image, running, stop
from support.operator import Operator
from support.repository import certified

pytestmark = pytest.mark.observatory

LIMIT_S = 240.0
LARGEST_MB = 700

OPTIONS = {"script_mode": "BIAS", "n_bias": 5, "detectors": [0, 4]}


def test_image_says_what_it_is_and_who_runs_it(image: Image) -> None:
    assert image.config["User"] == "73006:73006"
    assert image.config["Entrypoint"] == ["run_comcamcalib"]
    labels = image.config["Labels"]
    assert labels["org.opencontainers.image.licenses"] == "GPL-3.0-or-later"
    assert labels["org.opencontainers.image.version"][0].isdigit()
    assert len(labels["org.opencontainers.image.revision"]) == 40


def test_image_holds_the_package_and_nothing_to_build_it_with(image: Image) -> None:
    programs = {file.name for folder in ("usr/bin", "opt/comcamcalib/bin") for file in (image.files / folder).iterdir()}
    assert {"run_comcamcalib", "command_comcamcalib", "comcamcalib"} <= programs
    assert not programs & {"gcc", "cc", "git", "make"}
    assert not [name for name in (image.files / "opt/comcamcalib/bin").iterdir() if name.name.startswith("pip")]
    for left in ("source", "wheels", "wheels-of-the-stand-ins"):
        assert not (image.files / left).exists()


def test_image_is_small(image: Image) -> None:
    size = sum(file.lstat().st_size for file in (image.files / "opt").rglob("*") if file.is_file())
    assert size < LARGEST_MB * 1e6


def test_no_layer_has_what_lay_about_where_the_image_was_built(image: Image) -> None:
    folders = [folder for folder in image.files.iterdir() if folder.is_dir() and not folder.is_symlink()]
    found = subprocess.run(
        ["grep", "--recursive", "--devices=skip", "--files-with-matches", "--fixed-strings", CANARY, *folders],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (found.returncode, found.stdout) == (1, ""), found.stderr
    assert CANARY not in image.history


def test_repository_on_postgresql_can_be_opened_in_the_image(image: Image) -> None:
    assert list((image.files / "opt/comcamcalib").glob("lib/python3*/site-packages/psycopg2/_psycopg*.so"))


def test_image_has_no_secret_in_a_variable_and_no_file_that_another_user_may_change(image: Image) -> None:
    environment = image.environment
    assert not [name for name in environment if any(word in name for word in ("PASSWORD", "SECRET", "TOKEN", "KEY"))]
    own = [image.files / "opt/comcamcalib", image.files / "opt/config"]
    changeable = [
        file
        for folder in own
        for file in folder.rglob("*")
        if not file.is_symlink() and (file.lstat().st_mode & stat.S_IWOTH or file.lstat().st_uid == 73006)
    ]
    assert not changeable


@pytest_asyncio.fixture(loop_scope="session")
async def volume(observatory: Observatory, tmp_path: Path) -> AsyncIterator[Path]:
    """The journal's volume; and the observatory's folder, so that the image's user may use its repository."""
    folder = tmp_path / "volume"
    folder.mkdir()
    os.chown(folder, 73006, 73006)
    site = Path(os.environ["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1" / "_test.yaml"
    values = yaml.safe_load(site.read_text())
    site.write_text(yaml.safe_dump({**values, "journal_path": "/var/lib/comcamcalib/journal.sqlite"}, sort_keys=False))
    for file in [observatory.work_directory, *observatory.work_directory.rglob("*")]:
        if not file.is_symlink():
            file.chmod(file.stat().st_mode | (0o777 if file.is_dir() else 0o666))
    yield folder


@pytest.mark.asyncio(loop_scope="session")
async def test_observatorys_image_starts_the_csc_in_its_own_environment_and_hands_signals_on(
    observatory_image: Image, observatory: Observatory, operator: Operator, volume: Path, tmp_path: Path
) -> None:
    assert observatory_image.config["User"] == "73006:73006"
    assert not (observatory_image.files / "wheels").is_dir() or not list((observatory_image.files / "wheels").iterdir())
    log = tmp_path / "csc.log"
    environment = {**observatory.environment, "RUN_ARG": "--state enabled"}
    async with running(observatory_image, volume, [observatory.work_directory], environment, log) as csc:
        await operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
        assert user_of(csc) == 73006
        collection = "LSSTComCam/calib/u/image/observatory"
        run_id = await operator.start_run(**OPTIONS, calib_collection=collection)
        ended = await operator.until_ended(run_id, LIMIT_S)
        assert ended.state == RunState.COMPLETED, f"{ended.reason}; see {log}"
        await stop(csc)
    assert len(await asyncio.to_thread(certified, observatory.repo, collection)) == 2


@pytest.mark.asyncio(loop_scope="session")
async def test_calibrations_are_made_in_the_image_and_a_run_outlives_its_pod(
    image: Image, observatory: Observatory, operator: Operator, volume: Path, tmp_path: Path
) -> None:
    log = tmp_path / "csc.log"
    folders = [observatory.work_directory]
    site = (image, volume, folders, observatory.environment, log, "--state", "enabled")

    async with running(*site) as csc:
        await operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
        assert user_of(csc) == 73006
        first = await operator.start_run(**OPTIONS, calib_collection="LSSTComCam/calib/u/image/first")
        assert (await operator.until_ended(first, LIMIT_S)).state == RunState.COMPLETED

        second = await operator.start_run(**OPTIONS, calib_collection="LSSTComCam/calib/u/image/second")
        await operator.hear("imageIngested", LIMIT_S, runId=second)
        await stop(csc)
    interrupted = operator.last("runState", runId=second)
    assert interrupted.state == RunState.INTERRUPTED, f"{interrupted.reason}; see {log}"

    operator.forget()
    async with running(*site) as csc:
        await operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
        await operator.hear("runState", LIMIT_S, runId=second, state=RunState.INTERRUPTED)
        await operator.command("resumeCalibrationRun", runId="", reason="the pod was replaced")
        ended = await operator.until_ended(second, LIMIT_S)
        assert ended.state == RunState.COMPLETED, f"{ended.reason}; see {log}"
        assert set(operator.stages(second).values()) == {StageState.SUCCEEDED}
        await stop(csc)

    collections_of = [f"LSSTComCam/calib/u/image/{name}" for name in ("first", "second")]
    both = [await asyncio.to_thread(certified, observatory.repo, name) for name in collections_of]
    counts = [collections.Counter((one.dataset_type, one.detector) for one in there) for there in both]
    assert counts[0] == counts[1] == {("bias", 0): 1, ("bias", 4): 1}
    assert (volume / "journal.sqlite").stat().st_uid == 73006


def user_of(pid: int) -> int:
    """Return the user of a process."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("Uid:")]
    return int(line.split()[1])
