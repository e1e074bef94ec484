# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stored form of a plan: JSON that is kept with the run and read back when the run is resumed; pure."""

from __future__ import annotations

import functools
import json

import pydantic

from .plan import PLAN_VERSION, RunPlan

__all__ = ["plan_from_json", "plan_to_json"]


def plan_to_json(plan: RunPlan) -> str:
    """Return a plan as JSON text.

    Parameters
    ----------
    plan
        Any plan.

    Returns
    -------
    text
        All of it, the options and the configuration included.
    """
    return _adapter().dump_json(plan).decode()


def plan_from_json(text: str) -> RunPlan:
    """Read a plan back.

    Parameters
    ----------
    text
        What `plan_to_json` returned.

    Returns
    -------
    plan
        A plan that is equal to the one that was stored.

    Raises
    ------
    ValueError
        If the text is not a plan of a version that this release reads; the message says what is wrong with it.
    """
    try:
        version = json.loads(text)["version"]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"The stored plan can't be read, because it is not a plan in JSON ({_cause(error)})."
        ) from error
    if version != PLAN_VERSION or isinstance(version, bool):
        raise ValueError(
            f"The stored plan has version {version}, but this release reads only version {PLAN_VERSION}; resume the "
            "run with the release that accepted it."
        )
    try:
        return _adapter().validate_json(text)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        more = f" and {error.error_count() - 1} more" if error.error_count() > 1 else ""
        where = ".".join(map(str, first["loc"])) or "plan"
        raise ValueError(
            f"The stored plan can't be read, because it has wrong content: {where}: {first['msg']}{more}."
        ) from error


@functools.cache
def _adapter() -> pydantic.TypeAdapter[RunPlan]:
    return pydantic.TypeAdapter(RunPlan)


def _cause(error: Exception) -> str:
    return "it has no version" if isinstance(error, KeyError | TypeError) else str(error)
