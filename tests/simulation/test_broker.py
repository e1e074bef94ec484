# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The embedded broker serves real Kafka clients, and fails on request."""

from __future__ import annotations

import subprocess
import sys
import time
import uuid
from collections.abc import Iterator

import confluent_kafka
import pytest
from lsst.ts.comcamcalib.simulation import broker as broker_module
from lsst.ts.comcamcalib.simulation.broker import BrokerError, EmbeddedBroker
from lsst.ts.comcamcalib.simulation.faults import Fault

pytestmark = pytest.mark.observatory

LIMIT_S = 20.0


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def topic(broker: EmbeddedBroker) -> str:
    name = f"lsst.test.{uuid.uuid4().hex}"
    broker.create_topics([name])
    return name


def produce(address: str, topic: str, *values: bytes, limit_s: float = LIMIT_S) -> list[confluent_kafka.KafkaError]:
    """Produce values and return the delivery errors."""
    errors: list[confluent_kafka.KafkaError] = []

    def delivered(error: confluent_kafka.KafkaError | None, message: object) -> None:
        if error is not None:
            errors.append(error)

    producer = confluent_kafka.Producer(
        {"bootstrap.servers": address, "acks": 1, "message.timeout.ms": int(limit_s * 1000), "log_level": 0}
    )
    for value in values:
        producer.produce(topic, value, on_delivery=delivered)
    assert producer.flush(limit_s + 5) == 0
    return errors


def consume(address: str, topic: str, count: int, group: str | None = None) -> list[bytes]:
    """Consume this many values from the beginning."""
    consumer = confluent_kafka.Consumer(
        {
            "bootstrap.servers": address,
            "group.id": group or uuid.uuid4().hex,
            "auto.offset.reset": "earliest",
            "allow.auto.create.topics": False,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    consumer.subscribe([topic])
    values: list[bytes] = []
    end = time.monotonic() + LIMIT_S
    try:
        while len(values) < count and time.monotonic() < end:
            message = consumer.poll(0.2)
            if message is not None and message.error() is None:
                values.append(message.value())
    finally:
        consumer.close()
    return values


def test_messages_reach_a_late_consumer_in_order(broker: EmbeddedBroker, topic: str) -> None:
    sent = [str(i).encode() for i in range(200)]
    assert produce(broker.address, topic, *sent) == []
    assert consume(broker.address, topic, len(sent)) == sent


def test_broker_is_on_loopback_only(broker: EmbeddedBroker) -> None:
    host, port = broker.address.split(":")
    assert host == "127.0.0.1"
    assert int(port) > 1023
    client = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
    advertised = {node.host for node in client.list_topics(timeout=LIMIT_S).brokers.values()}
    assert advertised == {"127.0.0.1"}


def test_another_process_joins(broker: EmbeddedBroker, topic: str) -> None:
    code = (
        "import sys, confluent_kafka as k; p = k.Producer({'bootstrap.servers': sys.argv[1]}); "
        "p.produce(sys.argv[2], b'from elsewhere'); sys.exit(p.flush(10))"
    )
    subprocess.run([sys.executable, "-c", code, broker.address, topic], check=True, timeout=60)
    assert consume(broker.address, topic, 1) == [b"from elsewhere"]


def test_topics_have_one_partition_unless_more_are_asked_for(broker: EmbeddedBroker) -> None:
    broker.create_topics(["lsst.test.one", "lsst.test.another"])
    broker.create_topics(["lsst.test.one"])  # again: no complaint
    broker.create_topics(["lsst.test.three"], partitions=3)
    client = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
    topics = client.list_topics(timeout=LIMIT_S).topics
    counts = {name: len(topics[name].partitions) for name in ("lsst.test.one", "lsst.test.another", "lsst.test.three")}
    assert counts == {"lsst.test.one": 1, "lsst.test.another": 1, "lsst.test.three": 3}
    assert set(counts) <= broker.topics


def test_400_topics_are_made_in_seconds(broker: EmbeddedBroker) -> None:
    names = {f"lsst.many.logevent_topic{i}" for i in range(400)}
    begin = time.monotonic()
    broker.create_topics(names)
    assert time.monotonic() - begin < 10  # without the pause that lets the mock cluster settle it takes a minute
    client = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
    assert names <= set(client.list_topics(timeout=LIMIT_S).topics)


def test_first_consumer_of_a_group_need_not_wait_for_others(broker: EmbeddedBroker, topic: str) -> None:
    produce(broker.address, topic, b"x")
    begin = time.monotonic()
    assert consume(broker.address, topic, 1) == [b"x"]
    # librdkafka's default rebalance delay alone is 3 s.
    assert time.monotonic() - begin < 2.5


def test_refused_name_is_told(broker: EmbeddedBroker) -> None:
    produce(broker.address, "lsst.test.made_by_client", b"x")  # clients that may do so create topics by using them
    with pytest.raises(BrokerError, match="can't create topic"):
        broker.create_topics(["lsst.test.made_by_client"])


def test_messages_sent_while_the_broker_is_down_arrive_when_it_is_up(broker: EmbeddedBroker, topic: str) -> None:
    broker.set_down()
    try:
        errors = produce(broker.address, topic, b"lost", limit_s=1)
        assert [error.code() for error in errors] == [confluent_kafka.KafkaError._MSG_TIMED_OUT]
        patient = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
        patient.produce(topic, b"kept")
        assert patient.flush(0.5) == 1
    finally:
        broker.set_up()
    assert patient.flush(LIMIT_S) == 0
    assert consume(broker.address, topic, 1) == [b"kept"]


def test_round_trip_time_slows_a_request(broker: EmbeddedBroker) -> None:
    client = confluent_kafka.Producer({"bootstrap.servers": broker.address, "log_level": 0})
    client.list_topics(timeout=LIMIT_S)
    broker.set_round_trip_time(0.5)
    try:
        begin = time.monotonic()
        client.list_topics(timeout=LIMIT_S)
        assert time.monotonic() - begin >= 0.45
    finally:
        broker.set_round_trip_time(0)


def test_faults_are_applied_and_taken_back(broker: EmbeddedBroker, topic: str) -> None:
    broker.apply([Fault("kafka", "refuse", times=1), Fault("kafka", "slow", value=0.1)])
    errors = produce(broker.address, topic, b"refused")
    assert [error.code() for error in errors] == [confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED]
    broker.apply([Fault("kafka", "down")])
    assert len(produce(broker.address, topic, b"unsent", limit_s=1)) == 1
    broker.apply([])
    assert produce(broker.address, topic, b"sent") == []
    assert consume(broker.address, topic, 1) == [b"sent"]
    with pytest.raises(BrokerError, match="knows no fault 'explode'"):
        broker.apply([Fault("kafka", "explode")])


def test_closed_broker_says_so_and_can_be_started_again() -> None:
    broker = EmbeddedBroker()
    with pytest.raises(BrokerError, match="not running"):
        broker.create_topics(["lsst.test.x"])
    broker.close()
    broker.start()
    with pytest.raises(BrokerError, match="started twice"):
        broker.start()
    first = broker.address
    broker.close()
    broker.close()
    assert broker.address == ""
    with pytest.raises(BrokerError, match="not running"):
        broker.set_down()
    client = confluent_kafka.Producer({"bootstrap.servers": first, "log_level": 0})
    with pytest.raises(confluent_kafka.KafkaException):
        client.list_topics(timeout=1)
    broker.start()
    broker.create_topics(["lsst.test.x"])
    assert produce(broker.address, "lsst.test.x", b"again") == []
    broker.close()


@pytest.mark.parametrize("candidates", [[], ["/nonexistent/librdkafka.so.1"]])
def test_missing_library_is_one_clear_sentence(candidates: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_module, "_library_candidates", lambda: iter(candidates))
    with pytest.raises(BrokerError, match="Install confluent-kafka from PyPI"):
        EmbeddedBroker().start()


def test_library_without_mock_cluster_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    libc = broker_module.ctypes.util.find_library("c")
    monkeypatch.setattr(broker_module, "_library_candidates", lambda: iter([libc]))
    with pytest.raises(BrokerError, match="mock cluster, and none was found"):
        EmbeddedBroker().start()
