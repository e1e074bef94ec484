# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of a detector's defects: area and columns, and what is new or has vanished."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..butler_data import ProductValue
from ..errors import ServiceError
from .frame_values import Region

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]

__all__ = ["defect_changes", "defect_mask", "defect_values"]

COLUMN_FRACTION = 0.5
"""A column of an amplifier with at least this fraction of bad pixels is a bad column."""


def defect_mask(defects: Iterable[Any], shape: tuple[int, int]) -> Mask:
    """Return an image that is True where a pixel is bad.

    Parameters
    ----------
    defects
        Rectangles, as `lsst.ip.isr.Defects` has them; they may overlap.
    shape
        Rows and columns of the detector.

    Raises
    ------
    ServiceError
        If a rectangle is outside of the detector.
    """
    import numpy as np

    mask = np.zeros(shape, bool)
    for defect in defects:
        box = defect.getBBox()
        x0, y0, x1, y1 = box.getMinX(), box.getMinY(), box.getMaxX(), box.getMaxY()
        if min(x0, y0) < 0 or y1 >= shape[0] or x1 >= shape[1]:
            raise ServiceError(
                f"A defect at columns {x0} to {x1}, rows {y0} to {y1} is outside of the detector, which has {shape[0]} "
                f"rows and {shape[1]} columns."
            )
        mask[y0 : y1 + 1, x0 : x1 + 1] = True
    return mask


def defect_values(mask: Mask, places: Mapping[str, Region], left_out: Collection[str] = ()) -> Iterator[ProductValue]:
    """Yield bad pixels and bad columns of each amplifier, and the fraction and the columns of the detector.

    Parameters
    ----------
    mask
        See `defect_mask`.
    places
        Where the amplifiers are.
    left_out
        Amplifiers that are known to be bad: they are no part of the detector's fraction and columns.
    """
    columns = 0
    for name, place in places.items():
        in_amplifier = _columns(mask[place])
        columns += in_amplifier if name not in left_out else 0
        if name:
            yield ProductValue(name, "defect_pixels", float(mask[place].sum()), "pixel")
            yield ProductValue(name, "defect_columns", float(in_amplifier), "")
    yield ProductValue("", "defect_fraction", _fraction(mask, _area(mask, places, left_out)), "")
    yield ProductValue("", "defect_columns", float(columns), "")


def defect_changes(
    mask: Mask, before: Mask, places: Mapping[str, Region], left_out: Collection[str] = ()
) -> Iterator[ProductValue]:
    """Yield what is new and what has vanished, as fractions of the detector, new bad columns, and the overlap.

    The overlap is the fraction of the earlier bad pixels that are bad again; NaN if there were none. Amplifiers that
    are left out are no part of any of them.
    """
    area = _area(mask, places, left_out)
    before = before & area
    new = mask & ~before & area
    yield ProductValue("", "new_fraction", _fraction(new, area), "")
    yield ProductValue("", "vanished_fraction", _fraction(before & ~mask, area), "")
    yield ProductValue("", "new_columns", float(sum(_columns(new[place]) for place in places.values())), "")
    earlier = int(before.sum())
    overlap = float((mask & before).sum()) / earlier if earlier else float("nan")
    yield ProductValue("", "overlap", overlap, "")


def _area(mask: Mask, places: Mapping[str, Region], left_out: Collection[str]) -> Mask:
    """Return an image that is True where a pixel counts."""
    import numpy as np

    area = np.ones_like(mask)
    for name in left_out:
        if name in places:
            area[places[name]] = False
    return area


def _fraction(mask: Mask, area: Mask) -> float:
    pixels = int(area.sum())
    return float((mask & area).sum()) / pixels if pixels else float("nan")


def _columns(part: Mask) -> int:
    return int((part.mean(axis=0) >= COLUMN_FRACTION).sum())
