# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Puts a report together and writes its two files."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lsst.ts import utils

from .. import __version__
from ..clock import iso_utc
from ..enums import RunState
from ..record.facts import Entry
from ..record.fold import fold
from ..record.history import History
from . import data, file_name, product_story, story
from .page import render
from .quantities import amplifier_maps, outliers
from .repository import Readings, read_repository

__all__ = ["Ending", "ReportError", "make_report"]

PACKAGES = ("lsst-daf-butler", "ts-salobj", "ts-xml", "numpy", "matplotlib", "pydantic")


class ReportError(Exception):
    """The report can't be written; the message says why."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """How a run is about to end, if its journal does not say it yet."""

    state: RunState
    reason: str


def make_report(
    entries: Sequence[Entry], directory: Path, *, attempt: int = 1, ending: Ending | None = None, repo: str = ""
) -> tuple[list[Path], tuple[str, ...]]:
    """Write the report of a run.

    Parameters
    ----------
    entries
        The facts of the run.
    directory
        Where the files go; made if it does not exist. Files of an earlier report of the run are replaced.
    attempt
        Of the stage REPORT.
    ending
        How the run is about to end; None: as its facts say.
    repo
        Where this machine finds the Butler repository; "": as configured.

    Returns
    -------
    files
        The page and the JSON file.
    problems
        What could not be read, a sentence each.

    Raises
    ------
    ReportError
        If the files can't be written.
    """
    _check_directory(directory)
    history = fold(entries)
    readings = read_repository(history, repo or history.plan.config.repo)
    document = make_document(history, entries, readings, attempt, ending or Ending(history.state, history.reason))
    contents = {".html": render(document, readings), ".json": document.model_dump_json()}
    files = [directory / file_name(history.run_id, suffix) for suffix in contents]
    for path, text in zip(files, contents.values(), strict=True):
        _write(path, text)
    return files, document.problems


def make_document(
    history: History, entries: Sequence[Entry], readings: Readings, attempt: int, ending: Ending
) -> data.Document:
    """Return everything that the report says in numbers and words."""
    stages, critical = story.timeline(history, entries)
    maps = amplifier_maps(history, readings)
    names = history.plan.detector_names
    return data.Document(
        written=iso_utc(utils.current_tai()),
        attempt=attempt,
        problems=(*readings.problems, *(problem for table in readings.statistics for problem in table.problems)),
        run=story.run_section(history, entries, ending.state, ending.reason),
        products=product_story.products(history),
        stages=stages,
        critical_path=story.critical_stages(critical, history),
        jobs=story.jobs(history, critical, entries[-1].at),
        exposures=story.exposures(history),
        statistics=readings.statistics,
        measurements=product_story.measurements(history),
        drifts=product_story.drifts(history),
        curves=_curves(readings, history),
        maps=maps,
        outliers=outliers(maps, names),
        options=history.plan.options.effective(),
        configuration=history.plan.config.model_dump(mode="json"),
        software=_software() | {f"pipelines: {name}": version for name, version in readings.packages.items()},
    )


def _curves(readings: Readings, history: History) -> tuple[data.Curve, ...]:
    names = history.plan.detector_names
    return tuple(
        data.Curve(
            detector=detector,
            name=names.get(detector, str(detector)),
            fit_type=found.fit_type,
            means=dict(found.means),
            variances=dict(found.variances),
            model=dict(found.model),
            used=dict(found.used),
            gain=dict(found.gain),
            noise=dict(found.noise),
            turnoff=dict(found.turnoff),
        )
        for detector, found in sorted(readings.curves.items())
    )


def _software() -> dict[str, str]:
    versions = {"ts-comcamcalib": __version__, "Python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions


def _check_directory(directory: Path) -> None:
    """Try at once whether files can be written, not after all the work."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):
            pass
    except OSError as error:
        raise ReportError(f"The directory of reports {directory} can't be written ({error.strerror})") from error


def _write(path: Path, text: str) -> None:
    """Write a file aside and rename it, so that nobody ever reads half of one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise ReportError(f"{path} can't be written ({error.strerror})") from error
