# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""States of the components that a run needs."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
from collections.abc import Sequence
from typing import Protocol

from lsst.ts import salobj

from ..clock import Clock
from ..config import Limits

__all__ = ["ComponentWatch", "Components", "Unwell", "state_from"]


@dataclasses.dataclass(frozen=True)
class Unwell:
    """A component that is not ENABLED, or sends no heartbeat.

    Parameters
    ----------
    component
        Its name; with an index, such as ``OCPS:2``.
    what
        What is wrong with it; the same text as long as the fault is the same.
    remedy
        What to do about it.
    """

    component: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.component} {self.what}: {self.remedy}."


class Components(Protocol):
    """What other layers need to know about components."""

    def unwell(self) -> list[Unwell]:
        """Return the components that are not ENABLED or send no heartbeat."""

    def problems(self) -> list[str]:
        """Return a sentence for each component that is not ENABLED or sends no heartbeat."""

    def state_of(self, name: str) -> salobj.State | None:
        """Return the last summary state of a component, None if it has published none."""


class ComponentWatch:
    """Watches summary state and heartbeat of components.

    Parameters
    ----------
    domain
        Domain of the CSC.
    names
        Components; with an index, such as ``OCPS:2``.
    limits
        Limits of time: ``component_heartbeat``.
    clock
        The clock.

    Notes
    -----
    The last sample of the summary state is kept for late readers, so it may be from a process that died long ago. So a
    component counts as ENABLED only if it also sends heartbeats.
    """

    def __init__(self, domain: salobj.Domain, names: Sequence[str], limits: Limits, clock: Clock) -> None:
        self._domain = domain
        self._heartbeat_limit_s = limits.component_heartbeat
        self._clock = clock
        self._watched = {name: _Watched() for name in names}
        self._remotes: list[salobj.Remote] = []

    async def start(self) -> None:
        """Start the remotes and wait until they have read the last samples."""
        for name, watched in self._watched.items():
            component, index = salobj.name_to_name_index(name)
            remote = salobj.Remote(self._domain, component, index, readonly=True, include=["summaryState", "heartbeat"])
            remote.evt_summaryState.callback = functools.partial(_on_summary_state, watched)
            remote.evt_heartbeat.callback = functools.partial(self._on_heartbeat, watched)
            self._remotes.append(remote)
        await asyncio.gather(*(remote.start_task for remote in self._remotes))

    async def close(self) -> None:
        """Close the remotes; after that, the states are unknown."""
        remotes, self._remotes = self._remotes, []
        self._watched = {name: _Watched() for name in self._watched}
        await asyncio.gather(*(remote.close() for remote in remotes))

    async def _on_heartbeat(self, watched: _Watched, data: salobj.BaseMsgType) -> None:
        """Note that the component is alive, unless this is an old heartbeat that was kept for late readers."""
        if self._clock.tai() - data.private_sndStamp <= self._heartbeat_limit_s:
            watched.heartbeat = self._clock.monotonic()

    def problems(self) -> list[str]:
        """Return a sentence for each component that has failed; see `Components.problems`."""
        return [self._with_age(one) for one in self.unwell()]

    def unwell(self) -> list[Unwell]:
        """Return the components that have failed; see `Components.unwell`."""
        found = (self._look_at(name, watched) for name, watched in self._watched.items())
        return [one for one in found if one is not None]

    def state_of(self, name: str) -> salobj.State | None:
        """Return the last summary state of a component, None if it has published none.

        Raises
        ------
        KeyError
            If it is not watched.
        """
        return self._watched[name].state

    def _look_at(self, name: str, watched: _Watched) -> Unwell | None:
        """Return what is wrong with a component, None if nothing is."""
        if watched.heartbeat is None:
            return Unwell(name, "has sent no heartbeat", "start it")
        if self._clock.monotonic() - watched.heartbeat > self._heartbeat_limit_s:
            return Unwell(name, "sends no heartbeat any more", "check it, restart it")
        if watched.state is None:
            return Unwell(name, "sends heartbeats but has not published its summary state", "check it")
        if watched.state is salobj.State.FAULT:
            return Unwell(name, "is in FAULT", "look at its errorCode, send it to STANDBY, enable it")
        if watched.state is not salobj.State.ENABLED:
            return Unwell(name, f"is in {watched.state.name}", "enable it")
        return None

    def _with_age(self, one: Unwell) -> str:
        """Return a sentence, with the age of the last heartbeat if that is too old."""
        heartbeat = self._watched[one.component].heartbeat
        if heartbeat is None or (age_s := self._clock.monotonic() - heartbeat) <= self._heartbeat_limit_s:
            return str(one)
        return f"{one.component} {one.what}: the last one came {age_s:.0f} s ago. Check it, restart it."


@dataclasses.dataclass
class _Watched:
    """The last samples from one component.

    Parameters
    ----------
    state
        Its summary state; None: not known.
    heartbeat
        When its last heartbeat came (seconds of `Clock.monotonic`); None: none came yet.
    """

    state: salobj.State | None = None
    heartbeat: float | None = None


def state_from(data: salobj.BaseMsgType) -> salobj.State | None:
    """Return the state in a summaryState; None if there is no such state."""
    try:
        return salobj.State(data.summaryState)
    except ValueError:
        return None


async def _on_summary_state(watched: _Watched, data: salobj.BaseMsgType) -> None:
    """Store the state."""
    watched.state = state_from(data)
