# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A SAL component on Kafka: what its readers and writers share."""

from __future__ import annotations

import asyncio
import logging
import types
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from lsst.ts.xml.topic_info import TopicInfo

from . import kafka_configuration
from .domain import Domain
from .kafka_link import KafkaLink, ReadRequest
from .sal_component import SalComponent
from .sample_sorter import SampleSorter
from .topics.ackcmd import AckCmdReader, AckCmdWriter

if TYPE_CHECKING:
    from .topics.read_topic import ReadTopic
    from .topics.running_command import RunningCommand
    from .topics.write_topic import WriteTopic

__all__ = ["SalInfo"]

T = TypeVar("T")

# Public names of the original.
MAX_HISTORY_READ = kafka_configuration.DEFAULT_MAX_HISTORY_READ
MAX_LOG_LEVEL = logging.INFO  # loggers of components are at least as verbose

# Time limits and intervals, in seconds.
HISTORY_LIMIT = 60.0  # for all old messages to be read
REPORT_INTERVAL = 0.025  # between looks at delivery reports while messages are under way
FULL_QUEUE_LIMIT = 10.0  # for room in librdkafka's queue
FULL_QUEUE_INTERVAL = 0.01
READ_ERROR_PAUSE = 1.0  # after a failed read


class SalInfo(SalComponent):
    """Readers and writers of the topics of one component, with one Kafka consumer and one producer.

    Parameters
    ----------
    domain : `Domain`
        Owner.
    name : `str`
        Name of the SAL component.
    index : `int`
        SAL index; 0 for a component that is not indexed, and to read all indices.
    write_only : `bool`
        Read nothing at all?
    num_messages : `int`
        How many messages to wait for at a time; all that came with them are read too.
    consume_messages_timeout : `float`
        How long to wait for so many messages (seconds); closing takes up to that long.
    discard_out_of_order_telemetry, discard_out_of_order_events : `bool`
        Drop a sample that was sent earlier than one that has been seen?

    Raises
    ------
    TypeError
        If ``domain`` or ``index`` has the wrong type.
    ValueError
        If there is no such component, or it is not indexed and ``index`` is not 0.
    RuntimeError
        If environment variable LSST_TOPIC_SUBNAME is not set.
    """

    def __init__(
        self,
        domain: Domain,
        name: str,
        index: int = 0,
        write_only: bool = False,
        num_messages: int = 1,
        consume_messages_timeout: float = 0.1,
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if not isinstance(domain, Domain):
            raise TypeError(f"domain {domain!r} must be an lsst.ts.salobj.Domain")
        self.isopen = False  # until everything is made
        super().__init__(name, index, domain.default_identity)
        self.domain = domain
        self.write_only = write_only
        self.num_messages = num_messages
        self.consume_messages_timeout = consume_messages_timeout
        self.schema_registry_url = kafka_configuration.schema_registry_url()
        self.kafka_broker_addr = kafka_configuration.broker_address()
        self.log = logging.getLogger(name)
        if self.log.getEffectiveLevel() > MAX_LOG_LEVEL:
            self.log.setLevel(MAX_LOG_LEVEL)
        # Commands that were sent and are not finished, by private_seqNum.
        self.running_commands: dict[int, RunningCommand] = {}
        self._readers: dict[str, ReadTopic] = {}
        self._writers: dict[str, WriteTopic] = {}
        self._sorter = SampleSorter(self.log, discard_out_of_order_events, discard_out_of_order_telemetry)
        self._link: KafkaLink | None = None
        # All that blocks is done in this one thread, in order.
        self._worker = ThreadPoolExecutor(1, thread_name_prefix=f"salobj {self.name_index}")
        self._read_task: asyncio.Task[None] | None = None
        self._report_task: asyncio.Task[None] | None = None
        self._written = asyncio.Event()
        self.start_called = False
        self.start_task: asyncio.Future[None] = asyncio.Future()
        self.done_task: asyncio.Future[None] = asyncio.Future()
        domain.add_salinfo(self)
        self.isopen = True

    @property
    def started(self) -> bool:
        """Was it started with success? It may be closed since."""
        task = self.start_task
        return task.done() and not task.cancelled() and task.exception() is None

    @property
    def running(self) -> bool:
        """Is it started, and open?"""
        return self.isopen and self.started

    def assert_started(self) -> None:
        """Raise `RuntimeError` unless it was started with success."""
        if not self.started:
            raise RuntimeError(f"{self} is not started")

    def assert_running(self) -> None:
        """Raise `RuntimeError` unless it is started and open."""
        if not self.running:
            raise RuntimeError(f"{self} is not running")

    def get_broker_client_configuration(self) -> dict[str, Any]:
        """Return librdkafka's settings to reach the broker."""
        return kafka_configuration.broker_client_configuration()

    def add_reader(self, topic: ReadTopic) -> None:
        """Take over a reader; `RuntimeError` once started or if write-only, `ValueError` if the topic has one."""
        if self.write_only:
            raise RuntimeError(f"{topic} can't be added: {self} only writes")
        self._add(self._readers, topic)

    def add_writer(self, topic: WriteTopic) -> None:
        """Take over a writer; `RuntimeError` after the start, `ValueError` if the topic has one."""
        self._add(self._writers, topic)

    def _add(self, table: dict[str, Any], topic: ReadTopic | WriteTopic) -> None:
        if self.start_called:
            raise RuntimeError(f"{topic} can't be added: {self} has been started")
        if topic.attr_name in table:
            raise ValueError(f"{self} has a {topic.attr_name} already")
        table[topic.attr_name] = topic

    def remove_reader(self, topic: ReadTopic) -> None:
        """Close a reader; what comes for its topic is ignored from now on."""
        topic.basic_close()
        self._readers.pop(topic.attr_name, None)

    def ensure_ackcmd_reader(self) -> AckCmdReader:
        """Return the reader of acknowledgements; the first call makes it."""
        reader = self._readers.get("ack_ackcmd")
        return reader if isinstance(reader, AckCmdReader) else AckCmdReader(self)

    def ensure_ackcmd_writer(self) -> AckCmdWriter:
        """Return the writer of acknowledgements; the first call makes it."""
        writer = self._writers.get("ack_ackcmd")
        return writer if isinstance(writer, AckCmdWriter) else AckCmdWriter(self)

    async def start(self) -> None:
        """Connect to Kafka, read old samples, and begin to read new ones.

        Raises
        ------
        RuntimeError
            If it was called before, or broker or registry can't be used.
        """
        if self.start_called:
            raise RuntimeError(f"{self}: start was called before")
        self.start_called = True
        try:
            await self._start()
        except BaseException as error:
            if not self.start_task.done():
                if isinstance(error, Exception):
                    self.start_task.set_exception(error)
                    self.start_task.exception()  # it is raised here: not a "never retrieved" one
                else:
                    self.start_task.cancel()
            raise
        if not self.start_task.done():
            self.start_task.set_result(None)

    async def _start(self) -> None:
        if not self.isopen:
            raise RuntimeError(f"{self} is closed")
        reads = [] if self.write_only else [self._read_request(reader) for reader in self._readers.values()]
        writes = [writer.topic_info for writer in self._writers.values()]
        self._link = KafkaLink(self.name_index, self.group_id, reads, writes, self.log)
        await self._in_worker(self._link.open)
        if not self.isopen:
            raise RuntimeError(f"{self} was closed before it had started")
        if writes:
            self._report_task = asyncio.create_task(self._report_loop(), name=f"{self} delivery reports")
        if reads:
            self._sorter.begin_history(self._link.history_ends)
            self._read_task = asyncio.create_task(self._read_loop(), name=f"{self} read loop")
            await self._wait_for_history()

    def _read_request(self, reader: ReadTopic) -> ReadRequest:
        history = reader.max_history
        if history > 0 and self.indexed:
            history = self.get_max_history_for_indexed_component()
        return ReadRequest(reader.topic_info, history)

    def get_max_history_for_indexed_component(self) -> int:
        """Return how many old messages are looked at to find the last one of each index."""
        return kafka_configuration.max_history_read(self.name)

    async def _wait_for_history(self) -> None:
        done = asyncio.ensure_future(self._sorter.history_done.wait())
        assert self._read_task is not None
        try:
            await asyncio.wait([done, self._read_task], timeout=HISTORY_LIMIT, return_when=asyncio.FIRST_COMPLETED)
        finally:
            done.cancel()
        if not self._sorter.history_done.is_set():
            unread = ", ".join(self._sorter.unread_topics)
            raise RuntimeError(
                f"{self} can't start: the old samples of {unread} were not read within {HISTORY_LIMIT} s"
            )

    async def write_data(self, topic_info: TopicInfo, data_dict: dict[str, Any]) -> None:
        """Hand a message over to librdkafka; its delivery is not waited for.

        Parameters
        ----------
        topic_info : `TopicInfo`
            The topic.
        data_dict : `dict` [`str`, `Any`]
            Values of all its fields.

        Raises
        ------
        RuntimeError
            If it is not running, or the broker takes nothing any more.
        TypeError, ValueError, OverflowError
            If a field's value doesn't fit its type.
        """
        self.assert_running()
        assert self._link is not None
        key = self._kafka_key(topic_info)
        for _ in range(round(FULL_QUEUE_LIMIT / FULL_QUEUE_INTERVAL)):
            try:
                self._link.send(topic_info, key, data_dict)
                break
            except BufferError:
                self._link.serve_reports()
                await asyncio.sleep(FULL_QUEUE_INTERVAL)
        else:
            raise RuntimeError(
                f"{self}: {topic_info.sal_name} was not written: the Kafka broker at {self.kafka_broker_addr} takes no "
                "messages, and too many wait already"
            )
        self._written.set()
        # A loop that writes and never waits would stop everything else in this process.
        await asyncio.sleep(0)

    def basic_close(self) -> None:
        """Close without waiting; for a constructor that fails. Otherwise use `close`."""
        if not self.isopen:
            return
        self._begin_closing()
        if self._link is not None:
            self._worker.submit(self._link.close)
        self._finish_closing()

    async def close(self) -> None:
        """End reading and writing, and wait until the Kafka clients are closed."""
        if not self.isopen:
            await self.done_task
            return
        self._begin_closing()
        try:
            tasks = [task for task in (self._read_task, self._report_task) if task is not None]
            await asyncio.gather(*tasks, return_exceptions=True)
            if self._link is not None:
                await self._in_worker(self._link.close)
        finally:
            self._finish_closing()

    async def __aenter__(self) -> SalInfo:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()

    def _begin_closing(self) -> None:
        self.isopen = False
        if self._link is not None:
            self._link.stop()
        for reader in self._readers.values():
            reader.basic_close()
        for running in list(self.running_commands.values()):
            running.abort(f"{self.name_index} was closed on this side")
        for task in (self._read_task, self._report_task):
            if task is not None:
                task.cancel()

    def _finish_closing(self) -> None:
        self._worker.shutdown(wait=False)
        self.domain.remove_salinfo(self)
        if not self.done_task.done():
            self.done_task.set_result(None)

    async def _in_worker(self, function: Callable[..., T], *args: Any) -> T:
        """Run something that blocks in this object's one thread."""
        return await asyncio.get_running_loop().run_in_executor(self._worker, function, *args)

    async def _read_loop(self) -> None:
        """Read messages and give them to the readers, until it is closed."""
        assert self._link is not None
        self.domain.num_read_loops += 1
        try:
            while self.isopen:
                try:
                    samples = await self._in_worker(self._link.read, self.num_messages, self.consume_messages_timeout)
                except Exception:
                    self.log.exception(f"{self}: reading from Kafka failed")
                    await asyncio.sleep(READ_ERROR_PAUSE)
                    continue
                for sample in samples:
                    self._deliver(sample.attr_name, sample.offset, sample.data)
                    # Lets what waits for a sample take it before the next one comes.
                    await asyncio.sleep(0)
        finally:
            self.domain.num_read_loops -= 1

    def _deliver(self, attr_name: str, offset: int, data: dict[str, Any] | None) -> None:
        """Give a sample to its reader, if it is for it and not out of order."""
        reader = self._readers.get(attr_name)
        if data is not None and (reader is None or not reader._accepts(data)):
            data = None
        for accepted in self._sorter.sort(attr_name, offset, data):
            assert reader is not None
            try:
                reader._queue_data(accepted)
            except Exception:
                self.log.exception(f"{self}: reader of {attr_name} failed with data={accepted}")

    async def _report_loop(self) -> None:
        """Look at delivery reports while messages are under way."""
        assert self._link is not None
        while True:
            await self._written.wait()
            if self._link.serve_reports() == 0:
                self._written.clear()
            await asyncio.sleep(REPORT_INTERVAL)
