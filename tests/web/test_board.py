# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The board says of each detector whether its calibrations are valid, and what to do."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from lsst.ts.comcamcalib.butler_data import Coverage
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import ServiceError
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
        self.collections: list[str] = []
        self.keeper = BoardKeeper(
            config, self.clock, lambda: self.repository, lambda: self.certified, self.certified_into
        )

    async def certified_into(self) -> list[str]:
        return self.collections

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
    keeping.collections = [ours, nothing, USUAL, *(f"LSSTComCam/calib/u/{number}" for number in range(9))]
    keeping.fake.covered[ours] = [covered(0, "2026-01-01T12:00:00", "")]
    await keeping.keeper.look(keeping.fake)
    board = keeping.keeper.board
    assert board.collection == USUAL and {row.status for row in board.rows} == {"MISSING"}
    (other,) = board.others
    assert other.collection == ours, "of what there is nothing of, nothing is said"
    (row,) = other.rows
    assert (row.calib_type, row.cells[0].status) == ("BIAS", "OK")
    assert row.advice.endswith(f"start a run with script_mode: BIAS and calib_collection: {ours}.")
    assert len(keeping.keeper._covered) == MAX_COLLECTIONS
    assert board.not_shown == tuple(keeping.collections[-4:])


def test_an_advice_about_many_detectors_does_not_name_them() -> None:
    names = dict(enumerate(LSSTCAM))
    one, many = (
        board_rows(Known(tuple(covered(one, "", "") for one in there)), {CalibType.BIAS: "bias"}, names, NOW_S)[0]
        for there in (range(1, 205), range(100))
    )
    assert one.advice == "R01_S00: start a run with script_mode: BIAS."
    assert many.advice == "105 of 205 detectors: start a run with script_mode: BIAS."
