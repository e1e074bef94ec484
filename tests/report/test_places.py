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
from lsst.ts.comcamcalib.report.places import DETECTOR_SIZE, amplifier_boxes
from lsst.ts.comcamcalib.services.frame_values import regions

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
