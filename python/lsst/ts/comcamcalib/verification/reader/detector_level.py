# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read cp_verify's statistics of one detector in one exposure, or of its photon transfer curve.

It writes::

    {"AMP": {amplifier: {statistic: value}}, "VERIFY": {"AMP": {amplifier: {test: bool, "SUCCESS": bool}},
     "DET": {test: bool, "SUCCESS": bool}}, "SUCCESS": bool, ...}

Everything is checked, because these are dictionaries from files. There are tens of thousands of them with hundreds of
values each. So the usual form, in which all amplifiers have the same keys and all values the expected type, is
recognised without looking at single values; anything else is looked at in detail.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from ...config import VerificationRecipe
from ..context import RuleContext
from ..table import ABSENT
from .values import FAILS_ALWAYS, UnreadableError, boolean, mapping, number, quoted

__all__ = ["Entry", "Shape", "check_success", "read_detector", "without_signal"]

SUCCESS = "SUCCESS"

_NOTHING = object()
"""Stands for a value that is not there, until it is clear what it should be."""


@dataclasses.dataclass(frozen=True)
class Shape:
    """The names in some statistics: amplifiers, tests of amplifiers and of the detector, what was measured."""

    amplifiers: tuple[str, ...]
    tests: tuple[str, ...]
    whole: tuple[str, ...]
    statistics: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """The statistics of one detector, amplifier by amplifier in the order of their shape."""

    shape: Shape
    results: Sequence[int]
    whole: Sequence[int]
    values: Sequence[float]
    success: bool


def read_detector(statistics: Any, context: RuleContext, detector: int) -> Entry:
    """Read the statistics of one detector in one exposure, or of its product.

    Raises
    ------
    UnreadableError
        If anything is missing, has another type, or means something that is not known.
    """
    recipe = context.recipe
    assert recipe is not None
    content = mapping(statistics, "the content")
    verify = mapping(content.get("VERIFY"), "VERIFY")
    names, tests, results = _table(mapping(verify.get("AMP"), "VERIFY AMP"), _results)
    values_names, measured, values = _table(mapping(content.get("AMP"), "AMP"), _values)
    _check_amplifiers(names, context, detector)
    if values_names != names:
        if set(values_names) != set(names):
            raise UnreadableError("statistics and tests are not of the same amplifiers")
        rows = {name: values[index * len(measured) :][: len(measured)] for index, name in enumerate(values_names)}
        values = [value for name in names for value in rows[name]]
    of_detector = mapping(verify.get("DET", {}), "VERIFY DET")
    _, whole_tests, whole = _table({"": of_detector}, _results)
    _check_known(tests, whole_tests, recipe)
    success = boolean(content.get(SUCCESS), SUCCESS)
    if not _complete(tests, whole_tests, recipe) or ABSENT in results:
        _check_present(names, tests, results, whole_tests, recipe)
    return Entry(Shape(names, tests, whole_tests, measured), results, whole, values, success)


def _table(rows: Mapping[Any, Any], convert: Any) -> tuple[tuple[str, ...], tuple[str, ...], list[Any]]:
    """Return the names of the rows, the union of their keys, and the values row by row."""
    content = list(rows.values())
    keys: tuple[Any, ...] = ()
    if set(map(type, content)) == {dict} and len(all_keys := set(map(tuple, content))) == 1:
        keys = all_keys.pop()
        flat = list(itertools.chain.from_iterable(map(dict.values, content)))
    else:
        for name, one in rows.items():
            mapping(one, f"the entry of amplifier {name}" if name else "the entry of the detector")
        keys = tuple(dict.fromkeys(key for one in content for key in one))
        flat = [one.get(key, _NOTHING) for one in content for key in keys]
    names, keys = tuple(map(str, rows)), tuple(map(str, keys))
    return names, keys, convert(flat, names, keys)


def _results(flat: list[Any], names: Sequence[str], keys: Sequence[Any]) -> list[Any]:
    if not set(map(type, flat)) - {bool}:
        return flat
    return [
        ABSENT
        if value is _NOTHING
        else boolean(value, f"{keys[index % len(keys)]} of {names[index // len(keys)] or 'the detector'}")
        for index, value in enumerate(flat)
    ]


def _values(flat: list[Any], names: Sequence[str], keys: Sequence[Any]) -> list[float]:
    return [number(one) for one in flat] if set(map(type, flat)) - {float} else flat


def _check_amplifiers(names: tuple[str, ...], context: RuleContext, detector: int) -> None:
    expected = context.amplifiers[detector]
    bad = context.bad_amplifiers.get(detector, {})
    if len(set(names)) != len(names):
        raise UnreadableError("an amplifier is there twice")
    if len(names) != expected and len(names) + len(set(bad) - set(names)) != expected:
        raise UnreadableError(f"there are tests of {len(names)} amplifiers instead of {expected}")
    if context.amplifier_names and (odd := [name for name in names if name not in context.amplifier_names]):
        raise UnreadableError(f"{quoted(odd[0])} is no amplifier of this camera")


@functools.lru_cache(maxsize=64)
def _check_known(tests: tuple[str, ...], whole: tuple[str, ...], recipe: VerificationRecipe) -> None:
    known = {*recipe.tests, *recipe.tests_not_counted, FAILS_ALWAYS, SUCCESS}
    if odd := [test for test in (*tests, *whole) if test not in known]:
        raise UnreadableError(
            f"whether the test {quoted(odd[0])} counts is not configured; add it to tests or tests_not_counted of "
            f"{recipe.label}"
        )


@functools.lru_cache(maxsize=64)
def _complete(tests: tuple[str, ...], whole: tuple[str, ...], recipe: VerificationRecipe) -> bool:
    return (
        SUCCESS in tests
        and (not whole or SUCCESS in whole)
        and all(one in tests or one in whole for one in recipe.tests)
    )


def _check_present(
    names: Sequence[str], tests: Sequence[str], results: Sequence[Any], whole: Sequence[str], recipe: VerificationRecipe
) -> None:
    """Check that each test was done for all amplifiers or for the detector, and that there is a result of each."""
    if whole and SUCCESS not in whole:
        raise UnreadableError("SUCCESS of the detector is missing or neither true nor false")
    for test in (SUCCESS, *recipe.tests):
        column = results[tests.index(test) :: len(tests)] if test in tests else [ABSENT] * len(names)
        lacking = [name for name, one in zip(names, column, strict=True) if one == ABSENT]
        if test == SUCCESS and lacking:
            raise UnreadableError(f"SUCCESS of {lacking[0]} is missing or neither true nor false")
        if lacking and (len(lacking) < len(names) or test not in whole):
            of = "for any amplifier" if len(lacking) == len(names) else f"for {', '.join(sorted(lacking))}"
            raise UnreadableError(f"test {test} is missing {of}")


def check_success(entry: Entry, recipe: VerificationRecipe) -> None:
    """Check that cp_verify's values of SUCCESS follow from its tests.

    Raises
    ------
    UnreadableError
        If they contradict each other.
    """
    shape = entry.shape
    width = len(shape.tests)
    rows = {
        name: dict(zip(shape.tests, entry.results[index * width :][:width], strict=True))
        for index, name in enumerate(shape.amplifiers)
    }
    if shape.whole:
        rows[""] = dict(zip(shape.whole, entry.whole, strict=True))
    if entry.success != all(one[SUCCESS] for one in rows.values()):
        raise UnreadableError("SUCCESS does not follow from the amplifiers and the detector")
    counted = {*recipe.tests, FAILS_ALWAYS}
    for name, results in rows.items():
        failed = [test for test, passed in results.items() if passed is False and test != SUCCESS]
        if not results[SUCCESS] and not failed:
            raise UnreadableError(f"{name or 'the detector'} has not succeeded, but no test of it failed")
        if results[SUCCESS] and (odd := [test for test in failed if test in counted]):
            raise UnreadableError(f"{name or 'the detector'} has succeeded, but failed {odd[0]}")


def without_signal(statistics: Any, context: RuleContext, detector: int) -> list[str]:
    """Return the amplifiers of a detector that cp_verify has tested, but whose signal it could not measure.

    It writes that for a flat without light, because the product that it divides by is then not a number. A value that
    is missing for some amplifiers says nothing; one that is missing for all of them does.
    """
    assert context.recipe is not None and context.recipe.signal_statistic is not None
    values = statistics.get("AMP") if isinstance(statistics, Mapping) else None
    if not isinstance(values, Mapping) or len(values) != context.amplifiers[detector]:
        return []
    signals = {
        str(name): one.get(context.recipe.signal_statistic) if isinstance(one, Mapping) else None
        for name, one in values.items()
    }
    if not any(math.isfinite(number(signal)) for signal in signals.values()):
        return list(signals)
    return [name for name, signal in signals.items() if isinstance(signal, float) and not math.isfinite(signal)]
