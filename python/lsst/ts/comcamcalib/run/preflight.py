# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check, before a run is accepted, that everything that it needs is available."""

from __future__ import annotations

import asyncio
import datetime
import shutil
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..enums import CalibType, StageKind
from ..errors import ServiceError
from ..options import usual_collection
from ..plan.build import FRAME_TYPES
from ..plan.plan import RunPlan, StagePlan
from ..record.history import History
from ..services import collection_names
from ..services.job_origin import resolve_alias
from ..services.side_by_side import all_of, both
from ..stages.context import Services
from .conflicts import check_conflicts

__all__ = ["preflight"]

OF_FRAMES = frozenset({StageKind.ACQUIRE, StageKind.INGEST})
OF_JOBS = frozenset({StageKind.GENERATE, StageKind.VERIFY})

JOURNAL_ROOM_MB = 100
"""A run of 1000 frames writes less than a tenth of that."""

REPO_ROOM_MB = 1000
"""The products of nine detectors take a few hundred megabytes."""


async def preflight(
    plan: RunPlan,
    services: Services,
    tai_s: float,
    limit_s: float,
    history: History | None = None,
    kinds: frozenset[StageKind] = frozenset(StageKind),
) -> list[str]:
    """Check everything outside that a run needs, in parallel and within a limit.

    Parameters
    ----------
    plan
        The run's plan.
    services
        The connections to the outside.
    tai_s
        The time (TAI unix seconds).
    limit_s
        Longest time for all checks (seconds).
    history
        What has happened in the run so far; None if it is new.
    kinds
        Kinds of the stages that are to be done; what only others need is not checked.

    Returns
    -------
    problems
        A sentence for each check that failed or was not answered in time; empty: the run may start.
    """
    frames, jobs = bool(kinds & OF_FRAMES), bool(kinds & OF_JOBS)
    checks: Mapping[str, Coroutine[Any, Any, list[str]]] = {
        **({"the UWS": _check_uws(services)} if jobs else {}),
        "the Butler repository": _check_repository(plan, services, tai_s, jobs),
        "the disks": _check_room(plan),
        **({"the camera": _check_camera(plan, services)} if frames else {}),
        "the calibration collection": check_conflicts(plan, services, tai_s, history),
    }
    tasks = {name: asyncio.create_task(check, name=f"check of {name}") for name, check in checks.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=limit_s)
        problems = _check_components(plan, services, frames, jobs)
        for name, task in tasks.items():
            if task.done():
                problems += task.result()
            else:
                problems.append(
                    f"{name[0].upper()}{name[1:]} did not answer within {limit_s:g} s; try again, and if it "
                    "still does not answer, find out what it is doing"
                )
    finally:
        for task in tasks.values():
            task.cancel()
        await asyncio.gather(*tasks.values(), return_exceptions=True)
    return problems


def _check_components(plan: RunPlan, services: Services, frames: bool, jobs: bool) -> list[str]:
    """Return what is wrong with the components that take and ingest frames, and with the one that runs jobs."""
    ocps = plan.config.instrument.ocps
    return [one for one in services.components.problems() if (jobs if one.startswith(f"{ocps} ") else frames)]


async def _check_uws(services: Services) -> list[str]:
    try:
        await services.uws.ping()
    except ServiceError as error:
        return [f"The UWS, which runs the jobs, can't be used: {error}"]
    return []


async def _check_camera(plan: RunPlan, services: Services) -> list[str]:
    obstacle = await services.camera.obstacle()
    return [obstacle] * bool(obstacle) + await _check_filter(plan, services)


async def _check_filter(plan: RunPlan, services: Services) -> list[str]:
    wanted = plan.options.filter
    if wanted is None or CalibType.FLAT not in plan.sequences:
        return []
    try:
        await services.camera.find_filter(wanted)
    except ServiceError as error:
        return [f"filter: {error}"]
    return []


async def _check_room(plan: RunPlan) -> list[str]:
    """Check that there is room on the disks of the journal, and of the repository if it is on this machine."""
    return await asyncio.to_thread(_room_problems, Path(plan.config.journal_path).parent, plan.config.repo)


def _room_problems(journal: Path, repo: str) -> list[str]:
    places = [("journal_path", journal, JOURNAL_ROOM_MB)]
    place = resolve_alias(repo)
    if "/" in place and "://" not in place:
        places.append(("repo", Path(place), REPO_ROOM_MB))
    return [problem for one in places if (problem := _room_problem(*one))]


def _room_problem(name: str, folder: Path, wanted_mb: int) -> str:
    try:
        free_mb = shutil.disk_usage(folder).free // 1_000_000
    except OSError:
        return ""  # other checks say what is wrong with it
    if free_mb >= wanted_mb:
        return ""
    return f"{name}: the disk of {folder} has only {free_mb} MB left; make room for at least {wanted_mb} MB"


async def _check_repository(plan: RunPlan, services: Services, tai_s: float, jobs: bool) -> list[str]:
    """Check the collections; only if they are all there, also what is in them for the jobs, if there are any."""
    problems = await _check_collections(plan, services)
    return problems if problems or not jobs else await _check_prerequisites(plan, services, tai_s)


async def _check_prerequisites(plan: RunPlan, services: Services, tai_s: float) -> list[str]:
    """Check that the input collections have, for each detector, the calibrations that the run does not make itself."""
    wanted: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for stage in plan.stages:
        for collections in dict.fromkeys(job.collections for job in stage.jobs):
            for dataset_type in dict.fromkeys(_needed(stage, plan)):
                wanted.setdefault((dataset_type, collections), []).append(stage.name)
    at = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=tai_s)
    detectors, names = plan.options.detectors, plan.detector_names

    async def look(dataset_type: str, collections: tuple[str, ...], stages: list[str]) -> str:
        missing = await services.repository.detectors_without(dataset_type, collections, detectors, at.isoformat())
        if not missing:
            return ""
        which = "any detector" if len(missing) == len(detectors) else ", ".join(names[one] for one in missing)
        need = f"{' and '.join(stages)} {'needs' if len(stages) == 1 else 'need'}"
        return (
            f"{need} a {dataset_type} that is valid now, but {', '.join(collections)} has none for {which}. Certify "
            "one, or name input collections that have it"
        )

    try:
        return [one for one in await all_of(look(*key, stages) for key, stages in wanted.items()) if one]
    except ServiceError as error:
        return [f"Whether the calibrations that the run builds on exist could not be looked up: {error}"]


def _needed(stage: StagePlan, plan: RunPlan) -> Iterator[str]:
    """Yield the types of the calibrations that the jobs of a stage look up and the run does not make."""
    of_frames, verifies = stage.calib_type in FRAME_TYPES, stage.kind is StageKind.VERIFY
    if of_frames:  # the other pipelines correct the frames without these
        yield from plan.config.prerequisites
    bases = [CalibType[name] for name in plan.recipe(stage.calib_type).builds_on]
    if verifies and not of_frames:  # it is verified by what is in itself
        bases = []
    for one in (*bases, stage.calib_type) if verifies else bases:
        if plan.stage(one, StageKind.GENERATE) is None:
            yield plan.recipe(one).dataset_type


async def _check_collections(plan: RunPlan, services: Services) -> list[str]:
    """Check that every input collection exists; the collection to certify into need not, because it is created."""
    calib_collection, repository = plan.options.calib_collection, services.repository
    wanted: dict[str, list[str]] = {plan.config.raw_collection: ["raw_collection of the CSC's configuration"]}
    for stage in plan.stages:
        for collection in dict.fromkeys(name for job in stage.jobs for name in job.collections):
            if collection != calib_collection:
                wanted.setdefault(collection, []).append(stage.name)
    try:
        missing, obstacle = await both(
            repository.missing_collections([*wanted, calib_collection]), repository.certify_obstacle(calib_collection)
        )
        # Comparing with the names of all collections takes longer, and is seldom needed.
        near = await repository.near_names(missing) if missing else {}
    except ServiceError as error:
        return [f"The repository {plan.config.repo} can't be used: {error}"]
    problems = [f"calib_collection: {obstacle}"] if obstacle else []
    usual = usual_collection(plan.config.option_rules())
    advice = (
        "Use that name if you mean it; otherwise choose one that differs by more than a letter or upper and lower case"
    )
    if calib_collection in missing and calib_collection in near:
        problems.append(
            f"calib_collection: there is no collection {calib_collection} in {plan.config.repo}, but there is "
            f"{near[calib_collection]}. {advice}"
        )
    elif calib_collection in missing and collection_names.near(calib_collection, [usual]):
        # The default does not exist before the first run that certifies.
        problems.append(
            f"calib_collection: there is no collection {calib_collection} in {plan.config.repo}, but the default is "
            f"{usual}. {advice}"
        )
    for name in missing:
        if name != calib_collection:
            remedy = f"did you mean {near[name]}?" if name in near else "name one that exists"
            problems.append(
                f"There is no collection {name} in {plan.config.repo}, an input of {', '.join(wanted[name])}; {remedy}"
            )
    return problems
