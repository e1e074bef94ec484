# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSCs of the simulated observatory, started, moved between states and ended together."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from lsst.ts import salobj

from .camera import CameraCsc
from .oods import OodsCsc
from .states import bring_from_standby, bring_to_standby

__all__ = ["Components"]

START_LIMIT_S = 60.0  # their clients of broker and registry take a second or two
IDLE_LIMIT_S = 60.0  # for what the camera still does at a reset

Make = Callable[[salobj.State], salobj.BaseCsc]


class Components:
    """The CSCs of one observatory.

    Parameters
    ----------
    makers
        What makes each CSC, in its initial state, by its name. A component without one is left out.
    states
        Initial state of each component.
    """

    def __init__(self, makers: Mapping[str, Make], states: Mapping[str, salobj.State]) -> None:
        self._makers = dict(makers)
        self._states = dict(states)
        self._cscs: dict[str, salobj.BaseCsc] = {}

    def get(self, name: str) -> salobj.BaseCsc:
        """Return a CSC.

        Raises
        ------
        RuntimeError
            If it is left out.
        """
        if name not in self._cscs:
            raise RuntimeError(f"This observatory runs without its own {name}.")
        return self._cscs[name]

    async def start(self) -> None:
        """Make and start all CSCs; if one fails, close those that were made.

        Raises
        ------
        RuntimeError
            If one does not come to its initial state.
        """
        async with contextlib.AsyncExitStack() as unstarted:
            for name, make in self._makers.items():
                csc = make(self._states[name])
                unstarted.push_async_callback(csc.close)
                self._cscs[name] = csc
            async with asyncio.timeout(START_LIMIT_S):
                await asyncio.gather(*(csc.start_task for csc in self._cscs.values()))
            late = [name for name, csc in self._cscs.items() if csc.summary_state != self._states[name]]
            if late:
                raise RuntimeError(f"{', '.join(late)} did not come to the initial state; the log says why.")
            unstarted.pop_all()

    async def close(self) -> None:
        """Close all CSCs, side by side because each takes a second."""
        await asyncio.gather(*(csc.close() for csc in self._cscs.values()))

    async def rest(self) -> None:
        """Let the camera finish its image, bring all to STANDBY, and forget filter and images that wait for ingest."""
        camera, oods = self._cscs.get("CCCamera"), self._cscs.get("CCOODS")
        if isinstance(camera, CameraCsc):
            async with asyncio.timeout(IDLE_LIMIT_S):
                await camera.idle.wait()
            await camera.reset_filter()
        for csc in self._cscs.values():
            await bring_to_standby(csc)
        if isinstance(oods, OodsCsc):
            await oods.drop_images()

    async def rise(self) -> None:
        """Bring all from STANDBY to their initial states."""
        for name, csc in self._cscs.items():
            await bring_from_standby(csc, self._states[name])

    def describe(self) -> str:
        """Return names and states."""
        return ", ".join(f"{csc.salinfo.name_index} {csc.summary_state.name}" for csc in self._cscs.values()) or "none"
