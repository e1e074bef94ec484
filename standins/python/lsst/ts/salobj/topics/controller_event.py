# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""An event, written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .write_topic import WriteTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["ControllerEvent"]


class ControllerEvent(WriteTopic):
    """Writer of an event, by its name without "evt_"."""

    def __init__(self, salinfo: SalInfo, name: str) -> None:
        super().__init__(salinfo=salinfo, attr_name=f"evt_{name}")
