# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Groups of remotes: which topics they read, and what is asked of all components together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.observatory.control import RemoteGroup, Usages
from lsst.ts.observatory.control.maintel.comcam import ComCam, ComCamUsages

NAMES = ["CCHeaderService", "CCOODS"]
LIMIT_S = 10.0


class SmallCsc(salobj.BaseCsc):
    """A CSC that has nothing but states."""

    version = "test"

    def __init__(self, name: str, initial_state: salobj.State = salobj.State.STANDBY) -> None:
        super().__init__(name, initial_state=initial_state)

    async def begin_start(self, data: object) -> None:
        if getattr(data, "configurationOverride", "") == "broken.yaml":
            raise salobj.ExpectedError("there is no such configuration")


@pytest.fixture
async def group(comcam_topics: EmbeddedBroker) -> AsyncIterator[RemoteGroup]:
    """Two CSCs in STANDBY, and a group of their remotes."""
    async with SmallCsc(NAMES[0]), SmallCsc(NAMES[1]), RemoteGroup(NAMES) as group:
        yield group


async def come_to(group: RemoteGroup, state: salobj.State, *attrs: str) -> None:
    """Wait until the group has heard of a state of some components; a command can be answered before that."""
    async with asyncio.timeout(LIMIT_S):
        for attr in attrs or group.get_work_components():
            while await group.next_state(attr) != state:
                pass


def events(remote: salobj.Remote) -> set[str]:
    return {name.removeprefix("evt_") for name in vars(remote) if name.startswith("evt_")}


async def test_combined_usages_read_the_union_of_their_topics(comcam_topics: EmbeddedBroker) -> None:
    usage = ComCamUsages.TakeImage | ComCamUsages.MonitorState | ComCamUsages.MonitorHeartBeat
    async with ComCam(intended_usage=usage) as comcam:
        generics = {"summaryState", "heartbeat"}
        image = {"startIntegration", "endReadout", "availableFilters", "endSetFilter"}
        assert events(comcam.rem.cccamera) == image | generics
        assert events(comcam.rem.ccoods) == {"imageInOODS"} | generics
        assert events(comcam.rem.ccheaderservice) == generics
        assert hasattr(comcam.rem.cccamera, "cmd_takeImages")


async def test_single_usage_reads_no_more_than_it_needs(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam(intended_usage=ComCamUsages.TakeImage) as comcam:
        assert "imageInOODS" in events(comcam.rem.ccoods)
        assert "summaryState" not in events(comcam.rem.cccamera)
        assert comcam.rem.ccheaderservice is None
        assert comcam.check.ccoods and not comcam.check.ccheaderservice
        with pytest.raises(RuntimeError, match="ccheaderservice is not needed"):
            await comcam.get_state("ccheaderservice")


async def test_usage_all_has_the_header_but_not_the_oods_event(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam(intended_usage=ComCamUsages.All) as comcam:
        states = {"summaryState", "heartbeat"}
        assert events(comcam.rem.ccheaderservice) == {"largeFileObjectAvailable"} | states
        assert events(comcam.rem.ccoods) == states


async def test_full_images_need_the_header_service_but_not_the_oods(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam(intended_usage=ComCamUsages.TakeImageFull) as comcam:
        assert events(comcam.rem.ccheaderservice) == {"largeFileObjectAvailable"}
        assert comcam.rem.ccoods is None


async def test_commands_can_be_sent_by_those_who_only_monitor(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam(intended_usage=ComCamUsages.MonitorState) as comcam:
        assert hasattr(comcam.rem.cccamera, "cmd_takeImages")


async def test_no_usage_is_every_topic(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam() as comcam:
        assert {"errorCode", "imageInOODS", "logMessage"} <= events(comcam.rem.ccoods)
        assert hasattr(comcam.rem.cccamera, "cmd_setFilter")


async def test_dry_test_has_no_remotes(comcam_topics: EmbeddedBroker) -> None:
    async with ComCam(intended_usage=ComCamUsages.DryTest) as comcam:
        assert comcam.start_task is None
        assert vars(comcam.rem) == dict.fromkeys(("cccamera", "ccheaderservice", "ccoods"))


async def test_comcam_has_no_bit_of_the_usages_that_it_dropped(comcam_topics: EmbeddedBroker) -> None:
    with pytest.raises(RuntimeError, match="Intended usage 36 has bits"):
        ComCam(intended_usage=Usages.DryTest | Usages.MonitorHeartBeat)


async def test_indexed_component_has_its_index_in_its_name(comcam_topics: EmbeddedBroker) -> None:
    async with RemoteGroup(["OCPS:2"], intended_usage=Usages.MonitorState) as group:
        assert group.rem.ocps_2.salinfo.index == 2
        assert group.check.ocps_2


async def test_group_closes_no_domain_but_its_own(comcam_topics: EmbeddedBroker) -> None:
    async with salobj.Domain() as domain:
        async with RemoteGroup(["CCOODS"], domain=domain, intended_usage=Usages.MonitorState):
            pass
        assert domain.isopen
    async with RemoteGroup(["CCOODS"], intended_usage=Usages.MonitorState) as group:
        pass
    assert not group.domain.isopen


async def test_group_can_be_closed_before_it_has_started(comcam_topics: EmbeddedBroker) -> None:
    group = RemoteGroup(NAMES)
    await group.close()
    assert not group.domain.isopen


async def test_states_of_all_components_are_walked_together(group: RemoteGroup) -> None:
    assert await group.get_state("ccoods") == salobj.State.STANDBY
    with pytest.raises(AssertionError, match=r"not yet: ccheaderservice.*STANDBY.*ccoods.*STANDBY"):
        await group.assert_all_enabled("not yet")
    await group.enable()
    await come_to(group, salobj.State.ENABLED)
    await group.assert_all_enabled()
    await group.standby()
    await come_to(group, salobj.State.STANDBY)
    assert await group.get_state("ccheaderservice") == salobj.State.STANDBY


async def test_one_component_after_the_other_if_so_wanted(comcam_topics: EmbeddedBroker) -> None:
    async with (
        SmallCsc(NAMES[0]),
        SmallCsc(NAMES[1]),
        RemoteGroup(NAMES, concurrent_operation=False) as group,
    ):
        await group.enable()
        await come_to(group, salobj.State.ENABLED)
        await group.assert_all_enabled()


async def test_component_that_does_not_follow_is_named(group: RemoteGroup) -> None:
    with pytest.raises(RuntimeError, match=r"1 component.*ccoods"):
        await group.enable(overrides={"CCOODS": "broken.yaml"})
    await come_to(group, salobj.State.ENABLED, "ccheaderservice")
    assert await group.get_state("ccheaderservice") == salobj.State.ENABLED
    assert await group.get_state("ccoods") == salobj.State.STANDBY


async def test_component_that_is_not_checked_is_left_alone(group: RemoteGroup) -> None:
    group.disable_checks_for_components(["CCOODS"])
    await group.enable()
    await come_to(group, salobj.State.ENABLED)
    await group.assert_all_enabled()
    assert await group.get_state("ccoods") == salobj.State.STANDBY
    group.reset_checks()
    with pytest.raises(AssertionError, match="ccoods"):
        await group.assert_all_enabled()


async def test_component_of_another_group_is_refused(group: RemoteGroup) -> None:
    with pytest.raises(RuntimeError, match="MTMount is not one of"):
        await group.get_state("MTMount")
    with pytest.raises(RuntimeError, match="MTMount is not one of"):
        group.expand_overrides({"MTMount": "x.yaml"})
    assert group.expand_overrides({"CCOODS": "x.yaml"}) == {"ccheaderservice": "", "ccoods": "x.yaml"}


async def test_liveliness_names_who_has_no_heartbeat(comcam_topics: EmbeddedBroker) -> None:
    usage = ComCamUsages.MonitorHeartBeat
    async with SmallCsc("CCOODS"), ComCam(intended_usage=usage) as comcam:
        comcam.fast_timeout = 2.0
        with pytest.raises(AssertionError, match="from cccamera, ccheaderservice") as caught:
            await comcam.assert_liveliness()
        assert "ccoods" not in str(caught.value)
        heartbeat = await comcam.get_heartbeat("ccoods")
        assert (await comcam.next_heartbeat("ccoods")).private_seqNum > heartbeat.private_seqNum


async def test_state_of_a_silent_component_has_a_limit(comcam_topics: EmbeddedBroker) -> None:
    async with RemoteGroup(["OCPS:77"], intended_usage=Usages.MonitorState) as group:
        group.fast_timeout = 0.2
        with pytest.raises(TimeoutError):
            await group.get_state("ocps_77")


async def test_watch_ends_when_the_component_leaves_its_state(group: RemoteGroup) -> None:
    watch = asyncio.create_task(group.check_component_state("ccoods", salobj.State.STANDBY))
    await group.enable()
    async with asyncio.timeout(LIMIT_S):
        with pytest.raises(RuntimeError, match=r"ccoods is in .*DISABLED.*expected .*STANDBY"):
            await watch
