# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The configuration as it is shipped, for every test that needs one; and a look for tasks that a test leaves behind."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from lsst.ts.comcamcalib.config import CscConfig

ROOT = pathlib.Path(__file__).parents[1]

SKIPPED_IN_CI = "for make test-oldest"
"""Reason of the only tests that CI may skip: they look at another environment."""

# With --import-mode=importlib, pytest does not make what tests share importable.
sys.path.insert(0, str(ROOT / "tests"))

from support.observatory import (  # noqa: E402, F401
    csc,
    csc_process,
    enabled_csc,
    journal_path,
    observatory,
    operator,
    session_observatory,
)
from support.tasks import no_task_is_left_behind, tasks_of_the_test  # noqa: E402, F401


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail in CI if a test was skipped: what it proves would be proven no more, and nobody would see it."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    reasons = [str(report.longrepr[-1]) for report in reporter.stats.get("skipped", [])]
    if unexpected := [reason for reason in reasons if SKIPPED_IN_CI not in reason]:
        reporter.write_line(f"In CI no test may be skipped: {unexpected}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def repository_root() -> pathlib.Path:
    """Folder with config/, tests/ and the rest."""
    return ROOT


@pytest.fixture(scope="session")
def read_site() -> Callable[[str], dict[str, Any]]:
    """Return the configuration of a site as salobj reads it: ``_init.yaml``, then the site's own file."""

    def read(site: str) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for name in ("_init", f"_{site}"):
            # The sites' files have no mappings in them, so that an update is the same as salobj's hierarchical one.
            values |= yaml.safe_load((ROOT / "config" / "ComCamCalib" / "v1" / f"{name}.yaml").read_text())
        return values

    return read


@pytest.fixture
def config_values(read_site: Callable[[str], dict[str, Any]]) -> dict[str, Any]:
    """The summit's configuration, to be changed by the test."""
    return read_site("summit")


@pytest.fixture(scope="session")
def config(read_site: Callable[[str], dict[str, Any]]) -> CscConfig:
    """The summit's configuration."""
    return CscConfig.from_namespace(read_site("summit"))
