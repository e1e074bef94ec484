# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A slip of the keyboard is recognised, a name of one's own is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.collection_names import near

EXISTING = ["LSSTComCam/calib", "LSSTComCam/calib/daily", "LSSTComCam/calib/initial", "u/me/DM-4711", "u/me/flats.2"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("lsstcomcam/calib/daily", "LSSTComCam/calib/daily"),
        ("LSSTComCam/Calib", "LSSTComCam/calib"),
        ("LSSTComCam-calib", "LSSTComCam/calib"),
        ("LSSTComCam/calib/dialy", "LSSTComCam/calib/daily"),
        ("LSSTComCam/calib/dayly", "LSSTComCam/calib/daily"),
        ("LSSTComCam/calib/dail", "LSSTComCam/calib/daily"),
        ("LSSTComCam/calib/ddaily", "LSSTComCam/calib/daily"),
        ("LSSTComCamm/calib/daily", "LSSTComCam/calib/daily"),
        ("LSSTComCam/calibs", "LSSTComCam/calib"),
        ("LSSTComCam/cailb/Daily", "LSSTComCam/calib/daily"),
        ("u/me/flat.2", "u/me/flats.2"),
        ("U/me/dm-4711", "u/me/DM-4711"),
    ],
)
def test_a_slip_is_recognised(name: str, meant: str) -> None:
    assert near(name, EXISTING) == meant


@pytest.mark.parametrize(
    "name",
    [
        "LSSTComCam/calib/daily2",
        "LSSTComCam/calib/daily/2026-11-22",
        "LSSTComCam/calib/weekly",
        "LSSTComCam/calib/u/me/test",
        "LSSTComCam/calib/final",
        "LSSTCam/calib/daily",
        "u/me/DM-4712",
        "u/me/DM-471",
        "u/you/DM-4711",
        "u/me/flats.3",
        "u/he/DM-4711",
    ],
)
def test_a_name_of_its_own_is_left_alone(name: str) -> None:
    assert near(name, EXISTING) == ""


def test_numbers_are_not_run_together() -> None:
    assert near("u/a/11/2", ["u/a/1/12"]) == ""


@given(st.text("aBc12/_-.", max_size=12), st.lists(st.text("aBc12/_-.", max_size=12), max_size=5))
def test_what_is_proposed_exists_and_is_another(name: str, existing: list[str]) -> None:
    meant = near(name, existing)
    assert meant == "" or (meant in existing and meant != name)
