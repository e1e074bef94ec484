# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the simulated observatory, any of which can be left out so that a real one takes its place."""

from __future__ import annotations

import os
from collections.abc import Iterable

__all__ = ["COMPONENTS", "PARTS", "address_of_other", "parts_without"]

COMPONENTS = ("CCCamera", "CCHeaderService", "CCOODS", "OCPS")
"""The parts that are CSCs."""

PARTS = (*COMPONENTS, "UWS", "broker", "registry")
"""All parts that can be left out."""

_ADDRESS_OF = {
    "UWS": "COMCAMCALIB_UWS_URL",
    "broker": "LSST_KAFKA_BROKER_ADDR",
    "registry": "LSST_SCHEMA_REGISTRY_URL",
}


def parts_without(left_out: Iterable[str]) -> frozenset[str]:
    """Return the parts that remain.

    Parameters
    ----------
    left_out
        Names of `PARTS`, in capitals or not.

    Raises
    ------
    ValueError
        If there is no part of a name, or it is not known where the real one is that takes the place of a server.
    """
    known = {part.lower(): part for part in PARTS}
    wanted = list(left_out)
    unknown = [name for name in wanted if name.lower() not in known]
    if unknown:
        raise ValueError(f"The observatory has no part {', '.join(unknown)}. Its parts are: {', '.join(PARTS)}.")
    gone = frozenset(known[name.lower()] for name in wanted)
    for part in sorted(gone & _ADDRESS_OF.keys()):
        address_of_other(part)
    return frozenset(PARTS) - gone


def address_of_other(part: str) -> str:
    """Return the address, from the environment, of what takes the place of this observatory's server.

    Raises
    ------
    ValueError
        If the environment does not say it.
    """
    variable = _ADDRESS_OF[part]
    address = os.environ.get(variable, "")
    if not address:
        raise ValueError(
            f"Without a {part} of its own the observatory uses another one: set the environment variable {variable} "
            "to its address."
        )
    return address
