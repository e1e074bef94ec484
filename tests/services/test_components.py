# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The watch over other components, with components that the test lets live and die."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace

import pytest
import pytest_asyncio
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.services.components import ComponentWatch, state_from

LIMIT_S = 20.0
NAMES = ["CCCamera", "OCPS:2"]
ENABLED = salobj.State.ENABLED


class StillClock(Clock):
    """The time that the watch sees."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def sources(bus: None) -> AsyncIterator[dict[str, salobj.Controller]]:
    async with (
        salobj.Controller("CCCamera", write_only=True) as camera,
        salobj.Controller("OCPS", 2, write_only=True) as ocps,
    ):
        yield {"CCCamera": camera, "OCPS:2": ocps}


@pytest_asyncio.fixture(loop_scope="module")
async def watch(domain: salobj.Domain, limits: Limits, clock: StillClock) -> AsyncIterator[ComponentWatch]:
    watch = ComponentWatch(domain, NAMES, limits, clock)
    yield watch
    await watch.close()


async def until(condition: Callable[[], object]) -> None:
    """Wait until what was sent has arrived."""
    async with asyncio.timeout(LIMIT_S):
        while not condition():  # noqa: ASYNC110  the watch has no event to wait for; it is asked when a run begins
            await asyncio.sleep(0.01)


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="module")
async def test_only_a_component_that_is_enabled_and_whose_heart_beats_is_good(
    sources: dict[str, salobj.Controller], watch: ComponentWatch, clock: StillClock
) -> None:
    camera, ocps = sources["CCCamera"], sources["OCPS:2"]
    # What a process left behind that died before we came.
    await camera.evt_summaryState.set_write(summaryState=ENABLED)
    await watch.start()
    await until(lambda: watch.state_of("CCCamera") is ENABLED)
    assert watch.problems() == [
        "CCCamera has sent no heartbeat: start it.",
        "OCPS:2 has sent no heartbeat: start it.",
    ]
    await camera.evt_heartbeat.set_write(heartbeat=True)
    await ocps.evt_heartbeat.set_write(heartbeat=True)
    await until(lambda: not any("no heartbeat" in problem for problem in watch.problems()))
    assert watch.problems() == ["OCPS:2 sends heartbeats but has not published its summary state: check it."]
    for state, sentence in (
        (salobj.State.STANDBY, "OCPS:2 is in STANDBY: enable it."),
        (salobj.State.FAULT, "OCPS:2 is in FAULT: look at its errorCode, send it to STANDBY, enable it."),
    ):
        await ocps.evt_summaryState.set_write(summaryState=state)
        await until(lambda state=state: watch.state_of("OCPS:2") is state)
        assert watch.problems() == [sentence]
    await ocps.evt_summaryState.set_write(summaryState=ENABLED)
    await until(lambda: watch.problems() == [])
    clock.now += 21
    (silent, _) = watch.problems()
    assert silent == "CCCamera sends no heartbeat any more: the last one came 21 s ago. Check it, restart it."
    # What is wrong stays the same while it lasts; its age does not.
    before = watch.unwell()
    clock.now += 1
    assert watch.unwell() == before
    assert str(before[0]) == "CCCamera sends no heartbeat any more: check it, restart it."
    assert watch.state_of("CCCamera") is ENABLED
    with pytest.raises(KeyError):
        watch.state_of("MTMount")


async def test_a_heartbeat_of_old_is_no_sign_of_life(limits: Limits, clock: StillClock) -> None:
    watch = ComponentWatch(None, NAMES, limits, clock)
    watched = watch._watched["CCCamera"]
    old = SimpleNamespace(private_sndStamp=utils.current_tai() - 30)
    await watch._on_heartbeat(watched, old)
    assert watched.heartbeat is None
    await watch._on_heartbeat(watched, SimpleNamespace(private_sndStamp=utils.current_tai() - 1))
    assert watched.heartbeat == clock.now


def test_a_state_that_there_is_not_is_unknown() -> None:
    assert state_from(SimpleNamespace(summaryState=2)) is ENABLED
    assert state_from(SimpleNamespace(summaryState=17)) is None
