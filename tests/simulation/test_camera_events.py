# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Text formats of the camera's events."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.simulation.camera_events import (
    filter_fields,
    image_fields,
    join_escaped,
    parse_key_value_map,
    readout_parameters,
)
from lsst.ts.comcamcalib.simulation.layout import DetectorLayout
from lsst.ts.comcamcalib.simulation.world import Image


def test_key_value_map_of_the_comcam_class_is_understood() -> None:
    text = "imageType: BIAS, groupId: 2026-11-22T17:00:01.250, testType: BIAS, stutterDelay: 0.0, reason: daily calib"
    assert parse_key_value_map(text) == {
        "imageType": "BIAS",
        "groupId": "2026-11-22T17:00:01.250",
        "testType": "BIAS",
        "stutterDelay": "0.0",
        "reason": "daily calib",
    }


def test_no_text_is_no_keys() -> None:
    assert parse_key_value_map("  ") == {}


@pytest.mark.parametrize(
    "text", ["imageType", "imageType: BIAS, reason: this, and that", ": BIAS", "a: 1, a: 2", "imageType: BIAS,"]
)
def test_comma_in_a_value_and_other_mistakes_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not `key: value`"):
        parse_key_value_map(text)


KEYS = st.text(st.characters(exclude_characters=",:", categories=("L", "N", "P"))).map(str.strip).filter(bool)
VALUES = st.text(st.characters(exclude_characters=",", categories=("L", "N", "P", "Zs"))).map(str.strip)


@given(st.dictionaries(KEYS, VALUES))
def test_any_values_without_commas_survive_the_key_value_map(items: dict[str, str]) -> None:
    assert parse_key_value_map(", ".join(f"{key}: {value}" for key, value in items.items())) == items


def test_colons_and_backslashes_in_values_are_escaped() -> None:
    assert join_escaped(["BIAS", "17:00:01", "a\\b"]) == r"BIAS:17\:00\:01:a\\b"


@given(st.lists(st.text(), min_size=1))
def test_escaped_values_can_be_told_apart_again(values: list[str]) -> None:
    joined = join_escaped(values)
    parts = re.findall(r"((?:\\.|[^:\\])*)(?:$|:)", joined + ":", flags=re.DOTALL)[: len(values)]
    assert [re.sub(r"\\(.)", r"\1", part, flags=re.DOTALL) for part in parts] == values


def test_image_is_described_as_in_all_its_events() -> None:
    keys = {"imageType": "DARK", "groupId": "20261122-001-DARK"}
    fields = image_fields(Image(20261122, 7, 2, 3, "DARK", 30.0, "r_03", keys, begin_tai=1.5))
    assert fields == {
        "additionalKeys": "imageType:groupId",
        "additionalValues": "DARK:20261122-001-DARK",
        "imagesInSequence": 3,
        "imageName": "CC_O_20261122_000007",
        "imageIndex": 2,
        "imageSource": "CC",
        "imageController": "O",
        "imageDate": "20261122",
        "imageNumber": 7,
        "timestampAcquisitionStart": 1.5,
    }


def test_filter_in_place_has_its_slot() -> None:
    assert filter_fields("i_06", ["g_01", "r_03", "i_06"])["filterSlot"] == 3
    assert filter_fields("r_03", ["g_01", "r_03", "i_06"])["filterPosition"] == 0.0


def test_readout_parameters_tell_each_sensor() -> None:
    fields = readout_parameters("CC_O_20261122_000007", DetectorLayout(128, 64, 32))
    assert fields["ccdLocation"].split(":")[8] == "R22S22"
    assert fields["readRows"] == [128] * 9
    assert fields["overCols"] == [32] * 9
