# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From verification statistics to a verdict; pure."""

from .context import FrameFacts, RuleContext
from .first_look import certainly_in_vain, is_suspicious
from .judge import judge, strict
from .judgement import Counts, DetectorJudgement, Judgement
from .products import judge_defects, judge_gain, judge_ptc
from .table import StatisticsTable
from .verdict import judge_statistics, table_of

__all__ = [
    "Counts",
    "DetectorJudgement",
    "FrameFacts",
    "Judgement",
    "RuleContext",
    "StatisticsTable",
    "certainly_in_vain",
    "is_suspicious",
    "judge",
    "judge_defects",
    "judge_gain",
    "judge_ptc",
    "judge_statistics",
    "strict",
    "table_of",
]
