# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``command_comcamcalib``: salobj's commander, with easier forms of this CSC's commands."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from lsst.ts import salobj

from .csc_remote import COMMAND_LIMIT_S, refusal
from .enums import CalibType, RunState, StageState
from .options import OPTION_DESCRIPTIONS, read_options_file

__all__ = ["ComCamCalibCommander", "command_comcamcalib", "split_named", "typed_fields"]


class ComCamCalibCommander(salobj.CscCommander):  # type: ignore[misc]
    """Prints what the CSC publishes, and sends it the commands that the user types.

    Parameters
    ----------
    enable
        Enable the CSC at the start.
    """

    def __init__(self, enable: bool = False) -> None:
        super().__init__(name="ComCamCalib", enable=enable, telemetry_fields_to_not_compare=("elapsed", "remaining"))
        self.help_dict["startCalibrationRun"] = (
            '[file] [reason="why it is made"] [program=...] [note=...]  # file: YAML with run options; '
            "without it, the configured defaults"
        )
        self.help_dict["status"] = "[runId]  # without it, the open or latest run"
        self.help_dict["resumeCalibrationRun"] = '[runId] [reason="why"]'
        self.help_dict["acceptVerification"] = (
            'runId calibType reason="why" [physicalFilter=...] [attempt=...]  # calibType: a name such as FLAT; '
            "attempt: that of the verificationResult that you have seen"
        )
        self.help_dict["decertify"] = (
            'runId calibType reason="why"  # calibType: a name such as FLAT; 0: all of the run'
        )

    async def run_command(self, cmd: str) -> None:
        """Carry out a line that the user typed; a value with blanks needs quotes, as in a shell."""
        try:
            shlex.split(cmd)
        except ValueError:
            raise ValueError(
                "the line ends within a quotation or after a backslash, so nothing was sent; close the quotation, and "
                "put a text with an apostrophe into double quotes"
            ) from None
        try:
            await super().run_command(cmd)
        except salobj.AckError as error:
            raise refusal(cmd.split()[0], error) from error

    async def do_startCalibrationRun(self, args: Sequence[str]) -> None:
        """Start a run with the options in a file."""
        command = self.remote.cmd_startCalibrationRun
        files, fields = split_named(args, _public_fields(command))
        if len(files) > 1:
            raise ValueError(
                f"give one file, not {len(files)} words; write reason, program and note as name=value, a value with "
                'blanks as reason="two words", and run options into the file'
            )
        if files and "config" in fields:
            raise ValueError("a file and config are given; give only one of them")
        if files:
            fields["config"] = await asyncio.to_thread(read_options_file, Path(files[0]))
        await self._run(command, command.DataType(**fields))

    async def do_status(self, args: Sequence[str]) -> None:
        """Have the CSC publish all events of a run again, and print the summary."""
        ack = await self._send("status", args)
        self.output(json.dumps(json.loads(ack.result), indent=2))

    async def do_resumeCalibrationRun(self, args: Sequence[str]) -> None:
        """Continue a run."""
        await self._send("resumeCalibrationRun", args)

    async def do_acceptVerification(self, args: Sequence[str]) -> None:
        """Accept a product that failed its verification."""
        await self._send("acceptVerification", args, needed=("runId", "calibType", "reason"))

    async def do_decertify(self, args: Sequence[str]) -> None:
        """Withdraw what a run has certified."""
        await self._send("decertify", args, needed=("runId", "calibType", "reason"))

    async def evt_runState_callback(self, data: Any) -> None:
        """Print the state of a run in words."""
        self.output(f"{data.private_sndStamp:0.3f}: run {data.runId} is {RunState(data.state).name}: {data.reason}")

    async def evt_stageState_callback(self, data: Any) -> None:
        """Print the state of a stage in words."""
        state = StageState(data.state).name
        self.output(f"{data.private_sndStamp:0.3f}: {data.runId} {data.stageName} is {state} {data.reason}".rstrip())

    async def _send(self, name: str, args: Sequence[str], needed: Sequence[str] = ()) -> Any:
        """Send a command; the fields that it needs come first, the others may follow or be named."""
        command = getattr(self.remote, f"cmd_{name}")
        fields = _public_fields(command)
        in_order = {key: fields[key] for key in (*needed, *(key for key in fields if key not in needed))}
        values = typed_fields(name, args, in_order, len(needed))
        return await self._run(command, command.DataType(**values))

    async def _run(self, command: Any, message: Any) -> Any:
        ack = await command.start(data=message, timeout=COMMAND_LIMIT_S)
        self.output(f"{command.attr_name.removeprefix('cmd_')} was accepted: {ack.result}")
        return ack


def _public_fields(command: Any) -> dict[str, type]:
    """Return the types of the fields that a command has of its own, in order."""
    return {
        name: type(value)
        for name, value in vars(command.DataType()).items()
        if name != "salIndex" and not name.startswith("private_")
    }


def split_named(words: Sequence[str], fields: Iterable[str]) -> tuple[list[str], dict[str, str]]:
    """Separate plain words from those of the form ``name=value``.

    Parameters
    ----------
    words
        What was typed after the command, without the quotes.
    fields
        Names that fields have; a word that begins with another name and ``=`` is a plain one.

    Returns
    -------
    plain, named
        The plain words in order; value by name.

    Raises
    ------
    ValueError
        If a name is given twice, or is that of a run option.
    """
    plain: list[str] = []
    named: dict[str, str] = {}
    known = set(fields)
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in known | set(OPTION_DESCRIPTIONS):
            plain.append(word)
        elif name not in known:
            raise ValueError(
                f"{name} is no field of this command but a run option; write it into the file: {name}: {value}"
            )
        elif name in named:
            raise ValueError(f"{name} is given twice; give it once")
        else:
            named[name] = value
    return plain, named


def typed_fields(command: str, words: Sequence[str], fields: Mapping[str, type], needed: int) -> dict[str, Any]:
    """Make the fields of a command from the words that were typed.

    Parameters
    ----------
    command
        Name of the command, for the sentence.
    words
        What was typed after it, without the quotes: values in the order of the fields, or ``name=value``.
    fields
        Type by name of field.
    needed
        How many of the first fields are required.

    Raises
    ------
    ValueError
        If there are too many words or too few, or one is no value for its field.
    """
    plain, named = split_named(words, fields)
    free = [name for name in fields if name not in named]
    if len(plain) > len(free):
        more = len(plain) - len(free)
        raise ValueError(
            f"{command} has {more} {'word' if more == 1 else 'words'} too many; its fields are {', '.join(fields)}; "
            'put a value that has blanks in quotes, as in reason="two words"'
        )
    texts = dict(zip(free, plain, strict=False)) | named
    if missing := [name for name in list(fields)[:needed] if not texts.get(name)]:
        raise ValueError(f"{command} needs {' and '.join(missing)}")
    return {name: _value(name, text, fields[name]) for name, text in texts.items()}


def _value(name: str, text: str, kind: type) -> Any:
    """Return the value of a field from a word; a type of calibration may be given by name."""
    if kind is not int:
        return text
    if name == "calibType" and text.upper() in CalibType.__members__:
        return int(CalibType[text.upper()])
    try:
        return int(text)
    except ValueError:
        names = f", nor one of {', '.join(CalibType.__members__)}" if name == "calibType" else ""
        raise ValueError(f"{name}: {text!r} is no whole number{names}") from None


def command_comcamcalib() -> None:
    """Run the commander from the command line."""
    try:
        asyncio.run(ComCamCalibCommander.amain(index=None))
    except (RuntimeError, ValueError, OSError, KafkaException) as error:  # no broker, topics or settings for it
        sys.exit(f"The commander could not be started: {error}")
