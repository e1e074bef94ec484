# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check, before a run is accepted, that everything that it needs is available."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Mapping
from typing import Any

from ..enums import CalibType
from ..errors import ServiceError
from ..options import usual_collection
from ..plan.plan import RunPlan
from ..services import collection_names
from ..services.side_by_side import both
from ..stages.context import Services

__all__ = ["preflight"]


async def preflight(plan: RunPlan, services: Services) -> list[str]:
    """Check everything outside that a run needs, in parallel and within a limit.

    Parameters
    ----------
    plan
        The run's plan.
    services
        The connections to the outside.

    Returns
    -------
    problems
        A sentence for each check that failed or was not answered in time; empty: the run may start.
    """
    limit_s = plan.config.limits.preflight
    checks: Mapping[str, Coroutine[Any, Any, list[str]]] = {
        "the UWS": _check_uws(services),
        "the Butler repository": _check_collections(plan, services),
        "the camera": _check_camera(plan, services),
    }
    tasks = {name: asyncio.create_task(check, name=f"check of {name}") for name, check in checks.items()}
    try:
        await asyncio.wait(tasks.values(), timeout=limit_s)
        problems = services.components.problems()
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
