# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Is there a Kafka broker, and does it answer? salobj would wait for it without end."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

__all__ = ["check_answer", "check_connection"]

# Longest waits (seconds) for a connection, and for an answer over it.
CONNECTION_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0


async def check_connection() -> None:
    """See that something listens where salobj is told that Kafka is; that nothing does is known at once.

    Raises
    ------
    RuntimeError
        If nothing does. Where salobj is not told an address, its own is left to it.
    """
    problems = []
    for address in filter(None, map(str.strip, os.environ.get("LSST_KAFKA_BROKER_ADDR", "").split(","))):
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECTION_LIMIT_S):
                _, writer = await asyncio.open_connection(host, int(port))
        except (OSError, ValueError) as error:  # TimeoutError is an OSError
            problems.append(f"{address} ({str(error) or f'no answer within {CONNECTION_LIMIT_S:g} s'})")
        else:
            writer.close()
            return
    if problems:
        raise RuntimeError(f"There is no Kafka broker at {', '.join(problems)}; check LSST_KAFKA_BROKER_ADDR.")


async def check_answer(configuration: Mapping[str, Any]) -> None:
    """See that a broker answers a client that logs in as salobj does.

    Parameters
    ----------
    configuration
        librdkafka's settings to reach the broker, as salobj has them.

    Raises
    ------
    RuntimeError
        If it does not.
    """
    await asyncio.to_thread(_ask, configuration)


def _ask(configuration: Mapping[str, Any]) -> None:
    # Of librdkafka's own lines nobody becomes wiser than of the sentence below.
    client = AdminClient({**configuration, "log_level": 0})
    try:
        client.list_topics(timeout=ANSWER_LIMIT_S)
    except KafkaException as error:
        raise RuntimeError(
            f"Kafka at {configuration['bootstrap.servers']} takes connections, but gave no answer within "
            f"{ANSWER_LIMIT_S:g} s ({error.args[0].str()}); check LSST_KAFKA_BROKER_ADDR, and "
            "LSST_KAFKA_SECURITY_USERNAME and LSST_KAFKA_SECURITY_PASSWORD if it wants a login."
        ) from error
