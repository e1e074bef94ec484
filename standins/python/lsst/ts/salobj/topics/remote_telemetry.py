# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A telemetry topic, read."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .read_topic import DEFAULT_QUEUE_LEN, ReadTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["RemoteTelemetry"]


class RemoteTelemetry(ReadTopic):
    """Reader of a telemetry topic, by its name without "tel_". It reads no old samples."""

    def __init__(self, salinfo: SalInfo, name: str, queue_len: int = DEFAULT_QUEUE_LEN) -> None:
        super().__init__(salinfo=salinfo, attr_name=f"tel_{name}", max_history=0, queue_len=queue_len)
