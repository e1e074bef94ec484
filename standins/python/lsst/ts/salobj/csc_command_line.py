# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A CSC as a program."""

from __future__ import annotations

import argparse
import asyncio
import enum
import logging
from typing import Any, ClassVar, Self

from lsst.ts.xml.sal_enums import State

from .csc_utils import parse_state

__all__ = ["CommandLine", "add_index_argument"]


def add_index_argument(parser: argparse.ArgumentParser, index: int | type[enum.IntEnum] | bool | None) -> None:
    """Add an argument for the SAL index, if it is to be chosen; ``index`` is that of `CommandLine.amain`."""
    if index is True:
        parser.add_argument("index", type=int, help="SAL index of the CSC")
    elif isinstance(index, enum.EnumMeta):
        items: list[enum.IntEnum] = list(index)
        names = ", ".join(f"{item.value} = {item.name}" for item in items)
        choices = [item.value for item in items]
        parser.add_argument("index", type=int, choices=choices, help=f"SAL index of the CSC: {names}")


class CommandLine:
    """The command line of a CSC: options, constructor arguments, running."""

    version: ClassVar[str]
    valid_simulation_modes: ClassVar[Any]
    simulation_help: ClassVar[str | None]
    enable_cmdline_state: ClassVar[bool]
    done_task: asyncio.Future[None]
    start_task: asyncio.Task[None]
    check_if_duplicate: bool
    log: logging.Logger

    @classmethod
    async def amain(cls, index: int | type[enum.IntEnum] | bool | None, **kwargs: Any) -> None:
        """Make a CSC from the command line and run it until it ends.

        Parameters
        ----------
        index : `int`, `bool`, `enum.IntEnum` class or `None`
            The SAL index; `True`: an argument of the command line; an enum class: likewise, one of its values;
            `None`, `False` or 0: not indexed.
        **kwargs
            Further constructor arguments.

        Raises
        ------
        Exception
            What made the CSC end, if anything did.
        """
        csc = cls.make_from_cmd_line(index=index, check_if_duplicate=True, **kwargs)
        try:
            await csc.done_task
        finally:
            # If the start has failed, done_task has told it.
            await asyncio.gather(csc.start_task, return_exceptions=True)

    @classmethod
    def make_from_cmd_line(
        cls, index: int | type[enum.IntEnum] | bool | None, check_if_duplicate: bool = False, **kwargs: Any
    ) -> Self:
        """Return a CSC made from the command line; the parameters are those of `amain`."""
        parser = cls._make_parser(index)
        cls.add_arguments(parser)
        args = parser.parse_args()
        if "index" in args:
            kwargs["index"] = args.index
        elif index:
            kwargs["index"] = index
        if len(list(cls.valid_simulation_modes)) > 1:
            kwargs["simulation_mode"] = int(args.simulate)
        if cls.enable_cmdline_state:
            kwargs["initial_state"] = args.state
        cls.add_kwargs_from_args(args, kwargs)
        csc = cls(**kwargs)
        # Not a constructor argument, because subclasses need not have it.
        csc.check_if_duplicate = check_if_duplicate
        if args.loglevel is not None:
            csc.log.setLevel(args.loglevel)
        csc.log.info(f"{csc} made from the command line; version {cls.version}")
        return csc

    @classmethod
    def add_arguments(cls, parser: argparse.ArgumentParser) -> None:
        """Add options to the command line; for subclasses."""

    @classmethod
    def add_kwargs_from_args(cls, args: argparse.Namespace, kwargs: dict[str, Any]) -> None:
        """Add constructor arguments from the options; for subclasses."""

    @classmethod
    def _make_parser(cls, index: Any) -> argparse.ArgumentParser:
        parser = argparse.ArgumentParser(description=f"Run {cls.__name__}")
        add_index_argument(parser, index)
        parser.add_argument("--loglevel", type=int, help="log level: 10 debug, 20 info, 30 warning, 40 error")
        parser.add_argument("--version", action="version", version=cls.version)
        if cls.enable_cmdline_state:
            states = (State.OFFLINE, State.STANDBY, State.DISABLED, State.ENABLED)
            parser.add_argument(
                "--state",
                type=parse_state,
                choices=states,
                metavar="{" + ",".join(state.name.lower() for state in states) + "}",
                help="state to go to after the start",
            )
        cls._add_simulation_argument(parser)
        return parser

    @classmethod
    def _add_simulation_argument(cls, parser: argparse.ArgumentParser) -> None:
        modes = list(cls.valid_simulation_modes)
        default = 0 if 0 in modes else modes[0]
        if len(modes) == 2 and 0 in modes:
            nonzero = next(mode for mode in modes if mode != 0)
            text = cls.simulation_help or "run in simulation mode"
            parser.add_argument("--simulate", action="store_const", const=nonzero, default=0, help=text)
        elif len(modes) > 1:
            text = cls.simulation_help or "simulation mode"
            parser.add_argument("--simulate", type=int, choices=modes, default=default, help=text)
