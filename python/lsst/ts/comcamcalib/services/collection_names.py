# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which existing collection a name probably means; pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["near"]

LONG_WORD = 4
"""Shortest word in which one wrong letter counts as a slip (letters); ``u/me/a`` and ``u/me/b`` are different names."""


def near(name: str, existing: Iterable[str]) -> str:
    """Return an existing name that the operator probably means, "" if there is none.

    Two names are near each other if they differ only in upper and lower case and in the separators between words, or by
    one typing mistake within a word: a letter too many, too few or wrong, or two exchanged. Digits never count as
    mistakes: ``daily2`` and ``2026-11-23`` are different names from ``daily`` and ``2026-11-22``.

    Parameters
    ----------
    name
        The name that was given.
    existing
        Names that exist.
    """
    words = _words(name)
    others = sorted(other for other in existing if other != name)
    same = (other for other in others if _run_together(_words(other)) == _run_together(words))
    slips = (other for other in others if _one_slip(words, _words(other)))
    return next(same, next(slips, ""))


def _words(name: str) -> list[str]:
    """Return the words and numbers of a name, in lower case."""
    return re.findall(r"[^\W\d_]+|\d+", name.lower())


def _run_together(words: list[str]) -> str:
    """Return words joined without separators; numbers are marked, because ``1/12`` is not ``11/2``."""
    return "".join(word if word.isalpha() else f"<{word}>" for word in words)


def _one_slip(words: list[str], others: list[str]) -> bool:
    """Whether two names have the same words, apart from one typing mistake in one long word."""
    if len(words) != len(others):
        return False
    unlike = [(one, other) for one, other in zip(words, others, strict=True) if one != other]
    if len(unlike) != 1:
        return False
    one, other = unlike[0]
    return one.isalpha() and other.isalpha() and min(len(one), len(other)) >= LONG_WORD - 1 and _slip(one, other)


def _slip(one: str, other: str) -> bool:
    """Whether two different words differ by one letter, or by two that are exchanged."""
    if max(len(one), len(other)) < LONG_WORD:
        return False
    begin = next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other)))
    rest, rest_of_other = one[begin:], other[begin:]
    exchanged = rest[:2] == rest_of_other[:2][::-1] and rest[2:] == rest_of_other[2:]
    return exchanged or rest[1:] in (rest_of_other, rest_of_other[1:]) or rest == rest_of_other[1:]
