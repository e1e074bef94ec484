# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Requests that librdkafka's mock cluster does not serve, and that clients must not learn of beforehand.

When salobj closes a reader it deletes the reader's consumer group. To a broker that does not list DeleteGroups among
its requests, librdkafka (2.16 and earlier) does not send it, but releases a queue twice, and aborts the process as soon
as Python has collected the client: at any time later. A broker that lists the request, and closes the connection when
it comes, does no harm: the client reports an error, and salobj goes on.

The mock cluster has a table of its requests: for each, the versions, which its C API can set, and the function that
serves it, which it can't. Here the function is set too. The place of the entry is found by means of versions that
nobody else would have set.
"""

from __future__ import annotations

import ctypes
import logging
import struct
import time

__all__ = ["DELETE_GROUPS", "Refusal", "refuse_request"]

DELETE_GROUPS = 42  # Kafka's number of the request

# struct { int16_t min_version, max_version; int (*serve)(connection *, buffer *); }, padded as C does it
_VERSIONS = struct.Struct("<hh")
_SERVE_OFFSET = ctypes.sizeof(ctypes.c_void_p)
_MARK = (12321, 23432)
# The table is in the first part of the cluster's structure; more than this is not looked at.
_SEARCHED_BYTES = 1536
_SERVED_VERSIONS = (0, 1)
_CLOSE_CONNECTION = -1
# The cluster's own thread takes over what is set.
_LIMIT_S = 1.0

Refusal = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)


def refuse_request(library: ctypes.CDLL, cluster: int, api_key: int) -> object | None:
    """Make a mock cluster list a request, and close the connection on which it comes.

    Parameters
    ----------
    library
        librdkafka.
    cluster
        The mock cluster.
    api_key
        Kafka's number of a request that the cluster does not serve.

    Returns
    -------
    refusal
        What has to be kept as long as the cluster exists; None if librdkafka is another than this module knows. Its
        table is as it was then.
    """
    library.rd_kafka_mock_set_apiversion(cluster, api_key, *_MARK)
    offset = _find(cluster, _VERSIONS.pack(*_MARK))
    place = None if offset is None else ctypes.c_void_p.from_address(cluster + offset + _SERVE_OFFSET)
    if place is None or place.value is not None:
        library.rd_kafka_mock_set_apiversion(cluster, api_key, -1, -1)
        logging.getLogger(__name__).warning(
            "This librdkafka's table of requests was not found: clients that ask for request %d may abort", api_key
        )
        return None
    refusal = Refusal(lambda connection, buffer: _CLOSE_CONNECTION)
    place.value = ctypes.cast(refusal, ctypes.c_void_p).value
    library.rd_kafka_mock_set_apiversion(cluster, api_key, *_SERVED_VERSIONS)
    return refusal


def _find(cluster: int, mark: bytes) -> int | None:
    """Return where in the cluster's structure the mark is, once the cluster's thread has set it; None if it is not."""
    end = time.monotonic() + _LIMIT_S
    while time.monotonic() < end:
        memory = ctypes.string_at(cluster, _SEARCHED_BYTES)
        if memory.count(mark) == 1:
            return memory.index(mark)
        time.sleep(0.001)
    return None
