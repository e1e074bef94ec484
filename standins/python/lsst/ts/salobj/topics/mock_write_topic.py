# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topic that is only written down."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .write_topic import WriteTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["MockWriteTopic"]


class MockWriteTopic(WriteTopic):
    """A writer for tests that keeps what would be written, and needs no broker.

    Attributes
    ----------
    data_list : `list` [`BaseMsgType`]
        Copies of the data, in the order of writing.
    """

    def __init__(self, *, salinfo: SalInfo, attr_name: str) -> None:
        super().__init__(salinfo=salinfo, attr_name=attr_name)
        self.data_list: list[Any] = []

    async def write(self) -> Any:
        """Keep a copy of the data, and return it."""
        data = self._prepare_to_write()
        self.data_list.append(data)
        self._has_data = True
        return data
