# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposure ids from the camera's image names."""

from __future__ import annotations

import re

__all__ = ["exposure_id_of"]

IMAGE_NAME = re.compile(r"CC_(?P<controller>[A-Z])_(?P<year>\d{4})(?P<month_day>\d{4})_(?P<sequence>\d{6})", re.ASCII)

YEAR_OFFSET = {"O": 0, "C": 1000, "H": 2000, "P": 3000, "Q": 4000, "S": 5000}
"""Years by which an id is ahead of the image's date, by controller: the rule of obs_lsst, which has only these."""

LAST_DAY_WITH_OFFSET = {"C": 20231004, "P": 20250417, "Q": 20250417, "S": 20250417}
"""The last day_obs on which a controller had its offset (this day included).

From the next day on these controllers share one counter with the OCS, so that their image names need no offset to
give different ids. The OCS (O) never had one, and H keeps its own counter and its offset.
"""

MAX_SEQUENCE = 99999
"""An exposure id has five digits for the sequence number."""


def exposure_id_of(obs_id: str) -> int:
    """Return Butler's exposure id of an image of LSSTComCam.

    Parameters
    ----------
    obs_id
        Image name, such as ``CC_O_20261122_000012``, which becomes 2026112200012.

    Raises
    ------
    ValueError
        If it is not an image name of LSSTComCam, or there is no rule for it; the message is a sentence.
    """
    match = IMAGE_NAME.fullmatch(obs_id)
    if match is None:
        raise ValueError(f"{obs_id[:100]!r} is no image name of LSSTComCam (such as CC_O_20261122_000012).")
    controller = match["controller"]
    if controller not in YEAR_OFFSET:
        *first, last = YEAR_OFFSET
        raise ValueError(
            f"Image {obs_id} was taken under controller {controller}; exposure ids are known for the controllers "
            f"{', '.join(first)} and {last} only."
        )
    if int(match["sequence"]) > MAX_SEQUENCE:
        raise ValueError(f"Image {obs_id} has a sequence number above {MAX_SEQUENCE}: there is no exposure id for it.")
    year, month_day = int(match["year"]), match["month_day"]
    last_day = LAST_DAY_WITH_OFFSET.get(controller)
    if last_day is None or int(f"{year}{month_day}") <= last_day:
        year += YEAR_OFFSET[controller]
    return int(f"{year}{month_day}{int(match['sequence']):05d}")
