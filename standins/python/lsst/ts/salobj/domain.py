# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the SalInfos of one Controller, or of one script, share."""

from __future__ import annotations

import asyncio
import logging
import os
import types
import weakref
from typing import TYPE_CHECKING

from .base import get_user_host

if TYPE_CHECKING:
    from .remote import Remote
    from .sal_info import SalInfo

__all__ = ["Domain"]


class Domain:
    """Owner of SalInfos: closing it closes all of them. It needs a running event loop.

    Attributes
    ----------
    origin : `int`
        Process id: private_origin of all messages.
    user_host : `str`
        user@host.
    default_identity : `str`
        private_identity of messages of SalInfos that are made from now on.
    isopen : `bool`
        Is it open?
    num_read_loops : `int`
        Number of read loops that run.
    salinfo_set : `weakref.WeakSet` [`SalInfo`]
        The SalInfos that are open.
    remotes : `weakref.WeakSet` [`Remote`]
        The Remotes that were made with this domain.
    done_task : `asyncio.Future`
        Done when everything is closed.
    """

    def __init__(self) -> None:
        asyncio.get_running_loop()
        self.origin = os.getpid()
        self.user_host = get_user_host()
        self.default_identity = self.user_host
        self.isopen = True
        self.num_read_loops = 0
        self.salinfo_set: weakref.WeakSet[SalInfo] = weakref.WeakSet()
        self.remotes: weakref.WeakSet[Remote] = weakref.WeakSet()
        self.done_task: asyncio.Future[None] = asyncio.Future()

    def add_salinfo(self, salinfo: SalInfo) -> None:
        """Take over a SalInfo.

        Raises
        ------
        RuntimeError
            If it is there already.
        """
        if salinfo in self.salinfo_set:
            raise RuntimeError(f"{salinfo} is already in this domain")
        self.salinfo_set.add(salinfo)

    def remove_salinfo(self, salinfo: SalInfo) -> None:
        """Let a SalInfo go; harmless if it is not there."""
        self.salinfo_set.discard(salinfo)

    def basic_close(self) -> None:
        """Close without waiting; for a constructor that fails. Otherwise use `close`."""
        if not self.isopen:
            return
        self.isopen = False
        for salinfo in list(self.salinfo_set):
            salinfo.basic_close()
        if not self.done_task.done():
            self.done_task.set_result(None)

    async def close(self) -> None:
        """Close all SalInfos, and wait until they are closed."""
        if not self.isopen:
            await self.done_task
            return
        self.isopen = False
        try:
            results = await asyncio.gather(*(s.close() for s in list(self.salinfo_set)), return_exceptions=True)
            log = logging.getLogger(__name__)
            for result in results:
                if isinstance(result, Exception):
                    log.error(f"Closing a SalInfo failed: {result!r}", exc_info=result)
            if self.num_read_loops:
                log.warning(f"{self.num_read_loops} read loops are still running after the domain was closed")
        finally:
            if not self.done_task.done():
                self.done_task.set_result(None)

    async def __aenter__(self) -> Domain:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()
