# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How requests get through what stands in front of the UWS: credentials, certificates, and a pause after a refusal."""

from __future__ import annotations

import asyncio
import base64
import dataclasses
import http
import ssl
import time

import aiohttp

from ..config import UwsAccess
from ..credentials import FILE_SUFFIX, authorization
from ..errors import ServiceError

__all__ = ["AccessRefusedError", "Entrance", "certificate_problem"]

REFUSED_PAUSE_S = 30.0
"""For so long after a refusal no other request is sent with the same credentials (seconds): several may wait for the
UWS at once, and a server may lock an account after some wrong passwords."""

LEAST_HIDDEN = 4
"""Shorter parts of a secret (characters) are not searched for in texts, because they are parts of words."""


class AccessRefusedError(ServiceError):
    """The UWS, or what stands in front of it, did not accept the credentials, or asks for some."""


@dataclasses.dataclass(frozen=True)
class _Refusal:
    headers: dict[str, str]
    until: float
    sentence: str


class Entrance:
    """What is needed to be let in at the UWS.

    Parameters
    ----------
    access
        What the configuration says of it.
    """

    def __init__(self, access: UwsAccess) -> None:
        self._access = access
        self._refusal: _Refusal | None = None
        self._tls: ssl.SSLContext | None = None

    async def headers(self) -> dict[str, str]:
        """Return the headers with the credentials as they are now.

        Raises
        ------
        AccessRefusedError
            If the same ones were refused a moment ago.
        ServiceError
            If there are none.
        """
        headers = await asyncio.to_thread(authorization, self._access.scheme, self._access.secret_variable)
        refusal = self._refusal
        if refusal is not None and refusal.headers == headers and time.monotonic() < refusal.until:
            raise AccessRefusedError(refusal.sentence)
        return headers

    async def tls(self) -> ssl.SSLContext | bool:
        """Return whose certificates are accepted, as aiohttp takes it.

        Raises
        ------
        ServiceError
            If the file with the certificates can't be read.
        """
        file = self._access.ca_file
        if not file:
            return True  # those of the system
        if self._tls is None:
            try:
                self._tls = await asyncio.to_thread(ssl.create_default_context, cafile=file)
            except OSError as error:  # an SSLError is one
                raise ServiceError(
                    f"The certificates in {file} can't be read ({error.strerror or error}): correct "
                    "uws_access.ca_file in the CSC's configuration, or the file, which must have certificates in PEM "
                    "form."
                ) from error
        return self._tls

    def refused(self, status: int, asked_for: str, headers: dict[str, str], sentence: str) -> AccessRefusedError:
        """Return the error for a refusal, and remember it.

        Parameters
        ----------
        status
            401 or 403.
        asked_for
            The header WWW-Authenticate of the answer.
        headers
            What was sent.
        sentence
            What the server has said.
        """
        access = self._access
        scheme = asked_for.partition(" ")[0].lower()
        source = f"{access.secret_variable} or the file that {access.secret_variable}{FILE_SUFFIX} names"
        if access.scheme == "none":
            advice = (
                f"It asks for credentials{f' ({scheme})' if scheme else ''}: set uws_access in the CSC's "
                "configuration, and the environment variable that it names"
            )
        elif status == http.HTTPStatus.FORBIDDEN:
            advice = f"The secret in {source} is known there, but lacks the right: have it granted"
        elif scheme and scheme != access.scheme:
            advice = f"It asks for {scheme}, but uws_access.scheme is {access.scheme}: correct the CSC's configuration"
        else:
            advice = f"Check whether the secret in {source} is right and still valid"
        told = f"{sentence} {advice}. The next try with the same credentials comes after {REFUSED_PAUSE_S:g} s."
        self._refusal = _Refusal(headers, time.monotonic() + REFUSED_PAUSE_S, told)
        return AccessRefusedError(told)

    @staticmethod
    def hide(text: str, headers: dict[str, str]) -> str:
        """Return a text of the server without the secret that was sent to it."""
        scheme, _, value = headers.get("Authorization", "").partition(" ")
        parts = [value]
        if scheme == "Basic":
            plain = base64.b64decode(value).decode()
            parts += [plain, plain.partition(":")[2]]
        for part in parts:
            if len(part) >= LEAST_HIDDEN:
                text = text.replace(part, "…")
        return text


def certificate_problem(url: str, error: aiohttp.ClientSSLError | aiohttp.ClientConnectorCertificateError) -> str:
    """Return the sentence for a UWS whose certificate is not accepted, or that does not speak TLS."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        cause = error.certificate_error
        words = getattr(cause, "verify_message", "") or str(cause)
        return (
            f"The certificate of the UWS at {url} is not accepted: {words.rstrip('.')}. Check that uws_access.ca_file "
            "names the authority that has signed it, that it is for the host in uws_url, and that it is still valid."
        )
    return (
        f"The server at {url} does not speak TLS as it should ({getattr(error, 'os_error', error)}): check whether "
        "uws_url must begin with http:// instead of https://."
    )
