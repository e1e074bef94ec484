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
    # The file of one detector of the third bias never arrives; no event tells so. The next bias is complete again.
    "image-lost": (Fault("oods", "lose", match={"detector": 4, "image_type": "BIAS"}, skip=2),),
    # The job that makes the dark ends in error.
    "job-errors": (Fault("worker", "error", match={"pipeline": "cpDark"}),),
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
