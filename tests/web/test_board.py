# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The board says of each detector whether its calibrations are valid, and what to do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence

import pytest
from lsst.ts.comcamcalib.butler_data import Coverage
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.run.reading import CertificationFound
from lsst.ts.comcamcalib.web import board as board_module
from lsst.ts.comcamcalib.web.board import INTERVAL_S, MAX_COLLECTIONS, BoardKeeper, board_rows, board_types
from lsst.ts.comcamcalib.web.coverage import Known
from lsst.ts.comcamcalib.web.data import BoardRow
from support.cameras import LSSTCAM
from support.plans import make_config
from support.services import FakeRepository
from support.world import World

NOW_S = 1795694437.0  # 2026-11-26T12:00:37 TAI
NAMES = {0: "R22_S00", 1: "R22_S01"}
USUAL = "LSSTComCam/calib/daily"
TYPES = {CalibType.BIAS: "bias", CalibType.FLAT: "flat"}


def covered(detector: int, begin: str, end: str, dataset_type: str = "bias", physical_filter: str = "") -> Coverage:
    return Coverage(dataset_type, detector, physical_filter, f"u/ocps/{detector}/run", begin, end)


def rows(*coverage: Coverage) -> dict[tuple[str, str], BoardRow]:
    found = board_rows(Known(coverage), TYPES, NAMES, NOW_S)
    return {(row.calib_type, row.physical_filter): row for row in found}


def statuses(*ranges: tuple[str, str]) -> str:
    """Return the status of a detector with these ranges."""
    row = rows(*(covered(0, *one) for one in ranges))["BIAS", ""]
    return row.cells[0].status


@pytest.mark.parametrize(
    ("ranges", "status"),
    [
        ([], "MISSING"),
        ([("2026-11-25T12:00:00", "2026-11-26T12:00:00")], "EXPIRED"),
        ([("2026-11-25T12:00:00", "2026-11-26T12:00:38")], "EXPIRING"),
        ([("2026-11-25T12:00:00", "2026-11-26T18:00:36")], "EXPIRING"),
        ([("2026-11-26T12:00:00", "2026-11-27T12:00:00")], "OK"),
        ([("2026-11-26T12:00:00", "")], "OK"),
        ([("", "")], "OK"),
        # Not valid yet.
        ([("2026-11-27T12:00:00", "2026-11-28T12:00:00")], "MISSING"),
        ([("2026-11-27T12:00:00", ""), ("2026-11-20T12:00:00", "2026-11-21T12:00:00")], "EXPIRED"),
        # The one that is valid counts, not the one that began last.
        ([("2026-11-20T12:00:00", ""), ("2026-11-25T12:00:00", "2026-11-26T12:00:00")], "OK"),
    ],
)
def test_status_of_a_detector(ranges: Sequence[tuple[str, str]], status: str) -> None:
    assert statuses(*ranges) == status


def test_the_worst_detector_decides_and_the_advice_names_it() -> None:
    row = rows(covered(0, "2026-11-25T12:00:00", ""))["BIAS", ""]
    assert (row.status, row.advice) == ("MISSING", "R22_S01: start a run with script_mode: BIAS.")
    assert (row.cells[0].age_days, row.cells[1].age_days) == (pytest.approx(1.0, abs=0.01), None)


def test_if_all_is_well_nothing_is_to_be_done() -> None:
    row = rows(*(covered(one, "2026-11-25T12:00:00", "") for one in NAMES))["BIAS", ""]
    assert (row.status, row.advice) == ("OK", "")


def test_flats_have_a_row_for_each_filter_and_one_without_if_there_is_none() -> None:
    assert rows()["FLAT", ""].status == "MISSING"
    found = rows(covered(0, "", "", "flat", "r_03"), covered(1, "", "", "flat", "i_06"))
    assert ("FLAT", "") not in found
    assert found["FLAT", "r_03"].advice == "R22_S01: start a run with script_mode: BIAS_DARK_FLAT with filter: r_03."


def test_what_could_not_be_looked_up_is_neither_good_nor_missing() -> None:
    valid = covered(0, "2026-11-25T12:00:00", ""), covered(0, "", "", "flat", "r_03")
    known = Known(valid, {one: "no answer" for one in TYPES})
    bias, red, others = board_rows(known, TYPES, NAMES, NOW_S)
    assert [cell.status for cell in bias.cells] == ["OK", "UNKNOWN"]
    assert (bias.status, bias.advice) == ("UNKNOWN", "R22_S01: start a run with script_mode: BIAS.")
    assert (red.physical_filter, red.status) == ("r_03", "UNKNOWN")
    # Flats in another filter may have ended, and nobody would see it.
    assert (others.physical_filter, {cell.status for cell in others.cells}) == ("", {"UNKNOWN"})
    assert others.advice == "In which other filters there were flats lately is not known."


def certified(run: int, dataset_type: str, verdict: Verdict | None, *left_out: int) -> CertificationFound:
    return CertificationFound(
        f"20261126-{run:03}", dataset_type, USUAL, f"u/ocps/{run}/run", verdict=verdict, left_out=left_out
    )


def of_run(run: int, detector: int, dataset_type: str = "bias", physical_filter: str = "") -> Coverage:
    return Coverage(dataset_type, detector, physical_filter, f"u/ocps/{run}/run", "2026-11-25T12:00:00", "")


def said(row: BoardRow) -> list[tuple[str, str, str]]:
    return [(cell.run_id, cell.verdict, cell.left_out_of) for cell in row.cells]


def test_a_calibration_that_people_let_pass_and_a_detector_that_was_left_out_are_marked() -> None:
    """The detector that the latest run left out has a calibration of the run before, which an operator accepted."""
    known = Known((of_run(2, 0), of_run(1, 1)))
    runs = [
        # Its repetition for later frames comes first, and says the same.
        certified(2, "bias", Verdict.PASSED_WITH_FAILURES, 1),
        certified(2, "bias", Verdict.PASSED_WITH_FAILURES, 1),
        certified(2, "flat", None, 0),
        certified(1, "bias", Verdict.ACCEPTED_BY_OPERATOR),
    ]
    bias, _ = board_rows(known, TYPES, NAMES, NOW_S, runs)
    assert said(bias) == [
        ("20261126-002", "PASSED_WITH_FAILURES", ""),
        ("20261126-001", "ACCEPTED_BY_OPERATOR", "20261126-002"),
    ]


def test_a_detector_that_was_left_out_and_has_nothing_at_all_is_marked() -> None:
    bias, _ = board_rows(Known((of_run(2, 0),)), TYPES, NAMES, NOW_S, [certified(2, "bias", None, 1)])
    assert said(bias) == [("20261126-002", "NOT_VERIFIED", ""), ("", "", "20261126-002")]


def test_a_run_whose_calibrations_are_not_there_any_more_marks_nothing() -> None:
    """It was decertified, and what it had replaced is back."""
    runs = [certified(3, "bias", Verdict.PASSED, 1), certified(2, "bias", Verdict.PASSED)]
    bias, _ = board_rows(Known((of_run(2, 0), of_run(2, 1))), TYPES, NAMES, NOW_S, runs)
    assert said(bias) == [("20261126-002", "PASSED", "")] * 2


def test_a_detector_is_left_out_only_in_the_filters_of_that_run() -> None:
    known = Known(
        tuple(of_run(run, one, "flat", name) for run, name in ((1, "i_06"), (2, "r_03")) for one in NAMES)[:3]
    )
    runs = [certified(2, "flat", Verdict.PASSED, 1), certified(1, "flat", Verdict.PASSED)]
    _, infrared, red = board_rows(known, TYPES, NAMES, NOW_S, runs)
    assert said(infrared) == [("20261126-001", "PASSED", "")] * 2
    assert said(red) == [("20261126-002", "PASSED", ""), ("", "", "20261126-002")]


def test_what_no_run_of_the_journal_has_certified_is_not_marked() -> None:
    bias, _ = board_rows(Known((of_run(7, 0),)), TYPES, NAMES, NOW_S, [certified(2, "bias", Verdict.PASSED, 1)])
    assert said(bias) == [("", "", "")] * 2


def test_what_is_never_certified_is_not_on_the_board() -> None:
    assert set(board_types(make_config())) == set(CalibType) - {CalibType.GAIN}


class SetClock(Clock):
    """A clock whose time of day is set."""

    def __init__(self) -> None:
        self.tai_s = NOW_S

    def tai(self) -> float:
        return self.tai_s


class Repository(FakeRepository):
    """One that may not say what has ended."""

    past_error = ""

    async def coverage(self, dataset_types: Sequence[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        if self.past_error and since_iso_tai < "2026-11":
            raise ServiceError(self.past_error)
        return await super().coverage(dataset_types, collection, since_iso_tai)


class Keeping:
    """A board that is kept, with everything that it depends on."""

    def __init__(self) -> None:
        config = make_config()
        self.clock = SetClock()
        self.fake = Repository(World(config))
        self.repository: FakeRepository | None = self.fake
        self.certified = 0
        self.runs: list[CertificationFound] = []
        self.keeper = BoardKeeper(
            config, self.clock, lambda: self.repository, lambda: self.certified, self.certified_lately
        )

    async def certified_lately(self) -> list[CertificationFound]:
        return self.runs

    async def until(self, condition: str) -> None:
        async with asyncio.timeout(30):
            while not eval(condition, {"board": self.keeper.board, "asked": len(self.fake.asked)}):  # noqa: ASYNC110
                await asyncio.sleep(0.01)


async def test_the_repository_is_asked_only_when_connected_and_after_certifications(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(board_module, "PAUSE_S", 0.01)
    keeping = Keeping()
    keeping.repository = None
    task = asyncio.create_task(keeping.keeper.run())
    try:
        await keeping.until("'only while the CSC is ENABLED' in board.problem")
        assert not keeping.fake.asked
        keeping.repository = keeping.fake
        await keeping.until("board.looked and not board.problem")
        asked = len(keeping.fake.asked)
        await asyncio.sleep(0.1)
        assert len(keeping.fake.asked) == asked
        keeping.fake.covered[USUAL].append(covered(0, "2026-11-25T12:00:00", ""))
        keeping.certified += 1
        await keeping.until("board.rows[0].cells[0].status == 'OK'")
        assert len(keeping.fake.asked) == asked + 1, "what has ended is looked for only once"
        # What was seen stays when it does not answer any more.
        keeping.fake.errors["coverage"] = "the database is down"
        keeping.certified += 1
        await keeping.until("'the database is down' in board.problem and board.rows")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_board_that_can_not_be_looked_up_again_does_not_stay_good() -> None:
    keeping = Keeping()
    noon_s = NOW_S + 86400 - 37  # when the calibrations of that day end
    keeping.fake.covered[USUAL] = [covered(one, "2026-11-26T12:00:00", "2026-11-27T12:00:00") for one in range(9)]
    await keeping.keeper.look(keeping.fake)
    before = keeping.keeper.board
    assert before.rows[0].status == "OK" and not before.problem
    keeping.fake.errors["coverage"] = "the database is down"
    for now_s, status in ((noon_s - 60, "EXPIRING"), (noon_s + 60, "EXPIRED")):
        keeping.clock.tai_s = now_s
        await keeping.keeper.look(keeping.fake)
        board = keeping.keeper.board
        assert (board.rows[0].status, board.looked) == (status, before.looked)
        assert board.problem.startswith("It could not be looked up again: ") and "the database is down" in board.problem


async def test_a_board_does_not_stay_good_while_the_csc_is_not_enabled(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PAUSE_S", "INTERVAL_S"):
        monkeypatch.setattr(board_module, name, 0.01)
    keeping = Keeping()
    keeping.fake.covered[USUAL] = [covered(one, "2026-11-26T12:00:00", "2026-11-27T12:00:00") for one in range(9)]
    task = asyncio.create_task(keeping.keeper.run())
    try:
        await keeping.until("board.looked and board.rows[0].status == 'OK'")
        keeping.repository = None
        await keeping.until("'only while the CSC is ENABLED' in board.problem")
        keeping.clock.tai_s += 86400
        await keeping.until("board.rows[0].status == 'EXPIRED'")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def test_a_board_that_lacks_what_has_ended_says_so_and_recovers_by_itself() -> None:
    keeping = Keeping()
    keeping.fake.covered[USUAL] = [covered(one, "2026-11-25T12:00:00", "2026-11-26T12:00:00") for one in range(9)]
    keeping.fake.past_error = "no answer within 60 s"
    await keeping.keeper.look(keeping.fake)
    board = keeping.keeper.board
    assert {row.status for row in board.rows} == {"UNKNOWN"} and not board.problem
    (sentence,) = board.not_known
    assert sentence.startswith(f"It could not be looked up which bias, dark, flat, defects, ptc in {USUAL} have ended")
    assert "no answer within 60 s. It is tried again every 5 min" in sentence
    keeping.fake.past_error = ""
    keeping.clock.tai_s += INTERVAL_S
    await keeping.keeper.look(keeping.fake)
    board = keeping.keeper.board
    assert {row.calib_type: row.status for row in board.rows}["BIAS"] == "EXPIRED" and not board.not_known


async def test_all_collections_that_are_used_are_on_the_board_the_usual_one_first() -> None:
    keeping = Keeping()
    ours, nothing = "LSSTComCam/calib/u/somebody/test", "LSSTComCam/calib/u/somebody/gone"
    names = [ours, nothing, USUAL, *(f"LSSTComCam/calib/u/{number}" for number in range(9))]
    keeping.runs = [dataclasses.replace(certified(1, "bias", None), collection=name) for name in names]
    keeping.fake.covered[ours] = [covered(0, "2026-01-01T12:00:00", "")]
    await keeping.keeper.look(keeping.fake)
    board = keeping.keeper.board
    assert board.collection == USUAL and {row.status for row in board.rows} == {"MISSING"}
    (other,) = board.others
    assert other.collection == ours, "of what there is nothing of, nothing is said"
    (row,) = other.rows
    assert (row.calib_type, row.cells[0].status) == ("BIAS", "OK")
    assert row.cells[0].verdict == "", "that a run certified something of it elsewhere says nothing"
    assert row.advice.endswith(f"start a run with script_mode: BIAS and calib_collection: {ours}.")
    assert len(keeping.keeper._covered) == MAX_COLLECTIONS
    assert board.not_shown == tuple(names[-4:])


def test_an_advice_about_many_detectors_does_not_name_them() -> None:
    names = dict(enumerate(LSSTCAM))
    one, many = (
        board_rows(Known(tuple(covered(one, "", "") for one in there)), {CalibType.BIAS: "bias"}, names, NOW_S)[0]
        for there in (range(1, 205), range(100))
    )
    assert one.advice == "R01_S00: start a run with script_mode: BIAS."
    assert many.advice == "105 of 205 detectors: start a run with script_mode: BIAS."
