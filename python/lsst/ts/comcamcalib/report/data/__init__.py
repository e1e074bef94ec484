# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report's JSON file: closed models, with a version.

Programs read these files years later. So a field may be added, but none may be renamed, removed or given another
meaning without another version. Times are ISO 8601, UTC, and empty for what has not happened; a number is null where
nothing was measured.
"""

from .base import Model, Number
from .document import Document
from .measured import AmplifierMap, Curve, DriftRow, Measurements, OutlierRow, StatisticsTable
from .products import Certification, DatasetRow, DetectorRow, FindingRow, ProductSection, RangeRow, VerdictSection
from .run import DecisionRow, ExposureRow, JobRow, RunSection, StageRow

__all__ = [
    "AmplifierMap",
    "Certification",
    "Curve",
    "DatasetRow",
    "DecisionRow",
    "DetectorRow",
    "Document",
    "DriftRow",
    "ExposureRow",
    "FindingRow",
    "JobRow",
    "Measurements",
    "Model",
    "Number",
    "OutlierRow",
    "ProductSection",
    "RangeRow",
    "RunSection",
    "StageRow",
    "StatisticsTable",
    "VerdictSection",
]
