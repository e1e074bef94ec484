# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a terminal shows of a run."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageState, Verdict
from lsst.ts.comcamcalib.watch import Watcher
from rich.console import Console

RUN = "20261122-001"
TAI = 1_795_336_757.0  # 08:38:40 UTC


class FakeClient:
    """A client that hears what the test publishes in place of the CSC."""

    def __init__(self, *news: tuple[str, dict[str, Any]]) -> None:
        self._news = news
        self._notify: Callable[[str, Any], None] = lambda name, message: None

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        self._notify = listener

    def publish(self, name: str, **fields: Any) -> Any:
        message = SimpleNamespace(**{"runId": RUN, "private_sndStamp": TAI, "reason": "", **fields})
        self._notify(name, message)
        return message

    async def follow(self, run_id: str) -> AsyncIterator[Any]:
        for name, fields in self._news:
            message = self.publish(name, **fields)
            if name == "runState" and message.runId == run_id:
                yield message


async def watched(*news: tuple[str, dict[str, Any]], terminal: bool = False) -> tuple[RunState, str]:
    """Return how the run ended, and what was printed."""
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=200, highlight=False)
    state = await Watcher(FakeClient(*news), console).follow(RUN)  # type: ignore[arg-type]
    return state, stream.getvalue()


END = ("runState", {"state": RunState.COMPLETED, "reason": "All stages succeeded"})


async def lines(*news: tuple[str, dict[str, Any]]) -> list[str]:
    """Return what is printed of some news."""
    _, text = await watched(*news, END)
    return text.splitlines()[:-1]


async def test_end_of_the_run_is_what_is_returned() -> None:
    for state in (RunState.COMPLETED, RunState.FAILED, RunState.ABORTED):
        ended, text = await watched(("runState", {"state": state, "reason": "So it is."}))
        assert ended is state
        assert text == f"08:38:40  {state.name:10} run {RUN}: So it is.\n"


async def test_every_kind_of_news_has_a_line_that_says_what_happened() -> None:
    image = {"imageType": CalibType.DARK, "imageIndex": 2, "imagesInSequence": 6, "obsId": "CC_O_20261122_000008"}
    job = {"stageName": "BIAS.GENERATE", "jobId": "ab12", "phase": "error", "message": "no usable pixels"}
    certified = {"datasetType": "bias", "datasetCount": 9, "collection": "u/x", "validityBegin": "2026-11-22T12:00:00"}
    certified["state"] = CertificationState.CERTIFIED
    printed = await lines(
        ("stageState", {"stageName": "BIAS.ACQUIRE", "state": StageState.RUNNING}),
        ("imageTaken", {**image, "exposureTime": 5.0, "discarded": False}),
        ("imageTaken", {**image, "imageIndex": 1, "exposureTime": 5.0, "discarded": True}),
        ("imageIngested", {"obsId": "CC_O_20261122_000008", "missing": "R22_S11", "reason": "It never came"}),
        ("jobState", job),
        (
            "verificationResult",
            {"calibType": CalibType.FLAT, "physicalFilter": "r_03", "verdict": Verdict.FAILED, "reason": "Noisy."},
        ),
        ("certification", {**certified, "validityEnd": ""}),
        ("alarms", {"reason": "The run failed"}),
    )
    assert [line[10:].split(maxsplit=1) for line in printed] == [
        ["RUNNING", "BIAS.ACQUIRE"],
        ["image", "DARK 2 of 6: CC_O_20261122_000008, 5 s"],
        ["image", "DARK 1 of 6: CC_O_20261122_000008, 5 s, not used"],
        ["lost", "CC_O_20261122_000008: R22_S11 missing; It never came"],
        ["error", "BIAS.GENERATE  job ab12  no usable pixels"],
        ["FAILED", "FLAT in r_03: Noisy."],
        ["certified", "9 bias in u/x, 2026-11-22T12:00:00 to ever TAI"],
        ["alarm", "The run failed"],
    ]


async def test_what_is_no_news_has_no_line() -> None:
    ingested = {"obsId": "CC_O_20261122_000008", "missing": ""}
    assert (
        await lines(
            ("stageState", {"stageName": "BIAS.ACQUIRE", "state": StageState.PENDING}),
            ("imageIngested", ingested),
            ("alarms", {"reason": ""}),
            ("detectorVerification", {}),
            ("stageState", {"stageName": "BIAS.ACQUIRE", "state": StageState.RUNNING, "runId": "20261122-002"}),
        )
        == []
    )


async def test_what_status_publishes_again_is_printed_once() -> None:
    stage = ("stageState", {"stageName": "BIAS.ACQUIRE", "state": StageState.SUCCEEDED, "reason": "3 frames"})
    assert len(await lines(stage, stage)) == 1


NOISY = "1 of 9 detectors failed a test in the majority of 3 exposures: R22_S11 (NOISE 48 x)."
PIXELS = "Job ab12 failed: cpDarkIsr, detector 0: RuntimeError: the images have no usable pixels."
DARK_FAILED = f"The job cpDark (ab12) failed with exit code 1 in phase error: {PIXELS}"
FAILED = (
    f"Failed (2 stages that need them were skipped): BIAS.VERIFY: BIAS is FAILED: {NOISY}; DARK.GENERATE: {DARK_FAILED}"
)


async def test_each_sentence_about_a_run_that_fails_is_printed_once() -> None:
    page = "file:///reports/ComCamCalib-20261122-001.html"
    _, text = await watched(
        ("jobState", {"stageName": "DARK.GENERATE", "jobId": "ab12", "phase": "error", "message": PIXELS}),
        ("stageState", {"stageName": "DARK.GENERATE", "state": StageState.FAILED, "reason": DARK_FAILED}),
        (
            "verificationResult",
            {"calibType": CalibType.BIAS, "physicalFilter": "", "verdict": Verdict.FAILED, "reason": NOISY},
        ),
        ("stageState", {"stageName": "BIAS.VERIFY", "state": StageState.FAILED, "reason": f"BIAS is FAILED: {NOISY}"}),
        ("alarms", {"reason": f"BIAS.VERIFY: BIAS is FAILED: {NOISY}"}),
        ("largeFileObjectAvailable", {"id": RUN, "mimeType": "text/html", "url": page}),
        ("stageState", {"stageName": "REPORT", "state": StageState.SUCCEEDED, "reason": f"The report is at {page}"}),
        ("runState", {"state": RunState.FAILED, "reason": FAILED}),
        ("alarms", {"reason": FAILED}),
        ("alarms", {"reason": f"{FAILED} The OODS is silent."}),
    )
    assert [line[10:] for line in text.splitlines()] == [
        f"error      DARK.GENERATE  job ab12  {PIXELS}",
        "FAILED     DARK.GENERATE  The job cpDark (ab12) failed with exit code 1 in phase error",
        f"FAILED     BIAS: {NOISY}",
        "FAILED     BIAS.VERIFY  BIAS is FAILED",
        f"report     {page}",
        "SUCCEEDED  REPORT",
        f"FAILED     run {RUN}: Failed (2 stages that need them were skipped): BIAS.VERIFY; DARK.GENERATE",
        "alarm      The OODS is silent.",
    ]


async def test_stages_that_say_the_same_are_each_printed_with_it() -> None:
    printed = await lines(
        *(
            ("stageState", {"stageName": f"{kind}.ACQUIRE", "state": StageState.SUCCEEDED, "reason": "3 frames"})
            for kind in ("BIAS", "DARK")
        ),
        *(
            ("jobState", {"stageName": "BIAS.GENERATE", "jobId": job, "phase": "error", "message": "no space left"})
            for job in ("ab12", "cd34")
        ),
    )
    assert [line.split("  ")[-1] for line in printed] == ["3 frames", "3 frames", "no space left", "no space left"]


async def test_a_sentence_that_has_another_in_its_middle_is_printed_whole() -> None:
    printed = await lines(
        ("jobState", {"stageName": "BIAS.GENERATE", "jobId": "ab12", "phase": "error", "message": "disk full"}),
        (
            "stageState",
            {"stageName": "BIAS.GENERATE", "state": StageState.FAILED, "reason": "Is the disk full or not?"},
        ),
    )
    assert printed[1].endswith("BIAS.GENERATE  Is the disk full or not?")


async def test_what_came_before_the_run_was_known_is_printed_as_well() -> None:
    stream = io.StringIO()
    client = FakeClient(END)
    watcher = Watcher(client, Console(file=stream, width=200))  # type: ignore[arg-type]
    client.publish("stageState", stageName="BIAS.ACQUIRE", state=StageState.RUNNING)
    client.publish("stageState", stageName="BIAS.ACQUIRE", state=StageState.RUNNING, runId="20261121-007")
    assert stream.getvalue() == ""
    await watcher.follow(RUN)
    assert stream.getvalue().count("BIAS.ACQUIRE") == 1


async def test_brackets_in_a_message_are_no_markup() -> None:
    (line,) = await lines(("alarms", {"reason": "KeyError: [bold]C10[/bold] is [not] there"}))
    assert line.endswith("KeyError: [bold]C10[/bold] is [not] there")


async def test_terminal_shows_a_table_of_the_stages_and_what_is_waited_for() -> None:
    progress = {
        **{"imagesTaken": 3, "imagesIngested": 2, "imagesExpected": 26, "jobsCompleted": 1, "jobsExpected": 13},
        **{"jobsRunning": 1, "elapsed": 12.0, "remaining": 80.0, "fractionComplete": 0.2},
        "activity": "BIAS.GENERATE: the job cpBias (ab12), executing",
    }
    stage = {"stageName": "BIAS.GENERATE", "state": StageState.SUCCEEDED}
    _, text = await watched(
        ("stageState", {**stage, "timestampStarted": TAI, "timestampEnded": TAI + 7}),
        ("progress", progress),
        END,
        terminal=True,
    )
    for words in ("BIAS.GENERATE", "7 s", "3/26 images taken, 2 ingested", "1/13 jobs done", "the job cpBias (ab12)"):
        assert words in text


async def test_page_of_the_runs_own_report_is_shown_and_no_other_file() -> None:
    page = {"id": RUN, "mimeType": "text/html", "url": "file:///reports/ComCamCalib-20261122-001.html"}
    printed = await lines(
        ("largeFileObjectAvailable", page),
        ("largeFileObjectAvailable", {**page, "mimeType": "application/json", "url": "file:///reports/x.json"}),
        ("largeFileObjectAvailable", {**page, "id": "20261121-009", "url": "file:///reports/older.html"}),
    )
    assert printed == ["08:38:40  report     file:///reports/ComCamCalib-20261122-001.html"]
