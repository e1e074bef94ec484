# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that a Kafka broker is there and answers, because salobj itself waits for it without a limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

__all__ = ["check_answer", "check_connection"]

# Longest waits (seconds): for a connection, and for an answer over that connection.
CONNECTION_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0


async def check_connection() -> None:
    """Check that a program listens at one of the addresses in LSST_KAFKA_BROKER_ADDR.

    Without that variable nothing is checked: salobj then uses its own default address.

    Raises
    ------
    RuntimeError
        If no address takes a connection, or a login has only a user or only a password.
    """
    _check_login()
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


def _check_login() -> None:
    """Check that user and password are both there or both missing, because salobj uses no login if one is missing."""
    user, password = ("LSST_KAFKA_SECURITY_USERNAME", "LSST_KAFKA_SECURITY_PASSWORD")
    if bool(os.environ.get(user)) is not bool(os.environ.get(password)):
        given, missing = (user, password) if os.environ.get(user) else (password, user)
        raise RuntimeError(
            f"The environment variable {given} is set, but {missing} is not, so that there would be no login at Kafka: "
            "set both, or none."
        )


async def check_answer(configuration: Mapping[str, Any]) -> None:
    """Check that a broker answers a client that logs in as salobj does.

    Parameters
    ----------
    configuration
        librdkafka's settings to reach the broker, as salobj has them.

    Raises
    ------
    RuntimeError
        If it does not answer in time, or refuses the login.
    """
    await asyncio.to_thread(_ask, configuration)


def _ask(configuration: Mapping[str, Any]) -> None:
    # librdkafka would print its own log lines to the terminal; the sentence below says the same.
    client = AdminClient({**configuration, "log_level": 0})
    try:
        client.list_topics(timeout=ANSWER_LIMIT_S)
    except KafkaException as error:
        raise RuntimeError(
            f"Kafka at {configuration['bootstrap.servers']} takes connections, but gave no answer within "
            f"{ANSWER_LIMIT_S:g} s ({error.args[0].str()}); check LSST_KAFKA_BROKER_ADDR, and "
            "LSST_KAFKA_SECURITY_USERNAME and LSST_KAFKA_SECURITY_PASSWORD if it needs a login."
        ) from error
