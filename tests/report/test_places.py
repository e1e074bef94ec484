# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An amplifier is drawn where its pixels are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from lsst.ts.comcamcalib.report.places import DETECTOR_SIZE, PITCH, amplifier_boxes, detector_corners
from lsst.ts.comcamcalib.services.frame_values import regions
from support.cameras import LSSTCAM

CONFIGURATION = Path(__file__).parents[2] / "config" / "ComCamCalib" / "v1" / "_init.yaml"


def test_amplifiers_are_drawn_where_the_configuration_has_them_in_the_image() -> None:
    values: dict[str, Any] = yaml.safe_load(CONFIGURATION.read_text())
    measured = regions((2, 8), values["instrument"]["amplifier_rows"])
    boxes = amplifier_boxes(list(measured))
    for name, (rows, columns) in measured.items():
        left, bottom, *_ = boxes[name]
        assert (left, bottom) == (columns.start * DETECTOR_SIZE / 8, rows.start * DETECTOR_SIZE / 2), name


def test_amplifiers_with_other_names_fill_the_detector_without_overlap() -> None:
    boxes = amplifier_boxes(["A", "B", "C", "D"])
    assert len({(left, bottom) for left, bottom, _, _ in boxes.values()}) == 4
    assert sum(width * height for _, _, width, height in boxes.values()) == DETECTOR_SIZE**2


def test_a_detector_of_lsstcam_is_drawn_in_its_raft() -> None:
    names = dict(enumerate(LSSTCAM))
    places = {name: detector_corners(names)[detector] for detector, name in names.items()}
    assert len(set(places.values())) == 205
    for name, (left, bottom) in places.items():
        assert (bottom // (3 * PITCH), left // (3 * PITCH)) == (int(name[1]), int(name[2])), name


def test_a_detector_without_a_place_in_its_name_comes_below() -> None:
    places = detector_corners({0: "R22_S00", 1: "R22_S01", 2: "SPARE"})
    assert places == {0: (0.0, PITCH), 1: (PITCH, PITCH), 2: (0.0, 0.0)}
