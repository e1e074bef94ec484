# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""From an operator's text to the options of a run."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import BadInputError
from .checks import Choice, check_together, frame_times, notices
from .model import RunOptions
from .shown import shown
from .table import FRAME_TYPES, IGNORED, Option, option_table
from .text import UNREADABLE, read_text
from .values import NotAllowedError

if TYPE_CHECKING:  # the configuration has run options in it, and is read with their help
    from ..config import CscConfig

__all__ = ["check_run_defaults", "parse_options"]

MAX_SENTENCES = 50
"""Most mistakes that are named one by one; a text with more of them is no configuration."""


def parse_options(
    text: str,
    config: CscConfig,
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
    config
        The CSC's configuration. Its ``run_defaults`` stand where the operator gives nothing.
    command_reason, command_program, command_note
        The command's fields; an option of that name in the text wins over them, they win over ``run_defaults``.
    now_day_obs
        The present day of observing, such as 20261122.

    Returns
    -------
    options
        Every option with its effective value.

    Raises
    ------
    BadInputError
        If anything is wrong; one sentence a mistake, all at once.

    Notes
    -----
    Null is the same as leaving an option out, but for ``filter`` (none is set), ``n_x`` (as many as the list has) and
    the dates of the validity (they follow the frames).

    Defaults of frames: an operator's list of exposure times without ``n_x`` asks for as many frames as it has, whatever
    the default of ``n_x`` is. The other way round, with ``n_x`` and no exposure times, a default of one exposure time
    for all stands; a default list stands only if it has the right length, and is otherwise a mistake that is named:
    nobody but the operator can know which of its times are meant.
    """
    table = option_table(config)
    written, mistakes = read_text(text)
    fields = {"reason": command_reason, "program": command_program, "note": command_note}
    asked = {name: value for name, value in fields.items() if value and written.get(name) is None} | written
    given, doubtful = _read(asked, table, mistakes)
    defaults, _ = _read(config.run_defaults, table, [])
    values = _merged(given, {name: option.default for name, option in table.items()} | defaults)
    choice = Choice({name: values[name] for name in values if name not in doubtful}, frozenset(given))
    mistakes += check_together(choice, now_day_obs)
    if mistakes:
        raise BadInputError(_not_endless(mistakes))
    return _complete(choice, now_day_obs)


def check_run_defaults(config: CscConfig) -> list[str]:
    """Check the run options that the CSC's configuration has, as far as they are there.

    Returns
    -------
    mistakes
        A sentence for each.
    """
    table = option_table(config)
    mistakes: list[str] = []
    given, doubtful = _read(config.run_defaults, table, mistakes)
    # What an operator has to give, and what depends on the day, can't be judged here.
    doubtful |= {name for name, option in table.items() if option.default is None} - set(given)
    values = _merged(given, {name: option.default for name, option in table.items()})
    choice = Choice({name: values[name] for name in values if name not in doubtful}, frozenset(given))
    return _not_endless([*mistakes, *check_together(choice)])


def _read(
    asked: Mapping[str, Any], table: Mapping[str, Option], mistakes: list[str]
) -> tuple[dict[str, Any], set[str]]:
    """Read what was asked for.

    Parameters
    ----------
    asked
        Value by name.
    table
        All options.
    mistakes
        A sentence is added for each value that is not allowed, and for each name that is no option.

    Returns
    -------
    given
        What the values mean, by option.
    doubtful
        Options that were asked for, or probably meant, but whose value is not known.
    """
    given: dict[str, Any] = {}
    doubtful: set[str] = set()
    unknown = [name for name in asked if name not in table]
    for name in unknown[:MAX_SENTENCES]:
        likely = _likely_name(name, table)
        doubtful |= {likely} - {""}
        mistakes.append(f"{shown(name)}: no such option" + (f"; did you mean {likely}?" if likely else "."))
    if more := len(unknown[MAX_SENTENCES:]):
        mistakes.append(f"config: {more} more names are no options.")
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


def _likely_name(name: str, table: Iterable[str]) -> str:
    """Return the option that a misspelt name probably means, "" if there is none."""
    cleaned = re.sub(r"[^a-z0-9_]", "", name[:100].lower().replace("-", "_").replace(" ", "_"))
    return next(iter(difflib.get_close_matches(cleaned, table, n=1, cutoff=0.75)), "")


def _merged(given: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return what was given, and defaults for the rest; see the notes of `parse_options`."""
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


def _complete(choice: Choice, day_obs: int) -> RunOptions:
    """Make the options of a choice without mistakes."""
    values = dict(choice.values)
    for frame_type in FRAME_TYPES:
        if choice.uses(frame_type):
            found = frame_times(choice, frame_type)
            assert not isinstance(found, str), found  # the checks have seen to that
            values[f"n_{frame_type}"] = found[0]
            if frame_type != "bias":
                values[f"exp_times_{frame_type}"] = found[1]
    del values[IGNORED]
    said = list(notices(choice, day_obs))
    if IGNORED in choice.given:
        said.append(f"{IGNORED}: ignored; there is no such limit any more.")
    return RunOptions(**values, notices=tuple(said))


def _not_endless(mistakes: list[str]) -> list[str]:
    """Return the mistakes, or the first of very many of them."""
    if more := len(mistakes[MAX_SENTENCES:]):
        return [*mistakes[:MAX_SENTENCES], f"config: there are {more} more mistakes."]
    return mistakes
