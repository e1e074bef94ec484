# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is derived from a run's record at any time: the alarms, and the progress."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Alarms, ImageTaken, JobState
from support.house import House
from support.plans import make_config
from support.services import Gate

BIAS = {"script_mode": "BIAS"}


async def test_failed_verification_asks_for_an_operators_decision(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    house.observatory.jobs.hold("cpDark")
    await house.start(speculate=False)
    await house.until(lambda: bool(house.of(Alarms)) and house.alarms.verification_failed)
    assert house.alarms.operator_decision_needed
    assert not house.alarms.run_failed
    await house.ended()
    await house.runner.update_alarms()
    assert house.alarms.run_failed and house.alarms.verification_failed and house.alarms.operator_decision_needed
    assert not house.alarms.certification_failed
    assert "BIAS.VERIFY: BIAS is FAILED" in house.alarms.reason


@pytest.mark.parametrize("spoil", ["verification", "certification", "generation"])
async def test_the_last_alarm_says_each_sentence_once(house: House, spoil: str) -> None:
    if spoil == "verification":
        house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    elif spoil == "certification":
        house.observatory.repository.errors["certify"] = "conflict"
    else:
        house.observatory.jobs.failing["cpBias"] = "RuntimeError: boom"
    house.runner.backend(False, "The UWS did not answer for 60 s.")
    await house.start(**BIAS)
    status = await house.ended()
    await house.runner.update_alarms()
    assert house.alarms.reason == f"{status.reason} The UWS did not answer for 60 s."
    (failed,) = [reason for name, reason in house.reasons.items() if name in status.reason and ": " in reason]
    assert house.alarms.reason.count(failed) == 1


async def test_alarms_of_a_run_clear_when_the_next_one_is_accepted(house: House) -> None:
    house.observatory.repository.errors["certify"] = "conflict"
    await house.start(**BIAS)
    await house.ended()
    assert house.alarms.certification_failed and house.alarms.run_failed
    assert not house.alarms.operator_decision_needed
    # A refused start does not clear them.
    with pytest.raises(BadInputError):
        await house.start(nonsense=1)
    assert house.alarms.run_failed
    house.observatory.repository.errors.clear()
    gate = house.observatory.camera.gates["BIAS", 3] = Gate()
    run_id = await house.start(**BIAS)
    assert house.alarms == Alarms(run_id=run_id)
    gate.open()
    await house.ended()
    assert house.alarms == Alarms(run_id=run_id)


async def test_alarms_are_published_only_when_they_change(house: House) -> None:
    await house.start(**BIAS)
    await house.ended()
    published = len(house.of(Alarms))
    await house.runner.update_alarms()
    await house.runner.update_alarms()
    assert len(house.of(Alarms)) == published


async def test_backend_that_does_not_answer_is_an_alarm_until_it_does(house: House) -> None:
    """Whether there is a run or not, and over the start of the next one."""
    house.runner.backend(False, "The UWS did not answer for 60 s.")
    await house.runner.update_alarms()
    assert house.alarms == Alarms(backend_unreachable=True, reason="The UWS did not answer for 60 s.")
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    await house.start(**BIAS)
    assert house.alarms.backend_unreachable
    house.runner.backend(True, "")
    await house.runner.update_alarms()
    assert not house.alarms.backend_unreachable
    gate.open()
    await house.ended()


async def test_journal_that_can_not_be_written_in_mid_run_is_an_alarm_until_it_can(tmp_path: Path) -> None:
    """What is in progress ends and is published; the run waits for the journal, and goes on with it."""
    house = await House(make_config(), tmp_path / "journal.sqlite").open()
    gate = house.observatory.camera.gates["BIAS", 1] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    house.make_read_only()
    gate.open()
    await house.until(lambda: bool(house.of(ImageTaken)))
    await house.runner.update_alarms()
    assert house.alarms.journal_degraded
    assert "attempt to write a readonly database" in house.alarms.reason
    assert len(house.observatory.camera.requests) == 1, "what can't be written down is not done"
    house.make_writable()
    assert (await house.ended()).state is RunState.COMPLETED
    assert house.certified == {"bias"}
    await house.runner.update_alarms()
    assert not house.alarms.journal_degraded
    await house.close()


async def test_progress_without_a_run_is_empty(house: House) -> None:
    progress = house.runner.progress()
    assert (progress.run_id, progress.state, progress.fraction_complete) == ("", 0, 0.0)
    assert not house.runner.active


@pytest.mark.parametrize("spoil", [False, True])
async def test_progress_grows_and_stays_within_its_bounds(house: House, spoil: bool) -> None:
    if spoil:
        house.observatory.world.bad_amplifiers["DARK", 0] = 12
        house.observatory.jobs.failing["cpPtc"] = "x"
    seen = []
    house.on_published = lambda entry: seen.append(house.runner.progress())
    await house.start(do_ptc=True, do_defects=True)
    await house.ended()
    for name in ("fraction_complete", "images_taken", "images_ingested", "jobs_completed", "stages_completed"):
        values = [getattr(one, name) for one in seen]
        assert values == sorted(values), name
    assert all(0.0 <= one.fraction_complete <= 1.0 and one.remaining >= 0.0 and one.elapsed >= 0.0 for one in seen)
    unfinished = [one for one in seen if one.stages_completed < one.stages_total]
    assert all(one.fraction_complete < 1.0 for one in unfinished), "a certification counts, too"
    last = house.runner.progress()
    assert (last.fraction_complete == 1.0) == (not spoil)
    assert last.remaining == 0.0
    assert (last.images_taken, last.images_ingested, last.images_expected) == (8, 8, 8)
    assert last.jobs_running == 0
    if not spoil:
        assert last.jobs_completed == last.jobs_expected == 12
        assert last.stages_completed == last.stages_total == 21


async def test_progress_says_what_is_waited_for_and_until_when(house: House) -> None:
    house.observatory.jobs.hold("cpBias")
    await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    progress = house.runner.progress()
    assert house.runner.active
    assert progress.activity.startswith("BIAS.GENERATE: the job cpBias (job-01), executing (until ")
    assert progress.activity.endswith(" TAI at the latest)")
    assert progress.jobs_running == 1
    assert progress.remaining > 0
    await house.runner.abort("op")
    await house.ended()
    progress = house.runner.progress()
    assert (progress.activity, progress.remaining, progress.jobs_running) == ("Aborted by op", 0.0, 0)
    assert house.of(JobState)[-1].phase == "aborted"


async def test_alarms_of_a_run_that_ended_in_an_earlier_process_are_not_published_again(stored_house: House) -> None:
    stored_house.observatory.repository.errors["certify"] = "conflict"
    await stored_house.start(**BIAS)
    assert (await stored_house.ended()).state is RunState.FAILED
    after = await stored_house.reborn()
    await after.runner.update_alarms()
    # Once, because the same process may have published them before it went to STANDBY.
    assert after.of(Alarms) == [Alarms()]
    await after.runner.resume("", "op")
    assert (await after.ended()).state is RunState.FAILED
    await after.runner.update_alarms()
    assert after.alarms.run_failed, "it has failed in this process, too"
    await after.close()
