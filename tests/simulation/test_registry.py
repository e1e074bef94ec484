# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The schema registry serves Confluent's own client, serializer and deserializer."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import aiohttp
import confluent_kafka
import pytest
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient, SchemaRegistryError
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry

HEARTBEAT = json.dumps(
    {
        "type": "record",
        "name": "logevent_heartbeat",
        "namespace": "lsst.sal.Test",
        "fields": [
            {"name": "private_sndStamp", "type": "double", "default": 0.0},
            {"name": "private_seqNum", "type": "int", "default": 0},
        ],
    }
)
SUMMARY_STATE = HEARTBEAT.replace("heartbeat", "summaryState")
SUBJECT = "lsst.test.Test.logevent_heartbeat-value"


@pytest.fixture
async def registry() -> AsyncIterator[SchemaRegistry]:
    async with SchemaRegistry() as registry:
        yield registry


@pytest.fixture
async def client(registry: SchemaRegistry) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry.url})


async def ask(function: Callable[..., Any], *args: Any) -> Any:
    """Call the blocking client in a thread, beside the registry's event loop."""
    return await asyncio.to_thread(function, *args)


async def refusal(function: Callable[..., Any], *args: Any) -> tuple[int, int]:
    """Return the HTTP status and the registry's error code with which a call is refused."""
    with pytest.raises(SchemaRegistryError) as caught:
        await ask(function, *args)
    return caught.value.http_status_code, caught.value.error_code


async def read(registry: SchemaRegistry, path: str) -> Any:
    """Return an answer that older versions of the client have no method for, or leave a part of it out."""
    async with aiohttp.ClientSession() as session, session.get(f"{registry.url}/{path}") as reply:
        assert reply.status == 200
        return await reply.json(content_type=None)


async def test_registered_schema_is_found_again(registry: SchemaRegistry, client: SchemaRegistryClient) -> None:
    schema_id = await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    client.clear_caches()
    found = await ask(client.lookup_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    assert (found.schema_id, found.subject, found.version) == (schema_id, SUBJECT, 1)
    latest = await ask(client.get_latest_version, SUBJECT)
    assert json.loads(latest.schema.schema_str) == json.loads(HEARTBEAT)
    first = await ask(client.get_version, SUBJECT, 1)
    assert first.schema_id == latest.schema_id
    told = [await read(registry, f"subjects/{SUBJECT}/versions/{version}") for version in (1, "latest")]
    assert told[0]["guid"] == told[1]["guid"] != ""
    assert (await ask(client.get_schema, schema_id)).schema_str == HEARTBEAT
    assert await ask(client.get_subjects) == [SUBJECT]
    assert await ask(client.get_versions, SUBJECT) == [1]


async def test_same_schema_in_another_spelling_is_the_same_version(client: SchemaRegistryClient) -> None:
    first = await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    again = await ask(client.register_schema, SUBJECT, Schema(json.dumps(json.loads(HEARTBEAT), indent=4), "AVRO"))
    assert again == first
    assert await ask(client.get_versions, SUBJECT) == [1]


async def test_a_change_is_a_new_version_and_old_ones_stay(client: SchemaRegistryClient) -> None:
    first = await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    changed = HEARTBEAT.replace("private_seqNum", "private_origin")
    second = await ask(client.register_schema, SUBJECT, Schema(changed, "AVRO"))
    assert second != first
    assert await ask(client.get_versions, SUBJECT) == [1, 2]
    assert (await ask(client.get_latest_version, SUBJECT)).schema_id == second
    assert (await ask(client.get_version, SUBJECT, 1)).schema_id == first


async def test_one_schema_under_two_subjects_has_one_id(registry: SchemaRegistry, client: SchemaRegistryClient) -> None:
    first = await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    other = SUBJECT.replace("lsst.test", "lsst.sal")
    assert await ask(client.register_schema, other, Schema(HEARTBEAT, "AVRO")) == first
    assert await read(registry, f"schemas/ids/{first}/subjects") == sorted([SUBJECT, other])
    versions = await read(registry, f"schemas/ids/{first}/versions")
    assert {(one["subject"], one["version"]) for one in versions} == {(SUBJECT, 1), (other, 1)}


async def test_what_is_missing_is_refused_with_the_registrys_codes(client: SchemaRegistryClient) -> None:
    assert await refusal(client.get_latest_version, "nobody-value") == (404, 40401)
    assert await refusal(client.lookup_schema, "nobody-value", Schema(HEARTBEAT, "AVRO")) == (404, 40401)
    assert await refusal(client.delete_subject, "nobody-value") == (404, 40401)
    assert await refusal(client.get_schema, 7) == (404, 40403)
    await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    assert await refusal(client.get_version, SUBJECT, 2) == (404, 40402)
    assert await refusal(client.get_version, SUBJECT, 0) == (422, 42202)
    assert await refusal(client.lookup_schema, SUBJECT, Schema(SUMMARY_STATE, "AVRO")) == (404, 40403)


@pytest.mark.parametrize(
    "schema", [Schema("no JSON at all {", "AVRO"), Schema('syntax = "proto3";', "PROTOBUF"), Schema("{}", "JSON")]
)
async def test_what_is_no_avro_schema_is_refused(client: SchemaRegistryClient, schema: Schema) -> None:
    assert await refusal(client.register_schema, SUBJECT, schema) == (422, 42201)
    assert await ask(client.get_subjects) == []


async def test_deleted_subject_is_gone(client: SchemaRegistryClient) -> None:
    await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    assert await ask(client.delete_subject, SUBJECT) == [1]
    client.clear_caches()
    assert await refusal(client.lookup_schema, SUBJECT, Schema(HEARTBEAT, "AVRO")) == (404, 40401)


async def test_every_schema_is_compatible_and_the_level_says_why(client: SchemaRegistryClient) -> None:
    await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    assert await ask(client.test_compatibility, SUBJECT, Schema(SUMMARY_STATE, "AVRO"))
    assert await ask(client.get_compatibility) == "NONE"
    assert await ask(client.get_compatibility, SUBJECT) == "NONE"
    await ask(client.set_compatibility, SUBJECT, "NONE")
    assert await refusal(client.set_compatibility, SUBJECT, "BACKWARD") == (422, 42203)


async def test_unknown_path_is_an_error_that_clients_can_read(registry: SchemaRegistry) -> None:
    async with aiohttp.ClientSession() as session, session.get(f"{registry.url}/contexts") as reply:
        assert reply.status == 404
        assert (await reply.json(content_type=None))["error_code"] == 404


async def test_event_crosses_the_bus_in_confluents_framing(client: SchemaRegistryClient) -> None:
    schema_id = await ask(client.register_schema, SUBJECT, Schema(HEARTBEAT, "AVRO"))
    topic = SUBJECT.removesuffix("-value")
    # As salobj makes them: registration by hand, subject from the topic's name.
    serialize = AvroSerializer(client, HEARTBEAT, conf={"auto.register.schemas": False})
    deserialize = AvroDeserializer(client, HEARTBEAT)
    context = SerializationContext(topic, MessageField.VALUE)
    sent = {"private_sndStamp": 1763856000.25, "private_seqNum": 7}
    data = await ask(serialize, sent, context)
    assert data[:5] == b"\x00" + schema_id.to_bytes(4, "big")

    def cross() -> bytes:
        with EmbeddedBroker() as broker:
            broker.create_topics([topic])
            producer = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
            producer.produce(topic, data)
            assert producer.flush(10) == 0
            consumer = confluent_kafka.Consumer(
                {"bootstrap.servers": broker.address, "group.id": "g", "auto.offset.reset": "earliest", "log_level": 0}
            )
            consumer.subscribe([topic])
            message = consumer.poll(15)
            consumer.close()
            assert message is not None and message.error() is None
            value: bytes = message.value()
            return value

    assert await ask(deserialize, await asyncio.to_thread(cross), context) == sent


async def test_closed_registry_refuses_connections() -> None:
    registry = SchemaRegistry()
    await registry.start()
    url = registry.url
    await registry.close()
    await registry.close()
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(f"{url}/subjects")


async def test_client_that_blocks_the_event_loop_is_answered(client: SchemaRegistryClient) -> None:
    # Not in a thread: salobj's deserialisers ask like this, from its read loop.
    schema_id = client.register_schema(SUBJECT, Schema(HEARTBEAT, "AVRO"))
    assert client.get_latest_version(SUBJECT).schema_id == schema_id


async def test_registry_whose_port_is_taken_says_so_and_leaves_no_thread(registry: SchemaRegistry) -> None:
    port = int(registry.url.rpartition(":")[2])
    before = set(threading.enumerate())
    second = SchemaRegistry(port)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    await second.close()
    assert "schema registry" not in [thread.name for thread in set(threading.enumerate()) - before]
