# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is on the wire, seen and written by clients that know nothing of salobj."""

from __future__ import annotations

import asyncio
import io
import json
import os
import struct
import time
import urllib.request
from typing import Any

import confluent_kafka
import fastavro
import pytest
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker

LIMIT = 10


def kafka_name(component: str, sal_name: str) -> str:
    return f"lsst.{os.environ['LSST_TOPIC_SUBNAME']}.{component}.{sal_name}"


def registry(path: str, body: Any = None) -> Any:
    """Ask the schema registry."""
    url = os.environ["LSST_SCHEMA_REGISTRY_URL"] + path
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
    with urllib.request.urlopen(urllib.request.Request(url, data, headers), timeout=LIMIT) as reply:
        return json.load(reply)


def read_raw(topic: str, count: int) -> list[confluent_kafka.Message]:
    """Return the last messages of a topic, once there are as many."""
    conf = {
        "bootstrap.servers": os.environ["LSST_KAFKA_BROKER_ADDR"],
        "group.id": "raw",
        "fetch.wait.max.ms": 10,
        "enable.auto.commit": False,
    }
    consumer = confluent_kafka.Consumer(conf)
    try:
        high = 0
        deadline = time.monotonic() + LIMIT
        while high < count and time.monotonic() < deadline:  # delivery is not waited for by the writer
            _, high = consumer.get_watermark_offsets(confluent_kafka.TopicPartition(topic, 0), timeout=LIMIT)
        consumer.assign([confluent_kafka.TopicPartition(topic, 0, high - count)])
        messages: list[confluent_kafka.Message] = []
        while len(messages) < count and time.monotonic() < deadline:
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                messages.append(message)
        assert len(messages) == count
        return messages
    finally:
        consumer.close()


def decode(message: confluent_kafka.Message) -> dict[str, Any]:
    """Return a message's data, with the schema that the registry has for it."""
    magic, schema_id = struct.unpack_from(">bI", message.value())
    assert magic == 0
    schema = json.loads(registry(f"/schemas/ids/{schema_id}")["schema"])
    return fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), fastavro.parse_schema(schema), None)  # type: ignore[return-value]


async def last(topic: str) -> tuple[str, dict[str, Any]]:
    """Return key and data of the last message of a topic."""
    [message] = await asyncio.to_thread(read_raw, topic, 1)
    key = message.key()
    assert key is not None, "a key is empty, but never null"
    return key.decode(), decode(message)


async def test_an_event_of_an_indexed_component(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        before = utils.current_tai()
        await controller.evt_scalars.set_write(int0=1)
        await controller.evt_scalars.set_write(int0=2, string0="text", boolean0=True, double0=0.5)
        name = kafka_name("Test", "logevent_scalars")
        key, data = await last(name)
        assert key == f'{{ "name": "Test", "index": {index}, "topic": "logevent_scalars" }}'
        assert before <= data["private_sndStamp"] <= utils.current_tai()
        assert data["private_kafkaStamp"] == data["private_sndStamp"]
        assert data["private_efdStamp"] == pytest.approx(data["private_sndStamp"] - 37, abs=1e-5)
        assert data["private_rcvStamp"] == 0
        assert data["private_seqNum"] == 2
        assert data["private_identity"] == f"Test:{index}"
        assert data["private_origin"] == os.getpid()
        assert data["private_revCode"] == controller.evt_scalars.topic_info.rev_code
        assert data["salIndex"] == index
        assert (data["int0"], data["string0"], data["boolean0"], data["double0"]) == (2, "text", True, 0.5)


async def test_the_schema_is_registered_as_it_is(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        info = controller.evt_scalars.topic_info
        entry = await asyncio.to_thread(registry, f"/subjects/{info.kafka_name}-value/versions/latest")
        assert entry["schema"] == json.dumps(info.make_avro_schema())


async def test_keys_without_index_and_of_telemetry(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("CCOODS") as controller:
        await controller.evt_imageInOODS.set_write(camera="LSSTComCam")
        key, data = await last(kafka_name("CCOODS", "logevent_imageInOODS"))
        assert key == '{ "name": "CCOODS", "topic": "logevent_imageInOODS" }'
        assert "salIndex" not in data
        assert data["private_identity"] == "CCOODS"
    async with salobj.Controller("Test", index) as controller:
        await controller.tel_scalars.set_write(int0=1)
        key, data = await last(kafka_name("Test", "scalars"))
        assert key == ""
        assert data["salIndex"] == index


async def test_a_command_and_its_acknowledgements(kafka: EmbeddedBroker, index: int, domain: salobj.Domain) -> None:
    async def execute(data: Any) -> None:
        await controller.cmd_execute.ack_in_progress(data, timeout=5, result="on its way")
        raise salobj.ExpectedError("no")

    remote = salobj.Remote(domain, "OCPS", index, include=[])
    await remote.start_task
    async with salobj.Controller("OCPS", index) as controller:
        controller.cmd_execute.callback = execute
        with salobj.assertRaisesAckError(ack=salobj.SalRetCode.CMD_FAILED, error=1, result_contains="Failed: no"):
            await remote.cmd_execute.set_start(pipeline="p.yaml", timeout=LIMIT)
        key, command = await last(kafka_name("OCPS", "command_execute"))
        assert key == f'{{ "name": "OCPS", "index": {index}, "topic": "command_execute" }}'
        assert command["private_identity"] == salobj.get_user_host()
        # Alphabetically: abort_job, disable, enable, execute, exitControl, setLogLevel, standby, start.
        step = (2**31 - 1) // 8
        assert 3 * step + 1 <= command["private_seqNum"] <= 4 * step
        messages = await asyncio.to_thread(read_raw, kafka_name("OCPS", "ackcmd"), 2)
        assert messages[0].key().decode() == f'{{ "name": "OCPS", "index": {index}, "topic": "ackcmd" }}'
        in_progress, final = (decode(message) for message in messages)
        for ack in (in_progress, final):
            assert ack["private_seqNum"] == command["private_seqNum"]
            assert ack["identity"] == command["private_identity"]
            assert ack["origin"] == os.getpid()
            assert ack["cmdtype"] == 4
            assert ack["private_identity"] == f"OCPS:{index}"
        assert (in_progress["ack"], in_progress["timeout"], in_progress["result"]) == (301, 5, "on its way")
        assert (final["ack"], final["error"], final["result"], final["timeout"]) == (-302, 1, "Failed: no", 0)


async def test_a_command_of_a_client_with_another_schema_is_understood(kafka: EmbeddedBroker, index: int) -> None:
    """The real package's schemas have other descriptions, and a newer one may have more fields."""
    async with salobj.Controller("Test", index) as controller:
        info = controller.cmd_setScalars.topic_info
        schema = info.make_avro_schema()
        schema["description"] = "described otherwise"
        schema["fields"].insert(9, {"name": "newer", "type": "string", "default": "", "units": "unitless"})
        schema["fields"] = [field for field in schema["fields"] if field["name"] != "double0"]
        reply = await asyncio.to_thread(
            registry, f"/subjects/{info.avro_subject}/versions", {"schema": json.dumps(schema), "schemaType": "AVRO"}
        )
        data = {field["name"]: field["default"] for field in schema["fields"]}
        data |= {"salIndex": index, "private_seqNum": 17, "private_sndStamp": 1.0, "int0": 42, "newer": "unknown here"}
        body = io.BytesIO()
        fastavro.schemaless_writer(body, fastavro.parse_schema(schema), data)
        producer = confluent_kafka.Producer({"bootstrap.servers": os.environ["LSST_KAFKA_BROKER_ADDR"]})
        producer.produce(info.kafka_name, struct.pack(">bI", 0, reply["id"]) + body.getvalue(), "")
        received = asyncio.create_task(controller.cmd_setScalars.next(timeout=LIMIT))
        await asyncio.to_thread(producer.flush, LIMIT)
        command = await received
        assert (command.int0, command.double0, command.private_seqNum) == (42, 0.0, 17)
        assert command.private_rcvStamp == pytest.approx(utils.current_tai(), abs=LIMIT)
        assert not hasattr(command, "newer")


async def test_what_can_not_be_read_is_logged_and_skipped(
    kafka: EmbeddedBroker, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with salobj.Controller("Test", index) as controller, salobj.Domain() as domain:
        remote = salobj.Remote(domain, "Test", index, include=["scalars"])
        await remote.start_task
        producer = confluent_kafka.Producer({"bootstrap.servers": os.environ["LSST_KAFKA_BROKER_ADDR"]})
        for garbage in (b"", b"\x01\x00\x00\x00\x01abc", struct.pack(">bI", 0, 999999) + b"abc"):
            producer.produce(controller.evt_scalars.topic_info.kafka_name, garbage, "")
        await asyncio.to_thread(producer.flush, LIMIT)
        await controller.evt_scalars.set_write(int0=5)
        assert (await remote.evt_scalars.next(flush=False, timeout=LIMIT)).int0 == 5
    assert "can't be read" in caplog.text


async def test_a_command_with_an_impossible_number_is_logged_and_skipped(
    kafka: EmbeddedBroker, index: int, domain: salobj.Domain, caplog: pytest.LogCaptureFixture
) -> None:
    async with salobj.Controller("Test", index) as controller:
        writer_info = salobj.SalInfo(domain, "Test", index)
        writer = salobj.topics.WriteTopic(salinfo=writer_info, attr_name="cmd_wait", min_seq_num=None)
        await writer_info.start()
        await writer.write()
        writer.data.private_seqNum = 3
        await writer.write()
        command = await controller.cmd_wait.next(timeout=LIMIT)
        assert command.private_seqNum == 3
    assert "must be > 0" in caplog.text
