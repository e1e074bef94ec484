# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What cp_verify writes about photon transfer curves: of each detector, and of the run, merged by detector."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

__all__ = ["merged", "statistics_of_curve"]


def statistics_of_curve(
    amplifiers: Sequence[str], failed: Collection[str] = (), test: str = "PTC_GAIN", noise: float = 7.0
) -> dict[Any, Any]:
    """Return the statistics of a detector's curve.

    Parameters
    ----------
    amplifiers
        Names of the amplifiers.
    failed
        Those that fail a test; all fail PTC_TURNOFF, as those of all curves of short flats.
    test
        The test that they fail.
    noise
        Read noise of each amplifier (electron).
    """
    tests = {"PTC_GAIN": True, "PTC_NOISE": True, "NOISE_SIGNAL_INDEPENDENCE": True, "PTC_TURNOFF": False}
    return {
        "AMP": {
            name: {
                "PTC_GAIN": 1.7,
                "AMP_GAIN": 1.7,
                "PTC_NOISE": noise,
                "AMP_NOISE": 7.0,
                "PTC_TURNOFF": 30_000.0,
                "PTC_FIT_TYPE": "FULLCOVARIANCE",
                "PTC_RAW_MEANS": [1000.0, 30_000.0],
                "PTC_COV_10_FIT_SUCCESS": True,
            }
            for name in amplifiers
        },
        "DET": {},
        "VERIFY": {
            "AMP": {
                name: {**tests, **({test: False} if name in failed else {}), "SUCCESS": False} for name in amplifiers
            }
        },
        "SUCCESS": False,
    }


def merged(statistics: Mapping[str, Mapping[Any, Any]]) -> dict[Any, Any]:
    """Return the statistics of the run, from those of the detectors by full name."""
    of_run: dict[Any, Any] = {}
    for detector, one in statistics.items():
        of_run[detector] = {"SUCCESS": one["SUCCESS"]}
        if not one["SUCCESS"]:
            of_run[detector]["FAILURES"] = [
                f"{amplifier} {test}"
                for amplifier, tests in one["VERIFY"]["AMP"].items()
                for test, passed in tests.items()
                if test != "SUCCESS" and passed is False
            ]
    return {**of_run, "SUCCESS": all(one["SUCCESS"] for one in of_run.values())}
