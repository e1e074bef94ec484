# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""REPORT: has the report for people written, when all other stages have ended."""

from __future__ import annotations

from ..enums import RunState
from ..errors import ServiceError, StageError
from ..plan.plan import REPORT_STAGE
from ..record.facts import ReportFile, ReportWritten
from ..services.reporter import ReportMade, ReportRequest
from .context import RunContext

__all__ = ["report", "written"]


async def report(context: RunContext, state: RunState, reason: str) -> str:
    """Write the report of a run.

    Parameters
    ----------
    context
        What the stages share.
    state, reason
        How the run is about to end.

    Returns
    -------
    reason
        Where the report is, and what is missing in it.

    Raises
    ------
    StageError
        If it can't be written.
    """
    attempt = context.history.stages[REPORT_STAGE].attempt
    # The report itself and its upload.
    limit_s = 2 * context.config.limits.report
    context.record.waiting(REPORT_STAGE, "the report is written", limit_s)
    try:
        made = await context.services.reporter.write(ReportRequest(context.run_id, attempt, state, reason))
    except ServiceError as error:
        raise StageError(
            f"{str(error).rstrip('.')}. The run is not affected; write it with: comcamcalib report {context.run_id} "
            "--again"
        ) from error
    await context.record.note(written(made, attempt))
    return _said(made)


def written(made: ReportMade, attempt: int) -> ReportWritten:
    """Return the fact that a report was written, in an attempt of the stage REPORT."""
    files = tuple(
        ReportFile(url=one.url, mime_type=one.mime_type, byte_size=one.byte_size, checksum=one.checksum)
        for one in made.files
    )
    return ReportWritten(attempt=attempt, files=files)


def _said(made: ReportMade) -> str:
    page = next((one for one in made.files if one.mime_type == "text/html"), made.files[0])
    return ". ".join([f"The report is at {page.url}", *(one.rstrip(".") for one in made.remarks)])
