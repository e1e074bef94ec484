# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole CSC: states, configuration, faults, life and death."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pathlib
import signal
import sys
import unittest
import unittest.mock
from collections.abc import Iterator
from typing import Any

import pytest
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.salobj import SalRetCode, State

LIMIT = 20
CONFIG = pathlib.Path(__file__).parent / "data" / "config"
PROGRAM = """#!{python}
import asyncio
from lsst.ts import salobj
asyncio.run(salobj.TestCsc.amain(index=True))
"""


@pytest.fixture(scope="module", autouse=True)
def program(kafka: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Put a program run_test_csc into the path."""
    folder = tmp_path_factory.mktemp("bin")
    path = folder / "run_test_csc"
    path.write_text(PROGRAM.format(python=sys.executable))
    path.chmod(0o755)
    with unittest.mock.patch.dict(os.environ, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}"):
        yield


class TestTheTestCsc(salobj.BaseCscTestCase, unittest.IsolatedAsyncioTestCase):
    def basic_make_csc(
        self, initial_state: State, config_dir: Any, simulation_mode: int, **kwargs: Any
    ) -> salobj.TestCsc:
        return salobj.TestCsc(
            self.next_index(),
            config_dir=config_dir or CONFIG / "good",
            initial_state=initial_state,
            simulation_mode=simulation_mode,
            **kwargs,
        )

    async def test_standard_state_transitions(self) -> None:
        async with self.make_csc():
            await self.check_standard_state_transitions(
                enabled_commands=("setArrays", "setScalars", "wait"), skip_commands=("fault",), override="override.yaml"
            )
            await asyncio.wait_for(self.csc.done_task, LIMIT)

    async def test_events_of_the_start(self) -> None:
        async with self.make_csc():
            level = await self.assert_next_sample(self.remote.evt_logLevel, subsystem="")
            assert level.level == self.csc.log.getEffectiveLevel()
            mode = await self.assert_next_sample(self.remote.evt_simulationMode, mode=0)
            versions = await self.assert_next_sample(
                self.remote.evt_softwareVersions, cscVersion=salobj.__version__, salVersion=""
            )
            assert versions.xmlVersion
            error = await self.assert_next_sample(self.remote.evt_errorCode, errorCode=0, errorReport="", traceback="")
            state = await self.assert_next_sample(self.remote.evt_summaryState, summaryState=State.STANDBY)
            stamps = [item.private_sndStamp for item in (level, mode, versions, state, error)]
            assert stamps == sorted(stamps)
            available = await self.assert_next_sample(self.remote.evt_configurationsAvailable, schemaVersion="v2")
            assert "override.yaml" in available.overrides.split(",")
            assert available.url == (CONFIG / "good").resolve().as_uri()

    async def test_order_of_a_transition(self) -> None:
        async with self.make_csc():
            csc = self.csc
            order = []

            def note(name: str) -> Any:
                original = getattr(csc, name)

                async def noted(*args: Any) -> None:
                    order.append((name, csc.summary_state))
                    await original(*args)

                return noted

            for name in ("begin_start", "end_start", "handle_summary_state", "_report_summary_state"):
                setattr(csc, name, note(name))
            await self.remote.cmd_start.set_start(timeout=LIMIT)
            assert order == [
                ("begin_start", State.STANDBY),
                ("end_start", State.DISABLED),
                ("handle_summary_state", State.DISABLED),
                ("_report_summary_state", State.DISABLED),
            ]

    async def test_failures_of_a_transition(self) -> None:
        async def fail(data: Any) -> None:
            raise RuntimeError("not today")

        async def refuse(data: Any) -> None:
            raise salobj.ExpectedError("not this way")

        async with self.make_csc(initial_state=State.DISABLED):
            csc = self.csc
            for hook, replacement, state in (
                ("begin_enable", fail, State.DISABLED),
                ("begin_enable", refuse, State.DISABLED),
                ("end_enable", fail, State.DISABLED),
                ("end_enable", refuse, State.ENABLED),
            ):
                setattr(csc, hook, replacement)
                with salobj.assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains="not t"):
                    await self.remote.cmd_enable.set_start(timeout=LIMIT)
                assert csc.summary_state == state, (hook, replacement)
                delattr(csc, hook)

    async def test_the_wrong_state_is_named(self) -> None:
        async with self.make_csc():
            with salobj.assertRaisesAckError(
                ack=SalRetCode.CMD_FAILED, error=1, result_contains="enable not allowed in state <State.STANDBY: 5>"
            ):
                await self.remote.cmd_enable.set_start(timeout=LIMIT)

    async def test_what_needs_enabled_is_refused_in_the_words_of_the_original(self) -> None:
        """Clients tell this refusal from all others by its words."""
        async with self.make_csc():
            with pytest.raises(salobj.ExpectedError) as caught:
                self.csc.assert_enabled("execute")
            assert str(caught.value) == "execute not allowed in state=<State.STANDBY: 5>"
            await self.csc.fault(7, "no connection")
            with pytest.raises(salobj.ExpectedError) as caught:
                self.csc.assert_enabled()
            assert str(caught.value) == "Not allowed in Fault state: errorCode=7, errorReport='no connection'"

    async def test_values_come_through_unchanged(self) -> None:
        async with self.make_csc(initial_state=State.ENABLED):
            csc = self.csc
            for kind in ("scalars", "arrays"):
                values = getattr(csc, f"make_random_{kind}_dict")()
                assert set(values) == set(getattr(csc, f"{kind}_fields"))
                await getattr(self.remote, f"cmd_set{kind.capitalize()}").set_start(**values, timeout=LIMIT)
                for prefix in ("evt", "tel"):
                    sample = await self.assert_next_sample(getattr(self.remote, f"{prefix}_{kind}"))
                    getattr(csc, f"assert_{kind}_equal")(sample, values)

    async def test_fault_and_recovery(self) -> None:
        async with self.make_csc(initial_state=State.ENABLED):
            await self.assert_next_summary_state(State.ENABLED)
            await self.assert_next_sample(self.remote.evt_errorCode, errorCode=0)
            await self.remote.cmd_fault.set_start(timeout=LIMIT)
            await self.assert_next_summary_state(State.FAULT)
            await self.assert_next_sample(
                self.remote.evt_errorCode, errorCode=1, errorReport="executing the fault command"
            )
            await self.remote.cmd_standby.set_start(timeout=LIMIT)
            await self.assert_next_summary_state(State.STANDBY)
            await self.assert_next_sample(self.remote.evt_errorCode, errorCode=0, errorReport="")

    async def test_a_fault_is_told_although_its_code_is_none(self) -> None:
        async with self.make_csc(initial_state=State.ENABLED):
            await self.assert_next_summary_state(State.ENABLED)
            await self.assert_next_sample(self.remote.evt_errorCode, errorCode=0)
            await self.csc.fault("no number", "why not")  # type: ignore[arg-type]
            await self.assert_next_summary_state(State.FAULT)
            assert self.remote.evt_errorCode.get_oldest() is None
            await self.remote.cmd_standby.start(timeout=LIMIT)
            await self.csc.fault(7, "the reason")
            with salobj.assertRaisesAckError(
                ack=SalRetCode.CMD_FAILED, result_contains="errorCode=7, errorReport='the reason'"
            ):
                await self.remote.cmd_wait.start(timeout=LIMIT)

    async def test_a_fault_while_going_to_fault_is_ignored(self) -> None:
        async with self.make_csc(initial_state=State.ENABLED):
            csc = self.csc

            async def handle() -> None:
                await csc.fault(2, "a second one")

            csc.handle_summary_state = handle  # type: ignore[method-assign]
            await csc.fault(1, "the first one", traceback="where")
            assert csc.summary_state == State.FAULT
            await self.assert_next_sample(self.remote.evt_errorCode, errorCode=0)
            await self.assert_next_sample(
                self.remote.evt_errorCode, errorCode=1, errorReport="the first one", traceback="where"
            )
            assert self.remote.evt_errorCode.get_oldest() is None

    async def test_configuration(self) -> None:
        async with self.make_csc():
            for override, message in (
                ("_test.yaml", "must not start"),
                ("missing.yaml", "Can't read"),
                ("invalid.yaml", "not valid"),
                ("override.yaml:no_such_ref", "Git has no"),
            ):
                with salobj.assertRaisesAckError(ack=SalRetCode.CMD_FAILED, result_contains=message):
                    await self.remote.cmd_start.set_start(configurationOverride=override, timeout=LIMIT)
                assert self.csc.summary_state == State.STANDBY
            await self.remote.cmd_start.set_start(configurationOverride="override.yaml", timeout=LIMIT)
            config = self.csc.config
            assert (config.string0, config.int0, config.multi_type) == ("from override", 6, "text")
            await self.assert_next_sample(
                self.remote.evt_configurationApplied,
                configurations="_init.yaml,_test.yaml,override.yaml",
                schemaVersion="v2",
                url=(CONFIG / "good").resolve().as_uri(),
            )

    async def test_the_initial_state_that_can_not_be_reached_is_not_reached(self) -> None:
        self._begin_tai = utils.current_tai()
        csc = salobj.TestCsc(
            self.next_index(), config_dir=CONFIG / "good", initial_state=State.ENABLED, override="invalid.yaml"
        )
        try:
            await asyncio.wait_for(asyncio.shield(csc.start_task), LIMIT)
            assert csc.summary_state == State.STANDBY
        finally:
            await csc.close()

    async def test_a_wait_with_and_without_a_word_before(self) -> None:
        async with self.make_csc(initial_state=State.ENABLED):
            wait = self.remote.cmd_wait
            ackcmd = await wait.set_start(duration=1, timeout=LIMIT, wait_done=False)
            assert (ackcmd.ack, ackcmd.timeout) == (SalRetCode.CMD_INPROGRESS, 1)
            assert (await wait.next_ackcmd(ackcmd, timeout=LIMIT)).ack == SalRetCode.CMD_COMPLETE
            ackcmd = await wait.set_start(duration=-0.1, timeout=LIMIT, wait_done=False)
            assert (ackcmd.ack, ackcmd.result) == (SalRetCode.CMD_COMPLETE, "Done")

    async def test_a_log_level_for_the_test(self) -> None:
        async with self.make_csc(log_level=logging.WARNING):
            assert self.csc.log.getEffectiveLevel() == logging.WARNING
        async with self.make_csc():
            assert self.csc.log.getEffectiveLevel() == logging.INFO

    async def test_log_level(self) -> None:
        async with self.make_csc():
            await self.assert_next_sample(self.remote.evt_logLevel)
            before = self.csc.log.level
            try:
                await self.remote.cmd_setLogLevel.set_start(level=35, timeout=LIMIT)
                await self.assert_next_sample(self.remote.evt_logLevel, level=35)
                assert self.csc.log.level == 35
            finally:
                self.csc.log.setLevel(before)

    async def test_heartbeats_come_once_a_second(self) -> None:
        async with self.make_csc():
            stamps = [(await self.remote.evt_heartbeat.next(flush=False, timeout=3)).private_sndStamp for _ in range(4)]
            for earlier, later in itertools.pairwise(stamps[1:]):
                assert 0.5 < later - earlier < 1.5

    async def test_set_summary_state(self) -> None:
        async with self.make_csc():
            expected = [State.STANDBY, State.DISABLED, State.ENABLED]
            assert await salobj.set_summary_state(self.remote, State.ENABLED) == expected
            await self.csc.fault(1, "for a test")
            while (await self.remote.evt_summaryState.next(flush=False, timeout=LIMIT)).summaryState != State.FAULT:
                pass
            expected = [State.FAULT, State.STANDBY, State.DISABLED]
            assert await salobj.set_summary_state(self.remote, State.DISABLED) == expected
            with pytest.raises(ValueError, match="FAULT"):
                await salobj.set_summary_state(self.remote, State.FAULT)

    async def test_set_summary_state_that_fails(self) -> None:
        async with self.make_csc():
            with pytest.raises(RuntimeError, match=r"Command start of Test:.* failed"):
                await salobj.set_summary_state(self.remote, State.ENABLED, override="invalid.yaml")

    async def test_as_a_program(self) -> None:
        index = self.next_index()
        await self.check_bin_script("Test", index, "run_test_csc", cmdline_args=["--configdir", str(CONFIG / "good")])
        await self.check_bin_script(
            *("Test", index, "run_test_csc"),
            initial_state=State.ENABLED,
            override="override.yaml",
            cmdline_args=["--configdir", str(CONFIG / "good")],
        )

    async def test_a_second_one_is_refused(self) -> None:
        async with self.make_csc():
            process = await asyncio.create_subprocess_exec(
                *("run_test_csc", str(self.csc.salinfo.index), "--configdir", str(CONFIG / "good")),
                stderr=asyncio.subprocess.PIPE,
                env=dict(os.environ),  # what modify_environ has set somewhere else is not inherited
            )
            _, stderr = await asyncio.wait_for(process.communicate(), LIMIT)
            assert process.returncode != 0
            assert f"Test:{self.csc.salinfo.index} found another instance".encode() in stderr

    async def test_a_signal_ends_it(self) -> None:
        index = self.next_index()
        async with salobj.Domain() as domain, salobj.Remote(domain, "Test", index) as remote:
            process = await asyncio.create_subprocess_exec(
                *("run_test_csc", str(index), "--configdir", str(CONFIG / "good")), env=dict(os.environ)
            )
            await remote.evt_summaryState.next(flush=False, timeout=LIMIT)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), LIMIT) == 0


def test_what_the_constructor_refuses(kafka: EmbeddedBroker) -> None:
    async def check() -> None:
        with pytest.raises(ValueError, match="FAULT"):
            salobj.TestCsc(1, config_dir=CONFIG / "good", initial_state=State.FAULT)
        with pytest.raises(ValueError, match="simulation_mode=1 is not valid"):
            salobj.TestCsc(1, config_dir=CONFIG / "good", simulation_mode=1)
        with pytest.raises(ValueError, match="does not exist"):
            salobj.TestCsc(1, config_dir=CONFIG / "missing")
        with utils.modify_environ(LSST_SITE=None), pytest.raises(RuntimeError, match="LSST_SITE"):
            salobj.TestCsc(1, config_dir=CONFIG / "good")
        with utils.modify_environ(TS_CONFIG_OCS_DIR=None), pytest.raises(RuntimeError, match="TS_CONFIG_OCS_DIR"):
            salobj.TestCsc(1)
        with pytest.raises(TypeError, match="must add do_setArrays, do_setScalars, do_wait methods"):
            MissingMethods("Test", 1)
        with pytest.raises(TypeError, match="must remove do_nonsense methods"):
            SuperfluousMethod(1, config_dir=CONFIG / "good")
        with pytest.raises(RuntimeError, match="class attribute version"):
            NoVersion("Test", 1)

    asyncio.run(check())


class MissingMethods(salobj.BaseCsc):
    version = "1"

    async def do_fault(self, data: Any) -> None:
        """Not called."""


class NoVersion(salobj.BaseCsc):
    pass


class SuperfluousMethod(salobj.TestCsc):
    async def do_nonsense(self, data: Any) -> None:
        """Not called."""


async def test_a_start_that_fails_ends_the_csc(kafka: EmbeddedBroker, index: int) -> None:
    class Failing(salobj.TestCsc):
        async def start(self) -> None:
            await super().start()
            raise RuntimeError("can't start")

    csc = Failing(index, config_dir=CONFIG / "good")
    with pytest.raises(RuntimeError, match="can't start"):
        await asyncio.wait_for(asyncio.shield(csc.start_task), LIMIT)
    with pytest.raises(RuntimeError, match="can't start"):
        await asyncio.wait_for(csc.done_task, LIMIT)
    assert not csc.isopen
    assert not csc.domain.isopen


def test_ways_between_states() -> None:
    ways = salobj.make_state_transition_dict()
    assert ways[State.OFFLINE, State.DISABLED] == [("enterControl", State.STANDBY), ("start", State.DISABLED)]
    assert ways[State.ENABLED, State.OFFLINE] == [
        ("disable", State.DISABLED),
        ("standby", State.STANDBY),
        ("exitControl", State.OFFLINE),
    ]
    assert ways[State.FAULT, State.STANDBY] == [("standby", State.STANDBY)]
    assert not any(end == State.FAULT for _, end in ways)
    assert len(ways) == 20
    assert salobj.get_expected_summary_states(State.FAULT, State.FAULT) == [State.FAULT]
    with pytest.raises(ValueError, match="no way"):
        salobj.get_expected_summary_states(State.STANDBY, State.FAULT)


@pytest.mark.parametrize(("text", "expected"), [("Test", ("Test", 0)), ("Test:5", ("Test", 5)), ("a:-1", ("a", -1))])
def test_names_with_index(text: str, expected: tuple[str, int]) -> None:
    assert salobj.name_to_name_index(text) == expected


@pytest.mark.parametrize("text", ["", ":5", "Test:", "Test:a", " Test", "Test: 5", "Test:1:2"])
def test_what_is_no_name_with_index(text: str) -> None:
    with pytest.raises(ValueError, match=r"name:index|no integer"):
        salobj.name_to_name_index(text)
