# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check that a Kafka broker is there, answers and takes the login, because salobj waits for that without a limit."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient

__all__ = ["LoginRefusedError", "check_answer", "check_connection", "check_login", "registry_problem"]

USER, PASSWORD = "LSST_KAFKA_SECURITY_USERNAME", "LSST_KAFKA_SECURITY_PASSWORD"

# Longest waits (seconds): for a connection, and for an answer over that connection.
CONNECTION_LIMIT_S = 5.0
ANSWER_LIMIT_S = 10.0

# An answer is asked for in tries that take these parts of the limit: between them a refusal is noticed.
TRIES = (0.1, 0.3, 0.6)


class LoginRefusedError(RuntimeError):
    """The broker does not take the login, or there is only half of one."""


async def check_connection() -> None:
    """Check that a program listens at one of the addresses in LSST_KAFKA_BROKER_ADDR.

    Without that variable nothing is checked: salobj then uses its own default address.

    Raises
    ------
    RuntimeError
        If no address takes a connection, or a login has only a user or only a password, or the schema registry's
        address is none.
    """
    _check_both_parts()
    if problem := registry_problem():
        raise RuntimeError(problem)
    problems = []
    for address in filter(None, map(str.strip, os.environ.get("LSST_KAFKA_BROKER_ADDR", "").split(","))):
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(CONNECTION_LIMIT_S):
                _, writer = await asyncio.open_connection(host, int(port))
        except ValueError:
            problems.append(f"{address} (this is no address such as kafka:9092)")
        except OSError as error:  # TimeoutError is one
            problems.append(f"{address} ({str(error) or f'no answer within {CONNECTION_LIMIT_S:g} s'})")
        else:
            writer.close()
            return
    if problems:
        raise RuntimeError(f"There is no Kafka broker at {', '.join(problems)}; check LSST_KAFKA_BROKER_ADDR.")


def registry_problem() -> str:
    """Return why the schema registry's address can't be one; "" if it can, or salobj uses its own default."""
    address = os.environ.get("LSST_SCHEMA_REGISTRY_URL", "")
    if not address or address.startswith(("http://", "https://")):
        return ""
    # It is not shown, because it may have a password in it.
    return "LSST_SCHEMA_REGISTRY_URL must begin with http:// or https://, as http://schema-registry:8081 does."


async def check_login(configuration: Mapping[str, Any]) -> None:
    """Check that no broker refuses the login.

    One that does not answer is no reason to give up: salobj waits for it, and it may come. Without a login nothing is
    checked.

    Parameters
    ----------
    configuration
        librdkafka's settings to reach the broker, as salobj has them.

    Raises
    ------
    LoginRefusedError
        If a broker refuses the login, or a login has only a user or only a password.
    """
    _check_both_parts()
    if "sasl.username" in configuration:
        await asyncio.to_thread(_ask, configuration)


async def check_answer(configuration: Mapping[str, Any]) -> None:
    """Check that a broker answers a client that logs in as salobj does.

    Parameters
    ----------
    configuration
        librdkafka's settings to reach the broker, as salobj has them.

    Raises
    ------
    LoginRefusedError
        If it refuses the login.
    RuntimeError
        If it does not answer in time.
    """
    error = await asyncio.to_thread(_ask, configuration)
    if error is not None:
        raise RuntimeError(
            f"Kafka at {configuration['bootstrap.servers']} takes connections, but gave no answer within "
            f"{ANSWER_LIMIT_S:g} s ({error.str()}); check LSST_KAFKA_BROKER_ADDR, and {USER} and {PASSWORD} if it "
            "needs a login."
        )


def _check_both_parts() -> None:
    """Check that user and password are both there or both missing, because salobj uses no login if one is missing."""
    if bool(os.environ.get(USER)) is not bool(os.environ.get(PASSWORD)):
        given, missing = (USER, PASSWORD) if os.environ.get(USER) else (PASSWORD, USER)
        raise LoginRefusedError(
            f"The environment variable {given} is set, but {missing} is not, so that there would be no login at Kafka: "
            "set both, or none."
        )


def _ask(configuration: Mapping[str, Any]) -> KafkaError | None:
    """Return why no broker answers; None if one does."""
    refusals: list[str] = []

    def on_error(error: KafkaError) -> None:
        if error.code() == KafkaError._AUTHENTICATION:
            refusals.append(error.str())

    # librdkafka would print its own log lines to the terminal; the sentences say the same.
    client = AdminClient({**configuration, "log_level": 0, "error_cb": on_error})
    failure: KafkaError | None = None
    for part in TRIES:
        try:
            client.list_topics(timeout=part * ANSWER_LIMIT_S)
            return None
        except KafkaException as error:
            failure = error.args[0]
        client.poll(0)  # calls on_error
        if refusals:
            raise LoginRefusedError(
                f"Kafka at {configuration['bootstrap.servers']} refuses the login of {configuration['sasl.username']} "
                f"({refusals[-1]}): check {USER} and {PASSWORD}."
            )
    return failure
