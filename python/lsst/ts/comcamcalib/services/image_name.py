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

YEAR_OFFSET = {"O": 0, "C": 1000}
"""What is added to the year for each controller, as obs_lsst does; it knows no rule for others."""

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
        If it is no image name of LSSTComCam, or there is no rule for it; the message is a sentence.
    """
    match = IMAGE_NAME.fullmatch(obs_id)
    if match is None:
        raise ValueError(f"{obs_id[:100]!r} is no image name of LSSTComCam (such as CC_O_20261122_000012).")
    if match["controller"] not in YEAR_OFFSET:
        raise ValueError(
            f"Image {obs_id} was taken under controller {match['controller']}; exposure ids are known for "
            f"{' and '.join(YEAR_OFFSET)} only."
        )
    if int(match["sequence"]) > MAX_SEQUENCE:
        raise ValueError(f"Image {obs_id} has a sequence number above {MAX_SEQUENCE}: there is no exposure id for it.")
    year = int(match["year"]) + YEAR_OFFSET[match["controller"]]
    return int(f"{year}{match['month_day']}{int(match['sequence']):05d}")
