# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look for leftover tasks finds them, and names them."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

CONFTEST = """
import sys
sys.path.insert(0, {tests!r})
from support.tasks import no_task_is_left_behind, tasks_of_the_test
"""


@pytest.fixture
def inner(pytester: pytest.Pytester, repository_root: object) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST.format(tests=f"{repository_root}/tests"))
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\n")
    return pytester


def test_task_that_is_left_behind_fails_the_test_and_is_named(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import asyncio

        async def test_that_forgets():
            asyncio.create_task(asyncio.sleep(3600), name="the forgotten one")
        """
    )
    result = inner.runpytest_inprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*left tasks behind: the forgotten one (sleep)*"])


def test_tasks_that_end_are_no_mistake(inner: pytest.Pytester) -> None:
    inner.makepyfile(
        """
        import asyncio
        import pytest

        @pytest.fixture
        async def helper():
            task = asyncio.create_task(asyncio.sleep(3600))
            yield
            task.cancel()

        async def test_that_cleans_up(helper):
            await asyncio.create_task(asyncio.sleep(0))

        def test_without_a_loop():
            pass
        """
    )
    inner.runpytest_inprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)
