# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Logins at broker and registry, and replication, as the environment says them; no password in any text."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.salobj import kafka_configuration, kafka_link
from lsst.ts.salobj import schema_registry as registry_module
from lsst.ts.xml.component_info import ComponentInfo

PASSWORD = "s3cr3t-of-kafka"
LOGIN = {"LSST_KAFKA_SECURITY_USERNAME": "ts-salkafka", "LSST_KAFKA_SECURITY_PASSWORD": PASSWORD}
SASL = {
    "security.protocol": "SASL_PLAINTEXT",
    "sasl.mechanism": "SCRAM-SHA-512",
    "sasl.username": "ts-salkafka",
    "sasl.password": PASSWORD,
}


def set_all(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)


def configurations() -> list[dict[str, Any]]:
    return [
        kafka_configuration.broker_client_configuration(),
        kafka_configuration.producer_configuration(),
        kafka_configuration.consumer_configuration("group"),
    ]


def test_every_client_logs_in_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    set_all(monkeypatch, LOGIN)
    for configuration in configurations():
        assert SASL.items() <= configuration.items()
    set_all(monkeypatch, {"LSST_KAFKA_SECURITY_PROTOCOL": "SASL_SSL", "LSST_KAFKA_SECURITY_MECHANISM": "SCRAM-SHA-256"})
    for configuration in configurations():
        assert configuration["security.protocol"] == "SASL_SSL"
        assert configuration["sasl.mechanism"] == "SCRAM-SHA-256"


def test_without_a_user_or_a_password_there_is_no_login(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LOGIN:
        monkeypatch.delenv(name, raising=False)
    for name, value in LOGIN.items():
        monkeypatch.setenv(name, value)
        assert all("sasl.username" not in one for one in configurations())
        monkeypatch.delenv(name)


def test_settings_of_tls_come_from_the_file_for_all_clients(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "client.yaml"
    file.write_text("ssl.ca.location: /etc/kafka/ca.pem\n")
    set_all(monkeypatch, {**LOGIN, "LSST_KAFKA_BROKER_CLIENT_CONFIGURATION": str(file)})
    for configuration in configurations():
        assert configuration["ssl.ca.location"] == "/etc/kafka/ca.pem" and SASL.items() <= configuration.items()


async def test_a_link_hands_the_login_to_its_clients_and_the_replication_to_the_broker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No broker is asked: what the clients of confluent_kafka are made of is what counts."""
    given: dict[str, dict[str, Any]] = {}
    made: list[Any] = []

    class Client:
        def __init__(self, configuration: dict[str, Any], **_keywords: Any) -> None:
            given[self.__class__.__name__] = configuration

        def create_topics(self, topics: list[Any], **_keywords: Any) -> dict[str, Any]:
            made.extend(topics)
            return {}

    class AdminClient(Client):
        pass

    monkeypatch.setattr(kafka_link, "AdminClient", AdminClient)
    set_all(monkeypatch, {**LOGIN, "LSST_KAFKA_REPLICATION_FACTOR": "3"})
    infos = list(ComponentInfo("OCPS", "test").topics.values())
    link = object.__new__(kafka_link.KafkaLink)
    link._create_topics(infos)
    assert SASL.items() <= given["AdminClient"].items()
    assert {topic.replication_factor for topic in made} == {3} and len(made) == len(infos)


@pytest.mark.parametrize("factor", ["0", "-1", "three", "1.5", ""])
def test_a_replication_factor_that_is_no_number_of_brokers_is_told(
    monkeypatch: pytest.MonkeyPatch, factor: str
) -> None:
    monkeypatch.setenv("LSST_KAFKA_REPLICATION_FACTOR", factor)
    with pytest.raises(ValueError, match=f"LSST_KAFKA_REPLICATION_FACTOR is '{factor}', but must be a number of brok"):
        kafka_configuration.replication_factor()


@pytest.fixture
async def guarded() -> Any:
    async with SchemaRegistry(login=f"sal:{PASSWORD}") as registry:
        yield registry


def url_with(registry: SchemaRegistry, login: str) -> str:
    return registry.url.replace("http://", f"http://{login}@")


async def test_the_registry_is_used_with_the_login_in_its_url(guarded: SchemaRegistry) -> None:
    info = ComponentInfo("OCPS", "test").topics["evt_heartbeat"]
    client = registry_module.SchemaRegistry(url_with(guarded, f"sal:{PASSWORD}"))
    schema_id = await asyncio.to_thread(client.register, info)
    fetched = await asyncio.to_thread(registry_module.SchemaRegistry(client.url).fetch, schema_id)
    assert fetched["name"] == "lsst.sal.OCPS.logevent_heartbeat"


@pytest.mark.parametrize("login", ["", "sal:wr0ng-passw0rd@"])
async def test_a_registry_that_refuses_the_login_is_told_without_the_password(
    guarded: SchemaRegistry, login: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    info = ComponentInfo("OCPS", "test").topics["evt_heartbeat"]
    client = registry_module.SchemaRegistry(guarded.url.replace("http://", f"http://{login}"))
    with pytest.raises(
        RuntimeError, match=r"did not register .*401.*LSST_SCHEMA_REGISTRY_URL, with user and"
    ) as caught:
        await asyncio.to_thread(client.register, info)
    assert "passw0rd" not in str(caught.value) and caught.value.__cause__ is None
    assert "passw0rd" not in caplog.text


async def test_a_csc_runs_with_a_registry_that_asks_for_a_login(
    kafka: EmbeddedBroker, guarded: SchemaRegistry, monkeypatch: pytest.MonkeyPatch, index: int
) -> None:
    monkeypatch.setenv("LSST_SCHEMA_REGISTRY_URL", url_with(guarded, f"sal:{PASSWORD}"))
    async with salobj.Domain() as domain, salobj.Controller("OCPS", index=index) as controller:
        remote = salobj.Remote(domain, "OCPS", index=index, include=["heartbeat"])
        await remote.start_task
        await controller.evt_heartbeat.write()
        assert (await remote.evt_heartbeat.next(flush=False, timeout=20)).salIndex == index
        await remote.close()
