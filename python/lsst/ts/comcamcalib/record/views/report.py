# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of a run's report, as events."""

from __future__ import annotations

from collections.abc import Iterator

from .. import events, facts
from ..events import Event
from ..history import History
from .dispatch import published

__all__ = ["report_files"]


REPORT_GENERATOR = "ComCamCalib:report"
REPORT_VERSION = 1.0
"""Generator and version in the events about a report's files."""


def report_files(written: facts.ReportWritten, history: History) -> Iterator[Event]:
    """Yield the event about each file of the report."""
    for one in written.files:
        yield events.LargeFile(
            url=one.url,
            generator=REPORT_GENERATOR,
            version=REPORT_VERSION,
            byte_size=one.byte_size,
            check_sum=one.checksum,
            mime_type=one.mime_type,
            id=history.run_id,
        )


@published.register
def _(fact: facts.ReportWritten, history: History) -> Iterator[Event]:
    yield from report_files(fact, history)
