# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command a CSC from a terminal."""

from __future__ import annotations

import argparse
import asyncio
import collections
import enum
import functools
import math
import shlex
import sys
import types
from collections.abc import Iterable
from typing import Any, Self

from lsst.ts.xml.sal_enums import State, as_state

from .commander_text import BOOL_DICT, convert, format_value
from .csc_command_line import add_index_argument
from .csc_utils import set_summary_state
from .domain import Domain
from .remote import Remote
from .stream_as_generator import stream_as_generator

__all__ = ["BOOL_DICT", "CscCommander"]

TELEMETRY_DIGITS = 2
"""Digits after the decimal point by which telemetry must change to be printed again."""


class CscCommander:
    """Prints the events and telemetry of a CSC, and sends it the commands that are typed.

    A subclass may have methods ``do_x(args)`` for commands of its own, or instead of the CSC's, and
    ``evt_x_callback(data)`` and ``tel_x_callback(data)`` instead of printing a topic; all of them coroutine functions.

    Parameters
    ----------
    name : `str`
        Name of the SAL component.
    index : `int`
        SAL index.
    enable : `bool`
        Enable the CSC at the start?
    exclude : iterable of `str`, or `None`
        Names of events and telemetry that are not read, without prefix.
    exclude_commands : iterable of `str`
        Commands that can't be typed.
    fields_to_ignore : iterable of `str`
        Fields that are not printed.
    telemetry_fields_to_not_compare : iterable of `str`
        Fields whose change is no reason to print telemetry.
    telemetry_fields_compare_digits : `dict` [`str`, `int`] or `None`
        Digits by which a field must change; 2 for all others.

    Attributes
    ----------
    domain : `Domain`
        Owner of the remote.
    remote : `Remote`
        The CSC.
    help_dict : `dict` [`str`, `str`]
        Arguments of commands, for the help text, instead of the fields' names.
    testing : `bool`
        Put what is printed into ``output_queue`` instead?
    output_queue : `collections.deque` [`str`]
        What would be printed.
    tasks : `set` [`asyncio.Task`]
        Commands that run.
    """

    def __init__(
        self,
        name: str,
        index: int | None = 0,
        enable: bool = False,
        exclude: Iterable[str] | None = None,
        exclude_commands: Iterable[str] = (),
        fields_to_ignore: Iterable[str] = ("ignored", "value"),
        telemetry_fields_to_not_compare: Iterable[str] = ("timestamp",),
        telemetry_fields_compare_digits: dict[str, int] | None = None,
    ) -> None:
        self.domain = Domain()
        self.remote = Remote(self.domain, name, index, exclude=exclude)
        self.enable = enable
        self.fields_to_ignore = frozenset(fields_to_ignore)
        self.telemetry_fields_to_not_compare = frozenset(telemetry_fields_to_not_compare)
        self.telemetry_fields_compare_digits = dict(telemetry_fields_compare_digits or {})
        self.help_dict = {"start": "configurationOverride  # optional"}
        self.testing = False
        self.output_queue: collections.deque[str] = collections.deque()
        self.tasks: set[asyncio.Task[None]] = set()
        self.done_task: asyncio.Future[None] = asyncio.Future()
        self._printed_telemetry: dict[str, dict[str, Any]] = {}
        salinfo = self.remote.salinfo
        own = {attr.removeprefix("do_") for attr in dir(self) if attr.startswith("do_")}
        self.command_names = sorted((set(salinfo.command_names) | own) - set(exclude_commands))
        self._set_callbacks()
        self._start_task = asyncio.create_task(self.start(), name=f"start of the commander of {salinfo.name_index}")

    def _set_callbacks(self) -> None:
        for prefix, names, default in (
            ("evt", self.remote.salinfo.event_names, self.event_callback),
            ("tel", self.remote.salinfo.telemetry_names, self.telemetry_callback),
        ):
            for name in names:
                topic = getattr(self.remote, f"{prefix}_{name}", None)
                own = getattr(self, f"{prefix}_{name}_callback", None)
                if topic is None or (name == "heartbeat" and own is None):
                    continue
                topic.callback = own if own is not None else functools.partial(default, name=name)

    async def start(self) -> None:
        """Wait for the remote, and enable the CSC if that is wanted."""
        await self.remote.start_task
        if self.enable:
            self.output("Enabling the CSC")
            topic = self.remote.evt_summaryState  # type: ignore[attr-defined]
            callback, topic.callback = topic.callback, None
            try:
                await set_summary_state(self.remote, State.ENABLED)
            finally:
                topic.callback = callback
            await self.evt_summaryState_callback(topic.get())

    async def close(self) -> None:
        """End the commands that run, and close the domain."""
        self._start_task.cancel()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(self._start_task, *self.tasks, return_exceptions=True)
        await self.domain.close()
        if not self.done_task.done():
            self.done_task.set_result(None)

    async def __aenter__(self) -> Self:
        await self._start_task
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()

    # ---- output ---------------------------------------------------------------------------------------------------

    def output(self, text: str) -> None:
        """Print a line, or keep it if this is a test."""
        if self.testing:
            self.output_queue.append(text)
        else:
            print(text, flush=True)

    def get_public_data(self, data: Any) -> dict[str, Any]:
        """Return the fields of a message that are of interest."""
        return {
            name: value
            for name, value in vars(data).items()
            if name != "salIndex" and not name.startswith("private_") and name not in self.fields_to_ignore
        }

    def format_dict(self, data: dict[str, Any]) -> str:
        """Return a dictionary as text."""
        return ", ".join(f"{name}={format_value(value)}" for name, value in data.items())

    def format_data(self, data: Any) -> str:
        """Return the fields of a message that are of interest as text."""
        return self.format_dict(self.get_public_data(data))

    async def event_callback(self, data: Any, name: str) -> None:
        """Print an event."""
        self.output(f"{data.private_sndStamp:0.3f}: {name}: {self.format_data(data)}")

    async def telemetry_callback(self, data: Any, name: str) -> None:
        """Print telemetry, if it has changed noticeably."""
        public = self.get_public_data(data)
        rounded = {
            field: self._rounded(field, value)
            for field, value in public.items()
            if field not in self.telemetry_fields_to_not_compare
        }
        if self._printed_telemetry.get(name) != rounded:
            self._printed_telemetry[name] = rounded
            self.output(f"{data.private_sndStamp:0.3f}: {name}: {self.format_dict(public)}")

    async def evt_logMessage_callback(self, data: Any) -> None:
        """Print a log message with its level."""
        text = f"{data.private_sndStamp:0.3f}: logMessage: level={data.level}, message={data.message}"
        self.output(text + (f"\n{data.traceback}" if data.traceback else ""))

    async def evt_summaryState_callback(self, data: Any) -> None:
        """Print the name of the summary state."""
        self.output(f"{data.private_sndStamp:0.3f}: summaryState: summaryState={as_state(data.summaryState)!r}")

    def _rounded(self, field: str, value: Any) -> Any:
        if isinstance(value, list):
            return [self._rounded(field, item) for item in value]
        if not isinstance(value, float):
            return value
        # NaN is not equal to itself.
        return (
            None
            if math.isnan(value)
            else round(value, self.telemetry_fields_compare_digits.get(field, TELEMETRY_DIGITS))
        )

    # ---- input ----------------------------------------------------------------------------------------------------

    def get_commands_help(self) -> list[str]:
        """Return a line with the arguments for each command."""
        lines = []
        for name in self.command_names:
            arguments = self.help_dict.get(name)
            if arguments is None:
                arguments = "" if not self._is_command(name) else " ".join(self._argument_fields(name))
            lines.append(f"{name} {arguments}".rstrip())
        return [*lines, "help  # print this help", "exit  # end"]

    def print_help(self) -> None:
        """Print the commands and their arguments."""
        self.output("\n".join(self.get_commands_help()))

    async def run_command(self, cmd: str) -> None:
        """Carry out a line that was typed, to its end.

        Parameters
        ----------
        cmd : `str`
            Command and arguments; what contains spaces has to be quoted.

        Raises
        ------
        Exception
            Whatever goes wrong.
        """
        words = shlex.split(cmd)
        if not words:
            return
        name, args = words[0], words[1:]
        if name == "help":
            self.print_help()
        elif name not in self.command_names:
            self.output(f"Unrecognized command: {name}. Type help for the commands.")
        elif hasattr(self, f"do_{name}"):
            await getattr(self, f"do_{name}")(args)
        else:
            await self.run_command_topic(name, args)

    async def _run_command_and_output(self, cmd: str) -> None:
        """Carry out a line that was typed, and print that it is done, or what went wrong."""
        try:
            await self.run_command(cmd)
            if name := next((name for name in self.command_names if cmd.split()[:1] == [name]), ""):
                self.output(f"Finished command {name}")
        except Exception as error:
            self.output(f"Command {cmd!r} failed: {error}")

    async def run_command_topic(self, name: str, args: list[str]) -> None:
        """Send a command of the CSC.

        Parameters
        ----------
        name : `str`
            The command.
        args : `list` [`str`]
            The values of its fields, in their order; for an array, as many as it has elements.

        Raises
        ------
        ValueError
            If the number of arguments is wrong, or one can't be converted.
        """
        command = getattr(self.remote, f"cmd_{name}")
        fields = command.topic_info.fields
        needed = sum(fields[field].count for field in self._argument_fields(name))
        if len(args) != needed:
            wanted = " ".join(self._argument_fields(name)) or "none"
            raise ValueError(f"{name} needs {needed} arguments ({wanted}), not {len(args)}")
        rest = iter(args)
        data = command.DataType()
        for field in self._argument_fields(name):
            values = [convert(fields[field].python_type, next(rest)) for _ in range(fields[field].count)]
            setattr(data, field, values if fields[field].is_array else values[0])
        await command.start(data)

    async def do_start(self, args: list[str]) -> None:
        """Send the start command, whose argument may be left out."""
        if len(args) > 1:
            raise ValueError(f"start takes one argument at most (configurationOverride), not {len(args)}")
        await self.remote.cmd_start.set_start(configurationOverride="".join(args))  # type: ignore[attr-defined]

    def _is_command(self, name: str) -> bool:
        return name in self.remote.salinfo.command_names

    def _argument_fields(self, name: str) -> list[str]:
        return list(self.get_public_data(getattr(self.remote, f"cmd_{name}").DataType()))

    async def loop(self) -> None:
        """Carry out what is typed, until exit."""
        self.output(f"Waiting for {self.remote.salinfo.name_index} to connect")
        await self._start_task
        self.print_help()
        async for line in stream_as_generator(sys.stdin):
            # In the background: the next command can be typed before one is finished.
            task = asyncio.create_task(self._run_command_and_output(line), name=f"typed command {line!r}")
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    @classmethod
    async def amain(cls, *, index: int | type[enum.IntEnum] | bool | None, **kwargs: Any) -> None:
        """Make a commander from the command line and run it until exit.

        Parameters
        ----------
        index : `int`, `bool`, `enum.IntEnum` class or `None`
            The SAL index; `True`: an argument of the command line; an enum class: likewise, one of its values; `None`
            or `False`: not indexed.
        **kwargs
            Further constructor arguments.
        """
        parser = argparse.ArgumentParser(description=f"Command a CSC ({cls.__name__})")
        add_index_argument(parser, index)
        parser.add_argument("-e", "--enable", action="store_true", help="enable the CSC")
        cls.add_arguments(parser)
        args = parser.parse_args()
        if "index" in args:
            kwargs["index"] = args.index
        elif index:
            kwargs["index"] = index
        cls.add_kwargs_from_args(args, kwargs)
        commander = cls(enable=args.enable, **kwargs)
        try:
            await commander.loop()
        finally:
            await commander.close()

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add options to the command line; for subclasses."""

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Add constructor arguments from the options; for subclasses."""
