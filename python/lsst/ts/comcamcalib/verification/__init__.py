# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From verification statistics to a verdict; pure."""

from .first_look import certainly_in_vain, is_suspicious
from .frames import FrameFacts
from .judgement import DetectorJudgement, Judgement
from .measured import MeasuredProduct
from .rules.drift import largest_drift
from .statistics import ExpectedStatistics
from .value_judgement import add_findings, judge_values, plausibility, value_findings
from .verdict import judge_statistics

__all__ = [
    "DetectorJudgement",
    "ExpectedStatistics",
    "FrameFacts",
    "Judgement",
    "MeasuredProduct",
    "add_findings",
    "certainly_in_vain",
    "is_suspicious",
    "judge_statistics",
    "judge_values",
    "largest_drift",
    "plausibility",
    "value_findings",
]
