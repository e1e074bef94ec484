# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines of a stream, without blocking."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import IO

__all__ = ["stream_as_generator"]


async def stream_as_generator(
    stream: IO[str], encoding: str = "utf-8", exit_str: str | None = "exit"
) -> AsyncIterator[str]:
    """Yield the lines of a pipe or terminal, such as `sys.stdin`, without their ends.

    Parameters
    ----------
    stream : file
        The stream; it must have a file descriptor.
    encoding : `str`
        Encoding of the text.
    exit_str : `str` or `None`
        Line that ends it; `None` for none.
    """
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), stream)
    try:
        while line := await reader.readline():
            text = line.decode(encoding, errors="replace").rstrip("\r\n")
            if exit_str is not None and text.strip() == exit_str:
                return
            yield text
    finally:
        transport.close()
