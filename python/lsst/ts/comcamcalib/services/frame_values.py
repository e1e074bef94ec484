# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of a combined bias, dark or flat by amplifier; pure functions of its pixels.

Medians only, because hot pixels and traces of cosmic rays must not move a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..butler_data import ProductValue
from ..enums import CalibType
from ..measurements import SIGMA_OF_MAD

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Pixels = npt.NDArray[np.floating[Any]]

__all__ = ["Region", "changed_fractions", "depth_values", "frame_values", "regions"]

OUTLIER_SIGMAS = 6.0
"""From here on a pixel counts as changed: of a million pixels with normal noise not even one is."""

HIGH_PERCENTILE = 95.0
"""Sensors were accepted by the dark current of this percentile of their pixels (CCD-014)."""

Region = tuple[slice, slice]
"""Rows and columns of an amplifier in the image of its detector."""

# Level, noise and their unit: cp_pipe's biases are in electron, darks in electron/second, flats are relative.
NAMES = {
    CalibType.BIAS: ("level", "noise", "electron"),
    CalibType.DARK: ("dark_rate", "dark_rate_noise", "electron/second"),
    CalibType.FLAT: ("response", "response_noise", ""),
}


def regions(shape: tuple[int, int], amplifier_rows: Sequence[Sequence[str]]) -> dict[str, Region]:
    """Return where each amplifier is in the image of a detector, by name.

    Parameters
    ----------
    shape
        Rows and columns of the image.
    amplifier_rows
        Names of the amplifiers, from the lowest row upwards and in each from left to right. All have the same size.
        Empty: the detector is one region, without a name.

    Raises
    ------
    ValueError
        If the amplifiers do not fill the image.
    """
    height, width = shape
    rows = amplifier_rows or [[""]]
    if height % len(rows) or any(width % len(row) for row in rows):
        raise ValueError(
            f"an image of {height} x {width} pixels can't be divided into {len(rows)} rows of "
            f"{' and '.join(str(len(row)) for row in rows)} amplifiers (amplifier_rows in the configuration)"
        )
    high = height // len(rows)
    found: dict[str, Region] = {}
    for number, row in enumerate(rows):
        wide = width // len(row)
        for column, name in enumerate(row):
            found[name] = slice(number * high, (number + 1) * high), slice(column * wide, (column + 1) * wide)
    return found


def frame_values(calib_type: CalibType, image: Pixels, places: Mapping[str, Region]) -> Iterator[ProductValue]:
    """Yield level and noise of each amplifier; NaN if it has no finite pixel.

    The noise is that of the differences of neighbours in a row, divided by the square root of two, so that the
    structure of a frame does not count. For a dark, the rate of the 95th percentile of the pixels is there, too.

    Parameters
    ----------
    calib_type
        BIAS, DARK or FLAT.
    image
        The pixels of a detector.
    places
        Where its amplifiers are; see `regions`.
    """
    import numpy as np

    level, noise, unit = NAMES[calib_type]
    for name, place in places.items():
        part = image[place]
        pixels = part[np.isfinite(part)]
        yield ProductValue(name, level, _median(pixels), unit)
        yield ProductValue(name, noise, _spread(np.diff(part, axis=1)) / 2**0.5, unit)
        if calib_type is CalibType.DARK:
            high = float(np.percentile(pixels, HIGH_PERCENTILE)) if pixels.size else float("nan")
            yield ProductValue(name, f"{level}_{HIGH_PERCENTILE:.0f}", high, unit)


def depth_values(calib_type: CalibType, scales: Sequence[float]) -> Iterator[ProductValue]:
    """Yield of how many exposures a frame is made, and how much that is together; nothing of what is not known.

    Parameters
    ----------
    calib_type
        BIAS, DARK or FLAT.
    scales
        By what each of the exposures was divided, NaN: not known; none: which exposures it are is not known.
    """
    if scales:
        yield ProductValue("", "exposures", float(len(scales)), "")
        total = sum(scales)
        if math.isfinite(total):
            yield ProductValue("", "exposure_sum", total, "second" if calib_type is CalibType.DARK else "")


def changed_fractions(image: Pixels, before: Pixels, places: Mapping[str, Region]) -> Iterator[ProductValue]:
    """Yield for each amplifier the fraction of pixels that have changed by more than six times the noise.

    The noise is that of the difference of both frames; a change that all pixels of the amplifier share does not count.
    A pixel that has no value in one of the frames only has changed.

    Parameters
    ----------
    image, before
        The pixels of a detector in both frames, of the same shape.
    places
        Where its amplifiers are; see `regions`.
    """
    import numpy as np

    for name, place in places.items():
        now, then = image[place].astype(np.float64), before[place].astype(np.float64)
        both = np.isfinite(now) & np.isfinite(then)
        one = np.isfinite(now) ^ np.isfinite(then)
        difference = now[both] - then[both]
        changed = int(one.sum())
        if difference.size:
            away = np.abs(difference - np.median(difference))
            changed += int((away > OUTLIER_SIGMAS * SIGMA_OF_MAD * np.median(away)).sum())
        known = int(both.sum() + one.sum())
        yield ProductValue(name, "changed_fraction", changed / known if known else float("nan"), "")


def _median(values: Pixels) -> float:
    import numpy as np

    return float(np.median(values)) if values.size else float("nan")


def _spread(values: Pixels) -> float:
    """Return the standard deviation that the median absolute deviation of the finite values stands for."""
    import numpy as np

    finite = values[np.isfinite(values)]
    return SIGMA_OF_MAD * _median(np.abs(finite - _median(finite))) if finite.size else float("nan")
