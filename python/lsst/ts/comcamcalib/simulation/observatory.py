# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated observatory: broker, schema registry, UWS, repository and CSCs, started and ended together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from lsst.ts import salobj, utils

from .archive import Archive
from .broker import EmbeddedBroker
from .camera import CameraCsc
from .configuration import (
    SITE,
    csc_settings,
    write_consumer_configuration,
    write_csc_configuration,
    write_environment,
    write_ocps_configuration,
)
from .control import ControlServer
from .faults import Faults
from .focal_plane import FocalPlane
from .header_service import HeaderServiceCsc
from .layout import PIPELINE_ENVIRONMENT
from .ocps import OcpsCsc
from .oods import OodsCsc
from .pipetask_worker import PipetaskWorker
from .registry import SchemaRegistry
from .scenarios import scenario_faults
from .states import bring_from_standby, bring_to_standby
from .topics import topic_names
from .uws_server import UwsServer
from .worker import Worker
from .world import World, day_obs_of

__all__ = ["Observatory", "run_observatory"]

SUBNAME = "sim"
START_LIMIT_S = 60.0  # for the CSCs: their clients of broker and registry take a second or two
IDLE_LIMIT_S = 60.0  # for what the camera still does at a reset


class Observatory:
    """An observatory on this machine, for as long as it is entered as an async context manager.

    The environment variables of this process are set as clients need them, and restored at the end.

    Parameters
    ----------
    repo
        Root directory of the Butler repository: used if there is one already, else made.
    work_directory
        Where raw files, headers, jobs and configurations go. None: beside the repository.
    worker
        Runs the UWS's jobs. None: the real command lines, in a process of its own.
    template
        A repository of which ``repo`` is made as a copy, which is faster; not written to.
    focal_plane
        The focal plane, without faults.
    speed
        How many times faster than the clock the instrument works.
    scenarios
        Names of the scenarios in force from the start.
    initial_state
        Summary state of the four CSCs.
    env_file
        Where clients in other processes find their environment. None: ``environment.sh`` in the work directory.

    Attributes
    ----------
    environment : dict [str, str]
        What clients need in their environment; complete when entered.
    world, camera, header_service, oods, ocps, uws
        The parts, for tests that look inside; set when entered.
    """

    world: World
    camera: CameraCsc
    header_service: HeaderServiceCsc
    oods: OodsCsc
    ocps: OcpsCsc
    uws: UwsServer

    def __init__(
        self,
        repo: Path,
        *,
        work_directory: Path | None = None,
        worker: Worker | None = None,
        template: Path | None = None,
        focal_plane: FocalPlane | None = None,
        speed: float = 1.0,
        scenarios: Iterable[str] = (),
        initial_state: salobj.State = salobj.State.ENABLED,
        env_file: Path | None = None,
    ) -> None:
        self.log = logging.getLogger(__name__)
        self.repo = repo.absolute()
        self.work_directory = (work_directory or repo.parent).absolute()
        self.env_file = (env_file or self.work_directory / "environment.sh").absolute()
        self.environment: dict[str, str] = {}
        self._worker = worker
        self._template = template
        self._focal_plane = focal_plane or FocalPlane()
        self._speed = speed
        self._initial_state = initial_state
        self._scenarios = list(scenarios)
        self._faults = Faults(scenario_faults(self._scenarios))
        self._broker = EmbeddedBroker()
        self._registry = SchemaRegistry()
        self._control = ControlServer(lambda: self.scenarios, self.set_scenarios)
        self._archive = Archive(self.repo, self.work_directory / "raw")
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            # What had been started before the failure is ended; also when the failure is a cancellation.
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # Scenarios

    @property
    def scenarios(self) -> list[str]:
        """Names of the scenarios in force."""
        return list(self._scenarios)

    def set_scenarios(self, names: Iterable[str]) -> None:
        """Put scenarios in force, in the place of those that were.

        Raises
        ------
        ValueError
            If there is no scenario of a name; nothing has changed then.
        """
        wanted = list(names)
        self._faults.set(scenario_faults(wanted))
        self._scenarios = wanted
        self._broker.apply(self._faults.at("kafka"))
        self.log.info("Scenarios in force: %s", ", ".join(wanted) or "none")

    async def reset(self) -> None:
        """Make the observatory as good as new: no scenario, no job, CSCs as at the start, a fresh repository.

        The repository is at the same place, so nobody may have it open meanwhile. The images' numbers go on.
        """
        self.set_scenarios([])
        await self._delete_jobs()
        async with asyncio.timeout(IDLE_LIMIT_S):
            await self.camera.idle.wait()
        for csc in self._cscs():
            await bring_to_standby(csc)
        await self.oods.drop_images()
        await self.world.in_worker(self._renew_repo)
        for csc in self._cscs():
            await bring_from_standby(csc, self._initial_state)

    def describe(self) -> str:
        """Say in a few lines what runs and how to join."""
        states = [f"{csc.salinfo.name_index} {csc.summary_state.name}" for csc in self._cscs()]
        return "\n".join(
            [
                f"The simulated observatory is ready. Its instrument works {self._speed:g} times faster than reality.",
                f"  components   {', '.join(states)}",
                f"  broker       {self.environment['LSST_KAFKA_BROKER_ADDR']}",
                f"  repository   {self.repo}",
                f"  UWS          {self.uws.url}",
                f"  scenarios    {', '.join(self.scenarios) or 'none'}",
                f"  to join      source {self.env_file}",
                "  to end       Ctrl-C",
            ]
        )

    # Start

    async def _start(self) -> None:
        stack = self._stack
        await asyncio.to_thread(self._make_folders)
        self.world = World(self._focal_plane, self._faults, self._speed)
        stack.push_async_callback(self.world.close)
        # Side by side, since each of them takes seconds. If one fails, the others come to their end first.
        parts = (self._start_archive(), self._start_bus(), self._start_uws())
        for outcome in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        ocps_config = await asyncio.to_thread(self._write_configuration)
        self.environment = self._make_environment()
        stack.enter_context(utils.modify_environ(**self.environment))
        await self._start_cscs(ocps_config)
        self._broker.apply(self._faults.at("kafka"))
        await asyncio.to_thread(write_environment, self.env_file, self.environment)
        stack.callback(self.env_file.unlink, missing_ok=True)

    def _make_folders(self) -> None:
        self.work_directory.mkdir(parents=True, exist_ok=True)
        self.env_file.parent.mkdir(parents=True, exist_ok=True)
        # That of an observatory that was killed would lead clients to nowhere.
        self.env_file.unlink(missing_ok=True)

    async def _start_bus(self) -> None:
        """Start what clients reach over the network, except the UWS."""
        await asyncio.to_thread(self._broker.start)
        self._stack.push_async_callback(asyncio.to_thread, self._broker.close)
        await asyncio.to_thread(self._broker.create_topics, topic_names(SUBNAME))
        for server in (self._registry, self._control):
            await server.start()
            self._stack.push_async_callback(server.close)

    async def _start_uws(self) -> None:
        worker = self._worker or PipetaskWorker()
        self.uws = UwsServer(worker, self.work_directory / "uws", self._faults)
        self._stack.push_async_callback(self.uws.close)
        await self.uws.start()

    async def _start_archive(self) -> None:
        self._stack.push_async_callback(self.world.in_worker, self._archive.close)
        await self.world.in_worker(self._open_repo)
        today = day_obs_of(utils.current_tai())
        self.world.set_last_image(today, await self.world.in_worker(self._archive.last_seq_num, today))

    def _open_repo(self) -> None:
        """Open the repository; make it if there is none. Runs in the world's worker, as it takes seconds."""
        if not (self.repo / "butler.yaml").exists():
            from .repo import copy_repo, create_repo

            if self._template is not None:
                copy_repo(self._template, self.repo)
            else:
                create_repo(self.repo, self._focal_plane)
        self._archive.open()

    def _renew_repo(self) -> None:
        self._archive.close()
        shutil.rmtree(self.repo)
        self._open_repo()

    def _write_configuration(self) -> Path:
        """Write the configuration files; return the directory of the OCPS's."""
        write_consumer_configuration(self.work_directory / "consumer.yaml")
        settings = csc_settings(
            uws_url=self.uws.url, repo=self.repo, work_directory=self.work_directory, speed=self._speed
        )
        write_csc_configuration(self.work_directory / "config" / "ocs", settings)
        return write_ocps_configuration(self.work_directory / "config" / "ocps", self.uws.url, self.repo)

    def _make_environment(self) -> dict[str, str]:
        return {
            "LSST_KAFKA_BROKER_ADDR": self._broker.address,
            "LSST_SCHEMA_REGISTRY_URL": self._registry.url,
            "LSST_TOPIC_SUBNAME": SUBNAME,
            "LSST_SITE": SITE,
            "LSST_KAFKA_CONSUMER_CONFIGURATION": str(self.work_directory / "consumer.yaml"),
            "TS_CONFIG_OCS_DIR": str(self.work_directory / "config" / "ocs"),
            "COMCAMCALIB_UWS_URL": self.uws.url,
            "COMCAMCALIB_REPO": str(self.repo),
            "COMCAMCALIB_SCENARIOS_URL": self._control.url,
            **PIPELINE_ENVIRONMENT,
        }

    async def _start_cscs(self, ocps_config: Path) -> None:
        state = self._initial_state
        headers = self.work_directory / "headers"
        async with contextlib.AsyncExitStack() as unstarted:
            self.camera = CameraCsc(self.world, state)
            unstarted.push_async_callback(self.camera.close)
            self.header_service = HeaderServiceCsc(self.world, headers, state)
            unstarted.push_async_callback(self.header_service.close)
            self.oods = OodsCsc(self.world, self._archive, state)
            unstarted.push_async_callback(self.oods.close)
            self.ocps = OcpsCsc(ocps_config, state, self._faults)
            unstarted.push_async_callback(self.ocps.close)
            async with asyncio.timeout(START_LIMIT_S):
                await asyncio.gather(*(csc.start_task for csc in self._cscs()))
            unstarted.pop_all()
        # Each takes a second to close, so they do it side by side.
        self._stack.push_async_callback(self._close_cscs)
        late = [csc.salinfo.name for csc in self._cscs() if csc.summary_state != state]
        if late:
            raise RuntimeError(f"{', '.join(late)} did not come to {state!r}; the log says why.")

    async def _close_cscs(self) -> None:
        await asyncio.gather(*(csc.close() for csc in self._cscs()))

    def _cscs(self) -> Sequence[salobj.BaseCsc]:
        return (self.camera, self.header_service, self.oods, self.ocps)

    async def _delete_jobs(self) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.uws.url}/job") as reply:
                jobs: list[Mapping[str, str]] = await reply.json()
            for job in jobs:
                async with session.delete(f"{self.uws.url}/job/{job['jobId']}"):
                    pass


def _replay_worker() -> Worker:
    from .replay import ReplayWorker  # loads the Butler

    return ReplayWorker()


async def run_observatory(
    *,
    repo: Path,
    speed: float = 1.0,
    scenarios: Iterable[str] = (),
    replay: bool = False,
    env_file: Path | None = None,
    amplifier_shape: tuple[int, int] | None = None,
) -> None:
    """Run an observatory until SIGINT, SIGTERM or cancellation, and tell on stdout how to join it.

    Parameters
    ----------
    repo, speed, scenarios, env_file
        As `Observatory` has them.
    replay
        Put recorded products into the repository instead of running the pipelines.
    amplifier_shape
        Rows and columns of an amplifier. None: the focal plane's default.

    Raises
    ------
    ValueError
        If a scenario or the speed is impossible.
    """
    focal_plane = FocalPlane() if amplifier_shape is None else FocalPlane(amplifier_shape=amplifier_shape)
    observatory = Observatory(
        repo,
        worker=_replay_worker() if replay else None,
        focal_plane=focal_plane,
        speed=speed,
        scenarios=scenarios,
        env_file=env_file,
    )
    print(f"Starting the simulated observatory on {observatory.repo} …", flush=True)
    async with observatory:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        # In the place of those that salobj has set: each of them would close one CSC only.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop.set)
        print(observatory.describe(), flush=True)
        await stop.wait()
        print("Ending the simulated observatory …", flush=True)
    print("The simulated observatory has ended.", flush=True)
