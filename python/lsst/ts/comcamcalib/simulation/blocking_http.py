# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""HTTP for a simulated CSC whose original blocks its event loop with ``requests``.

The real OCPS calls ``requests`` from its coroutines, without a time limit. While a server takes its time, the whole CSC
stands still: no heartbeat, no acknowledgement, no other job is looked at. Here the server may run in the same event
loop, which therefore must not block. So the request is made in a thread, and what the CSC does waits for its end.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import requests

__all__ = ["BlockingSession"]


class BlockingSession:
    """One request at a time, by ``requests``: its redirects, its texts of errors, and no time limit."""

    def __init__(self) -> None:
        self._session = requests.Session()
        # The UWS is reached directly, whatever proxies this machine's environment names.
        self._session.trust_env = False
        self._standstill = asyncio.Lock()

    async def request(self, method: str, url: str, body: object = None) -> requests.Response:
        """Send a request after those before it, and return the reply, whatever its status.

        Parameters
        ----------
        method, url
            What is asked for.
        body
            Sent as JSON, unless it is None.

        Raises
        ------
        requests.RequestException
            If there is no reply.
        """
        async with self._standstill:
            return await _in_thread(lambda: self._session.request(method, url, json=body))

    async def end_of_standstill(self) -> None:
        """Wait while a request is on its way: whatever else the CSC does has to wait too."""
        async with self._standstill:
            pass

    def close(self) -> None:
        """Close the idle connections. A thread that still waits for a reply ends with it, or with the process."""
        self._session.close()


async def _in_thread(function: Callable[[], requests.Response]) -> requests.Response:
    """Call a function in a thread that does not keep the process from ending, as a thread of a pool would."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[requests.Response] = loop.create_future()

    def settle(reply: requests.Response | None, error: Exception | None) -> None:
        if future.done():  # whoever asked was cancelled
            return
        if error is not None:
            future.set_exception(error)
        elif reply is not None:
            future.set_result(reply)

    def call() -> None:
        reply, error = None, None
        try:
            reply = function()
        except Exception as caught:
            error = caught
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(settle, reply, error)

    threading.Thread(target=call, name="OCPS request", daemon=True).start()
    return await future
