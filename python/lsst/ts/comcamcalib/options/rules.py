# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the run options follow from."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from ..instrument import Instrument

__all__ = ["OptionRules"]


@dataclasses.dataclass(frozen=True)
class OptionRules:
    """The few values of the CSC's configuration on which the run options depend.

    Parameters
    ----------
    instrument
        Its detectors can be chosen; its name begins the names of the usual collections.
    repo
        The only Butler repository that the OCPS works with.
    minimum_exposure_s
        Shortest exposure that the shutter can make (seconds).
    run_defaults
        Options that hold if the operator does not give them, as they are written in the configuration.
    repo_names
        Other names of that repository, which a request may give as well.
    """

    instrument: Instrument
    repo: str
    minimum_exposure_s: float
    run_defaults: Mapping[str, Any]
    repo_names: tuple[str, ...] = ()

    def is_repo(self, name: str) -> bool:
        """Whether a name is one of that repository's; a ``/`` at its end does not matter."""
        return name.strip(" ").rstrip("/") in {one.rstrip("/") for one in (self.repo, *self.repo_names)}

    @property
    def calib_collection(self) -> str:
        """Collection with the instrument's calibrations."""
        return f"{self.instrument.name}/calib"

    @property
    def max_threshold(self) -> int:
        """Largest number of amplifiers of a detector that may fail a test.

        If all amplifiers of a detector were allowed to fail, a dead detector would pass.
        """
        return min(self.instrument.amplifiers.values()) - 1
