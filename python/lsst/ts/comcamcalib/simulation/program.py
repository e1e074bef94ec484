# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program behind ``comcamcalib observatory``."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Iterable
from pathlib import Path

from lsst.ts import salobj

from .focal_plane import FocalPlane
from .observatory import Observatory
from .postgresql import PostgresqlServer
from .worker import Worker

__all__ = ["run_observatory"]


async def run_observatory(
    *,
    repo: Path,
    speed: float = 1.0,
    scenarios: Iterable[str] = (),
    registry: str = "",
    replay: bool = False,
    env_file: Path | None = None,
    amplifier_shape: tuple[int, int] | None = None,
    without: Iterable[str] = (),
    enable_ocps: bool = True,
    certified: bool = False,
) -> None:
    """Run an observatory until SIGINT, SIGTERM or cancellation, and print on stdout how to join it.

    Parameters
    ----------
    repo, speed, scenarios, env_file, without, certified
        As `Observatory` has them.
    registry
        What the repository has its registry in, "sqlite" or "postgresql"; "": what it has already, SQLite if it is new.
        A PostgreSQL server runs beside the repository for as long as the observatory.
    replay
        Put recorded products into the repository instead of running the pipelines.
    amplifier_shape
        Rows and columns of an amplifier. None: the focal plane's default.
    enable_ocps
        Do for the operator what the procedure asks of him before a run. The OCPS stays in STANDBY otherwise.

    Raises
    ------
    ValueError
        If a scenario, a part or the speed is impossible, or the repository has another registry.
    RuntimeError
        If PostgreSQL is not installed or does not start, or a folder can't be made.
    """
    # While it starts, SIGTERM is a cancellation, as Ctrl-C is: without this it would leave half a start behind.
    loop = asyncio.get_running_loop()
    starting = asyncio.current_task()
    assert starting is not None, "Bug: not in a task"
    loop.add_signal_handler(signal.SIGTERM, starting.cancel)
    server = await asyncio.to_thread(_server, repo, registry)
    observatory = Observatory(
        repo,
        postgresql=server,
        worker=_replay_worker() if replay else None,
        focal_plane=FocalPlane() if amplifier_shape is None else FocalPlane(amplifier_shape=amplifier_shape),
        speed=speed,
        scenarios=scenarios,
        env_file=env_file,
        certified=certified,
        without=without,
        ocps_state=salobj.State.ENABLED if enable_ocps else salobj.State.STANDBY,
    )
    _make(repo, "--repo")
    if env_file is not None:
        _make(env_file.parent, "--env-file")
    print(f"Starting the simulated observatory on {observatory.repo} …", flush=True)
    async with contextlib.AsyncExitStack() as stack:
        if server is not None:
            await stack.enter_async_context(server)
        await stack.enter_async_context(observatory)
        stop = asyncio.Event()
        # Replaces the handlers that salobj has set, each of which would close one CSC only.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(observatory.describe(), flush=True)
        await stop.wait()
        print("Ending the simulated observatory …", flush=True)
    print("The simulated observatory has ended.", flush=True)


def _make(folder: Path, option: str) -> None:
    """Make a folder that an option names, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RuntimeError(
            f"The folder {folder} can't be made ({error.strerror}); name another one with {option}."
        ) from error


def _server(repo: Path, registry: str) -> PostgresqlServer | None:
    """Return the server that a repository needs, None for SQLite."""
    from .repo import registry_of  # loads the Butler

    has = registry_of(repo) if (repo / "butler.yaml").exists() else ""
    if has and registry not in ("", has):
        raise ValueError(
            f"The repository {repo} has its registry in {has}, so it can't be used with --registry {registry}: leave "
            "the option out, or name a new repository with --repo."
        )
    return PostgresqlServer(repo.absolute().parent / "postgresql") if (has or registry) == "postgresql" else None


def _replay_worker() -> Worker:
    from .replay import ReplayWorker  # loads the Butler

    return ReplayWorker()
