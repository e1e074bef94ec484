# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What cp_verify wrote, read again from the repository by the verification's own reader, as columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from ..butler_data import StatisticsTypes
from ..enums import CalibType, StageKind
from ..plan.build import FRAME_TYPES
from ..plan.plan import StagePlan
from ..plan.request import run_collection
from ..record.history import History
from ..services import butler_queries, butler_statistics
from ..verification import NO_EXPOSURE, RuleContext
from ..verification.reader import read_table
from ..verification.table import ABSENT, PASSED, StatisticsTable
from . import data

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["read_statistics", "verified_stages"]


def verified_stages(history: History) -> Iterator[tuple[StagePlan, str]]:
    """Yield the VERIFY stages whose job has left statistics, with the id of the job."""
    for stage in history.plan.stages:
        if stage.kind is not StageKind.VERIFY or not stage.jobs:
            continue
        job = history.job(stage.jobs[0].label)
        if job is not None and job.job_id and job.exit_code == 0:
            yield stage, job.job_id


def read_statistics(butler: Butler, history: History, stage: StagePlan, job_id: str) -> list[data.StatisticsTable]:
    """Read the statistics of a verification, for flats those of each filter; this blocks.

    Parameters
    ----------
    butler
        The repository.
    history
        The run.
    stage, job_id
        What was verified, and by which job.

    Raises
    ------
    ServiceError
        If they can't be read at all. What makes no sense in them is named in the table's problems.
    """
    recipe = history.plan.recipe(stage.calib_type).verification
    assert recipe is not None, "its job has left statistics"
    instrument, collection = history.plan.config.instrument.name, run_collection(job_id)
    types = StatisticsTypes(recipe.run_statistics, recipe.detector_statistics, recipe.exposure_statistics)
    tables = []
    for physical_filter, exposures in _by_filter(butler, history, stage.calib_type).items():
        found = butler_statistics.find_statistics(butler, instrument, collection, types, physical_filter or None)
        read = butler_statistics.read_files([one for one in found if one.uri])
        read += butler_statistics.read_without_file(butler, [one for one in found if not one.uri])
        context = RuleContext(
            calib_type=stage.calib_type,
            physical_filter=physical_filter,
            detectors=history.plan.detector_names,
            amplifiers=history.plan.amplifiers,
            rules=history.plan.config.rules(stage.calib_type),
            exposures=exposures,
            amplifier_names=history.plan.config.instrument.amplifier_names,
            recipe=recipe,
        )
        statistics = butler_statistics.sort(read, with_exposures=bool(types.exposure))
        tables.append(_columns(read_table(statistics, context), context, collection))
    return tables


def _by_filter(butler: Butler, history: History, calib_type: CalibType) -> dict[str, tuple[int | None, ...]]:
    """Return the exposures of a product by filter; "" for all but flats."""
    if calib_type not in FRAME_TYPES:
        return {"": NO_EXPOSURE}
    exposures = history.exposure_ids(calib_type)
    if calib_type is not CalibType.FLAT:
        return {"": exposures}
    known = butler_queries.exposures(butler, history.plan.config.instrument.name, exposures)
    filters = {one: known[one].physical_filter if one in known else "" for one in exposures}
    return {kind: tuple(one for one in exposures if filters[one] == kind) for kind in sorted(set(filters.values()))}


def _columns(table: StatisticsTable, context: RuleContext, collection: str) -> data.StatisticsTable:
    rows = list(_rows(table))
    names = (*table.amplifiers, "")
    results = table.results
    whole = len(table.amplifiers)
    return data.StatisticsTable(
        calib_type=context.calib_type.name,
        physical_filter=context.physical_filter,
        collection=collection,
        exposure=tuple(table.exposures[one] for one, _, _ in rows),
        detector=tuple(table.detectors[one] for _, one, _ in rows),
        amplifier=tuple(names[one] for _, _, one in rows),
        statistics={
            name: tuple(float(table.values[(*row, number)]) if row[2] < whole else None for row in rows)
            for number, name in enumerate(table.statistics)
            # The points of a curve, for example, are no numbers.
            if np.isfinite(table.values[..., number]).any()
        },
        tests={
            name: tuple(None if (one := results[(*row, number)]) == ABSENT else bool(one == PASSED) for row in rows)
            for number, name in enumerate(table.tests)
        },
        problems=tuple(
            dict.fromkeys(_problem(one.text, one.exposure, one.detector, context) for one in table.problems)
        ),
    )


def _rows(table: StatisticsTable) -> Iterator[tuple[int, int, int]]:
    """Yield the indices of exposure, detector and amplifier of which there are results; the last is the detector."""
    there = (table.results != ABSENT).any(axis=3)
    yield from ((int(one), int(two), int(three)) for one, two, three in zip(*there.nonzero(), strict=True))


def _problem(text: str, exposure: int | None, detector: int | None, context: RuleContext) -> str:
    where = [
        context.calib_type.name,
        *([f"exposure {exposure}"] if exposure is not None else []),
        *([context.detectors.get(detector, str(detector))] if detector is not None else []),
    ]
    return f"Statistics of {', '.join(where)}: {text}."
