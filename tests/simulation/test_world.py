# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The world that the simulators share: clock, image numbers, faults of the focal plane, one worker."""

from __future__ import annotations

import asyncio
import datetime
import threading
import time
from collections.abc import AsyncIterator

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.world import Image, World, day_obs_of


@pytest.fixture
async def world() -> AsyncIterator[World]:
    world = World(FocalPlane(amplifier_shape=(16, 8)), Faults(), speed=100.0)
    yield world
    await world.close()


def tai(text: str) -> float:
    return datetime.datetime.fromisoformat(f"{text}+00:00").timestamp()


def bias(seq_num: int = 12, **keys: str) -> Image:
    return Image(20261122, seq_num, 1, 1, "BIAS", 0.0, "r_03", {"imageType": "BIAS", **keys})


def test_observing_day_begins_at_noon_tai() -> None:
    assert day_obs_of(tai("2026-11-22T11:59:59.9")) == 20261121
    assert day_obs_of(tai("2026-11-22T12:00:00")) == 20261122
    assert day_obs_of(tai("2027-01-01T03:00:00")) == 20261231


def test_image_has_the_names_of_the_butler() -> None:
    assert bias().name == "CC_O_20261122_000012"
    assert bias().exposure_id == 2026112200012


def test_image_without_a_group_is_a_group_of_its_own() -> None:
    assert bias(groupId="20261122-001-BIAS").group_id == "20261122-001-BIAS"
    assert bias().group_id == "CC_O_20261122_000012"


async def test_image_numbers_go_on_after_those_that_the_repository_knows(world: World) -> None:
    today = day_obs_of(utils.current_tai())
    assert world.next_image_id() == (today, 1)
    world.set_last_image(today, 40)
    assert world.next_image_id() == (today, 41)
    world.set_last_image(today, 7)
    assert world.next_image_id() == (today, 42), "a lower number must not bring numbers back"


async def test_time_runs_faster_than_the_clock(world: World) -> None:
    begin = time.monotonic()
    await world.sleep(30.0)
    assert 0.3 <= time.monotonic() - begin < 3.0


def test_time_can_not_stand_still() -> None:
    with pytest.raises(ValueError, match="speed is 0"):
        World(FocalPlane(), Faults(), speed=0.0)


async def test_noise_fault_reaches_the_amplifiers_that_it_names(world: World) -> None:
    match = {"detector": 4, "image_type": "BIAS", "amplifier": "C12"}
    world.faults.set([Fault("focal_plane", "noise", match=match, times=None, value=1.6)])
    sound = world.focal_plane.truth(4).read_noise
    for amplifier in AMPLIFIER_NAMES:
        factor = 1.6 if amplifier == "C12" else 1.0
        assert world.focal_plane.read_noise(4, amplifier, "BIAS") == pytest.approx(factor * sound[amplifier])
        assert world.focal_plane.read_noise(4, amplifier, "DARK") == pytest.approx(sound[amplifier])
    world.faults.set([])
    assert world.focal_plane.read_noise(4, "C12", "BIAS") == pytest.approx(sound["C12"])


@pytest.mark.parametrize(
    "fault",
    [
        Fault("focal_plane", "melt", match={"detector": 4}),
        Fault("focal_plane", "noise", value=2.0),
        Fault("focal_plane", "dead"),
    ],
)
async def test_focal_plane_fault_that_says_nothing_is_refused(world: World, fault: Fault) -> None:
    world.faults.set([fault])
    with pytest.raises(ValueError, match="`noise` of a `detector`, not"):
        _ = world.focal_plane


def image(image_type: str, seq_num: int) -> Image:
    return Image(20261122, seq_num, 1, 1, image_type, 1.0, "r_03", {"imageType": image_type})


@pytest.mark.parametrize(
    ("scenario", "brightness"),
    [
        ("lamp-off", [0.0, 0.0, 0.0, 0.0]),
        ("lamp-dim", [0.02, 0.02, 0.02, 0.02]),
        ("lamp-drifting", [1.0, 0.95, 0.9025, 0.857375]),
        ("saturated", [100.0, 100.0, 100.0, 100.0]),
    ],
)
async def test_lamp_of_the_scenario_is_that_of_each_flat_and_of_nothing_else(
    world: World, scenario: str, brightness: list[float]
) -> None:
    world.faults.set(scenario_faults([scenario]))
    lamps = []
    for seq_num in range(4):
        assert world.focal_plane_for(image("BIAS", seq_num)).light.lamp == 1.0
        lamps.append(world.focal_plane_for(image("FLAT", seq_num)).light.lamp)
    assert lamps == pytest.approx(brightness)
    world.faults.set([])
    assert world.focal_plane_for(image("FLAT", 9)).light.lamp == 1.0


async def test_light_leaks_into_the_third_bias_only(world: World) -> None:
    world.faults.set(scenario_faults(["light-leak"]))
    leaks = [world.focal_plane_for(image("BIAS", seq_num)).light.leak_electrons for seq_num in range(6)]
    assert leaks == [0, 0, 2000, 0, 0, 0]


async def test_faults_of_light_and_noise_add_up(world: World) -> None:
    world.faults.set(scenario_faults(["noisy-detector", "lamp-dim", "lamp-drifting", "light-leak"]))
    world.focal_plane_for(image("FLAT", 1))
    plane = world.focal_plane_for(image("FLAT", 2))
    assert plane.light.lamp == pytest.approx(0.02 * 0.95)
    assert plane.light.leak_electrons == 0
    assert plane.read_noise(4, "C12", "BIAS") == pytest.approx(2.0 * plane.truth(4).read_noise["C12"])


async def test_wave_is_picked_up_in_the_third_bias_only(world: World) -> None:
    world.faults.set(scenario_faults(["bad-exposure"]))
    waves = [world.focal_plane_for(image("BIAS", seq_num)).pickup_electrons for seq_num in range(6)]
    assert waves == [0, 0, 40, 0, 0, 0]
    assert world.focal_plane_for(image("DARK", 9)).pickup_electrons == 0


async def test_what_is_wrong_with_a_detector_is_wrong_in_each_of_its_frames(world: World) -> None:
    world.faults.set(scenario_faults(["dead-detector", "drifted-gain", "new-hot-column"]))
    dead, gain, column = world.focal_plane_for(image("DARK", 1)).faults
    assert (dead.is_dead, gain.gain_factor, column.hot_column_rate) == (True, 0.95, 40.0)
    assert {fault.detector for fault in (dead, gain, column)} == {4}
    assert gain.amplifiers == AMPLIFIER_NAMES and column.amplifiers == ("C12",)
    assert all(fault.image_types == ("BIAS", "DARK", "FLAT") for fault in (dead, gain, column))


async def test_all_listeners_hear_of_an_image(world: World) -> None:
    heard: list[tuple[str, str]] = []
    world.add_listener(lambda image: heard.append(("oods", image.name)))
    world.add_listener(lambda image: heard.append(("header", image.name)))
    world.image_taken(bias())
    assert heard == [("oods", bias().name), ("header", bias().name)]


async def test_blocking_work_is_done_in_one_thread_while_the_loop_goes_on(world: World) -> None:
    loop = asyncio.get_running_loop()
    begun, released = asyncio.Event(), threading.Event()
    threads: list[str] = []

    def block() -> str:
        threads.append(threading.current_thread().name)
        loop.call_soon_threadsafe(begun.set)
        assert released.wait(10)
        return "done"

    works = [asyncio.create_task(world.in_worker(block)) for _ in range(3)]
    async with asyncio.timeout(10):
        await begun.wait()
    released.set()
    assert await asyncio.gather(*works) == ["done"] * 3
    assert len(set(threads)) == 1
    assert threads[0] != threading.current_thread().name


async def test_error_in_the_worker_is_raised_where_it_was_waited_for(world: World) -> None:
    def fail() -> None:
        raise FileNotFoundError("no such repository")

    with pytest.raises(FileNotFoundError, match="no such repository"):
        await world.in_worker(fail)
