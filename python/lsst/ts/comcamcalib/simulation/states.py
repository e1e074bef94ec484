# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""State transitions of the simulators without a client: what their commands do is done directly.

A command that is refused raises what it raises there.
"""

from __future__ import annotations

from lsst.ts import salobj

from .camera import CameraCsc

__all__ = ["bring_from_standby", "bring_to_standby"]

_WAY_TO_STANDBY = {
    salobj.State.ENABLED: "disable",
    salobj.State.DISABLED: "standby",
    salobj.State.FAULT: "standby",
}
_WAY_FROM_STANDBY = {
    salobj.State.STANDBY: (),
    salobj.State.DISABLED: ("start",),
    salobj.State.ENABLED: ("start", "enable"),
}


async def bring_to_standby(csc: salobj.BaseCsc) -> None:
    """Bring a CSC from any state to STANDBY."""
    if isinstance(csc, CameraCsc) and csc.offline:
        await csc.do_enterControl(None)
    while csc.summary_state != salobj.State.STANDBY:
        await _transit(csc, _WAY_TO_STANDBY[csc.summary_state])


async def bring_from_standby(csc: salobj.BaseCsc, state: salobj.State) -> None:
    """Bring a CSC from STANDBY to STANDBY, DISABLED or ENABLED."""
    for command in _WAY_FROM_STANDBY[state]:
        await _transit(csc, command)


async def _transit(csc: salobj.BaseCsc, command: str) -> None:
    data = getattr(csc, f"cmd_{command}").DataType()
    await getattr(csc, f"do_{command}")(data)
