# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an operator's text to the options of a run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..errors import BadInputError
from .checks import Choice, check_together, frame_times, notices
from .model import RunOptions
from .rules import OptionRules
from .shown import shown
from .table import FRAME_TYPES, IGNORED, Option, option_table
from .text import UNREADABLE, read_text
from .values import NotAllowedError, has_time_zone

__all__ = ["check_run_defaults", "named_collections", "parse_options", "usual_collection"]

MAX_SENTENCES = 50
"""Largest number of mistakes that are named one by one; a text with more is probably not a list of run options."""

LIKE_ENOUGH = 0.75
"""Similarity above which a name counts as misspelt (ratio of difflib, 0 to 1)."""

AS_LIKELY = 0.03
"""Difference of similarity that does not count (ratio of difflib): one character of a long name more or less."""


def parse_options(
    text: str,
    rules: OptionRules,
    *,
    command_reason: str = "",
    command_program: str = "",
    command_note: str = "",
    now_day_obs: int,
) -> RunOptions:
    """Read the options of a run.

    Parameters
    ----------
    text
        The operator's options, a mapping in YAML 1.1 or JSON; "" means the defaults.
    rules
        What the options follow from. The ``run_defaults`` hold for options that the operator does not give.
    command_reason, command_program, command_note
        The command's fields; an option of the same name in the text overrides them, and they override ``run_defaults``.
    now_day_obs
        The current day of observation, such as 20261122.

    Returns
    -------
    options
        Every option with its effective value.

    Raises
    ------
    BadInputError
        If anything is wrong; one sentence for each mistake, all at once.

    Notes
    -----
    Null is the same as leaving an option out, except for ``filter`` (no filter is set), ``n_x`` (as many frames as the
    list has times) and the dates of the validity (they follow the frames).

    Defaults of frames: if the operator gives a list of exposure times without ``n_x``, the run takes as many frames as
    the list has times, whatever the default of ``n_x`` is. If the operator gives ``n_x`` without exposure times, a
    default of one exposure time applies to all frames; a default list applies only if its length fits, and otherwise is
    a mistake, because only the operator knows which of its times are meant.
    """
    table = option_table(rules)
    written, mistakes = read_text(text)
    fields = {"reason": command_reason, "program": command_program, "note": command_note}
    asked = {name: value for name, value in fields.items() if value and written.get(name) is None} | written
    given, doubtful = _read(asked, table, mistakes)
    defaults, _ = _read(rules.run_defaults, table, [])
    values = _merged(given, {name: option.default for name, option in table.items()} | defaults)
    choice = Choice({name: values[name] for name in values if name not in doubtful}, frozenset(given))
    mistakes += check_together(choice, now_day_obs)
    if mistakes:
        raise BadInputError(_not_endless(mistakes))
    return _complete(choice, now_day_obs, list(_time_zones({**rules.run_defaults, **asked})))


def check_run_defaults(rules: OptionRules) -> list[str]:
    """Check the run options in the CSC's configuration.

    Returns
    -------
    mistakes
        A sentence for each.
    """
    table = option_table(rules)
    mistakes: list[str] = []
    given, doubtful = _read(rules.run_defaults, table, mistakes)
    # Options that the operator must give, and those that depend on the day, can't be checked here.
    doubtful |= {name for name, option in table.items() if option.default is None} - set(given)
    values = _merged(given, {name: option.default for name, option in table.items()})
    choice = Choice({name: values[name] for name in values if name not in doubtful}, frozenset(given))
    return _not_endless([*mistakes, *check_together(choice)])


def usual_collection(rules: OptionRules) -> str:
    """Return the calib_collection that holds if the operator names none."""
    table = option_table(rules)
    given, _ = _read(rules.run_defaults, table, [])
    return str(given.get("calib_collection", table["calib_collection"].default))


def named_collections(rules: OptionRules) -> tuple[str, ...]:
    """Return the collections with calibrations that ``run_defaults`` name, that which runs certify into first."""
    given, _ = _read(rules.run_defaults, option_table(rules), [])
    inputs = [one for name, value in given.items() if name.startswith("input_collections") for one in value]
    return tuple(dict.fromkeys([usual_collection(rules), *inputs]))


def _read(
    asked: Mapping[str, Any], table: Mapping[str, Option], mistakes: list[str]
) -> tuple[dict[str, Any], set[str]]:
    """Read the given values.

    Parameters
    ----------
    asked
        Value by name.
    table
        All options.
    mistakes
        Gets a sentence for each value that is not allowed, and for each name that is not an option.

    Returns
    -------
    given
        The converted values, by option.
    doubtful
        Options without a known value that were given, or that a misspelt name probably means.
    """
    given: dict[str, Any] = {}
    doubtful: set[str] = set()
    unknown = [name for name in asked if name not in table]
    for index, name in enumerate(unknown):
        # The search takes about a millisecond for each name; only the first 50 sentences are shown.
        likely = _likely_names(name, table) if index < MAX_SENTENCES else []
        doubtful.update(likely)
        mistakes.append(f"{shown(name)}: no such option" + (f"; did you mean {_any_of(likely)}?" if likely else "."))
    for name, value in asked.items():
        if name in unknown or (value is None and not table[name].null_is_a_value):
            continue
        if value is UNREADABLE:
            doubtful.add(name)
            continue
        try:
            given[name] = None if value is None else table[name].read(value)
        except NotAllowedError as error:
            doubtful.add(name)
            mistakes.append(f"{name}: {shown(value)} {error}" + ("" if str(error).endswith("?") else "."))
    return given, doubtful - set(given)


def _likely_names(name: str, table: Iterable[str]) -> list[str]:
    """Return the options that a misspelt name may mean; several only if it is about equally similar to them."""
    cleaned = re.sub(r"[^a-z0-9_]", "", name[:100].lower().replace("-", "_").replace(" ", "_"))
    likeness = {option: difflib.SequenceMatcher(None, option, cleaned).ratio() for option in table}
    best = max(likeness.values())
    if best < LIKE_ENOUGH:
        return []
    return [option for option, ratio in likeness.items() if ratio > best - AS_LIKELY]


def _any_of(names: list[str]) -> str:
    """Return names as alternatives: ``a, b or c``."""
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _merged(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given values, and defaults for the others; see the notes of `parse_options`."""
    values = {**defaults, **given}
    for frame_type in FRAME_TYPES:
        number, times = f"n_{frame_type}", f"exp_times_{frame_type}"
        if number in given or times not in given:
            continue
        if isinstance(given[times], tuple):
            values[number] = None
        elif values[number] is None and isinstance(defaults[times], tuple):
            values[number] = len(defaults[times])
    return values


def _time_zones(asked: Mapping[str, Any]) -> Iterator[str]:
    """Yield a notice about each date that was written with a ``Z`` or ``UTC``, which is taken as TAI."""
    for name in ("certify_calib_begin_date", "certify_calib_end_date"):
        if has_time_zone(asked.get(name)):
            yield (
                f"{name}: {shown(asked[name])} is taken as TAI, which is 37 s ahead of UTC, because all times of a run "
                "are TAI; write it without a time zone."
            )


def _complete(choice: Choice, day_obs: int, said: list[str]) -> RunOptions:
    """Make the options from a choice without mistakes; ``said`` has the notices so far."""
    values = dict(choice.values)
    for frame_type in FRAME_TYPES:
        if choice.uses(frame_type):
            found = frame_times(choice, frame_type)
            assert not isinstance(found, str), found  # check_together has refused such a choice
            values[f"n_{frame_type}"] = found[0]
            if frame_type != "bias":
                values[f"exp_times_{frame_type}"] = found[1]
    del values[IGNORED]
    said += notices(choice, day_obs)
    if IGNORED in choice.given:
        said.append(f"{IGNORED}: ignored; there is no such limit any more.")
    return RunOptions(**values, notices=tuple(said))


def _not_endless(mistakes: list[str]) -> list[str]:
    """Return the mistakes; if there are very many, the first ones and the number of the others."""
    if more := len(mistakes[MAX_SENTENCES:]):
        others = "1 more mistake is" if more == 1 else f"{more} more mistakes are"
        return [*mistakes[:MAX_SENTENCES], f"config: {others} not listed."]
    return mistakes
