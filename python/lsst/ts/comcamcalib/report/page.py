# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as one HTML page, which needs no server, no network and no script."""

from __future__ import annotations

import dataclasses
import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ParamSpec

import jinja2
from markupsafe import Markup

from ..enums import CalibType
from . import data
from .figures import draw_curves, draw_defects, draw_drifts, draw_images, draw_map, draw_thumbnail
from .finding_groups import grouped
from .repository import Readings
from .words import badge, duration, number

__all__ = ["render"]

P = ParamSpec("P")

TEMPLATES = Path(__file__).parent / "templates"

MAX_THUMBNAILS = 30
"""A camera with more detectors has mosaics only: 205 images of each type would be tens of megabytes."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """Combined images of one type, or the defects: all detectors in their places, and one by one."""

    title: str
    mosaic: Markup
    thumbnails: tuple[Markup, ...] = ()


def render(document: data.Document, readings: Readings) -> str:
    """Return the page.

    Parameters
    ----------
    document
        What the report says.
    readings
        The pictures from the repository.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        # Headers of FITS files, operators' reasons and lines of logs are text of others, and must stay text.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, duration=duration, range=_range, pretty=_pretty, python=repr)
    environment.globals.update(badge=badge, grouped=grouped)
    return environment.get_template("report.html").render(
        document=document,
        run=document.run,
        maps=[(one, _drawn(draw_map, one, document.run.detectors)) for one in document.maps],
        curves=[(one, _drawn(draw_curves, one)) for one in document.curves],
        images=list(_images(document, readings)),
        drift=_drawn(draw_drifts, document.drifts, document.run.detectors),
        total_s=_length_s(document),
        jobs_by_stage={
            row.name: [job for job in document.jobs if job.stage_name == row.name] for row in document.stages
        },
        style=Markup((TEMPLATES / "report.css").read_text(encoding="utf-8")),
    )


def _length_s(document: data.Document) -> float:
    """Return how long the timeline is (seconds); never 0."""
    rows: tuple[data.StageRow | data.JobRow, ...] = (*document.stages, *document.jobs)
    return max((row.end_s or row.begin_s or 0.0 for row in rows), default=0.0) or 1.0


def _images(document: data.Document, readings: Readings) -> Iterator[Picture]:
    names = document.run.detectors
    for calib_type, physical_filter in dict.fromkeys((one, other) for one, other, _ in readings.images):
        own = {key[2]: image for key, image in readings.images.items() if key[:2] == (calib_type, physical_filter)}
        title = _title(calib_type, physical_filter, len(own), len(names))
        mosaic = _drawn(draw_images, calib_type, physical_filter, own, names)
        alone = [one for one in names if one in own] if len(names) <= MAX_THUMBNAILS else []
        thumbnails = [_drawn(draw_thumbnail, calib_type, own[one], names[one]) for one in alone]
        yield Picture(title, mosaic, tuple(thumbnails))
    if readings.defects:
        regions = sum(found.regions for found in readings.defects.values())
        pixels = sum(found.pixels for found in readings.defects.values())
        title = f"DEFECTS, {len(readings.defects)} of {len(names)} detectors: {regions} regions, {pixels} pixels"
        yield Picture(title, _drawn(draw_defects, readings.defects, names))


def _drawn(draw: Callable[P, str], *args: P.args, **kwargs: P.kwargs) -> Markup:
    """Return a figure, or why it could not be drawn: the rest of the report is worth having all the same."""
    try:
        return Markup(draw(*args, **kwargs))
    except Exception as error:
        logging.getLogger(__name__).exception("A figure could not be drawn")
        sentence = f"This figure could not be drawn: {type(error).__name__}: {error}"
        return Markup('<p class="warning">{}</p>').format(sentence)


def _title(calib_type: CalibType, physical_filter: str, found: int, expected: int) -> str:
    return f"{calib_type.name} {physical_filter}".strip() + f", {found} of {expected} detectors"


def _range(values: tuple[float, float] | None) -> str:
    if values is None:
        return "–"
    low, high = map(number, values)
    return low if low == high else f"{low} to {high}"


def _pretty(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
