# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Checks of several options together, and values that follow from several options."""

from __future__ import annotations

import collections
import dataclasses
import datetime
from collections.abc import Iterator, Mapping
from typing import Any

from .model import ScriptMode, flat_pairs, series_of_equals
from .shown import shown
from .table import FRAME_TYPES, MAX_FRAMES, NO_END
from .values import FIRST_YEAR

__all__ = ["Choice", "check_together", "day_obs_range", "frame_times", "notices"]


@dataclasses.dataclass(frozen=True)
class Choice:
    """The known values of options.

    Parameters
    ----------
    values
        Value by option, without options whose value is wrong or unknown.
    given
        Names of the options that the operator gave; the others have their defaults.
    """

    values: Mapping[str, Any]
    given: frozenset[str]

    def knows(self, *names: str) -> bool:
        """Whether all these options have a known value."""
        return all(name in self.values for name in names)

    def uses(self, frame_type: str) -> bool:
        """Whether the run takes frames of a type; if the mode is unknown, whether options for them were given."""
        if not self.knows("script_mode"):
            number, times = self.values.get(f"n_{frame_type}"), self.values.get(f"exp_times_{frame_type}")
            return number != 0 and times is not None and f"exp_times_{frame_type}" in self.given
        return frame_type.upper() in self.values["script_mode"].split("_")

    def named(self, name: str) -> str:
        """Return an option's name and value, and whether it is a default."""
        return f"{name} {shown(self.values[name])}{'' if name in self.given else ' (the default)'}"


def frame_times(choice: Choice, frame_type: str) -> tuple[int, float | tuple[float, ...]] | str:
    """Find out how many frames of a type are used, and the exposure times of all frames.

    Parameters
    ----------
    choice
        Values of the options; those of the frame type are known.
    frame_type
        ``bias``, ``dark`` or ``flat``.

    Returns
    -------
    number, times
        Number of used frames; exposure time of all frames, or one for each, the discarded first (seconds). If the
        options contradict each other: a sentence that says why.
    """
    number, discarded = choice.values[f"n_{frame_type}"], choice.values[f"n_discard_{frame_type}"]
    name = f"exp_times_{frame_type}"
    times: Any = 0.0 if frame_type == "bias" else choice.values[name]
    if times is None:
        return f"{name}: missing; give the exposure time of the {frame_type}s in seconds, one for all or a list."
    if number is None:
        if not isinstance(times, tuple):
            return (
                f"n_{frame_type}: null means as many as a list of exposure times has, but there is none; give a number."
            )
        number = len(times)
    if number == 0:
        return f"n_{frame_type}: 0, but at least one is needed with {choice.named('script_mode')}."
    if not isinstance(times, tuple):
        return number, times
    if len(times) == number:
        times = (times[0],) * discarded + times
    if number > MAX_FRAMES:
        # Only a list can have so many, because n_x itself has this limit.
        return f"{name}: {number} exposure times, but a run takes at most {MAX_FRAMES} {frame_type}s; give fewer."
    if len(times) != number + discarded:
        allowed = f"{number}" + (f" or, with the discarded ones, {number + discarded}" if discarded else "")
        where = "" if name in choice.given else " (the default)"
        return (
            f"{name}: {len(times)} exposure times{where}, but {choice.named(f'n_{frame_type}')} needs {allowed}, "
            f"or one for all; at most {MAX_FRAMES} frames are taken."
        )
    return number, times if len(set(times)) > 1 else times[0]


def check_together(choice: Choice, day_obs: int | None = None) -> Iterator[str]:
    """Find options that contradict each other.

    Parameters
    ----------
    choice
        The known values of the options.
    day_obs
        The current day of observation, such as 20261122; None: it does not matter, as in a configuration.

    Yields
    ------
    mistake
        A sentence for each contradiction.
    """
    for frame_type in FRAME_TYPES:
        names = [f"n_{frame_type}", f"n_discard_{frame_type}"]
        names += [] if frame_type == "bias" else [f"exp_times_{frame_type}"]
        if choice.uses(frame_type) and choice.knows(*names):
            found = frame_times(choice, frame_type)
            if isinstance(found, str):
                yield found
    yield from _check_products(choice)
    yield from _check_pairs(choice)
    yield from _check_validity(choice, day_obs)


def _check_validity(choice: Choice, day_obs: int | None) -> Iterator[str]:
    """Check that the validity ends after it begins, for frames of this day and of the next."""
    if not choice.knows("certify_calib_begin_date", "certify_calib_end_date"):
        return
    valid_from, valid_to = _moment(choice, "begin"), _moment(choice, "end")
    if valid_from is not None and valid_to is not None:
        if valid_from >= valid_to:
            begin, end = choice.named("certify_calib_begin_date"), choice.named("certify_calib_end_date")
            yield f"{end}: not after {begin}; the validity must end after it begins."
        return
    if day_obs is None:
        return
    noon, next_noon = day_obs_range(day_obs)
    if valid_from is not None and valid_from >= next_noon + datetime.timedelta(days=1):
        yield (
            f"{choice.named('certify_calib_begin_date')}: after the frames of day_obs {day_obs}, with which the "
            "validity ends if certify_calib_end_date is not given; give that, too."
        )
    if valid_to is not None and valid_to <= noon:
        yield (
            f"{choice.named('certify_calib_end_date')}: before the frames of day_obs {day_obs}, with which the "
            "validity begins if certify_calib_begin_date is not given; give that, too."
        )


def _check_products(choice: Choice) -> Iterator[str]:
    """Check that the run takes the frames for the requested products."""
    if not choice.knows("script_mode") or choice.values["script_mode"] == ScriptMode.BIAS_DARK_FLAT:
        return
    for name in ("do_defects", "do_ptc", "do_gain_from_flat_pairs"):
        if choice.values.get(name):
            yield f"{choice.named(name)}: needs script_mode BIAS_DARK_FLAT, not {choice.named('script_mode')}."


def _check_pairs(choice: Choice) -> Iterator[str]:
    """Check that every used flat has a partner of the same exposure time next to it."""
    wanted = [name for name in ("do_ptc", "do_gain_from_flat_pairs") if choice.values.get(name)]
    if not wanted or not choice.uses("flat") or not choice.knows("n_flat", "exp_times_flat", "n_discard_flat"):
        return
    times = _used_flats(choice)
    alone = collections.Counter(times[end - 1] for begin, end in series_of_equals(times) if (end - begin) % 2)
    for time, count in sorted(alone.items()):
        frames = "flat has" if count == 1 else "flats have"
        yield (
            f"exp_times_flat: {count} {frames} {time:g} s and no partner with the same exposure time taken directly "
            f"before or after; {' and '.join(wanted)} needs pairs."
        )


def _used_flats(choice: Choice) -> tuple[float, ...]:
    """Return the exposure times of the used flats in order (seconds); nothing if they are not known."""
    found = frame_times(choice, "flat")
    if isinstance(found, str):
        return ()
    number, times = found
    return times[-number:] if isinstance(times, tuple) else (times,) * number


def day_obs_range(day_obs: int) -> tuple[datetime.datetime, datetime.datetime]:
    """Return the beginning and end of a day of observation (TAI), which are at noon."""
    begin = datetime.datetime.strptime(f"{day_obs}12", "%Y%m%d%H")
    return begin, begin + datetime.timedelta(days=1)


def _moment(choice: Choice, which: str) -> datetime.datetime | None:
    """Return a bound of the validity; None: it follows the frames."""
    text = choice.values[f"certify_calib_{which}_date"]
    if text is None:
        return None
    return datetime.datetime.max if text == NO_END else datetime.datetime.fromisoformat(text)


def _validity_notices(choice: Choice, day_obs: int) -> Iterator[str]:
    """Yield notices about a validity that the operator gave."""
    noon, next_noon = day_obs_range(day_obs)
    begin, end = _moment(choice, "begin"), _moment(choice, "end")
    valid_from, valid_to = begin or noon, end or next_noon
    if valid_from >= valid_to:
        # Both would be known otherwise, and refused.
        yield (
            f"{choice.named('certify_calib_begin_date')}: not before {valid_to.isoformat()}, when the validity ends if "
            f"all frames are of day_obs {day_obs}: nothing can be certified then. Give certify_calib_end_date, too, "
            "unless the run continues past that noon."
        )
    elif valid_from > noon or valid_to < next_noon:
        covers = "only a part of" if valid_from < next_noon and valid_to > noon else "nothing of"
        last = "no end" if end == datetime.datetime.max else valid_to.isoformat()
        first_words = valid_from.isoformat() if begin else f"{valid_from.isoformat()} (it follows the frames)"
        last_words = last if end else f"{last} (it follows the frames)"
        yield (
            f"The validity from {first_words} to {last_words} covers {covers} day_obs {day_obs}, "
            "on which the frames are taken: Butler finds these calibrations only for exposures within that validity."
        )
    if begin == datetime.datetime(FIRST_YEAR, 1, 1):
        yield (
            f"certify_calib_begin_date: {begin.isoformat()} is the earliest time that Butler knows, so the validity is "
            "stored and published as one without a beginning."
        )


def notices(choice: Choice, day_obs: int) -> Iterator[str]:
    """Find options that are allowed but may surprise the operator.

    Parameters
    ----------
    choice
        Values of all options.
    day_obs
        The day of observation, such as 20261122.

    Yields
    ------
    notice
        A sentence for each.
    """
    yield from _validity_notices(choice, day_obs)
    if choice.values["do_ptc"] or choice.values["do_gain_from_flat_pairs"]:
        times = _used_flats(choice)
        pairs = flat_pairs(times)
        if 2 * len(pairs) < len(times):
            plural = "pair" if len(pairs) == 1 else "pairs"
            yield (
                f"exp_times_flat: the {len(times)} used flats make only {len(pairs)} {plural}: of a series of equal "
                "exposure times only the first two are used."
            )
