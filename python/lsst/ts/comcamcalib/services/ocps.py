# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pipeline jobs handed to the OCPS."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
from collections.abc import Callable
from typing import Protocol

from lsst.ts import salobj

from ..config import Limits
from ..errors import NotEnabledError, ServiceError, UnreachableError
from ..plan.request import JobRequest
from .permission import Permission
from .server_text import explain_server_text

__all__ = ["Ocps", "SalOcps"]

FORBIDDEN = frozenset('"\\;`$')
"""Characters that the UWS's job template or the worker's shell would interpret; a pipeline's variable, such as
``${CP_PIPE_DIR}``, is allowed."""

NOT_ALLOWED = re.compile(
    r"(Failed: )?(\w+ )?not allowed in (state|fault state)\b(?P<state>.*)", re.IGNORECASE | re.DOTALL
)
"""How a CSC that is not ENABLED refuses a command before it does anything (salobj's ``assert_enabled``)."""


class Ocps(Protocol):
    """What the job service needs of the OCPS."""

    async def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id, without waiting for its end.

        Raises
        ------
        ServiceError
            If the request can't be sent: there is no job.
        NotEnabledError
            If the OCPS refused it because it is not ENABLED: there is no job.
        UnreachableError
            After any other answer, and after none; then it is not known whether the job exists. The UWS, a proxy in
            front of it, or the OCPS itself may report an error although the job was made.
        """

    async def abort_job(self, job_id: str) -> None:
        """Abort a job.

        Raises
        ------
        NotEnabledError
            If the OCPS refused it because it is not ENABLED.
        ServiceError
            If the OCPS said that it failed, or did not answer. The job may have been deleted all the same.
        """

    def on_result(self, callback: Callable[[str, int], None]) -> Callable[[], None]:
        """Call back with (job id, exit code) for every job that ended; the returned function ends it."""


class SalOcps:
    """The OCPS CSC of the instrument.

    Parameters
    ----------
    domain
        Domain of the CSC.
    index
        SAL index of the OCPS that is configured for the instrument.
    limits
        Limits of time: ``job_submission``, ``job_abort``.
    permission
        Whether this process may do anything outside.
    """

    def __init__(self, domain: salobj.Domain, index: int, limits: Limits, permission: Permission) -> None:
        self._domain = domain
        self._index = index
        self._limits = limits
        self._permission = permission
        self._log = logging.getLogger(__name__)
        self._subscribers: list[Callable[[str, int], None]] = []
        self._remote: salobj.Remote | None = None

    async def start(self) -> None:
        """Start the remote."""
        self._remote = salobj.Remote(self._domain, "OCPS", self._index, include=["job_result"])
        self._remote.evt_job_result.callback = self._on_job_result
        await self._remote.start_task

    async def close(self) -> None:
        """Close the remote."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()

    def on_result(self, callback: Callable[[str, int], None]) -> Callable[[], None]:
        """Call back with (job id, exit code) for every job that ended; see `Ocps.on_result`."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    async def submit(self, request: JobRequest) -> str:
        """Submit a job and return its id, without waiting for its end; see `Ocps.submit`.

        Notes
        -----
        The id comes only in the text of the command's first, in-progress acknowledgement. Its last one is not waited
        for: it says "Done" for a failed job too.
        """
        _check_text(request)
        command = self._ready_remote().cmd_execute
        # A message of its own: the command's shared one would be overwritten by the next submission.
        data = command.DataType(
            pipeline=request.pipeline,
            version="",
            config=request.config,
            data_query=request.data_query,
            prereq_jobs="",
            output_dataset_types=request.output_dataset_types,
        )
        limit_s = self._limits.job_submission
        what = f"execute pipeline {request.pipeline}"
        await self._permission()
        try:
            acknowledgement = await command.start(data=data, timeout=limit_s, wait_done=False)
        except salobj.AckTimeoutError as error:
            raise UnreachableError(
                f"{self._name} did not answer the command to {what} within {limit_s:g} s."
            ) from error
        except salobj.AckError as error:
            raise self._failure(what, error) from error
        except Exception as error:  # an error of the bus: the command may or may not have been sent
            raise UnreachableError(f"The command to {what} could not be sent to {self._name}: {error!r}.") from error
        words = explain_server_text(acknowledgement.result)
        if acknowledgement.ack != salobj.SalRetCode.CMD_INPROGRESS:
            raise UnreachableError(f"{self._name} ended the command to {what} at once, without a job id: {words}.")
        job_id = _job_id(acknowledgement.result)
        if not job_id:
            raise UnreachableError(f"{self._name} began to {what} but gave no job id ({words!r}).")
        return job_id

    async def abort_job(self, job_id: str) -> None:
        """Abort a job; see `Ocps.abort_job`."""
        command = self._ready_remote().cmd_abort_job
        limit_s = self._limits.job_abort
        what = f"abort job {job_id}"
        await self._permission()
        try:
            await command.start(data=command.DataType(job_id=job_id), timeout=limit_s)
        except salobj.AckTimeoutError as error:
            raise UnreachableError(f"{self._name} did not {what} within {limit_s:g} s.") from error
        except salobj.AckError as error:
            raise self._failure(what, error) from error
        except Exception as error:
            raise UnreachableError(f"The command to {what} could not be sent to {self._name}: {error!r}.") from error

    def _failure(self, what: str, error: salobj.AckError) -> ServiceError:
        """Return the exception for a command that failed.

        Only a refusal because of the OCPS's state proves that the command did nothing.
        """
        result = error.ackcmd.result
        if refusal := NOT_ALLOWED.fullmatch(result):
            if "fault" in refusal.group().lower():
                remedy = "It is in FAULT: look at its errorCode, send it to STANDBY, enable it"
            else:
                remedy = "It is not ENABLED: enable it"
            return NotEnabledError(f"{self._name} refused to {what}: {explain_server_text(result)}. {remedy}.")
        words = explain_server_text(result) or str(error)
        return UnreachableError(f"{self._name} could not {what}: {words.removesuffix('.')}.")

    @property
    def _name(self) -> str:
        return f"OCPS:{self._index}"

    def _ready_remote(self) -> salobj.Remote:
        """Return the remote, if it is open."""
        if self._remote is None:
            raise ServiceError(f"{self._name} is not connected.")
        return self._remote

    async def _on_job_result(self, data: salobj.BaseMsgType) -> None:
        """Notify all subscribers, even if one of them fails."""
        for callback in tuple(self._subscribers):
            try:
                callback(data.job_id, data.exit_code)
            except Exception:
                self._log.exception("A subscriber to job results failed on job %s", data.job_id)


def _job_id(result: str) -> str:
    """Return the job id from the text of an acknowledgement, "" if there is none."""
    try:
        job_id = json.loads(result)["job_id"]
    except (ValueError, LookupError, TypeError):
        return ""
    return job_id if isinstance(job_id, str) else ""


def _check_text(request: JobRequest) -> None:
    """Refuse text that the UWS's template or the worker's command line would change.

    Raises
    ------
    ServiceError
        If there is any.
    """
    pipeline = re.sub(r"\$\{\w+\}", "", request.pipeline)
    fields = dataclasses.asdict(dataclasses.replace(request, pipeline=pipeline))
    for name, text in fields.items():
        bad = sorted({character for character in text if character in FORBIDDEN or not character.isprintable()})
        if bad or text.count("'") % 2:
            found = " ".join(map(repr, bad)) or "an odd number of '"
            raise ServiceError(f"The job's {name} can't be sent to the OCPS: it has {found} in it ({text[:200]!r}).")
