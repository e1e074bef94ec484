# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A connection to the CSC, through a salobj Remote: it has an end if Kafka or the CSC does not answer."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Self

from lsst.ts import salobj

from .broker import check_answer, check_connection

__all__ = ["COMMAND_LIMIT_S", "CONNECT_LIMIT_S", "CscRemote", "RefusedError", "refusal"]

# The CSC answers every command within 10 s; the rest is for Kafka.
COMMAND_LIMIT_S = 15.0

# Longest wait for the remote's topics, and for the CSC's first heartbeat (seconds).
CONNECT_LIMIT_S = 30.0

# Longest wait for a remote to close that did not start (seconds).
CLOSE_LIMIT_S = 5.0

# The CSC sends a heartbeat every second. After this time without one (seconds) it counts as stopped.
SILENCE_LIMIT_S = 15.0

EVENTS = (
    "runState",
    "stageState",
    "imageTaken",
    "imageIngested",
    "jobState",
    "verificationResult",
    "detectorVerification",
    "detectorMeasurement",
    "gainEstimate",
    "certification",
    "largeFileObjectAvailable",
    "commandRejected",
    "alarms",
)

STATE_COMMANDS = ("start", "enable", "disable", "standby", "exitControl")


class RefusedError(Exception):
    """The CSC refused a command; the message says why, one line for each reason."""


class CscRemote:
    """A Remote to ComCamCalib that tells everything it hears, and sends commands.

    Parameters
    ----------
    domain
        Domain to use; None for one of its own.
    """

    def __init__(self, domain: salobj.Domain | None = None) -> None:
        self._own_domain = domain is None
        self._domain = domain or salobj.Domain()
        self.remote: salobj.Remote  # set when the context is entered
        self._listeners: list[Callable[[str, Any], None]] = []
        self._last_heartbeat = 0.0  # time.monotonic

    async def __aenter__(self) -> Self:
        await check_connection()
        include = [*EVENTS, "progress", "summaryState", "errorCode", "heartbeat", "runConfiguration"]
        self.remote = salobj.Remote(self._domain, "ComCamCalib", include=include, start=False)
        kafka = self.remote.salinfo.get_broker_client_configuration()
        # If this fails, the remote is not closed: it reads nothing yet, and closing it would wait for Kafka.
        await check_answer(kafka)
        try:
            await self._start(kafka["bootstrap.servers"])
        except BaseException:
            # The cause that kept it from starting may also keep it from closing.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_LIMIT_S):
                    await self.__aexit__()
            raise
        for name in EVENTS:
            getattr(self.remote, f"evt_{name}").callback = self._listener(name)
        self.remote.tel_progress.callback = self._listener("progress")
        self._last_heartbeat = time.monotonic()
        self.remote.evt_heartbeat.callback = self._on_heartbeat
        return self

    async def _start(self, address: str) -> None:
        """Start the remote, with a limit: its own wait for Kafka and the registry has none."""
        start = asyncio.create_task(self.remote.start(), name="start of the client's remote")
        try:
            await asyncio.wait([start], timeout=CONNECT_LIMIT_S)
            if not start.done():
                raise RuntimeError(
                    f"The topics of ComCamCalib could not be read within {CONNECT_LIMIT_S:g} s; look at Kafka at "
                    f"{address} and at LSST_SCHEMA_REGISTRY_URL."
                )
            await start
        finally:
            start.cancel()

    async def __aexit__(self, *exception: object) -> None:
        await self.remote.close()
        if self._own_domain:
            await self._domain.close()

    def listen(self, listener: Callable[[str, Any], None]) -> None:
        """Call back with (topic name, message) for everything that the CSC publishes from now on."""
        self._listeners.append(listener)

    def check_heartbeat(self, otherwise: str) -> None:
        """Check that the CSC still sends heartbeats.

        Raises
        ------
        RuntimeError
            If it does not; the sentence goes on with what follows from that.
        """
        if time.monotonic() - self._last_heartbeat > SILENCE_LIMIT_S:
            raise RuntimeError(f"ComCamCalib has sent no heartbeat for {SILENCE_LIMIT_S:g} s; {otherwise}")

    async def _on_heartbeat(self, message: Any) -> None:
        self._last_heartbeat = time.monotonic()

    async def send(self, command: Any, **fields: Any) -> Any:
        """Send a command, such as ``remote.cmd_abort``, and return its last acknowledgement.

        Raises
        ------
        RefusedError
            If the CSC refused, or did not answer.
        """
        try:
            # A new message each time, because concurrent commands of a Remote would share its data.
            return await command.start(data=command.DataType(**fields), timeout=COMMAND_LIMIT_S)
        except salobj.AckError as error:
            raise refusal(command.attr_name.removeprefix("cmd_"), error) from error

    def _listener(self, name: str) -> Callable[[Any], Any]:
        async def listen(message: Any) -> None:
            for listener in self._listeners:
                listener(name, message)

        return listen


def refusal(command: str, error: salobj.AckError) -> RefusedError:
    """Return the error with the CSC's own words about a command that failed, and what to do."""
    if isinstance(error, salobj.AckTimeoutError):
        return RefusedError(f"ComCamCalib did not answer {command} within {COMMAND_LIMIT_S:g} s; is it running?")
    result = error.ackcmd.result.removeprefix("Failed: ")
    # salobj's own words; they do not say what to do.
    if "llowed in state" not in result or command in STATE_COMMANDS:
        return RefusedError(result)
    return RefusedError(f"{result}; bring ComCamCalib to ENABLED first")
