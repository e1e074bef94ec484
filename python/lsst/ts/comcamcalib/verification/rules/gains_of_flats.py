# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Gains and noises that can't be right speak against the flats with which they were measured."""

from __future__ import annotations

from ...enums import CalibType
from ...findings import Finding, Outcome
from ..judgement import Judgement

__all__ = ["gains_of_flats"]


def gains_of_flats(judgement: Judgement, calib_type: CalibType, threshold: int) -> list[Finding]:
    """Return what the judgement of PTC or GAIN says about the flats.

    Parameters
    ----------
    judgement
        Of the product that was made from the flats.
    calib_type
        Its type.
    threshold
        How many amplifiers of a detector may be implausible without the flats being bad.

    Returns
    -------
    findings
        By detector; the value is the number of its implausible amplifiers.
    """
    detail = f"{calib_type.name}, which was made from the same flats, shows that they are bad: {judgement.reason}"
    return [
        Finding(
            "gains_of_flats",
            Outcome.FAILED if one.amplifiers_failed > threshold else Outcome.FAILURE,
            calib_type.name,
            detector=one.detector,
            value=float(one.amplifiers_failed),
            limit=float(threshold),
            unit="amplifiers",
            detail=detail,
        )
        for one in judgement.detectors
        if one.amplifiers_failed
    ]
