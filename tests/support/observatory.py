# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One simulated observatory for all tests of the whole, and CSCs in it.

The observatory, CSC and operator of these tests live in one event loop, that of the session:
``pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
import yaml

if TYPE_CHECKING:
    from lsst.ts.comcamcalib.csc import ComCamCalibCsc
    from lsst.ts.comcamcalib.simulation.observatory import Observatory
    from lsst.ts.comcamcalib.simulation.postgresql import PostgresqlServer

    from .operator import Operator

__all__ = [
    "WITH_REPORTS",
    *("csc", "csc_process", "enabled_csc", "journal_path", "observatory", "operator", "session_observatory"),
    *("running_csc", "running_csc_process", "small_observatory", "without_journal"),
]

WITH_REPORTS = "with_reports.yaml"
"""Configuration override with which the CSC writes reports."""

SPEED = 50.0
JOB_S = 0.05
CSC_PROGRAM = "from lsst.ts.comcamcalib.csc import run_comcamcalib; run_comcamcalib()"
STOP_LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def small_observatory(
    root: Path, postgresql: PostgresqlServer | None = None, without: Iterable[str] = ()
) -> AsyncIterator[Observatory]:
    """Run a fast observatory with small detectors, and a worker that puts recorded products in place."""
    from lsst.ts import salobj
    from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
    from lsst.ts.comcamcalib.simulation.observatory import Observatory
    from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
    from lsst.ts.comcamcalib.simulation.repo import create_repo

    focal_plane = FocalPlane(amplifier_shape=(32, 16), overscan_columns=8, hot_pixels=2, low_pixels=1)
    await asyncio.to_thread(create_repo, root / "template", focal_plane, postgresql)
    async with Observatory(
        root / "observatory" / "repo",
        template=root / "template",
        postgresql=postgresql,
        focal_plane=focal_plane,
        worker=ReplayWorker(duration_s=JOB_S),
        speed=SPEED,
        ocps_state=salobj.State.ENABLED,
        without=without,
    ) as observatory:
        await asyncio.to_thread(_write_no_reports, observatory.work_directory / "config" / "ocs" / "ComCamCalib" / "v1")
        yield observatory


def _write_no_reports(directory: Path) -> None:
    """Let the CSC write no reports, each of which takes some seconds, but with the override ``with_reports.yaml``."""
    path = directory / "_test.yaml"
    settings = yaml.safe_load(path.read_text())
    (directory / WITH_REPORTS).write_text(yaml.safe_dump({"report": settings["report"]}))
    path.write_text(yaml.safe_dump({**settings, "report": {"directory": "", "s3_instance": ""}}))


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def session_observatory(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Observatory]:
    """The observatory of the session."""
    async with small_observatory(tmp_path_factory.mktemp("e2e")) as observatory:
        yield observatory


@pytest_asyncio.fixture(loop_scope="session")
async def observatory(session_observatory: Observatory, journal_path: Path) -> AsyncIterator[Observatory]:
    """The observatory, as good as new after the test; no journal of an earlier test."""
    yield session_observatory
    await session_observatory.reset()


@pytest.fixture
def journal_path(session_observatory: Observatory) -> Path:
    """Where the CSC's configuration puts its journal; there is none yet."""
    return without_journal(session_observatory)


def without_journal(observatory: Observatory) -> Path:
    """Remove the journal of an earlier CSC, and return where the next one will be."""
    path = observatory.work_directory / "journal.sqlite3"
    for file in path.parent.glob(f"{path.name}*"):
        file.unlink()
    return path


@pytest_asyncio.fixture(loop_scope="session")
async def operator(session_observatory: Observatory) -> AsyncIterator[Operator]:
    """An operator who hears what the CSC publishes from now on."""
    from lsst.ts import salobj

    from .operator import Operator

    async with salobj.Domain() as domain, Operator(domain) as operator:
        yield operator


@contextlib.asynccontextmanager
async def running_csc(**keywords: Any) -> AsyncIterator[ComCamCalibCsc]:
    """Run a CSC in this process; when it is closed, no task of its own may be left."""
    from lsst.ts.comcamcalib.csc import ComCamCalibCsc

    before = asyncio.all_tasks()
    async with ComCamCalibCsc(**keywords) as csc:
        yield csc
    left = {task for task in asyncio.all_tasks() - before if not task.done()}
    ours = [task.get_name() for task in left if "comcamcalib" in _home(task) and "simulation" not in _home(task)]
    assert not ours, f"The CSC left tasks behind: {ours}"


def _home(task: asyncio.Task[Any]) -> str:
    """Return the module that a task's coroutine comes from."""
    code = getattr(task.get_coro(), "cr_code", None)
    return code.co_filename.replace(os.sep, ".") if code else ""


@pytest_asyncio.fixture(loop_scope="session")
async def csc(observatory: Observatory, operator: Operator) -> AsyncIterator[ComCamCalibCsc]:
    """A CSC in STANDBY."""
    async with running_csc() as csc:
        yield csc


@pytest_asyncio.fixture(loop_scope="session")
async def enabled_csc(observatory: Observatory, operator: Operator) -> AsyncIterator[ComCamCalibCsc]:
    """A CSC in ENABLED."""
    from lsst.ts import salobj

    async with running_csc(initial_state=salobj.State.ENABLED) as csc:
        assert csc.summary_state is salobj.State.ENABLED
        yield csc


@contextlib.asynccontextmanager
async def running_csc_process(
    log: Path, *arguments: str, program: str = CSC_PROGRAM
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a CSC in a process of its own; it is ended as an operator would, and killed if that does not help."""
    with log.open("ab") as stream:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", program, *arguments),
            stdout=stream,
            stderr=stream,
            env=dict(os.environ),  # what modify_environ has set is not inherited
            start_new_session=True,
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            try:
                await asyncio.wait_for(process.wait(), STOP_LIMIT_S)
            except TimeoutError:
                process.kill()
                await process.wait()
                raise AssertionError(f"The CSC did not end within {STOP_LIMIT_S:g} s of SIGINT; see {log}") from None


@pytest_asyncio.fixture(loop_scope="session")
async def csc_process(
    observatory: Observatory, operator: Operator, tmp_path: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """An ENABLED CSC in a process of its own."""
    from lsst.ts import salobj

    async with running_csc_process(tmp_path / "csc.log", "--state", "enabled") as process:
        await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
        yield process
