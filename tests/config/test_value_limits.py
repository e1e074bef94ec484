# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A limit is of something that is measured, or it would never be met and nobody would notice."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from lsst.ts.comcamcalib.butler_data import ProductValue
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.config.value_limits import COMPARED, MEASURED, OF_DETECTOR
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.services.curve_values import curve_values, pair_values
from lsst.ts.comcamcalib.services.defect_values import defect_changes, defect_values
from lsst.ts.comcamcalib.services.frame_values import changed_fractions, depth_values, frame_values
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from support.plans import make_config

PLACES = {"C10": (slice(0, 8), slice(0, 8)), "C11": (slice(0, 8), slice(8, 16))}
IMAGE = np.zeros((8, 16))
CURVE = PhotonTransferCurve(["C10"], "POLYNOMIAL", gain={"C10": 1.7}, noise={"C10": 7.0})


def values_of(name: str) -> tuple[list[ProductValue], list[ProductValue]]:
    """Return what the services measure in a product, and what in comparison only."""
    match name:
        case "DEFECTS":
            mask = np.zeros((8, 16), bool)
            return list(defect_values(mask, PLACES)), list(defect_changes(mask, mask, PLACES))
        case "PTC":
            return list(curve_values(CURVE)), []
        case "GAIN":
            return list(pair_values([CURVE])), []
        case _:
            changes = list(changed_fractions(IMAGE, IMAGE, PLACES))
            kind = CalibType[name]
            return [*frame_values(kind, IMAGE, PLACES), *depth_values(kind, [1.0, 1.0])], changes


@pytest.mark.parametrize("name", [one.name for one in CalibType])
def test_the_quantities_are_those_that_are_measured(name: str) -> None:
    measured, compared = values_of(name)
    assert set(MEASURED[name]) == {one.quantity for one in measured}
    both = {one.quantity for one in measured}
    if name == "GAIN":
        both &= {one.quantity for one in values_of("PTC")[0]}
    assert set(COMPARED[name]) == both | {one.quantity for one in compared}
    without_amplifiers = both - {one.quantity for one in (*measured, *compared) if one.amplifier}
    assert without_amplifiers <= OF_DETECTOR
    assert not OF_DETECTOR & {one.quantity for one in (*measured, *compared) if one.amplifier}


def with_limit(section: str, product: str, **changes: Any) -> dict[str, Any]:
    values = json.loads(make_config().model_dump_json())
    limit = {"quantity": "gain", "of": "detector", "must_be": "at most", "limit": 1, "outcome": "count", **changes}
    if section == "drift":
        limit["change"] = "absolute"
    values["values"][section][product].append(limit)
    return values


@pytest.mark.parametrize(
    ("section", "product", "changes", "sentence"),
    [
        ("limits", "PTC", {"quantity": "gian"}, "values.limits.PTC: gian is not measured there; there are gain, noise"),
        (
            "limits",
            "FLAT",
            {"quantity": "level"},
            "level is not measured there; there are response, response_noise, exposures, exposure_sum.",
        ),
        ("limits", "BIAS", {"quantity": "changed_fraction"}, "changed_fraction is not measured there; there are level"),
        (
            "drift",
            "GAIN",
            {"quantity": "gain_min"},
            "values.drift.GAIN: gain_min is not measured there; there are gain",
        ),
        (
            "drift",
            "DEFECTS",
            {"quantity": "overlap", "of": "amplifier"},
            "values.drift.DEFECTS: overlap is of the detector; write of: detector.",
        ),
    ],
)
def test_a_limit_that_would_never_be_met_is_refused(
    section: str, product: str, changes: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(BadInputError) as refused:
        CscConfig.from_namespace(with_limit(section, product, **changes))
    assert sentence in str(refused.value)


def test_a_run_that_was_accepted_with_such_a_limit_can_still_be_read() -> None:
    stored = CscConfig.model_validate(with_limit("limits", "PTC", quantity="gian"))
    assert stored.values is not None and stored.values.limits["PTC"][-1].quantity == "gian"


def test_limits_of_what_is_measured_are_accepted() -> None:
    CscConfig.from_namespace(with_limit("drift", "PTC", quantity="fit_residual", of="amplifier"))
