# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options of a run, checked and complete."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any

import pydantic

from ..enums import CalibType

__all__ = ["PlannedFrame", "RunOptions", "ScriptMode", "flat_pairs", "series_of_equals"]

SAME_EXPOSURE_TIME_S = 5e-3
"""Largest difference of exposure times that count as equal (seconds); cp_pipe pairs flats with the same tolerance."""


class ScriptMode(enum.StrEnum):
    """The types of frames that a run takes."""

    BIAS = "BIAS"
    BIAS_DARK = "BIAS_DARK"
    BIAS_DARK_FLAT = "BIAS_DARK_FLAT"
    DARK = "DARK"

    @property
    def calib_types(self) -> tuple[CalibType, ...]:
        """Types of frames, in the order in which they are taken."""
        return tuple(CalibType[name] for name in self.value.split("_"))


class PlannedFrame(pydantic.BaseModel):
    """One frame to take, and its place among those of its type; it is stored with the plan of the run."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    calib_type: CalibType
    index: int
    """Position in the sequence, from 1."""
    exposure_time_s: float
    discarded: bool = False
    """Taken, but not used for anything."""


class RunOptions(pydantic.BaseModel):
    """Every option of a run with its effective value.

    The fields have the options' names. Exposure times are in seconds: one number if all frames have the same, otherwise
    one for each frame, discarded frames first. Dates are ISO 8601, TAI; None: the date follows the frames, ``open``:
    there is no end. Options that the run does not need may be None.
    """

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)

    script_mode: ScriptMode
    n_bias: int | None
    n_dark: int | None
    n_flat: int | None
    exp_times_dark: float | tuple[float, ...] | None
    exp_times_flat: float | tuple[float, ...] | None
    n_discard_bias: int
    n_discard_dark: int
    n_discard_flat: int
    detectors: tuple[int, ...]
    generate_calibrations: bool
    do_verify: bool
    certify_unverified: bool
    do_defects: bool
    do_ptc: bool
    do_gain_from_flat_pairs: bool
    config_options_bias: str
    config_options_dark: str
    config_options_flat: str
    config_options_defects: str
    config_options_ptc: str
    input_collections_bias: tuple[str, ...]
    input_collections_dark: tuple[str, ...]
    input_collections_flat: tuple[str, ...]
    input_collections_defects: tuple[str, ...]
    input_collections_ptc: tuple[str, ...]
    input_collections_verify_bias: tuple[str, ...]
    input_collections_verify_dark: tuple[str, ...]
    input_collections_verify_flat: tuple[str, ...]
    input_collections_verify_defects: tuple[str, ...]
    input_collections_verify_ptc: tuple[str, ...]
    calib_collection: str
    repo: str
    n_processes: int
    certify_calib_begin_date: str | None
    certify_calib_end_date: str | None
    max_counter_archiver_check: int
    oods_timeout: float
    max_retakes: int
    speculate: bool
    on_conflict: str = "replace"
    certify_good_detectors: bool = False
    on_failure: str
    number_verification_tests_threshold_bias: int
    number_verification_tests_threshold_dark: int
    number_verification_tests_threshold_flat: int
    filter: str | None
    wait_between_exposures: float
    reason: str
    program: str
    test_case: str
    note: str
    notices: tuple[str, ...] = ()

    def frames(self, calib_type: CalibType) -> tuple[PlannedFrame, ...]:
        """Return the frames of a type to take, in order, the discarded ones first; empty if the run takes none."""
        if calib_type not in self.script_mode.calib_types:
            return ()
        suffix = calib_type.name.lower()
        used: int = getattr(self, f"n_{suffix}")
        discarded: int = getattr(self, f"n_discard_{suffix}")
        times = 0.0 if calib_type is CalibType.BIAS else getattr(self, f"exp_times_{suffix}")
        if isinstance(times, float):
            times = (times,) * (discarded + used)
        return tuple(
            PlannedFrame(calib_type=calib_type, index=index, exposure_time_s=time, discarded=index <= discarded)
            for index, time in enumerate(times, start=1)
        )

    def flat_pairs(self) -> tuple[tuple[int, int], ...]:
        """Return the pairs of equal exposure time among the used flats, as positions among them, from 0."""
        return flat_pairs([frame.exposure_time_s for frame in self.frames(CalibType.FLAT) if not frame.discarded])

    def input_collections(self, calib_type: CalibType) -> tuple[str, ...]:
        """Return the input collections for making a product; GAIN has those of PTC."""
        collections: tuple[str, ...] = getattr(self, f"input_collections_{_suffix(calib_type)}")
        return collections

    def input_collections_verify(self, calib_type: CalibType) -> tuple[str, ...]:
        """Return the input collections for verifying a product; GAIN has those of PTC."""
        collections: tuple[str, ...] = getattr(self, f"input_collections_verify_{_suffix(calib_type)}")
        return collections

    def config_options(self, calib_type: CalibType) -> str:
        """Return what is added to the command line of a product's pipetask; GAIN has that of PTC."""
        text: str = getattr(self, f"config_options_{_suffix(calib_type)}")
        return text

    def number_verification_tests_threshold(self, calib_type: CalibType) -> int:
        """Return how many amplifiers of a detector may fail a test.

        There is an option for BIAS, DARK and FLAT only; for PTC that of the flats holds, of which it is made.
        """
        name = "flat" if calib_type is CalibType.PTC else calib_type.name.lower()
        threshold: int = getattr(self, f"number_verification_tests_threshold_{name}")
        return threshold

    def effective(self) -> dict[str, Any]:
        """Return every option with its effective value, as JSON values that can be used as options again."""
        values = self.model_dump(mode="json", exclude={"notices"})
        for name in values:
            if name.startswith("input_collections_"):
                values[name] = ",".join(values[name])
        return values


def _suffix(calib_type: CalibType) -> str:
    """Return the ending of the names of a type's options."""
    return "ptc" if calib_type is CalibType.GAIN else calib_type.name.lower()


def flat_pairs(exposure_times_s: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Pair flats of equal exposure time as cp_pipe does.

    cpPtcExtractPair goes through the exposures by their ids: one that has the same exposure time (within 5 ms) as the
    one before it makes a pair with it. Of a longer series of equal times only the first two are used, and an exposure
    whose partner was not taken directly before or after it is dropped.

    Parameters
    ----------
    exposure_times_s
        Exposure times in the order in which the frames are taken (seconds).

    Returns
    -------
    pairs
        Positions of both partners, from 0.
    """
    return tuple((begin, begin + 1) for begin, end in series_of_equals(exposure_times_s) if end > begin + 1)


def series_of_equals(exposure_times_s: Sequence[float]) -> tuple[tuple[int, int], ...]:
    """Return where series of equal exposure times begin, and where each ends (the position after its last)."""
    begins = [0] if exposure_times_s else []
    for index, time in enumerate(exposure_times_s):
        if abs(time - exposure_times_s[begins[-1]]) > SAME_EXPOSURE_TIME_S:
            begins.append(index)
    return tuple(zip(begins, [*begins[1:], len(exposure_times_s)], strict=False))
