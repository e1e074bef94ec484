# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command line of a CSC, without a CSC."""

from __future__ import annotations

import enum
import logging
from typing import Any

import pytest
from lsst.ts.salobj.csc_command_line import CommandLine


class Program(CommandLine):
    """What the command line makes; it keeps its arguments."""

    version = "1.2"
    valid_simulation_modes: Any = (0,)
    simulation_help = None
    enable_cmdline_state = False

    def __init__(self, **kwargs: Any) -> None:
        self.kwargs = kwargs
        self.log = logging.getLogger("program")


def made(monkeypatch: pytest.MonkeyPatch, index: Any, *arguments: str, modes: tuple[int, ...] = (0,)) -> dict[str, Any]:
    """Return the constructor's arguments."""
    monkeypatch.setattr("sys.argv", ["program", *arguments])
    return type("WithModes", (Program,), {"valid_simulation_modes": modes}).make_from_cmd_line(index).kwargs


class Side(enum.IntEnum):
    LEFT = 1
    RIGHT = 2


def test_an_index_is_passed_on_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for none in (None, False, 0):
        assert made(monkeypatch, none) == {}
    assert made(monkeypatch, 7) == {"index": 7}
    assert made(monkeypatch, True, "5") == {"index": 5}
    assert made(monkeypatch, True, "0") == {"index": 0}
    assert made(monkeypatch, Side, "2") == {"index": 2}


def test_an_index_that_is_missing_or_wrong_ends_the_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for index, arguments in ((True, ()), (True, ("x",)), (Side, ("3",))):
        with pytest.raises(SystemExit):
            made(monkeypatch, index, *arguments)
    assert "invalid choice: 3 (choose from 1, 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("modes", "arguments", "mode"),
    [
        ((0, 3), (), 0),
        ((3, 0), (), 0),
        ((3, 0), ("--simulate",), 3),
        ((4, 1, 0), (), 0),
        ((4, 1, 0), ("--simulate", "4"), 4),
        ((1, 2), (), 1),
        ((1, 2), ("--simulate", "2"), 2),
    ],
)
def test_the_simulation_mode_is_0_or_the_first(
    monkeypatch: pytest.MonkeyPatch, modes: tuple[int, ...], arguments: tuple[str, ...], mode: int
) -> None:
    assert made(monkeypatch, None, *arguments, modes=modes) == {"simulation_mode": mode}


@pytest.mark.parametrize("arguments", [("--simulate",), ("--simulate", "3")])
def test_a_simulation_mode_must_be_one_of_several(monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    with pytest.raises(SystemExit):
        made(monkeypatch, None, *arguments, modes=(1, 2))
