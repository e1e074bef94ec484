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
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, cast

import aiohttp
from lsst.ts import salobj, utils

from .archive import Archive
from .broker import EmbeddedBroker
from .camera import CameraCsc
from .components import Components
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
from .parts import COMPONENTS, PARTS, address_of_other, parts_without
from .pipetask_worker import PipetaskWorker
from .postgresql import PostgresqlServer
from .registry import SchemaRegistry
from .scenarios import scenario_faults
from .topics import topic_names
from .uws_server import UwsServer
from .worker import Worker
from .world import World, day_obs_of

__all__ = ["Observatory"]

SUBNAME = "sim"


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
    postgresql
        Where the repository, and the template, has its registry; entered before the observatory. None: SQLite.
    focal_plane
        The focal plane, without faults.
    speed
        How many times faster than the clock the instrument works.
    scenarios
        Names of the scenarios in force from the start.
    initial_state
        Summary state in which camera, header service and OODS start.
    ocps_state
        Summary state in which the OCPS starts. The real one starts in STANDBY, and the procedure's operator enables it.
    env_file
        Where clients in other processes find their environment. None: ``environment.sh`` in the work directory.
    certified
        Whether a repository that is made has certified products of an earlier day (see `earlier_day`), made by the
        worker; a template must have them itself.
    without
        Names of `parts.PARTS` that do not run, so that real ones can take their place. The addresses of other servers
        come from the environment. Images exist only with this observatory's camera.

    Attributes
    ----------
    environment : dict [str, str]
        What clients need in their environment; complete when entered.
    world, camera, ocps, uws
        The parts, for tests that look inside; there when entered, unless they are left out.

    Raises
    ------
    ValueError
        If there is no such scenario or part, or the address of another server is not known.
    """

    world: World
    uws: UwsServer

    def __init__(
        self,
        repo: Path,
        *,
        work_directory: Path | None = None,
        worker: Worker | None = None,
        template: Path | None = None,
        postgresql: PostgresqlServer | None = None,
        focal_plane: FocalPlane | None = None,
        speed: float = 1.0,
        scenarios: Iterable[str] = (),
        initial_state: salobj.State = salobj.State.ENABLED,
        ocps_state: salobj.State = salobj.State.STANDBY,
        env_file: Path | None = None,
        certified: bool = False,
        without: Iterable[str] = (),
    ) -> None:
        self.log = logging.getLogger(__name__)
        self.repo = repo.absolute()
        self.work_directory = (work_directory or repo.parent).absolute()
        self.env_file = (env_file or self.work_directory / "environment.sh").absolute()
        self.environment: dict[str, str] = {}
        self._worker = worker
        self._template = template
        self._postgresql = postgresql
        self._certified = certified
        self._focal_plane = focal_plane or FocalPlane()
        self._speed = speed
        self._parts = parts_without(without)
        self._states = {**dict.fromkeys(COMPONENTS, initial_state), "OCPS": ocps_state}
        self._components = Components({}, self._states)
        self._scenarios = list(scenarios)
        self._faults = Faults(scenario_faults(self._scenarios))
        self._broker = EmbeddedBroker()
        # Its faults strike once the observatory's own CSCs are there, which need it to start.
        self._registry_faults = Faults()
        self._registry = SchemaRegistry(faults=self._registry_faults)
        self._control = ControlServer(lambda: self.scenarios, self.set_scenarios)
        self._archive = Archive(self.repo, self.work_directory / "raw")
        self._uws_url = ""
        self._stack = contextlib.AsyncExitStack()

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            # End what was started before the failure. A cancellation is a failure too.
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    # Parts

    @property
    def camera(self) -> CameraCsc:
        """The camera."""
        return cast(CameraCsc, self._components.get("CCCamera"))

    @property
    def oods(self) -> OodsCsc:
        """The OODS."""
        return cast(OodsCsc, self._components.get("CCOODS"))

    @property
    def ocps(self) -> OcpsCsc:
        """The OCPS."""
        return cast(OcpsCsc, self._components.get("OCPS"))

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
        self._apply_to_bus()
        self.log.info("Scenarios in force: %s", ", ".join(wanted) or "none")

    async def reset(self) -> None:
        """Reset the observatory: no scenario, no job, CSCs as at the start, a fresh repository.

        The repository is at the same place, so nobody may have it open meanwhile. The images' numbers go on.
        """
        self.set_scenarios([])
        if "UWS" in self._parts:
            await self._delete_jobs()
            await self.uws.settle()
        await self._components.rest()
        await self.world.in_worker(self._renew_repo)
        await self._components.rise()

    def _apply_to_bus(self) -> None:
        self._registry_faults.set(self._faults.at("registry"))
        faults = self._faults.at("kafka")
        if "broker" in self._parts:
            self._broker.apply(faults)
        elif faults:
            self.log.warning("The broker is not this observatory's own, so it shows no faults.")

    def describe(self) -> str:
        """Say in a few lines what runs and how to join."""
        missing = [part for part in PARTS if part not in self._parts]
        return "\n".join(
            [
                f"The simulated observatory is ready. Its instrument works {self._speed:g} times faster than reality.",
                f"  components   {self._components.describe()}",
                *([f"  left out     {', '.join(missing)}"] if missing else []),
                f"  broker       {self.environment['LSST_KAFKA_BROKER_ADDR']}",
                f"  repository   {self.repo}{'' if self._postgresql is None else ', registry on PostgreSQL'}",
                f"  UWS          {self._uws_url}",
                f"  scenarios    {', '.join(self.scenarios) or 'none'}",
                f"  to join      source {self.env_file}",
                "  to end       Ctrl-C",
                *self._describe_ocps(),
            ]
        )

    def _describe_ocps(self) -> list[str]:
        """Say what the state of the OCPS means for an operator."""
        if "OCPS" not in self._parts:
            return []
        if self.ocps.summary_state == salobj.State.ENABLED:
            return ["OCPS:2 was enabled here. The real one is in STANDBY after its start: enable it before a run."]
        return [
            f"OCPS:2 is in {self.ocps.summary_state.name}, as the real one after its start: enable it before a run."
        ]

    # Start

    async def _start(self) -> None:
        stack = self._stack
        await asyncio.to_thread(self._make_folders)
        if self._certified and self._template is None and not (self.repo / "butler.yaml").exists():
            from .earlier_day import template_with_past

            worker = self._worker or PipetaskWorker()
            self._template = await template_with_past(self.work_directory / "earlier-day", self._focal_plane, worker)
        self.world = World(self._focal_plane, self._faults, self._speed)
        stack.push_async_callback(self.world.close)
        # Started side by side because each takes seconds. If one fails, wait for the others before closing them.
        parts = (self._start_archive(), self._start_bus(), self._start_uws())
        for outcome in await asyncio.gather(*parts, return_exceptions=True):
            if isinstance(outcome, BaseException):
                raise outcome
        ocps_config = await asyncio.to_thread(self._write_configuration)
        self.environment = self._make_environment()
        stack.enter_context(utils.modify_environ(**self.environment))
        await self._start_cscs(ocps_config)
        self._apply_to_bus()
        await asyncio.to_thread(write_environment, self.env_file, self.environment)
        stack.callback(self.env_file.unlink, missing_ok=True)

    def _make_folders(self) -> None:
        self.work_directory.mkdir(parents=True, exist_ok=True)
        self.env_file.parent.mkdir(parents=True, exist_ok=True)
        # An observatory that was killed leaves its file behind, with addresses where nobody listens.
        self.env_file.unlink(missing_ok=True)

    async def _start_bus(self) -> None:
        """Start what clients reach over the network, except the UWS."""
        if "broker" in self._parts:
            await asyncio.to_thread(self._broker.start)
            self._stack.push_async_callback(asyncio.to_thread, self._broker.close)
            await asyncio.to_thread(self._broker.create_topics, topic_names(SUBNAME))
        if "registry" in self._parts:
            await self._registry.start()
            self._stack.push_async_callback(self._registry.close)
        await self._control.start()
        self._stack.push_async_callback(self._control.close)

    async def _start_uws(self) -> None:
        if "UWS" not in self._parts:
            self._uws_url = address_of_other("UWS")
            return
        worker = self._worker or PipetaskWorker()
        self.uws = UwsServer(worker, self.work_directory / "uws", self._faults)
        self._stack.push_async_callback(self.uws.close)
        await self.uws.start()
        self._uws_url = self.uws.url

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
                copy_repo(self._template, self.repo, self._postgresql)
            else:
                create_repo(self.repo, self._focal_plane, self._postgresql)
        self._archive.open()

    def _renew_repo(self) -> None:
        from .repo import remove_repo

        self._archive.close()
        remove_repo(self.repo, self._postgresql)
        self._open_repo()

    def _write_configuration(self) -> Path:
        """Write the configuration files; return the directory of the OCPS's."""
        write_consumer_configuration(self.work_directory / "consumer.yaml")
        settings = csc_settings(
            uws_url=self._uws_url, repo=self.repo, work_directory=self.work_directory, speed=self._speed
        )
        write_csc_configuration(self.work_directory / "config" / "ocs", settings)
        return write_ocps_configuration(self.work_directory / "config" / "ocps", self._uws_url, self.repo)

    def _make_environment(self) -> dict[str, str]:
        own_broker, own_registry = "broker" in self._parts, "registry" in self._parts
        return {
            "LSST_KAFKA_BROKER_ADDR": self._broker.address if own_broker else address_of_other("broker"),
            "LSST_SCHEMA_REGISTRY_URL": self._registry.url if own_registry else address_of_other("registry"),
            # The topics of another broker have names of their own.
            "LSST_TOPIC_SUBNAME": SUBNAME if own_broker else os.environ.get("LSST_TOPIC_SUBNAME", SUBNAME),
            "LSST_SITE": SITE,
            "LSST_KAFKA_CONSUMER_CONFIGURATION": str(self.work_directory / "consumer.yaml"),
            "TS_CONFIG_OCS_DIR": str(self.work_directory / "config" / "ocs"),
            "DM_CONFIG_OCPS_DIR": str(self.work_directory / "config" / "ocps"),
            "COMCAMCALIB_UWS_URL": self._uws_url,
            "COMCAMCALIB_REPO": str(self.repo),
            "COMCAMCALIB_SCENARIOS_URL": self._control.url,
            **({} if self._postgresql is None else self._postgresql.environment),
            **PIPELINE_ENVIRONMENT,
        }

    async def _start_cscs(self, ocps_config: Path) -> None:
        headers = self.work_directory / "headers"
        makers = {
            "CCCamera": lambda state: CameraCsc(self.world, state),
            "CCHeaderService": lambda state: HeaderServiceCsc(self.world, headers, state),
            "CCOODS": lambda state: OodsCsc(self.world, self._archive, state),
            "OCPS": lambda state: OcpsCsc(ocps_config, state, self._faults),
        }
        own = {name: make for name, make in makers.items() if name in self._parts}
        self._components = Components(own, self._states)
        await self._components.start()
        self._stack.push_async_callback(self._components.close)

    async def _delete_jobs(self) -> None:
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{self.uws.url}/job") as reply:
                jobs: list[Mapping[str, str]] = await reply.json()
            for job in jobs:
                async with session.delete(f"{self.uws.url}/job/{job['jobId']}"):
                    pass
