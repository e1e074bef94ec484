# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What somebody wants to promote, and what that comes to."""

from __future__ import annotations

import dataclasses
import getpass
import os
import socket
from pathlib import Path

from ..butler_data import CertifyRequest

__all__ = ["Planned", "Promotion"]


@dataclasses.dataclass(frozen=True)
class Promotion:
    """What somebody wants to copy.

    Parameters
    ----------
    run_id, calib_types
        The run, and names of types; none: all that it certified.
    collection
        Where to.
    reason
        Why.
    on_conflict
        What becomes of calibrations that are there: ``fail`` or ``truncate``.
    by
        Who wants it; "": the user and host of this process.
    """

    run_id: str
    calib_types: tuple[str, ...]
    collection: str
    reason: str
    on_conflict: str = "fail"
    by: str = ""

    @property
    def who(self) -> str:
        """Who wants it, for the record."""
        return self.by.strip() or f"{_user()}@{socket.gethostname()}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """What will be copied.

    Parameters
    ----------
    wanted
        What somebody wants.
    repo, instrument, source
        The repository, Butler's name of the instrument, and the collection that the run certified in.
    log
        The file that gets a line about it.
    requests
        What is certified; none if everything is there already.
    lines
        The same for people.
    """

    wanted: Promotion
    repo: str
    instrument: str
    source: str
    log: Path
    requests: tuple[CertifyRequest, ...]
    lines: tuple[str, ...]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number only
        return f"uid{os.getuid()}"
