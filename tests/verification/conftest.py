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
from lsst.ts.comcamcalib.verification import NO_EXPOSURE, RuleContext
from support.curve_statistics import merged, statistics_of_curve
from support.plans import make_config

AMPLIFIERS = [f"C1{number}" for number in range(8)] + [f"C0{number}" for number in range(8)]
NAMES = {0: "R22_S00", 1: "R22_S01", 4: "R22_S11"}


class Statistics:
    """Statistics of a verification as cp_verify writes them, all of them good until something is made to fail.

    Those of photon transfer curves have no exposures, and all of their amplifiers fail a test that does not count.
    """

    def __init__(self, exposures: int, calib_type: CalibType = CalibType.BIAS, threshold: int = 8) -> None:
        self.is_flat = calib_type is CalibType.FLAT
        self.is_curve = calib_type is CalibType.PTC
        config = make_config()
        self.expected = RuleContext(
            calib_type=calib_type,
            physical_filter="r_03" if self.is_flat else "",
            exposures=NO_EXPOSURE if self.is_curve else tuple(2026112200001 + number for number in range(exposures)),
            detectors=NAMES,
            amplifiers=dict.fromkeys(NAMES, len(AMPLIFIERS)),
            rules=config.rules(calib_type),
            recipe=config.recipes[calib_type.name].verification,
            threshold=threshold,
        )
        self.detectors: dict[tuple[int | None, int], dict[Any, Any]] = {
            (exposure, detector): self._good() for exposure in self.expected.exposures for detector in NAMES
        }
        self.uneven = False

    def _good(self) -> dict[Any, Any]:
        if self.is_curve:
            return statistics_of_curve(AMPLIFIERS)
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
        if self.is_curve:
            return merged({NAMES[detector]: one for (_, detector), one in self.detectors.items()})
        of_run: dict[Any, Any] = {}
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
            of_run[exposure] = {"SUCCESS": True} if success else {"SUCCESS": False, "FAILURES": failures}
        return {**of_run, "SUCCESS": all(one["SUCCESS"] for one in of_run.values())}

    def _tests(self, exposure: int | None, detector: int) -> dict[str, dict[str, bool]]:
        verify = self.detectors[exposure, detector]["VERIFY"]
        return {**verify["AMP"], **({"": verify["DET"]} if "DET" in verify else {})}

    def all(self, run: Any = None) -> VerificationStatistics:
        """Return everything that cp_verify writes; the statistics of the run may be others."""
        return VerificationStatistics(self.run() if run is None else run, self.detectors, self.exposures())

    def exposures(self) -> dict[int | None, dict[Any, Any]] | None:
        """Return the statistics of the exposures, merged from those of the detectors as cp_verify does it."""
        if self.is_curve:
            return None
        found: dict[int | None, dict[Any, Any]] = {}
        for exposure in self.expected.exposures:
            found[exposure] = {NAMES[detector]: self._merged(exposure, detector) for detector in NAMES}
            success = all(one["SUCCESS"] for one in found[exposure].values())
            if self.is_flat:
                found[exposure]["EXP"] = {"SCATTER": 3.5 if self.uneven else 0.01}
                found[exposure]["VERIFY"] = {"EXP": {"SCATTER": not self.uneven}}
            found[exposure]["SUCCESS"] = success and not self.uneven
        return found

    def _merged(self, exposure: int | None, detector: int) -> dict[str, Any]:
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
