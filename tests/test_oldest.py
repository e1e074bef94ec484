# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""``make test-oldest`` tries the versions that ``pyproject.toml`` names, none that another dependency has raised."""

from __future__ import annotations

import importlib.metadata
import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(not os.environ.get("OLDEST"), reason="for make test-oldest")

ROOT = Path(__file__).parents[1]


def bounds() -> dict[str, str]:
    """Return the lower bounds that are tried, by package."""
    found: dict[str, str] = {}
    for file in (ROOT / "standins" / "pyproject.toml", ROOT / "pyproject.toml"):
        project: dict[str, Any] = tomllib.loads(file.read_text())["project"]
        extras = project.get("optional-dependencies", {})
        for one in [*project["dependencies"], *(one for name in extras if name != "lint" for one in extras[name])]:
            match = re.fullmatch(r"([\w.-]+)(?:\[[\w,]+\])?[>=]=([\d.]+)", one)
            assert match, f"{one} has no lower bound"
            assert found.setdefault(match[1], match[2]) == match[2], f"{match[1]} has two bounds"
    return found


def test_each_lower_bound_is_the_version_that_is_tried() -> None:
    tried = {name: importlib.metadata.version(name) for name in bounds()}
    # Fewer numbers stand for the first release that has them: 30 is also 30.0.1.
    others = {
        name: (bound, tried[name]) for name, bound in bounds().items() if not f"{tried[name]}.".startswith(f"{bound}.")
    }
    assert others == {}, "bound and version that was tried"
