# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A schema registry that Confluent's clients can't tell from theirs, in memory and on loopback.

It answers what confluent_kafka's ``SchemaRegistryClient`` and salobj ask, with the status and error codes of
https://docs.confluent.io/platform/current/schema-registry/develop/api.html. Its compatibility level is NONE and stays
NONE: every new version of a schema is accepted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import logging
import uuid
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Any, NoReturn

from aiohttp import web

from .faults import Faults
from .http_faults import fault_middleware
from .loopback import LoopbackThread

__all__ = ["SchemaRegistry"]

_CONTENT_TYPE = "application/vnd.schemaregistry.v1+json"
_LATEST = "latest"
_MAX_REQUEST_BYTES = 1 << 24  # the largest schema of the observatory is below 1 MB

SUBJECT_NOT_FOUND = 40401
VERSION_NOT_FOUND = 40402
SCHEMA_NOT_FOUND = 40403
INVALID_SCHEMA = 42201
INVALID_VERSION = 42202
INVALID_LEVEL = 42203


def _refuse(status: int, code: int, message: str) -> NoReturn:
    """Answer with an error in the registry's own form."""
    body = json.dumps({"error_code": code, "message": message})
    error: dict[int, type[web.HTTPException]] = {404: web.HTTPNotFound, 422: web.HTTPUnprocessableEntity}
    raise error[status](text=body, content_type=_CONTENT_TYPE)


def _reply(value: object) -> web.Response:
    return web.json_response(value, content_type=_CONTENT_TYPE)


def _canonical(schema: str) -> str:
    """Return a form of an Avro schema that does not depend on white space and the order of attributes."""
    return json.dumps(json.loads(schema), sort_keys=True)


async def _read_schema(request: web.Request) -> str:
    """Return the schema's text from a request, refusing what is not JSON."""
    try:
        body = json.loads(await request.text())
        schema = body["schema"]
        _canonical(schema)
    except (ValueError, TypeError, KeyError) as exc:
        _refuse(422, INVALID_SCHEMA, f"Invalid schema: {exc}")
    if body.get("schemaType", "AVRO") != "AVRO":
        _refuse(422, INVALID_SCHEMA, f"Invalid schema type {body['schemaType']}: only AVRO is known here")
    return str(schema)


class SchemaRegistry:
    """A registry of Avro schemas; use it as an async context manager, or call `start` and `close`.

    It works in a thread of its own, because confluent_kafka's deserialisers ask it while they block the event loop.

    Parameters
    ----------
    port
        Where to listen on 127.0.0.1; 0 lets the system choose a free port.
    faults
        Faults of the place "registry" (see `http_faults`); asked in the registry's thread.
    login
        ``user:password`` that clients must give, as Confluent's does with basic authentication. "": none.
    """

    def __init__(self, port: int = 0, faults: Faults | None = None, login: str = "") -> None:
        self._faults = faults or Faults()
        self._authorization = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""
        self._log = logging.getLogger(__name__)
        self._schemas: list[str] = []  # the text with id n is at n - 1
        self._id_of: dict[str, int] = {}  # by canonical text
        self._subjects: dict[str, list[int]] = {}  # the id of version n is at n - 1
        self._server = LoopbackThread(self._application(), port, name="schema registry")

    async def __aenter__(self) -> SchemaRegistry:
        await self.start()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address for clients."""
        return self._server.url

    async def start(self) -> None:
        """Answer requests from now on."""
        await self._server.start()
        self._log.info("Schema registry listens on %s", self.url)

    async def close(self) -> None:
        """Stop answering."""
        await self._server.close()

    @web.middleware
    async def _guard(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        if self._authorization and request.headers.get("Authorization", "") != self._authorization:
            body = {"error_code": 401, "message": "Unauthorized"}
            return web.json_response(body, status=401, headers={"WWW-Authenticate": 'Basic realm="registry"'})
        return await handler(request)

    def _application(self) -> web.Application:
        app = web.Application(
            client_max_size=_MAX_REQUEST_BYTES,
            middlewares=[fault_middleware(self._faults, "registry"), self._guard, _errors_as_json],
        )
        one_version = "/subjects/{subject}/versions/{version}"
        app.add_routes(
            [
                web.get("/subjects", self._list_subjects),
                web.post("/subjects/{subject}", self._look_up),
                web.delete("/subjects/{subject}", self._delete_subject),
                web.get("/subjects/{subject}/versions", self._list_versions),
                web.post("/subjects/{subject}/versions", self._register),
                web.get(one_version, self._get_version),
                web.get(one_version + "/schema", self._get_version_schema),
                web.get("/schemas/types", self._list_types),
                web.get("/schemas/ids/{id}", self._get_by_id),
                web.get("/schemas/ids/{id}/subjects", self._list_subjects_of_id),
                web.get("/schemas/ids/{id}/versions", self._list_versions_of_id),
                web.post("/compatibility" + one_version, self._test_compatibility),
                web.post("/compatibility/subjects/{subject}/versions", self._test_compatibility),
                web.get("/config", self._get_level),
                web.get("/config/{subject}", self._get_level),
                web.put("/config", self._set_level),
                web.put("/config/{subject}", self._set_level),
                web.get("/mode", self._get_mode),
                web.get("/mode/{subject}", self._get_mode),
            ]
        )
        return app

    async def _register(self, request: web.Request) -> web.Response:
        schema = await _read_schema(request)
        canonical = _canonical(schema)
        schema_id = self._id_of.get(canonical)
        if schema_id is None:
            self._schemas.append(schema)
            schema_id = self._id_of[canonical] = len(self._schemas)
        subject = request.match_info["subject"]
        versions = self._subjects.setdefault(subject, [])
        if schema_id not in versions:
            versions.append(schema_id)
        return _reply(self._describe(subject, versions.index(schema_id) + 1))

    async def _look_up(self, request: web.Request) -> web.Response:
        subject, versions = self._subject(request)
        schema_id = self._id_of.get(_canonical(await _read_schema(request)))
        if schema_id not in versions:
            _refuse(404, SCHEMA_NOT_FOUND, "Schema not found")
        return _reply(self._describe(subject, versions.index(schema_id) + 1))

    async def _list_subjects(self, request: web.Request) -> web.Response:
        prefix = request.query.get("subjectPrefix", "")
        return _reply(sorted(name for name in self._subjects if name.startswith(prefix)))

    async def _list_versions(self, request: web.Request) -> web.Response:
        return _reply(list(range(1, len(self._subject(request)[1]) + 1)))

    async def _get_version(self, request: web.Request) -> web.Response:
        return _reply(self._describe(*self._version(request)))

    async def _get_version_schema(self, request: web.Request) -> web.Response:
        return _reply(json.loads(self._describe(*self._version(request))["schema"]))

    async def _delete_subject(self, request: web.Request) -> web.Response:
        subject, versions = self._subject(request)
        del self._subjects[subject]
        return _reply(list(range(1, len(versions) + 1)))

    async def _get_by_id(self, request: web.Request) -> web.Response:
        schema_id = self._id(request)
        return _reply({"id": schema_id, "guid": self._guid(schema_id), "schema": self._schemas[schema_id - 1]})

    async def _list_subjects_of_id(self, request: web.Request) -> web.Response:
        schema_id = self._id(request)
        return _reply(sorted(name for name, versions in self._subjects.items() if schema_id in versions))

    async def _list_versions_of_id(self, request: web.Request) -> web.Response:
        schema_id = self._id(request)
        return _reply(
            [
                {"subject": name, "version": versions.index(schema_id) + 1}
                for name, versions in sorted(self._subjects.items())
                if schema_id in versions
            ]
        )

    async def _list_types(self, request: web.Request) -> web.Response:
        return _reply(["AVRO"])

    async def _test_compatibility(self, request: web.Request) -> web.Response:
        await _read_schema(request)
        if "version" in request.match_info:
            self._version(request)
        return _reply({"is_compatible": True})

    async def _get_level(self, request: web.Request) -> web.Response:
        return _reply({"compatibilityLevel": "NONE"})

    async def _set_level(self, request: web.Request) -> web.Response:
        level = (await request.json()).get("compatibility")
        if level != "NONE":
            _refuse(422, INVALID_LEVEL, f"Invalid compatibility level {level}: this registry checks none, so says NONE")
        return _reply({"compatibility": level})

    async def _get_mode(self, request: web.Request) -> web.Response:
        return _reply({"mode": "READWRITE"})

    def _subject(self, request: web.Request) -> tuple[str, list[int]]:
        """Return the name and the versions' ids of the subject that a request names, or refuse."""
        subject = request.match_info["subject"]
        if subject not in self._subjects:
            _refuse(404, SUBJECT_NOT_FOUND, f"Subject '{subject}' not found.")
        return subject, self._subjects[subject]

    def _version(self, request: web.Request) -> tuple[str, int]:
        """Return the subject and version that a request names, or refuse."""
        subject, versions = self._subject(request)
        text = request.match_info["version"]
        if text in (_LATEST, "-1"):
            return subject, len(versions)
        if not text.isdecimal() or int(text) < 1:
            message = f"The specified version '{text}' is not a valid version id: use 1, 2, … or 'latest'"
            _refuse(422, INVALID_VERSION, message)
        if int(text) > len(versions):
            _refuse(404, VERSION_NOT_FOUND, f"Version {text} not found.")
        return subject, int(text)

    def _id(self, request: web.Request) -> int:
        """Return the schema id that a request names, or refuse."""
        text = request.match_info["id"]
        if not text.isdecimal() or not 1 <= int(text) <= len(self._schemas):
            _refuse(404, SCHEMA_NOT_FOUND, f"Schema {text} not found")
        return int(text)

    def _guid(self, schema_id: int) -> str:
        canonical = _canonical(self._schemas[schema_id - 1])
        return str(uuid.UUID(hashlib.md5(canonical.encode(), usedforsecurity=False).hexdigest()))

    def _describe(self, subject: str, version: int) -> dict[str, Any]:
        schema_id = self._subjects[subject][version - 1]
        return {
            "subject": subject,
            "version": version,
            "id": schema_id,
            "guid": self._guid(schema_id),
            "schemaType": "AVRO",
            "schema": self._schemas[schema_id - 1],
        }


@web.middleware
async def _errors_as_json(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answer unknown paths and methods as the registry does; its clients read every error as JSON."""
    try:
        return await handler(request)
    except web.HTTPException as exc:
        if exc.content_type == _CONTENT_TYPE:
            raise
        body = {"error_code": exc.status, "message": f"HTTP {exc.status} {exc.reason}"}
        return web.json_response(body, status=exc.status, content_type=_CONTENT_TYPE)
