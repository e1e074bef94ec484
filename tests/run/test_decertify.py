# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run certified is withdrawn, and what it had replaced is back: also after a kill, and with unclear answers."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.record.events import Certification, RunStatus
from lsst.ts.comcamcalib.record.facts import Decertified, DecertifyAbsent, DecertifyIntended
from lsst.ts.comcamcalib.run.decertification import DecertifyRequest
from lsst.ts.comcamcalib.run.recorder import Recorder
from support.gate import Gate
from support.house import House
from support.plans import make_config

pytestmark = pytest.mark.usefixtures("quick_looks")

OPTIONS: dict[str, Any] = {"script_mode": "BIAS", "oods_timeout": 0.1}
BIAS, DARK = CalibType.BIAS, CalibType.DARK


async def decertify(house: House, run_id: str, calib_type: int = 0, why: str = "a crack in the window") -> str:
    return (await house.runner.decisions.decertify(DecertifyRequest(run_id, calib_type, why, "op@console")))["plan"]


async def refusal(house: House, *args: Any, **kwargs: Any) -> str:
    with pytest.raises(BadInputError) as caught:
        await decertify(house, *args, **kwargs)
    return str(caught.value)


async def completed(house: House, **options: Any) -> str:
    run_id = await house.start(**{**OPTIONS, **options})
    status = await house.ended()
    assert status.state is RunState.COMPLETED, status.reason
    return run_id


def certified(house: House, dataset_type: str = "bias") -> set[str]:
    return {one.dataset_id for one in house.observatory.world.certified(dataset_type)}


async def facts_of(house: House, run_id: str) -> list[Any]:
    return [entry.fact for entry in await house.journal.read(run_id)]


async def test_what_was_replaced_is_back_and_that_is_published(house: House) -> None:
    first = await completed(house)
    before = certified(house)
    second = await completed(house)
    assert certified(house).isdisjoint(before)
    plan = await decertify(house, second)
    assert certified(house) == before
    assert plan == (
        "BIAS: 3 datasets are out of LSSTComCam/calib/daily; back with the former ranges: 3 datasets "
        f"({', '.join(sorted(before))})"
    )
    published = house.of(Certification)[-1]
    assert (published.run_id, published.state, published.dataset_count) == (second, CertificationState.DECERTIFIED, 3)
    assert published.reason.startswith("withdrawn by op@console: a crack in the window; 3 datasets are out of ")
    status = house.of(RunStatus)[-1]
    assert status.state is RunState.COMPLETED
    assert status.reason.endswith(
        "certified in LSSTComCam/calib/daily: BIAS. BIAS was withdrawn by op@console: a crack in the window"
    )
    summary: Any = await house.runner.publish_status(second)
    assert [one["state"] for one in summary["certifications"]] == [int(CertificationState.DECERTIFIED)]
    # And the one before it, which is not the latest run.
    await decertify(house, first)
    assert certified(house) == set()
    assert house.of(RunStatus)[-1].run_id == second, "a client that joins late hears of the latest run"


async def test_the_repository_may_have_another_name_by_now_but_must_be_the_same(stored_house: House) -> None:
    run_id = await completed(stored_house)
    names = {"repo": "LSSTComCam", "repo_names": (stored_house.config.repo,)}
    elsewhere = await stored_house.reborn(make_config(repo="/repo/other"))
    assert f"list {stored_house.config.repo} in repo_names" in await refusal(elsewhere, run_id)
    assert certified(elsewhere)
    after = await elsewhere.reborn(make_config(**names))
    await decertify(after, run_id)
    assert not certified(after)
    await after.close()


async def test_twice_is_refused_with_who_did_it(house: House) -> None:
    run_id = await completed(house)
    await decertify(house, run_id)
    assert await refusal(house, run_id) == (
        f"There is nothing to withdraw of run {run_id}: BIAS was withdrawn by op@console: a crack in the window."
    )
    assert len([one for one in await facts_of(house, run_id) if isinstance(one, DecertifyIntended)]) == 1


async def test_the_first_of_two_is_refused_and_the_second_is_named(house: House) -> None:
    first, second = await completed(house), await completed(house)
    now = certified(house)
    text = await refusal(house, first)
    assert text.startswith(
        "Nothing was withdrawn from LSSTComCam/calib/daily: Something else is certified there by now"
    )
    assert certified(house) == now
    assert not any(isinstance(one, DecertifyIntended) for one in await facts_of(house, first))
    # A sentence of the real repository names the RUN collection; the journal knows the run.
    product = house.runner.run.history.product(BIAS) if house.runner.run is not None else None
    assert product is not None
    assert await house.runner.decisions.with_run_ids(f"bias from {product.run_collection}.") == (
        f"bias from {product.run_collection} (run {second})."
    )


async def test_one_type_of_several_and_what_is_built_on_it_is_named(house: House) -> None:
    run_id = await completed(house, script_mode="BIAS_DARK")
    plan = await decertify(house, run_id, BIAS)
    assert plan.endswith(
        "it had replaced nothing. DARK, built on it, stay certified: withdraw them, too, if they are bad"
    )
    assert certified(house) == set() and len(certified(house, "dark")) == 3
    await decertify(house, run_id)
    assert certified(house, "dark") == set()


async def test_a_run_whose_bias_is_withdrawn_certifies_nothing_more_built_on_it(house: House) -> None:
    house.observatory.jobs.failing["verifyDark"] = "RuntimeError: boom"
    run_id = await house.start(**{**OPTIONS, "script_mode": "BIAS_DARK"})
    assert (await house.ended()).state is RunState.FAILED
    await decertify(house, run_id)
    house.observatory.jobs.failing.clear()
    await house.runner.resume(run_id, "op")
    status = await house.ended()
    assert status.state is RunState.FAILED
    assert "DARK is not certified, because BIAS was withdrawn by op@console: a crack in the window" in status.reason
    assert certified(house) == certified(house, "dark") == set()


async def test_what_can_not_be_withdrawn_is_refused(house: House) -> None:
    run_id = await completed(house)
    now = certified(house)
    assert await refusal(house, "20200101-001") == (
        f"There is no run 20200101-001; the latest is {run_id}, and `comcamcalib runs` lists all."
    )
    assert await refusal(house, "") == "runId: name the run, such as 20261122-001."
    assert "reason: decertify needs a reason" in await refusal(house, run_id, why=" ")
    assert "there is no type 7" in await refusal(house, run_id, 7)
    assert (
        await refusal(house, run_id, DARK) == f"Run {run_id} has not certified DARK, so there is nothing to withdraw."
    )
    open_run = await house.interrupted()
    assert f"Run {open_run} is open (INTERRUPTED)" in await refusal(house, run_id)
    await house.runner.abort("op")
    await house.ended()
    assert await refusal(house, open_run) == (
        f"Run {open_run} has not certified anything, so there is nothing to withdraw."
    )
    house.observatory.repository.errors["look_withdrawal"] = "Butler could not look: disk I/O error."
    assert await refusal(house, run_id) == (
        "Nothing was withdrawn from LSSTComCam/calib/daily: Butler could not look: disk I/O error."
    )
    assert certified(house) == now


async def test_what_is_not_found_as_it_should_be_is_published(house: House) -> None:
    run_id = await completed(house)
    house.observatory.repository.not_found = ["bias of detector 0 is not back in LSSTComCam/calib/daily."]
    assert "bias of detector 0 is not back" in await decertify(house, run_id)
    assert "bias of detector 0 is not back" in house.of(Certification)[-1].reason


async def test_no_run_is_begun_meanwhile(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.decisions.ANSWER_LIMIT_S", 0.05)
    run_id = await completed(house)
    gate = house.observatory.repository.gates["withdraw"] = Gate()
    assert await decertify(house, run_id) == "Butler is still at it; the event certification tells when it is done"
    with pytest.raises(BadInputError, match=f"What run {run_id} certified is being withdrawn, as op@console wants it"):
        await house.start(**OPTIONS)
    with pytest.raises(BadInputError, match=r"as op@console wants it\. That can't be aborted, and no run is open\."):
        await house.runner.abort("op@console")
    gate.open()
    await house.until(lambda: house.of(Certification)[-1].state is CertificationState.DECERTIFIED)
    assert not house.alarms.certification_failed
    while house.runner.decisions.doing:  # noqa: ASYNC110  # a few turns of the loop
        await asyncio.sleep(0)
    await completed(house)


async def look_at_a_gate(house: House, monkeypatch: pytest.MonkeyPatch, run_id: str) -> tuple[Gate, Any]:
    """Begin to withdraw, and stop before Butler is asked for anything."""
    gate, flush = Gate(), Recorder.flush

    async def flush_at_the_gate(record: Recorder) -> None:
        await gate.pass_through()
        await flush(record)

    monkeypatch.setattr(Recorder, "flush", flush_at_the_gate)
    task = asyncio.create_task(decertify(house, run_id))
    await gate.until_reached()
    monkeypatch.undo()
    return gate, task


async def test_leaving_enabled_while_it_is_checked_withdraws_nothing(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_id = await completed(house)
    before = certified(house)
    gate, task = await look_at_a_gate(house, monkeypatch, run_id)
    await house.runner.disconnect("The CSC went to DISABLED")
    gate.open()
    with pytest.raises(BadInputError, match="The CSC left ENABLED while the checks were going on"):
        await task
    house.runner.connect(house.observatory.services)
    assert certified(house) == before
    assert not any(isinstance(one, DecertifyIntended) for one in await facts_of(house, run_id))


async def test_an_abort_while_it_is_checked_withdraws_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    run_id = await completed(house)
    before = certified(house)
    gate, task = await look_at_a_gate(house, monkeypatch, run_id)
    await house.runner.abort("somebody@console")
    gate.open()
    with pytest.raises(BadInputError, match="Aborted by somebody@console while it was being checked"):
        await task
    assert certified(house) == before
    await decertify(house, run_id)


# Unclear answers, kills


async def test_an_answer_that_does_not_come_is_looked_for(house: House) -> None:
    run_id = await completed(house)
    house.observatory.repository.unreachable.add("withdraw")
    await decertify(house, run_id)
    (done,) = [one for one in await facts_of(house, run_id) if isinstance(one, Decertified)]
    assert done.found and certified(house) == set()


async def taken_away_by_hand(house: House, run_id: str, error: str = "") -> asyncio.Task[str]:
    """Let a dataset be taken out by hand after it was looked up what must change; the next look may fail."""
    repository = house.observatory.repository
    gate = repository.gates["withdraw"] = Gate()
    task = asyncio.create_task(decertify(house, run_id))
    await gate.until_reached()
    del house.observatory.world.certificates[0]
    repository.gates.clear()
    if error:
        repository.errors["look_withdrawal"] = error
    gate.open()
    return task


async def test_a_change_meanwhile_is_looked_at_again_and_nobody_hears_of_a_refusal(house: House) -> None:
    run_id = await completed(house)
    task = await taken_away_by_hand(house, run_id)
    assert (await task).startswith("BIAS: 2 datasets are out of ")
    absent, done = [one for one in await facts_of(house, run_id) if isinstance(one, DecertifyAbsent | Decertified)]
    assert (absent.number, absent.again, done.number) == (1, True, 2)
    assert not any("should be withdrawn" in one.reason for one in house.of(Certification))
    assert house.of(Certification)[-1].state is CertificationState.DECERTIFIED


async def test_a_change_meanwhile_after_which_it_can_not_be_looked_again_is_told(house: House) -> None:
    run_id = await completed(house)
    task = await taken_away_by_hand(house, run_id, "Butler could not look: disk I/O error.")
    with pytest.raises(BadInputError, match=r"Nothing was withdrawn from .*: Butler could not look: disk I/O error"):
        await task
    told = house.of(Certification)[-1]
    assert told.state is CertificationState.CERTIFIED and "it should be withdrawn by op@console" in told.reason
    assert not house.runner.decisions.unfinished


async def test_if_even_that_is_not_known_it_is_looked_for_until_it_is(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.comcamcalib.run.decisions.RETRY_INTERVAL_S", 0.01)
    run_id = await completed(house)
    house.observatory.repository.unreachable.add("withdraw")
    house.observatory.repository.errors["certified_ranges"] = "Butler does not answer."
    text = await refusal(house, run_id)
    assert text.startswith("The datasets may have been withdrawn from LSSTComCam/calib/daily, but that is not known: ")
    await house.runner.update_alarms()
    assert (
        house.alarms.certification_failed and f"What run {run_id} certified is being withdrawn" in house.alarms.reason
    )
    with pytest.raises(BadInputError, match="which is not finished"):
        await house.start(**OPTIONS)
    house.observatory.repository.errors.clear()
    await house.until(lambda: house.of(Certification)[-1].state is CertificationState.DECERTIFIED)
    while house.runner.decisions.unfinished:  # noqa: ASYNC110  # a few turns of the loop
        await asyncio.sleep(0)
    await house.runner.update_alarms()
    assert not house.alarms.certification_failed


@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_in_the_middle_it_is_finished_by_the_next_process(stored_house: House, when: str) -> None:
    before = await completed(stored_house)
    old = certified(stored_house)
    run_id = await completed(stored_house)
    gate = stored_house.observatory.repository.gates["withdraw" if when == "before" else "read_back_withdrawal"] = (
        Gate()
    )
    task = asyncio.create_task(decertify(stored_house, run_id))
    await gate.until_reached()
    stored_house.observatory.repository.gates.clear()
    await stored_house.die()
    await asyncio.gather(task, return_exceptions=True)
    stored_house.observatory.repository.__init__(stored_house.observatory.world)  # type: ignore[misc]
    after = await House(stored_house.config, stored_house.path, stored_house.observatory).open()
    await after.until(lambda: any(one.state is CertificationState.DECERTIFIED for one in after.of(Certification)))
    assert certified(after) == old
    facts = await facts_of(after, run_id)
    assert len([one for one in facts if isinstance(one, Decertified)]) == 1
    assert len([one for one in facts if isinstance(one, DecertifyAbsent)]) == (1 if when == "before" else 0)
    (done,) = [one for one in facts if isinstance(one, Decertified)]
    assert done.found is (when == "after")
    await decertify(after, before)
    await after.close()


async def test_leaving_enabled_in_the_middle_it_is_finished_afterwards(house: House) -> None:
    run_id = await completed(house)
    gate = house.observatory.repository.gates["withdraw"] = Gate()
    task = asyncio.create_task(decertify(house, run_id))
    await gate.until_reached()
    await house.runner.disconnect("The CSC went to DISABLED")
    with pytest.raises(BadInputError, match="The CSC left ENABLED meanwhile"):
        await task
    gate.open()
    house.observatory.repository.gates.clear()
    house.runner.connect(house.observatory.services)
    await house.until(lambda: house.of(Certification)[-1].state is CertificationState.DECERTIFIED)
    assert certified(house) == set()


@pytest.mark.parametrize("answered", [False, True])
async def test_leaving_enabled_before_it_was_begun_nothing_is_promised(
    house: House, answered: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run_id = await completed(house)
    before = certified(house)
    gate = house.observatory.repository.gates["look_withdrawal"] = Gate()
    if answered:
        monkeypatch.setattr("lsst.ts.comcamcalib.run.decisions.ANSWER_LIMIT_S", 0.01)
        assert (await decertify(house, run_id)).startswith("Butler is still at it")
        await gate.until_reached()
        await house.runner.disconnect("The CSC went to DISABLED")
    else:
        task = asyncio.create_task(decertify(house, run_id))
        await gate.until_reached()
        await house.runner.disconnect("The CSC went to DISABLED")
        with pytest.raises(BadInputError, match="Nothing was withdrawn, because the CSC left ENABLED meanwhile"):
            await task
    gate.open()
    assert f"Run {run_id}: Nothing was withdrawn, because the CSC left ENABLED meanwhile" in caplog.text
    house.observatory.repository.gates.clear()
    house.runner.connect(house.observatory.services)
    # Nothing stands in the way of doing it once more.
    assert not house.runner.busy and certified(house) == before
    await decertify(house, run_id)
    assert certified(house) == set()


async def test_if_somebody_certifies_there_before_it_is_finished_nothing_is_done_and_that_is_published(
    stored_house: House,
) -> None:
    run_id = await completed(stored_house)
    gate = stored_house.observatory.repository.gates["withdraw"] = Gate()
    task = asyncio.create_task(decertify(stored_house, run_id))
    await gate.until_reached()
    stored_house.observatory.repository.gates.clear()
    await stored_house.die()
    await asyncio.gather(task, return_exceptions=True)
    world = stored_house.observatory.world
    stored_house.observatory.repository.__init__(world)  # type: ignore[misc]
    theirs, *rest = world.certificates
    world.certificates = [
        dataclasses.replace(theirs, dataset=dataclasses.replace(theirs.dataset, dataset_id="theirs")),
        *rest,
    ]
    after = await House(stored_house.config, stored_house.path, stored_house.observatory).open()
    await after.until(lambda: any("it should be withdrawn by" in one.reason for one in after.of(Certification)))
    assert {one.dataset_id for one in world.certified("bias")} == {"theirs", *(one.dataset.dataset_id for one in rest)}
    while after.runner.decisions.unfinished:  # noqa: ASYNC110  # a few turns of the loop
        await asyncio.sleep(0)
    await after.close()
