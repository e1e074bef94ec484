# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Values of fields, as they are printed and typed."""

from __future__ import annotations

from typing import Any

__all__ = ["BOOL_DICT", "convert", "format_value"]

BOOL_DICT = {"0": False, "f": False, "false": False, "1": True, "t": True, "true": True}
"""What may be typed for a boolean, in lower case."""


def format_value(value: Any) -> str:
    """Return a field's value as it is printed."""
    if isinstance(value, float):
        return f"{value:0.4f}"
    if isinstance(value, list):
        return "[" + ", ".join(format_value(item) for item in value) + "]"
    return repr(value)


def convert(python_type: type, text: str) -> Any:
    """Return the value that a word of the command line stands for."""
    if python_type is bool:
        try:
            return BOOL_DICT[text.lower()]
        except KeyError:
            raise ValueError(f"{text!r} is none of {', '.join(BOOL_DICT)}") from None
    return int(text, 0) if python_type is int else python_type(text)
