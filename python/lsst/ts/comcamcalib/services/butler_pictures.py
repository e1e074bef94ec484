# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whole products, as a report shows them: binned images, photon transfer curves, defects; these functions block.

One dataset at a time is in memory. Images are read from their files, without the science pipelines (see
`lsst.ts.comcamcalib.services.frame_files`).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from .curve_values import turnoff_adu
from .defect_values import defect_mask
from .frame_files import read_image

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = ["BinnedImage", "CurveFound", "DefectsFound", "binned_image", "curve", "defects", "package_versions"]


@dataclasses.dataclass(frozen=True, eq=False)
class BinnedImage:
    """A combined image of one detector.

    Parameters
    ----------
    pixels
        Means of blocks of pixels, rows and columns; NaN where no pixel is good.
    fine
        The same in smaller blocks.
    shape
        Rows and columns of the whole image.
    median
        Of the whole image.
    """

    pixels: npt.NDArray[np.float32]
    fine: npt.NDArray[np.float32]
    shape: tuple[int, int]
    median: float


@dataclasses.dataclass(frozen=True, eq=False)
class DefectsFound:
    """The defects of a detector.

    Parameters
    ----------
    fraction
        Fraction of the pixels of each block that are defects, rows and columns.
    regions
        Number of rectangles.
    pixels
        Number of pixels, each counted once.
    """

    fraction: npt.NDArray[np.float32]
    regions: int
    pixels: int


@dataclasses.dataclass(frozen=True)
class CurveFound:
    """The photon transfer curves of a detector; by amplifier, lists by pair of flats; NaN = not measured.

    Parameters
    ----------
    amplifiers
        Names in readout order.
    fit_type
        How the curve was fitted.
    means, variances, model
        Mean signal (adu), variance and the fit's variance (adu**2) of each pair.
    used
        Whether the fit used a pair.
    gain, noise, turnoff
        electron/adu, electron, and electron; no turn-off if the curve did not reach it.
    """

    amplifiers: tuple[str, ...]
    fit_type: str
    means: Mapping[str, tuple[float, ...]]
    variances: Mapping[str, tuple[float, ...]]
    model: Mapping[str, tuple[float, ...]]
    used: Mapping[str, tuple[bool, ...]]
    gain: Mapping[str, float]
    noise: Mapping[str, float]
    turnoff: Mapping[str, float]


def binned_image(butler: Butler, ref: DatasetRef, size: int, fine_size: int) -> BinnedImage:
    """Return a combined image in blocks.

    Parameters
    ----------
    butler
        The repository.
    ref
        The image.
    size, fine_size
        Most blocks on a side; most smaller ones.

    Raises
    ------
    ServiceError
        If it can't be read, or is no image.
    """
    pixels = read_image(butler.getURI(ref))
    good = pixels[np.isfinite(pixels)]
    median = float(np.median(good)) if good.size else math.nan
    # The whole image has sixteen million pixels, so it is gone through once only.
    fine = _block_means(pixels, fine_size)
    return BinnedImage(_block_means(fine, size), fine, (pixels.shape[0], pixels.shape[1]), median)


def _block_means(pixels: npt.NDArray[np.float32], size: int) -> npt.NDArray[np.float32]:
    """Return the means of square blocks, at most so many on a side; NaN counts for nothing."""
    rows, columns = pixels.shape
    block = -(-max(rows, columns) // size)
    padded = np.full((-(-rows // block) * block, -(-columns // block) * block), np.nan, dtype=np.float32)
    padded[:rows, :columns] = pixels
    blocks = padded.reshape(padded.shape[0] // block, block, padded.shape[1] // block, block)
    good = np.isfinite(blocks)
    sums = np.where(good, blocks, 0.0).sum(axis=(1, 3), dtype=np.float64)
    counts = good.sum(axis=(1, 3))
    means = np.full(sums.shape, np.nan)
    np.divide(sums, counts, out=means, where=counts > 0)
    return means.astype(np.float32)


def defects(butler: Butler, ref: DatasetRef, shape: tuple[int, int] | None, size: int) -> DefectsFound:
    """Return the defects of a detector in blocks.

    Parameters
    ----------
    butler
        The repository.
    ref
        The defects.
    shape
        Rows and columns of the detector; None: as far as the defects reach.
    size
        Most blocks on a side.
    """
    found = list(butler.get(ref))
    if shape is None:
        boxes = [one.getBBox() for one in found]
        shape = (
            max((box.getMaxY() + 1 for box in boxes), default=1),
            max((box.getMaxX() + 1 for box in boxes), default=1),
        )
    mask = defect_mask(found, shape)
    return DefectsFound(_block_means(mask.astype(np.float32), size), len(found), int(mask.sum()))


def curve(butler: Butler, ref: DatasetRef) -> CurveFound:
    """Return the photon transfer curves of a detector."""
    found = butler.get(ref)
    names = tuple(map(str, found.ampNames))
    means = {name: _numbers(found.rawMeans.get(name)) for name in names}
    gain = {name: _number(found.gain.get(name)) for name in names}
    return CurveFound(
        amplifiers=names,
        fit_type=str(found.ptcFitType),
        means=means,
        variances={name: _numbers(found.rawVars.get(name)) for name in names},
        model={name: _model(found, name, means[name]) for name in names},
        used={name: _used(found, name, len(means[name])) for name in names},
        gain=gain,
        noise={name: _number(found.noise.get(name)) for name in names},
        turnoff={name: turnoff_adu(found, name) * gain[name] for name in names},
    )


def _number(value: Any) -> float:
    return float(value) if value is not None else math.nan


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(float(value) for value in (values if values is not None else ()))


def _used(found: Any, name: str, number: int) -> tuple[bool, ...]:
    mask = found.expIdMask.get(name)
    return tuple(bool(one) for one in mask) if mask is not None and len(mask) == number else (True,) * number


def _model(found: Any, name: str, means: tuple[float, ...]) -> tuple[float, ...]:
    """Return the variances that the fit expects; none if it is not known how to compute them.

    A fit of full covariances leaves them in the dataset. The others leave parameters: those of a polynomial in the
    mean, or of the exponential approximation ``(exp(2 a00 g mu) - 1) / (2 a00 g**2) + n / g**2`` with the parameters
    a00, g and n (Astier et al. 2019, equation 16).
    """
    final = getattr(found, "finalModelVars", None)
    if final and len(final.get(name, ())) == len(means):
        return _numbers(final[name])
    parameters = _numbers(found.ptcFitPars.get(name))
    if found.ptcFitType == "POLYNOMIAL" and parameters:
        return tuple(sum(factor * mean**power for power, factor in enumerate(parameters)) for mean in means)
    if found.ptcFitType == "EXPAPPROXIMATION" and len(parameters) == 3 and parameters[0] and parameters[1]:
        a00, gain, noise = parameters
        return tuple(
            (math.exp(2 * a00 * gain * mean) - 1) / (2 * a00 * gain**2) + noise / gain**2 if mean == mean else math.nan
            for mean in means
        )
    return ()


def package_versions(butler: Butler, collection_run: str) -> dict[str, str]:
    """Return the versions of the packages that wrote a RUN collection, as pipetask has recorded them; none if not."""
    ref = butler.find_dataset("packages", collections=collection_run)
    if ref is None:
        return {}
    return {str(name): str(version) for name, version in dict(butler.get(ref)).items()}
