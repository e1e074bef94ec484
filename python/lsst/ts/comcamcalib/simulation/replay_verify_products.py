# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification of ptc, defects and gains in the replay worker, with the tasks of the pipelines, in this process.

Where these pipelines can't work, the job fails as with pipetask.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lsst.daf.butler import Butler

from .repo import INITIAL_COLLECTION
from .tasks.isr import IsrTaskLSST
from .tasks.verify_calib import CpVerifyPtcTask
from .tasks.verify_defects import CpVerifyDefectsTask
from .tasks.verify_merge import CpVerifyCalibMergeTask

__all__ = ["PRODUCT_VERIFICATIONS", "verify_products"]

PRODUCT_VERIFICATIONS = ("verifyPtc", "verifyDefects", "verifyGainFromFlatPairs")
"""Names of the pipelines, without the part that chooses tasks."""

Product = tuple[str, dict[str, Any], Any]
"""Dataset type, data id without the instrument, content."""


def verify_products(
    pipeline: str, butler: Butler, inputs: list[str], pairs: Mapping[tuple[int, int], str], instrument: str
) -> Iterator[Product]:
    """Test products.

    Parameters
    ----------
    pipeline
        Name of the pipeline, with the chosen tasks (``#label,label``).
    butler
        The repository.
    inputs
        Collections with raws and calibrations, in the order in which they are searched.
    pairs
        Physical filter of each exposure and detector.
    instrument
        Name of the instrument.

    Yields
    ------
    product
        Dataset type, data id without the instrument, content.

    Raises
    ------
    RuntimeError
        If the pipeline can't work on these exposures.
    """
    name, _, tasks = pipeline.partition("#")
    if name == "verifyPtc":
        return _verify_ptc(butler, inputs, sorted(pairs), instrument)
    if name == "verifyDefects" and tasks and not {"verifyDefectsExp", "verifyDefects"} & set(tasks.split(",")):
        return _verify_defects(butler, inputs, sorted(pairs), instrument)
    if name == "verifyDefects":
        raise RuntimeError("QuantumGraph was empty; CRITICAL: no data ids with the dimension visit.")
    raise RuntimeError("KeyError: 'exposure', which verifyGain merges by, and which its statistics do not have.")


def _verify_ptc(butler: Butler, inputs: list[str], keys: list[tuple[int, int]], instrument: str) -> Iterator[Product]:
    task = CpVerifyPtcTask(config=CpVerifyPtcTask.ConfigClass())
    camera = butler.get("camera", instrument=instrument, collections=INITIAL_COLLECTION)
    exposures = {detector: exposure for exposure, detector in keys}
    results = {}
    for detector, exposure in sorted(exposures.items()):
        # The exposure tells the time at which a certified ptc has to be valid.
        data_id = {"instrument": instrument, "exposure": exposure, "detector": detector}
        curve = butler.get("ptc", data_id, collections=inputs)
        results[detector] = task.run(curve, camera, detector).outputStats
        yield "verifyPtcDetStats", {"detector": detector}, results[detector]
    config = CpVerifyCalibMergeTask.ConfigClass()
    config.mergeDimension = "detector"
    yield "verifyPtcStats", {}, CpVerifyCalibMergeTask(config=config).run(inputStats=results).outputStats


def _verify_defects(
    butler: Butler, inputs: list[str], keys: list[tuple[int, int]], instrument: str
) -> Iterator[Product]:
    """Yield statistics of single exposures; bias, dark and flat are the initial ones, whose shape is the frames'."""
    task = CpVerifyDefectsTask(config=CpVerifyDefectsTask.ConfigClass())
    isr = IsrTaskLSST(config=IsrTaskLSST.ConfigClass())
    for exposure, detector in keys:
        data_id = {"instrument": instrument, "exposure": exposure, "detector": detector}
        raw = butler.get("raw", data_id, collections=inputs)
        calibrations = {
            name: butler.get(name, data_id, collections=INITIAL_COLLECTION) for name in ("ptc", "bias", "dark", "flat")
        }
        defects = butler.get("defects", data_id, collections=inputs)
        whole = isr.run(ccdExposure=raw, **calibrations).outputExposure
        masked = isr.run(ccdExposure=raw, **calibrations, defects=defects).outputExposure
        statistics = task.run(inputExp=masked, uncorrectedExp=whole).outputStats
        yield "verifyDefectsDetStats", {"exposure": exposure, "detector": detector}, statistics
