# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated OCPS: submits jobs to a UWS server and follows them, as the real CSC does in its mode 0.

Its quirks are the real one's. The job id is told in the in-progress acknowledgement only. The event job_result carries
the server's reply to the submission, so its phase is never the final one. A job that fails ends in CMD_COMPLETE all the
same. A status request that fails, as that of an aborted job does, ends the command in CMD_FAILED without job_result.

Known limitation: the real one blocks its event loop, heartbeat included, in each request; this one does not.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import yaml
from lsst.ts import salobj

from .. import __version__
from .faults import Faults
from .states import bring_to_standby
from .worker import pipeline_name

__all__ = ["CONFIG_SCHEMA", "OCPS_INDEX", "OcpsCsc"]

OCPS_INDEX = 2
INSTANCE = "LSSTComCam"

PROGRESS_TIMEOUT_S = 600  # what the real one says, whatever the job
REQUEST_TIMEOUT_S = 60.0
ABORTED_EXIT_CODE = 255
FINAL_PHASES = frozenset({"completed", "error", "aborted", "unknown"})

WORKER_URL = "https://github.com/lsst-dm/uws_scripts"
WORKER_REF = "main"
WORKER_COMMAND = "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh"

CONFIG_SCHEMA: dict[str, Any] = yaml.safe_load("""
$schema: http://json-schema.org/draft-07/schema#
$id: https://github.com/lsst-dm/dm_OCPS/blob/main/python/lsst/dm/OCPS/config_schema.py
title: OCPS v4
description: Configuration of the simulated OCPS.
type: object
properties:
  instances:
    description: One entry for each SAL index.
    type: array
    minItems: 1
    items:
      type: object
      properties:
        sal_index: {type: integer, description: SAL index.}
        instance: {type: string, description: Name of the instrument.}
        url: {type: string, description: Base URL of the UWS server.}
        poll_interval: {type: number, exclusiveMinimum: 0, description: Between two looks at a job (second).}
        butler: {type: string, description: Repository on which the jobs run.}
        output_glob: {type: string, description: Dataset types to retrieve where a command names none.}
        input_collection: {type: string, description: Collections that come before those of a command.}
      required: [sal_index, instance, url, poll_interval, butler, output_glob]
      additionalProperties: false
required: [instances]
additionalProperties: false
""")


class OcpsCsc(salobj.ConfigurableCsc):  # type: ignore[misc]
    """The OCS-controlled pipeline system.

    It asks the fault hook at the end of each job that it followed, as place ``ocps`` with ``pipeline``. Effect:
    ``standby`` (it goes to STANDBY, and stays there until somebody enables it).

    Parameters
    ----------
    config_dir
        Where its configuration files are.
    initial_state
        Summary state to start in.
    faults
        The faults in force.
    """

    version = __version__
    valid_simulation_modes = (0,)

    def __init__(
        self, config_dir: Path, initial_state: salobj.State = salobj.State.STANDBY, faults: Faults | None = None
    ) -> None:
        self._config = SimpleNamespace()
        self._faults = faults or Faults()
        self._leaving: asyncio.Task[None] | None = None  # on its way to STANDBY
        self._session: aiohttp.ClientSession | None = None
        super().__init__(
            "OCPS", index=OCPS_INDEX, config_schema=CONFIG_SCHEMA, config_dir=config_dir, initial_state=initial_state
        )
        self.cmd_execute.allow_multiple_callbacks = True

    @staticmethod
    def get_config_pkg() -> str:
        """Return the name of the package with the real configuration."""
        return "dm_config_ocps"

    async def start(self) -> None:
        """Start, with one HTTP session for the CSC's life."""
        # On a connection that it has used before, aiohttp repeats a PUT that was dropped: two jobs for one command.
        connector = aiohttp.TCPConnector(force_close=True)
        timeout = aiohttp.ClientTimeout(total=REQUEST_TIMEOUT_S)
        self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        await super().start()

    async def close_tasks(self) -> None:
        """End the HTTP session; what still follows a job fails."""
        await super().close_tasks()
        if self._leaving is not None:
            self._leaving.cancel()
            await asyncio.gather(self._leaving, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def configure(self, config: SimpleNamespace) -> None:
        """Choose the entry of this SAL index."""
        entries = [entry for entry in config.instances if entry["sal_index"] == self.salinfo.index]
        if len(entries) != 1 or entries[0]["instance"] != INSTANCE:
            raise salobj.ExpectedError(
                f"The configuration must have one entry with sal_index {self.salinfo.index} and instance {INSTANCE}."
            )
        self._config = SimpleNamespace(**{"input_collection": "", **entries[0]})

    async def do_execute(self, data: Any) -> None:
        """Run a pipeline as a job, and follow it to its end."""
        self.assert_enabled()
        await self._wait_for_prerequisites(data.prereq_jobs)
        run_id = str(data.private_seqNum)
        submission = await self._request("PUT", "/job", self._job(data, run_id))
        job_id = _read_job(submission)["jobId"]
        await self.cmd_execute.ack_in_progress(data, timeout=PROGRESS_TIMEOUT_S, result=json.dumps({"job_id": job_id}))
        phase = await self._follow(job_id, run_id)
        await self.evt_job_result.set_write(
            job_id=job_id, exit_code=0 if phase == "completed" else 1, result=submission
        )
        fault = self._faults.strike("ocps", pipeline=pipeline_name(data.pipeline))
        if fault is not None and fault.effect == "standby":
            # A task of its own, so that this command is acknowledged whatever becomes of the CSC.
            self._leaving = asyncio.create_task(bring_to_standby(self), name="OCPS goes to STANDBY")

    async def do_abort_job(self, data: Any) -> None:
        """Abort a job: the server deletes it."""
        self.assert_enabled()
        deletion = await self._request("DELETE", f"/job/{data.job_id}")
        await self.evt_job_result.set_write(job_id=data.job_id, exit_code=ABORTED_EXIT_CODE, result=deletion)

    def _job(self, data: Any, run_id: str) -> dict[str, Any]:
        """Return what the server is asked for. Its worker does not know IMAGE_TAG, so ``version`` has no effect."""
        inputs = f"-i {self._config.input_collection}" if self._config.input_collection else ""
        environment = {
            "IMAGE_TAG": data.version,
            "PIPELINE_URL": data.pipeline,
            "BUTLER_REPO": self._config.butler,
            "RUN_OPTIONS": f"{inputs} {data.config}",
            "OUTPUT_GLOB": data.output_dataset_types or self._config.output_glob,
            "DATA_QUERY": data.data_query,
        }
        return {
            "run_id": run_id,
            "command": WORKER_COMMAND,
            "url": WORKER_URL,
            "commit_ref": WORKER_REF,
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
        }

    async def _wait_for_prerequisites(self, prereq_jobs: str) -> None:
        """Wait until each job has ended, well or not; one that the server does not know is passed over."""
        for job_id in filter(None, (name.strip() for name in prereq_jobs.split(","))):
            while True:
                try:
                    job = _read_job(await self._request("GET", f"/job/{job_id}"))
                except _UnknownJobError:
                    break
                if job["phase"] in FINAL_PHASES:
                    break
                await asyncio.sleep(self._config.poll_interval)

    async def _follow(self, job_id: str, run_id: str) -> str:
        """Look at a job until it has ended; return its last phase."""
        while True:
            job = _read_job(await self._request("GET", f"/job/{job_id}"))
            if job["jobId"] != job_id or job["runId"] != run_id:
                raise salobj.ExpectedError(
                    f"Asked for job {job_id} of run {run_id}, the server told of {job['jobId']} of run {job['runId']}."
                )
            if job["phase"] in FINAL_PHASES:
                return str(job["phase"])
            await asyncio.sleep(self._config.poll_interval)

    async def _request(self, method: str, path: str, body: object = None) -> str:
        """Ask the server; return the text of its reply.

        Raises
        ------
        salobj.ExpectedError
            If it can't be reached in time, or refuses.
        """
        assert self._session is not None, "no command comes before start"
        url = self._config.url + path
        try:
            async with self._session.request(method, url, json=body) as reply:
                text = await reply.text()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise salobj.ExpectedError(f"{method} {url} failed: {error!r}") from error
        if reply.status == 404:
            raise _UnknownJobError(f"404 Client Error: {reply.reason} for url: {url}")
        if reply.status >= 400:
            raise salobj.ExpectedError(f"{reply.status} Error: {reply.reason} for url: {url}: {text}")
        return text


class _UnknownJobError(salobj.ExpectedError):  # type: ignore[misc]
    """The server does not know the job."""


def _read_job(text: str) -> dict[str, Any]:
    """Return a job object from its JSON text.

    Raises
    ------
    salobj.ExpectedError
        If it is not one.
    """
    try:
        job = json.loads(text)
        if {"jobId", "runId", "phase"} <= job.keys():
            return dict(job)
    except (ValueError, AttributeError):
        pass
    raise salobj.ExpectedError(f"The server's reply is not a job: {text[:200]!r}")
