# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that librdkafka's mock cluster does not serve, and that clients must not learn of beforehand.

When salobj closes a reader it deletes the reader's consumer group. To a broker that does not list DeleteGroups among
its requests, librdkafka (2.16 and earlier) does not send it, but releases a queue twice, and aborts the process as soon
as Python has collected the client: at any time later. When the broker lists the request but closes the connection on
which it comes, the client's destruction may wait for itself without end. An answer that the client can't read does no
harm: it reports an error, and salobj goes on.

The mock cluster has a table of its requests: for each, the versions, which its C API can set, and the function that
serves it, which it can't. Here all but the versions is copied from LeaveGroup, whose function takes any DeleteGroups
for the leaving of an unknown group, and whose answer is too short for one to DeleteGroups. The places of the entries
are found by means of versions that nobody else would have set.
"""

from __future__ import annotations

import ctypes
import logging
import struct
import time

__all__ = ["DELETE_GROUPS", "serve_request"]

# Kafka's numbers of the requests
DELETE_GROUPS = 42
LEAVE_GROUP = 13

# struct { int16_t min_version, max_version, first_flexible_version; int (*serve)(connection *, buffer *); }
_VERSIONS = struct.Struct("<hh")
_SERVE_OFFSET = ctypes.sizeof(ctypes.c_void_p)
_ENTRY_SIZE = 2 * ctypes.sizeof(ctypes.c_void_p)
_MARK = (12321, 23432)
# The table is in the first part of the cluster's structure; more than this is not looked at.
_SEARCHED_BYTES = 1536
_SERVED_VERSIONS = (0, 1)
# The cluster's own thread takes over what is set.
_LIMIT_S = 1.0


def serve_request(library: ctypes.CDLL, cluster: int, api_key: int) -> bool:
    """Make a mock cluster list a request that it does not know, and answer it as if it were LeaveGroup.

    Parameters
    ----------
    library
        librdkafka.
    cluster
        The mock cluster.
    api_key
        Kafka's number of the request.

    Returns
    -------
    served
        False if librdkafka is another than this module knows. Its table is as it was then.
    """
    library.rd_kafka_mock_set_apiversion(cluster, api_key, *_MARK)
    offset = _find(cluster, _VERSIONS.pack(*_MARK))
    if offset is not None:
        own = cluster + offset
        model = own + (LEAVE_GROUP - api_key) * _ENTRY_SIZE
        if _serves(model) and not _serves(own):
            ctypes.memmove(own + _VERSIONS.size, model + _VERSIONS.size, _ENTRY_SIZE - _VERSIONS.size)
            library.rd_kafka_mock_set_apiversion(cluster, api_key, *_SERVED_VERSIONS)
            return True
    library.rd_kafka_mock_set_apiversion(cluster, api_key, -1, -1)
    logging.getLogger(__name__).warning(
        "This librdkafka's table of requests was not found: clients that ask for request %d may abort", api_key
    )
    return False


def _serves(entry: int) -> bool:
    """Has the entry at this address a function?"""
    return ctypes.c_void_p.from_address(entry + _SERVE_OFFSET).value is not None


def _find(cluster: int, mark: bytes) -> int | None:
    """Return where in the cluster's structure the mark is, once the cluster's thread has set it; None if it is not."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        memory = ctypes.string_at(cluster, _SEARCHED_BYTES)
        if memory.count(mark) == 1:
            return memory.index(mark)
        time.sleep(0.001)
    return None
