# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Record of the files that have arrived in the Butler repository, by exposure and detector; pure."""

from __future__ import annotations

from collections.abc import Collection

from ..services.oods import IngestNotice
from .news import News

__all__ = ["IngestLedger"]


class IngestLedger:
    """A table by exposure and detector, filled from the OODS's notices and from look-ups in Butler.

    Notices may come before the run knows that it has taken the exposure, so notices of all exposures are kept.

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
        """Failures for which the OODS could not name the file."""
        self.news = News()
        """Notified of every change of the table."""

    def notice(self, notice: IngestNotice) -> None:
        """Enter a notice of the OODS."""
        if notice.exposure_id is None or notice.detector is None:
            if not notice.succeeded:
                self.unattributed.append(notice.description)
            return
        if notice.succeeded:
            self.present(notice.exposure_id, notice.detector)
        elif notice.detector not in self._ingested.get(notice.exposure_id, ()):
            self._failed.setdefault(notice.exposure_id, {})[notice.detector] = notice.description
            self.news.wake()

    def present(self, exposure_id: int, detector: int) -> None:
        """Enter that a file is in the repository, even if a failure was reported before."""
        self._ingested.setdefault(exposure_id, set()).add(detector)
        self._failed.get(exposure_id, {}).pop(detector, None)
        self.news.wake()

    def ingested(self, exposure_id: int) -> frozenset[int]:
        """Return the detectors that count whose file is in the repository."""
        return self._detectors & self._ingested.get(exposure_id, set())

    def failed(self, exposure_id: int) -> dict[int, str]:
        """Return the detectors that count whose ingest failed, with the OODS's message."""
        failed = self._failed.get(exposure_id, {})
        return {detector: failed[detector] for detector in sorted(self._detectors & failed.keys())}

    def missing(self, exposure_id: int) -> frozenset[int]:
        """Return the detectors that count whose file has not been found in the repository."""
        return self._detectors - self.ingested(exposure_id)
