# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of the report."""

from __future__ import annotations

from typing import Literal

from .base import FactModel

__all__ = ["ReportFile", "ReportWritten"]


class ReportFile(FactModel):
    """One file of a report."""

    url: str
    """Where everybody finds it: in the store of large files, otherwise ``file://``."""
    mime_type: str
    byte_size: int
    checksum: str
    """MD5, in hexadecimal digits."""


class ReportWritten(FactModel):
    """The report of a run was written; an earlier one is replaced."""

    kind: Literal["report_written"] = "report_written"
    attempt: int
    """Of the stage REPORT."""
    files: tuple[ReportFile, ...]
