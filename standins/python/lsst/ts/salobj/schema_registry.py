# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Avro schemas at the schema registry, and messages in its framing."""

from __future__ import annotations

import io
import json
import logging
import re
import struct
import threading
from typing import TYPE_CHECKING, Any

import fastavro
from lsst.ts.xml.topic_info import TopicInfo

if TYPE_CHECKING:
    from confluent_kafka.schema_registry import SchemaRegistryClient

__all__ = ["SchemaRegistry", "TopicCodec", "forget_subjects"]

# A registry that does not answer is asked this many times more, after 1, 2 and 4 s at most.
CLIENT_SETTINGS = {"max.retries": 3, "retries.wait.ms": 1000}

# Confluent's framing: a zero byte, then the schema's id.
_FRAME = struct.Struct(">bI")

# Ids of registered schemas by (registry's URL, subject, schema), and schemas by (registry's URL, id): neither changes
# while a registry lives, and a CSC's process asks for the same ones many times.
_ids: dict[tuple[str, str, str], int] = {}
_schemas: dict[tuple[str, int], Any] = {}
_lock = threading.Lock()


def forget_subjects(subjects: set[str]) -> None:
    """Forget the ids of schemas whose subjects were deleted."""
    with _lock:
        for key in [key for key in _ids if key[1] in subjects]:
            del _ids[key]


class SchemaRegistry:
    """A registry at a URL. The methods block, and may be called from any thread.

    Parameters
    ----------
    url : `str`
        Where it is.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: SchemaRegistryClient | None = None

    @property
    def client(self) -> SchemaRegistryClient:
        """The client; it is made when it is first needed, because to import it takes a quarter of a second."""
        with _lock:
            if self._client is None:
                from confluent_kafka.schema_registry import SchemaRegistryClient

                self._client = SchemaRegistryClient({"url": self.url} | CLIENT_SETTINGS)
                # Its HTTP client would log every request.
                for name in ("httpx", "httpx2"):
                    logger = logging.getLogger(name)
                    if logger.level == logging.NOTSET:
                        logger.setLevel(logging.WARNING)
            return self._client

    def register(self, topic_info: TopicInfo) -> int:
        """Register the schema of a topic and return its id.

        Raises
        ------
        RuntimeError
            If the registry doesn't answer, or refuses the schema.
        """
        text = json.dumps(topic_info.make_avro_schema())
        key = (self.url, topic_info.avro_subject, text)
        schema_id = _ids.get(key)
        if schema_id is None:
            client = self.client
            from confluent_kafka.schema_registry import Schema

            try:
                schema_id = client.register_schema(topic_info.avro_subject, Schema(text, "AVRO"))
            except Exception as error:
                # The URL may have a user and a password in it, and so may the client's error.
                raise RuntimeError(
                    _without_credentials(
                        f"The schema registry at {self.url} did not register {topic_info.avro_subject}: {error!r}; "
                        "check LSST_SCHEMA_REGISTRY_URL, with user and password in it if the registry asks for them"
                    )
                ) from None
            _ids[key] = schema_id
        return schema_id

    def fetch(self, schema_id: int) -> Any:
        """Return a parsed schema by its id."""
        key = (self.url, schema_id)
        if key not in _schemas:
            text = self.client.get_schema(schema_id).schema_str
            _schemas[key] = fastavro.parse_schema(json.loads(text), _write_hint=False)
        return _schemas[key]


def _without_credentials(text: str) -> str:
    return re.sub(r"://[^\s/'\"]*@", "://", text)


class TopicCodec:
    """Turns the data of a topic into bytes and back.

    Parameters
    ----------
    topic_info : `TopicInfo`
        The topic.
    schema_id : `int`
        The registry's id of its schema.
    registry : `SchemaRegistry`
        Where the schemas of messages are found that were written with another version of the topic.
    """

    def __init__(self, topic_info: TopicInfo, schema_id: int, registry: SchemaRegistry) -> None:
        self.schema_id = schema_id
        self._registry = registry
        self._schema = fastavro.parse_schema(topic_info.make_avro_schema())
        self._frame = _FRAME.pack(0, schema_id)

    def encode(self, data: dict[str, Any]) -> bytes:
        """Return the bytes of a message.

        Raises
        ------
        TypeError, ValueError, OverflowError
            If a field's value doesn't fit its type.
        """
        buffer = io.BytesIO()
        buffer.write(self._frame)
        fastavro.schemaless_writer(buffer, self._schema, data)
        return buffer.getvalue()

    def decode(self, value: bytes | None) -> dict[str, Any]:
        """Return the data of a message, in the local version of the topic.

        Raises
        ------
        ValueError
            If the message has no such framing; and whatever fastavro raises for a body that it can't read.
        """
        if value is None or len(value) < _FRAME.size:
            raise ValueError(f"a message of {len(value or b'')} bytes is too short for a schema id")
        magic, schema_id = _FRAME.unpack_from(value)
        if magic != 0:
            raise ValueError(f"a message that begins with byte {magic} instead of 0 is not in Confluent's framing")
        buffer = io.BytesIO(value)
        buffer.seek(_FRAME.size)
        if schema_id == self.schema_id:
            return fastavro.schemaless_reader(buffer, self._schema, None)  # type: ignore[return-value]
        writer_schema = self._registry.fetch(schema_id)
        return fastavro.schemaless_reader(buffer, writer_schema, self._schema)  # type: ignore[return-value]
