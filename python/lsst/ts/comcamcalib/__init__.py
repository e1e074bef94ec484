# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC that makes, verifies and certifies LSSTComCam's calibrations."""

from __future__ import annotations

from importlib import metadata

from .config_schema import CONFIG_SCHEMA

__all__ = ["CONFIG_SCHEMA", "__version__"]

try:
    __version__ = metadata.version("ts-comcamcalib")
except metadata.PackageNotFoundError:  # run from a checkout that was never installed
    __version__ = "?"
