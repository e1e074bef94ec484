# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images as FITS files: one array, one header."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

__all__ = ["read_fits", "read_header", "write_fits"]

# Keywords that say how FITS stores the array: astropy writes them itself.
_STRUCTURAL = frozenset({"SIMPLE", "BITPIX", "EXTEND", "BZERO", "BSCALE", "", "COMMENT", "HISTORY"})


def write_fits(path: str | Path, array: npt.NDArray[Any], header: Mapping[str, Any]) -> None:
    """Write an image as the primary array of a FITS file.

    A number that FITS can't hold (NaN, infinity) becomes text in the header; `read_header` makes it a number again.
    """
    cards = []
    for key, value in header.items():
        if key in _STRUCTURAL or key.startswith("NAXIS"):
            continue
        name = key if len(key) <= 8 and " " not in key else f"HIERARCH {key}"
        cards.append((name, str(value) if isinstance(value, float) and not np.isfinite(value) else value))
    fits.PrimaryHDU(array, fits.Header(cards)).writeto(path, overwrite=True)


def read_fits(path: str | Path) -> tuple[npt.NDArray[Any], dict[str, Any]]:
    """Read an image and its header keywords."""
    with fits.open(path, memmap=False) as hdus:
        return np.asarray(hdus[0].data), _keywords(hdus[0].header)


def read_header(path: str | Path) -> dict[str, Any]:
    """Read the header keywords of an image without its pixels."""
    return _keywords(fits.getheader(path))


def _keywords(header: Any) -> dict[str, Any]:
    keywords = {}
    for card in header.cards:
        if card.keyword not in _STRUCTURAL and not card.keyword.startswith("NAXIS"):
            keywords[card.keyword] = float(card.value) if card.value in ("nan", "inf", "-inf") else card.value
    return keywords
