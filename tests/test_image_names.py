# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposure ids from image names."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.plans import make_config

exposure_id_of = make_config().instrument.image_names.exposure_id


@pytest.mark.parametrize(
    ("obs_id", "exposure_id"),
    [
        # Today every controller but H counts together with the OCS.
        ("CC_O_20261122_000012", 2026112200012),
        ("CC_C_20261122_000012", 2026112200012),
        ("CC_P_20261122_000012", 2026112200012),
        ("CC_Q_20261122_000012", 2026112200012),
        ("CC_S_20261122_000012", 2026112200012),
        ("CC_H_20261122_000012", 4026112200012),
        ("CC_O_20261122_099999", 2026112299999),
        # The last day with an offset, and the day after it.
        ("CC_C_20231004_000001", 3023100400001),
        ("CC_C_20231005_000001", 2023100500001),
        ("CC_P_20250417_000001", 5025041700001),
        ("CC_P_20250418_000001", 2025041800001),
        ("CC_Q_20250417_000001", 6025041700001),
        ("CC_Q_20250418_000001", 2025041800001),
        ("CC_S_20250417_000001", 7025041700001),
        ("CC_S_20250418_000001", 2025041800001),
        ("CC_S_20231004_000001", 7023100400001),
        ("CC_C_20250417_000001", 2025041700001),
        ("CC_O_20200101_000001", 2020010100001),
        ("CC_H_20200101_000001", 4020010100001),
    ],
)
def test_an_image_has_the_id_that_obs_lsst_gives_it(obs_id: str, exposure_id: int) -> None:
    assert exposure_id_of(obs_id) == exposure_id


@pytest.mark.parametrize(
    ("obs_id", "sentence"),
    [
        (
            "CC_X_20261122_000012",
            "under controller X; exposure ids are known for these controllers only: O, C, H, P, Q, S",
        ),
        ("CC_o_20261122_000012", "no image name of this camera"),
        ("CC_O_20261122_100000", "sequence number above 99999"),
        ("MC_O_20261122_000012", "no image name of this camera"),
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


@given(
    day=st.dates(datetime.date(1970, 1, 1), datetime.date(2999, 12, 31)),
    sequence=st.integers(0, 99999),
    controller=st.sampled_from("OCHPQS"),
)
def test_an_id_has_the_image_s_day_and_sequence_and_a_year_that_is_at_most_ahead(
    day: datetime.date, sequence: int, controller: str
) -> None:
    exposure_id = exposure_id_of(f"CC_{controller}_{day:%Y%m%d}_{sequence:06d}")
    assert exposure_id % 100000 == sequence
    assert exposure_id // 100000 % 10000 == day.month * 100 + day.day
    ahead = exposure_id // 10**9 - day.year
    unified = {"C": datetime.date(2023, 10, 5), "H": datetime.date.max}.get(controller, datetime.date(2025, 4, 18))
    assert ahead == (0 if controller == "O" or day >= unified else 1000 * "OCHPQS".index(controller))


@given(st.text(max_size=30))
def test_no_other_text_is_an_image_name(text: str) -> None:
    with pytest.raises(ValueError, match=r"\.$|\)\.$"):
        exposure_id_of(text)
