# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Kafka clients of one SalInfo: its topics, its consumer, its producer."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic
from lsst.ts import utils
from lsst.ts.xml.topic_info import TopicInfo

from . import kafka_configuration
from .kafka_log import kafka_log, librdkafka_log
from .sample_sorter import Sample, order_by_time
from .schema_registry import SchemaRegistry, TopicCodec

__all__ = ["KafkaLink", "ReadRequest"]

# Time limits, in seconds.
BROKER_LIMIT = 10.0  # for the broker to answer at all
TOPICS_LIMIT = 10.0  # for topics to exist after the broker was asked to create them
TOPICS_POLL_INTERVAL = 0.1
ADMIN_LIMIT = 5.0  # for an answer to an admin request; a broker without CreateTopics gives none
FLUSH_LIMIT = 2.0  # for messages that are under way when the producer is closed
SLOW_DELIVERY = 0.1  # a delivery that takes longer is logged,
SLOW_DELIVERY_PAUSE = 10.0  # but not more often than this

LINGER = 0.001  # for the rest of what the broker sent together with a message

# Most messages that one read hands over; reading stops earlier when no more are there.
MAX_BATCH = 100
REGISTRY_THREADS = 6
# Of errors that may come with every message, the first and then every tenth are logged.
LOG_EVERY = 10

# Kafka's "timestamps" that stand for the ends of a partition in a request for offsets.
_LATEST, _EARLIEST = -1, -2


@dataclasses.dataclass(frozen=True)
class ReadRequest:
    """A topic to read, and how many old messages of each partition to begin with."""

    topic_info: TopicInfo
    history: int


class KafkaLink:
    """Kafka and the schema registry for one SalInfo.

    `open`, `read` and `close` block and must be called from one worker thread; `send` and `serve_reports` don't.

    Parameters
    ----------
    name_index : `str`
        The component, for messages.
    group_id : `str`
        Kafka's group id of the consumer.
    reads : `list` [`ReadRequest`]
        Topics to read.
    writes : `list` [`TopicInfo`]
        Topics to write.
    log : `logging.Logger`
        Where problems are logged.

    Attributes
    ----------
    history_ends : `dict` [`str`, `int`]
        For each topic whose history is read: the offset of the last old message. It is set by `open`.
    """

    def __init__(
        self, name_index: str, group_id: str, reads: list[ReadRequest], writes: list[TopicInfo], log: logging.Logger
    ) -> None:
        self._name_index = name_index
        self._group_id = group_id
        self._reads = {request.topic_info.kafka_name: request for request in reads}
        self._writes = {info.kafka_name: info for info in writes}
        # Events are to be seen before the acknowledgement that follows them; commands are carried out at once.
        only_commands = all(request.topic_info.attr_name.startswith("cmd_") for request in reads)
        self._linger = 0.0 if only_commands else LINGER
        self._log = log
        self._codecs: dict[str, TopicCodec] = {}
        self._registry = SchemaRegistry(kafka_configuration.schema_registry_url())
        self._consumer: Consumer | None = None
        self._producer: Producer | None = None
        self._closing = False
        self._error_counts: dict[str, int] = {}
        self._next_slow_warning = 0.0
        self.history_ends: dict[str, int] = {}

    # ---- in the worker thread -------------------------------------------------------------------------------------

    def open(self) -> None:
        """Make sure that all topics exist, register their schemas, start the clients and find where to begin.

        Raises
        ------
        RuntimeError
            If broker or registry don't answer, or topics are missing and can't be created.
        """
        infos = {name: request.topic_info for name, request in self._reads.items()} | self._writes
        if not infos:
            return
        if self._writes:
            self._producer = Producer(kafka_configuration.producer_configuration(), logger=librdkafka_log)
        if self._reads:
            self._consumer = Consumer(kafka_configuration.consumer_configuration(self._group_id), logger=librdkafka_log)
        partitions = self._ensure_topics(infos)
        self._register(infos)
        if self._consumer is not None:
            self._assign(self._consumer, partitions)

    def read(self, count: int, timeout: float) -> list[Sample]:
        """Return the messages that have come, ordered by `order_by_time`.

        Parameters
        ----------
        count : `int`
            How many messages to wait for; when one is enough, all that came with it are returned too.
        timeout : `float`
            How long to wait for them (seconds); then what has come is returned.
        """
        if self._consumer is None or self._closing:
            return []
        deadline = time.monotonic() + timeout
        messages = self._consumer.consume(count, timeout=timeout)
        # The end of a topic comes like a message too. It ends a wait for one, so that the end of history is known soon.
        while count > 1 and (missing := count - sum(message.error() is None for message in messages)) > 0:
            if (left := deadline - time.monotonic()) <= 0:
                break
            messages += self._consumer.consume(missing, timeout=left)
        if messages and count < MAX_BATCH:
            messages += self._consumer.consume(MAX_BATCH - count, timeout=self._linger)
        samples = (self._decode(message) for message in messages)
        return order_by_time([sample for sample in samples if sample is not None])

    def stop(self) -> None:
        """Make `open` and `read` end soon; from any thread."""
        self._closing = True

    def close(self) -> None:
        """Deliver what is under way, within a time limit, and close the clients."""
        self.stop()
        if self._producer is not None:
            undelivered = self._producer.flush(FLUSH_LIMIT)
            if undelivered:
                self._log.warning(
                    f"{self._name_index}: {undelivered} messages were not delivered to the Kafka broker at "
                    f"{kafka_configuration.broker_address()} within {FLUSH_LIMIT} s and are lost"
                )
                self._producer.purge()
                self._producer.flush(FLUSH_LIMIT)
            self._producer = None
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _ensure_topics(self, infos: Mapping[str, TopicInfo]) -> dict[str, list[int]]:
        """Create the topics that are missing, and return the partitions of all of them."""
        found = self._list_topics()
        missing = [info for name, info in infos.items() if name not in found]
        if missing:
            self._create_topics(missing)
            deadline = time.monotonic() + TOPICS_LIMIT
            while missing:
                found = self._list_topics()
                missing = [info for info in missing if info.kafka_name not in found]
                if missing and time.monotonic() > deadline:
                    names = ", ".join(info.kafka_name for info in missing[:3]) + (", …" if len(missing) > 3 else "")
                    raise RuntimeError(
                        f"{self._name_index} can't start: {len(missing)} of its {len(infos)} Kafka topics ({names}) "
                        f"don't exist at {kafka_configuration.broker_address()}, and the broker has not created them "
                        f"within {TOPICS_LIMIT:.0f} s. Create them first if the broker creates none on request."
                    )
                if missing:
                    time.sleep(TOPICS_POLL_INTERVAL)
        return {name: found[name] for name in infos}

    def _list_topics(self) -> dict[str, list[int]]:
        """Return the partitions of every topic that the broker has."""
        # The producer, if there is one: with the metadata at hand and a connection, its first message leaves at once.
        client = self._producer or self._consumer
        assert client is not None
        deadline = time.monotonic() + BROKER_LIMIT
        while True:
            if self._closing:
                raise RuntimeError(f"{self._name_index} was closed before it had started")
            try:
                topics = client.list_topics(timeout=1).topics
                return {name: sorted(topic.partitions) for name, topic in topics.items() if topic.error is None}
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise RuntimeError(
                        f"{self._name_index} can't start: no Kafka broker answered at "
                        f"{kafka_configuration.broker_address()} within {BROKER_LIMIT:.0f} s ({error.args[0].str()}); "
                        "check LSST_KAFKA_BROKER_ADDR"
                    ) from error

    def _create_topics(self, infos: list[TopicInfo]) -> None:
        """Ask the broker to create topics. What it refuses is logged; `_ensure_topics` has the last word."""
        admin = AdminClient(kafka_configuration.broker_client_configuration(), logger=librdkafka_log)
        replicas = kafka_configuration.replication_factor()
        new_topics = []
        for info in infos:
            config = {"cleanup.policy": "compact"} if info.attr_name.startswith("evt_") else {}
            new_topics.append(NewTopic(info.kafka_name, info.partitions, replicas, config=config))
        refused: dict[str, int] = {}
        for future in admin.create_topics(new_topics, request_timeout=ADMIN_LIMIT).values():
            try:
                future.result()
            except KafkaException as error:
                kafka_error = error.args[0]
                # Another process may have been quicker.
                if kafka_error.code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    refused[kafka_error.str()] = refused.get(kafka_error.str(), 0) + 1
        for reason, count in refused.items():
            self._log.warning(f"{self._name_index}: the Kafka broker did not create {count} topics: {reason}")

    def _register(self, infos: Mapping[str, TopicInfo]) -> None:
        """Register all schemas, several at a time: each takes the registry a round trip."""
        with ThreadPoolExecutor(REGISTRY_THREADS, thread_name_prefix="registry") as pool:
            ids = list(pool.map(self._registry.register, infos.values()))
        for (name, info), schema_id in zip(infos.items(), ids, strict=True):
            self._codecs[name] = TopicCodec(info, schema_id, self._registry)

    def _assign(self, consumer: Consumer, partitions: Mapping[str, list[int]]) -> None:
        """Begin at the end of each topic, or as far before it as its history reaches."""
        pairs = [(name, partition) for name in self._reads for partition in partitions[name]]
        lows = self._offsets(consumer, pairs, _EARLIEST)
        highs = self._offsets(consumer, pairs, _LATEST)
        starts = []
        for name, partition in pairs:
            low, high = lows[name, partition], highs[name, partition]
            request = self._reads[name]
            start = max(high, 0)
            if request.history > 0 and high > low:
                start = max(high - request.history, low)
                self.history_ends[request.topic_info.attr_name] = high - 1
            starts.append(TopicPartition(name, partition, start))
        consumer.assign(starts)

    def _offsets(self, consumer: Consumer, pairs: list[tuple[str, int]], end: int) -> dict[tuple[str, int], int]:
        """Return the offset of one end of each partition, with one request for all of them."""
        answer = consumer.offsets_for_times([TopicPartition(*pair, end) for pair in pairs], timeout=BROKER_LIMIT)
        failed = [item for item in answer if item.error is not None]
        if failed:
            raise RuntimeError(
                f"{self._name_index} can't start: the Kafka broker does not give the offsets of {len(failed)} topics, "
                f"such as {failed[0].topic}: {failed[0].error.str()}"
            )
        return {(item.topic, item.partition): item.offset for item in answer}

    def _decode(self, message: Message) -> Sample | None:
        """Return a message as a sample; trouble is logged."""
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return Sample(self._reads[message.topic()].topic_info.attr_name, message.offset(), None)
            self._log_sometimes("kafka", f"Kafka reports {error.str()} for {message.topic() or 'all topics'}")
            return None
        name = message.topic()
        attr_name = self._reads[name].topic_info.attr_name
        try:
            data = self._codecs[name].decode(message.value())
        except Exception as decode_error:
            self._log_sometimes(name, f"a message of {name} can't be read: {decode_error!r}", exc_info=True)
            return Sample(attr_name, message.offset(), None)
        data["private_rcvStamp"] = utils.current_tai()
        return Sample(attr_name, message.offset(), data)

    def _log_sometimes(self, key: str, text: str, exc_info: bool = False) -> None:
        count = self._error_counts[key] = self._error_counts.get(key, 0) + 1
        if count == 1:
            self._log.error(f"{self._name_index}: {text}", exc_info=exc_info)
        elif count % LOG_EVERY == 0:
            self._log.error(f"{self._name_index}: {text} ({count} such errors so far)")

    # ---- in any thread --------------------------------------------------------------------------------------------

    def send(self, topic_info: TopicInfo, key: str, data: dict[str, Any]) -> None:
        """Hand a message over to librdkafka, which sends it at once and in order.

        Raises
        ------
        BufferError
            If too many messages wait to be sent.
        RuntimeError
            If the link is closed.
        TypeError, ValueError, OverflowError
            If a field's value doesn't fit its type.
        """
        producer = self._producer
        if producer is None:
            raise RuntimeError(f"{self._name_index} is closed: {topic_info.sal_name} can't be written")
        value = self._codecs[topic_info.kafka_name].encode(data)
        producer.produce(topic_info.kafka_name, value, key, on_delivery=self._make_report(topic_info))

    def serve_reports(self) -> int:
        """Look at the delivery reports that have come; return how many messages are still under way."""
        producer = self._producer
        if producer is None:
            return 0
        producer.poll(0)
        return len(producer)

    def _make_report(self, topic_info: TopicInfo) -> Callable[[KafkaError | None, Message], None]:
        sent_at = time.monotonic()

        def report(error: KafkaError | None, message: Message) -> None:
            now = time.monotonic()
            duration = now - sent_at
            if error is not None:
                kafka_log.error(f"{self._name_index}: {topic_info.sal_name} was not delivered: {error.str()}")
            elif duration > SLOW_DELIVERY and now > self._next_slow_warning:
                self._next_slow_warning = now + SLOW_DELIVERY_PAUSE
                kafka_log.warning(f"{self._name_index}: {topic_info.sal_name} took {duration:.2f} s to be delivered")

        return report
