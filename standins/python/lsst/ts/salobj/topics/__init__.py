# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topics of a component, read and written."""

from .ackcmd import AckCmdReader, AckCmdWriter
from .base_topic import MAX_SEQ_NUM, BaseTopic
from .controller_command import ControllerCommand
from .controller_event import ControllerEvent
from .controller_telemetry import ControllerTelemetry
from .mock_write_topic import MockWriteTopic
from .queue_capacity_checker import QueueCapacityChecker
from .read_topic import DEFAULT_QUEUE_LEN, MIN_QUEUE_LEN, ReadTopic
from .remote_command import RemoteCommand
from .remote_event import RemoteEvent
from .remote_telemetry import RemoteTelemetry
from .write_topic import SetWriteResult, WriteTopic

__all__ = [
    "DEFAULT_QUEUE_LEN",
    "MAX_SEQ_NUM",
    "MIN_QUEUE_LEN",
    "AckCmdReader",
    "AckCmdWriter",
    "BaseTopic",
    "ControllerCommand",
    "ControllerEvent",
    "ControllerTelemetry",
    "MockWriteTopic",
    "QueueCapacityChecker",
    "ReadTopic",
    "RemoteCommand",
    "RemoteEvent",
    "RemoteTelemetry",
    "SetWriteResult",
    "WriteTopic",
]
