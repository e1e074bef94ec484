# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From verification statistics to a verdict; pure."""

from .first_look import certainly_in_vain, is_suspicious
from .frames import FrameFacts
from .judgement import DetectorJudgement, Judgement
from .products import judge_defects, judge_gain, judge_ptc
from .statistics import ExpectedStatistics
from .verdict import judge_statistics

__all__ = [
    "DetectorJudgement",
    "ExpectedStatistics",
    "FrameFacts",
    "Judgement",
    "certainly_in_vain",
    "is_suspicious",
    "judge_defects",
    "judge_gain",
    "judge_ptc",
    "judge_statistics",
]
