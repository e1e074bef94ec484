# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The whole report."""

from __future__ import annotations

from typing import Any, Literal

from .base import Model
from .measured import AmplifierMap, Curve, DriftRow, Measurements, OutlierRow, StatisticsTable
from .products import ProductSection
from .run import ExposureRow, JobRow, RunSection, StageRow

__all__ = ["Document"]


class Document(Model):
    """The report of a run."""

    format: Literal["ComCamCalib report"] = "ComCamCalib report"
    version: Literal[1] = 1
    written: str
    attempt: int
    problems: tuple[str, ...]
    """What could not be read for the report, a sentence each."""
    run: RunSection
    products: tuple[ProductSection, ...]
    stages: tuple[StageRow, ...]
    critical_path: tuple[str, ...]
    """Stages of which each delayed the next, to the one that ended last; which of their jobs did is with the jobs."""
    jobs: tuple[JobRow, ...]
    exposures: tuple[ExposureRow, ...]
    statistics: tuple[StatisticsTable, ...]
    measurements: Measurements
    drifts: tuple[DriftRow, ...]
    curves: tuple[Curve, ...]
    maps: tuple[AmplifierMap, ...]
    outliers: tuple[OutlierRow, ...]
    options: dict[str, Any]
    """Effective run options."""
    configuration: dict[str, Any]
    """The CSC's configuration with which the run was accepted."""
    software: dict[str, str]
    """Versions of packages."""
