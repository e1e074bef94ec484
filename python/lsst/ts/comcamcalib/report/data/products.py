# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The products: their verdicts with all findings, and their certifications."""

from __future__ import annotations

from typing import Literal

from .base import Model, Number

__all__ = ["Certification", "DatasetRow", "DetectorRow", "FindingRow", "ProductSection", "RangeRow", "VerdictSection"]


class FindingRow(Model):
    """A finding of a verification; detector and amplifier are empty where it concerns all or none."""

    rule: str
    outcome: str
    quantity: str
    detector: str
    amplifier: str
    exposure: int | None
    value: Number
    limit: Number
    unit: str
    detail: str
    kind: str = ""
    """Which of the faults that the rule knows, such as ``SATURATED``; empty if it knows only one."""


class DetectorRow(Model):
    """A verdict's counts for one detector; signal and noise in electron."""

    detector: int
    name: str
    tests_failed: int
    exposures_failed: int
    amplifiers_failed: int
    failures_by_test: dict[str, int]
    signal: Number
    noise: Number
    left_out: bool


class VerdictSection(Model):
    """A verdict, for flats in one filter."""

    physical_filter: str
    attempt: int
    verdict: str
    reason: str
    job_id: str
    accepted_by: str
    accepted_because: str
    exposures_expected: int
    exposures_verified: int
    detectors_expected: int
    detectors_verified: int
    tests_failed: int
    failures_by_test: dict[str, int]
    detectors: tuple[DetectorRow, ...]
    left_out: tuple[str, ...]
    findings: tuple[FindingRow, ...]
    findings_dropped: int


class DatasetRow(Model):
    """A dataset of a product."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    exposure: int | None


class RangeRow(Model):
    """A certification that was replaced; validity in ISO 8601 TAI, empty = open."""

    dataset_id: str
    run_collection: str
    """Where it is; empty: not known."""
    detector: int | None
    physical_filter: str | None
    validity_begin: str
    validity_end: str


class Certification(Model):
    """A certification; validity in ISO 8601 TAI, empty = open."""

    number: int
    stage_name: str
    outcome: Literal["certified", "not certified", "unknown", "withdrawn"]
    verdict: str
    dataset_type: str
    collection: str
    output_collection: str
    validity_begin: str
    validity_end: str
    dataset_ids: tuple[str, ...]
    replaces: tuple[RangeRow, ...]
    remarks: tuple[str, ...]
    reason: str
    withdrawn: str
    """Who has withdrawn it, and why; empty if it stands."""


class ProductSection(Model):
    """A type of calibration in this run."""

    calib_type: str
    dataset_type: str
    made: bool
    """Whether all its datasets were made."""
    job_id: str
    run_collection: str
    datasets: tuple[DatasetRow, ...]
    verdicts: tuple[VerdictSection, ...]
    certifications: tuple[Certification, ...]
    fetch: tuple[str, ...]
    """Lines of Python that read its first dataset, with a Butler of the repository."""
    undo: str
    """Command that withdraws what is certified; empty if nothing is."""
