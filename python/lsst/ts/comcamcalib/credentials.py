# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Addresses and their credentials, which must be in the environment and never in a published text."""

from __future__ import annotations

import os
import re
import urllib.parse

from .errors import ServiceError

__all__ = ["PASSWORD_VARIABLE", "USER_VARIABLE", "url_problem", "uws_credentials", "without_credentials"]

USER_VARIABLE = "COMCAMCALIB_UWS_USERNAME"
"""Environment variable with the user name for the UWS, if an ingress asks for one."""

PASSWORD_VARIABLE = "COMCAMCALIB_UWS_PASSWORD"
"""Environment variable with the password that belongs to it."""

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
            "must not have a user name or password in it, because it is published in events and sentences; set the "
            f"environment variables {USER_VARIABLE} and {PASSWORD_VARIABLE} of the CSC's process instead"
        )
    if parts.query or parts.fragment:
        return "must not have a query (?) or a fragment (#) in it: paths are appended to it"
    return ""


def uws_credentials() -> tuple[str, str] | None:
    """Return user name and password for the UWS from the environment, None if there are none.

    Raises
    ------
    ServiceError
        If only one of the two is set.
    """
    user, password = os.environ.get(USER_VARIABLE, ""), os.environ.get(PASSWORD_VARIABLE, "")
    if bool(user) is not bool(password):
        given, missing = (USER_VARIABLE, PASSWORD_VARIABLE) if user else (PASSWORD_VARIABLE, USER_VARIABLE)
        raise ServiceError(
            f"The environment variable {given} is set, but {missing} is not: set both for a UWS that asks for "
            "credentials, or none, and restart the CSC."
        )
    return (user, password) if user else None
