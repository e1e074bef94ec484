# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Show a run on a terminal, live, or line by line where there is no terminal."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from typing import Any

from lsst.ts import utils
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from .client import CalibrationClient, clock
from .enums import CalibType, CertificationState, RunState, StageState, Verdict

__all__ = ["Watcher", "without"]

STYLES = {
    "RUNNING": "cyan",
    "SUCCEEDED": "green",
    "COMPLETED": "green",
    "PASSED": "green",
    "PASSED_WITH_FAILURES": "yellow",
    "completed": "green",
    "FAILED": "bold red",
    "UNKNOWN": "bold red",
    "error": "bold red",
    "SKIPPED": "yellow",
    "ABORTED": "yellow",
    "ABORTING": "yellow",
    "INTERRUPTED": "yellow",
}

# The sentence of a job or a verdict comes again with its stage, that of a stage with the run, and all with the alarms.
# Here is, for news that repeat, whose sentences they leave out.
STAGES_REPEAT = ("jobState", "verificationResult", "certification", "largeFileObjectAvailable")
REPEATS = {
    "stageState": STAGES_REPEAT,
    "runState": (*STAGES_REPEAT, "stageState"),
    "alarms": (*STAGES_REPEAT, "stageState", "runState", "alarms"),
}


class Watcher:
    """Prints what the CSC publishes; on a terminal, it keeps a table of the stages below that.

    Parameters
    ----------
    client
        Connected client.
    console
        Where to print.
    """

    def __init__(self, client: CalibrationClient, console: Console) -> None:
        self._client = client
        self._console = console
        self._run_id = ""
        self._stages: dict[str, Any] = {}
        self._phases: dict[str, str] = {}
        self._progress: Any = None
        self._early: list[tuple[str, Any]] = []
        self._shown: set[tuple[object, ...]] = set()
        # The sentences that were shown, by name of topic.
        self._told: dict[str, set[str]] = {}
        client.listen(self._on_news)

    async def follow(self, run_id: str) -> RunState:
        """Show a run until it has ended, and return how."""
        self._run_id = run_id
        for name, message in self._early:
            self._show(name, message)
        live: contextlib.AbstractContextManager[Any] = contextlib.nullcontext()
        if self._console.is_terminal:
            live = Live(console=self._console, get_renderable=self._table, refresh_per_second=4, transient=True)
        state = RunState.ACCEPTED
        with live:
            async for message in self._client.follow(run_id):
                state = RunState(message.state)
        return state

    def _on_news(self, name: str, message: Any) -> None:
        if not self._run_id:
            # Keep messages that arrive before the run's identifier is known.
            self._early.append((name, message))
        else:
            self._show(name, message)

    def _show(self, name: str, message: Any) -> None:
        run_id = message.id if name == "largeFileObjectAvailable" else getattr(message, "runId", self._run_id)
        if run_id != self._run_id:
            return
        if name == "stageState":
            self._stages[message.stageName] = message
        elif name == "progress":
            self._progress = message
            return
        line = _line(name, message)
        # The command `status` publishes events again; print each only once.
        key = (name, line)
        if line is None or key in self._shown:
            return
        self._shown.add(key)
        word, about, sentence = line
        text = f"{about}{without(sentence, self._told_by(name))}".rstrip(": ")
        self._told.setdefault(name, set()).add(f"The report is at {sentence}" if word == "report" else sentence)
        # An alarm that has no sentence of its own only names stages and products.
        if name == "alarms" and set(text.split()) <= {*self._stages, *CalibType.__members__}:
            return
        time = clock(message.private_sndStamp)
        self._console.print(
            Text.assemble((time, "dim"), "  ", (f"{word:10}", STYLES.get(word, "")), " ", text), soft_wrap=True
        )

    def _told_by(self, name: str) -> list[str]:
        """Return the sentences that news of a topic leave out, because they were shown."""
        return [sentence for topic in REPEATS.get(name, ()) for sentence in self._told.get(topic, ())]

    def _table(self) -> Table:
        table = Table(box=None, padding=(0, 1), show_header=False)
        for name, stage in self._stages.items():
            state = StageState(stage.state).name
            seconds = ""
            if stage.timestampStarted:
                seconds = f"{(stage.timestampEnded or utils.current_tai()) - stage.timestampStarted:.0f} s"
            table.add_row(name, Text(state, style=STYLES.get(state, "dim")), seconds)
        display = Table.grid()
        display.add_row(table)
        progress = self._progress
        if progress is None:
            return display
        numbers = (
            f"{progress.imagesTaken}/{progress.imagesExpected} images taken, {progress.imagesIngested} ingested, "
            f"{progress.jobsCompleted}/{progress.jobsExpected} jobs done, {progress.jobsRunning} running, "
            f"{progress.elapsed:.0f} s elapsed, about {progress.remaining:.0f} s to go"
        )
        display.add_row(ProgressBar(total=1.0, completed=progress.fractionComplete, width=60))
        display.add_row(Text(numbers))
        display.add_row(Text(progress.activity, style="dim"))
        return display


def without(text: str, told: Iterable[str]) -> str:
    """Return a text without the sentences that were told before, each with the colon before it.

    Parameters
    ----------
    text
        Sentences, some of them after the name of what they are about and a colon.
    told
        Sentences.
    """
    for sentence in sorted({one.rstrip(".") for one in told} - {""}, key=len, reverse=True):
        text = re.sub(rf"(^|: ){re.escape(sentence)}\.?(?=$|;| )", "", text)
    return text.strip()


def _line(name: str, message: Any) -> tuple[str, str, str] | None:
    """Return a word, what a message is about, and its sentence; None if it is not worth a line."""
    match name:
        case "runState":
            return RunState(message.state).name, f"run {message.runId}: ", message.reason
        case "stageState" if message.state != StageState.PENDING:
            return StageState(message.state).name, f"{message.stageName}  ", message.reason
        case "imageTaken":
            use = ", not used" if message.discarded else ""
            about = (
                f"{CalibType(message.imageType).name} {message.imageIndex} of {message.imagesInSequence}: "
                f"{message.obsId}, {message.exposureTime:g} s{use}"
            )
            return "image", about, ""
        case "imageIngested" if message.missing:
            return "lost", f"{message.obsId}: {message.missing} missing; ", message.reason
        case "jobState":
            return message.phase, f"{message.stageName}  job {message.jobId}  ", message.message
        case "verificationResult":
            kind = f" in {message.physicalFilter}" if message.physicalFilter else ""
            return Verdict(message.verdict).name, f"{CalibType(message.calibType).name}{kind}: ", message.reason
        case "certification":
            begin, end = message.validityBegin or "ever", message.validityEnd or "ever"
            word = "certified" if message.state == CertificationState.CERTIFIED else "withdrawn"
            about = f"{message.datasetCount} {message.datasetType} in {message.collection}, {begin} to {end} TAI  "
            return word, about, message.reason
        case "largeFileObjectAvailable" if message.mimeType == "text/html":
            return "report", "", message.url
        case "alarms" if message.reason:
            return "alarm", "", message.reason
    return None
