# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A command, sent."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, NoReturn

from .base_topic import MAX_SEQ_NUM
from .running_command import RunningCommand
from .write_topic import WriteTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["DEFAULT_TIMEOUT", "RemoteCommand"]

DEFAULT_TIMEOUT = 3600.0


class RemoteCommand(WriteTopic):
    """Sender of a command, by its name without "cmd_".

    The numbers of a component's commands lie in a range for each command, and begin at random, so that one is hardly
    ever used by two commands at the same time.
    """

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        step = MAX_SEQ_NUM // len(salinfo.command_names)
        position = salinfo.command_names.index(name) if name in salinfo.command_names else 0
        self.min_seq_num, self.max_seq_num = position * step + 1, (position + 1) * step
        super().__init__(
            salinfo=salinfo,
            attr_name=f"cmd_{name}",
            min_seq_num=self.min_seq_num,
            max_seq_num=self.max_seq_num,
            initial_seq_num=random.randint(self.min_seq_num, self.max_seq_num),
        )
        salinfo.ensure_ackcmd_reader()

    def set(self, **kwargs: Any) -> bool:
        """Set all fields to their defaults, then those that are given; `None` leaves the default.

        Raises
        ------
        AttributeError, TypeError
            As for `WriteTopic.set`.
        """
        self._data = self.DataType()
        return super().set(**kwargs)

    async def set_start(self, timeout: float = DEFAULT_TIMEOUT, wait_done: bool = True, **kwargs: Any) -> Any:
        """Set the fields and send the command: `set`, then `start`.

        A field named timeout or wait_done can't be set by this method.
        """
        self.set(**kwargs)
        return await self.start(timeout=timeout, wait_done=wait_done)

    async def start(self, data: Any = None, timeout: float = DEFAULT_TIMEOUT, wait_done: bool = True) -> Any:
        """Send the command and wait for its acknowledgement.

        Parameters
        ----------
        data : `BaseMsgType` or `None`
            What to send; `None`: what `set` has set.
        timeout : `float`
            Time limit (seconds). With ``wait_done`` each CMD_INPROGRESS adds its own timeout to it.
        wait_done : `bool`
            Wait for the final acknowledgement? If not, the first of any kind is returned.

        Returns
        -------
        ackcmd : `AckCmdDataType`
            The acknowledgement.

        Raises
        ------
        AckError
            If the command failed.
        AckTimeoutError
            If the acknowledgement doesn't come in time.
        RuntimeError
            If the SalInfo is not running.
        """
        self.salinfo.assert_running()
        if data is not None:
            self.data = data
        prepared = self._prepare_to_write()
        running = RunningCommand(self.salinfo, prepared.private_seqNum)
        try:
            await self._write(prepared)
        except BaseException:
            self.salinfo.running_commands.pop(prepared.private_seqNum, None)
            raise
        return await running.next_ackcmd(timeout=timeout, wait_done=wait_done)

    async def next_ackcmd(self, ackcmd: Any, timeout: float = DEFAULT_TIMEOUT, wait_done: bool = True) -> Any:
        """Wait for a further acknowledgement of a command that was started with ``wait_done=False``.

        Parameters
        ----------
        ackcmd : `AckCmdDataType`
            An earlier acknowledgement of the command.
        timeout, wait_done
            As for `start`.

        Raises
        ------
        AckError, AckTimeoutError
            As for `start`.
        RuntimeError
            If the command is unknown or finished: a final acknowledgement that has come is not kept.
        """
        self.salinfo.assert_running()
        running = self.salinfo.running_commands.get(ackcmd.private_seqNum)
        if running is None:
            raise RuntimeError(f"{self}: command with private_seqNum={ackcmd.private_seqNum} is unknown or finished")
        return await running.next_ackcmd(timeout=timeout, wait_done=wait_done)

    async def set_write(self, *, force_output: bool | None = None, **kwargs: Any) -> NoReturn:
        """Not for commands: use `set_start`."""
        raise NotImplementedError("Use set_start instead")

    async def write(self) -> NoReturn:
        """Not for commands: use `start`."""
        raise NotImplementedError("Use start instead")
