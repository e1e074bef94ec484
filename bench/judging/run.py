# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast a whole camera's statistics are judged, beside counting the same failures as today's script does.

DETECTORS and EXPOSURES in the environment say how many; each detector has 16 amplifiers with 8 tests. One detector is
noisy in all exposures, one in a tenth of them. The table and all rules are measured, reading the files is not
(bench-statistics measures that). The script only counts the strings in the statistics of the run, and so finds neither
the detector nor what is missing.
"""

from __future__ import annotations

import collections
import os
import pathlib
import random
import resource
import statistics
import sys
import time
from typing import Any

from lsst.ts.comcamcalib.butler_data import VerificationStatistics
from lsst.ts.comcamcalib.config import CscConfig, read_config
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.verification import FrameFacts, RuleContext, judge_statistics

DETECTORS = int(os.environ.get("DETECTORS", "205"))
EXPOSURES = int(os.environ.get("EXPOSURES", "100"))
ROUNDS = 3
CONFIG = pathlib.Path(__file__).parents[2] / "config" / "ComCamCalib" / "v1"
FIRST = 2026112200001
AMPLIFIERS = [f"C{row}{column}" for row in (1, 0) for column in range(8)]
TESTS = ("MEAN", "NOISE", "CR_NOISE", "SKEW", "STDEV", "CORNER", "SHIFT", "READ_NOISE_CONSISTENT")
STATISTICS = ("MEAN", "NOISE", "CR_NOISE", "MEDIAN", "STDEV", "SKEW", "AMP_CORNER", "READ_NOISE")
NOISY, SOMETIMES_NOISY = 4, 7
NAMES = {number: f"R{number // 9:02d}_S{number % 9 // 3}{number % 3}" for number in range(DETECTORS)}


def made(config: CscConfig) -> tuple[VerificationStatistics, RuleContext]:
    """Return the statistics as they come from the files, and what is expected."""
    dice = random.Random(1)
    exposures = tuple(FIRST + number for number in range(EXPOSURES))
    detectors = {
        (exposure, detector): one(detector == NOISY or (detector == SOMETIMES_NOISY and dice.random() < 0.1), dice)
        for exposure in exposures
        for detector in NAMES
    }
    recipe = config.recipes["BIAS"].verification
    assert recipe is not None
    frames = FrameFacts(
        limits=config.frames,
        exposure_times=dict.fromkeys(exposures, 0.0),
        in_product=True,
        threshold=8,
        quiet_noise=config.plausible.noise_min,
    )
    context = RuleContext(
        calib_type=CalibType.BIAS,
        physical_filter="",
        detectors=NAMES,
        amplifiers=dict.fromkeys(NAMES, len(AMPLIFIERS)),
        rules=config.rules(CalibType.BIAS),
        exposures=exposures,
        threshold=8,
        recipe=recipe.model_copy(update={"tests": TESTS[:-1]}),
        frames=frames,
    )
    return VerificationStatistics(of_run(exposures, detectors), detectors, of_exposures(exposures, detectors)), context


def one(noisy: bool, dice: random.Random) -> dict[str, Any]:
    tests = {test: not noisy or test != "NOISE" for test in TESTS} | {"SUCCESS": not noisy}
    return {
        "AMP": {name: {stat: 7.0 + dice.random() for stat in STATISTICS} for name in AMPLIFIERS},
        "VERIFY": {"AMP": {name: dict(tests) for name in AMPLIFIERS}},
        "SUCCESS": not noisy,
    }


def of_exposures(exposures: tuple[int, ...], detectors: dict[tuple[int, int], Any]) -> dict[int, Any]:
    failures = {"SUCCESS": False, "FAILURES": [f"{name} NOISE" for name in AMPLIFIERS]}
    merged: dict[int, Any] = {}
    for exposure in exposures:
        good = {detector: detectors[exposure, detector]["SUCCESS"] for detector in NAMES}
        merged[exposure] = {NAMES[number]: {"SUCCESS": True} if one else failures for number, one in good.items()}
        merged[exposure]["SUCCESS"] = all(good.values())
    return merged


def of_run(exposures: tuple[int, ...], detectors: dict[tuple[int, int], Any]) -> dict[Any, Any]:
    merged: dict[Any, Any] = {}
    for exposure in exposures:
        bad = [number for number in NAMES if not detectors[exposure, number]["SUCCESS"]]
        failures = [f"{NAMES[number]} {name} NOISE" for number in bad for name in AMPLIFIERS]
        merged[exposure] = {"SUCCESS": False, "FAILURES": failures} if failures else {"SUCCESS": True}
    return {**merged, "SUCCESS": all(one["SUCCESS"] for one in merged.values())}


def counted_by_the_script(run: dict[Any, Any]) -> dict[str, int]:
    """Count the failures of each test in the statistics of the run, string by string."""
    counts: collections.Counter[str] = collections.Counter()
    for entry in run.values():
        if isinstance(entry, dict):
            counts.update(text.split(" ")[-1] for text in entry.get("FAILURES", ()))
    return dict(counts)


def main() -> None:
    statistics_of_all, context = made(read_config(CONFIG, "summit"))
    before_mb = peak_mb()
    judging, counting = [], []
    for _ in range(ROUNDS):
        begin = time.process_time()
        judgement = judge_statistics(statistics_of_all, context)
        middle = time.process_time()
        counted = counted_by_the_script(statistics_of_all.run)  # type: ignore[arg-type]
        judging.append(middle - begin)
        counting.append(time.process_time() - middle)
    same = judgement.failures_by_test == counted
    print(f"{DETECTORS} detectors x {len(AMPLIFIERS)} amplifiers x {len(TESTS)} tests x {EXPOSURES} exposures, CPU s")
    print(f"  table and all rules      {statistics.median(judging):8.2f}   (aim 2)")
    print(f"  counting as the script   {statistics.median(counting):8.4f}")
    print(f"  memory beside the statistics themselves   {peak_mb() - before_mb:6.0f} MB   (aim 500)")
    print(f"  {judgement.verdict.name}: {judgement.reason}")
    print("  both count the same failures" if same else f"  NOT the same: {judgement.failures_by_test}, {counted}")
    sys.exit(0 if same else 1)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    main()
