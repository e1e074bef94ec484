# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From verification statistics to a verdict; pure."""

from .context import NO_EXPOSURE, FrameFacts, RuleContext
from .first_look import certainly_in_vain, is_suspicious
from .judge import judge, strict
from .judgement import Counts, DetectorJudgement, Judgement
from .measured import MeasuredProduct
from .rules.drift import drift_by_quantity
from .table import StatisticsTable
from .value_judgement import judge_values, plausibility, value_findings
from .verdict import judge_statistics, table_of

__all__ = [
    "NO_EXPOSURE",
    "Counts",
    "DetectorJudgement",
    "FrameFacts",
    "Judgement",
    "MeasuredProduct",
    "RuleContext",
    "StatisticsTable",
    "certainly_in_vain",
    "drift_by_quantity",
    "is_suspicious",
    "judge",
    "judge_statistics",
    "judge_values",
    "plausibility",
    "strict",
    "table_of",
    "value_findings",
]
