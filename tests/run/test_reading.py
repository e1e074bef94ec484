# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A journal is read beside the CSC that owns it, and no more of it than is asked for."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import TypeVar

import pytest
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState
from lsst.ts.comcamcalib.record.facts import Certified, Decertified, Fact, ReportFile, ReportWritten, RunMoved
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.run.reading import read_overviews, read_report
from support.cameras import LSSTCAM
from support.records import write_run
from support.whole_run import measured_in

T = TypeVar("T")

NAMES = dict(enumerate(LSSTCAM))
RUNS = 6
REPORT = ReportWritten(
    attempt=1, files=(ReportFile(url="file:///r.html", mime_type="text/html", byte_size=1, checksum="0" * 32),)
)


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    journal = Journal(tmp_path / "journal.sqlite", Clock(), lambda sentence: None)
    await journal.open()
    yield journal
    await journal.close()


def moved(state: RunState, reason: str) -> RunMoved:
    return RunMoved(state=state, reason=reason)


def of_lsstcam(*last: Fact) -> list[Fact]:
    """Return what a run of a whole LSSTCam records, megabytes of measurements above all."""
    measurements = [measured_in(one, "", NAMES) for one in (CalibType.BIAS, CalibType.DARK, CalibType.PTC)]
    return [moved(RunState.RUNNING, "The run is in progress"), *measurements, *last]


def bytes_read(read: Callable[[], T]) -> tuple[T, int]:
    """Return what a function returns, and how much this process has read from files meanwhile."""

    def so_far() -> int:
        return int(dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())["rchar"])

    before = so_far()
    result = read()
    return result, so_far() - before


async def test_of_a_large_run_little_is_read_to_list_it(journal: Journal) -> None:
    """Measured in bytes that are read, because time proves nothing on a busy machine."""
    # Measurements come before and after what the list shows, and one run has no report.
    ended = moved(RunState.COMPLETED, "All stages succeeded")
    runs = [await write_run(journal, *of_lsstcam(ended, *of_lsstcam()[1:], REPORT)) for _ in range(RUNS - 1)]
    runs.append(await write_run(journal, *of_lsstcam()))
    (overviews, total), read = bytes_read(lambda: read_overviews(journal.path, 10))
    assert [one.run_id for one in overviews] == runs[::-1] and total == RUNS
    assert [one.has_report for one in overviews] == [False] + [True] * (RUNS - 1)
    assert {one.reason for one in overviews} == {"The run is in progress", "All stages succeeded"}
    assert journal.path.stat().st_size > RUNS * 2e6
    assert read < RUNS * 50e3
    report, read = bytes_read(lambda: read_report(journal.path, runs[-1]))
    assert report is None and read < 50e3, "that there is none is seen without reading the run"


async def test_the_list_has_what_was_recorded_last(journal: Journal) -> None:
    done = Certified(number=1, dataset_count=9, reason="9 datasets are certified")
    reports = [ReportWritten(attempt=one, files=REPORT.files) for one in (1, 2)]
    moves = moved(RunState.FAILED, "BIAS failed"), moved(RunState.COMPLETED, "BIAS was accepted")
    run_id = await write_run(journal, moves[0], reports[0], moves[1], done, reports[1])
    withdrawn = await write_run(journal, moves[1], Decertified(number=1, reason="1 dataset is out"))
    ((other, found), _) = read_overviews(journal.path, 10)
    assert (other.run_id, other.withdrawn, found.withdrawn) == (withdrawn, True, False)
    assert (found.run_id, found.state, found.reason) == (run_id, RunState.COMPLETED, "BIAS was accepted")
    assert (found.accepted_s, found.last_s, found.requested_by, found.why) == (1.0, 6.0, "op@console", "the test")
    assert read_report(journal.path, run_id) == reports[1]
