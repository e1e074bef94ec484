# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""CSC and clients at a Kafka broker and a schema registry that ask for a login, as the observatory's do."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib import broker
from lsst.ts.comcamcalib.broker import LoginRefusedError
from lsst.ts.comcamcalib.client import CalibrationClient, RefusedError
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.configuration import (
    SITE,
    csc_settings,
    write_consumer_configuration,
    write_csc_configuration,
)
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.comcamcalib.simulation.topics import topic_names
from support.observatory import running_csc_process
from support.sasl_front import SaslFront

pytestmark = pytest.mark.observatory

USER, PASSWORD, REGISTRY_PASSWORD = "ts-salkafka", "s3cr3t-of-kafka", "s3cr3t-of-the-registry"
LIMIT_S = 40.0


@pytest.fixture
async def front(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SaslFront]:
    """A broker and a registry with logins, and the environment of those who know them."""
    write_consumer_configuration(tmp_path / "consumer.yaml")
    settings = csc_settings(uws_url="http://127.0.0.1:1/api/v1", repo=tmp_path, work_directory=tmp_path, speed=1.0)
    write_csc_configuration(tmp_path / "config", settings)
    kafka = EmbeddedBroker()
    await asyncio.to_thread(kafka.start)
    try:
        await asyncio.to_thread(kafka.create_topics, topic_names("sim"))
        async with (
            SaslFront(kafka, {USER: PASSWORD}) as front,
            SchemaRegistry(login=f"sal:{REGISTRY_PASSWORD}") as registry,
        ):
            variables = {
                "LSST_KAFKA_BROKER_ADDR": front.address,
                "LSST_KAFKA_SECURITY_USERNAME": USER,
                "LSST_KAFKA_SECURITY_PASSWORD": PASSWORD,
                "LSST_KAFKA_CONSUMER_CONFIGURATION": str(tmp_path / "consumer.yaml"),
                "LSST_SCHEMA_REGISTRY_URL": registry.url.replace("http://", f"http://sal:{REGISTRY_PASSWORD}@"),
                "LSST_TOPIC_SUBNAME": "sim",
                "LSST_SITE": SITE,
                "TS_CONFIG_OCS_DIR": str(tmp_path / "config"),
            }
            for name, value in variables.items():
                monkeypatch.setenv(name, value)
            yield front
    finally:
        await asyncio.to_thread(kafka.close)


async def test_a_csc_that_logs_in_is_commanded_by_a_client_that_logs_in(front: SaslFront, tmp_path: Path) -> None:
    log = tmp_path / "csc.log"
    async with running_csc_process(log) as process, CalibrationClient() as client:
        await salobj.set_summary_state(client.remote, salobj.State.DISABLED, timeout=LIMIT_S)
        with pytest.raises(RefusedError, match="no run"):
            await client.status("")
        process.terminate()
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == 128 + signal.SIGTERM
    assert front.accepted > 4 and front.refused == front.unasked == 0
    assert "s3cr3t" not in log.read_text()


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("LSST_KAFKA_SECURITY_PASSWORD", "wr0ng-s3cr3t", "refuses the login of ts-salkafka ("),
        ("LSST_KAFKA_SECURITY_MECHANISM", "SCRAM-SHA-256", "refuses the login of ts-salkafka ("),
        ("LSST_KAFKA_SECURITY_PASSWORD", "", "LSST_KAFKA_SECURITY_USERNAME is set, but LSST_KAFKA_SECURITY_PASSWORD"),
    ],
)
async def test_a_csc_with_a_wrong_login_ends_soon_and_says_what_to_check(
    front: SaslFront, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str, told: str
) -> None:
    monkeypatch.setenv(name, value)
    log = tmp_path / "csc.log"
    async with running_csc_process(log) as process:
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == 1
    text = log.read_text()
    last = text.splitlines()[-1]
    assert told in last and "LSST_KAFKA_SECURITY_PASSWORD" in last, text
    assert "Traceback" not in text and len(text.splitlines()) < 10, text
    assert "s3cr3t" not in text and front.accepted == 0


async def test_a_client_with_a_wrong_password_is_told_without_it(
    front: SaslFront, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LSST_KAFKA_SECURITY_PASSWORD", "wr0ng-s3cr3t")
    client = CalibrationClient()
    try:
        with pytest.raises(LoginRefusedError, match=r"refuses the login of ts-salkafka .*: check LSST_") as caught:
            async with client:
                pytest.fail("it must not get in")
    finally:
        await client.remote.close()
    assert "s3cr3t" not in str(caught.value)


async def test_a_client_without_a_login_gets_nothing(front: SaslFront, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 1.0)
    with pytest.raises(RuntimeError, match=r"gave no answer .*LSST_KAFKA_SECURITY_PASSWORD if it needs a login"):
        await broker.check_answer({"bootstrap.servers": front.address})
    assert front.unasked > 0 and front.accepted == 0


async def test_a_broker_that_is_not_there_does_not_end_the_csc(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker, "ANSWER_LIMIT_S", 0.3)
    for name, value in {"USERNAME": USER, "PASSWORD": PASSWORD}.items():
        monkeypatch.setenv(f"LSST_KAFKA_SECURITY_{name}", value)
    login = {"sasl.mechanism": "SCRAM-SHA-512", "sasl.username": USER, "sasl.password": PASSWORD}
    await broker.check_login({"bootstrap.servers": "127.0.0.1:1", "security.protocol": "SASL_PLAINTEXT", **login})
