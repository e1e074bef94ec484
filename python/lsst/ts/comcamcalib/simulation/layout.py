# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names and geometry of the simulated LSSTComCam: detectors, amplifiers, filters, sections of an image.

Import this where a name or a shape is needed: it loads nothing of the Butler.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = [
    "AMPLIFIER_NAMES",
    "AMPLIFIER_ROWS",
    "DETECTOR_NAMES",
    "INSTRUMENT",
    "PHYSICAL_FILTERS",
    "PIPELINE_ENVIRONMENT",
    "RAFT",
    "RAW_COLLECTION",
    "DetectorLayout",
    "Section",
]

INSTRUMENT = "LSSTComCam"
RAFT = "R22"
RAW_COLLECTION = f"{INSTRUMENT}/raw/all"

DETECTOR_NAMES = tuple(f"{RAFT}_S{row}{column}" for row in range(3) for column in range(3))
"""Full names of the detectors; the position in the tuple is the detector's number."""

AMPLIFIER_NAMES = (*(f"C1{column}" for column in range(8)), *(f"C0{column}" for column in reversed(range(8))))
"""Names of a detector's amplifiers in readout order."""

AMPLIFIER_ROWS = tuple(tuple(f"C{row}{column}" for column in range(8)) for row in range(2))
"""Names of the amplifiers in an image, from the lowest row upwards and in each from left to right."""

PHYSICAL_FILTERS: Mapping[str, str] = {
    "u_05": "u",
    "u_02": "u",
    "u_06": "u",
    "g_07": "g",
    "g_01": "g",
    "r_03": "r",
    "i_06": "i",
    "z_03": "z",
    "z_02": "z",
    "y_04": "y",
    "empty": "white",
    "unknown": "unknown",
}
"""Band of each physical filter that the Butler knows for LSSTComCam."""

_PIPELINES = Path(__file__).parent / "pipelines"
PIPELINE_ENVIRONMENT: Mapping[str, str] = {
    "CP_PIPE_DIR": str(_PIPELINES / "cp_pipe"),
    "CP_VERIFY_DIR": str(_PIPELINES / "cp_verify"),
}
"""What the worker's environment needs, so that ``${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml`` is found."""

Section = tuple[slice, slice]
"""Rows and columns of a part of an image, as an index of its array."""

_AMPLIFIER_COLUMNS = 8


@dataclasses.dataclass(frozen=True)
class DetectorLayout:
    """Where the amplifiers are in the raw and in the assembled image of a detector.

    Both images have two rows of eight amplifiers: C00 to C07 below, C10 to C17 above. In the raw image the serial
    overscan of an amplifier follows its imaging columns; the assembled image has the imaging columns only.

    Attributes
    ----------
    amplifier_rows, amplifier_columns
        Size of the imaging part of an amplifier, pixel.
    overscan_columns
        Serial overscan of an amplifier, pixel.
    """

    amplifier_rows: int
    amplifier_columns: int
    overscan_columns: int

    @classmethod
    def from_header(cls, header: Mapping[str, Any]) -> DetectorLayout:
        """Return the layout that the header of a raw image describes.

        Raises
        ------
        KeyError
            A keyword is missing: the header is not that of a raw image.
        """
        return cls(int(header["READROWS"]), int(header["READCOLS"]), int(header["OVERCOLS"]))

    def to_header(self) -> dict[str, int]:
        """Return the header keywords that describe this layout."""
        return {
            "READROWS": self.amplifier_rows,
            "READCOLS": self.amplifier_columns,
            "OVERCOLS": self.overscan_columns,
        }

    @property
    def image_shape(self) -> tuple[int, int]:
        """Rows and columns of the assembled image."""
        return 2 * self.amplifier_rows, _AMPLIFIER_COLUMNS * self.amplifier_columns

    @property
    def raw_shape(self) -> tuple[int, int]:
        """Rows and columns of the raw image."""
        return 2 * self.amplifier_rows, _AMPLIFIER_COLUMNS * (self.amplifier_columns + self.overscan_columns)

    def image_section(self, amplifier: str) -> Section:
        """Return the amplifier's section of the assembled image."""
        column = int(amplifier[2]) * self.amplifier_columns
        return self._rows(amplifier), slice(column, column + self.amplifier_columns)

    def raw_section(self, amplifier: str) -> Section:
        """Return the amplifier's imaging section of the raw image."""
        column = int(amplifier[2]) * (self.amplifier_columns + self.overscan_columns)
        return self._rows(amplifier), slice(column, column + self.amplifier_columns)

    def overscan_section(self, amplifier: str) -> Section:
        """Return the amplifier's serial overscan in the raw image."""
        columns = self.raw_section(amplifier)[1]
        return self._rows(amplifier), slice(columns.stop, columns.stop + self.overscan_columns)

    def segment_section(self, amplifier: str) -> Section:
        """Return all of the amplifier in the raw image: imaging part and serial overscan."""
        rows, columns = self.raw_section(amplifier)
        return rows, slice(columns.start, columns.stop + self.overscan_columns)

    def _rows(self, amplifier: str) -> slice:
        row = int(amplifier[1]) * self.amplifier_rows
        return slice(row, row + self.amplifier_rows)
