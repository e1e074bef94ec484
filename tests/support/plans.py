# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration, options and plans for tests."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import yaml
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.options import RunOptions, parse_options
from lsst.ts.comcamcalib.plan.build import build_plan
from lsst.ts.comcamcalib.plan.plan import RunPlan

__all__ = ["DAY_OBS", "RUN_ID", "SMALL", "make_config", "make_options", "make_plan"]

DAY_OBS = 20261122
RUN_ID = "20261122-001"

SMALL: dict[str, Any] = {
    "script_mode": "BIAS_DARK_FLAT",
    "n_bias": 2,
    "n_dark": 2,
    "exp_times_dark": 30,
    "n_flat": 4,
    "exp_times_flat": [1.0, 1.0, 2.0, 2.0],
    "detectors": [0, 1, 4],
}
"""Options of a run that is as small as a run with everything can be."""


@functools.cache
def _shipped() -> dict[str, Any]:
    folder = Path(__file__).parents[2] / "config" / "ComCamCalib" / "v1"
    values: dict[str, Any] = {}
    for name in ("_init.yaml", "_summit.yaml"):
        values |= yaml.safe_load((folder / name).read_text())
    # Most tests are not about the report or the page.
    return values | {
        "report": {"directory": "", "s3_instance": ""},
        "page": {"address": "", "port": 8080, "frame_ancestors": []},
    }


@functools.cache
def _shipped_config() -> CscConfig:
    return CscConfig.from_namespace(_shipped())


def make_config(**changes: Any) -> CscConfig:
    """Return the shipped configuration with some fields changed; ``limits`` may be given in part."""
    if not changes:
        return _shipped_config()
    limits = {**_shipped()["limits"], **changes.pop("limits", {})}
    return CscConfig.from_namespace({**_shipped(), **changes, "limits": limits})


def make_options(config: CscConfig | None = None, **options: Any) -> RunOptions:
    """Return the options of a small run, some of them changed."""
    text = json.dumps({name: value for name, value in {**SMALL, **options}.items() if value is not None})
    return parse_options(text, (config or make_config()).option_rules(), now_day_obs=DAY_OBS)


def make_plan(config: CscConfig | None = None, run_id: str = RUN_ID, **options: Any) -> RunPlan:
    """Return the plan of a small run, some of its options changed."""
    config = config or make_config()
    return build_plan(run_id, make_options(config, **options), config)
