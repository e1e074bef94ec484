# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration of the CSC."""

from .csc_config import CscConfig
from .files import find_directory, read_config
from .models import (
    Estimates,
    FrameLimits,
    JobRecipe,
    Limits,
    PageSettings,
    Plausible,
    Recipe,
    ReportSettings,
    UwsAccess,
    VerificationRecipe,
)
from .rules import BadAmplifier, ProductRules, Strictness
from .value_limits import DriftLimit, TrendLimits, ValueLimit, ValueLimits

__all__ = [
    "BadAmplifier",
    "CscConfig",
    "DriftLimit",
    "Estimates",
    "FrameLimits",
    "JobRecipe",
    "Limits",
    "PageSettings",
    "Plausible",
    "ProductRules",
    "Recipe",
    "ReportSettings",
    "Strictness",
    "TrendLimits",
    "UwsAccess",
    "ValueLimit",
    "ValueLimits",
    "VerificationRecipe",
    "find_directory",
    "read_config",
]
