# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""State of the components that a run needs."""

from __future__ import annotations

from typing import Protocol

from lsst.ts import salobj

__all__ = ["Components"]


class Components(Protocol):
    """What the layers above ask about other components."""

    def problems(self) -> list[str]:
        """Return a sentence for each component that is not ENABLED or gives no sign of life; empty: all are well."""

    def state_of(self, name: str) -> salobj.State | None:
        """Return the last summary state that a component has told, None if it told none."""
