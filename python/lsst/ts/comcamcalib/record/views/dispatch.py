# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The events after a fact: a function for each kind that is published, in the other modules of this package."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from ..events import Event
from ..facts import Fact
from ..history import History

__all__ = ["published"]


@functools.singledispatch
def published(_fact: Fact, _history: History) -> Iterator[Event]:
    """Yield the events about what a fact has changed; the history has the fact already."""
    yield from ()  # intents, and looks that found nothing, are not published
