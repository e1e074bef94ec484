# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated OCPS: submits jobs to a UWS server and follows them, as the real CSC (4.5.1) does in its mode 0.

Its quirks are the real one's:

- Only the in-progress acknowledgement has the job id.
- The event job_result carries the server's reply to the submission, so its phase is never the final one.
- A job that fails ends in CMD_COMPLETE all the same.
- Whatever goes wrong with a request ends the command in CMD_FAILED, with the text of the exception and without
  job_result: `500 Server Error: Internal Server Error for url: …` (never what the server said), `Expecting value:
  line 1 column 1 (char 0)` for a reply that is not JSON, `'jobId'` for JSON that is not a job. The job may exist.
- A redirection with status 302 makes a GET of a PUT or DELETE, so nothing is submitted or deleted.
- In each request the whole CSC stands still, heartbeat included; there is no time limit (see `blocking_http`).
- After its start it is in STANDBY.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Coroutine
from http import HTTPStatus
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import requests
import yaml
from lsst.ts import salobj

from .. import __version__
from .blocking_http import BlockingSession
from .faults import Fault, Faults
from .silence import Silence
from .states import bring_to_standby
from .worker import pipeline_name

__all__ = ["CONFIG_SCHEMA", "OCPS_INDEX", "OcpsCsc"]

OCPS_INDEX = 2
INSTANCE = "LSSTComCam"

PROGRESS_TIMEOUT_S = 600  # the real one says so for every job
ABORTED_EXIT_CODE = 255
NO_CONNECTION_CODE = 1  # the error code of the real one
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

    It asks the fault hook three times for each job, as place ``ocps`` with ``pipeline`` and ``moment``:

    ============== =================================================================================================
    submission     ``inputs_first``: the collections ``text`` come before the client's own, as from its configuration
    acceptance     ``fault``, ``restart``, ``standby`` (see below); the job runs on
    end            the same, and ``no_result``: job_result is lost; ``result_twice``: it comes twice;
                   ``strange_result``: one of somebody else's job comes before it
    ============== =================================================================================================

    Three effects make it leave ENABLED until somebody enables it: ``fault`` (to FAULT; it follows its jobs all the
    same), ``standby`` (to STANDBY, likewise), ``restart`` (it forgets all jobs that it follows and never acknowledges
    them, sends no heartbeat and answers no command for ``value`` seconds of the clock, and is in STANDBY then).

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
        self._moves: set[asyncio.Task[None]] = set()  # on its way to another state
        self._life = 1  # goes up with each restart, which nothing of the life before survives
        self._http = BlockingSession()
        super().__init__(
            "OCPS", index=OCPS_INDEX, config_schema=CONFIG_SCHEMA, config_dir=config_dir, initial_state=initial_state
        )
        self.cmd_execute.allow_multiple_callbacks = True
        self._silence = Silence(self)
        self._write_heartbeat = self.evt_heartbeat.write
        self.evt_heartbeat.write = self._write_heartbeat_after_standstill

    @staticmethod
    def get_config_pkg() -> str:
        """Return the name of the package with the real configuration."""
        return "dm_config_ocps"

    async def close_tasks(self) -> None:
        """End what follows jobs, and a way to STANDBY that is not over."""
        await super().close_tasks()
        for task in self._moves:
            task.cancel()
        await asyncio.gather(*self._moves, return_exceptions=True)
        self._http.close()

    # The commands of the states wait while a request is on its way.

    async def do_start(self, data: Any) -> None:
        """Configure, and go to DISABLED."""
        await self._end_of_standstill()
        await super().do_start(data)

    async def do_enable(self, data: Any) -> None:
        """Go to ENABLED."""
        await self._end_of_standstill()
        await super().do_enable(data)

    async def do_disable(self, data: Any) -> None:
        """Go to DISABLED; jobs are followed all the same."""
        await self._end_of_standstill()
        await super().do_disable(data)

    async def do_standby(self, data: Any) -> None:
        """Go to STANDBY; jobs are followed all the same."""
        await self._end_of_standstill()
        await super().do_standby(data)

    async def _end_of_standstill(self) -> None:
        await self._http.end_of_standstill()
        await self._silence.over()

    async def _be_there(self) -> None:
        """Wait for the request on its way; a command that comes while this CSC is restarted is never answered."""
        await self._http.end_of_standstill()
        if self._silence.is_on:
            await asyncio.Event().wait()  # until this CSC is closed

    async def _write_heartbeat_after_standstill(self) -> Any:
        await self._http.end_of_standstill()
        return await self._write_heartbeat()

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
        await self._be_there()
        self.assert_enabled("execute")
        if data.prereq_jobs:
            await self._wait_for_prerequisites(data.prereq_jobs.split(","))
        pipeline, life, run_id = pipeline_name(data.pipeline), self._life, str(data.private_seqNum)
        fault = self._faults.strike("ocps", pipeline=pipeline, moment="submission")
        submission = await self._request("PUT", "/job", self._job(data, run_id, fault.text if fault else ""))
        job_id = submission.json()["jobId"]
        await self.cmd_execute.ack_in_progress(data, timeout=PROGRESS_TIMEOUT_S, result=json.dumps({"job_id": job_id}))
        self._change_state(self._faults.strike("ocps", pipeline=pipeline, moment="acceptance"))
        phase = await self._follow(job_id, run_id, life)
        fault = self._faults.strike("ocps", pipeline=pipeline, moment="end")
        await self._publish_result(fault, job_id, 0 if phase == "completed" else 1, submission.text)
        self._change_state(fault)

    def _change_state(self, fault: Fault | None) -> None:
        """Begin to leave ENABLED, if the fault says so."""
        match fault:
            case Fault(effect="fault"):
                self._move(self.fault(NO_CONNECTION_CODE, fault.text or "No connection to the UWS"), "FAULT")
            case Fault(effect="restart"):
                self._life += 1
                self._move(self._restart(fault), "STANDBY by a restart")
            case Fault(effect="standby"):
                self._move(bring_to_standby(self), "STANDBY")

    def _move(self, way: Coroutine[Any, Any, None], state: str) -> None:
        """Go to another state in a task of its own, as the command that is the occasion goes on."""
        task = asyncio.create_task(way, name=f"OCPS goes to {state}")
        self._moves.add(task)
        task.add_done_callback(self._moves.discard)

    async def _restart(self, fault: Fault) -> None:
        await self._silence.last(self._faults, fault)
        self._summary_state = salobj.State.STANDBY
        await self.evt_summaryState.set_write(summaryState=self.summary_state, force_output=True)

    async def _publish_result(self, fault: Fault | None, job_id: str, exit_code: int, text: str) -> None:
        effect = "" if fault is None else fault.effect
        if effect == "strange_result":
            strange = uuid.uuid4().hex
            await self.evt_job_result.set_write(job_id=strange, exit_code=1, result=text.replace(job_id, strange))
        for _ in range({"no_result": 0, "result_twice": 2}.get(effect, 1)):
            await self.evt_job_result.set_write(job_id=job_id, exit_code=exit_code, result=text, force_output=True)

    async def do_abort_job(self, data: Any) -> None:
        """Abort a job: the server deletes it."""
        await self._be_there()
        self.assert_enabled("abort_job")
        deletion = await self._request("DELETE", f"/job/{data.job_id}")
        await self.evt_job_result.set_write(job_id=data.job_id, exit_code=ABORTED_EXIT_CODE, result=deletion.text)

    def _job(self, data: Any, run_id: str, more_inputs: str) -> dict[str, Any]:
        """Return what the server is asked for. Its worker does not know IMAGE_TAG, so ``version`` has no effect."""
        own_inputs = ",".join(name for name in (self._config.input_collection, more_inputs) if name)
        inputs = f"-i {own_inputs}" if own_inputs else ""
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

    async def _wait_for_prerequisites(self, job_ids: list[str]) -> None:
        """Wait until each job has ended, well or not; one that the server does not know is passed over."""
        for job_id in job_ids:
            while True:
                try:
                    job = await self._look_at(job_id)
                except requests.HTTPError as error:
                    if error.response.status_code == HTTPStatus.NOT_FOUND:
                        break
                    raise
                if job["phase"] in FINAL_PHASES:
                    break
                await asyncio.sleep(self._config.poll_interval)

    async def _follow(self, job_id: str, run_id: str, life: int) -> str:
        """Look at a job until it has ended; return its last phase. After a restart, nobody does that any more."""
        while True:
            job = await self._look_at(job_id)
            if life != self._life:
                await asyncio.Event().wait()  # until this CSC is closed
            if job["runId"] != run_id:
                raise salobj.ExpectedError(f"Run ID mismatch: got {job['runId']} instead of {run_id}")
            if job["phase"] in FINAL_PHASES:
                return str(job["phase"])
            await asyncio.sleep(self._config.poll_interval)

    async def _look_at(self, job_id: str) -> Any:
        """Return the job object of a job."""
        job = (await self._request("GET", f"/job/{job_id}")).json()
        if job["jobId"] != job_id:
            raise salobj.ExpectedError(f"Job ID mismatch: got {job['jobId']} instead of {job_id}")
        return job

    async def _request(self, method: str, path: str, body: object = None) -> requests.Response:
        """Ask the server; return its reply.

        Raises
        ------
        requests.RequestException
            If there is no reply, or its status is an error's. As in the real one, nobody catches it: its text ends in
            the command's acknowledgement.
        """
        reply = await self._http.request(method, self._config.url + path, body)
        reply.raise_for_status()
        return reply
