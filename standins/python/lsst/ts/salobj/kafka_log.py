# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Loggers of what concerns the transport of messages."""

from __future__ import annotations

import logging
import time

__all__ = ["kafka_log", "librdkafka_log"]

# What concerns the transport of messages is not logged by the component's logger, whose records become messages.
kafka_log = logging.getLogger("lsst.ts.salobj.kafka")
librdkafka_log = logging.getLogger("lsst.ts.salobj.librdkafka")

# While the broker can't be reached, librdkafka says so twenty times a second. It is logged once in this many seconds.
LIBRDKAFKA_LOG_PAUSE = 10.0


class _OnceInAWhile(logging.Filter):
    """Lets records of one level, facility and client of librdkafka pass at intervals only."""

    def __init__(self) -> None:
        super().__init__()
        self._next_times: dict[object, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        # confluent_kafka logs with these arguments: facility, client, text.
        key = (record.levelno, record.args[:2] if isinstance(record.args, tuple) else record.msg)
        now = time.monotonic()
        if now < self._next_times.get(key, 0.0):
            return False
        self._next_times[key] = now + LIBRDKAFKA_LOG_PAUSE
        return True


librdkafka_log.addFilter(_OnceInAWhile())
