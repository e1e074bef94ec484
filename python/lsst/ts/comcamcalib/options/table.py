# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The run options: names, meaning, defaults and how their values are read."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from typing import Any

from . import values
from .detectors import detectors
from .headers import MAX_HEADER, MAX_PROGRAM, header_text
from .model import ScriptMode
from .pipetask import pipetask_options
from .rules import OptionRules

__all__ = ["FRAME_TYPES", "IGNORED", "MAX_FRAMES", "NO_END", "OPTION_DESCRIPTIONS", "Option", "option_table"]

FRAME_TYPES = ("bias", "dark", "flat")
PRODUCT_TYPES = (*FRAME_TYPES, "defects", "ptc")

NO_END = "open"
"""The word that an operator writes for a validity without an end."""

IGNORED = "background_task_timeout"
"""An option of make_comcam_calibrations that has no effect here."""

MAX_FRAMES = 1000
"""Largest number of frames of a type in a run: more than a calibration needs, few enough for one night."""

MAX_EXPOSURE_S = 3600
"""Longest exposure and wait (seconds)."""


NO_FILTER = "is not the name or number of a filter"
SEVERAL_FILTERS = "names several filters, but a run takes its flats in one; start a run for each"


@dataclasses.dataclass(frozen=True)
class Option:
    """One run option.

    Parameters
    ----------
    read
        Converts the operator's text into the value, or raises
        `lsst.ts.comcamcalib.options.values.NotAllowedError`.
    default
        Value if neither operator nor configuration gives one; None if there is none, or if it depends on other
        options.
    null_is_a_value
        Whether null is a value of the option. For other options, null is the same as leaving them out.
    """

    read: Callable[[Any], Any]
    default: Any
    null_is_a_value: bool = False


def option_table(rules: OptionRules) -> dict[str, Option]:
    """Return all options by name.

    Parameters
    ----------
    rules
        What the options follow from; the ``run_defaults`` are not used here.
    """

    def read_repo(value: Any) -> str:
        # The OCPS uses the repository of its own configuration; no command can change that.
        if not isinstance(value, str) or not rules.is_repo(value):
            raise values.NotAllowedError(f"is not {rules.repo}, the only repository that the OCPS works with")
        return rules.repo

    most, usual = values.whole(0, rules.max_threshold), min(8, rules.max_threshold)
    darks = values.exposure_times(0, MAX_EXPOSURE_S, MAX_FRAMES, above=True)
    flats = values.exposure_times(rules.minimum_exposure_s, MAX_EXPOSURE_S, MAX_FRAMES)
    table = {
        "script_mode": Option(values.one_of(list(ScriptMode)), str(ScriptMode.BIAS_DARK_FLAT)),
        **{f"n_{name}": Option(values.whole(0, MAX_FRAMES), 1, null_is_a_value=True) for name in FRAME_TYPES},
        "exp_times_dark": Option(darks, None),
        "exp_times_flat": Option(flats, None),
        **{f"n_discard_{name}": Option(values.whole(0, MAX_FRAMES), 0) for name in FRAME_TYPES},
        "detectors": Option(detectors(rules.instrument), tuple(rules.instrument.detector_names)),
        "generate_calibrations": Option(values.boolean, True),
        "do_verify": Option(values.boolean, True),
        "certify_unverified": Option(values.boolean, False),
        "do_defects": Option(values.boolean, False),
        "do_ptc": Option(values.boolean, False),
        "do_gain_from_flat_pairs": Option(values.boolean, False),
        **{f"config_options_{name}": Option(pipetask_options, "") for name in PRODUCT_TYPES},
    }
    inputs = (rules.calib_collection,)
    for prefix in ("input_collections", "input_collections_verify"):
        table.update({f"{prefix}_{name}": Option(values.collections, inputs) for name in PRODUCT_TYPES})
    return {
        **table,
        "calib_collection": Option(values.collection, f"{rules.calib_collection}/daily"),
        "repo": Option(read_repo, rules.repo),
        "n_processes": Option(values.whole(1, 128), 8),
        # Null means that the date follows the frames, even if the configuration has a date.
        "certify_calib_begin_date": Option(values.date, None, null_is_a_value=True),
        "certify_calib_end_date": Option(_read_end, None, null_is_a_value=True),
        "max_counter_archiver_check": Option(values.whole(0, 100_000), 1000),
        "oods_timeout": Option(values.number(0, MAX_EXPOSURE_S, "seconds", above=True), 120.0),
        "max_retakes": Option(values.whole(0, 100), 2),
        "speculate": Option(values.boolean, True),
        "on_conflict": Option(values.one_of(["replace", "truncate", "fail"]), "replace"),
        "certify_good_detectors": Option(values.boolean, False),
        "on_failure": Option(values.one_of(["continue", "stop"]), "continue"),
        **{f"number_verification_tests_threshold_{name}": Option(most, usual) for name in FRAME_TYPES},
        "filter": Option(_read_filter, None, null_is_a_value=True),
        "wait_between_exposures": Option(values.number(0, MAX_EXPOSURE_S, "seconds"), 0.0),
        "reason": Option(header_text(MAX_HEADER), ""),
        "program": Option(header_text(MAX_PROGRAM), ""),
        "test_case": Option(header_text(MAX_HEADER), ""),
        "note": Option(values.plain_text, ""),
        IGNORED: Option(lambda value: value, None),
    }


def _read_end(value: Any) -> str:
    """Read the end of a validity: a date, or the word for no end."""
    if isinstance(value, str) and value.strip(" ").lower() == NO_END:
        return NO_END
    try:
        return values.date(value)
    except values.NotAllowedError as error:
        if isinstance(value, str) and value.strip(" ").isalpha():
            raise values.NotAllowedError(f"{error}; {NO_END} means that there is no end") from None
        raise


def _read_filter(value: Any) -> str:
    items = value if isinstance(value, list | tuple) else [value]
    if len(items) > 1:
        raise values.NotAllowedError(SEVERAL_FILTERS)
    name = values.plain_text(items[0]).strip(" ") if items else ""
    if name[:1] in ("(", "[") or "," in name or ":" in name:
        # The camera itself separates filters by commas or colons.
        several = len([word for word in re.split(r"[\[\](),: ]+", name) if word]) > 1
        raise values.NotAllowedError(SEVERAL_FILTERS if several else NO_FILTER)
    if not name:
        raise values.NotAllowedError(NO_FILTER)
    return name


_OF_FRAMES = {name: f"{name} frames" for name in FRAME_TYPES}

OPTION_DESCRIPTIONS = {
    "script_mode": "Types of frames to take: BIAS, BIAS_DARK, BIAS_DARK_FLAT or DARK.",
    **{
        f"n_{name}": f"Number of {name} frames to take and use; null: as many as there are exposure times."
        for name in FRAME_TYPES
    },
    "exp_times_dark": "Exposure times of the darks, one for all or a list (seconds); at least 0.001.",
    "exp_times_flat": "Exposure times of the flats, one for all or a list (seconds); at least the camera's minimum.",
    **{f"n_discard_{name}": f"Number of {name} frames that are taken first and not used." for name in FRAME_TYPES},
    "detectors": "Ids or names of the detectors, for example (0,1,2), 0..8, [0, 1, 2] or R22_S00; all or [] means all.",
    "generate_calibrations": "Whether to make calibrations (true or false); false: verify the input collections only.",
    "do_verify": "Whether to verify each product (true or false).",
    "certify_unverified": "Whether to certify products that were not verified (true or false).",
    "do_defects": "Whether to make defects (true or false); needs BIAS_DARK_FLAT.",
    "do_ptc": "Whether to make photon transfer curves (true or false); needs BIAS_DARK_FLAT and flats in pairs.",
    "do_gain_from_flat_pairs": "Whether to estimate gains (true or false); needs BIAS_DARK_FLAT and flats in pairs.",
    **{
        f"config_options_{name}": f"More options of the {name} pipetask (text such as -c label:field=value)."
        for name in PRODUCT_TYPES
    },
    **{
        f"input_collections_{name}": f"Input collections for making {name}, separated by commas."
        for name in PRODUCT_TYPES
    },
    **{
        f"input_collections_verify_{name}": f"Input collections for verifying {name}, separated by commas."
        for name in PRODUCT_TYPES
    },
    "calib_collection": "CALIBRATION collection to certify into.",
    "repo": "Butler repository; only the configured one is possible.",
    "n_processes": "Number of processes of each pipetask.",
    "certify_calib_begin_date": "Start of the validity (ISO 8601 TAI); null: noon TAI before the first frame.",
    "certify_calib_end_date": "End of the validity (ISO 8601 TAI), or open; null: noon TAI after the last frame.",
    "max_counter_archiver_check": "How many times to look in Butler for a file that no event announced (number).",
    "oods_timeout": "Time without a newly ingested file before looking in Butler (seconds).",
    "max_retakes": "Number of frames of each type that may be taken again because they were lost.",
    "speculate": "Whether jobs may build on products whose verification still runs (true or false).",
    "on_conflict": "What becomes of a calibration that is certified already for part of the validity: replace (its "
    "range is split around the new one), truncate (it ends where the new one begins), or fail (nothing is certified).",
    "certify_good_detectors": "Whether a detector that fails is left out and the others are certified (true or "
    "false); false: it fails the product.",
    "on_failure": "What to do after a failed stage: continue, or stop (take no further exposure).",
    **{
        f"number_verification_tests_threshold_{name}": f"Amplifiers of a detector that may fail a {name} test (number)."
        for name in FRAME_TYPES
    },
    "filter": "Name or number of the filter to set before the flats; null: keep the filter in place.",
    "wait_between_exposures": "Pause between two exposures (seconds).",
    "reason": "Image header REASON (at most 68 printable ASCII characters without , and :).",
    "program": "Image header PROGRAM (at most 64 printable ASCII characters without , and :).",
    "test_case": "Image header TESTTYPE (at most 68 printable ASCII characters without , and :).",
    "note": "The observer's note, for the observing log, not for an image header (text).",
    IGNORED: "Ignored, because there is no such limit any more (seconds).",
}
"""What each option means, by name."""
