# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What was made, what was measured in it, and how it was judged."""

from __future__ import annotations

from typing import Literal

import pydantic

from ...enums import CalibType, Verdict
from ...findings import Finding
from .base import FactModel

__all__ = [
    "MAX_FINDINGS",
    "Dataset",
    "DetectorVerdict",
    "Drift",
    "GainsMeasured",
    "Measured",
    "Measurement",
    "ProductMade",
    "VerdictAccepted",
    "VerdictGiven",
]


MAX_FINDINGS = 2000
"""Largest number of findings in a verdict, because a broken camera has millions (about 150 bytes each)."""


class Dataset(FactModel):
    """A dataset of a product: its UUID, and its data id with None for dimensions that its type does not have."""

    dataset_id: str
    detector: int | None = None
    physical_filter: str | None = None
    exposure: int | None = None


class ProductMade(FactModel):
    """The datasets that a job made are complete, and it used the run's own products only."""

    kind: Literal["product_made"] = "product_made"
    label: str
    attempt: int
    job_id: str
    calib_type: CalibType
    dataset_type: str
    run_collection: str
    datasets: tuple[Dataset, ...]


class GainsMeasured(FactModel):
    """Gains (electron/adu) and noises (electron) of a detector's amplifiers from one flat pair, in readout order."""

    kind: Literal["gains_measured"] = "gains_measured"
    exposure_id: int
    detector: int
    gain: tuple[float, ...]
    noise: tuple[float, ...]


class DetectorVerdict(FactModel):
    """A verdict's counts for one detector; signal and noise in electron, NaN = not known."""

    detector: int
    detector_name: str
    tests_failed: int
    exposures_failed: int
    amplifiers_failed: int
    failures_by_test: dict[str, int]
    signal: float
    noise: float


class VerdictGiven(FactModel):
    """A product was judged, for flats in one filter."""

    kind: Literal["verdict_given"] = "verdict_given"
    calib_type: CalibType
    physical_filter: str
    attempt: int
    verdict: Verdict
    job_id: str
    reason: str
    exposures_expected: int = 0
    exposures_verified: int = 0
    detectors_expected: int = 0
    detectors_verified: int = 0
    tests_failed: int = 0
    exposures_failed: int = 0
    exposures_failed_threshold: int = 0
    tests_failed_threshold: int = 0
    failures_by_test: dict[str, int] = pydantic.Field(default_factory=dict)
    detectors: tuple[DetectorVerdict, ...] = ()
    findings: tuple[Finding, ...] = ()
    """The worst first; at most as many as `MAX_FINDINGS`."""
    findings_dropped: int = 0
    """Number of further findings, which are in the statistics only."""
    left_out: tuple[int, ...] = ()
    """Detectors that failed and that a good verdict leaves out, because the option certify_good_detectors says so."""


class VerdictAccepted(FactModel):
    """Somebody accepted a verdict that was FAILED or UNKNOWN, for flats in one filter."""

    kind: Literal["verdict_accepted"] = "verdict_accepted"
    calib_type: CalibType
    physical_filter: str
    attempt: int
    """Of the verdict."""
    who: str
    why: str


class Measurement(FactModel):
    """A value measured in a product; NaN = it could not be measured."""

    detector: int
    amplifier: str
    """Empty: of the detector as a whole."""
    quantity: str
    """Such as ``level``, ``noise``, ``dark_rate``, ``gain``, ``turnoff`` or ``defect_fraction``."""
    value: float
    unit: str


class Drift(FactModel):
    """How a detector's product differs from the one that is certified now."""

    detector: int
    drift: float
    """Largest change in units of its limit; NaN = nothing to compare with."""
    compared_with: str
    """Collection and UUID; empty: there is no predecessor."""
    by_quantity: dict[str, float] = pydantic.Field(default_factory=dict)
    """The same for each quantity; what could not be compared is left out."""


class Measured(FactModel):
    """The values of a product were measured, for flats in one filter, and compared with what is certified now."""

    kind: Literal["measured"] = "measured"
    calib_type: CalibType
    physical_filter: str
    attempt: int
    """Of the verification."""
    values: tuple[Measurement, ...]
    drifts: tuple[Drift, ...] = ()
