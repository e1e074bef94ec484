# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A group of SAL components that is commanded and watched as one."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import types
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

from lsst.ts import salobj

__all__ = ["RemoteGroup", "Usages", "UsagesResources"]

T = TypeVar("T")


class Usages:
    """What a group can be used for: bits, which may be combined; All (no bit) is none of them in particular."""

    All = 0
    StateTransition = 1 << 0
    MonitorState = 1 << 1
    MonitorHeartBeat = 1 << 2
    CheckSimulationMode = 1 << 3
    CheckSoftwareVersions = 1 << 4
    DryTest = 1 << 5

    def __iter__(self) -> Iterator[int]:
        return iter(
            (
                self.All,
                self.StateTransition,
                self.MonitorState,
                self.MonitorHeartBeat,
                self.CheckSimulationMode,
                self.CheckSoftwareVersions,
                self.DryTest,
            )
        )


class UsagesResources:
    """The components and topics that one usage needs.

    Parameters
    ----------
    components_attr
        Attribute names of the components that it needs.
    readonly
        True if it sends no command; the remotes can send commands all the same.
    generics
        Generic events that it needs of each of these components, without prefix.
    **topics
        Events and telemetry that it needs of single components: ``cccamera=["startIntegration"]``.
    """

    def __init__(
        self, components_attr: Sequence[str], readonly: bool, generics: Sequence[str] = (), **topics: Sequence[str]
    ) -> None:
        self.components_attr = frozenset(components_attr)
        self.readonly = readonly
        self.include = frozenset(generics).union(*topics.values())


@dataclasses.dataclass(frozen=True)
class _Needs:
    """The union of the resources of all usages intended; None means everything."""

    components_attr: frozenset[str]
    include: frozenset[str] | None


class RemoteGroup:
    """Remotes of several SAL components, with what is asked of all of them together.

    Parameters
    ----------
    components
        Names, such as ``CCCamera`` or ``OCPS:2``. The remotes are ``rem.cccamera`` and ``rem.ocps_2``.
    domain
        The domain of the remotes. None: one of the group's own, which `close` closes.
    log
        Parent of the group's logger.
    intended_usage
        One or more bits of `Usages`: only the topics that they need are read. None: all of them.
    concurrent_operation
        If true, the components are commanded all at the same time, otherwise one after the other.

    Attributes
    ----------
    rem, check : types.SimpleNamespace
        By component: its remote, None if it is not needed; and whether `assert_all_enabled` and the like look at it.
    start_task : asyncio.Future or None
        Done when all remotes have started. None if the group has none.
    """

    def __init__(
        self,
        components: Sequence[str],
        domain: salobj.Domain | None = None,
        log: logging.Logger | None = None,
        intended_usage: int | None = None,
        concurrent_operation: bool = True,
    ) -> None:
        self.log = log.getChild(type(self).__name__) if log is not None else logging.getLogger(type(self).__name__)
        self.components = list(components)
        self.components_attr = [name.lower().replace(":", "_") for name in components]
        self.intended_usage = intended_usage
        self.concurrent_operation = concurrent_operation
        self.fast_timeout = 5.0  # seconds: a sample that exists, or a heartbeat
        self.long_timeout = 30.0  # seconds: a state command
        self.long_long_timeout = 120.0  # seconds: a state command that connects to hardware
        self.domain = domain if domain is not None else salobj.Domain()
        self._owns_domain = domain is None

        needs = self._needs()
        self.rem = types.SimpleNamespace()
        self.check = types.SimpleNamespace()
        self._remotes: dict[str, salobj.Remote] = {}
        for component, attr in zip(self.components, self.components_attr, strict=True):
            if attr in needs.components_attr:
                self._remotes[attr] = self._make_remote(component, needs)
            setattr(self.rem, attr, self._remotes.get(attr))
            setattr(self.check, attr, attr in self._remotes)
        starts = [remote.start_task for remote in self._remotes.values()]
        self.start_task = asyncio.gather(*starts) if starts else None

    # Usages

    @property
    def valid_use_cases(self) -> Usages:
        """The usages that this group knows."""
        return Usages()

    @property
    def usages(self) -> dict[int, UsagesResources]:
        """What each usage needs."""
        everything = self.components_attr
        state_topics = ("summaryState", "configurationsAvailable")
        return {
            Usages.All: UsagesResources(everything, False, (*state_topics, "heartbeat")),
            Usages.StateTransition: UsagesResources(everything, False, state_topics),
            Usages.MonitorState: UsagesResources(everything, True, ("summaryState",)),
            Usages.MonitorHeartBeat: UsagesResources(everything, True, ("heartbeat",)),
            Usages.CheckSimulationMode: UsagesResources(everything, True, ("simulationMode",)),
            Usages.CheckSoftwareVersions: UsagesResources(everything, True, ("softwareVersions",)),
            Usages.DryTest: UsagesResources((), True),
        }

    def _needs(self) -> _Needs:
        if self.intended_usage is None:
            return _Needs(frozenset(self.components_attr), None)
        known = self.usages
        if self.intended_usage & ~sum(set(self.valid_use_cases)):
            raise RuntimeError(f"Intended usage {self.intended_usage} has bits that {sorted(known)} do not have.")
        parts = [known[usage] for usage in self.valid_use_cases if usage & self.intended_usage]
        if self.intended_usage == Usages.All:
            parts = [known[Usages.All]]
        return _Needs(
            frozenset[str]().union(*(part.components_attr for part in parts)),
            frozenset[str]().union(*(part.include for part in parts)),
        )

    def _make_remote(self, component: str, needs: _Needs) -> salobj.Remote:
        name, index = salobj.name_to_name_index(component)
        if needs.include is None:
            return salobj.Remote(self.domain, name, index)
        # Every remote is given the topics of all components; it takes those that its component has.
        return salobj.Remote(self.domain, name, index, include=sorted(needs.include))

    # States and heartbeats; a component is given by its attribute name, such as cccamera

    async def get_state(self, component: str) -> salobj.State:
        """Return the summary state of a component.

        Raises
        ------
        TimeoutError
            If it has published none within `fast_timeout`.
        """
        sample = await self._remote(component).evt_summaryState.aget(timeout=self.fast_timeout)
        return salobj.State(sample.summaryState)

    async def next_state(self, component: str) -> salobj.State:
        """Wait without a limit for the next summary state of a component."""
        sample = await self._remote(component).evt_summaryState.next(flush=False)
        return salobj.State(sample.summaryState)

    async def check_component_state(self, component: str, desired_state: salobj.State = salobj.State.ENABLED) -> None:
        """Watch a component until it leaves the desired state.

        Raises
        ------
        RuntimeError
            When the component is in another state.
        """
        state = await self.get_state(component)
        while state == desired_state:
            state = await self.next_state(component)
        raise RuntimeError(f"{component} is in {state!r}, expected {desired_state!r}.")

    async def get_heartbeat(self, component: str) -> Any:
        """Return the newest heartbeat of a component, at most `fast_timeout` later."""
        return await self._remote(component).evt_heartbeat.aget(timeout=self.fast_timeout)

    async def next_heartbeat(self, component: str, flush: bool = True) -> Any:
        """Wait at most `fast_timeout` for the next heartbeat of a component."""
        return await self._remote(component).evt_heartbeat.next(flush=flush, timeout=self.fast_timeout)

    async def assert_liveliness(self) -> None:
        """Check that all components show a heartbeat within `fast_timeout`.

        Raises
        ------
        AssertionError
            If one does not; it names all of them.
        """
        outcomes = await self._on_checked(self.next_heartbeat)
        dead = [attr for attr, outcome in outcomes.items() if isinstance(outcome, Exception)]
        if dead:
            raise AssertionError(f"No heartbeat within {self.fast_timeout} s from {', '.join(dead)}.")

    async def assert_all_enabled(self, message: str = "") -> None:
        """Check that all components are in ENABLED.

        Raises
        ------
        AssertionError
            If one is not, or publishes no state; the error names all of them.
        """
        outcomes = await self._on_checked(self.get_state)
        wrong = [f"{attr}: {outcome!r}" for attr, outcome in outcomes.items() if outcome != salobj.State.ENABLED]
        if wrong:
            raise AssertionError(f"{message or 'All components must be enabled'}: {'; '.join(wrong)}.")

    async def set_state(
        self,
        state: salobj.State,
        overrides: dict[str, str] | None = None,
        components: Sequence[str] | None = None,
    ) -> None:
        """Bring components into a summary state.

        Parameters
        ----------
        state
            Where to.
        overrides
            Configuration override by component. Those that are missing get none.
        components
            Attribute names. None: all that are checked.

        Raises
        ------
        RuntimeError
            If one did not get there; it names all of them.
        """
        full_overrides = self.expand_overrides(overrides)

        async def set_one(attr: str) -> None:
            remote = self._remote(attr)
            await salobj.set_summary_state(remote, state, override=full_overrides[attr], timeout=self.long_long_timeout)

        outcomes = await self._on_checked(set_one, components)
        failures = [f"{attr}: {outcome}" for attr, outcome in outcomes.items() if isinstance(outcome, Exception)]
        if failures:
            raise RuntimeError(f"Failed to bring {len(failures)} component(s) to {state!r}: {'; '.join(failures)}")

    async def enable(self, overrides: dict[str, str] | None = None) -> None:
        """Bring all components that are checked to ENABLED."""
        await self.set_state(salobj.State.ENABLED, overrides)

    async def standby(self) -> None:
        """Bring all components that are checked to STANDBY."""
        await self.set_state(salobj.State.STANDBY)

    async def offline(self) -> None:
        """Bring all components that are checked to OFFLINE."""
        await self.set_state(salobj.State.OFFLINE)

    def expand_overrides(self, overrides: dict[str, str] | None = None) -> dict[str, str]:
        """Return overrides that name every component.

        Raises
        ------
        RuntimeError
            If one names a component that the group lacks.
        """
        given = {self._attr(name): override for name, override in (overrides or {}).items()}
        return {attr: given.get(attr, "") for attr in self.components_attr}

    # Which components are looked at

    def get_work_components(self, components: Sequence[str] | None = None) -> list[str]:
        """Return the attribute names of the given components, or of all that are checked."""
        if components is not None:
            return [self._attr(component) for component in components]
        return [attr for attr in self._remotes if getattr(self.check, attr)]

    def disable_checks_for_components(self, components: Sequence[str]) -> None:
        """Look no more at these components."""
        for component in components:
            setattr(self.check, self._attr(component), False)

    def reset_checks(self) -> None:
        """Look at all components again."""
        for attr in self.components_attr:
            setattr(self.check, attr, True)

    # End

    async def close(self) -> None:
        """Stop waiting for the remotes' start, and close the domain if it is the group's own."""
        if self.start_task is not None and not self.start_task.done():
            self.start_task.cancel()
            await asyncio.gather(self.start_task, return_exceptions=True)
        if self._owns_domain:
            await self.domain.close()

    async def __aenter__(self) -> RemoteGroup:
        if self.start_task is not None:
            await self.start_task
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self.close()

    def _attr(self, component: str) -> str:
        attr = component.lower().replace(":", "_")
        if attr not in self.components_attr:
            raise RuntimeError(f"{component} is not one of {self.components_attr}.")
        return attr

    def _remote(self, attr: str) -> salobj.Remote:
        """Return the remote of a component, by its attribute name."""
        if attr not in self.components_attr:
            raise RuntimeError(f"{attr} is not one of {self.components_attr}.")
        if attr not in self._remotes:
            raise RuntimeError(f"{attr} is not needed for the intended usage {self.intended_usage}.")
        return self._remotes[attr]

    async def _on_checked(
        self, action: Callable[[str], Awaitable[T]], components: Sequence[str] | None = None
    ) -> dict[str, T | Exception]:
        """Do something for each component; return what came of it, failures too."""

        async def attempt(attr: str) -> T | Exception:
            try:
                return await action(attr)
            except Exception as error:
                return error

        attrs = self.get_work_components(components)
        if self.concurrent_operation:
            outcomes = await asyncio.gather(*(attempt(attr) for attr in attrs))
        else:
            outcomes = [await attempt(attr) for attr in attrs]
        return dict(zip(attrs, outcomes, strict=True))
