# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The command ``command_comcamcalib``: salobj's commander, that knows this CSC's commands better."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lsst.ts import salobj

from .client import COMMAND_LIMIT_S
from .enums import RunState, StageState

__all__ = ["ComCamCalibCommander", "command_comcamcalib"]


class ComCamCalibCommander(salobj.CscCommander):  # type: ignore[misc]
    """Prints what the CSC tells, and sends it the commands that are typed.

    Parameters
    ----------
    enable
        Enable the CSC at the start.
    """

    def __init__(self, enable: bool = False) -> None:
        super().__init__(name="ComCamCalib", enable=enable, telemetry_fields_to_not_compare=("elapsed", "remaining"))
        self.help_dict["startCalibrationRun"] = "[file]  # YAML file with run options; the configured defaults without"
        self.help_dict["status"] = "[runId]  # of the open or latest run without"
        self.help_dict["resumeCalibrationRun"] = "[runId] [reason]"
        self.help_dict["acceptVerification"] = "runId calibType reason"
        self.help_dict["decertify"] = "runId calibType reason  # calibType 0: all of the run"

    async def do_startCalibrationRun(self, args: Sequence[str]) -> None:
        """Start a run with the options in a file."""
        if len(args) > 1:
            raise ValueError(f"one file is wanted, not {len(args)} words")
        config = await asyncio.to_thread(Path(args[0]).read_text) if args else ""
        command = self.remote.cmd_startCalibrationRun
        await self._run(command, command.DataType(config=config))

    async def do_status(self, args: Sequence[str]) -> None:
        """Have everything told again, and print the summary."""
        if len(args) > 1:
            raise ValueError(f"one runId is wanted, not {len(args)} words")
        command = self.remote.cmd_status
        ack = await self._run(command, command.DataType(runId=args[0] if args else ""))
        self.output(json.dumps(json.loads(ack.result), indent=2))

    async def evt_runState_callback(self, data: Any) -> None:
        """Print the state of a run in words."""
        self.output(f"{data.private_sndStamp:0.3f}: run {data.runId} is {RunState(data.state).name}: {data.reason}")

    async def evt_stageState_callback(self, data: Any) -> None:
        """Print the state of a stage in words."""
        state = StageState(data.state).name
        self.output(f"{data.private_sndStamp:0.3f}: {data.runId} {data.stageName} is {state} {data.reason}".rstrip())

    async def _run(self, command: Any, message: Any) -> Any:
        ack = await command.start(data=message, timeout=COMMAND_LIMIT_S)
        self.output(f"{command.attr_name.removeprefix('cmd_')} was accepted: {ack.result}")
        return ack


def command_comcamcalib() -> None:
    """Run the commander from the command line."""
    asyncio.run(ComCamCalibCommander.amain(index=None))
