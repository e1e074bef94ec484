# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Merges the test results of detectors to those of an exposure, and these to those of a run, as cp_verify does."""

from __future__ import annotations

from typing import Any

import lsst.pex.config as pex_config
import lsst.pipe.base as pipe_base
import numpy as np
from lsst.pipe.base import connectionTypes

from ..layout import DETECTOR_NAMES

__all__ = [
    "CpVerifyCalibMergeTask",
    "CpVerifyExpMergeTask",
    "CpVerifyFlatExpMergeTask",
    "CpVerifyRunMergeByFilterTask",
    "CpVerifyRunMergeTask",
    "CpVerifyVisitExpMergeTask",
    "CpVerifyVisitRunMergeTask",
]

# A literal in cp_verify's code, in electron and not relative to the signal: real flats of several detectors fail it.
_EXPOSURE_SCATTER_LIMIT = 0.05


def _input_statistics(*dimensions: str) -> Any:
    return connectionTypes.Input(
        doc="Results to merge.",
        name="detectorStats",
        storageClass="StructuredDataDict",
        dimensions=dimensions,
        multiple=True,
    )


def _output_statistics(*dimensions: str) -> Any:
    return connectionTypes.Output(
        doc="Merged results.", name="exposureStats", storageClass="StructuredDataDict", dimensions=dimensions
    )


class CpVerifyExpMergeConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument", "exposure")):
    """Results of an exposure's detectors, merged."""

    inputStats = _input_statistics("instrument", "exposure", "detector")
    outputStats = _output_statistics("instrument", "exposure")


class CpVerifyExpMergeConfig(pipe_base.PipelineTaskConfig, pipelineConnections=CpVerifyExpMergeConnections):
    """What is merged."""

    mergeDimension = pex_config.Field[str](doc="Dimension that the merged results have no more.", default="detector")


class CpVerifyExpMergeTask(pipe_base.PipelineTask):
    """Merges results: for each detector (exposure) whether it passed, and which tests failed."""

    ConfigClass = CpVerifyExpMergeConfig
    _DefaultName = "cpVerifyExpMerge"

    def runQuantum(self, butlerQC: Any, inputRefs: Any, outputRefs: Any) -> None:
        """Read, merge, write."""
        values = [int(ref.dataId[self.config.mergeDimension]) for ref in inputRefs.inputStats]
        statistics = dict(zip(values, butlerQC.get(inputRefs.inputStats), strict=True))
        butlerQC.put(self.run(statistics), outputRefs)

    def run(self, inputStats: dict[int, Any]) -> Any:
        """Return the merged results.

        Parameters
        ----------
        inputStats
            Results by detector (exposure).
        """
        merged: dict[Any, Any] = {}
        for value, statistics in sorted(inputStats.items()):
            name = DETECTOR_NAMES[value] if self.config.mergeDimension == "detector" else value
            if statistics["SUCCESS"]:
                merged[name] = {"SUCCESS": True}
            else:
                merged[name] = {"SUCCESS": False, "FAILURES": _failures(statistics)}
        success = all(result["SUCCESS"] for result in merged.values())
        return pipe_base.Struct(outputStats=self._judge_group(inputStats, merged, success))

    def _judge_group(self, inputs: dict[int, Any], merged: dict[Any, Any], success: bool) -> dict[Any, Any]:
        merged["SUCCESS"] = success
        return merged


def _failures(statistics: dict[Any, Any]) -> list[str]:
    """List the failed tests of a detector or an exposure.

    An exposure with tests of its own (a flat) hides those of its detectors, as in cp_verify.
    """
    if "VERIFY" not in statistics:
        return [
            f"{name} {failure}"
            for name, result in statistics.items()
            if name != "SUCCESS" and not result["SUCCESS"]
            for failure in result["FAILURES"]
        ]
    verify = statistics["VERIFY"]
    failures = [
        test
        for level in ("EXP", "DET")
        if not verify.get(level, {}).get("SUCCESS", False)
        for test, passed in verify.get(level, {}).items()
        if test != "SUCCESS" and passed is False
    ]
    for name, tests in verify.get("AMP", {}).items():
        if not tests["SUCCESS"]:
            failures += [f"{name} {test}" for test, passed in tests.items() if test != "SUCCESS" and passed is False]
    return failures


class CpVerifyFlatExpMergeConnections(
    CpVerifyExpMergeConnections, dimensions=("instrument", "exposure", "physical_filter")
):
    """Results of a flat's detectors, merged."""

    inputStats = _input_statistics("instrument", "exposure", "detector")
    outputStats = _output_statistics("instrument", "exposure", "physical_filter")


class CpVerifyFlatExpMergeConfig(CpVerifyExpMergeConfig, pipelineConnections=CpVerifyFlatExpMergeConnections):
    """What is merged."""


class CpVerifyFlatExpMergeTask(CpVerifyExpMergeTask):
    """Merges results of a flat, and tests whether the detectors have the same signal."""

    ConfigClass = CpVerifyFlatExpMergeConfig
    _DefaultName = "cpVerifyFlatExpMerge"

    def _judge_group(self, inputs: dict[int, Any], merged: dict[Any, Any], success: bool) -> dict[Any, Any]:
        means = [statistics["DET"]["MEAN"] for statistics in inputs.values()]
        scatter = float(np.std(means, ddof=1)) if len(means) > 1 else 0.0
        is_even = scatter <= _EXPOSURE_SCATTER_LIMIT
        merged["EXP"] = {"SCATTER": scatter}
        merged["VERIFY"] = {"EXP": {"SCATTER": is_even}}
        merged["SUCCESS"] = success and is_even
        return merged


class CpVerifyRunMergeConnections(pipe_base.PipelineTaskConnections, dimensions=("instrument",)):
    """Results of a run's exposures, merged."""

    inputStats = _input_statistics("instrument", "exposure")
    outputStats = _output_statistics("instrument")


class CpVerifyRunMergeConfig(CpVerifyExpMergeConfig, pipelineConnections=CpVerifyRunMergeConnections):
    """What is merged."""

    def setDefaults(self) -> None:
        """Merge exposures."""
        super().setDefaults()
        self.mergeDimension = "exposure"


class CpVerifyRunMergeTask(CpVerifyExpMergeTask):
    """Merges results of exposures."""

    ConfigClass = CpVerifyRunMergeConfig
    _DefaultName = "cpVerifyRunMerge"


class CpVerifyRunMergeByFilterConnections(CpVerifyRunMergeConnections, dimensions=("instrument", "physical_filter")):
    """Results of the exposures in a filter, merged."""

    inputStats = _input_statistics("instrument", "exposure", "physical_filter")
    outputStats = _output_statistics("instrument", "physical_filter")


class CpVerifyRunMergeByFilterConfig(CpVerifyRunMergeConfig, pipelineConnections=CpVerifyRunMergeByFilterConnections):
    """What is merged."""


class CpVerifyRunMergeByFilterTask(CpVerifyExpMergeTask):
    """Merges results of the exposures in a filter."""

    ConfigClass = CpVerifyRunMergeByFilterConfig
    _DefaultName = "cpVerifyRunMergeByFilter"


class CpVerifyVisitExpMergeConnections(CpVerifyExpMergeConnections, dimensions=("instrument", "visit")):
    """Results of the detectors of a visit's exposures, merged. Frames for calibrations belong to no visit."""

    inputStats = _input_statistics("instrument", "exposure", "detector")
    outputStats = _output_statistics("instrument", "visit")


class CpVerifyVisitExpMergeConfig(CpVerifyExpMergeConfig, pipelineConnections=CpVerifyVisitExpMergeConnections):
    """What is merged."""


class CpVerifyVisitExpMergeTask(CpVerifyExpMergeTask):
    """Merges results of a visit."""

    ConfigClass = CpVerifyVisitExpMergeConfig
    _DefaultName = "cpVerifyVisitExpMerge"


class CpVerifyVisitRunMergeConnections(CpVerifyRunMergeConnections, dimensions=("instrument",)):
    """Results of a run's visits, merged."""

    inputStats = _input_statistics("instrument", "visit")
    outputStats = _output_statistics("instrument")


class CpVerifyVisitRunMergeConfig(CpVerifyRunMergeConfig, pipelineConnections=CpVerifyVisitRunMergeConnections):
    """What is merged."""


class CpVerifyVisitRunMergeTask(CpVerifyExpMergeTask):
    """Merges results of visits."""

    ConfigClass = CpVerifyVisitRunMergeConfig
    _DefaultName = "cpVerifyVisitRunMerge"


class CpVerifyCalibMergeConnections(CpVerifyRunMergeConnections, dimensions=("instrument",)):
    """Results of the detectors' calibrations, merged."""

    inputStats = _input_statistics("instrument", "detector")
    outputStats = _output_statistics("instrument")


class CpVerifyCalibMergeConfig(CpVerifyRunMergeConfig, pipelineConnections=CpVerifyCalibMergeConnections):
    """What is merged: exposures, if the pipeline does not say otherwise, though the results have none."""


class CpVerifyCalibMergeTask(CpVerifyExpMergeTask):
    """Merges results of calibrations, in one step."""

    ConfigClass = CpVerifyCalibMergeConfig
    _DefaultName = "cpVerifyCalibMerge"
