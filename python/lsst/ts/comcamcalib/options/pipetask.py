# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that an operator may add to the command line of a job's pipetask."""

from __future__ import annotations

import re
from typing import Any

from .shown import shown
from .values import NotAllowedError, ocps_text

__all__ = ["pipetask_options"]

FLAGS = (
    "--clobber-outputs",
    "--enable-implicit-threading",
    "--fail-fast",
    "--no-raise-on-partial-outputs",
    "--no-versions",
    "--raise-on-partial-outputs",
    "--register-dataset-types",
)
"""Options of ``pipetask run`` without a value that change neither what a job reads nor where it writes."""

LABELLED = re.compile(r"[^:=]+:[^=]+=.+")
VALUES = {
    "-c": (LABELLED, "label:field=value"),
    "--config": (LABELLED, "label:field=value"),
    "-C": (re.compile(r"[^:=]+:.+"), "label:file"),
    "--config-file": (re.compile(r"[^:=]+:.+"), "label:file"),
    "-n": (re.compile("[1-9][0-9]*"), "a number of cores"),
    "--cores-per-quantum": (re.compile("[1-9][0-9]*"), "a number of cores"),
    "--memory-per-quantum": (re.compile("[1-9][0-9]*[A-Za-z]*"), "a size such as 4GB"),
    "--start-method": (re.compile("spawn|forkserver"), "spawn or forkserver"),
    "--timeout": (re.compile("[1-9][0-9]*"), "a number of seconds"),
}
"""Options with a value that change neither, with the form of the value and its description."""

ELSEWHERE = {
    "-i": "input_collections_",
    "--input": "input_collections_",
    "-j": "n_processes",
    "--processes": "n_processes",
}
"""Options of the job's own command line that a run option sets."""


def pipetask_options(value: Any) -> str:
    """Read options that are added to a job's ``pipetask run``.

    The worker's script uses them in a variable without quotes: the shell splits them at every blank, even between
    quotes. So each word is checked as pipetask gets it. Only options are allowed that change neither what the job reads
    (as ``-b``, ``-i``, ``-d`` and ``-p`` do) nor where it writes (``-o``, ``--output-run``) nor whether it runs at all.
    """
    text = ocps_text(value)
    for character in "*?":
        if character in text:
            raise NotAllowedError(f"has the character {character}, for which the worker's shell may put names of files")
    if not text.isascii():
        bad = next(character for character in text if not character.isascii())
        raise NotAllowedError(f"has the character {shown(bad)}, but a command line has only ASCII characters")
    words = text.split()
    for word in words:
        if word.count("'") % 2:
            raise NotAllowedError(f"has a blank between quotes ({word}), but the worker splits the text at every blank")
    remaining = iter(words)
    for word in remaining:
        name, joined = _name_and_joined_value(word)
        if name in FLAGS and joined is None:
            continue
        if name not in VALUES:
            raise NotAllowedError(_why_not(word, name))
        pattern, description = VALUES[name]
        given = next(remaining, "") if joined is None else joined
        if given.startswith("-") or not pattern.fullmatch(given):
            raise NotAllowedError(f"has {name} {given}".rstrip() + f", but {name} needs {description} after it")
    return text


def _name_and_joined_value(word: str) -> tuple[str, str | None]:
    """Split ``--name=value`` and ``-nvalue``; the value is None if there is none."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name, value if equals else None
    if word.startswith("-"):
        return word[:2], word[2:] or None
    return word, None


def _why_not(word: str, name: str) -> str:
    if not word.startswith("-"):
        return f"has the word {word}, which is neither an option of pipetask nor the value of one"
    if name in ELSEWHERE:
        return f"has {name}, which the job has of its own; use the run option {ELSEWHERE[name]}" + (
            "x for the product" if name in ("-i", "--input") else ""
        )
    allowed = ", ".join(sorted([*VALUES, *FLAGS], key=lambda option: option.lstrip("-").lower()))
    return f"has {name}, which a run can't add to the command line of its jobs; allowed are {allowed}"
