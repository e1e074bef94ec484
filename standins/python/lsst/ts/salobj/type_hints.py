# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Types of messages and paths, from lsst.ts.xml, with their older names."""

from __future__ import annotations

from lsst.ts.xml.type_hints import AckCmdDataType, BaseMsgType, PathType

__all__ = ["AckCmdDataType", "BaseDdsDataType", "BaseMsgType", "PathType"]

BaseDdsDataType = BaseMsgType
