# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run whose process is killed at any moment is resumed, and ends as if nothing had happened."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.record.facts import Entry
from support.house import House
from support.plans import make_config

pytestmark = pytest.mark.usefixtures("quick_looks")

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.1}
ALL = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True, "oods_timeout": 0.1}
MOST_LIVES = 100


def outcome(house: House) -> tuple[object, ...]:
    """Return what a run has left in the world: exposures, jobs and certified datasets."""
    world = house.observatory.world
    return (
        [(one.kind, one.exposure_time_s, one.group_id) for one in world.exposures.values()],
        sorted(job.label for job in world.jobs.values()),
        sorted(
            (one.dataset_type, one.dataset.detector or 0, one.dataset.physical_filter or "", one.validity)
            for one in world.certificates
        ),
    )


def stop_writing(house: House, number: int, before: bool) -> asyncio.Event:
    """Let the journal hang at a write, before or after it is made; return what is set then."""
    append, reached, numbers = house.journal.append, asyncio.Event(), itertools.count(1)

    async def counting(run_id: str, entries: Sequence[Entry], state: RunState) -> None:
        last = next(numbers) == number
        if not (last and before):
            await append(run_id, entries, state)
        if last:
            reached.set()
            await asyncio.Event().wait()

    house.journal.append = counting  # type: ignore[method-assign]
    return reached


async def until_dead_or_ended(house: House, reached: asyncio.Event, doing: asyncio.Task[Any]) -> None:
    """Wait until the process is to be killed, or the run has ended."""

    async def end() -> None:
        await doing
        await house.ended()

    waiting = [asyncio.create_task(reached.wait()), asyncio.create_task(end())]
    done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    for task in waiting:
        task.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)


async def undisturbed(path: Path, options: dict[str, Any]) -> tuple[object, ...]:
    house = await House(make_config(), path).open()
    await house.start(**options)
    assert (await house.ended()).state is RunState.COMPLETED
    await house.close()
    return outcome(house)


async def killed_at(path: Path, number: int, before: bool, options: dict[str, Any]) -> tuple[House, bool]:
    """Run, die at a write, come back and resume; return the house and whether the process was killed."""
    house = await House(make_config(), path).open()
    reached = stop_writing(house, number, before)
    await until_dead_or_ended(house, reached, asyncio.create_task(house.start(**options)))
    if not reached.is_set():
        return house, False
    after = await house.reborn()
    if after.runner.open_run is not None:
        assert after.status.state is RunState.INTERRUPTED
        assert "Go on with resumeCalibrationRun" in after.status.reason
        assert after.alarms.operator_decision_needed
        assert "Go on with resumeCalibrationRun" in after.alarms.reason
        assert StageState.RUNNING not in after.states.values()
        await after.runner.resume("", "op")
    await after.ended()
    return after, True


# Facts that come together are written together: a run of biases needs some 25 writes, one with everything 60.
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize(
    ("options", "numbers"),
    [(BIAS, range(1, MOST_LIVES)), (ALL, range(2, 6 * MOST_LIVES, 6))],
    ids=["biases", "everything"],
)
async def test_run_that_is_killed_at_any_write_ends_as_if_undisturbed(
    tmp_path: Path, options: dict[str, Any], numbers: range, before: bool
) -> None:
    expected = await undisturbed(tmp_path / "undisturbed.sqlite", options)
    for number in numbers:
        house, killed = await killed_at(tmp_path / f"{number}.sqlite", number, before, options)
        try:
            assert house.status.state is RunState.COMPLETED, f"killed at write {number}: {house.status.reason}"
            assert outcome(house) == expected, f"killed at write {number}"
            history = house.runner.run.history  # type: ignore[union-attr]
            assert {stage.attempt for stage in history.stages.values()} == {1}
            assert not history.stray_frames and not history.stray_jobs and not history.open_certifications
        finally:
            await house.close()
        if not killed:
            break
    else:
        pytest.fail("it never ended by itself")
    assert number > numbers.start + 3 * numbers.step, "it was killed often"


@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
async def test_run_that_is_killed_again_and_again_ends_as_if_undisturbed(tmp_path: Path, before: bool) -> None:
    expected = await undisturbed(tmp_path / "undisturbed.sqlite", BIAS)
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    reached = stop_writing(house, 8, before)
    await until_dead_or_ended(house, reached, asyncio.create_task(house.start(**BIAS)))
    lives = 1
    while reached.is_set():
        lives += 1
        assert lives < MOST_LIVES
        house = await house.reborn()
        if house.runner.open_run is None:
            break  # it died after it had written down the end
        reached = stop_writing(house, 8, before)
        await until_dead_or_ended(house, reached, asyncio.create_task(house.runner.resume("", "op")))
    assert house.status.state is RunState.COMPLETED, house.status.reason
    assert outcome(house) == expected
    assert lives > 3
    await house.close()
