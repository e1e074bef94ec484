# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Area and columns of defects, and what is new or has vanished."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.defect_values import defect_changes, defect_mask, defect_values
from lsst.ts.comcamcalib.services.frame_values import regions
from lsst.ts.comcamcalib.simulation.containers import Box, Defect, Defects

SHAPE = (8, 10)
PLACES = regions(SHAPE, [["A", "B"], ["C", "D"]])
boxes = st.builds(Box, st.integers(0, 6), st.integers(0, 5), st.integers(1, 4), st.integers(1, 3))


def defects(*some: Box) -> Defects:
    return Defects(Defect(one) for one in some)


def values(*some: Box) -> dict[tuple[str, str], float]:
    return {
        (one.amplifier, one.quantity): one.value for one in defect_values(defect_mask(defects(*some), SHAPE), PLACES)
    }


def changes(now: list[Box], before: list[Box]) -> dict[str, float]:
    masks = [defect_mask(defects(*some), SHAPE) for some in (now, before)]
    return {one.quantity: one.value for one in defect_changes(*masks, PLACES)}


def test_overlapping_defects_count_once() -> None:
    found = values(Box(0, 0, 3, 1), Box(1, 0, 3, 1))
    assert found["A", "defect_pixels"] == 4
    assert found["", "defect_fraction"] == 4 / 80


def test_bad_column_is_one_of_which_half_of_an_amplifier_is_bad() -> None:
    found = values(Box(2, 0, 1, 2), Box(7, 4, 1, 1))
    assert (found["A", "defect_columns"], found["D", "defect_columns"]) == (1, 0)
    assert found["", "defect_columns"] == 1


def test_no_defects_is_a_result() -> None:
    assert values()["", "defect_fraction"] == 0.0
    assert math.isnan(changes([], [])["overlap"])


def test_new_and_vanished_defects_are_told_apart() -> None:
    found = changes([Box(0, 0, 1, 4), Box(9, 7, 1, 1)], [Box(9, 7, 1, 1), Box(5, 5, 1, 1)])
    assert found == {"new_fraction": 4 / 80, "vanished_fraction": 1 / 80, "new_columns": 1.0, "overlap": 0.5}


@pytest.mark.parametrize("box", [Box(9, 0, 2, 1), Box(0, 7, 1, 2), Box(-1, 0, 1, 1)])
def test_defect_outside_of_the_detector_is_refused(box: Box) -> None:
    with pytest.raises(ServiceError, match="outside of the detector, which has 8 rows and 10 columns"):
        defect_mask(defects(box), SHAPE)


@given(st.lists(boxes), st.lists(boxes))
def test_old_less_vanished_and_new_is_what_there_is(now: list[Box], before: list[Box]) -> None:
    found = changes(now, before)
    then = values(*before)["", "defect_fraction"]
    assert then - found["vanished_fraction"] + found["new_fraction"] == pytest.approx(
        values(*now)["", "defect_fraction"]
    )
    assert not then or found["overlap"] == pytest.approx(1 - found["vanished_fraction"] / then)
    assert np.isfinite(found["new_columns"])


def test_an_amplifier_that_is_known_to_be_bad_is_no_part_of_the_detector() -> None:
    dead, other = Box(0, 0, 5, 4), Box(5, 0, 1, 4)
    now, before = (defect_mask(defects(*some), SHAPE) for some in ((dead, other), (Box(0, 0, 1, 1),)))
    found = {(one.amplifier, one.quantity): one.value for one in defect_values(now, PLACES, ["A"])}
    assert (found["", "defect_fraction"], found["", "defect_columns"]) == (4 / 60, 1)
    assert (found["A", "defect_pixels"], found["A", "defect_columns"]) == (20, 5)
    changed = {one.quantity: one.value for one in defect_changes(now, before, PLACES, ["A"])}
    assert (changed["new_fraction"], changed["vanished_fraction"], changed["new_columns"]) == (4 / 60, 0, 1)
    assert math.isnan(changed["overlap"])


def test_of_a_detector_with_bad_amplifiers_only_nothing_is_known() -> None:
    found = {one.quantity: one.value for one in defect_values(defect_mask(defects(), SHAPE), PLACES, list(PLACES))}
    assert math.isnan(found["defect_fraction"])
