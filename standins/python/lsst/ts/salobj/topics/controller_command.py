# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command, received."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

from lsst.ts.xml.sal_enums import SalRetCode

from ..base import ExpectedError
from .read_topic import DEFAULT_QUEUE_LEN, CallbackType, ReadTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["ControllerCommand"]


class ControllerCommand(ReadTopic):
    """Receiver of a command, by its name without "cmd_".

    The callback's outcome is acknowledged: it returns `None` (complete) or an acknowledgement of its own, or it raises.
    """

    def __init__(self, salinfo: SalInfo, name: str, queue_len: int = DEFAULT_QUEUE_LEN) -> None:
        super().__init__(salinfo=salinfo, attr_name=f"cmd_{name}", max_history=0, queue_len=queue_len)
        salinfo.ensure_ackcmd_writer()
        self.cmdtype = salinfo.sal_topic_names.index(self.sal_name)

    async def ack(self, data: Any, ackcmd: Any) -> None:
        """Acknowledge a command.

        Parameters
        ----------
        data : `BaseMsgType`
            The command.
        ackcmd : `AckCmdDataType`
            The acknowledgement; what identifies the command in it is filled in.
        """
        ackcmd.private_seqNum = data.private_seqNum
        ackcmd.identity = data.private_identity
        ackcmd.origin = data.private_origin
        ackcmd.cmdtype = self.cmdtype
        writer = self.salinfo.ensure_ackcmd_writer()
        writer.data = ackcmd
        await writer.write()

    async def ack_in_progress(self, data: Any, timeout: float, result: str = "") -> None:
        """Acknowledge that a command is being carried out.

        Parameters
        ----------
        data : `BaseMsgType`
            The command.
        timeout : `float`
            Estimated duration (seconds); the sender waits that much longer.
        result : `str`
            Free text.
        """
        ackcmd = self.salinfo.make_ackcmd(
            data.private_seqNum, SalRetCode.CMD_INPROGRESS, result=result, timeout=timeout
        )
        await self.ack(data, ackcmd)

    async def next(self, *, timeout: float | None = None) -> Any:  # type: ignore[override]
        """Take the oldest command from the queue; wait for one if it is empty. No command is ever flushed."""
        return await super().next(flush=False, timeout=timeout)

    def _queue_data(self, data: dict[str, Any]) -> None:
        if data["private_seqNum"] <= 0:
            raise ValueError(f"{self}: command with private_seqNum={data['private_seqNum']} must be > 0")
        super()._queue_data(data)

    async def _call(self, callback: CallbackType, sample: Any) -> None:
        """Call the callback and acknowledge its outcome."""
        ackcmd = None
        cancelled = False
        try:
            returned = callback(sample)
            ackcmd = (await returned) if inspect.isawaitable(returned) else returned
            code, error, result = SalRetCode.CMD_COMPLETE, 0, "Done"
        except asyncio.CancelledError:
            cancelled = True
            code, error, result = SalRetCode.CMD_ABORTED, 1, "Aborted"
        except TimeoutError:
            code, error, result = SalRetCode.CMD_TIMEOUT, 1, "Timeout"
        except ExpectedError as expected:
            code, error, result = SalRetCode.CMD_FAILED, 1, f"Failed: {expected}"
        except Exception as unexpected:
            self.log.exception(f"Callback {callback} failed with data={sample}")
            code, error, result = SalRetCode.CMD_FAILED, 1, f"Failed: {unexpected}"
        if ackcmd is None:
            ackcmd = self.salinfo.make_ackcmd(sample.private_seqNum, code, error=error, result=result)
        if self.salinfo.running:
            try:
                await self.ack(sample, ackcmd)
            except Exception:
                self.log.exception(f"Acknowledging {self.sal_name} private_seqNum={sample.private_seqNum} failed")
        task = asyncio.current_task()
        if cancelled and task is not None and task.cancelling():
            raise asyncio.CancelledError
