# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A journal that is damaged, or can't be written: nothing is done that nobody would know of."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.plan.validity import day_obs_of
from lsst.ts.comcamcalib.record.events import (
    Event,
    StageStatus,
)
from lsst.ts.comcamcalib.run.owner import JournalError
from support.house import House
from support.plans import make_config
from support.services import Gate

BIAS = {"script_mode": "BIAS", "oods_timeout": 0.2}


def today() -> int:
    return day_obs_of(utils.current_tai())


async def refusal(house: House, **options) -> str:
    with pytest.raises(BadInputError) as caught:
        await house.start(**options)
    return str(caught.value)


async def spoilt_house(tmp_path: Path, statement: str) -> House:
    """Complete two runs, end the process, and change the journal by a statement; the first run is 001."""
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    for _ in range(2):
        await house.start(**BIAS)
        await house.ended()
    await house.close()
    with sqlite3.connect(house.path) as connection:
        connection.execute(statement)
    return House(house.config, house.path, house.observatory)


LATEST = "run_id LIKE '%-002'"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (f"UPDATE runs SET state = 99 WHERE {LATEST}", r"in a state that does not exist \(99\)"),
        (f"UPDATE runs SET state = 'RUNNING' WHERE {LATEST}", r"in a state that does not exist \('RUNNING'\)"),
        # It may be an open one, though others came after it.
        (f"UPDATE runs SET state = 99 WHERE NOT {LATEST}", "has run .*-001 in a state that does not exist"),
        (f"UPDATE facts SET body = '[{{}}]' WHERE {LATEST} AND seq = 3", "a fact .number 3. that can't be understood"),
        (f"UPDATE facts SET body = 'x' WHERE {LATEST} AND seq = 3", "a fact .number 3. that can't be understood"),
        (f"DELETE FROM facts WHERE {LATEST} AND seq = 3", "facts missing"),
        (f"DELETE FROM facts WHERE {LATEST} AND seq = 1", "facts missing"),
        ("UPDATE runs SET state = 2", "more than one open run"),
    ],
)
async def test_damaged_journal_is_refused_in_a_sentence(tmp_path: Path, statement: str, words: str) -> None:
    house = await spoilt_house(tmp_path, statement)
    with pytest.raises(JournalError, match=words) as caught:
        await house.open()
    assert str(house.path) in str(caught.value) and "ove the file away" in str(caught.value)
    await house.journal.close()


async def test_old_run_that_ended_and_is_damaged_is_refused_and_stops_nobody(tmp_path: Path) -> None:
    house = await spoilt_house(tmp_path, f"UPDATE facts SET body = '[{{}}]' WHERE NOT {LATEST}")
    await house.open()
    with pytest.raises(BadInputError, match=r"has run .*-001 with a fact"):
        await house.runner.publish_status(f"{today()}-001")
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    await house.close()


async def test_run_that_is_open_can_be_ended_though_others_came_after_it(tmp_path: Path) -> None:
    """A FAILED run of yesterday was resumed, and the process died."""
    house = await spoilt_house(tmp_path, f"UPDATE runs SET state = 2 WHERE NOT {LATEST}")
    with sqlite3.connect(house.path) as connection:
        connection.execute(f"DELETE FROM facts WHERE NOT {LATEST} AND seq > 2")
    await house.open()
    first = f"{today()}-001"
    assert (house.status.run_id, house.status.state) == (first, RunState.INTERRUPTED)
    assert f"Run {first} is open (INTERRUPTED)" in await refusal(house, **BIAS)
    assert (await house.runner.publish_status(""))["runId"] == first
    assert house.runner.progress().run_id == first
    await house.runner.abort("op")
    await house.until(lambda: house.status.state is RunState.ABORTED)
    assert house.status.run_id == first
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    await house.close()


async def ended_unwritten(house: House) -> str:
    """Let a run fail, and keep its last facts out of the journal; return its id."""
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    house.observatory.camera.errors["BIAS", 1] = "the shutter is stuck"
    run_id = await house.start(**BIAS)
    await gate.until_reached()
    house.make_read_only()
    gate.open()
    assert (await house.ended()).state is RunState.FAILED
    house.observatory.camera.errors.clear()
    return run_id


@pytest.mark.parametrize("resume", [False, True])
async def test_no_run_begins_while_the_end_of_the_last_one_is_not_written(house: House, resume: bool) -> None:
    run_id = await ended_unwritten(house)
    assert house.runner.unwritten, "so a fault, which closes the journal, would lose it"
    with pytest.raises(BadInputError) as caught:
        await (house.runner.resume(run_id, "op") if resume else house.start(**BIAS))
    assert str(caught.value).startswith(f"The end of run {run_id} is not in the journal yet, so no run is begun. ")
    assert "attempt to write a readonly database" in str(caught.value)
    assert len(house.observatory.camera.requests) == 1
    house.make_writable()
    if resume:
        await house.runner.resume(run_id, "op")
    else:
        await house.start(**BIAS)
    assert not house.alarms.journal_degraded
    assert (await house.ended()).state is RunState.COMPLETED


async def test_end_that_could_be_written_in_the_end_is_known_to_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.recorder.RETRY_INTERVAL_S", 0.02)
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    run_id = await ended_unwritten(house)
    house.make_writable()
    await house.runner.close()
    assert not house.runner.unwritten
    await house.die()
    after = await House(house.config, house.path, house.observatory).open()
    assert after.runner.open_run is None
    snapshot = await after.runner.publish_status("")
    assert (snapshot["runId"], snapshot["runState"]) == (run_id, RunState.FAILED)
    await after.close()


@pytest.mark.parametrize("spoilt", ["frame", "job", "certification"])
async def test_nothing_is_done_that_can_not_be_written_down(tmp_path: Path, spoilt: str) -> None:
    """It fails after its limit, in a sentence; when the journal can be written again, the run is resumed."""
    house = await House(make_config(limits={"journal": 0.05}), tmp_path / "journal.sqlite").open()
    world, camera = house.observatory.world, house.observatory.camera
    before = {"frame": "BIAS.ACQUIRE", "job": "BIAS.GENERATE", "certification": "BIAS.CERTIFY"}[spoilt]

    def spoil(event: Event) -> None:
        if isinstance(event, StageStatus) and event.stage_name == before and event.state is StageState.RUNNING:
            house.make_read_only()

    house.on_published = spoil
    await house.start(**BIAS)
    status = await house.ended()
    assert status.state is RunState.FAILED
    assert "It could not be written down, so it was not done: " in house.reasons[before]
    assert "attempt to write a readonly database" in house.reasons[before]
    assert (len(camera.requests), len(world.jobs), len(world.certificates)) == {
        "frame": (0, 0, 0),
        "job": (2, 0, 0),
        "certification": (2, 2, 0),
    }[spoilt]
    house.on_published = lambda event: None
    house.make_writable()
    await house.runner.resume("", "op")
    assert (await house.ended()).state is RunState.COMPLETED
    assert (len(camera.requests), len(world.jobs), len(world.certificates)) == (2, 2, 3)
    await house.close()
