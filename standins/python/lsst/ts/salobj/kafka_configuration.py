# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Settings of the Kafka clients, from environment variables."""

from __future__ import annotations

import os
import pathlib
from typing import Any

import yaml

__all__ = [
    "broker_address",
    "broker_client_configuration",
    "consumer_configuration",
    "max_history_read",
    "producer_configuration",
    "replication_factor",
    "schema_registry_url",
]

DEFAULT_MAX_HISTORY_READ = 500


def broker_address() -> str:
    """Return host:port of the Kafka broker."""
    return os.environ.get("LSST_KAFKA_BROKER_ADDR", "broker:29092")


def schema_registry_url() -> str:
    """Return the URL of the schema registry."""
    return os.environ.get("LSST_SCHEMA_REGISTRY_URL", "http://schema-registry:8081")


def replication_factor() -> int:
    """Return how many brokers shall keep a topic that has to be created.

    Raises
    ------
    ValueError
        If LSST_KAFKA_REPLICATION_FACTOR is no number of brokers.
    """
    text = os.environ.get("LSST_KAFKA_REPLICATION_FACTOR", "1")
    if not text.isdecimal() or int(text) < 1:
        raise ValueError(f"LSST_KAFKA_REPLICATION_FACTOR is {text!r}, but must be a number of brokers, such as 3.")
    return int(text)


def broker_client_configuration() -> dict[str, Any]:
    """Return the settings that every client needs to reach the broker: address and, if given, credentials."""
    conf: dict[str, Any] = {"bootstrap.servers": broker_address()}
    username = os.environ.get("LSST_KAFKA_SECURITY_USERNAME")
    password = os.environ.get("LSST_KAFKA_SECURITY_PASSWORD")
    if username and password:
        conf |= {
            "security.protocol": os.environ.get("LSST_KAFKA_SECURITY_PROTOCOL", "SASL_PLAINTEXT"),
            "sasl.mechanism": os.environ.get("LSST_KAFKA_SECURITY_MECHANISM", "SCRAM-SHA-512"),
            "sasl.username": username,
            "sasl.password": password,
        }
    return conf | _read_yaml_mapping("LSST_KAFKA_BROKER_CLIENT_CONFIGURATION")


def producer_configuration() -> dict[str, Any]:
    """Return the settings of a producer."""
    own = {"acks": os.environ.get("LSST_KAFKA_PRODUCER_WAIT_ACKS", "1"), "queue.buffering.max.ms": 0}
    return own | _read_yaml_mapping("LSST_KAFKA_PRODUCER_CONFIGURATION") | broker_client_configuration()


def consumer_configuration(group_id: str) -> dict[str, Any]:
    """Return the settings of a consumer.

    The consumer assigns its partitions itself and commits nothing, so no group is made at the broker.
    """
    own = {
        "group.id": group_id,
        "allow.auto.create.topics": False,
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "enable.partition.eof": True,
    }
    return own | _read_yaml_mapping("LSST_KAFKA_CONSUMER_CONFIGURATION") | broker_client_configuration()


def max_history_read(component_name: str) -> int:
    """Return how many old messages a reader of an indexed component looks at to find the last of each index."""
    default = int(os.environ.get("LSST_MAX_HISTORY_READ", str(DEFAULT_MAX_HISTORY_READ)))
    # Unlike those of the clients, this file need not be there.
    if not pathlib.Path(os.environ.get("LSST_HISTORY_READ_CONFIG", "")).is_file():
        return default
    return int(_read_yaml_mapping("LSST_HISTORY_READ_CONFIG").get(component_name, default))


def _read_yaml_mapping(variable: str) -> dict[str, Any]:
    """Return what is in the YAML file that an environment variable names; nothing if it is not set.

    Raises
    ------
    ValueError
        If the file can't be read or holds anything but a mapping.
    """
    path = os.environ.get(variable)
    if not path:
        return {}
    try:
        content = yaml.safe_load(pathlib.Path(path).read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"The file that {variable} names can't be used: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ValueError(
            f"{path}, named by {variable}, must hold a mapping of settings, not a {type(content).__name__}"
        )
    return content
