# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Has the report of a run written, by a program of its own, and uploads it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import hashlib
import json
import logging
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from ..config import Limits, ReportSettings
from ..enums import RunState
from ..errors import ServiceError
from .large_files import upload

__all__ = ["FileMade", "ProgramReporter", "ReportMade", "ReportRequest", "Reporter"]

PROGRAM = "lsst.ts.comcamcalib.report"

MIME_TYPES = {".html": "text/html", ".json": "application/json"}

STOP_LIMIT_S = 5.0
"""Longest wait for the end of a process that was killed (seconds)."""

TAIL_BYTES = 4000
"""How much of the program's error output is looked at."""


@dataclasses.dataclass(frozen=True)
class ReportRequest:
    """Which report is wanted, and how the run is about to end, which its journal does not have yet."""

    run_id: str
    attempt: int
    state: RunState
    reason: str


@dataclasses.dataclass(frozen=True)
class FileMade:
    """A file of a report, and where everybody finds it."""

    url: str
    mime_type: str
    byte_size: int
    checksum: str
    """MD5, in hexadecimal digits."""


@dataclasses.dataclass(frozen=True)
class ReportMade:
    """A report that was written, and what is missing in it or in its place, a sentence each."""

    files: tuple[FileMade, ...]
    remarks: tuple[str, ...] = ()


class Reporter(Protocol):
    """Writes reports."""

    async def write(self, request: ReportRequest) -> ReportMade:
        """Write the report of a run; an earlier one of the same run is replaced.

        Raises
        ------
        ServiceError
            If it can't be written, or not within its limit; the sentence says why.
        """


class ProgramReporter:
    """Writes reports with a program of their own, because plots would block the event loop, and keep memory.

    Parameters
    ----------
    journal_path
        The journal, which the program only reads.
    settings
        Where reports go.
    limits
        Limits of time: ``report``.
    program
        The command, for tests.
    """

    def __init__(
        self,
        journal_path: str,
        settings: ReportSettings,
        limits: Limits,
        program: Sequence[str] = (sys.executable, "-m", PROGRAM),
    ) -> None:
        self._journal_path = journal_path
        self._settings = settings
        self._limit_s = limits.report
        self._program = tuple(program)
        self._log = logging.getLogger(__name__)

    async def write(self, request: ReportRequest) -> ReportMade:
        """Write the report of a run; see `Reporter.write`."""
        if not self._settings.directory:
            raise ServiceError("The CSC's configuration has no place for reports any more (report.directory is empty)")
        answer = await self._run(self._settings.directory, request)
        files = await asyncio.to_thread(_look_at, answer.files)
        if not self._settings.s3_instance:
            return ReportMade(files, answer.remarks)
        try:
            async with asyncio.timeout(self._limit_s):
                urls = await upload(self._settings.s3_instance, request.run_id, answer.files)
        except TimeoutError:
            problem = f"no answer within {self._limit_s:g} s"
        except ServiceError as error:
            problem = str(error)
        else:
            uploaded = tuple(dataclasses.replace(one, url=url) for one, url in zip(files, urls, strict=True))
            return ReportMade(uploaded, answer.remarks)
        remark = f"It could not be uploaded, and is only on the disk of the CSC: {problem}"
        self._log.warning("The report of run %s: %s", request.run_id, remark)
        return ReportMade(files, (*answer.remarks, remark))

    async def _run(self, directory: str, request: ReportRequest) -> _Answer:
        arguments = [request.run_id, "--journal", self._journal_path, "--directory", directory]
        arguments += ["--attempt", str(request.attempt), "--state", request.state.name, "--reason", request.reason]
        try:
            process = await asyncio.create_subprocess_exec(
                *self._program,
                *arguments,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise ServiceError(f"The program that writes reports could not be started: {error}") from error
        try:
            async with asyncio.timeout(self._limit_s):
                output, errors = await process.communicate()
        except TimeoutError:
            raise ServiceError(
                f"The report was not written within {self._limit_s:g} s (limits.report), and its process was killed"
            ) from None
        finally:
            await _end(process)
        tail = errors[-TAIL_BYTES:].decode(errors="replace").strip()
        if tail:
            self._log.info("The program that wrote the report of run %s said: %s", request.run_id, tail)
        if process.returncode:
            last = tail.splitlines()[-1] if tail else f"its process ended with {process.returncode}, without a word"
            raise ServiceError(f"The report could not be written: {last}")
        return _read_answer(output)


@dataclasses.dataclass(frozen=True)
class _Answer:
    """What the program says at its end."""

    files: tuple[Path, ...]
    remarks: tuple[str, ...]


def _read_answer(output: bytes) -> _Answer:
    try:
        answer = json.loads(output)
        return _Answer(tuple(Path(one) for one in answer["files"]), tuple(map(str, answer["remarks"])))
    except (ValueError, TypeError, KeyError) as error:
        raise ServiceError(
            f"The program that writes reports gave an answer that can't be understood: {output[:200]!r}"
        ) from error


def _look_at(files: Sequence[Path]) -> tuple[FileMade, ...]:
    """Return what is to be told of files; blocks."""
    try:
        contents = [(path, path.read_bytes()) for path in files]
    except OSError as error:
        raise ServiceError(f"The report was written, but can't be read: {error}") from error
    return tuple(
        FileMade(
            path.as_uri(),
            MIME_TYPES.get(path.suffix, "application/octet-stream"),
            len(content),
            hashlib.md5(content, usedforsecurity=False).hexdigest(),
        )
        for path, content in contents
    )


async def _end(process: asyncio.subprocess.Process) -> None:
    """Kill a process that has not ended, and wait for it."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_LIMIT_S):
                await process.wait()
