# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Client of the UWS server that runs the OCPS's jobs: it only reads, the OCPS does the rest."""

from __future__ import annotations

import asyncio
import http
import json
import logging
import os.path
import re
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, Protocol, Self, TypeVar

import aiohttp
import tenacity

from ..config import Limits, UwsAccess
from ..credentials import without_credentials
from ..errors import ServiceError, UnknownJobError, UnreachableError
from .server_text import explain_server_text
from .uws_access import Entrance, certificate_problem
from .uws_answers import ForeignAnswerError, NotFoundError, OddStatusError, refusal_of
from .uws_job import NonsenseError, Phase, UwsJob, UwsResult, parse_job, parse_jobs

__all__ = ["NoLogError", "Phase", "Uws", "UwsClient", "UwsJob", "UwsResult", "is_job_id"]

T = TypeVar("T")

LOG_NAME = "ocps.log"
"""Base name of the file to which the worker script copies all that a job's commands print."""

MAX_JSON_BYTES = 64 * 2**20
"""Largest accepted reply (bytes): a job object takes about 4 kB, and the server keeps jobs only for hours."""

MAX_QUICK_BYTES = 256 * 1024
"""A larger reply (bytes) is not parsed in the event loop: a list of 300 jobs with 500 files each takes 0.7 s."""

LOG_TAIL_BYTES = 512 * 1024
"""How much of a log's end is kept (bytes): enough for pipetask's messages about a hundred failed quanta."""

ATTEMPTS = 4
"""Number of tries of a request."""

BACKOFF_MAX_S = 5.0
"""Longest pause between two tries (seconds)."""

LOG_TRIES = 3
"""How often a log is read again if its position among the results changed while it was being read."""

NO_JOB = "0" * 32
"""Has the form of a job id. The server makes its ids at random, so this one is never taken."""

_JOB_ID_PATTERN = re.compile(r"[A-Za-z0-9][-._A-Za-z0-9]{0,127}")


class Uws(Protocol):
    """What the job service needs of the UWS."""

    async def job(self, job_id: str) -> UwsJob:
        """Return a job as it is now.

        Raises
        ------
        UnknownJobError
            If the UWS does not know it (any more).
        UnreachableError
            If the UWS did not answer in a way that can be understood.
        """

    async def jobs(self) -> list[UwsJob]:
        """Return all jobs that the UWS knows.

        Raises
        ------
        ServiceError
            If it does not answer in a way that can be understood, within a limit.
        """

    async def log_text(self, job_id: str) -> str:
        """Return the end of the log of a job.

        Raises
        ------
        UnknownJobError
            If the UWS does not know the job (any more).
        NoLogError
            If it has no log.
        ServiceError
            If the UWS does not answer.
        """

    async def ping(self) -> None:
        """Return if the UWS answers.

        Raises
        ------
        UnreachableError
            If it does not.
        """


class NoLogError(ServiceError):
    """A job left no log: the process that writes it never started, or could not write."""


class UwsClient:
    """Client of a UWS server's REST interface.

    Use it as an async context manager, or call `start` and `close`.

    Parameters
    ----------
    url
        Base address, such as ``http://uws.example/api/v1``.
    limits
        Limits of time: ``uws_request``, ``uws_list``, ``job_log``, ``preflight``.
    access
        How it gets through what stands in front of the server. After a refusal it asks the server nothing for a while,
        unless its credentials are changed.
    backoff_s
        Longest pause after the first failure (seconds); it doubles with each further one. The pause is drawn at random
        between zero and that, so that many clients don't come back at once.
    """

    def __init__(self, url: str, limits: Limits, access: UwsAccess | None = None, backoff_s: float = 0.5) -> None:
        self.url = without_credentials(url).rstrip("/")
        self._limits = limits
        self._entrance = Entrance(access or UwsAccess())
        self._backoff_s = backoff_s
        self._log = logging.getLogger(__name__)
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Open the session; nothing is sent yet."""
        self._session = aiohttp.ClientSession()

    async def close(self) -> None:
        """Close the session; requests in progress fail."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, _type: type[BaseException] | None, _value: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def job(self, job_id: str) -> UwsJob:
        """Return a job as it is now; see `Uws.job`."""
        _check_job_id(job_id)
        try:
            job = await self._request(f"job/{job_id}", _read_json(parse_job))
        except NotFoundError as error:
            raise UnknownJobError(
                f"The UWS at {self.url} does not know job {job_id} (any more): it was deleted there, its time there is "
                "over, or it runs at another UWS."
            ) from error
        if job.job_id != job_id:
            raise UnreachableError(f"The UWS at {self.url} was asked for job {job_id} and answered with {job.job_id}.")
        return job

    async def jobs(self) -> list[UwsJob]:
        """Return all jobs that the UWS knows; see `Uws.jobs`."""
        limit_s = self._limits.uws_list
        try:
            # For all tries together. The limit of each is longer: if both ended at the same moment, the client would
            # take this cancellation for its own time-out, and try again.
            async with asyncio.timeout(limit_s):
                return await self._request("job", _read_json(parse_jobs), 2 * limit_s)
        except TimeoutError as error:
            raise UnreachableError(f"The UWS at {self.url} did not list its jobs within {limit_s:g} s.") from error

    async def log_text(self, job_id: str) -> str:
        """Return the end of the log of a job; see `Uws.log_text`.

        Notes
        -----
        A file is identified by its position in a listing that changes as files appear. So the text counts only if
        the log has the same position before and after.
        """
        position = _log_position(await self.job(job_id))
        for _ in range(LOG_TRIES):
            if position is None:
                raise NoLogError(f"Job {job_id} left no {LOG_NAME} at the UWS.")
            try:
                text = await self._request(f"job/result/{job_id}/{position}", self._read_tail, self._limits.job_log)
            except NotFoundError:
                text = None
            before, position = position, _log_position(await self.job(job_id))
            if text is not None and position == before:
                return text
        raise ServiceError(f"The {LOG_NAME} of job {job_id} could not be read: its files at the UWS keep changing.")

    async def ping(self) -> None:
        """Return if the UWS answers; see `Uws.ping`.

        Notes
        -----
        This requests a job that can't exist. The server must ask Kubernetes for it, which proves that both work, and
        its answer is one that no other server gives. For a list of jobs it would walk through the files of every job.
        """
        try:
            await self._attempt(f"job/{NO_JOB}", _read_json(parse_job), self._limits.preflight)
        except NotFoundError:
            return
        except (ForeignAnswerError, OddStatusError) as error:
            raise UnreachableError(
                f"{error} Check uws_url, its path included (such as /api/v1), and that the uws application is up."
            ) from error
        raise UnreachableError(
            f"Something answers at {self.url}, but it is not the UWS: it shows a job {NO_JOB}. Check uws_url."
        )

    async def _request(
        self, path: str, read: Callable[[aiohttp.ClientResponse], Awaitable[T]], limit_s: float | None = None
    ) -> T:
        """Get ``path`` and return the result of ``read`` for the response; try again if that may help."""
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(UnreachableError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=self._backoff_s, max=BACKOFF_MAX_S),
            before_sleep=lambda state: self._log.debug("Try %d of GET %s failed", state.attempt_number, path),
            reraise=True,
        )
        return await retrying(self._attempt, path, read, self._limits.uws_request if limit_s is None else limit_s)

    async def _attempt(self, path: str, read: Callable[[aiohttp.ClientResponse], Awaitable[T]], limit_s: float) -> T:
        """Get ``path`` once.

        Raises
        ------
        NotFoundError
            On status 404 with the UWS's own text. Any other 404 proves nothing, because an ingress answers 404, too.
        ServiceError
            On another status that a retry would not change.
        UnreachableError
            If a retry may help: no connection, no answer in time, 5xx, or an answer that can't be understood.
        """
        if self._session is None:
            raise ServiceError("The UWS client is closed.")
        url = f"{self.url}/{path}"
        timeout = aiohttp.ClientTimeout(total=limit_s)
        headers, tls = await self._entrance.headers(), await self._entrance.tls()
        try:
            async with self._session.get(url, timeout=timeout, headers=headers, ssl=tls) as response:
                if response.status == http.HTTPStatus.OK:
                    return await read(response)
                raise await refusal_of(url, response, self._entrance, headers)
        except TimeoutError as error:
            raise UnreachableError(f"The UWS did not answer GET {url} within {limit_s:g} s.") from error
        except (aiohttp.ClientSSLError, aiohttp.ClientConnectorCertificateError) as error:
            raise ServiceError(certificate_problem(self.url, error)) from error
        except aiohttp.ClientError as error:
            words = explain_server_text(str(error)) or type(error).__name__
            raise UnreachableError(f"The UWS could not be asked: GET {url}: {words}.") from error
        except NonsenseError as error:
            raise ForeignAnswerError(f"The UWS answered GET {url} with something other than {error}.") from error

    async def _read_tail(self, response: aiohttp.ClientResponse) -> str:
        """Read a text of any length; keep its end, from the beginning of a line."""
        tail = bytearray()
        cut = False
        async for chunk in response.content.iter_chunked(2**16):
            tail += chunk
            if len(tail) > 2 * LOG_TAIL_BYTES:
                del tail[:-LOG_TAIL_BYTES]
                cut = True
        if len(tail) > LOG_TAIL_BYTES:
            del tail[:-LOG_TAIL_BYTES]
            cut = True
        text = tail.decode(errors="replace")
        return text.partition("\n")[2] if cut else text


def is_job_id(text: str) -> bool:
    """Return whether a text has the form of a job id; other texts would become another path of the server."""
    return bool(_JOB_ID_PATTERN.fullmatch(text))


def _check_job_id(job_id: str) -> None:
    """Refuse an id that would become another path of the server."""
    if not is_job_id(job_id):
        raise ServiceError(f"{job_id[:200]!r} is no job id of the UWS.")


def _read_json(parse: Callable[[Any], T]) -> Callable[[aiohttp.ClientResponse], Awaitable[T]]:
    """Return a reader that turns a JSON body into an object with ``parse``."""

    async def read(response: aiohttp.ClientResponse) -> T:
        body = bytearray()
        async for chunk in response.content.iter_chunked(2**16):
            body += chunk
            if len(body) > MAX_JSON_BYTES:
                raise NonsenseError(f"JSON of at most {MAX_JSON_BYTES} bytes")
        if len(body) > MAX_QUICK_BYTES:
            return await asyncio.to_thread(understand, body)
        return understand(body)

    def understand(body: bytearray) -> T:
        try:
            value = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise NonsenseError("JSON") from error
        return parse(value)

    return read


def _log_position(job: UwsJob) -> int | None:
    """Return the position of a job's log among its results, None if there is none."""
    return next((result.result_id for result in job.results if os.path.basename(result.uri) == LOG_NAME), None)
