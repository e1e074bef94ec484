# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Readers of option values: one function for each kind of value.

Each takes a value as it was written (text, True, False, a list) or as the YAML reader of a configuration file returns
it (also numbers and dates), and returns its meaning. A value that is not allowed raises `NotAllowedError`; its text
continues the sentence that begins with the option and the value: "is not a whole number from 1 to 1000".
"""

from __future__ import annotations

import datetime
import difflib
import math
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

from .shown import shown

__all__ = [
    "NotAllowedError",
    "boolean",
    "collection",
    "collections",
    "date",
    "exposure_times",
    "finite",
    "has_time_zone",
    "items_of",
    "number",
    "ocps_text",
    "one_of",
    "plain_text",
    "whole",
]

NUMBER = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
"""Decimal numbers only; YAML 1.1's octal, sexagesimal and underscored numbers are refused as probable mistakes."""

DATE = re.compile(
    r"(?P<moment>[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ][0-9]{2}:[0-9]{2}(?::[0-9]{2}(?:\.[0-9]{1,6})?)?)?)"
    r"(?: ?(?P<zone>[Zz]|TAI|UTC|[-+][0-9]{2}(?::?[0-9]{2})?))?"
)
NO_OFFSET = frozenset({"Z", "z", "UTC", "+00", "+0000", "+00:00", "-00", "-0000", "-00:00"})
"""Time zones that programs add by default, even to times that are TAI."""

TRUTH_VALUES = frozenset({"true", "yes", "on", "false", "no", "off"})
"""The words for true and false in YAML 1.1."""

COLLECTION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_./@+-]*")
MAX_COLLECTION_NAME = 64
"""Longest name of a collection in Butler's registry (characters): its COLLECTION_NAME_MAX_LENGTH."""

MAX_TEXT = 1000
"""Longest text of an option (characters)."""

FORBIDDEN_IN_OCPS = '"\\;`$|&<>#'
"""Characters that would end or change the YAML template or the command line into which a text is inserted."""

MAX_LIST = 2000
"""Longest list that is read (entries): the largest number of frames of a type, used and discarded."""

SMALLEST_STEP = 0.001
"""Least distance from a limit that is not part of the range (seconds): cameras use milliseconds."""

NOTHING = frozenset({"none", "null", "nil", "nan"})
"""Words for null in other languages and programs."""

FIRST_YEAR, LAST_YEAR = 1970, 2099
"""Butler silently cuts validity ranges at the beginning of 1970 and of 2100."""


class NotAllowedError(ValueError):
    """A value is not allowed; the message continues the sentence that begins with the value."""


class TooManyError(NotAllowedError):
    """A list is too long."""

    def __init__(self, count: int) -> None:
        super().__init__(f"has {count} entries; at most {MAX_LIST} are read")
        self.count = count


def _text(value: Any) -> str:
    """Return a single value as text."""
    if isinstance(value, str):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    raise NotAllowedError("is not a text")


def boolean(value: Any) -> bool:
    """Read true or false, in any spelling of YAML 1.1, in quotes or not."""
    if isinstance(value, bool):
        return value
    word = value.lower() if isinstance(value, str) else ""
    if word in TRUTH_VALUES:
        return word in ("true", "yes", "on")
    raise NotAllowedError("is neither true nor false")


def finite(value: Any) -> float | None:
    """Return the finite number that a value is or spells, or None if it is not one."""
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = value.strip(" ")
        if not NUMBER.fullmatch(value):
            return None
    elif not isinstance(value, int | float):
        return None
    try:
        result = float(value)
    except OverflowError:
        return None
    return result if math.isfinite(result) else None


def number(low: float, high: float, unit: str, *, above: bool = False) -> Callable[[Any], float]:
    """Return a reader of numbers.

    Parameters
    ----------
    low, high
        The range, with both ends.
    unit
        The unit, for the sentence.
    above
        Whether the range begins above the low end, by at least `SMALLEST_STEP`.
    """
    allowed = f"a number of {unit} {'above' if above else 'from'} {low:g} {'up ' if above else ''}to {high:g}"

    def read(value: Any) -> float:
        result = finite(value)
        if result is None or not low <= result <= high or (above and result == low):
            raise NotAllowedError(f"is not {allowed}")
        if above and result < low + SMALLEST_STEP:
            raise NotAllowedError(f"is too small; give at least {low + SMALLEST_STEP:g} {unit}")
        return result

    return read


def whole(low: int, high: int) -> Callable[[Any], int]:
    """Return a reader of whole numbers from ``low`` to ``high``; ``6.0`` and ``1e2`` are whole numbers too."""

    def read(value: Any) -> int:
        result = finite(value)
        if result is None or not result.is_integer() or not low <= result <= high:
            raise NotAllowedError(f"is not a whole number from {low} to {high}")
        return int(result)

    return read


def one_of(words: Sequence[str]) -> Callable[[Any], str]:
    """Return a reader of a word from a list."""

    def read(value: Any) -> str:
        if value in words:
            return str(value)
        likely = difflib.get_close_matches(str(value)[:MAX_TEXT].upper(), [word.upper() for word in words], 1, 0.75)
        meant = f"; did you mean {next(word for word in words if word.upper() == likely[0])}?" if likely else ""
        raise NotAllowedError(f"is not one of {', '.join(words)}{meant}")

    return read


def items_of(value: Any) -> list[Any]:
    """Return the entries of a list, in any of its spellings: ``[1, 2]``, ``(1,2)`` or ``1,2``."""
    if isinstance(value, list | tuple):
        items = list(value)
    else:
        text = _text(value).strip(" ")
        if text[:1] + text[-1:] in ("()", "[]"):
            text = text[1:-1]
        items = [item.strip(" ") for item in text.split(",")]
        if not items[-1]:  # the empty list, and Python's "(0,)"
            items.pop()
    if len(items) > MAX_LIST:
        raise TooManyError(len(items))
    return items


def exposure_times(
    low: float, high: float, max_frames: int, *, above: bool = False
) -> Callable[[Any], float | tuple[float, ...]]:
    """Return a reader of one exposure time or a list of them.

    Parameters
    ----------
    low, high, above
        The range of an exposure time (seconds), as for `number`.
    max_frames
        Largest number of frames of a type that are used, for the sentence.
    """
    read_one = number(low, high, "seconds", above=above)

    def read(value: Any) -> float | tuple[float, ...]:
        if finite(value) is not None:
            return read_one(value)
        try:
            items = items_of(value)
        except TooManyError as error:
            raise NotAllowedError(
                f"is a list of {error.count} exposure times, but at most {max_frames} frames of a type are used, and "
                f"at most {MAX_LIST} taken with the discarded ones"
            ) from None
        except NotAllowedError:
            items = []
        if not items:
            raise NotAllowedError("is neither a number of seconds nor a list of them")
        if len(items) == 1 and not isinstance(value, list | tuple):
            return read_one(items[0])
        for item in items:
            try:
                read_one(item)
            except NotAllowedError as error:
                raise NotAllowedError(f"has {shown(item)}, which {error}") from None
        return tuple(read_one(item) for item in items)

    return read


def plain_text(value: Any) -> str:
    """Read a text on one line."""
    text = _text(value)
    if len(text) > MAX_TEXT:
        raise NotAllowedError(f"has {len(text)} characters; at most {MAX_TEXT} are allowed")
    for character in text:
        if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp"):
            raise NotAllowedError(f"has the character {shown(character)}, but control characters are not allowed")
    return text


def ocps_text(value: Any) -> str:
    """Read a text that goes to the OCPS, which puts it into a YAML template and a command line without any escaping."""
    text = plain_text(value)
    for character in FORBIDDEN_IN_OCPS:
        if character in text:
            raise NotAllowedError(f"has the character {character}, which is not allowed in texts for the OCPS")
    if text.count("'") % 2:
        raise NotAllowedError("has an odd number of ', so a quotation does not end")
    return text


def collection(value: Any) -> str:
    """Read the name of a Butler collection."""
    if isinstance(value, bool):
        raise NotAllowedError("is a truth value, not the name of a collection")
    name = ocps_text(value).strip(" ")
    if not name:
        raise NotAllowedError("is not the name of a collection")
    if name.lower() in TRUTH_VALUES:
        raise NotAllowedError("is a truth value, not the name of a collection")
    if name.lower() in NOTHING:
        raise NotAllowedError(
            "is a word for nothing, not the name of a collection; leave the option out for the default"
        )
    if finite(name) is not None:
        raise NotAllowedError("is a number, not the name of a collection")
    if len(name) > MAX_COLLECTION_NAME:
        raise NotAllowedError(f"is too long for a collection: {len(name)} characters, at most {MAX_COLLECTION_NAME}")
    if name.startswith("/") or name.endswith("/") or "//" in name:
        raise NotAllowedError("is not the name of a collection: it may not begin or end with / nor have two together")
    if not COLLECTION.fullmatch(name):
        raise NotAllowedError("is not the name of a collection: only letters, digits and _ . / @ + - are allowed")
    if not {".", ".."}.isdisjoint(name.split("/")):
        raise NotAllowedError("is not the name of a collection: it is no path, so . and .. can't be parts of it")
    return name


def collections(value: Any) -> tuple[str, ...]:
    """Read names of collections separated by commas; none is allowed."""
    if isinstance(value, bool):
        raise NotAllowedError("is a truth value, not the name of a collection")
    items = items_of(value)
    try:
        return tuple(dict.fromkeys(collection(item) for item in items))
    except NotAllowedError as error:
        if len(items) == 1:
            raise
        bad = next(item for item in items if not _is_collection(item))
        raise NotAllowedError(f"has {shown(bad)}, which {error}") from None


def _is_collection(value: Any) -> bool:
    try:
        return bool(collection(value))
    except NotAllowedError:
        return False


def has_time_zone(value: Any) -> bool:
    """Whether a date that `date` accepts was written with a time zone other than TAI."""
    if isinstance(value, datetime.datetime):
        return value.tzinfo is not None
    match = DATE.fullmatch(value) if isinstance(value, str) else None
    return match is not None and match["zone"] not in (None, "TAI")


def date(value: Any) -> str:
    """Read a date, or a date and time (TAI); return ISO 8601 to the second or, if needed, microsecond.

    A time with ``Z`` or ``UTC`` is read as TAI without conversion; see `has_time_zone`.
    """
    allowed = "is not an ISO 8601 date or time (TAI, without a time zone) such as 2026-11-22 or 2026-11-22T12:00:00"
    zoned = "has a time zone, but all times of a run are TAI; write the TAI time without a time zone"
    if isinstance(value, datetime.datetime):
        if value.utcoffset():
            raise NotAllowedError(zoned)
        moment = value.replace(tzinfo=None)
    elif isinstance(value, datetime.date):
        moment = datetime.datetime.combine(value, datetime.time())
    else:
        match = DATE.fullmatch(value) if isinstance(value, str) else None
        if match is None:
            raise NotAllowedError(allowed)
        if match["zone"] not in (None, "TAI") and match["zone"] not in NO_OFFSET:
            raise NotAllowedError(zoned)
        try:
            moment = datetime.datetime.fromisoformat(match["moment"])
        except ValueError:
            raise NotAllowedError(allowed) from None
    if not FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise NotAllowedError(f"is outside the years {FIRST_YEAR} to {LAST_YEAR}, which Butler's validity ranges have")
    return moment.isoformat()
