# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .read_topic import DEFAULT_QUEUE_LEN, ReadTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["RemoteEvent"]


class RemoteEvent(ReadTopic):
    """Reader of an event; the parameters are those of `ReadTopic`, with the name without "evt_"."""

    def __init__(self, salinfo: SalInfo, name: str, max_history: int = 1, queue_len: int = DEFAULT_QUEUE_LEN) -> None:
        super().__init__(salinfo=salinfo, attr_name=f"evt_{name}", max_history=max_history, queue_len=queue_len)
