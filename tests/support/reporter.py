# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reporter that writes nothing, and remembers what it was asked for."""

from __future__ import annotations

import asyncio

from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.reporter import FileMade, ReportMade, ReportRequest

from support.gate import Gate

__all__ = ["FakeReporter"]


class FakeReporter:
    """Says where it would have put a report."""

    def __init__(self, duration_s: float = 0.0) -> None:
        self._duration_s = duration_s
        self.requests: list[ReportRequest] = []
        self.error = ""
        """Why it can't write anything."""
        self.remarks: tuple[str, ...] = ()
        self.gate: Gate | None = None
        """Where it stands until the test lets it go on."""

    async def write(self, request: ReportRequest) -> ReportMade:
        self.requests.append(request)
        if self.gate is not None:
            await self.gate.pass_through()
        if self._duration_s:
            await asyncio.sleep(self._duration_s)  # in virtual time
        if self.error:
            raise ServiceError(self.error)
        name = f"file:///reports/ComCamCalib-{request.run_id}"
        files = (
            FileMade(f"{name}.html", "text/html", 4_000_000, "0123456789abcdef0123456789abcdef"),
            FileMade(f"{name}.json", "application/json", 300_000, "fedcba9876543210fedcba9876543210"),
        )
        return ReportMade(files, self.remarks)
