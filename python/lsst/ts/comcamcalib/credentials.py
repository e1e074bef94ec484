# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses and their credentials, which must be in the environment and never in a published text."""

from __future__ import annotations

import base64
import os
import pathlib
import re
import urllib.parse

from .errors import ServiceError

__all__ = ["FILE_SUFFIX", "authorization", "url_problem", "without_credentials"]

FILE_SUFFIX = "_FILE"
"""What is added to the name of a secret's environment variable for the one that names a file with the secret."""

_USER_INFO = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/'\"<>]*@")


def without_credentials(text: str) -> str:
    """Return a text without the user names and passwords in its URLs."""
    return _USER_INFO.sub(r"\1", text)


def url_problem(url: str) -> str:
    """Say what is wrong with the base address of an HTTP service; "" if nothing is.

    The sentence never shows the address, which may have a password in it.
    """
    try:
        parts = urllib.parse.urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or parts.scheme not in ("http", "https") or re.search(r"\s", url):
        return "must be an address such as http://uws.example/api/v1"
    if "@" in url:
        return (
            "must not have a user name or password in it, because it is published in events and sentences; set "
            "uws_access, and the environment variable that it names, instead"
        )
    if parts.query or parts.fragment:
        return "must not have a query (?) or a fragment (#) in it: paths are appended to it"
    return ""


def authorization(scheme: str, variable: str) -> dict[str, str]:
    """Return the header with a secret from the environment; none for the scheme "none".

    Parameters
    ----------
    scheme
        "none", "basic" or "bearer".
    variable
        Name of the environment variable with the secret: a token, or ``user:password``. If it is not set, that of this
        name and `FILE_SUFFIX` names a file with the secret, which is read each time, because it may have been changed.
        This reads a file, so it blocks.

    Raises
    ------
    ServiceError
        If there is no such secret; the sentence never shows it.
    """
    if scheme == "none":
        return {}
    secret, source = _secret(variable)
    if scheme == "basic":
        if not secret.partition(":")[0] or ":" not in secret:
            raise ServiceError(
                f"uws_access asks for the scheme basic, but what {source} has is not of the form user:password: "
                f"correct it{_then(variable)}."
            )
        return {"Authorization": f"Basic {base64.b64encode(secret.encode()).decode()}"}
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise ServiceError(
            f"uws_access asks for the scheme bearer, but what {source} has is no token: it must have neither blanks "
            f"nor other than ASCII characters. Correct it{_then(variable)}."
        )
    return {"Authorization": f"Bearer {secret}"}


def _secret(variable: str) -> tuple[str, str]:
    """Return a secret, and the words that say where it is from."""
    if secret := os.environ.get(variable, "").strip():
        return secret, f"the environment variable {variable}"
    file = os.environ.get(variable + FILE_SUFFIX, "")
    if not file:
        raise ServiceError(
            f"uws_access says that the UWS asks for a secret, but neither {variable} nor {variable}{FILE_SUFFIX} is in "
            "the CSC's environment: set one of them and restart the CSC."
        )
    try:
        secret = pathlib.Path(file).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        words = error.strerror if isinstance(error, OSError) else "it is no text"
        raise ServiceError(
            f"The file {file}, which {variable}{FILE_SUFFIX} names, can't be read ({words}): put the secret for the "
            "UWS there."
        ) from None  # a decoding error has the bytes
    if not secret:
        raise ServiceError(
            f"The file {file}, which {variable}{FILE_SUFFIX} names, is empty: put the secret for the UWS there."
        )
    return secret, f"the file {file}"


def _then(variable: str) -> str:
    """Say what must be done after a secret was corrected."""
    return " and restart the CSC" if os.environ.get(variable) else ""
