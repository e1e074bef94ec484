# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether this process may still change anything outside."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

__all__ = ["Permission"]

Permission = Callable[[], Awaitable[None]]
"""Awaited right before a command is sent or a certification begins; raises ServiceError if that may not be done.

A process that was paused may have lost its journal to another without knowing it. What it was about to do when it was
paused, the other process does.
"""
