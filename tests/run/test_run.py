# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""One run over the fakes, from its acceptance to its end; and above all to its early ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from lsst.ts.comcamcalib.enums import CertificationState, RunState, StageState, Verdict
from lsst.ts.comcamcalib.errors import UnknownJobError
from lsst.ts.comcamcalib.record.events import (
    Alarms,
    Certification,
    Event,
    ImageTaken,
    JobState,
    RunConfiguration,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from lsst.ts.comcamcalib.services.uws import UwsJob
from support.house import House
from support.plans import make_config
from support.services import Gate

ALL = {"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}
BIAS = {"script_mode": "BIAS"}


async def test_whole_run_ends_with_everything_certified(house: House) -> None:
    run_id = await house.start(**ALL)
    status = await house.ended()
    assert status.state is RunState.COMPLETED
    assert status.run_id == run_id
    assert status.reason == (
        "All stages succeeded; certified in LSSTComCam/calib/daily: BIAS, DARK, FLAT, DEFECTS, PTC"
    )
    assert set(house.states.values()) == {StageState.SUCCEEDED}
    assert house.certified == {"bias", "dark", "flat", "defects", "ptc"}
    assert {one.dataset_type for one in house.observatory.world.certificates} == house.certified
    assert [one.verdict for one in house.of(VerificationResult)] == [Verdict.PASSED] * 6
    assert len(house.of(ImageTaken)) == status.images_expected == 8
    assert all(one.state is CertificationState.CERTIFIED for one in house.of(Certification))
    assert 0 < status.timestamp_accepted <= status.timestamp_started <= status.timestamp_ended
    assert house.observatory.oods.subscribers == []


async def test_a_slow_certification_holds_up_no_product(house: House) -> None:
    """Butler certifies the biases for ever and a day; darks and flats are made and verified meanwhile."""
    gate = house.observatory.repository.gates["certify"] = Gate()
    await house.start()
    await gate.until_reached()
    await house.until(lambda: house.states.get("FLAT.VERIFY") is StageState.SUCCEEDED)
    assert house.states["BIAS.CERTIFY"] is StageState.RUNNING
    gate.open()
    status = await house.ended()
    assert status.state is RunState.COMPLETED, status.reason
    assert house.certified == {"bias", "dark", "flat"}


async def test_run_is_published_before_its_first_stage(house: House) -> None:
    await house.start(**BIAS)
    await house.ended()
    kinds = [type(entry) for entry in house.published if not isinstance(entry, Alarms)]
    assert kinds[:2] == [RunStatus, RunConfiguration]
    assert [one.state for one in house.of(RunStatus)] == [RunState.ACCEPTED, RunState.RUNNING, RunState.COMPLETED]
    first = house.of(StageStatus)[:5]
    assert [one.state for one in first] == [StageState.PENDING] * 5


async def test_failed_run_names_every_failure_and_what_was_skipped(house: House) -> None:
    house.observatory.world.bad_amplifiers["DARK", 1] = 12
    house.observatory.jobs.failing["cpBiasBootstrap"] = "RuntimeError: boom"
    await house.start(**ALL, speculate=False)
    status = await house.ended()
    assert status.state is RunState.FAILED
    assert status.reason.startswith("Failed (11 stages that need them were skipped): DARK.VERIFY: DARK is FAILED: ")
    assert "DEFECTS.GENERATE: The job cpBiasBootstrap" in status.reason
    assert house.certified == {"bias"}


async def test_one_stage_that_was_skipped_is_published_as_one(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    await house.start(**BIAS)
    status = await house.ended()
    assert status.reason.startswith("Failed (1 stage that needs them was skipped): BIAS.VERIFY: BIAS is FAILED: ")


async def test_run_that_makes_nothing_completes_without_certifying(house: House) -> None:
    await house.start(**BIAS, generate_calibrations=False, do_verify=False)
    status = await house.ended()
    assert status.reason == "All stages succeeded; nothing was to be certified"
    assert house.certified == set()


async def test_break_off_of_the_run_itself_leaves_no_stage_running(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsst.ts.comcamcalib.run.scheduler import Scheduler

    async def broken(self: Scheduler, task: asyncio.Task[str]) -> None:
        self._tasks.pop(task)
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr(Scheduler, "_conclude", broken)
    await house.start(**BIAS)
    status = await house.ended()
    assert status.state is RunState.FAILED
    assert "unforeseen ZeroDivisionError: a bug" in status.reason
    assert StageState.RUNNING not in house.states.values()
    assert house.observatory.oods.subscribers == []


async def test_bad_verdict_drops_what_is_built_on_it(house: House) -> None:
    jobs = house.observatory.jobs
    house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    jobs.hold("cpDark")
    await house.start(oods_timeout=0.1)
    status = await house.ended()
    assert status.state is RunState.FAILED
    assert house.states["DARK.GENERATE"] is StageState.SKIPPED
    assert house.reasons["DARK.GENERATE"] == "BIAS.VERIFY, which it is built on, is FAILED"
    assert [house.observatory.world.jobs[job_id].label for job_id in jobs.aborted] == ["cpDark"]
    assert house.certified == set()
    assert house.states["FLAT.INGEST"] is StageState.SUCCEEDED


async def test_without_speculation_nothing_is_begun_on_a_product_that_turns_out_bad(house: House) -> None:
    house.observatory.world.bad_amplifiers["BIAS", 0] = 12
    await house.start(speculate=False, oods_timeout=0.1)
    assert (await house.ended()).state is RunState.FAILED
    assert house.observatory.jobs.labels == ["cpBias", "verifyBias"]
    assert house.certified == set()


# Abort


async def test_abort_is_published_at_once_and_takes_no_further_exposure(house: House) -> None:
    gate = house.observatory.camera.gates["DARK", 1] = Gate()
    await house.start()
    await gate.until_reached()
    await house.runner.abort("op@console")
    assert house.status.state is RunState.ABORTING
    taken = len(house.observatory.camera.requests)
    gate.open()
    status = await house.ended()
    assert (status.state, status.reason) == (RunState.ABORTED, "Aborted by op@console")
    assert len(house.observatory.camera.requests) == taken
    # The exposure in progress was brought to its end, and is known.
    assert [image.image_type.name for image in house.of(ImageTaken)] == ["BIAS", "BIAS", "DARK"]
    assert house.states["DARK.ACQUIRE"] is StageState.ABORTED


async def test_abort_stops_every_job_and_publishes_how_they_ended(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    jobs.hold("cpBiasBootstrap")
    await house.start(do_defects=True)
    await jobs.until_executing("cpBias")
    await jobs.until_executing("cpBiasBootstrap")
    await house.runner.abort("op")
    status = await house.ended()
    assert (status.state, status.reason) == (RunState.ABORTED, "Aborted by op")
    assert sorted(jobs.aborted) == sorted(house.observatory.world.jobs)
    last = {job.job_id: job for job in house.of(JobState)}
    assert {(job.phase, job.exit_code) for job in last.values()} == {("aborted", 255)}
    assert all(job.timestamp_ended > 0 for job in last.values())
    assert house.certified == set()


async def test_abort_names_the_job_that_can_not_be_stopped(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.abort("op")
    status = await house.ended()
    assert (status.state, status.reason) == (
        RunState.ABORTED,
        "Aborted by op. Not stopped: job job-01 can't be stopped",
    )
    assert house.of(JobState)[-1].timestamp_ended == 0, "it still runs, and nobody may say otherwise"


async def test_job_that_is_not_stopped_is_not_called_aborted_though_the_uws_does_not_know_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One such answer proves nothing; the job service finds out what became of the job, and publishes it."""

    async def unknown(job_id: str) -> UwsJob:
        raise UnknownJobError(f"The UWS does not know job {job_id}.")

    jobs = house.observatory.jobs
    jobs.hold("cpBias")
    jobs.unstoppable.add("cpBias")
    monkeypatch.setattr(house.observatory.uws, "job", unknown)
    await house.start(**BIAS)
    await jobs.until_executing("cpBias")
    await house.runner.abort("op")
    assert (await house.ended()).state is RunState.ABORTED
    last = house.of(JobState)[-1]
    assert (last.phase, last.exit_code, last.timestamp_ended) == ("executing", -1, 0)


async def test_job_that_is_being_submitted_is_aborted_as_soon_as_its_id_is_known(house: House) -> None:
    jobs = house.observatory.jobs
    jobs.submitting["cpBias"] = asyncio.Event()
    await house.start(**BIAS)
    await house.until(lambda: house.states.get("BIAS.GENERATE") is StageState.RUNNING)
    await asyncio.sleep(0.01)
    await house.runner.abort("op")
    jobs.submitting["cpBias"].set()
    assert (await house.ended()).state is RunState.ABORTED
    assert jobs.aborted == ["job-01"]


async def test_abort_in_which_the_job_service_breaks_still_ends(house: House) -> None:
    async def broken(limit_s: float, run_id: str) -> list[str]:
        raise OSError("no more file descriptors")

    house.observatory.jobs.hold("cpBias")
    await house.start(**BIAS)
    await house.observatory.jobs.until_executing("cpBias")
    house.observatory.jobs.abort_all = broken  # type: ignore[method-assign]
    await house.runner.abort("op")
    status = await house.ended()
    assert status.state is RunState.ABORTED
    assert (
        "Not known: all that the run has left, because of an unforeseen OSError: no more file descriptors"
        in status.reason
    )


async def test_abort_while_butler_certifies_publishes_the_truth(house: House) -> None:
    gate = house.observatory.repository.gates["certify"] = Gate()
    await house.start(**BIAS)
    await gate.until_reached()
    await house.runner.abort("op")
    gate.open()
    assert (await house.ended()).state is RunState.ABORTED
    assert house.states["BIAS.CERTIFY"] is StageState.SUCCEEDED
    assert house.certified == {"bias"} == {one.dataset_type for one in house.observatory.world.certificates}


async def test_abort_while_the_run_is_still_being_accepted_starts_nothing(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    aborts: list[asyncio.Task[None]] = []

    def abort_on_first_stage(entry: Event) -> None:
        if isinstance(entry, StageStatus) and not aborts:
            aborts.append(asyncio.create_task(house.runner.abort("op")))

    house.on_published = abort_on_first_stage
    await house.start(**BIAS)
    await asyncio.gather(*aborts)
    assert (await house.ended()).state is RunState.ABORTED
    assert house.observatory.camera.requests == []
    assert set(house.states.values()) == {StageState.ABORTED}
    assert RunState.RUNNING not in [one.state for one in house.of(RunStatus)]
    assert "Bug" not in caplog.text


async def test_run_that_has_just_ended_can_not_be_aborted_any_more(house: House) -> None:
    refused: list[str] = []

    async def abort() -> None:
        try:
            await house.runner.abort("op")
        except Exception as error:
            refused.append(str(error))

    tasks: list[asyncio.Task[None]] = []

    def abort_at_the_end(entry: Event) -> None:
        if isinstance(entry, RunStatus) and entry.state is RunState.COMPLETED:
            tasks.append(asyncio.create_task(abort()))

    house.on_published = abort_at_the_end
    await house.start(**BIAS)
    assert (await house.ended()).state is RunState.COMPLETED
    await asyncio.gather(*tasks)
    assert refused == ["There is no open run that could be aborted."]


def running(events: list[Event]) -> set[str]:
    """Return the stages that were published as RUNNING."""
    return {one.stage_name for one in events if isinstance(one, StageStatus) and one.state is StageState.RUNNING}


async def run_aborted_after(number: int, options: dict[str, Any]) -> tuple[House, int]:
    """Run, and abort when a number of events were published; return how many frames the camera had begun."""
    house = await House(make_config(), Path(":memory:")).open()
    begun: list[int] = []
    tasks: list[asyncio.Task[None]] = []

    async def abort() -> None:
        if house.runner.open_run is not None:
            begun.append(len(house.observatory.camera.requests))
            await house.runner.abort("op")

    def look(entry: Event) -> None:
        if len(house.published) == number:
            tasks.append(asyncio.create_task(abort()))

    house.on_published = look
    await house.start(**options)
    await house.ended()
    await asyncio.gather(*tasks)
    return house, begun[0] if begun else -1


# A run of biases publishes some 30 events, one with everything 160; the first ones while it is being accepted.
@pytest.mark.parametrize(
    ("options", "number"),
    [*((BIAS, number) for number in range(1, 34)), *((ALL, number) for number in range(12, 170, 12))],
    ids=lambda value: str(value) if isinstance(value, int) else "everything" if value is ALL else "biases",
)
async def test_abort_at_any_moment_ends_in_order(options: dict[str, Any], number: int) -> None:
    house, begun = await run_aborted_after(number, options)
    try:
        if begun < 0:
            assert house.status.state is RunState.COMPLETED
            assert len(house.published) - number < 5, "the run was over, or nearly"
            return
        assert house.status.state is RunState.ABORTED
        assert house.status.reason == "Aborted by op"
        camera, world = house.observatory.camera, house.observatory.world
        # An exposure may have begun between the entry and the abort, none after it.
        assert len(camera.requests) <= begun + 1
        assert len(house.of(ImageTaken)) == len(world.exposures)
        assert all(job.ended for job in world.jobs.values())
        assert not {StageState.PENDING, StageState.RUNNING, StageState.FAILED} & set(house.states.values())
        # What is certified was published, and its stage says so.
        assert {one.dataset_type for one in world.certificates} == house.certified
        done = [
            name for name, state in house.states.items() if name.endswith("CERTIFY") and state is StageState.SUCCEEDED
        ]
        assert len(done) == len(house.certified)
        aborting = next(
            i for i, one in enumerate(house.published) if isinstance(one, RunStatus) and one.state is RunState.ABORTING
        )
        assert running(house.published[aborting:]) <= running(house.published[:aborting])
        assert isinstance(house.published[-1], RunStatus | Alarms)
    finally:
        await house.close()
