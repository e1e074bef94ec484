# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A login in front of the embedded Kafka broker, which has none: SASL with SCRAM-SHA-512, as at the observatory.

It speaks the part of Kafka's protocol that comes before a login, as a broker does: which requests there are
(ApiVersions), which mechanism (SaslHandshake), and the exchange of SCRAM (SaslAuthenticate, RFC 5802). Any other
request before the login ends the connection. After the login, bytes are passed on as they are.

Known limitations: one mechanism, no TLS, no limit to the life of a session, no access rights.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import ctypes
import hashlib
import hmac
import os
import secrets
import struct
from types import TracebackType
from typing import Self

from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker

__all__ = ["SaslFront"]

MECHANISM = "SCRAM-SHA-512"
ITERATIONS = 4096

# Kafka's numbers of the requests, and the versions that are served.
SASL_HANDSHAKE, API_VERSIONS, SASL_AUTHENTICATE = 17, 18, 36
SERVED = ((SASL_HANDSHAKE, 0, 1), (SASL_AUTHENTICATE, 0, 1))
FIRST_FLEXIBLE_API_VERSIONS = 3

# Kafka's error codes
UNSUPPORTED_SASL_MECHANISM, ILLEGAL_SASL_STATE, SASL_AUTHENTICATION_FAILED = 33, 34, 58
REFUSAL = f"Authentication failed during authentication due to invalid credentials with SASL mechanism {MECHANISM}"


class RefusedError(Exception):
    """User or password is wrong, or SCRAM is not spoken as it should."""


class Scram:
    """The server's side of one SCRAM exchange."""

    def __init__(self, users: dict[str, str]) -> None:
        self._users = users
        self._user = ""
        self._said: list[str] = []
        self._salt = os.urandom(16)
        self.done = False

    def answer(self, message: str) -> str:
        """Return the answer to the client's next message."""
        if not self._said:
            return self._first(message)
        return self._final(message)

    def _first(self, message: str) -> str:
        bare = message.removeprefix("n,,")
        fields = _fields(bare)
        self._user = fields["n"].replace("=2C", ",").replace("=3D", "=")
        self._nonce = fields["r"] + secrets.token_urlsafe(18)
        reply = f"r={self._nonce},s={base64.b64encode(self._salt).decode()},i={ITERATIONS}"
        self._said = [bare, reply]
        return reply

    def _final(self, message: str) -> str:
        without_proof, _, proof = message.rpartition(",p=")
        if _fields(without_proof)["r"] != self._nonce or self._user not in self._users:
            raise RefusedError
        salted = hashlib.pbkdf2_hmac("sha512", self._users[self._user].encode(), self._salt, ITERATIONS)
        signed = ",".join([*self._said, without_proof]).encode()
        key = hmac.digest(salted, b"Client Key", "sha512")
        signature = hmac.digest(hashlib.sha512(key).digest(), signed, "sha512")
        expected = bytes(one ^ other for one, other in zip(key, signature, strict=True))
        if not hmac.compare_digest(expected, base64.b64decode(proof)):
            raise RefusedError
        self.done = True
        own = hmac.digest(hmac.digest(salted, b"Server Key", "sha512"), signed, "sha512")
        return f"v={base64.b64encode(own).decode()}"


class SaslFront:
    """Where an embedded broker is reached with a login only; use it as an async context manager.

    Parameters
    ----------
    broker
        The broker, running. It tells its clients this front's address as its own.
    users
        Passwords by user.

    Attributes
    ----------
    accepted, refused : int
        Number of logins that were right, and wrong.
    unasked : int
        Number of connections that were ended because they sent a request without a login.
    """

    def __init__(self, broker: EmbeddedBroker, users: dict[str, str]) -> None:
        self.accepted = self.refused = self.unasked = 0
        self._broker = broker
        self._target = broker.address.rpartition(":")
        self._users = users
        self._connections: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1")
        library, cluster = self._broker._running("be known by another address")
        port: int = self._server.sockets[0].getsockname()[1]
        library.rd_kafka_mock_broker_set_host_port(ctypes.c_void_p(cluster), 1, b"127.0.0.1", port)
        self.address = f"127.0.0.1:{port}"
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._connections:
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        task.add_done_callback(self._connections.discard)
        host, _, port = self._target
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            from_broker, to_broker = await asyncio.open_connection(host, int(port))
            try:
                if await self._log_in(reader, writer, from_broker, to_broker):
                    await _pass_on_both_ways(reader, writer, from_broker, to_broker)
            finally:
                to_broker.close()
        writer.close()

    async def _log_in(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        from_broker: asyncio.StreamReader,
        to_broker: asyncio.StreamWriter,
    ) -> bool:
        """Answer requests until the client has logged in; False if it may not go on."""
        scram: Scram | None = None
        while scram is None or not scram.done:
            request = await _read(reader)
            key, version, body = _split(request)
            error = 0
            if key == API_VERSIONS:
                _write(to_broker, request)
                _write(writer, _with_sasl(await _read(from_broker), version))
            elif key == SASL_HANDSHAKE:
                error = 0 if _string(body) == MECHANISM else UNSUPPORTED_SASL_MECHANISM
                scram = Scram(self._users)
                _write(writer, request[4:8] + struct.pack(">hi", error, 1) + _packed(MECHANISM))
            elif key == SASL_AUTHENTICATE:
                error, reply = self._authenticate(scram, body[4:].decode())
                text = _packed(REFUSAL) if error else struct.pack(">h", -1)
                lifetime = b"" if version == 0 else bytes(8)
                reply_bytes = struct.pack(">i", len(reply)) + reply.encode()
                _write(writer, request[4:8] + struct.pack(">h", error) + text + reply_bytes + lifetime)
            else:
                self.unasked += 1
                return False
            if error:
                self.refused += 1
                await writer.drain()
                return False
        self.accepted += 1
        return True

    @staticmethod
    def _authenticate(scram: Scram | None, message: str) -> tuple[int, str]:
        if scram is None:
            return ILLEGAL_SASL_STATE, ""
        try:
            return 0, scram.answer(message)
        except (RefusedError, KeyError, ValueError):
            return SASL_AUTHENTICATION_FAILED, ""


# Kafka's protocol


async def _read(reader: asyncio.StreamReader) -> bytes:
    (size,) = struct.unpack(">i", await reader.readexactly(4))
    return await reader.readexactly(size)


def _write(writer: asyncio.StreamWriter, message: bytes) -> None:
    writer.write(struct.pack(">i", len(message)) + message)


def _split(request: bytes) -> tuple[int, int, bytes]:
    """Return the number of a request, its version, and what comes after its header (of the old form)."""
    key, version, _, size = struct.unpack_from(">hhih", request)
    return key, version, request[10 + max(size, 0) :]


def _string(data: bytes) -> str:
    (size,) = struct.unpack_from(">h", data)
    return data[2 : 2 + size].decode()


def _packed(text: str) -> bytes:
    return struct.pack(">h", len(text)) + text.encode()


def _with_sasl(reply: bytes, version: int) -> bytes:
    """Return a broker's answer to ApiVersions with the two requests added."""
    (error,) = struct.unpack_from(">h", reply, 4)
    if error:
        return reply  # the client asks again, with an older version
    entries = [struct.pack(">hhh", *entry) for entry in SERVED]
    if version < FIRST_FLEXIBLE_API_VERSIONS:
        (count,) = struct.unpack_from(">i", reply, 6)
        return reply[:6] + struct.pack(">i", count + len(entries)) + b"".join(entries) + reply[10:]
    count = reply[6] + len(entries)
    assert count < 0x80, "Bug: the number needs two bytes"
    return reply[:6] + bytes([count]) + b"".join(entry + b"\0" for entry in entries) + reply[7:]


def _fields(message: str) -> dict[str, str]:
    return {name: value for name, _, value in (field.partition("=") for field in message.split(","))}


async def _pass_on_both_ways(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    from_broker: asyncio.StreamReader,
    to_broker: asyncio.StreamWriter,
) -> None:
    """Pass bytes on until one side ends the connection."""
    ways = [asyncio.create_task(_pass_on(reader, to_broker)), asyncio.create_task(_pass_on(from_broker, writer))]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
