# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A remote and a controller: samples, old samples, commands."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.salobj import SalRetCode, schema_registry
from lsst.ts.salobj.kafka_link import KafkaLink, ReadRequest

LIMIT = 10


async def until(condition: Callable[[], Any]) -> None:
    """Wait until a condition holds that tells nobody when it does."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def flushed(*controllers: salobj.Controller) -> None:
    """Wait until the broker has all that was written: the writer itself does not."""
    for controller in controllers:
        link = controller.salinfo._link
        assert link is not None
        await until(lambda link=link: link.serve_reports() == 0)


async def test_a_late_joiner_gets_the_last_event_and_no_old_telemetry(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        for i in range(3):
            await controller.evt_scalars.set_write(int0=i + 1)
            await controller.tel_scalars.set_write(int0=i + 1)
        await flushed(controller)
        async with salobj.Domain() as domain, salobj.Remote(domain, "Test", index) as remote:
            assert remote.evt_scalars.has_data
            assert remote.evt_scalars.get().int0 == 3
            assert (await remote.evt_scalars.aget()).int0 == 3
            assert remote.evt_scalars.nqueued == 1
            assert (await remote.evt_scalars.next(flush=False, timeout=LIMIT)).int0 == 3
            assert remote.evt_scalars.get_oldest() is None
            assert not remote.tel_scalars.has_data
            assert remote.tel_scalars.get() is None
            with pytest.raises(asyncio.TimeoutError):
                await remote.tel_scalars.aget(timeout=0.1)


async def test_history_can_be_refused(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        await controller.evt_scalars.set_write(int0=1)
        await flushed(controller)
        async with salobj.Domain() as domain, salobj.Remote(domain, "Test", index, evt_max_history=0) as remote:
            assert remote.evt_scalars.get() is None
            await controller.evt_scalars.set_write(int0=2)
            assert (await remote.evt_scalars.next(flush=False, timeout=LIMIT)).int0 == 2


async def test_a_reader_of_one_index_sees_only_that_one_and_index_0_sees_all(kafka: EmbeddedBroker, index: int) -> None:
    other = index + 500_000
    async with salobj.Controller("Test", index) as one, salobj.Controller("Test", other) as two:
        await one.evt_scalars.set_write(int0=1)
        await two.evt_scalars.set_write(int0=2)
        await flushed(one, two)
        async with (
            salobj.Domain() as domain,
            salobj.Remote(domain, "Test", index) as only_one,
            salobj.Remote(domain, "Test", 0, include=["scalars"]) as both,
        ):
            assert only_one.evt_scalars.get().int0 == 1
            old: dict[int, int] = {}
            while (sample := both.evt_scalars.get_oldest()) is not None:
                old[sample.salIndex] = sample.int0
            assert (old[index], old[other]) == (1, 2)
            for controller, value in ((two, 3), (one, 4)):
                await controller.evt_scalars.set_write(int0=value)
                assert (await both.evt_scalars.next(flush=False, timeout=LIMIT)).int0 == value
            assert [(await only_one.evt_scalars.next(flush=False, timeout=LIMIT)).int0 for _ in range(2)] == [1, 4]


async def test_two_thousand_events_arrive_all_and_in_order(kafka: EmbeddedBroker, index: int) -> None:
    count = 2000

    async def read(topic: Any) -> list[int]:
        return [(await topic.next(flush=False, timeout=LIMIT)).int0 for _ in range(count)]

    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as by_next,
        salobj.Remote(domain, "Test", index) as by_callback,
    ):
        seen: list[int] = []

        async def callback(sample: Any) -> None:
            seen.append(sample.int0)

        by_callback.evt_scalars.callback = callback
        reader = asyncio.create_task(read(by_next.evt_scalars))
        begin = time.monotonic()
        for i in range(count):
            await controller.evt_scalars.set_write(int0=i, force_output=True)
        assert await reader == list(range(count))
        duration = time.monotonic() - begin
        await until(lambda: len(seen) >= count)
        assert seen == list(range(count))
        assert count / duration > 700, "events a second, the slowest that was seen of the original"


async def test_a_read_waits_for_as_many_messages_as_it_was_told(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        info = controller.salinfo.component_info.topics["tel_scalars"]
        link = KafkaLink("reader", "reader", [ReadRequest(info, 0)], [], logging.getLogger())
        try:
            await asyncio.to_thread(link.open)
            reading = asyncio.create_task(asyncio.to_thread(link.read, 3, LIMIT))
            for number in range(3):
                await controller.tel_scalars.set_write(int0=number)
                await flushed(controller)  # so that they do not come together
            samples = await reading
            assert [sample.data["int0"] for sample in samples if sample.data is not None] == [0, 1, 2]
            ended = await asyncio.to_thread(link.read, 3, 0.1)  # at its time limit, with less
            assert all(sample.data is None for sample in ended)
        finally:
            await asyncio.to_thread(link.close)


async def test_waiting_readers_share_a_sample_and_queued_ones_go_to_one_each(kafka: EmbeddedBroker, index: int) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):
        topic = remote.evt_scalars
        waiting = [asyncio.create_task(topic.next(flush=False, timeout=LIMIT)) for _ in range(2)]
        impatient = asyncio.create_task(topic.next(flush=False, timeout=0.01))
        with pytest.raises(asyncio.TimeoutError):
            await impatient
        await controller.evt_scalars.set_write(int0=1)
        assert [sample.int0 for sample in await asyncio.gather(*waiting)] == [1, 1]
        assert topic.nqueued == 0
        for value in (2, 3):
            await controller.evt_scalars.set_write(int0=value)
        await until(lambda: topic.nqueued >= 2)
        samples = await asyncio.gather(*(topic.next(flush=False, timeout=LIMIT) for _ in range(2)))
        assert [sample.int0 for sample in samples] == [2, 3]


async def test_a_full_queue_drops_the_oldest(kafka: EmbeddedBroker, index: int, domain: salobj.Domain) -> None:
    salinfo = salobj.SalInfo(domain, "Test", index)
    reader = salobj.topics.RemoteEvent(salinfo, "scalars", queue_len=11)
    writer = salobj.topics.ControllerEvent(salinfo, "scalars")
    await salinfo.start()
    for i in range(15):
        await writer.set_write(int0=i + 1)
    await until(lambda: reader.has_data and reader.get().int0 >= 15)
    assert reader.nqueued == 11
    assert reader.get_oldest().int0 == 5


async def test_a_callback_excludes_waiting_and_its_failure_is_logged(
    kafka: EmbeddedBroker, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):
        topic = remote.evt_scalars
        seen: asyncio.Queue[int] = asyncio.Queue()

        async def callback(sample: Any) -> None:
            seen.put_nowait(sample.int0)
            if sample.int0 == 1:
                raise RuntimeError("the first one is bad")

        topic.callback = callback
        assert topic.has_callback
        for value in (1, 2):
            await controller.evt_scalars.set_write(int0=value)
        assert [await asyncio.wait_for(seen.get(), LIMIT) for _ in range(2)] == [1, 2]
        assert "the first one is bad" in caplog.text
        for call in (topic.get_oldest, topic.flush):
            with pytest.raises(RuntimeError, match="has a callback"):
                call()
        for coroutine in (topic.next(flush=False), topic.aget()):
            with pytest.raises(RuntimeError, match="has a callback"):
                await coroutine
        assert topic.get().int0 == 2
        topic.callback = None
        await controller.evt_scalars.set_write(int0=3)
        assert (await topic.next(flush=False, timeout=LIMIT)).int0 == 3
        with pytest.raises(TypeError, match="not callable"):
            topic.callback = 5
        with pytest.warns(DeprecationWarning, match="coroutine function"):
            topic.callback = print


async def test_callbacks_run_one_at_a_time_unless_several_are_allowed(kafka: EmbeddedBroker, index: int) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):
        for several, expected in ((False, 1), (True, 3)):
            running = most = 0
            enough = asyncio.Barrier(expected)
            done: asyncio.Queue[int] = asyncio.Queue()

            async def callback(sample: Any, enough: asyncio.Barrier = enough, done: asyncio.Queue[int] = done) -> None:
                nonlocal running, most
                running += 1
                most = max(most, running)
                await enough.wait()
                await asyncio.sleep(0.2)
                running -= 1
                done.put_nowait(sample.int0)

            remote.tel_scalars.allow_multiple_callbacks = several
            remote.tel_scalars.callback = callback
            for i in range(3):
                await controller.tel_scalars.set_write(int0=i)
            assert sorted([await asyncio.wait_for(done.get(), LIMIT) for _ in range(3)]) == [0, 1, 2]
            assert most == expected


async def test_topics_can_be_left_out(kafka: EmbeddedBroker, index: int, domain: salobj.Domain) -> None:
    remote = salobj.Remote(domain, "Test", index, include=["scalars"], readonly=True, start=False)
    assert hasattr(remote, "evt_scalars")
    assert hasattr(remote, "tel_scalars")
    for name in ("evt_arrays", "cmd_wait", "start_task"):
        assert not hasattr(remote, name)
    assert not hasattr(salobj.Remote(domain, "Test", index, include=[], start=False), "evt_scalars")
    without = salobj.Remote(domain, "Test", index, exclude=["scalars"], start=False)
    assert not hasattr(without, "tel_scalars")
    assert hasattr(without, "evt_arrays")
    with pytest.raises(ValueError, match="can't both"):
        salobj.Remote(domain, "Test", index, include=[], exclude=[])


async def test_a_remote_that_has_not_started_refuses(kafka: EmbeddedBroker, index: int, domain: salobj.Domain) -> None:
    remote = salobj.Remote(domain, "Test", index, start=False)
    for use in (lambda: remote.evt_scalars.has_data, remote.evt_scalars.get):
        with pytest.raises(RuntimeError, match="not started"):
            use()
    with pytest.raises(RuntimeError, match="not running"):
        await remote.cmd_wait.set_start()
    for write in (remote.cmd_wait.set_write, remote.cmd_wait.write):
        with pytest.raises(NotImplementedError):
            await write()
    await remote.start()
    with pytest.raises(RuntimeError, match="called before"):
        await remote.start()
    with pytest.raises(RuntimeError, match="has been started"):
        salobj.topics.RemoteEvent(remote.salinfo, "scalars")
    await remote.close()
    with pytest.raises(RuntimeError, match="not running"):
        await remote.cmd_wait.set_start()
    assert domain.isopen


async def test_what_a_sal_info_refuses(kafka: EmbeddedBroker, domain: salobj.Domain) -> None:
    with pytest.raises(TypeError, match="Domain"):
        salobj.SalInfo(None, "Test")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integer"):
        salobj.SalInfo(domain, "Test", "1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not indexed"):
        salobj.SalInfo(domain, "CCOODS", 1)
    with pytest.raises(ValueError, match="no SAL component"):
        salobj.SalInfo(domain, "Nonsense")
    with utils.modify_environ(LSST_TOPIC_SUBNAME=None), pytest.raises(RuntimeError, match="LSST_TOPIC_SUBNAME"):
        salobj.SalInfo(domain, "Test")
    salinfo = salobj.SalInfo(domain, "Test", 1)
    salobj.topics.RemoteEvent(salinfo, "scalars")
    with pytest.raises(ValueError, match="already"):
        salobj.topics.RemoteEvent(salinfo, "scalars")
    with pytest.raises(RuntimeError, match="no topic"):
        salobj.topics.RemoteEvent(salinfo, "nonsense")
    for kwargs in ({"max_history": -1}, {"queue_len": 10}, {"max_history": 101}):
        with pytest.raises(ValueError, match="must be"):
            salobj.topics.RemoteEvent(salinfo, "arrays", **kwargs)
    with pytest.raises(ValueError, match="reader of all indices"):
        salobj.topics.RemoteEvent(salobj.SalInfo(domain, "Test", 0), "scalars", max_history=2)


# ---- commands -----------------------------------------------------------------------------------------------------


async def test_the_outcome_of_a_callback_is_acknowledged(
    kafka: EmbeddedBroker, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    outcomes: dict[str, tuple[Any, int, int, str]] = {
        "nothing": (None, SalRetCode.CMD_COMPLETE, 0, "Done"),
        "expected": (salobj.ExpectedError("as foreseen"), SalRetCode.CMD_FAILED, 1, "Failed: as foreseen"),
        "error": (ValueError("a surprise"), SalRetCode.CMD_FAILED, 1, "Failed: a surprise"),
        "timeout": (TimeoutError(), SalRetCode.CMD_TIMEOUT, 1, "Timeout"),
        "cancelled": (asyncio.CancelledError(), SalRetCode.CMD_ABORTED, 1, "Aborted"),
    }
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):

        async def callback(data: Any) -> Any:
            if data.string0 == "own":
                return controller.salinfo.make_ackcmd(data.private_seqNum, SalRetCode.CMD_STALLED, 7, "my own")
            outcome = outcomes[data.string0][0]
            if outcome is not None:
                raise outcome
            return None

        controller.cmd_setScalars.callback = callback
        for name, (_, ack, error, result) in outcomes.items():
            try:
                ackcmd = await remote.cmd_setScalars.set_start(string0=name, timeout=LIMIT)
            except salobj.AckError as raised:
                ackcmd = raised.ackcmd
            assert (ackcmd.ack, ackcmd.error, ackcmd.result) == (ack, error, result), name
        with salobj.assertRaisesAckError(ack=SalRetCode.CMD_STALLED, error=7, result_contains="my own"):
            await remote.cmd_setScalars.set_start(string0="own", timeout=LIMIT)
        assert not remote.salinfo.running_commands
    assert "a surprise" in caplog.text
    assert "as foreseen" not in caplog.text


async def test_a_command_in_progress_may_take_longer(kafka: EmbeddedBroker, index: int) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):

        async def wait(data: Any) -> None:
            await controller.cmd_wait.ack_in_progress(data, timeout=LIMIT, result="please wait")
            await asyncio.sleep(data.duration)

        controller.cmd_wait.callback = wait
        ackcmd = await remote.cmd_wait.set_start(duration=2.2, timeout=2)
        assert ackcmd.ack == SalRetCode.CMD_COMPLETE
        first = await remote.cmd_wait.set_start(duration=1, timeout=LIMIT, wait_done=False)
        assert (first.ack, first.result, first.timeout) == (SalRetCode.CMD_INPROGRESS, "please wait", LIMIT)
        final = await remote.cmd_wait.next_ackcmd(first, timeout=LIMIT)
        assert final.ack == SalRetCode.CMD_COMPLETE
        with pytest.raises(RuntimeError, match="unknown or finished"):
            await remote.cmd_wait.next_ackcmd(final)
        first = await remote.cmd_wait.set_start(duration=1, timeout=LIMIT, wait_done=False)
        # An acknowledgement that was taken already does not prolong the waiting for the next one.
        with salobj.assertRaisesAckTimeoutError(ack=SalRetCode.CMD_INPROGRESS):
            await remote.cmd_wait.next_ackcmd(first, timeout=0.1)


async def test_a_command_that_nobody_receives_times_out(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Domain() as domain, salobj.Remote(domain, "Test", index) as remote:
        with salobj.assertRaisesAckTimeoutError(
            ack=SalRetCode.CMD_NOACK, result_contains="No command acknowledgement seen"
        ):
            await remote.cmd_wait.set_start(timeout=0.1)
        assert not remote.salinfo.running_commands
        waiting = asyncio.create_task(remote.cmd_wait.set_start(timeout=LIMIT))
        await asyncio.sleep(0.05)
        await remote.close()
        with salobj.assertRaisesAckError(ack=SalRetCode.CMD_NOACK, result_contains="closed on this side"):
            await waiting


async def test_set_resets_what_was_set_before_and_refuses_unknown_fields(
    kafka: EmbeddedBroker, index: int, domain: salobj.Domain
) -> None:
    remote = salobj.Remote(domain, "Test", index, start=False)
    remote.cmd_setScalars.set(int0=5, string0="x")
    remote.cmd_setScalars.set(string0="y", int0=None)
    assert (remote.cmd_setScalars.data.int0, remote.cmd_setScalars.data.string0) == (0, "y")
    with pytest.raises(AttributeError, match="nonsense"):
        remote.cmd_setScalars.set(nonsense=1)


async def test_acknowledgements_of_others_are_not_mine(kafka: EmbeddedBroker, index: int) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):
        running = asyncio.create_task(remote.cmd_setScalars.set_start(timeout=LIMIT))
        command = await controller.cmd_setScalars.next(timeout=LIMIT)
        for change in ({"private_identity": "another"}, {"private_origin": command.private_origin + 1}):
            theirs = controller.cmd_setScalars.DataType(**(vars(command) | change))
            ackcmd = controller.salinfo.make_ackcmd(theirs.private_seqNum, SalRetCode.CMD_FAILED)
            await controller.cmd_setScalars.ack(theirs, ackcmd)
        mine = controller.salinfo.make_ackcmd(command.private_seqNum, SalRetCode.CMD_COMPLETE, result="for you")
        await controller.cmd_setScalars.ack(command, mine)
        assert (await running).result == "for you"


async def test_log_records_become_events_also_from_threads(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Domain() as domain, salobj.Remote(domain, "Test", index) as remote:
        controller = salobj.Controller("Test", index)
        controller.log.warning("before the start")
        await controller.start_task
        try:
            await asyncio.to_thread(controller.log.error, "from a thread")
            try:
                raise ValueError("with a traceback")
            except ValueError:
                controller.log.exception("caught")
            messages = []
            while len(messages) < 3:
                message = await remote.evt_logMessage.next(flush=False, timeout=LIMIT)
                if message.level >= logging.WARNING:
                    messages.append(message)
            assert [m.message for m in messages] == ["before the start", "from a thread", "caught"]
            assert messages[1].level == logging.ERROR
            assert messages[1].name == "Test"
            assert "ValueError: with a traceback" in messages[2].traceback
            assert messages[2].filePath == __file__
            assert messages[2].lineNumber > 0
            assert messages[2].functionName
        finally:
            await controller.close()


# ---- when Kafka is not as it should be ----------------------------------------------------------------------------


async def test_missing_topics_are_named_if_the_broker_does_not_create_them(
    kafka: EmbeddedBroker, index: int, domain: salobj.Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.salobj.kafka_link.TOPICS_LIMIT", 0.3)
    monkeypatch.setattr("lsst.ts.salobj.kafka_link.ADMIN_LIMIT", 1.0)
    with utils.modify_environ(LSST_TOPIC_SUBNAME="nowhere"):
        remote = salobj.Remote(domain, "Test", index)
    with pytest.raises(RuntimeError, match=r"24 of its 24 Kafka topics \(lsst.nowhere.Test..*don't exist"):
        await remote.start_task
    assert not remote.salinfo.started
    await remote.close()


async def test_topics_that_come_later_are_waited_for(
    kafka: EmbeddedBroker, index: int, domain: salobj.Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lsst.ts.salobj.kafka_link.ADMIN_LIMIT", 0.5)
    with utils.modify_environ(LSST_TOPIC_SUBNAME="later"):
        remote = salobj.Remote(domain, "Test", index)
    await asyncio.sleep(0.2)
    names = [info.kafka_name for info in remote.salinfo.component_info.topics.values()]
    await asyncio.to_thread(kafka.create_topics, names)
    await asyncio.wait_for(remote.start_task, LIMIT)


async def test_a_missing_broker_is_named(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lsst.ts.salobj.kafka_link.BROKER_LIMIT", 0.5)
    with utils.modify_environ(LSST_KAFKA_BROKER_ADDR="127.0.0.1:9", LSST_TOPIC_SUBNAME="test"):
        async with salobj.Domain() as domain:
            remote = salobj.Remote(domain, "Test", index)
            with pytest.raises(RuntimeError, match=r"no Kafka broker answered at 127.0.0.1:9"):
                await remote.start_task


async def test_a_missing_registry_is_named(
    kafka: EmbeddedBroker, index: int, domain: salobj.Domain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(schema_registry.CLIENT_SETTINGS, "max.retries", 0)
    with utils.modify_environ(LSST_SCHEMA_REGISTRY_URL="http://127.0.0.1:9"):
        remote = salobj.Remote(domain, "Test", index)
        with pytest.raises(RuntimeError, match=r"registry at http://127.0.0.1:9 did not register"):
            await remote.start_task


async def test_a_remote_can_be_closed_while_it_starts(kafka: EmbeddedBroker, index: int, domain: salobj.Domain) -> None:
    remote = salobj.Remote(domain, "Test", index)
    await asyncio.sleep(0)
    await asyncio.wait_for(remote.close(), LIMIT)
    assert remote.start_task.done()


async def test_a_broker_that_goes_away_and_comes_back(
    kafka: EmbeddedBroker, index: int, caplog: pytest.LogCaptureFixture
) -> None:
    async with (
        salobj.Controller("Test", index) as controller,
        salobj.Domain() as domain,
        salobj.Remote(domain, "Test", index) as remote,
    ):
        await controller.evt_scalars.set_write(int0=1)
        assert (await remote.evt_scalars.next(flush=False, timeout=LIMIT)).int0 == 1
        kafka.set_down()
        try:
            for value in (2, 3):
                await controller.evt_scalars.set_write(int0=value)
            with pytest.raises(TimeoutError):
                await remote.evt_scalars.next(flush=False, timeout=1)
        finally:
            kafka.set_up()
        assert [(await remote.evt_scalars.next(flush=False, timeout=LIMIT)).int0 for _ in range(2)] == [2, 3]
        running = asyncio.create_task(remote.cmd_wait.set_start(timeout=LIMIT))
        command = await controller.cmd_wait.next(timeout=LIMIT)
        ackcmd = controller.salinfo.make_ackcmd(command.private_seqNum, SalRetCode.CMD_COMPLETE)
        await controller.cmd_wait.ack(command, ackcmd)
        await running
    lines = [record for record in caplog.records if record.name == "lsst.ts.salobj.librdkafka"]
    assert 0 < len(lines) < 30, "it is told, but not twenty times a second"


async def test_deleting_topics_neither_fails_nor_hangs(kafka: EmbeddedBroker) -> None:
    for limit in (LIMIT, 0.5):
        assert await asyncio.wait_for(salobj.delete_kafka_topics(), limit) == []
    for subname in ("", "sal"):
        with pytest.raises(ValueError, match="not deleted"):
            await salobj.delete_kafka_topics(subname)
