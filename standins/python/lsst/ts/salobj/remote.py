# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The other side of a CSC: sends its commands, reads its events and telemetry."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Iterable

from .domain import Domain
from .sal_info import SalInfo
from .topics import RemoteCommand, RemoteEvent, RemoteTelemetry

__all__ = ["Remote"]


class Remote:
    """Topics of a component as attributes: cmd_x, evt_x, tel_x.

    Parameters
    ----------
    domain : `Domain`
        Owner; closing the remote leaves it open.
    name : `str`
        Name of the SAL component.
    index : `int` or `None`
        SAL index; `None` means 0.
    readonly : `bool`
        Leave the commands out?
    include, exclude : iterable of `str`, or `None`
        Names of the events and telemetry topics to have, or to leave out, without prefix.
    evt_max_history : `int`
        How many old samples of each event to read.
    start : `bool`
        Start at once? ``start_task`` exists only then.
    num_messages, consume_messages_timeout, discard_out_of_order_telemetry, discard_out_of_order_events
        As for `SalInfo`.

    Raises
    ------
    ValueError
        If both ``include`` and ``exclude`` are given; and as for `SalInfo`.
    """

    def __init__(
        self,
        domain: Domain,
        name: str,
        index: int | None = None,
        *,
        readonly: bool = False,
        include: Iterable[str] | None = None,
        exclude: Iterable[str] | None = None,
        evt_max_history: int = 1,
        start: bool = True,
        num_messages: int = 1,
        consume_messages_timeout: float = 0.1,
        discard_out_of_order_telemetry: bool = True,
        discard_out_of_order_events: bool = True,
    ) -> None:
        if include is not None and exclude is not None:
            raise ValueError("include and exclude can't both be given")
        included = None if include is None else set(include)
        excluded = set(exclude or ())
        self.start_called = False
        self.salinfo = SalInfo(
            domain,
            name,
            index or 0,
            num_messages=num_messages,
            consume_messages_timeout=consume_messages_timeout,
            discard_out_of_order_telemetry=discard_out_of_order_telemetry,
            discard_out_of_order_events=discard_out_of_order_events,
        )
        try:
            if not readonly:
                for command_name in self.salinfo.command_names:
                    setattr(self, f"cmd_{command_name}", RemoteCommand(self.salinfo, command_name))

            def is_wanted(topic_name: str) -> bool:
                return topic_name not in excluded if included is None else topic_name in included

            for event_name in filter(is_wanted, self.salinfo.event_names):
                setattr(self, f"evt_{event_name}", RemoteEvent(self.salinfo, event_name, max_history=evt_max_history))
            for telemetry_name in filter(is_wanted, self.salinfo.telemetry_names):
                setattr(self, f"tel_{telemetry_name}", RemoteTelemetry(self.salinfo, telemetry_name))
        except Exception:
            self.salinfo.basic_close()
            raise
        domain.remotes.add(self)
        if start:
            self.start_called = True
            self.start_task = asyncio.create_task(self.salinfo.start(), name=f"start of {self}")

    def __repr__(self) -> str:
        return f"{type(self).__name__}(name={self.salinfo.name}, index={self.salinfo.index})"

    async def start(self) -> None:
        """Start reading; for a remote that was made with ``start=False``.

        Raises
        ------
        RuntimeError
            If it was started before, or Kafka or the schema registry can't be used.
        """
        if self.start_called:
            raise RuntimeError(f"{self}: start was called before")
        self.start_called = True
        self.start_task = asyncio.create_task(self.salinfo.start(), name=f"start of {self}")
        await self.start_task

    async def close(self) -> None:
        """Close the topics; the domain stays open."""
        await self.salinfo.close()
        start_task = getattr(self, "start_task", None)
        if start_task is not None:
            # A start that was cut short by this has failed; that is no error.
            await asyncio.gather(start_task, return_exceptions=True)

    async def __aenter__(self) -> Remote:
        if self.start_called:
            await self.start_task
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        await self.close()
