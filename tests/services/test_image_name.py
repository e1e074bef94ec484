# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposure ids from image names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.image_name import exposure_id_of


def test_the_ocs_s_images_keep_their_year_and_those_of_ccs_get_a_thousand_more() -> None:
    assert exposure_id_of("CC_O_20261122_000012") == 2026112200012
    assert exposure_id_of("CC_C_20261122_000012") == 3026112200012
    assert exposure_id_of("CC_O_20261122_099999") == 2026112299999


@pytest.mark.parametrize(
    ("obs_id", "sentence"),
    [
        ("CC_S_20261122_000012", "under controller S; exposure ids are known for O and C only"),
        ("CC_O_20261122_100000", "sequence number above 99999"),
        ("MC_O_20261122_000012", "no image name of LSSTComCam"),
        ("CC_O_20261122_00012", "no image name"),
        ("test_comcam_20261122_1", "no image name"),
        ("CC_O_20261122_000012 ", "no image name"),
        ("CC_O_\uff12\uff10\uff12\uff161122_000012", "no image name"),
        ("", "no image name"),
    ],
)
def test_what_has_no_exposure_id_is_told_in_a_sentence(obs_id: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        exposure_id_of(obs_id)


@given(st.integers(1970, 2999), st.integers(1, 12), st.integers(1, 28), st.integers(0, 99999), st.sampled_from("OC"))
def test_every_image_has_an_id_of_its_own_in_the_order_of_time(
    year: int, month: int, day: int, sequence: int, controller: str
) -> None:
    exposure_id = exposure_id_of(f"CC_{controller}_{year}{month:02d}{day:02d}_{sequence:06d}")
    assert exposure_id % 100000 == sequence
    assert exposure_id // 100000 == (year + (1000 if controller == "C" else 0)) * 10000 + month * 100 + day


@given(st.text(max_size=30))
def test_no_other_text_is_an_image_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$|\)\.$"):
        exposure_id_of(text)
