# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the OODS tells about files that it put into the Butler repository."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Protocol

__all__ = ["IngestNotice", "Oods"]


@dataclasses.dataclass(frozen=True)
class IngestNotice:
    """What became of one file.

    Parameters
    ----------
    exposure_id
        Butler's exposure id; None if the OODS could not tell.
    detector
        Detector id; None if the OODS could not tell.
    succeeded
        Whether the file is in the repository now.
    description
        The OODS's own words.
    """

    exposure_id: int | None
    detector: int | None
    succeeded: bool
    description: str


class Oods(Protocol):
    """What the stages need of the OODS."""

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        """Call back for every notice from now on; the returned function ends it."""
