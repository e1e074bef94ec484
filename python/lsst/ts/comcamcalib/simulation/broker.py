# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A Kafka broker inside this process, for machines that have none.

librdkafka, on which every confluent_kafka client stands, carries a mock cluster that speaks the Kafka protocol on
loopback and runs in threads of its own. Its C API is reached through ctypes, because confluent_kafka itself offers only
four partitions a topic and a rebalance delay of three seconds.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import logging
import pathlib
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from types import TracebackType

import confluent_kafka

from .broker_requests import DELETE_GROUPS, serve_request
from .faults import Fault

__all__ = ["BrokerError", "EmbeddedBroker"]

_PRODUCER = 0  # rd_kafka_type_t: a cluster hangs on any client handle
_BROKER_ID = 1  # the mock cluster counts its brokers from 1
_PRODUCE_API_KEY = 0  # Kafka's number of the Produce request
_ERROR_TEXT_BYTES = 512  # as librdkafka's own examples have it
# The mock cluster's thread drains its wake-up pipe after it has served requests: one that comes in between waits 1 s.
# This pause lets the thread get back to its pipe (measured: 100 topics in 0.1 s instead of 15 s).
_SETTLE_S = 0.001

# name, result type, argument types; ctypes would truncate pointers without them.
_SIGNATURES: tuple[tuple[str, type | None, tuple[type, ...]], ...] = (
    ("rd_kafka_conf_new", ctypes.c_void_p, ()),
    ("rd_kafka_conf_set_log_cb", None, (ctypes.c_void_p, ctypes.c_void_p)),
    ("rd_kafka_new", ctypes.c_void_p, (ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)),
    ("rd_kafka_destroy", None, (ctypes.c_void_p,)),
    ("rd_kafka_mock_cluster_new", ctypes.c_void_p, (ctypes.c_void_p, ctypes.c_int)),
    ("rd_kafka_mock_cluster_destroy", None, (ctypes.c_void_p,)),
    ("rd_kafka_mock_cluster_bootstraps", ctypes.c_char_p, (ctypes.c_void_p,)),
    ("rd_kafka_mock_topic_create", ctypes.c_int, (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)),
    ("rd_kafka_mock_group_initial_rebalance_delay_ms", None, (ctypes.c_void_p, ctypes.c_int32)),
    ("rd_kafka_mock_broker_set_down", ctypes.c_int, (ctypes.c_void_p, ctypes.c_int32)),
    ("rd_kafka_mock_broker_set_up", ctypes.c_int, (ctypes.c_void_p, ctypes.c_int32)),
    ("rd_kafka_mock_broker_set_rtt", ctypes.c_int, (ctypes.c_void_p, ctypes.c_int32, ctypes.c_int)),
    (
        "rd_kafka_mock_push_request_errors_array",
        None,
        (ctypes.c_void_p, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(ctypes.c_int)),
    ),
    ("rd_kafka_mock_clear_request_errors", None, (ctypes.c_void_p, ctypes.c_int16)),
    (
        "rd_kafka_mock_set_apiversion",
        ctypes.c_int,
        (ctypes.c_void_p, ctypes.c_int16, ctypes.c_int16, ctypes.c_int16),
    ),
)


class BrokerError(RuntimeError):
    """The embedded broker can't do what was asked of it."""


class EmbeddedBroker:
    """A Kafka cluster of one broker on 127.0.0.1, on a port that the system chooses, in memory only.

    It keeps about 5 MB a partition, has no compaction, and does not serve the admin requests CreateTopics, DeleteTopics
    and DeleteGroups (see `broker_requests`); topics are made with `create_topics`. A process that forks must not touch
    it in the child.

    Use it as a context manager, or call `start` and `close`. All methods take a few milliseconds at most, except
    `start` (0.5 to 0.8 s) and `create_topics` (about 1 ms a topic), and may be called from any thread.
    """

    def __init__(self) -> None:
        self._log = logging.getLogger(__name__)
        self._library: ctypes.CDLL | None = None
        self._client: int | None = None
        self._cluster: int | None = None
        self._address = ""
        self._topics: set[str] = set()
        self._recovery: threading.Timer | None = None  # comes up again after a time

    def __enter__(self) -> EmbeddedBroker:
        self.start()
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def address(self) -> str:
        """The ``host:port`` that clients need as ``bootstrap.servers``; "" before `start` and after `close`."""
        return self._address

    @property
    def topics(self) -> frozenset[str]:
        """The names of the topics that were created through this object."""
        return frozenset(self._topics)

    def start(self) -> None:
        """Start the broker, which accepts connections from now on.

        Raises
        ------
        BrokerError
            If librdkafka's shared library is not found, lacks the mock cluster, or can't start it.
        """
        if self._cluster is not None:
            raise BrokerError("The embedded broker was started twice; close it before it is started again.")
        library = _load_library()
        conf = library.rd_kafka_conf_new()
        library.rd_kafka_conf_set_log_cb(conf, None)  # it would complain on stderr about missing bootstrap.servers
        error = ctypes.create_string_buffer(_ERROR_TEXT_BYTES)
        client = library.rd_kafka_new(_PRODUCER, conf, error, _ERROR_TEXT_BYTES)
        if not client:
            raise BrokerError(f"librdkafka can't make a client handle for the embedded broker: {error.value.decode()}")
        cluster = library.rd_kafka_mock_cluster_new(client, 1)
        if not cluster:
            library.rd_kafka_destroy(client)
            raise BrokerError(
                "librdkafka can't start its mock cluster. Most likely no port on 127.0.0.1 can be opened; "
                "check the number of open files (ulimit -n)."
            )
        # Consumers would otherwise wait 3 s for others to join their group before the first message.
        library.rd_kafka_mock_group_initial_rebalance_delay_ms(cluster, 0)
        serve_request(library, cluster, DELETE_GROUPS)
        self._library, self._client, self._cluster = library, client, cluster
        self._address = library.rd_kafka_mock_cluster_bootstraps(cluster).decode()
        self._log.info("Embedded Kafka broker listens on %s", self._address)

    def close(self) -> None:
        """Stop the broker and forget its messages; harmless if it is not running."""
        if self._library is None:
            return
        self._end_recovery()
        library, client, cluster = self._library, self._client, self._cluster
        self._library = self._client = self._cluster = None
        self._address = ""
        self._topics.clear()
        library.rd_kafka_mock_cluster_destroy(cluster)
        library.rd_kafka_destroy(client)

    def create_topics(self, names: Iterable[str], partitions: int = 1) -> None:
        """Create topics; those that this object has created already are left as they are.

        Raises
        ------
        BrokerError
            If the broker refuses a name, or clients have made the topic already.
        """
        for name in names:
            if name in self._topics:
                continue
            self._check(f"create topic {name}", "rd_kafka_mock_topic_create", name.encode(), partitions, 1)
            self._topics.add(name)

    def set_down(self) -> None:
        """Drop all connections and refuse new ones until `set_up`; topics and messages are kept."""
        self._check("go down", "rd_kafka_mock_broker_set_down", _BROKER_ID)

    def set_up(self) -> None:
        """Accept connections again after `set_down`."""
        self._check("come up", "rd_kafka_mock_broker_set_up", _BROKER_ID)

    def set_round_trip_time(self, round_trip_s: float) -> None:
        """Delay every reply of the broker by this many seconds; 0 ends it."""
        self._check("set its round-trip time", "rd_kafka_mock_broker_set_rtt", _BROKER_ID, round(round_trip_s * 1000))

    def refuse_messages(self, count: int) -> None:
        """Answer the next ``count`` Produce requests with a topic authorisation error, which clients don't retry."""
        library, cluster = self._running("refuse messages")
        code = confluent_kafka.KafkaError.TOPIC_AUTHORIZATION_FAILED
        codes = (ctypes.c_int * count)(*([code] * count))
        library.rd_kafka_mock_push_request_errors_array(cluster, _PRODUCE_API_KEY, count, codes)

    def apply(self, faults: Iterable[Fault]) -> None:
        """Put faults of the place "kafka" into force at once; without any, the broker is sound again.

        The effects are ``down`` (value: seconds until it comes up by itself; 0 = never), ``slow`` (value: round-trip
        time in seconds; does not end by itself) and ``refuse`` (times: number of Produce requests).

        Raises
        ------
        BrokerError
            If an effect is not known.
        """
        library, cluster = self._running("apply faults")
        self._end_recovery()
        self.set_up()
        self.set_round_trip_time(0)
        library.rd_kafka_mock_clear_request_errors(cluster, _PRODUCE_API_KEY)
        for fault in faults:
            match fault.effect:
                case "down":
                    self.set_down()
                    if fault.value:
                        self._recovery = threading.Timer(fault.value, self.set_up)
                        self._recovery.daemon = True
                        self._recovery.start()
                case "slow":
                    self.set_round_trip_time(fault.value)
                case "refuse":
                    self.refuse_messages(fault.times or 1)
                case _:
                    raise BrokerError(f"The embedded broker knows no fault {fault.effect!r}; use down, slow or refuse.")

    def _end_recovery(self) -> None:
        """Don't come up by itself any more."""
        recovery, self._recovery = self._recovery, None
        if recovery is not None:
            recovery.cancel()
            recovery.join()

    def _running(self, action: str) -> tuple[ctypes.CDLL, int]:
        if self._library is None or self._cluster is None:
            raise BrokerError(f"The embedded broker can't {action}: it is not running. Start it first.")
        return self._library, self._cluster

    def _check(self, action: str, function: str, *arguments: object) -> None:
        """Call a function of the mock cluster that returns a Kafka error code, and raise on any but success."""
        library, cluster = self._running(action)
        code = getattr(library, function)(cluster, *arguments)
        time.sleep(_SETTLE_S)
        if code != confluent_kafka.KafkaError.NO_ERROR:
            reason = confluent_kafka.KafkaError(code).str()
            raise BrokerError(f"The embedded broker can't {action}: {reason} (Kafka error {code}).")


def _load_library() -> ctypes.CDLL:
    """Return librdkafka with the signatures of what is used of it.

    Raises
    ------
    BrokerError
        If it is not found, or is one without the mock cluster.
    """
    tried = []
    for path in _library_candidates():
        tried.append(path)
        try:
            library = ctypes.CDLL(path)
            for name, result, arguments in _SIGNATURES:
                function = getattr(library, name)
                function.restype = result
                function.argtypes = arguments
        except (OSError, AttributeError):
            continue
        return library
    raise BrokerError(
        "The embedded Kafka broker needs a librdkafka (2.3 or newer) with its mock cluster, and none was found "
        f"(tried: {', '.join(tried) or 'nothing'}). Install confluent-kafka from PyPI or librdkafka from conda-forge, "
        "or use a real broker."
    )


def _library_candidates() -> Iterator[str]:
    """Yield where librdkafka may be: in confluent_kafka's wheel, in this environment, where the system looks."""
    package = pathlib.Path(confluent_kafka.__file__).parent
    # auditwheel puts it beside the package on Linux, delocate into it on macOS.
    for folder in (package.parent / "confluent_kafka.libs", package / ".dylibs", pathlib.Path(sys.prefix) / "lib"):
        for pattern in ("librdkafka[-.]*so*", "librdkafka[-.]*dylib"):
            yield from (str(path) for path in sorted(folder.glob(pattern)))
    found = ctypes.util.find_library("rdkafka")
    if found:
        yield found
