# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Containers keep what they are given, through the files too."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from lsst.ts.comcamcalib.simulation.containers import Box, Defects, Exposure, PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.fits_files import read_fits, read_header, write_fits
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane


@given(st_numpy.arrays(bool, st.tuples(st.integers(1, 8), st.integers(1, 8))))
def test_defects_cover_exactly_the_bad_pixels(mask: np.ndarray) -> None:
    defects = Defects.from_mask(mask)
    assert np.array_equal(defects.to_mask(mask.shape), mask)
    assert sum(defect.getBBox().getArea() for defect in defects) == mask.sum()


def test_a_box_tells_its_edges_as_the_real_one_does() -> None:
    box = Box(3, 5, 2, 1)
    assert (box.getMinX(), box.getMaxX(), box.getMinY(), box.getMaxY()) == (3, 4, 5, 5)
    assert (box.getWidth(), box.getHeight(), box.getArea()) == (2, 1, 2)


def test_defects_survive_being_written() -> None:
    mask = np.zeros((4, 6), bool)
    mask[1, 2:5] = mask[3, 0] = True
    again = Defects.from_dict(Defects.from_mask(mask, {"DETNAME": "R22_S00"}).to_dict())
    assert [defect.getBBox() for defect in again] == [Box(2, 1, 3, 1), Box(0, 3, 1, 1)]
    assert again.getMetadata() == {"DETNAME": "R22_S00"}


def test_photon_transfer_curve_survives_being_written() -> None:
    curve = PhotonTransferCurve(["C10"], "POLYNOMIAL", gain={"C10": 1.7}, expIdMask={"C10": [True, False]})
    assert PhotonTransferCurve.from_dict(curve.to_dict()) == curve


def test_header_keeps_long_keywords_types_and_what_fits_can_not_hold(tmp_path: Path) -> None:
    header = {
        "LSST ISR OVERSCAN RESIDUAL SERIAL STDEV C10": 3.25,
        "EXPTIME": 1.5,
        "SEQNUM": 12,
        "REASON": "",
        "LSST ISR GAIN C10": math.nan,
        "LSST CALIB RUN BIAS": "u/ocps/0123456789abcdef0123456789abcdef/run",
    }
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    write_fits(tmp_path / "image.fits", array, header)
    pixels, keywords = read_fits(tmp_path / "image.fits")
    assert np.array_equal(pixels, array)
    assert keywords == pytest.approx(header, nan_ok=True)
    assert read_header(tmp_path / "image.fits").keys() == header.keys()


def test_raw_pixels_keep_their_16_bits(tmp_path: Path) -> None:
    array = np.array([[0, 32_767, 32_768, 65_535]], np.uint16)
    write_fits(tmp_path / "raw.fits", array, {})
    assert np.array_equal(read_fits(tmp_path / "raw.fits")[0], array)


def test_products_say_what_they_are_in_one_line() -> None:
    exposure = Exposure.from_array(np.full((4, 6), 2.5), {"OBSID": "CC_O_20261122_000001"})
    assert repr(exposure) == "Exposure(4 x 6 pixels, median 2.5, 1 header keywords)"
    curve = PhotonTransferCurve(["C10", "C11"], "POLYNOMIAL", gain={"C10": 1.5, "C11": 1.75})
    assert repr(curve) == "PhotonTransferCurve(2 amplifiers, gain 1.500 to 1.750 electron/adu)"
    mask = np.zeros((5, 5), dtype=bool)
    mask[1, 1:3] = True
    assert repr(Defects.from_mask(mask)) == "Defects(1 regions, 2 pixels)"


def test_raw_knows_where_its_amplifiers_are() -> None:
    plane = FocalPlane(amplifier_shape=(16, 8), overscan_columns=4)
    raw = Exposure.from_array(*plane.expose("FLAT", 1.0, 2026112200001, "r_03", 4))
    amplifiers = raw.getDetector()
    assert [one.getName() for one in amplifiers][:2] == ["C10", "C11"]
    for one in amplifiers:
        data, overscan = one.getRawDataBBox(), one.getRawHorizontalOverscanBBox()
        assert (data.getWidth(), data.getHeight(), overscan.getWidth(), overscan.getHeight()) == (8, 16, 4, 16)
        assert overscan.getMinX() == data.getMaxX() + 1 and overscan.getMinY() == data.getMinY()
    with pytest.raises(KeyError):
        Exposure.from_array(np.zeros((4, 4)), {}).getDetector()
