# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The stand-ins write what the original wrote, byte for byte, and read it.

``recorded_salobj.json`` holds messages that ts_salobj itself sent through the embedded broker, with values of our own:
keys, bytes, and what the bytes say. private_revCode is another one in the stand-ins, so that it is taken as recorded.
"""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import confluent_kafka
import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.sal_interfaces.install import install_interface
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.salobj import kafka_configuration
from lsst.ts.salobj.schema_registry import SchemaRegistry, TopicCodec
from lsst.ts.xml import component_info, sal_interfaces
from lsst.ts.xml.component_info import ComponentInfo
from lsst.ts.xml.topic_info import TopicInfo

LIMIT_S = 20.0
FRAME_BYTES = 5


@dataclasses.dataclass
class Recorded:
    """A message of the original."""

    component: str
    index: int
    topic: str
    key: str
    schema_id: int
    value: bytes
    data: dict[str, Any]

    @property
    def info(self) -> TopicInfo:
        return ComponentInfo(self.component, "recorded").topics[self.topic]

    def __str__(self) -> str:
        return f"{self.component}-{self.topic}-{self.data['private_seqNum']}-{self.data.get('ack', '')}"


def read_messages() -> list[Recorded]:
    document = json.loads((pathlib.Path(__file__).parent / "data" / "recorded_salobj.json").read_text())

    def value_of(entry: Any) -> Any:
        if isinstance(entry, list):
            return [value_of(item) for item in entry]
        return math.nan if entry == "NaN" else entry

    return [
        Recorded(
            **{name: entry[name] for name in ("component", "index", "topic", "key", "schema_id")},
            value=base64.b64decode(entry["value"]),
            data={name: value_of(value) for name, value in entry["data"].items()},
        )
        for entry in document["messages"]
    ]


MESSAGES = read_messages()


@pytest.fixture(scope="module", autouse=True)
def interfaces(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A copy of the interfaces to which ComCamCalib's is added, so that the installed ones may have it or not."""
    directory = tmp_path_factory.mktemp("xml") / "sal_interfaces"
    shutil.copytree(sal_interfaces.get_sal_interfaces_dir(), directory)
    install_interface(directory)
    with pytest.MonkeyPatch.context() as patch:
        for module in (sal_interfaces, component_info):
            patch.setattr(module, "get_sal_interfaces_dir", lambda: directory)
        yield


@pytest.fixture(scope="module")
def topics(kafka: EmbeddedBroker, interfaces: None) -> None:
    """ComCamCalib's topics at the broker."""
    info = ComponentInfo("ComCamCalib", os.environ["LSST_TOPIC_SUBNAME"])
    kafka.create_topics(topic.kafka_name for topic in info.topics.values())


def same(one: Any, other: Any) -> bool:
    """Are two messages' data equal? NaN equals NaN."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def find(component: str, topic: str, **values: Any) -> Recorded:
    """Return the first recorded message of a topic that has these values."""
    return next(
        message
        for message in MESSAGES
        if (message.component, message.topic) == (component, topic)
        and all(message.data[name] == value for name, value in values.items())
    )


def test_what_was_recorded() -> None:
    topics = {(message.component, message.topic) for message in MESSAGES}
    assert {("Test", "cmd_setArrays"), ("Test", "evt_heartbeat"), ("ComCamCalib", "evt_gainEstimate")} <= topics
    acks = {message.data["ack"] for message in MESSAGES if message.topic == "ack_ackcmd"}
    assert {salobj.SalRetCode.CMD_INPROGRESS, salobj.SalRetCode.CMD_COMPLETE, salobj.SalRetCode.CMD_FAILED} <= acks


@pytest.mark.parametrize("message", MESSAGES, ids=str)
def test_bytes_and_their_meaning(message: Recorded) -> None:
    codec = TopicCodec(message.info, message.schema_id, SchemaRegistry("http://127.0.0.1:1"))
    assert codec.encode(message.data) == message.value
    assert same(codec.decode(message.value), message.data)


@pytest.mark.parametrize("message", [m for m in MESSAGES if m.topic.startswith(("ack_", "cmd_"))], ids=str)
def test_numbers_of_commands(message: Recorded) -> None:
    """The number of a command, and the type by which its acknowledgements name it."""
    info = ComponentInfo(message.component, "recorded")
    commands = sorted(topic.sal_name for topic in info.topics.values() if topic.attr_name.startswith("cmd_"))
    step = (2**31 - 1) // len(commands)
    command = commands[(message.data["private_seqNum"] - 1) // step]
    if message.topic == "ack_ackcmd":
        names = sorted(topic.sal_name for topic in info.topics.values())
        assert names[message.data["cmdtype"]] == command
    else:
        assert message.info.sal_name == command


def read_last(kafka: EmbeddedBroker, topic: str) -> tuple[str, bytes]:
    """Return key and value of the last message of a topic."""
    consumer = confluent_kafka.Consumer(
        {"bootstrap.servers": kafka.address, "group.id": "recorded", "enable.auto.commit": False}
    )
    try:
        _, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=LIMIT_S)
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, high - 1)])
        message = consumer.poll(LIMIT_S)
        assert message is not None and message.error() is None
        return message.key().decode(), message.value()
    finally:
        consumer.close()


async def sent(kafka: EmbeddedBroker, salinfo: salobj.SalInfo, message: Recorded) -> tuple[str, bytes]:
    """Return key and body of what was written last, once it has been delivered."""
    topic = salinfo.component_info.topics[message.topic].kafka_name
    async with asyncio.timeout(LIMIT_S):
        while True:
            key, value = await asyncio.to_thread(read_last, kafka, topic)
            if value[FRAME_BYTES:] == message.value[FRAME_BYTES:]:
                return key, value


@pytest.fixture
def frozen(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make writers stamp as a recorded message was stamped."""

    def freeze(message: Recorded) -> None:
        stamp = message.data["private_sndStamp"]
        monkeypatch.setattr("lsst.ts.salobj.topics.write_topic.utils.current_tai", lambda: stamp)
        rev_code = message.data["private_revCode"]
        monkeypatch.setattr(TopicInfo, "rev_code", property(lambda self: rev_code))

    return freeze


@pytest.mark.parametrize(
    "message",
    [
        find("Test", "evt_scalars"),
        find("Test", "tel_arrays"),
        find("Test", "evt_heartbeat"),
        find("ComCamCalib", "evt_runState"),
        find("ComCamCalib", "evt_gainEstimate"),
        find("ComCamCalib", "tel_progress"),
    ],
    ids=str,
)
async def test_a_controller_writes_the_same(
    kafka: EmbeddedBroker, topics: None, frozen: Any, message: Recorded
) -> None:
    own = {name: value for name, value in message.data.items() if not name.startswith(("private_", "salIndex"))}
    controller = salobj.Controller(message.component, message.index or None)
    controller.domain.origin = message.data["private_origin"]
    async with controller:
        frozen(message)
        await getattr(controller, message.topic).set_write(**own)
        key, value = await sent(kafka, controller.salinfo, message)
    assert key == message.key
    assert value[0] == 0


async def test_a_remote_reads_the_original(kafka: EmbeddedBroker, topics: None, domain: salobj.Domain) -> None:
    """History for a late joiner, then news, as bytes of the original under this registry's ids of the schemas."""
    wanted = [message for message in MESSAGES if message.topic in ("evt_scalars", "evt_runState", "evt_gainEstimate")]
    producer = confluent_kafka.Producer({"bootstrap.servers": kafka.address})
    registry = SchemaRegistry(kafka_configuration.schema_registry_url())
    for message in wanted:
        info = ComponentInfo(message.component, os.environ["LSST_TOPIC_SUBNAME"]).topics[message.topic]
        schema_id = await asyncio.to_thread(registry.register, info)
        value = message.value[:1] + schema_id.to_bytes(4, "big") + message.value[FRAME_BYTES:]
        producer.produce(info.kafka_name, value, message.key)
    assert await asyncio.to_thread(producer.flush, LIMIT_S) == 0
    for message in wanted:
        remote = salobj.Remote(
            domain, message.component, message.index, readonly=True, include=[message.topic.removeprefix("evt_")]
        )
        await remote.start_task
        data = getattr(remote, message.topic).get()
        assert data is not None, message
        got = vars(data) | {"private_rcvStamp": 0.0}
        assert same(got, message.data)
        await remote.close()
