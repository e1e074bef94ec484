# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification in the replay worker: measured on the job's own frames, in this process.

Recorded products say nothing of the frames that were taken; a verification has to. So the tasks of the verification
pipelines are called directly. Two things are simpler than there:

- Biases and darks are corrected with the repository's initial calibrations, which have no noise. Flats are divided by
  the flat that these frames give.
- In a small amplifier the measured noise scatters, and one cosmic ray moves the mean. Both effects are brought down to
  what they are in an amplifier of the default focal plane, so that the small ones of tests don't fail by chance.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from lsst.daf.butler import Butler

from .containers import Exposure
from .layout import DetectorLayout
from .repo import INITIAL_COLLECTION
from .tasks.combine import CalibCombineByFilterTask
from .tasks.flat import CpFlatMeasureTask, CpFlatNormalizationTask
from .tasks.isr import OVERSCAN_NOISE_KEY, READ_NOISE_KEY, IsrTaskLSST, values_by_amplifier
from .tasks.statistics import clip_statistics
from .tasks.verify import CpVerifyBiasTask, CpVerifyDarkTask, CpVerifyFlatTask, CpVerifyStatsTask
from .tasks.verify_merge import CpVerifyExpMergeTask, CpVerifyFlatExpMergeTask, CpVerifyRunMergeTask

__all__ = ["VERIFICATIONS", "verify_frames"]

VERIFICATIONS: Mapping[str, type[CpVerifyStatsTask]] = {
    "verifyBias": CpVerifyBiasTask,
    "verifyDark": CpVerifyDarkTask,
    "verifyFlat": CpVerifyFlatTask,
}
"""What measures the frames of each pipeline that is not replayed from a recording."""

_FULL_SIZE = 128 * 64  # pixels of an amplifier of the default focal plane
_NO_CHANCE = 6.0  # standard deviations; a noise that differs by more is real, not the scatter of its measurement

Key = tuple[int, int]
"""Exposure and detector."""


def verify_frames(
    pipeline: str, butler: Butler, inputs: list[str], pairs: Mapping[Key, str], instrument: str, with_merged: bool
) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Measure and test frames.

    Parameters
    ----------
    pipeline
        One of `VERIFICATIONS`.
    butler
        The repository.
    inputs
        Collections with the raws.
    pairs
        Physical filter of each exposure and detector.
    instrument
        Name of the instrument.
    with_merged
        Whether there are results of exposures and of the run, which need those of all detectors.

    Yields
    ------
    product
        Dataset type, data id without the instrument, content.
    """
    is_flat = pipeline == "verifyFlat"
    groups: dict[str, list[Key]] = {}
    for key, physical_filter in sorted(pairs.items()):
        groups.setdefault(physical_filter if is_flat else "", []).append(key)
    for physical_filter, keys in groups.items():
        of_filter = {"physical_filter": physical_filter} if is_flat else {}
        results = _measure(VERIFICATIONS[pipeline], _corrected(butler, inputs, keys, instrument, pipeline))
        for (exposure, detector), result in results.items():
            yield f"{pipeline}DetStats", {"exposure": exposure, "detector": detector}, result
        if not with_merged:
            continue
        run_level = _merge_detectors(results, is_flat)
        for exposure, result in run_level.items():
            yield f"{pipeline}ExpStats", {"exposure": exposure, **of_filter}, result
        yield f"{pipeline}Stats", of_filter, _task(CpVerifyRunMergeTask).run(inputStats=run_level).outputStats


def _corrected(
    butler: Butler, inputs: list[str], keys: list[Key], instrument: str, pipeline: str
) -> dict[Key, Exposure]:
    """Return the frames, corrected with all that is older than they are; flats divided by their own flat."""
    wanted = ["ptc", "bias", *([] if pipeline == "verifyBias" else ["dark"])]
    calibrations: dict[int, dict[str, Any]] = {}
    frames = {}
    isr = _task(IsrTaskLSST)
    for exposure, detector in keys:
        data_id = {"instrument": instrument, "exposure": exposure, "detector": detector}
        if detector not in calibrations:
            calibrations[detector] = {
                name: butler.get(name, data_id, collections=INITIAL_COLLECTION) for name in wanted
            }
        raw = butler.get("raw", data_id, collections=inputs)
        frame = isr.run(ccdExposure=raw, **calibrations[detector]).outputExposure
        if not any(values_by_amplifier(frame.metadata, OVERSCAN_NOISE_KEY).values()):
            frame.image.array[:] = 0.0  # a dead detector's own bias and dark have no noise either, and leave nothing
        frames[exposure, detector] = frame
    if pipeline == "verifyFlat":
        _divide_by_own_flat(frames)
    return frames


class _Handle:
    """A frame as a task gets it, when it is to load it itself."""

    def __init__(self, exposure: int, frame: Exposure) -> None:
        self.dataId = {"exposure": exposure}
        self._frame = frame

    def get(self) -> Exposure:
        return self._frame


def _divide_by_own_flat(frames: Mapping[Key, Exposure]) -> None:
    """Make the flat of these frames and divide them by it, as cpFlat and verifyFlat do."""
    measure = _task(CpFlatMeasureTask)
    measured = {key: measure.run(inputExp=frame).outputStats for key, frame in frames.items()}
    # Without light there are no logarithms of the signal, no scales and no flat: everything becomes NaN.
    with np.errstate(invalid="ignore", divide="ignore"):
        scales = _task(CpFlatNormalizationTask).run(inputMDs=measured).outputScales
        combine = _task(CalibCombineByFilterTask, exposureScaling="InputList")
        for detector in {detector for _, detector in frames}:
            own = {exposure: frame for (exposure, number), frame in frames.items() if number == detector}
            handles = [_Handle(exposure, frame) for exposure, frame in own.items()]
            flat = combine.run(inputExpHandles=handles, inputScales=scales).outputData.image.array
            for frame in own.values():
                frame.image.array /= flat


def _measure(task_class: type[CpVerifyStatsTask], frames: Mapping[Key, Exposure]) -> dict[Key, dict[str, Any]]:
    task = _task(task_class)
    results: dict[Key, dict[str, Any]] = {key: task.run(inputExp=frame).outputStats for key, frame in frames.items()}
    for key, result in results.items():
        _as_of_full_size(result["AMP"], frames[key])
        result["VERIFY"], result["SUCCESS"] = task.judge(frames[key].metadata, result)
    return results


def _as_of_full_size(amplifiers: dict[str, dict[str, float]], frame: Exposure) -> None:
    """Make a detector's statistics as steady as those of amplifiers of full size."""
    layout = DetectorLayout.from_header(frame.metadata)
    pixels = layout.amplifier_rows * layout.amplifier_columns
    size = min(1.0, pixels / _FULL_SIZE)
    for name, values in amplifiers.items():
        without_outliers = clip_statistics(frame.image.array[layout.image_section(name)]).mean
        values["MEAN"] = without_outliers + size * (values["MEAN"] - without_outliers)
    read_noise = values_by_amplifier(frame.metadata, READ_NOISE_KEY)
    # Relative to the noise of the light and the electronics, since amplifiers differ in both.
    ratios = {
        name: values["NOISE"] / math.sqrt(read_noise[name] ** 2 + max(values["MEAN"], 0.0))
        for name, values in amplifiers.items()
    }
    usable = [ratio for ratio in ratios.values() if ratio > 0]
    if not usable:
        return
    usual = statistics.median(usable)
    for name, ratio in ratios.items():
        change = ratio / usual - 1
        if ratio > 0 and abs(change) <= _NO_CHANCE / math.sqrt(2 * pixels):
            for statistic in {"NOISE", "CR_NOISE"} & amplifiers[name].keys():
                amplifiers[name][statistic] *= usual * (1 + math.sqrt(size) * change) / ratio


def _merge_detectors(results: Mapping[Key, dict[str, Any]], is_flat: bool) -> dict[int, Any]:
    """Return the results of each exposure."""
    merge = _task(CpVerifyFlatExpMergeTask if is_flat else CpVerifyExpMergeTask)
    by_exposure: dict[int, dict[int, Any]] = {}
    for (exposure, detector), result in results.items():
        by_exposure.setdefault(exposure, {})[detector] = result
    return {exposure: merge.run(inputStats=of_one).outputStats for exposure, of_one in by_exposure.items()}


def _task(task_class: Any, **changes: Any) -> Any:
    """Return a task with its default configuration, and some changes."""
    config = task_class.ConfigClass()
    for name, value in changes.items():
        setattr(config, name, value)
    return task_class(config=config)
