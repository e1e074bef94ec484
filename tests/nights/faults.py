# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What can go wrong in a night, and the drawing of it from a seed.

A night is data: a tuple of things that happen. Each can be left out without changing the others, so that a night that
finds a fault can be shrunk to the things that matter.
"""

from __future__ import annotations

import dataclasses
import random

__all__ = ["FAULTS", "Happening", "NightPlan", "draw_night"]

FAULTS: dict[str, tuple[str, ...]] = {
    # The n-th exposure that the camera is asked for
    "exposure": (
        "refused",  # takeImages fails at once
        "camera in FAULT",  # in mid-exposure: the image is lost; somebody enables the camera later
        "end not seen",  # the image is taken, but its endReadout does not arrive
        "failed after readout",  # the image is taken, but the command fails
        "slow readout",
        "stranger",  # somebody else takes an image just before
    ),
    # The files of the n-th image
    "files": (
        "silent",  # in the repository, but not announced
        "late",
        "failed at first",  # statusCode 1, then ingested all the same
        "unreadable at first",  # statusCode 2 with the odd obsid, then ingested
        "doubled",
        "one lost",  # one detector's file never arrives
    ),
    # The n-th job that is submitted
    "job": (
        "answer lost",
        "answer late",
        "made late",  # after the client has given up
        "called failed",  # the OCPS reports an error, but the job was made
        "refused",  # the OCPS reports an error, and there is no job
        "doubled",  # made twice, without an answer
        "ends in error",
        "hangs",
        "result lost",
        "result doubled",
        "expired",  # the UWS forgets it soon after its end
        "incomplete",  # completes, but a dataset is missing
        "abort unanswered",
    ),
    # The n-th certification
    "certify": ("answer lost", "refused", "hangs"),
    # At a time, for some time
    "period": ("UWS down", "OCPS disabled", "OODS down", "Butler locked", "journal locked", "journal hangs", "stopped"),
    # The same, drawn from a random generator of their own, so that the nights of old seeds are as they were
    "later period": (
        "UWS answers 500",  # also HTML or truncated JSON: nothing that can be understood
        "UWS answers 403",  # a status that it never gives
        "UWS answers 404",  # as for a job that it does not know, although the job exists
        "journal disk full",
        "broker down",  # nothing can be published, and nothing is heard
    ),
    # While a process lives, another is started, as the next pod is; drawn from a random generator of its own, too
    "second process": (
        "second ends",  # it waits in vain, and gets SIGTERM
        "first ends",  # some time later it gets SIGTERM
        "first stopped",  # as with SIGSTOP: the second takes over after 15 s, and the first comes back
        "first stopped before write",
        "first stopped in a write",
        "first stopped after write",
        "first stopped at act",
    ),
    # At a time
    "instant": ("clock set back", "strange result"),
}

DETECTORS = (0, 1, 4)
"""Detectors of the runs."""

BAD_DETECTORS = ("noisy", "without statistics")
"""What is wrong with single detectors of a product, whatever is done again, if the others are to be certified."""

BAD_PRODUCTS = ("BIAS", "DARK", "FLAT")
"""Products of which one detector may be too noisy, whatever is done again; their verdict is FAILED."""

PERIODS = {
    "UWS down": 300.0,
    "UWS answers 500": 300.0,
    "UWS answers 403": 60.0,
    "OCPS disabled": 300.0,
    "OODS down": 200.0,
    "stopped": 60.0,
    "Butler locked": 100.0,
    "journal disk full": 200.0,
    "broker down": 100.0,
}
"""Longest time that it takes (seconds); 30 s if it is not named here."""


@dataclasses.dataclass(frozen=True)
class Happening:
    """One thing that happens in a night.

    Parameters
    ----------
    where
        A key of `FAULTS`; ``kill``, ``command``, ``product``, ``detector`` or ``decision``.
    what
        What happens; of a detector: its product, its number and what is wrong with it.
    number
        To which of its kind, from 1; 0: at a time.
    at_s, seconds
        When it happens after the beginning of the night, and how long it takes.
    """

    where: str
    what: str
    number: int = 0
    at_s: float = 0.0
    seconds: float = 0.0

    def __str__(self) -> str:
        when = f" {self.number}" if self.number else f" at {self.at_s:.0f} s"
        length = f" for {self.seconds:.0f} s" if self.seconds else ""
        return f"{self.where}{when}: {self.what}{length}"


@dataclasses.dataclass(frozen=True)
class NightPlan:
    """A night, before it happens.

    Parameters
    ----------
    seed
        From which everything is drawn that is not named here, such as how long things take.
    options
        Of the run, in pairs.
    happenings
        What happens.
    auto_resume
        Whether a restarted process resumes by itself.
    """

    seed: int
    options: tuple[tuple[str, object], ...] = ()
    happenings: tuple[Happening, ...] = ()
    auto_resume: bool = False

    def of(self, where: str) -> list[Happening]:
        """Return what happens at one place."""
        return [one for one in self.happenings if one.where == where]

    def __str__(self) -> str:
        options = ", ".join(f"{name}={value}" for name, value in self.options)
        resume = "resumes by itself" if self.auto_resume else "is resumed by the operator"
        return "\n".join([f"seed {self.seed}: {options}; {resume}", *(f"  {one}" for one in self.happenings)])


OPTIONS: tuple[dict[str, object], ...] = (
    {"script_mode": "BIAS"},
    {"script_mode": "BIAS", "n_discard_bias": 1, "max_counter_archiver_check": 5},
    {"script_mode": "BIAS_DARK"},
    {"script_mode": "BIAS_DARK_FLAT"},
    {"script_mode": "BIAS_DARK_FLAT", "do_defects": True},
    {"script_mode": "BIAS_DARK_FLAT", "do_ptc": True, "do_gain_from_flat_pairs": True},
    {"script_mode": "BIAS_DARK_FLAT", "do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True},
    {"script_mode": "BIAS_DARK", "generate_calibrations": False},
    {"script_mode": "DARK"},
    {"script_mode": "BIAS_DARK", "do_verify": False, "certify_unverified": True},
    {"script_mode": "BIAS", "wait_between_exposures": 5},
    {"script_mode": "BIAS", "on_failure": "stop"},
)

MAX_NUMBER = {"exposure": 10, "files": 10, "job": 10, "certify": 4}


def draw_night(seed: int) -> NightPlan:
    """Draw a night."""
    dice = random.Random(f"night {seed}")
    options = dict(dice.choice(OPTIONS))
    length_s = 150.0 if options["script_mode"] in ("BIAS", "DARK") else 900.0
    drawn = [_draw_fault(dice, length_s) for _ in range(dice.choice((0, 0, 1, 1, 1, 2, 2, 3, 5)))]
    for _ in range(dice.choice((0, 0, 1, 1, 1, 2, 3, 6))):
        drawn.append(_draw_kill(dice, length_s))
    if dice.random() < 0.15:
        what = dice.choice(("abort", "start another", "status", "interrupt"))
        drawn.append(Happening("command", what, at_s=round(dice.uniform(0.0, length_s), 1)))
    # From a generator of its own, because it was added later and must not change what the others draw.
    fate = random.Random(f"product {seed}")
    if fate.random() < 0.06 and options.get("do_verify", True):
        drawn.append(Happening("product", fate.choice(BAD_PRODUCTS)))
    drawn += _draw_detectors(random.Random(f"detectors {seed}"), options)
    late = random.Random(f"later period {seed}")
    if late.random() < 0.25:
        what = late.choice(FAULTS["later period"])
        at_s, seconds = late.uniform(0.0, length_s), late.uniform(1.0, PERIODS.get(what, 30.0))
        drawn.append(Happening("later period", what, 0, round(at_s, 1), round(seconds, 1)))
    overlap = random.Random(f"second process {seed}")
    if overlap.random() < 0.25:
        drawn += [_draw_second(overlap, length_s) for _ in range(overlap.choice((1, 1, 2)))]
    drawn += _draw_decisions(random.Random(f"decisions {seed}"), drawn, length_s)
    drawn += _draw_abort(random.Random(f"abort {seed}"), length_s)
    only_once = {(one.where, one.number, one.what if not one.number else ""): one for one in drawn}
    return NightPlan(seed, tuple(options.items()), tuple(only_once.values()), dice.random() < 0.5)


def _draw_decisions(dice: random.Random, drawn: list[Happening], length_s: float) -> list[Happening]:
    """Draw what the operator decides: a bad verdict may be accepted, and what was certified may be withdrawn."""
    decisions = []
    if any(one.where == "product" for one in drawn) and dice.random() < 0.6:
        decisions.append(Happening("decision", "accept"))
        if dice.random() < 0.5:
            decisions.append(Happening("command", "accept", at_s=round(dice.uniform(0.0, length_s), 1)))
    if dice.random() < 0.08:
        decisions.append(Happening("decision", "decertify"))
    if dice.random() < 0.02:
        decisions.append(Happening("command", "decertify", at_s=round(dice.uniform(0.0, length_s), 1)))
    return decisions


def _draw_abort(dice: random.Random, length_s: float) -> list[Happening]:
    """Draw, seldom, an abort in the middle of which the process is killed, or the CSC leaves ENABLED."""
    if dice.random() >= 0.06:
        return []
    at_s = round(dice.uniform(0.0, length_s), 1)
    then_s = round(at_s + dice.uniform(0.01, 6.0), 2)
    kill = Happening("kill", "at", 0, then_s, round(dice.uniform(0.5, 60.0), 1))
    interrupt = Happening("command", "interrupt", 0, then_s)
    return [Happening("command", "abort", 0, at_s), kill if dice.random() < 0.6 else interrupt]


def _draw_detectors(dice: random.Random, options: dict[str, object]) -> list[Happening]:
    """Draw the option to certify the good detectors only, and which are bad; sometimes none is good."""
    if dice.random() >= 0.2 or not options.get("do_verify", True):
        return []
    options["certify_good_detectors"] = True
    bad = {(dice.choice(BAD_PRODUCTS), dice.choice(DETECTORS)) for _ in range(dice.choice((0, 1, 1, 2, 3, 6)))}
    return [
        Happening("detector", f"{product} {detector} {dice.choice(BAD_DETECTORS)}") for product, detector in sorted(bad)
    ]


def _draw_second(dice: random.Random, length_s: float) -> Happening:
    what = dice.choice(FAULTS["second process"])
    seconds = round(
        dice.uniform(0.0, 30.0) if what == "first ends" else dice.choice((10.0, 40.0, 90.0)) * dice.uniform(0.5, 1.5), 1
    )
    if what in ("second ends", "first ends", "first stopped"):
        return Happening("second process", what, 0, round(dice.uniform(0.0, length_s), 2), seconds)
    return Happening("second process", what, dice.randint(1, 60 if what.endswith("act") else 120), 0.0, seconds)


def _draw_fault(dice: random.Random, length_s: float) -> Happening:
    where = dice.choice([one for one in FAULTS if one not in ("later period", "second process")])
    what = dice.choice(FAULTS[where])
    if where in MAX_NUMBER:
        return Happening(where, what, dice.randint(1, MAX_NUMBER[where]))
    seconds = round(dice.uniform(1.0, PERIODS.get(what, 30.0)), 1) if where == "period" else 0.0
    return Happening(where, what, 0, round(dice.uniform(0.0, length_s), 1), seconds)


def _draw_kill(dice: random.Random, length_s: float) -> Happening:
    pause_s = round(dice.choice((0.5, 5.0, 40.0, 400.0)) * dice.uniform(0.5, 1.5), 1)
    what = dice.choice(("before write", "after write", "at act", "at"))
    if what == "at":
        return Happening("kill", what, 0, round(dice.uniform(0.0, length_s), 2), pause_s)
    return Happening("kill", what, dice.randint(1, 60 if what == "at act" else 180), 0.0, pause_s)
