# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A commander: what it prints, what can be typed."""

from __future__ import annotations

import asyncio
import os
import pathlib
from typing import Any

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker

LIMIT = 10
CONFIG = pathlib.Path(__file__).parent / "data" / "config"


class Commander(salobj.CscCommander):
    """With a command and a callback of its own."""

    async def do_double(self, args: list[str]) -> None:
        self.output(str(2 * int(args[0])))

    async def evt_arrays_callback(self, data: Any) -> None:
        self.output(f"arrays: {data.int0}")


async def expect(commander: salobj.CscCommander, text: str) -> str:
    """Wait until a line with this text is printed, and take it; what topics tell is printed in any order."""
    async with asyncio.timeout(LIMIT):
        while True:
            for line in commander.output_queue:
                if text in line:
                    commander.output_queue.remove(line)
                    return str(line)
            await asyncio.sleep(0.01)  # the queue tells nobody when something comes


async def test_commands_are_typed_and_topics_printed(kafka: EmbeddedBroker, index: int) -> None:
    csc = salobj.TestCsc(index, config_dir=CONFIG / "good")
    await csc.start_task
    commander = Commander("Test", index, enable=True)
    commander.testing = True
    try:
        await commander._start_task
        await expect(commander, "summaryState=<State.ENABLED: 2>")
        await commander._run_command_and_output("setScalars t 1 2 3 4 5 6 7 0.5 1.25 'some text'")
        line = await expect(commander, "scalars:")
        assert "boolean0=True" in line
        assert "string0='some text'" in line
        assert "double0=1.2500" in line
        assert "private" not in line
        await expect(commander, "Finished command setScalars")
        await csc.evt_arrays.set_write(int0=[1, 2, 3, 4, 5])
        await expect(commander, "arrays: [1, 2, 3, 4, 5]")
        await commander._run_command_and_output("double 1234567890123456789")
        assert await expect(commander, "2469135780246913578") == "2469135780246913578"
        for line, problem in (
            ("nonsense", "Unrecognized command: nonsense"),
            ("wait 1", "needs 2 arguments (ack duration), not 1"),
            ("wait x 1", "failed: invalid literal"),
            ("setScalars maybe 1 2 3 4 5 6 7 0.5 1.25 x", "'maybe' is none of 0, f, false, 1, t, true"),
            ("start ''", "failed: msg='Command failed'"),
            ("start a.yaml b.yaml", "start takes one argument at most (configurationOverride), not 2"),
            ("double 'unfinished", "failed: No closing quotation"),
        ):
            await commander._run_command_and_output(line)
            await expect(commander, problem)
        await commander._run_command_and_output("help")
        text = await expect(commander, "setLogLevel level subsystem")
        assert "double\n" in text
        assert "wait ack duration" in text
        await commander._run_command_and_output("# there are no comments")
        await expect(commander, "Unrecognized command: #")
        await commander._run_command_and_output("disable")
        await commander._run_command_and_output("standby")
        await commander._run_command_and_output("start")  # its argument is optional
        await expect(commander, "Finished command start")
    finally:
        await commander.close()
        await csc.close()


async def test_telemetry_is_printed_when_it_changes_noticeably(kafka: EmbeddedBroker, index: int) -> None:
    async with salobj.Controller("Test", index) as controller:
        commander = salobj.CscCommander("Test", index, telemetry_fields_compare_digits={"float0": 0})
        commander.testing = True
        try:
            await commander._start_task
            for values in ({"double0": 1.0}, {"double0": 1.001}, {"float0": 0.4}, {"double0": 2.0}):
                await controller.tel_scalars.set_write(**values)
            assert "double0=1.0000" in await expect(commander, "scalars:")
            assert "double0=2.0000" in await expect(commander, "scalars:")
        finally:
            await commander.close()


async def test_lines_of_a_pipe_until_exit() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as stream:
        os.write(write_end, b"one\ntwo \n\nexit\nthree\n")
        assert [line async for line in salobj.stream_as_generator(stream)] == ["one", "two ", ""]
    os.close(write_end)


async def test_a_pipe_that_is_closed_ends_it() -> None:
    read_end, write_end = os.pipe()
    with os.fdopen(read_end) as stream:
        os.write(write_end, b"one\nexit")
        os.close(write_end)
        assert [line async for line in salobj.stream_as_generator(stream, exit_str=None)] == ["one", "exit"]


async def test_subnames_of_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LSST_TOPIC_SUBNAME", "before")
    subname = salobj.set_test_topic_subname()
    assert os.environ["LSST_TOPIC_SUBNAME"] == subname == salobj.set_test_topic_subname()
    assert subname.startswith("test_")
    others = {salobj.set_test_topic_subname(randomize=True) for _ in range(20)}
    assert len(others) == 20
    assert all(other.replace("_", "").isalnum() for other in {subname, *others})
    with pytest.warns(DeprecationWarning, match="set_test_topic_subname"):
        salobj.set_random_lsst_dds_partition_prefix()
