# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which files of which exposures have arrived in the Butler repository; pure."""

from __future__ import annotations

from collections.abc import Collection

from ..services.oods import IngestNotice
from .news import News

__all__ = ["IngestLedger"]


class IngestLedger:
    """A table of exposure by detector, filled from the OODS's notices and from looks into Butler.

    Notices may come before the run knows that it has taken the exposure: all are kept, whoever's they are.

    Parameters
    ----------
    detectors
        Detectors whose files count.
    """

    def __init__(self, detectors: Collection[int]) -> None:
        self._detectors = frozenset(detectors)
        self._ingested: dict[int, set[int]] = {}
        self._failed: dict[int, dict[int, str]] = {}
        self.unattributed: list[str] = []
        """Failures of which the OODS could not say which file they concern."""
        self.news = News()
        """Told by every notice that changes the table."""

    def notice(self, notice: IngestNotice) -> None:
        """Enter what the OODS told."""
        if notice.exposure_id is None or notice.detector is None:
            if not notice.succeeded:
                self.unattributed.append(notice.description)
            return
        if notice.succeeded:
            self.present(notice.exposure_id, notice.detector)
        elif notice.detector not in self._ingested.get(notice.exposure_id, ()):
            self._failed.setdefault(notice.exposure_id, {})[notice.detector] = notice.description
            self.news.tell()

    def present(self, exposure_id: int, detector: int) -> None:
        """Enter that a file is in the repository, whatever was told of it before."""
        self._ingested.setdefault(exposure_id, set()).add(detector)
        self._failed.get(exposure_id, {}).pop(detector, None)
        self.news.tell()

    def ingested(self, exposure_id: int) -> frozenset[int]:
        """Return the detectors that count whose file is in the repository."""
        return self._detectors & self._ingested.get(exposure_id, set())

    def failed(self, exposure_id: int) -> dict[int, str]:
        """Return the detectors that count whose ingest failed, with the OODS's words."""
        failed = self._failed.get(exposure_id, {})
        return {detector: failed[detector] for detector in sorted(self._detectors & failed.keys())}

    def missing(self, exposure_id: int) -> frozenset[int]:
        """Return the detectors that count whose file is not known to be in the repository."""
        return self._detectors - self.ingested(exposure_id)
