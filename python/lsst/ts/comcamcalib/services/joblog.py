# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Find the line of a job's log that says why the job failed.

A log of pipetask ends with its least informative line (``MPGraphExecutorError: One or more tasks failed during
execution.``). The cause is far above, among thousands of lines about successful work.
"""

from __future__ import annotations

import dataclasses
import enum
import re
from collections.abc import Iterator, Sequence

from .server_text import explain_server_text, shorten_middle

__all__ = ["explain_failure"]

MAX_LENGTH = 400
"""Longest explanation (characters), because it becomes part of an event."""

TRACEBACK = "Traceback (most recent call last):"

CHAINED = (
    "The above exception was the direct cause of the following exception:",
    "During handling of the above exception, another exception occurred:",
)

# pipetask's --long-log, and the form of the other commands:
#   ERROR 2026-11-22T07:41:15.177+00:00 lsst.x.y (cpBias:{detector: 3})(y.py:298) - message
#   lsst.x.y ERROR: message
LONG_RECORD = re.compile(
    r"(?P<level>[A-Z]+) \d{4}-\d\d-\d\dT\S+ \S+ \((?P<context>.*?)\)\([^()]*:\d+\) - (?P<message>.*)"
)
SHORT_RECORD = re.compile(r"[\w.]+ (?P<level>[A-Z]+): (?P<message>.*)")

BAD_LEVELS = ("ERROR", "FATAL", "CRITICAL")

# Messages that only refer to another error.
BOILERPLATE = re.compile(
    r"Caught an exception, details are in traceback"
    r"|processing will continue for remaining tasks"
    r"|^Failed jobs:|^ *- FAILED:"
    r"|ERROR logs above should provide details"
)
WRAPPER = re.compile(r"(\w+\.)*MPGraphExecutorError\b")

# Messages of the system or the shell when it ends a command or can't start one.
SYSTEM = re.compile(
    r"killed by signal \d+"
    r"|^\S+: line \d+: "
    r"|\b(command not found|Segmentation fault|Bus error|Out of memory|oom-kill|OOMKilled|Cannot allocate memory"
    r"|No space left on device|Disk quota exceeded)\b"
    r"|^(Killed|Terminated|Aborted)\b"
)


KUBERNETES = re.compile(r"\bApiException: \(\d{3}\)$")
KUBERNETES_LINES = 8


class _Rank(enum.IntEnum):
    """How well a line explains a failure; the first of the best ones is used."""

    CAUSE = 1
    ERROR = 2
    COMPLAINT = 3
    CONSEQUENCE = 4


@dataclasses.dataclass(frozen=True, order=True)
class _Finding:
    """A line that may explain a failure."""

    rank: _Rank
    line: int
    text: str


def explain_failure(log_text: str) -> str:
    """Return the cause of a job's failure from its log, in one line.

    Parameters
    ----------
    log_text
        The log, or its end.

    Returns
    -------
    explanation
        The first exception (with its cause, task and detector), signal, shell error or logged error; if there is none,
        the last line.
    """
    lines = log_text.splitlines()
    findings = [*_exceptions(lines), *_single_lines(lines)]
    if findings:
        return shorten_middle(min(findings).text, MAX_LENGTH)
    last = next((line for line in reversed(lines) if line.strip()), None)
    return (
        "The log is empty." if last is None else shorten_middle(f"No error in the log, which ends: {last}", MAX_LENGTH)
    )


def _exceptions(lines: Sequence[str]) -> Iterator[_Finding]:
    """Yield a finding for each chain of tracebacks."""
    end = 0
    for start, line in enumerate(lines):
        if start < end or line.strip() != TRACEBACK:
            continue
        chain, end = _chain(lines, start)
        if not chain:
            continue
        rank = _Rank.CONSEQUENCE if WRAPPER.match(chain[0]) else _Rank.CAUSE
        record = _record(lines[start - 1]) if start else None
        if record and record["level"] == "WARNING":
            rank = _Rank.COMPLAINT  # the exception was caught and logged, and the program went on
        text = _without_module(chain[-1])
        if len(chain) > 1:  # each gets half of the length, so that a long text does not displace the cause
            half = MAX_LENGTH // 2 - 40
            text = f"{shorten_middle(text, half)} (cause: {shorten_middle(_without_module(chain[0]), half)})"
        yield _Finding(rank, start, _where(lines, start) + text)


def _chain(lines: Sequence[str], start: int) -> tuple[list[str], int]:
    """Return the last lines of chained tracebacks, first cause first, and the number of the line after them."""
    chain = []
    while start < len(lines) and lines[start].strip() == TRACEBACK:
        at = start + 1
        while at < len(lines) and lines[at].startswith(" "):
            at += 1
        if at == len(lines) or not lines[at].strip():
            break
        chain.append(_exception_text(lines, at))
        start = at + 1
        link = next((i for i in range(start, len(lines)) if lines[i] in CHAINED or lines[i] == TRACEBACK), None)
        if link is None or lines[link] == TRACEBACK or any(_record(line) for line in lines[start:link]):
            break
        start = link + 2
    return chain, start


def _exception_text(lines: Sequence[str], at: int) -> str:
    """Return the message of an exception, including lines after its first one."""
    if KUBERNETES.search(lines[at]):  # status, reason, headers and body are on the next lines
        name = lines[at].partition(":")[0]
        return f"{name}: {explain_server_text(chr(10).join(lines[at : at + KUBERNETES_LINES]))}"
    if lines[at].endswith(":") and at + 1 < len(lines):  # such as the message of a validation error
        return f"{lines[at]} {lines[at + 1]}"
    return lines[at]


def _single_lines(lines: Sequence[str]) -> Iterator[_Finding]:
    """Yield a finding for each single line that reports an error."""
    for number, line in enumerate(lines):
        record = _record(line)
        if record and record["level"] not in BAD_LEVELS:
            continue
        message = record["message"] if record else line
        if SYSTEM.search(message) and not line.startswith(" "):
            yield _Finding(_Rank.CAUSE, number, message)
        elif BOILERPLATE.search(message):
            yield _Finding(_Rank.CONSEQUENCE, number, message)
        elif record:
            yield _Finding(_Rank.ERROR, number, message)
        elif re.match(r"(Error|ERROR|error|fatal|FATAL)\b.*: ", line):
            yield _Finding(_Rank.COMPLAINT, number, line)


def _record(line: str) -> dict[str, str] | None:
    """Return level, message and, where there is one, context of a log record."""
    match = LONG_RECORD.match(line) or SHORT_RECORD.match(line)
    return match.groupdict() if match else None


def _where(lines: Sequence[str], start: int) -> str:
    """Return ``cpBias, detector 3: `` for a traceback that pipetask's records around it ascribe to a quantum."""
    for line in reversed(lines[max(start - 2, 0) : start]):
        record = _record(line)
        context = (record or {}).get("context") or ""
        label, _, data_id = context.partition(":")
        if label and data_id:
            dimensions = re.findall(r"\b(exposure|detector|physical_filter): ('[^']*'|\w+)", data_id)
            return ", ".join([label, *(f"{name} {value}" for name, value in dimensions)]) + ": "
    return ""


def _without_module(line: str) -> str:
    """Return an exception's line without the package that the exception is from."""
    return re.sub(r"^(\w+\.)+(?=\w+(:|$))", "", line.strip())
