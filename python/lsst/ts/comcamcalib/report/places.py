# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Where detectors and amplifiers are drawn: a scheme of the focal plane, not to scale.

Detectors have their places by their names, as ``R22_S01``: the digits are row and column, of the raft and in the raft,
with row 0 below and column 0 left, as in the focal-plane coordinates of the science pipelines.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

__all__ = ["DETECTOR_SIZE", "PITCH", "amplifier_boxes", "detector_corners"]

DETECTOR_SIZE = 8.0
"""Side of a detector; an amplifier of 2 x 8 is 1 wide and 4 high."""

PITCH = 9.4
"""From detector to detector."""

_DETECTOR = re.compile(r"R(\d)(\d)_S(\d)(\d)")
# Those of a corner raft of LSSTCam: two guiders, and two wavefront sensors.
_CORNER = re.compile(r"R(\d)(\d)_S([GW])([01])")
_AMPLIFIER = re.compile(r"C([01])([0-7])")


def detector_corners(names: Mapping[int, str]) -> dict[int, tuple[float, float]]:
    """Return the lower left corner of each detector; those without a place in their name come in rows below.

    Parameters
    ----------
    names
        Full names by id.
    """
    places: dict[int, tuple[int, int]] = {}
    for detector, name in names.items():
        if match := _DETECTOR.fullmatch(name):
            raft_row, raft_column, row, column = map(int, match.groups())
            places[detector] = (3 * raft_column + column, 3 * raft_row + row)
        elif match := _CORNER.fullmatch(name):
            raft_row, raft_column, column = int(match[1]), int(match[2]), int(match[4])
            # Beside the neighbours; within the raft they are only in order, because they are of other forms.
            right, up = raft_column < 2, raft_row < 2
            places[detector] = (3 * raft_column + column + right, 3 * raft_row + (match[3] == "G") + up)
    left = min((column for column, _ in places.values()), default=0)
    bottom = min((row for _, row in places.values()), default=0)
    across = max((column for column, _ in places.values()), default=left + 2) - left + 1
    others = [detector for detector in names if detector not in places]
    for number, detector in enumerate(others):
        places[detector] = (left + number % across, bottom - 1 - number // across)
    bottom = min((row for _, row in places.values()), default=0)
    return {one: ((column - left) * PITCH, (row - bottom) * PITCH) for one, (column, row) in places.items()}


def amplifier_boxes(names: Sequence[str]) -> dict[str, tuple[float, float, float, float]]:
    """Return left, bottom, width and height of each amplifier within its detector.

    Parameters
    ----------
    names
        In readout order; ``C10`` to ``C17`` are below and ``C00`` to ``C07`` above, as obs_lsst
        (cameraHeader.yaml) has them in the image; others are spread over two rows.
    """
    known = [_AMPLIFIER.fullmatch(name) for name in names]
    if names and all(known):
        half = DETECTOR_SIZE / 2
        return {
            name: (float(match[2]) * DETECTOR_SIZE / 8, half * (1 - int(match[1])), DETECTOR_SIZE / 8, half)
            for name, match in zip(names, known, strict=True)
            if match is not None
        }
    columns = -(-len(names) // 2) or 1
    width, height = DETECTOR_SIZE / columns, DETECTOR_SIZE / 2
    return {
        name: ((number % columns) * width, height * (1 - number // columns), width, height)
        for number, name in enumerate(names)
    }
