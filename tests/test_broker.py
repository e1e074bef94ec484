# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker that is not there, or that does not answer, is named, and so is what to look at."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from lsst.ts.comcamcalib import broker
from lsst.ts.comcamcalib.broker import check_answer, check_connection
from lsst.ts.comcamcalib.client import CalibrationClient
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker


@pytest.fixture(params=["says nothing", "hangs up"])
async def dumb_server(request: pytest.FixtureRequest) -> AsyncIterator[str]:
    """The address of something that takes connections and is no broker."""
    writers = []

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        if request.param == "hangs up":
            writer.close()

    server = await asyncio.start_server(connected, "127.0.0.1")
    host, port = server.sockets[0].getsockname()
    yield f"{host}:{port}"
    server.close()
    for writer in writers:
        writer.close()
    await server.wait_closed()


@pytest.mark.parametrize(
    ("addresses", "sentence"),
    [
        ("127.0.0.1:1", r"no Kafka broker at 127\.0\.0\.1:1 \(.*\); check LSST_KAFKA_BROKER_ADDR"),
        ("127.0.0.1:1, 127.0.0.1:2", r"127\.0\.0\.1:1 \(.*\), 127\.0\.0\.1:2 \("),
        ("kafka", r"no Kafka broker at kafka \(this is no address such as kafka:9092\)"),
    ],
)
async def test_broker_that_is_not_there_is_named(
    addresses: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", addresses)
    with pytest.raises(RuntimeError, match=sentence):
        await check_connection()


async def test_address_that_can_be_no_registry_is_not_tried_nor_shown(
    dumb_server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", dumb_server)
    monkeypatch.setenv("LSST_SCHEMA_REGISTRY_URL", "sal:secret@registry:8081")
    with pytest.raises(RuntimeError, match=r"^LSST_SCHEMA_REGISTRY_URL must begin with http:// or https://") as caught:
        await check_connection()
    assert "secret" not in str(caught.value)


async def test_one_broker_of_several_is_enough(dumb_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", f"127.0.0.1:1,{dumb_server}")
    await check_connection()


async def test_an_address_that_salobj_knows_by_itself_is_left_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LSST_KAFKA_BROKER_ADDR", raising=False)
    await check_connection()


async def test_broker_that_does_not_answer_is_named(dumb_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 0.3)
    with pytest.raises(RuntimeError, match=f"Kafka at {dumb_server} takes connections, but .*LSST_KAFKA_BROKER_ADDR"):
        await check_answer({"bootstrap.servers": dumb_server})


@pytest.mark.parametrize("given", ["LSST_KAFKA_SECURITY_USERNAME", "LSST_KAFKA_SECURITY_PASSWORD"])
async def test_half_a_login_is_told_because_salobj_would_use_none(given: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LSST_KAFKA_SECURITY_USERNAME", "LSST_KAFKA_SECURITY_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(given, "s3cr3t")
    with pytest.raises(RuntimeError, match=f"variable {given} is set, but LSST_KAFKA_.* is not") as caught:
        await check_connection()
    assert "s3cr3t" not in str(caught.value)


async def test_a_broker_that_does_not_take_the_login_is_named_without_the_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 2.0)
    kafka = EmbeddedBroker()  # it knows no logins at all
    await asyncio.to_thread(kafka.start)
    login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": "ts-salkafka", "sasl.password": "s3cr3t"}
    try:
        with pytest.raises(RuntimeError, match="LSST_KAFKA_SECURITY_USERNAME and LSST_KAFKA_SECURITY_PASSW") as caught:
            await check_answer({"bootstrap.servers": kafka.address, "security.protocol": "SASL_PLAINTEXT", **login})
    finally:
        await asyncio.to_thread(kafka.close)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.observatory
async def test_broker_that_answers_is_good(dumb_server: str) -> None:
    kafka = EmbeddedBroker()
    await asyncio.to_thread(kafka.start)
    try:
        await check_answer({"bootstrap.servers": f"{dumb_server},{kafka.address}"})
    finally:
        await asyncio.to_thread(kafka.close)


@pytest.mark.observatory
async def test_client_that_gets_no_answer_says_so(dumb_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 0.3)
    monkeypatch.setenv("LSST_KAFKA_BROKER_ADDR", dumb_server)
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "test")
    client = CalibrationClient()
    try:
        with pytest.raises(RuntimeError, match="takes connections, but gave no answer"):
            async with client:
                pytest.fail("it must not get in")
    finally:
        await client.remote.close()
