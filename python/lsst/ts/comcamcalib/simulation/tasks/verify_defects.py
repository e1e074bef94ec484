# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tests what defects do to exposures, as cp_verify does."""

from __future__ import annotations

from typing import Any

import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .statistics import clip_statistics, find_cosmic_rays
from .verify import CpVerifyStatsConfig, CpVerifyStatsConnections

__all__ = ["CpVerifyDefectsTask"]


class CpVerifyDefectsConnections(CpVerifyStatsConnections, dimensions=("instrument", "exposure", "detector")):
    """An exposure processed with the defects, and without them."""

    uncorrectedExp = connectionTypes.Input(
        doc="The exposure, processed without defects.",
        name="uncorrectedExp",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )


class CpVerifyDefectsConfig(CpVerifyStatsConfig, pipelineConnections=CpVerifyDefectsConnections):
    """How to measure."""


class CpVerifyDefectsTask(pipe_base.PipelineTask):
    """Compares the pixels of an exposure with and without its defects."""

    ConfigClass = CpVerifyDefectsConfig
    _DefaultName = "cpVerifyDefects"

    def run(self, inputExp: Any, uncorrectedExp: Any) -> Any:
        """Return statistics and test results of one detector, in the shape that cp_verify gives them."""
        layout = DetectorLayout.from_header(inputExp.metadata)
        masked, whole = inputExp.image.array, uncorrectedExp.image.array
        amplifiers = {
            name: self._measure(masked[layout.image_section(name)], whole[layout.image_section(name)])
            for name in AMPLIFIER_NAMES
        }
        verify = {name: _judge(values) for name, values in amplifiers.items()}
        statistics = {
            "AMP": amplifiers,
            "METADATA": {},
            "CATALOG": {},
            "DET": {
                "NUM_COSMICS_BEFORE": self._count_cosmic_rays(whole, layout),
                "NUM_COSMICS_AFTER": self._count_cosmic_rays(masked, layout),
            },
            "VERIFY": {"AMP": verify},
            "SUCCESS": all(tests["SUCCESS"] for tests in verify.values()),
        }
        return pipe_base.Struct(outputStats=statistics)

    def _measure(self, masked: npt.NDArray[Any], whole: npt.NDArray[Any]) -> dict[str, float]:
        values: dict[str, float] = {}
        for prefix, pixels in (("", masked), ("UNMASKED_", whole), ("UNC_", whole)):
            good = pixels[np.isfinite(pixels)]
            clipped = clip_statistics(pixels, self.config.numSigmaClip, self.config.clipMaxIter)
            values |= {
                f"{prefix}OUTLIERS": int(good.size - clipped.number),
                f"{prefix}STDEV": clipped.stdev,
                f"{prefix}MIN": float(good.min(initial=np.inf)),
                f"{prefix}MAX": float(good.max(initial=-np.inf)),
            }
            if prefix != "UNMASKED_":
                values[f"{prefix}MEDIAN"] = float(np.median(good)) if good.size else float("nan")
                values[f"{prefix}DEFECT_PIXELS"] = int(pixels.size - good.size)
        deviation = (whole - values["MEDIAN"]) / values["STDEV"]
        density = np.exp(-(deviation**2) / 2) / np.sqrt(2 * np.pi)
        values["STAT_OUTLIERS"] = int((density < 1 / density.size).sum())
        values["FRAC"] = values["DEFECT_PIXELS"] / masked.size
        return values

    def _count_cosmic_rays(self, image: npt.NDArray[Any], layout: DetectorLayout) -> int:
        count = 0
        for name in AMPLIFIER_NAMES:
            pixels = image[layout.image_section(name)]
            level = clip_statistics(pixels, self.config.numSigmaClip, self.config.clipMaxIter)
            count += int(find_cosmic_rays(pixels, level.mean, level.stdev, self.config.crGrow).sum())
        return count


def _judge(values: dict[str, float]) -> dict[str, bool]:
    """Test the statistics of an amplifier. The last test compares two numbers that have no reason to be the same."""
    tests = {
        "OUTLIERS": values["UNMASKED_OUTLIERS"] >= values["OUTLIERS"],
        "STDEV": values["UNMASKED_STDEV"] >= values["STDEV"],
        "MIN": values["UNMASKED_MIN"] <= values["MIN"],
        "MAX": values["UNMASKED_MAX"] >= values["MAX"],
        "PROB_TEST": values["STAT_OUTLIERS"] == values["DEFECT_PIXELS"],
    }
    return {**tests, "SUCCESS": all(tests.values())}
