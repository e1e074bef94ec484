# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Command acknowledgements, read by a Remote and written by a Controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .read_topic import ReadTopic
from .write_topic import WriteTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["AckCmdReader", "AckCmdWriter"]


class AckCmdReader(ReadTopic):
    """Reader of the acknowledgements of commands that this process sent with this identity."""

    def __init__(self, salinfo: SalInfo) -> None:
        super().__init__(salinfo=salinfo, attr_name="ack_ackcmd", max_history=0)

    def _accepts(self, data: dict[str, Any]) -> bool:
        mine = data["identity"] == self.salinfo.identity and data["origin"] == self.salinfo.domain.origin
        return mine and super()._accepts(data)

    def _queue_data(self, data: dict[str, Any]) -> None:
        running = self.salinfo.running_commands.get(data["private_seqNum"])
        if running is not None:
            running.add_ackcmd(self.DataType(**data))


class AckCmdWriter(WriteTopic):
    """Writer of acknowledgements; their private_seqNum is that of the command."""

    def __init__(self, salinfo: SalInfo) -> None:
        super().__init__(salinfo=salinfo, attr_name="ack_ackcmd", min_seq_num=None)
