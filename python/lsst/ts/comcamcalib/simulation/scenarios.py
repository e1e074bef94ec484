# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scenarios of the simulated observatory: lists of faults with a name.

Each of them is something that the real observatory has seen or can see. Several may be in force at once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .faults import Fault

__all__ = ["SCENARIOS", "scenario_faults"]

SCENARIOS: Mapping[str, tuple[Fault, ...]] = {
    # The read noise of all amplifiers of one detector is far above what the ptc says: the bias fails its verification.
    "noisy-detector": (
        Fault("focal_plane", "noise", match={"detector": 4, "image_type": "BIAS"}, times=None, value=1.6),
    ),
    # One amplifier only: it fails its tests, which is below the threshold for a detector.
    "noisy-amplifier": (
        Fault(
            "focal_plane",
            "noise",
            match={"detector": 4, "amplifier": "C12", "image_type": "BIAS"},
            times=None,
            value=1.6,
        ),
    ),
    # The file of one detector of the third bias never arrives, and no event says so. The next bias is complete again.
    "image-lost": (Fault("oods", "lose", match={"detector": 4, "image_type": "BIAS"}, skip=2),),
    # The job that makes the dark ends in error.
    "job-errors": (Fault("worker", "error", match={"pipeline": "cpDark"}),),
    # Nobody switched the flat lamp on: flats have dark current only.
    "lamp-off": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=0.0),),
    # A filter wheel or a wrong setting takes all but 2 % of the lamp's light.
    "lamp-dim": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=0.02),),
    # The lamp ages or warms up: each flat gets 5 % less light than the one before.
    "lamp-drifting": (Fault("focal_plane", "lamp_drift", match={"image_type": "FLAT"}, times=None, value=0.95),),
    # The lamp is so bright that every flat, even one of 0.1 s, is above the full well.
    "saturated": (Fault("focal_plane", "lamp", match={"image_type": "FLAT"}, times=None, value=100.0),),
    # Somebody opened the dome during the third bias: 2000 electrons in each of its pixels.
    "light-leak": (Fault("focal_plane", "leak", match={"image_type": "BIAS"}, skip=2, value=2000.0),),
    # One detector's files never arrive, however often frames are taken again, and no event says so.
    "detector-never-delivers": (Fault("oods", "lose", match={"detector": 4}, times=None),),
    # After its first job the OCPS goes to STANDBY, as after a restart, and stays there until somebody enables it.
    "ocps-standby": (Fault("ocps", "standby"),),
    # The UWS makes the second job, but Kubernetes is so slow to list it that the UWS reports an error.
    "ocps-500-job-exists": (
        Fault(
            "http",
            "status_reply",
            match={"method": "PUT", "resource": "submit"},
            skip=1,
            value=500,
            text="Job creation timed out.",
        ),
    ),
    # The UWS is down for a while. Meanwhile the ingress in front of it answers that it has no such page.
    "ingress-404": (
        Fault(
            "http",
            "status",
            match={"method": "GET", "resource": "job"},
            skip=2,
            times=8,
            value=404,
            text="default backend - 404",
        ),
    ),
}
"""The faults of each scenario."""


def scenario_faults(names: Iterable[str]) -> list[Fault]:
    """Return the faults of the named scenarios, together.

    Raises
    ------
    ValueError
        If there is no scenario of a name.
    """
    wanted = list(names)
    unknown = [name for name in wanted if name not in SCENARIOS]
    if unknown:
        raise ValueError(f"There is no scenario {', '.join(unknown)}. There are: {', '.join(SCENARIOS)}.")
    return [fault for name in wanted for fault in SCENARIOS[name]]
