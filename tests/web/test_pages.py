# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages need no script and no eyes, and fit a camera of any size."""

from __future__ import annotations

import re

import pytest
from lsst.ts.comcamcalib.butler_data import Coverage
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.web.board import board_rows
from lsst.ts.comcamcalib.web.coverage import Known
from lsst.ts.comcamcalib.web.data import Board, BoardOfCollection, PromotionList
from lsst.ts.comcamcalib.web.drawing import plane_of
from lsst.ts.comcamcalib.web.grouping import MANY
from lsst.ts.comcamcalib.web.pages import PARTS, STATIC, page, parts_of_board, styles
from support.cameras import LSSTCAM
from support.web import Site

NOW_S = 1795694437.0


def board(detectors: int) -> Board:
    names = {one: f"R{one // 45}{one // 9 % 5}_S{one // 3 % 3}{one % 3}" for one in range(detectors)}
    valid = [Coverage("bias", one, "", "run", "2026-11-25T12:00:00", "2026-11-26T15:00:00") for one in names]
    rows = board_rows(Known(tuple(valid)), {CalibType.BIAS: "bias", CalibType.DARK: "dark"}, names, NOW_S)
    return Board(looked="2026-11-26T12:00:00Z", collection="LSSTComCam/calib/daily", rows=rows, problem="")


def board_page(board: Board) -> str:
    return page("board", board=board, promotions=PromotionList(written="", promotions=(), problem=""))


async def test_without_script_the_page_has_everything_and_is_loaded_again(old_site: Site) -> None:
    text = (await old_site.see("/")).text
    assert '<noscript><meta http-equiv="refresh" content="30"></noscript>' in text
    for words in ("COMPLETED", "BIAS.ACQUIRE", "cpDefects", "PASSED", "certified", "CC_O_"):
        assert words in text
    for part in PARTS:
        assert f'id="{part}"' in text


async def test_the_page_can_be_heard(old_site: Site) -> None:
    """Landmarks, a heading, headers of tables, and words for what is drawn."""
    for path in ("/", "/runs", "/board", "/trends"):
        text = (await old_site.see(path)).text
        assert '<html lang="en">' in text and "<title>" in text
        assert text.count("<main") == text.count("<h1") == 1 and "<nav aria-label" in text and 'href="#content"' in text
        assert text.count('aria-current="page"') == 1
        for head in re.findall(r"<thead>(.*?)</thead>", text, re.DOTALL):
            assert head.count("<th ") == head.count('scope="col"')
        for drawing in re.findall(r"<svg[^>]*>", text):
            assert 'role="img"' in drawing and "aria-label=" in drawing
        ids = re.findall(r' id="([^"]*)"', text)
        assert len(ids) == len(set(ids))
    assert 'id="headline" aria-live="polite"' in (await old_site.see("/")).text


def test_the_board_says_when_it_ends_and_what_to_do() -> None:
    text = board_page(board(9))
    assert text.count("EXPIRING") >= 10 and "to 11-26 15:00" in text
    assert "all 9 detectors: start a run with script_mode: BIAS." in text
    assert "24 h" in text


@pytest.mark.parametrize("detectors", [1, 9, MANY])
def test_a_board_of_a_small_camera_has_a_column_for_each_detector(detectors: int) -> None:
    text = board_page(board(detectors))
    assert text.count('class="only-heard"') == 2 * detectors
    assert "<svg" not in text


def test_a_board_of_a_whole_camera_counts_and_shows_maps() -> None:
    text = board_page(board(205))
    assert 'class="only-heard"' not in text
    assert "205 EXPIRING" in text and "205 MISSING: all 205 detectors" in text
    assert text.count("<svg") == 2 and text.count("<rect") == 2 * 205
    # The page Now has the numbers only.
    assert "<svg" not in parts_of_board(board(205))["board"]


def marked(board: Board) -> Board:
    """Return a board on which the first detector was accepted, and the second left out of a later run."""
    row, *others = board.rows
    first, second, *rest = row.cells
    first = first.model_copy(update={"verdict": "ACCEPTED_BY_OPERATOR", "run_id": "20261126-001"})
    second = second.model_copy(update={"verdict": "NOT_VERIFIED", "left_out_of": "20261126-002"})
    return board.model_copy(update={"rows": (row.model_copy(update={"cells": (first, second, *rest)}), *others)})


def test_what_people_let_pass_and_what_was_left_out_is_marked_on_the_board() -> None:
    text = board_page(marked(board(9)))
    assert text.count('<em class="said">') == 3
    for words in ("accepted by an operator", "certified without verification", "left out of 20261126-002"):
        assert f'<em class="said">{words}</em>' in text and f"; {words}" in text
    of_camera = board_page(marked(board(205)))
    first, second, *_ = (cell.name for cell in board(205).rows[0].cells)
    assert f'<em class="said">accepted by an operator</em>: {first}' in of_camera
    assert f'<em class="said">left out of 20261126-002</em>: {second}' in of_camera
    assert f"<title>{first}: EXPIRING; to 2026-11-26 15:00:00; accepted by an operator</title>" in of_camera


def test_what_the_board_does_not_know_is_said_and_shown_as_unknown() -> None:
    names = dict.fromkeys(range(2), "R22_S00")
    rows = board_rows(Known(not_known={CalibType.BIAS: "no answer"}), {CalibType.BIAS: "bias"}, names, NOW_S)
    text = board_page(board(9).model_copy(update={"rows": rows, "not_known": ("It could not be <said>.",)}))
    assert '<p class="warning">It could not be &lt;said&gt;.</p>' in text
    assert text.count('<span class="badge unknown" title="R22_S00: UNKNOWN"><span aria-hidden="true">?</span>') == 2


def test_other_collections_are_below_the_usual_one() -> None:
    usual = board(9)
    other = BoardOfCollection(collection="LSSTComCam/calib/u/me", rows=usual.rows[:1])
    text = board_page(usual.model_copy(update={"others": (other,), "not_shown": ("u/a", "u/b")}))
    assert text.index("LSSTComCam/calib/daily") < text.index("<h2>LSSTComCam/<wbr>calib/<wbr>u/<wbr>me</h2>")
    assert "Not looked at, because there are too many: u/a, u/b." in text
    assert "1 more collection" in parts_of_board(usual.model_copy(update={"others": (other,)}))["board"]


def test_a_whole_camera_is_a_plane_of_its_own_form() -> None:
    plane = plane_of(dict(enumerate(LSSTCAM)), {0: ("FAILED", "dead"), 1: ("PASSED", "")})
    assert plane.large and len({(one.x, one.y) for one in plane.squares}) == 205
    said = {one.name: (one.kind, one.sign, one.words) for one in plane.squares}
    assert said["R01_S00"] == ("bad", "✖", "FAILED; dead")
    assert said["R01_S01"] == ("good", "", "PASSED"), "a sign in each square would be too much"
    assert said["R44_SW1"] == ("none", "–", "not judged")


def test_style_and_script_load_nothing() -> None:
    for text in (styles(), (STATIC / "page.js").read_text(encoding="utf-8")):
        assert "http:" not in text and "https:" not in text and "@import" not in text and "url(" not in text
