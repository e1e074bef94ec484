# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command that a Remote has sent and that is not finished."""

from __future__ import annotations

import asyncio
import collections
import time
from typing import TYPE_CHECKING, Any

from lsst.ts.xml.sal_enums import SalRetCode

from ..base import AckError, AckTimeoutError

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["FAILED_ACK_CODES", "FINAL_ACK_CODES", "RunningCommand"]

FAILED_ACK_CODES = frozenset(
    {
        *(SalRetCode.CMD_ABORTED, SalRetCode.CMD_FAILED, SalRetCode.CMD_NOACK),
        *(SalRetCode.CMD_NOPERM, SalRetCode.CMD_STALLED, SalRetCode.CMD_TIMEOUT),
    }
)
FINAL_ACK_CODES = FAILED_ACK_CODES | {SalRetCode.CMD_COMPLETE}

ACK_QUEUE_LEN = 4


class RunningCommand:
    """The acknowledgements of one command.

    Parameters
    ----------
    salinfo : `SalInfo`
        The component; its table ``running_commands`` holds this object until the final acknowledgement.
    seq_num : `int`
        private_seqNum of the command.
    """

    def __init__(self, salinfo: SalInfo, seq_num: int) -> None:
        self._salinfo = salinfo
        self._seq_num = seq_num
        self._acks: collections.deque[Any] = collections.deque(maxlen=ACK_QUEUE_LEN)
        self._last_ack: Any = None
        self._arrived = asyncio.Event()
        salinfo.running_commands[seq_num] = self

    def add_ackcmd(self, ackcmd: Any) -> None:
        """Take over an acknowledgement that was read."""
        self._acks.append(ackcmd)
        self._arrived.set()
        if ackcmd.ack in FINAL_ACK_CODES:
            self._forget()

    def abort(self, result: str) -> None:
        """Finish as not acknowledged, with this result, because no acknowledgement can come any more."""
        self.add_ackcmd(self._salinfo.make_ackcmd(self._seq_num, SalRetCode.CMD_NOACK, result=result))

    async def next_ackcmd(self, timeout: float, wait_done: bool) -> Any:
        """Return the next acknowledgement, or the final one.

        Parameters
        ----------
        timeout : `float`
            Time limit (seconds). With ``wait_done`` each CMD_INPROGRESS adds its own timeout to it.
        wait_done : `bool`
            Wait for the final acknowledgement?

        Raises
        ------
        AckError
            If the command failed.
        AckTimeoutError
            If the acknowledgement doesn't come in time. The command is forgotten then.
        """
        deadline = time.monotonic() + timeout
        while True:
            if not self._acks:
                await self._wait_until(deadline)
            ackcmd = self._last_ack = self._acks.popleft()
            if not self._acks:
                self._arrived.clear()
            if ackcmd.ack in FAILED_ACK_CODES:
                raise AckError("Command failed", ackcmd)
            if ackcmd.ack in FINAL_ACK_CODES or not wait_done:
                return ackcmd
            if ackcmd.ack == SalRetCode.CMD_INPROGRESS:
                deadline += ackcmd.timeout

    async def _wait_until(self, deadline: float) -> None:
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                await self._arrived.wait()
        except TimeoutError:
            self._forget()
            last_ack = self._last_ack or self._salinfo.make_ackcmd(
                self._seq_num, SalRetCode.CMD_NOACK, result="No command acknowledgement seen"
            )
            raise AckTimeoutError("Timed out waiting for command acknowledgement", last_ack) from None

    def _forget(self) -> None:
        self._salinfo.running_commands.pop(self._seq_num, None)
