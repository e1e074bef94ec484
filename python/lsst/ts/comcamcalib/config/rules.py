# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How strictly a product is judged, and what is known to be bad."""

from __future__ import annotations

import datetime
from typing import Annotated, Literal

import pydantic
from pydantic import Field

from .models import Closed

__all__ = ["BadAmplifier", "ProductRules", "Strictness"]


def _word(value: object) -> object:
    """Return the word that YAML 1.1 takes for a truth value."""
    return "off" if value is False else value


Strictness = Annotated[
    Literal["off", "note", "count", "fail"],
    pydantic.BeforeValidator(_word),
    Field(json_schema_extra={"enum": ["off", "note", "count", "fail", False], "type": ["string", "boolean"]}),
]
"""What a rule's findings may do, from nothing to making the product FAILED."""


class ProductRules(Closed):
    """How strictly a product is judged. off: the rule is not applied. note: what it finds is named, and no more. count:
    what it finds makes the product PASSED_WITH_FAILURES at most. fail: it may make the product FAILED.

    Whether everything is there and fits together is always judged: if not, the verdict is UNKNOWN.
    """

    # A product's rules may be left out of the files.
    model_config = pydantic.ConfigDict(json_schema_serialization_defaults_required=False)

    # The defaults are those of the shipped configuration, for runs that were accepted before there were rules.
    detectors: Strictness = Field(
        default="fail",
        description="A detector fails a test in the majority of the exposures, as a whole or on more amplifiers than "
        "number_verification_tests_threshold_ allows (off, note, count or fail).",
    )
    exposures: Strictness = Field(
        default="count",
        description="In few of the exposures, detectors fail a test of cp_verify, or a bias or dark has more noise "
        "than the others (off, note, count or fail).",
    )
    procedure: Strictness = Field(
        default="note",
        description="The written procedure's rule would not certify: too many exposures have too many failures of the "
        "same test (off, note, count or fail).",
    )
    frames: Strictness = Field(
        default="fail",
        description="Light of flats, level and noise of biases and darks; section frames has the limits (off, note, "
        "count or fail).",
    )


class BadAmplifier(Closed):
    """An amplifier that is known to be bad: it is judged like the others, and named, but does not count."""

    detector: str = Field(min_length=1, description="Full name of its detector, such as R22_S11 (text).")
    amplifier: str = Field(min_length=1, description="Name of the amplifier, such as C10 (text).")
    reason: str = Field(
        min_length=1,
        max_length=100,
        pattern=r"^[^\r\n]+$",
        description="What is bad, for the verdict's sentence (text).",
    )
    since: datetime.date = Field(
        description="Since when that is known, such as 2026-11-01 (date).",
        # YAML has dates, which are no text for a JSON schema; the model checks them.
        json_schema_extra=lambda schema: (schema.pop("type"), schema.pop("format"), None)[-1],
    )

    @pydantic.field_validator("since", mode="before")
    @classmethod
    def _is_a_day(cls, since: object) -> object:
        if isinstance(since, str | datetime.date) and not isinstance(since, datetime.datetime):
            return since
        raise ValueError("it must be a date, such as 2026-11-01")
