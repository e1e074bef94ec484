# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exceptions, constants and small functions that everything else uses."""

from __future__ import annotations

import functools
import getpass
import os
import socket

from lsst.ts.xml.sal_enums import as_salRetCode

from .type_hints import AckCmdDataType

__all__ = [
    "LOCAL_HOST",
    "MAX_SAL_INDEX",
    "AckError",
    "AckTimeoutError",
    "ExpectedError",
    "WildcardIndexError",
    "get_user_host",
    "name_to_name_index",
]

LOCAL_HOST = "127.0.0.1"

MAX_SAL_INDEX = (1 << 31) - 1


class AckError(Exception):
    """A command failed.

    Parameters
    ----------
    msg : `str`
        What failed.
    ackcmd : `AckCmdDataType`
        The acknowledgement that says so, or the last one that was seen.
    """

    def __init__(self, msg: str, ackcmd: AckCmdDataType) -> None:
        super().__init__(msg)
        self.ackcmd = ackcmd

    def __str__(self) -> str:
        ack = self.ackcmd
        return (
            f"msg={super().__str__()!r}, ackcmd=(ackcmd private_seqNum={ack.private_seqNum}, "
            f"ack={as_salRetCode(ack.ack)!r}, error={ack.error}, result={ack.result!r})"
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self})"


class AckTimeoutError(AckError):
    """A command was not finished within the time limit."""


class ExpectedError(Exception):
    """A refusal or failure that was foreseen: it is reported, but not logged with a traceback."""


class WildcardIndexError(Exception):
    """Something needs one SAL index, and index 0 (all of them) was given."""


@functools.cache
def get_user_host() -> str:
    """Return user@host, with the host's fully qualified name."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container may run under a user id that has no name
        user = str(os.getuid())
    return f"{user}@{socket.getfqdn()}"


def name_to_name_index(name: str) -> tuple[str, int]:
    """Split "name" or "name:index"; the index is 0 where none is given.

    Raises
    ------
    ValueError
        If the text has another form: an empty name, spaces, or an index that is no integer.
    """
    head, colon, tail = name.partition(":")
    if not head or head != head.strip() or (colon and not tail.strip() == tail):
        raise ValueError(f"{name!r} is neither a name nor name:index")
    try:
        return head, int(tail) if colon else 0
    except ValueError:
        raise ValueError(f"{name!r}: the index {tail!r} is no integer") from None
