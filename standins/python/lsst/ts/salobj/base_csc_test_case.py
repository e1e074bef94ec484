# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base class of tests of CSCs."""

from __future__ import annotations

import abc
import asyncio
import contextlib
import os
import shutil
import unittest
import unittest.mock
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from typing import Any

from lsst.ts import utils
from lsst.ts.xml.sal_enums import SalRetCode, State

from .base_csc import BaseCsc
from .csc_utils import get_expected_summary_states, set_summary_state
from .delete_topics import delete_kafka_topics
from .domain import Domain
from .remote import Remote
from .testutils import assertRaisesAckError, set_test_topic_subname
from .type_hints import PathType

__all__ = ["BaseCscTestCase"]

STD_TIMEOUT = 30.0
PROCESS_LIMIT = 10.0  # seconds for a program to end after its CSC has gone to OFFLINE
MAX_INDEX = 10000


class BaseCscTestCase(metaclass=abc.ABCMeta):
    """Mix-in for `unittest.IsolatedAsyncioTestCase` that makes a CSC and a remote for it, and checks what CSCs share.

    Attributes
    ----------
    csc : `BaseCsc`
        The CSC that `make_csc` made.
    remote : `Remote`
        The remote for it.
    """

    _index_iter: Iterator[int] = utils.index_generator(imax=MAX_INDEX)
    csc: BaseCsc
    remote: Remote
    # TAI unix seconds: samples that were sent earlier come from another test.
    _begin_tai = 0.0
    _has_used_kafka = False
    # For subclasses: topics of its own for each test, instead of one set for the process?
    _randomize_topic_subname = False

    @abc.abstractmethod
    def basic_make_csc(
        self, initial_state: State, config_dir: PathType | None, simulation_mode: int, **kwargs: Any
    ) -> BaseCsc:
        """Make the CSC; the parameters are constructor arguments that the CSC may or may not have."""

    def run(self, result: Any = None) -> Any:
        """Run the test, with LSST_SITE and LSST_TOPIC_SUBNAME for tests."""
        with unittest.mock.patch.dict(os.environ, LSST_SITE="test"):
            set_test_topic_subname(randomize=self._randomize_topic_subname)
            return super().run(result)  # type: ignore[misc]

    async def asyncTearDown(self) -> None:
        """Delete the topics of the test, where the broker does that."""
        if self._has_used_kafka:
            await delete_kafka_topics()

    def next_index(self) -> int:
        """Return a SAL index that no test of this process has used."""
        return next(self._index_iter)

    @contextlib.asynccontextmanager
    async def make_csc(
        self,
        initial_state: State = State.STANDBY,
        config_dir: PathType | None = None,
        simulation_mode: int = 0,
        log_level: int | None = None,
        timeout: float = STD_TIMEOUT,
        **kwargs: Any,
    ) -> AsyncIterator[None]:
        """Make a CSC and a remote, ``self.csc`` and ``self.remote``, and wait until both have started.

        The events summaryState of the way to the initial state are consumed, but for the last one.

        Parameters
        ----------
        initial_state, config_dir, simulation_mode, **kwargs
            Arguments of `basic_make_csc`.
        log_level : `int` or `None`
            Log level; `None`: as it is.
        timeout : `float`
            Time limit for the start (seconds).
        """
        self._has_used_kafka = True
        self._begin_tai = utils.current_tai()
        csc = self.basic_make_csc(
            initial_state=initial_state, config_dir=config_dir, simulation_mode=simulation_mode, **kwargs
        )
        self.csc = csc
        try:
            # The CSC waits for the remote, which so misses nothing.
            self.remote = Remote(csc.domain, csc.salinfo.name, csc.salinfo.index)
            if log_level is not None:  # after the remote, which makes the logger more verbose where it is not
                csc.log.setLevel(log_level)
            async with asyncio.timeout(timeout):
                await asyncio.shield(csc.start_task)
            if initial_state != csc.default_initial_state and initial_state != State.OFFLINE:
                for state in get_expected_summary_states(csc.default_initial_state, initial_state)[:-1]:
                    await self.assert_next_summary_state(state, timeout=timeout)
            yield
        finally:
            await csc.close()

    async def assert_next_summary_state(
        self, state: State, flush: bool = False, timeout: float = STD_TIMEOUT, remote: Remote | None = None
    ) -> None:
        """Wait for the next event summaryState and check it.

        Parameters
        ----------
        state : `State`
            Expected state.
        flush : `bool`
            Forget events that have come?
        timeout : `float`
            Time limit (seconds).
        remote : `Remote` or `None`
            `None`: ``self.remote``.
        """
        remote = remote or self.remote
        await self.assert_next_sample(
            remote.evt_summaryState,  # type: ignore[attr-defined]
            flush=flush,
            timeout=timeout,
            summaryState=state,
        )

    async def assert_next_sample(
        self, topic: Any, flush: bool = False, timeout: float = STD_TIMEOUT, **kwargs: Any
    ) -> Any:
        """Wait for the next sample of a topic, check fields, and return it.

        Samples that were sent before the CSC was made are skipped.

        Parameters
        ----------
        topic : `topics.ReadTopic`
            The topic.
        flush : `bool`
            Forget samples that have come?
        timeout : `float`
            Time limit (seconds).
        **kwargs
            Expected values of fields.

        Raises
        ------
        AssertionError
            If a field has another value, or there is no such field.
        asyncio.TimeoutError
            If no sample comes in time.
        """
        async with asyncio.timeout(timeout):
            sample = await topic.next(flush=flush)
            while sample.private_sndStamp < self._begin_tai:
                sample = await topic.next(flush=False)
        for name, expected in kwargs.items():
            assert hasattr(sample, name), f"{topic} has no field {name}"
            value = getattr(sample, name)
            if isinstance(expected, State):
                value = State(value)
            assert value == expected, f"{topic}: {name} is {value!r} instead of {expected!r}"
        return sample

    async def check_bin_script(
        self,
        name: str,
        index: int | None,
        exe_name: str,
        default_initial_state: State = State.STANDBY,
        initial_state: State | None = None,
        override: str | None = None,
        cmdline_args: Sequence[str] = (),
        timeout: float = 40,
    ) -> None:
        """Run a CSC as a program, check the states that it goes through, and make it end.

        Parameters
        ----------
        name : `str`
            Name of the SAL component.
        index : `int` or `None`
            SAL index; an argument of the program unless it is 0 or `None`.
        exe_name : `str`
            Name of the program, which must be found by ``PATH``.
        default_initial_state : `State`
            State of the CSC after the start.
        initial_state : `State` or `None`
            Value of option --state; `None`: the option is not given.
        override : `str` or `None`
            Value of option --override; `None`: the option is not given.
        cmdline_args : sequence of `str`
            Further arguments.
        timeout : `float`
            Time limit for each state (seconds).
        """
        exe = shutil.which(exe_name)
        assert exe is not None, f"There is no program {exe_name} in PATH; is the package installed?"
        args = [exe]
        if index:
            args.append(str(index))
        if initial_state is not None:
            args += ["--state", initial_state.name.lower()]
        if override is not None:
            args += ["--override", override]
        self._has_used_kafka = True
        self._begin_tai = utils.current_tai()
        async with Domain() as domain, Remote(domain, name, index) as remote:
            self.remote = remote
            process = await asyncio.create_subprocess_exec(*args, *cmdline_args, env=dict(os.environ))
            try:
                last_state = default_initial_state if initial_state is None else initial_state
                for state in get_expected_summary_states(default_initial_state, last_state):
                    await self.assert_next_summary_state(state, timeout=timeout)
                await set_summary_state(remote, State.OFFLINE, timeout=timeout)
                async with asyncio.timeout(PROCESS_LIMIT):
                    return_code = await process.wait()
                assert return_code == 0, f"{exe_name} ended with {return_code}"
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()

    async def check_standard_state_transitions(
        self,
        enabled_commands: Iterable[str],
        skip_commands: Iterable[str] | None = None,
        override: str = "",
        timeout: float = STD_TIMEOUT,
    ) -> None:
        """Check the state commands, and that each other command is refused where it must be.

        The CSC must be in STANDBY, with its event summaryState in the queue. It is OFFLINE at the end.

        Parameters
        ----------
        enabled_commands : iterable of `str`
            Commands that work in ENABLED only.
        skip_commands : iterable of `str` or `None`
            Commands that are not tried.
        override : `str`
            Configuration override.
        timeout : `float`
            Time limit of each command and event (seconds).
        """
        skip = {*(skip_commands or ()), "setLogLevel", "enterControl"}
        await self.assert_next_summary_state(State.STANDBY, timeout=timeout)
        steps = (
            ("start", State.DISABLED, {"start", "exitControl"}),
            ("enable", State.ENABLED, {"enable", "standby"}),
            ("disable", State.DISABLED, {"disable", *enabled_commands}),
            ("standby", State.STANDBY, {"enable", "standby"}),
            ("exitControl", State.OFFLINE, {"start", "exitControl"}),
        )
        for command_name, next_state, allowed in steps:
            await self.check_bad_commands(good_commands=allowed | skip)
            kwargs = {"configurationOverride": override} if command_name == "start" else {}
            await getattr(self.remote, f"cmd_{command_name}").set_start(**kwargs, timeout=timeout)
            assert self.csc.summary_state == next_state
            await self.assert_next_summary_state(next_state, timeout=timeout)

    async def check_bad_commands(
        self, bad_commands: Iterable[str] | None = None, good_commands: Iterable[str] | None = None
    ) -> None:
        """Check that commands fail in the present state.

        Parameters
        ----------
        bad_commands : iterable of `str` or `None`
            The commands; `None`: all.
        good_commands : iterable of `str` or `None`
            Commands that are not tried.
        """
        names = set(self.remote.salinfo.command_names if bad_commands is None else bad_commands)
        for name in sorted(names - set(good_commands or ())):
            command = getattr(self.remote, f"cmd_{name}")
            with self._sub_test(command=name), assertRaisesAckError(ack=SalRetCode.CMD_FAILED):
                await command.start(command.DataType(), timeout=STD_TIMEOUT)

    def _sub_test(self, **kwargs: Any) -> contextlib.AbstractContextManager[Any]:
        return self.subTest(**kwargs) if isinstance(self, unittest.TestCase) else contextlib.nullcontext()
