# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values as sentences show them: on one line, with a limited length."""

from __future__ import annotations

__all__ = ["MAX_SHOWN", "shown"]

MAX_SHOWN = 200
"""Longest part of a value that a sentence shows (characters)."""


def shown(value: object) -> str:
    """Return a value as text for a sentence.

    Parameters
    ----------
    value
        Any value from an operator's text or a configuration file.

    Returns
    -------
    text
        At most `MAX_SHOWN` characters of it, then an ellipsis; what can't be printed is escaped.
    """
    text = _written(value)
    if not text:
        return "''"
    cut = text[:MAX_SHOWN]
    safe = "".join(character if character.isprintable() else _escaped(character) for character in cut)
    # Escaping makes it longer, so the limit is applied afterwards.
    return safe[:MAX_SHOWN] + ("…" if len(text) > MAX_SHOWN or len(safe) > MAX_SHOWN else "")


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _written(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        # No sentence shows more than MAX_SHOWN characters, and each item has at least one.
        return "[" + ", ".join(_written(item) for item in value[:MAX_SHOWN]) + "]"
    if isinstance(value, dict):
        return "a mapping"
    return str(value)
