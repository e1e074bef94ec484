# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Measures processed exposures of a detector, and tests them as cp_verify does."""

from __future__ import annotations

import math
from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
import numpy.typing as npt
from lsst.pipe.base import connectionTypes

from ..layout import AMPLIFIER_NAMES, DetectorLayout
from .isr import GAIN_KEY, OVERSCAN_NOISE_KEY, READ_NOISE_KEY, values_by_amplifier
from .statistics import clip_statistics, find_cosmic_rays

__all__ = ["CpVerifyBiasTask", "CpVerifyDarkTask", "CpVerifyFlatTask"]

# Limits that cp_verify has as literals in its code.
_NOISE_TOLERANCE = 0.05
_SCATTER_LIMIT = 0.05


class CpVerifyStatsConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure", "detector")):
    """A processed exposure and its statistics."""

    inputExp = connectionTypes.Input(
        doc="Processed exposure.",
        name="postISRCCD",
        storageClass="SimulatedExposure",
        dimensions=("instrument", "exposure", "detector"),
    )
    outputStats = connectionTypes.Output(
        doc="Statistics and test results.",
        name="detectorStats",
        storageClass="StructuredDataDict",
        dimensions=("instrument", "exposure", "detector"),
    )


class CpVerifyStatsConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpVerifyStatsConnections):
    """How to measure."""

    numSigmaClip = pex_config.Field[float](doc="Clipping threshold, standard deviations.", default=5.0)
    clipMaxIter = pex_config.Field[int](doc="Clipping iterations.", default=3)
    crGrow = pex_config.Field[int](doc="By how many pixels to widen a cosmic ray.", default=0)
    nCrPixelMax = pex_config.Field[int](doc="More pixels of cosmic rays than that are a failure.", default=10_000)


class CpVerifyStatsTask(pipe_base.PipelineTask):
    """Measures the amplifiers of a processed exposure and tests the results."""

    ConfigClass = CpVerifyStatsConfig
    _DefaultName = "cpVerifyStats"

    def run(self, inputExp: Any) -> Any:
        """Return statistics and test results of one detector, in the shape that cp_verify gives them."""
        layout = DetectorLayout.from_header(inputExp.metadata)
        array = inputExp.image.array
        amplifiers = {name: self._measure(array[layout.image_section(name)]) for name in AMPLIFIER_NAMES}
        statistics: dict[str, Any] = {
            "AMP": amplifiers,
            "METADATA": self._read_metadata(inputExp.metadata),
            "CATALOG": {},
            "DET": self._measure_detector(amplifiers),
        }
        self._measure_whole(inputExp, layout, statistics)
        statistics["VERIFY"], statistics["SUCCESS"] = self.judge(inputExp.metadata, statistics)
        return pipe_base.Struct(outputStats=statistics)

    def _measure(self, amplifier: npt.NDArray[Any]) -> dict[str, Any]:
        clipped = clip_statistics(amplifier, self.config.numSigmaClip, self.config.clipMaxIter)
        return {"MEAN": _finite(amplifier).mean().item(), "NOISE": clipped.stdev}

    def _read_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        return {}

    def _measure_detector(self, amplifiers: dict[str, dict[str, Any]]) -> dict[str, float]:
        return {}

    def _measure_whole(self, exposure: Any, layout: DetectorLayout, statistics: dict[str, Any]) -> None:
        """Add what is not measured on one amplifier alone."""

    def judge(self, metadata: dict[str, Any], statistics: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the results of the tests of these statistics, and whether all that count were passed."""
        raise NotImplementedError


class CpVerifyBiasTask(CpVerifyStatsTask):
    """Tests a bias from which the master bias was subtracted."""

    _DefaultName = "cpVerifyBias"
    _has_corner = True

    def _read_metadata(self, metadata: dict[str, Any]) -> dict[str, Any]:
        noise = values_by_amplifier(metadata, OVERSCAN_NOISE_KEY)
        if not noise:
            raise KeyError(f"no amplifier has {OVERSCAN_NOISE_KEY!r} in the metadata of {metadata.get('DETNAME')}")
        return {"READ_NOISE_ADU": noise}

    def _measure_whole(self, exposure: Any, layout: DetectorLayout, statistics: dict[str, Any]) -> None:
        array = exposure.image.array
        amplifiers = statistics["AMP"]
        noise = np.empty(layout.image_shape, np.float32)
        level = np.empty(layout.image_shape, np.float32)
        for name, values in amplifiers.items():
            noise[layout.image_section(name)] = values["NOISE"]
            level[layout.image_section(name)] = np.nanmedian(array[layout.image_section(name)])
        cosmic_rays = find_cosmic_rays(array, level, noise, self.config.crGrow)
        too_many = int(cosmic_rays.sum()) > self.config.nCrPixelMax
        clean = array if too_many else np.where(cosmic_rays, np.nan, array)
        for name, values in amplifiers.items():
            values["CR_NOISE"] = _finite(clean[layout.image_section(name)]).std(ddof=1).item()
            if too_many:
                values["FORCE_FAILURE"] = True
            if self._has_corner:
                values["AMP_CORNER"] = _corner_mean(array[layout.image_section(name)], name)

    def judge(self, metadata: dict[str, Any], statistics: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Test mean and noise of each amplifier."""
        read_noise = values_by_amplifier(metadata, READ_NOISE_KEY)
        gain = values_by_amplifier(metadata, GAIN_KEY)
        tests = {}
        for name, values in statistics["AMP"].items():
            noise, clean_noise = values["NOISE"], values["CR_NOISE"]
            of_amplifier = {
                "MEAN": abs(values["MEAN"]) < noise,
                "NOISE": (noise - read_noise[name]) / read_noise[name] <= _NOISE_TOLERANCE,
                "CR_NOISE": clean_noise > 0 and abs(noise - clean_noise) / clean_noise <= _NOISE_TOLERANCE,
            }
            if values.get("FORCE_FAILURE"):
                of_amplifier["PROCESSING"] = False
            of_amplifier["SUCCESS"] = all(of_amplifier.values())
            # As in cp_verify, this one comes too late to count.
            overscan_noise = statistics["METADATA"]["READ_NOISE_ADU"].get(name, 0.0) * gain[name]
            if overscan_noise != 0:
                excess = (overscan_noise - read_noise[name]) / read_noise[name]
                of_amplifier["READ_NOISE_CONSISTENT"] = math.isfinite(excess) and excess <= _NOISE_TOLERANCE
            tests[name] = of_amplifier
        return {"AMP": tests}, all(of_amplifier["SUCCESS"] for of_amplifier in tests.values())


class CpVerifyDarkTask(CpVerifyBiasTask):
    """Tests a dark from which master bias and dark were subtracted: as a bias."""

    _DefaultName = "cpVerifyDark"
    _has_corner = False


class CpVerifyFlatTask(CpVerifyStatsTask):
    """Tests a flat that was divided by the master flat."""

    _DefaultName = "cpVerifyFlat"

    def _measure_detector(self, amplifiers: dict[str, dict[str, Any]]) -> dict[str, float]:
        means = np.array([values["MEAN"] for values in amplifiers.values()])
        return {"MEAN": means.mean().item(), "SCATTER": means.std(ddof=1).item()}

    def judge(self, metadata: dict[str, Any], statistics: dict[str, Any]) -> tuple[dict[str, Any], bool]:
        """Test the noise of each amplifier, and whether the amplifiers have the same signal."""
        tests = {}
        for name, values in statistics["AMP"].items():
            is_good = values["MEAN"] >= 0 and values["NOISE"] <= math.sqrt(values["MEAN"])
            tests[name] = {"NOISE": is_good, "SUCCESS": is_good}
        detector = statistics["DET"]
        is_even = detector["MEAN"] > 0 and detector["SCATTER"] / detector["MEAN"] <= _SCATTER_LIMIT
        success = is_even and all(of_amplifier["SUCCESS"] for of_amplifier in tests.values())
        return {"AMP": tests, "DET": {"SCATTER": is_even, "SUCCESS": is_even}}, success


def _finite(values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    good: npt.NDArray[np.float64] = values[np.isfinite(values)].astype(np.float64)
    return good


def _corner_mean(amplifier: npt.NDArray[Any], name: str) -> float:
    """Return the mean of a box at the readout corner: an eighth of the amplifier's height, a quarter of its width."""
    rows, columns = amplifier.shape[0] // 8, amplifier.shape[1] // 4
    near_register = slice(None, rows) if name.startswith("C0") else slice(-rows, None)
    return float(_finite(amplifier[near_register, :columns]).mean())
