# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Delete the Kafka topics of tests, and their schemas."""

from __future__ import annotations

import asyncio
import logging
import os

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from . import kafka_configuration
from .schema_registry import forget_subjects

__all__ = ["delete_kafka_topics"]

BROKER_LIMIT = 5.0  # seconds for the list of topics
DELETE_LIMIT = 2.0  # seconds for an answer to the request to delete

# Addresses of brokers that did not answer a request to delete: they are not asked again.
_brokers_that_keep_topics: set[str] = set()


async def delete_kafka_topics(topic_subname: str | None = None) -> list[str]:
    """Delete all Kafka topics with a subname, and their schemas.

    A broker that does not delete topics keeps them, and the schemas stay then too; that is only logged.

    Parameters
    ----------
    topic_subname : `str` or `None`
        The subname; `None` for that of environment variable LSST_TOPIC_SUBNAME.

    Returns
    -------
    deleted : `list` [`str`]
        Names of the topics that were deleted, sorted.

    Raises
    ------
    ValueError
        If the subname is empty, or "sal", which is the observatory's own.
    """
    subname = os.environ.get("LSST_TOPIC_SUBNAME", "") if topic_subname is None else topic_subname
    if subname in ("", "sal"):
        raise ValueError(f"Topics with the subname {subname!r} are not deleted; give that of a test")
    return await asyncio.get_running_loop().run_in_executor(None, _delete, f"lsst.{subname}.")


def _delete(prefix: str) -> list[str]:
    log = logging.getLogger(__name__)
    address = kafka_configuration.broker_address()
    if address in _brokers_that_keep_topics:
        return []
    admin = AdminClient(kafka_configuration.broker_client_configuration(), logger=log)
    try:
        names = [name for name in admin.list_topics(timeout=BROKER_LIMIT).topics if name.startswith(prefix)]
    except KafkaException as error:
        log.warning(f"No topics are deleted: the Kafka broker at {address} does not answer: {error}")
        return []
    deleted, failures = [], []
    if names:
        for name, future in admin.delete_topics(names, request_timeout=DELETE_LIMIT).items():
            try:
                future.result()
                deleted.append(name)
            except KafkaException as error:
                failures.append(error)
    if failures:
        log.info(f"The Kafka broker at {address} keeps {len(failures)} topics: {failures[0]}")
        if not deleted:
            _brokers_that_keep_topics.add(address)
    _delete_schemas({f"{name}-value" for name in deleted}, log)
    return sorted(deleted)


def _delete_schemas(subjects: set[str], log: logging.Logger) -> None:
    """Delete the schemas; what the registry does not have is no failure."""
    if not subjects:
        return
    forget_subjects(subjects)
    # Imported late: it takes a quarter of a second.
    from confluent_kafka.schema_registry import SchemaRegistryClient
    from confluent_kafka.schema_registry.error import SchemaRegistryError

    with SchemaRegistryClient({"url": kafka_configuration.schema_registry_url()}) as client:
        for subject in sorted(subjects):
            try:
                client.delete_subject(subject)
            except SchemaRegistryError as error:
                log.debug(f"The schema registry did not delete {subject}: {error}")
