# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of messages and paths."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["AckCmdDataType", "BaseMsgType", "PathType"]

PathType = str | bytes | os.PathLike[Any]


class BaseMsgType:
    """The fields that every message has; the classes themselves are made from the XML."""

    private_efdStamp: float
    private_identity: str
    private_kafkaStamp: float
    private_origin: int
    private_rcvStamp: float
    private_revCode: str
    private_seqNum: int
    private_sndStamp: float
    salIndex: int


class AckCmdDataType(BaseMsgType):
    """The fields of a command acknowledgement."""

    ack: int
    cmdtype: int
    error: int
    identity: str
    origin: int
    result: str
    timeout: float
