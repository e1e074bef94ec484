# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the embedded broker does not serve does no harm to those who ask for it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest
from lsst.ts.comcamcalib.simulation import broker_requests
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker

pytestmark = pytest.mark.observatory

# What salobj does when it closes a reader. The client is collected before the process ends, as in a CSC that lives on.
DELETE_GROUP = """
import gc, sys
from confluent_kafka import Consumer, KafkaException
from confluent_kafka.admin import AdminClient

servers = {"bootstrap.servers": sys.argv[1]}
consumer = Consumer(servers | {"group.id": "mine"})
consumer.subscribe(["topic"])
consumer.poll(1)
consumer.close()
client = AdminClient(servers)
[future] = client.delete_consumer_groups(["mine"]).values()
try:
    future.result(timeout=10)
except KafkaException as error:
    print("refused", error.args[0].name())
del client, future
gc.collect()
print("alive")
"""


@pytest.fixture
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        broker.create_topics(["topic"])
        yield broker


def delete_group(broker: EmbeddedBroker) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, "-c", DELETE_GROUP, broker.address]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


def test_a_client_that_deletes_its_group_is_refused_and_lives_on(broker: EmbeddedBroker) -> None:
    outcome = delete_group(broker)
    assert (outcome.stdout, outcome.returncode) == ("refused _UNDERFLOW\nalive\n", 0), outcome.stderr


def test_the_broker_serves_others_after_it(broker: EmbeddedBroker) -> None:
    delete_group(broker)
    assert delete_group(broker).returncode == 0


def test_another_librdkafka_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setattr(broker_requests, "_SEARCHED_BYTES", 16)
    monkeypatch.setattr(broker_requests, "_LIMIT_S", 0.05)
    with EmbeddedBroker() as broker:
        assert broker.address
    assert "clients that ask for request 42 may abort" in caplog.text
