# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Run options: from an operator's text to checked values, or to all of its mistakes."""

from .checks import day_obs_range
from .file import read_options_file
from .model import PlannedFrame, RunOptions, ScriptMode, flat_pairs
from .parse import check_run_defaults, named_collections, parse_options, usual_collection
from .rules import OptionRules
from .table import NO_END, OPTION_DESCRIPTIONS

__all__ = [
    "NO_END",
    "OPTION_DESCRIPTIONS",
    "OptionRules",
    "PlannedFrame",
    "RunOptions",
    "ScriptMode",
    "check_run_defaults",
    "day_obs_range",
    "flat_pairs",
    "named_collections",
    "parse_options",
    "read_options_file",
    "usual_collection",
]
