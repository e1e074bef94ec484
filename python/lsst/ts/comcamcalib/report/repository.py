# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the repository has for a report; whatever can't be read is named, and the rest is shown all the same."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from ..enums import CalibType
from ..errors import ServiceError
from ..record.history import History
from ..record.things import Product
from ..services import butler_pictures, butler_queries
from ..services.butler_pictures import BinnedImage, CurveFound, DefectsFound
from . import data
from .statistics import read_statistics, verified_stages

if TYPE_CHECKING:
    from lsst.daf.butler import Butler, DatasetRef

__all__ = ["Readings", "read_repository"]

IMAGE_BLOCKS = 96
"""Blocks on a side of a detector's image in a mosaic."""

FINE_BLOCKS = 192
"""Blocks on a side of a detector's image by itself: few enough that those of nine detectors are some megabytes."""

DEFECT_BLOCKS = 64
"""Blocks on a side of a detector's map of defects."""

IMAGES = (CalibType.BIAS, CalibType.DARK, CalibType.FLAT)


@dataclasses.dataclass(frozen=True, eq=False)
class Readings:
    """What was read from the repository.

    Parameters
    ----------
    images
        Combined images by type, filter ("" if it has none) and detector.
    curves, defects
        By detector.
    statistics
        What cp_verify wrote, for each product and filter.
    packages
        Versions of the pipelines' packages.
    problems
        What could not be read, a sentence each.
    """

    images: Mapping[tuple[CalibType, str, int], BinnedImage]
    curves: Mapping[int, CurveFound]
    defects: Mapping[int, DefectsFound]
    statistics: tuple[data.StatisticsTable, ...]
    packages: Mapping[str, str]
    problems: tuple[str, ...]


def read_repository(history: History, repo: str) -> Readings:
    """Read what a report shows of the run's products.

    Parameters
    ----------
    history
        The run.
    repo
        The Butler repository.

    Returns
    -------
    readings
        Everything that could be read, and sentences about the rest.
    """
    reader = _Reader(history)
    with reader.attempt(f"The repository {repo} could not be opened, so there are no pictures and no statistics"):
        from lsst.daf.butler import Butler

        with Butler.from_config(repo, writeable=False) as butler:
            reader.read(butler)
    return reader.readings()


class _Reader:
    """Collects what is read, and the problems."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._names = history.plan.detector_names
        self._images: dict[tuple[CalibType, str, int], BinnedImage] = {}
        self._curves: dict[int, CurveFound] = {}
        self._defects: dict[int, DefectsFound] = {}
        self._statistics: list[data.StatisticsTable] = []
        self._packages: dict[str, str] = {}
        self._problems: list[str] = []

    def readings(self) -> Readings:
        """Return what was read."""
        return Readings(
            self._images,
            self._curves,
            self._defects,
            tuple(self._statistics),
            self._packages,
            tuple(dict.fromkeys(self._problems)),
        )

    @contextlib.contextmanager
    def attempt(self, problem: str) -> Iterator[None]:
        """Name a problem and go on, whatever goes wrong: the report is needed most when something is broken."""
        try:
            yield
        except Exception as error:
            cause = " ".join(str(error).split()) if isinstance(error, ServiceError) else _in_words(error)
            self._problems.append(f"{problem}: {cause.rstrip('.')}.")

    def read(self, butler: Butler) -> None:
        """Read everything, one dataset after the other."""
        for calib_type in IMAGES:
            self._read_images(butler, calib_type)
        self._read_defects(butler)
        self._read_curves(butler)
        self._read_statistics(butler)
        if made := list(self._history.made.values()):
            with self.attempt("The versions of the pipelines' packages could not be read"):
                self._packages = butler_pictures.package_versions(butler, made[0].run_collection)

    def _refs(self, butler: Butler, product: Product) -> list[DatasetRef]:
        """Return the datasets of a product that are still in the repository; name those that are not."""
        refs = butler_queries.product_refs(butler, product.dataset_type, product.run_collection)
        found = {str(ref.id) for ref in refs}
        if gone := [one for one in product.ids if one not in found]:
            self._problems.append(
                f"{len(gone)} of {len(product.ids)} datasets of type {product.dataset_type} are not in "
                f"{product.run_collection} any more: {', '.join(gone[:3])}{', …' if len(gone) > 3 else ''}."
            )
        return [ref for ref in refs if str(ref.id) in product.ids]

    def _each(self, butler: Butler, product: Product | None) -> Iterable[tuple[DatasetRef, int, str]]:
        """Yield the datasets of a product with detector and filter."""
        if product is None:
            return
        refs: list[DatasetRef] = []
        with self.attempt(f"The datasets of type {product.dataset_type} could not be looked up"):
            refs = self._refs(butler, product)
        for ref in refs:
            required = ref.dataId.dimensions.required
            physical_filter = str(ref.dataId["physical_filter"]) if "physical_filter" in required else ""
            yield ref, int(ref.dataId["detector"]), physical_filter

    def _what(self, product: Product | None, detector: int) -> str:
        kind = product.dataset_type if product is not None else "dataset"
        return f"The {kind} of {self._names.get(detector, f'detector {detector}')} could not be read"

    def _read_images(self, butler: Butler, calib_type: CalibType) -> None:
        product = self._history.product(calib_type)
        for ref, detector, physical_filter in self._each(butler, product):
            with self.attempt(self._what(product, detector)):
                image = butler_pictures.binned_image(butler, ref, IMAGE_BLOCKS, FINE_BLOCKS)
                self._images[calib_type, physical_filter, detector] = image

    def _read_defects(self, butler: Butler) -> None:
        shapes = {detector: image.shape for (_, _, detector), image in self._images.items()}
        product = self._history.product(CalibType.DEFECTS)
        for ref, detector, _ in self._each(butler, product):
            with self.attempt(self._what(product, detector)):
                found = butler_pictures.defects(butler, ref, shapes.get(detector), DEFECT_BLOCKS)
                self._defects[detector] = found

    def _read_curves(self, butler: Butler) -> None:
        product = self._history.product(CalibType.PTC)
        for ref, detector, _ in self._each(butler, product):
            with self.attempt(self._what(product, detector)):
                self._curves[detector] = butler_pictures.curve(butler, ref)

    def _read_statistics(self, butler: Butler) -> None:
        for stage, job_id in verified_stages(self._history):
            with self.attempt(f"The statistics of {stage.name} could not be read"):
                self._statistics += read_statistics(butler, self._history, stage, job_id)


def _in_words(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:500]
