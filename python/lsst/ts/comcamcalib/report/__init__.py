# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of a run: one page for people, and one JSON file with the same numbers for programs.

A program of its own writes it (``python -m lsst.ts.comcamcalib.report``), because plots block and need memory. It reads
the journal and the repository, and changes neither.
"""

from __future__ import annotations

__all__ = ["file_name"]


def file_name(run_id: str, suffix: str) -> str:
    """Return the name of a report's file; the suffix is ``.html`` or ``.json``."""
    return f"ComCamCalib-{run_id}{suffix}"
