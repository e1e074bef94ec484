# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files of combined frames: FITS, read without the science pipelines.

An ``ExposureF`` is a file with the extensions IMAGE, MASK and VARIANCE, each compressed without loss; a simple image
is the primary array. These functions block.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import ServiceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from lsst.resources import ResourcePath

__all__ = ["image_shape", "read_combined", "read_image"]

INPUT = re.compile(r"CPP_INPUT_\d+")
"""Keyword of an exposure that is in a combined frame."""


def read_image(uri: ResourcePath) -> npt.NDArray[np.float32]:
    """Read the pixels of a frame.

    Raises
    ------
    ServiceError
        If it can't be read, or has no image; the sentence names it.
    """
    import numpy as np

    def pixels(hdu: Any, _headers: Sequence[Any]) -> npt.NDArray[np.float32]:
        return np.asarray(hdu.data, dtype=np.float32)

    image: npt.NDArray[np.float32] = _with_image(uri, pixels)
    return image


def read_combined(uri: ResourcePath) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
    """Read the pixels of a combined frame, and by what each of its exposures was divided.

    cp_pipe writes both into its header: for each exposure ``CPP_INPUT_<n>`` and, as a number, ``CPP_INPUT_SCALE_<n>``.

    Returns
    -------
    pixels
        Rows and columns.
    scales
        One for each exposure, NaN where it is not known; none if the header does not name the exposures.

    Raises
    ------
    ServiceError
        As `read_image`.
    """
    import numpy as np

    def look(hdu: Any, headers: Sequence[Any]) -> tuple[npt.NDArray[np.float32], tuple[float, ...]]:
        return np.asarray(hdu.data, dtype=np.float32), tuple(_scales(headers))

    found: tuple[npt.NDArray[np.float32], tuple[float, ...]] = _with_image(uri, look)
    return found


def _scales(headers: Sequence[Any]) -> Iterator[float]:
    """Yield the scale of each exposure that one of the headers names."""
    for header in headers:
        named = [key for key in header if INPUT.fullmatch(key)]
        for key in named:
            scale = header.get(f"CPP_INPUT_SCALE_{key.removeprefix('CPP_INPUT_')}")
            yield float(scale) if isinstance(scale, int | float) else math.nan
        if named:
            return


def image_shape(uri: ResourcePath) -> tuple[int, int]:
    """Return rows and columns of a frame; its pixels are not read.

    Raises
    ------
    ServiceError
        As `read_image`.
    """
    rows, columns = _with_image(uri, lambda hdu, _headers: hdu.shape)
    return int(rows), int(columns)


def _with_image(uri: ResourcePath, look: Any) -> Any:
    from astropy.io import fits

    try:
        # What is not on a disk here is copied to one, because only parts of it are read.
        with uri.as_local() as local, fits.open(local.ospath) as hdus:
            there = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2]
            named = [hdu for hdu in there if hdu.name == "IMAGE"]
            if there:
                return look((named or there)[0], [hdu.header for hdu in hdus])
    except (OSError, ValueError, TypeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
        raise ServiceError(f"The file {uri} could not be read as FITS: {cause}") from error
    raise ServiceError(f"The file {uri} has no image of rows and columns.")
