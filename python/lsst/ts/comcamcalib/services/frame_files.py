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

from typing import TYPE_CHECKING, Any

from ..errors import ServiceError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from lsst.resources import ResourcePath

__all__ = ["image_shape", "read_image"]


def read_image(uri: ResourcePath) -> npt.NDArray[np.float32]:
    """Read the pixels of a frame.

    Raises
    ------
    ServiceError
        If it can't be read, or has no image; the sentence names it.
    """
    import numpy as np

    def pixels(hdu: Any) -> npt.NDArray[np.float32]:
        return np.asarray(hdu.data, dtype=np.float32)

    image: npt.NDArray[np.float32] = _with_image(uri, pixels)
    return image


def image_shape(uri: ResourcePath) -> tuple[int, int]:
    """Return rows and columns of a frame; its pixels are not read.

    Raises
    ------
    ServiceError
        As `read_image`.
    """
    rows, columns = _with_image(uri, lambda hdu: hdu.shape)
    return int(rows), int(columns)


def _with_image(uri: ResourcePath, look: Any) -> Any:
    from astropy.io import fits

    try:
        # What is not on a disk here is copied to one, because only parts of it are read.
        with uri.as_local() as local, fits.open(local.ospath) as hdus:
            there = [hdu for hdu in hdus if hdu.is_image and len(hdu.shape) == 2]
            named = [hdu for hdu in there if hdu.name == "IMAGE"]
            if there:
                return look((named or there)[0])
    except (OSError, ValueError, TypeError) as error:
        cause = " ".join(f"{type(error).__name__}: {error}".split())  # on one line
        raise ServiceError(f"The file {uri} could not be read as FITS: {cause}") from error
    raise ServiceError(f"The file {uri} has no image of rows and columns.")
