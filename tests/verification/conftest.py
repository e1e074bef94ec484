# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.butler_data import VerificationStatistics
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.verification import RuleContext
from support.plans import make_config

AMPLIFIERS = [f"C1{number}" for number in range(8)] + [f"C0{number}" for number in range(8)]
NAMES = {0: "R22_S00", 1: "R22_S01", 4: "R22_S11"}


class Statistics:
    """Statistics of a verification as cp_verify writes them, all of them good until something is made to fail."""

    def __init__(self, exposures: int, calib_type: CalibType = CalibType.BIAS, threshold: int = 8) -> None:
        self.is_flat = calib_type is CalibType.FLAT
        config = make_config()
        self.expected = RuleContext(
            calib_type=calib_type,
            physical_filter="r_03" if self.is_flat else "",
            exposures=tuple(2026112200001 + number for number in range(exposures)),
            detectors=NAMES,
            amplifiers=dict.fromkeys(NAMES, len(AMPLIFIERS)),
            rules=config.rules(calib_type),
            recipe=config.recipes[calib_type.name].verification,
            threshold=threshold,
        )
        self.detectors: dict[tuple[int, int], dict[Any, Any]] = {
            (exposure, detector): self._good() for exposure in self.expected.exposures for detector in NAMES
        }
        self.uneven = False

    def _good(self) -> dict[Any, Any]:
        tests = {"NOISE": True} if self.is_flat else {"MEAN": True, "NOISE": True, "CR_NOISE": True}
        after = {} if self.is_flat else {"READ_NOISE_CONSISTENT": True}
        verify: dict[str, Any] = {"AMP": {name: {**tests, "SUCCESS": True, **after} for name in AMPLIFIERS}}
        if self.is_flat:
            verify["DET"] = {"SCATTER": True, "SUCCESS": True}
        amplifiers = {name: {"MEAN": 0.25, "NOISE": 7.0, "CR_NOISE": 7.1} for name in AMPLIFIERS}
        return {"AMP": amplifiers, "METADATA": {}, "CATALOG": {}, "DET": {}, "VERIFY": verify, "SUCCESS": True}

    def fail(self, test: str, *, exposures: int, detector: int = 4, amplifiers: int = 16) -> None:
        """Let a test of some amplifiers of a detector fail in the first of the exposures."""
        for exposure in self.expected.exposures[:exposures]:
            one = self.detectors[exposure, detector]
            for name in AMPLIFIERS[:amplifiers]:
                one["VERIFY"]["AMP"][name].update({test: False, "SUCCESS": False})
            one["SUCCESS"] = False

    def fail_whole(self, *, exposures: int, detector: int = 4) -> None:
        """Let a detector's own test fail."""
        for exposure in self.expected.exposures[:exposures]:
            one = self.detectors[exposure, detector]
            one["VERIFY"]["DET"] = {"SCATTER": False, "SUCCESS": False}
            one["SUCCESS"] = False

    def run(self) -> dict[Any, Any]:
        """Return the statistics of the run, merged from those of the detectors as cp_verify does it."""
        merged: dict[Any, Any] = {}
        for exposure in self.expected.exposures:
            failures = [
                f"{NAMES[detector]} {name} {test}".replace("  ", " ")
                for detector in NAMES
                for name, tests in self._tests(exposure, detector).items()
                for test, passed in tests.items()
                if not tests["SUCCESS"] and test != "SUCCESS" and passed is False
            ]
            failed = not all(self.detectors[exposure, detector]["SUCCESS"] for detector in NAMES)
            if self.is_flat:
                failures = ["SCATTER"] if self.uneven else []
            success = not failed and not self.uneven
            merged[exposure] = {"SUCCESS": True} if success else {"SUCCESS": False, "FAILURES": failures}
        return {**merged, "SUCCESS": all(one["SUCCESS"] for one in merged.values())}

    def _tests(self, exposure: int, detector: int) -> dict[str, dict[str, bool]]:
        verify = self.detectors[exposure, detector]["VERIFY"]
        return {**verify["AMP"], **({"": verify["DET"]} if "DET" in verify else {})}

    def all(self, run: Any = None) -> VerificationStatistics:
        """Return everything that cp_verify writes; the statistics of the run may be others."""
        return VerificationStatistics(self.run() if run is None else run, self.detectors, self.exposures())

    def exposures(self) -> dict[int, dict[Any, Any]]:
        """Return the statistics of the exposures, merged from those of the detectors as cp_verify does it."""
        merged: dict[int, dict[Any, Any]] = {}
        for exposure in self.expected.exposures:
            merged[exposure] = {NAMES[detector]: self._merged(exposure, detector) for detector in NAMES}
            success = all(one["SUCCESS"] for one in merged[exposure].values())
            if self.is_flat:
                merged[exposure]["EXP"] = {"SCATTER": 3.5 if self.uneven else 0.01}
                merged[exposure]["VERIFY"] = {"EXP": {"SCATTER": not self.uneven}}
            merged[exposure]["SUCCESS"] = success and not self.uneven
        return merged

    def _merged(self, exposure: int, detector: int) -> dict[str, Any]:
        if self.detectors[exposure, detector]["SUCCESS"]:
            return {"SUCCESS": True}
        failures = [
            f"{name} {test}".strip()
            for name, tests in self._tests(exposure, detector).items()
            for test, passed in tests.items()
            if not tests["SUCCESS"] and test != "SUCCESS" and passed is False
        ]
        return {"SUCCESS": False, "FAILURES": failures}


@pytest.fixture
def statistics() -> Callable[..., Statistics]:
    """Return a maker of statistics."""
    return Statistics
