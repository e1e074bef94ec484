# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC's configuration as a whole; `lsst.ts.comcamcalib.config_schema` is made from it."""

from __future__ import annotations

import datetime
import math
import re
import string
import types
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Self

import pydantic
from pydantic import Field

from ..credentials import url_problem
from ..enums import CalibType
from ..errors import BadInputError
from ..instrument import Instrument
from ..options import OPTION_DESCRIPTIONS, OptionRules, check_run_defaults
from .models import (
    Closed,
    Estimates,
    FrameLimits,
    Limits,
    Name,
    PageSettings,
    Plausible,
    Recipe,
    ReportSettings,
    Seconds,
    UwsAccess,
)
from .rules import BadAmplifier, ProductRules
from .value_limits import ValueLimits

__all__ = ["CscConfig"]

CALIB_NAMES = [calib_type.name for calib_type in CalibType]

NOT_VERIFIABLE = {
    "DEFECTS": "verifyDefects merges its results by visit, and frames for calibrations belong to no visit",
    "GAIN": "verifyGainFromFlatPairs merges its results by exposure, and these are of detectors only",
}
"""Why cp_verify's pipelines of 2026 for these products can't run as they are configured."""

LONGEST_PREFLIGHT_S = 8.0
"""Seconds; LOVE gives up a command after 10 s, and writing the new run to the journal takes a moment."""


def _describe_options(schema: dict[str, Any]) -> None:
    """Name and describe the run options; the rules for an operator's options check their values, not the schema."""
    schema["properties"] = {name: {"description": text} for name, text in OPTION_DESCRIPTIONS.items()}
    schema["additionalProperties"] = False


def _json_value(value: Any) -> Any:
    """Return a value from a YAML file as the value that JSON has for it; dates become text."""
    if isinstance(value, list | tuple):
        return [_json_value(item) for item in value]
    if isinstance(value, dict):
        return {str(key): _json_value(item) for key, item in value.items()}
    if isinstance(value, datetime.date):
        return value.isoformat()
    if value is None or isinstance(value, str | bool | int) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return str(value)


def _verification_problems(recipes: Mapping[str, Recipe]) -> Iterator[str]:
    """Yield why products can't be verified, or not in the configured way."""
    for name, recipe in recipes.items():
        verification, of_frames = recipe.verification, name in ("BIAS", "DARK", "FLAT")
        if verification is None:
            # Only the values of defects, ptc and gains can be judged without cp_verify.
            if of_frames:
                yield f"the recipe of {name} needs a verification"
        elif name in NOT_VERIFIABLE:
            yield (
                f"the recipe of {name} has a verification, but cp_verify's pipeline for it can't run: "
                f"{NOT_VERIFIABLE[name]}; write null, and {name} is judged by its own values"
            )
        elif of_frames and verification.signal_statistic is None:
            yield f"the verification of {name} needs a signal_statistic, by which its frames are judged"
        elif not of_frames and verification.exposure_statistics is not None:
            yield f"the verification of {name} has no statistics of exposures; write exposure_statistics: null"


class CscConfig(Closed):
    """Configuration of the ComCamCalib CSC."""

    instrument: Instrument = Field(description="The camera, and the components that belong to it.")
    uws_url: str = Field(
        pattern=r"^https?://[^\s]+$",
        description="Base of the UWS's REST API, as in the OCPS's own configuration, without credentials (url).",
    )
    uws_access: UwsAccess = Field(
        default=UwsAccess(), description="How the CSC gets through what stands in front of the UWS."
    )
    uws_poll_interval_s: Seconds = Field(description="Time between two requests for the state of a job (seconds).")
    repo: str = Field(
        min_length=1,
        pattern=r"^\S+$",
        description="Butler repository, the same that the OCPS uses (path, url, or alias in the index).",
    )
    repo_names: tuple[str, ...] = Field(
        default=(), description="Other names of that repository, by which a request may call it, too."
    )
    raw_collection: str = Field(min_length=1, pattern=r"^\S+$", description="Collection that raws are ingested into.")
    journal_path: str = Field(min_length=1, description="SQLite file with the journal of the runs (path).")
    log_path_pattern: str = Field(description="Where people find a job's log; {job_id} stands for the id (path).")
    camera_minimum_exposure_s: Seconds = Field(description="Shortest exposure that the shutter can make (seconds).")
    archiver_check_interval_s: Seconds = Field(
        description="Pause between two looks in Butler for files that no event announced (seconds)."
    )
    auto_resume: bool = Field(
        description="Whether the CSC resumes an interrupted run, or finishes its abort, by itself as soon as it is "
        "ENABLED (true or false)."
    )
    max_jobs: int = Field(ge=1, description="Most jobs of a run that are at the UWS at once (number).")
    limits: Limits = Field(description="How long each wait may take (seconds).")
    estimates: Estimates = Field(description="Usual durations, for planning (seconds).")
    plausible: Plausible = Field(description="Ranges of plausible values for DEFECTS, PTC and GAIN.")
    frames: FrameLimits = Field(description="Limits for single frames.")
    verification_rules: dict[Annotated[str, Field(json_schema_extra={"enum": CALIB_NAMES})], ProductRules] = Field(
        default_factory=dict, description="How strictly each product is judged."
    )
    bad_amplifiers: tuple[BadAmplifier, ...] = Field(
        default=(), description="Amplifiers that are known to be bad: they are judged and named, but do not count."
    )
    # Runs that were accepted by releases without this field are read from the journal.
    values: ValueLimits | None = Field(
        default=None,
        description="Limits for what is measured in the products, their drift and their trend; null: there are none.",
    )
    # A run is stored with its configuration, and that of runs before reports has none.
    report: ReportSettings = Field(
        default=ReportSettings(directory="", s3_instance=""), description="Where the reports of runs go."
    )
    page: PageSettings = Field(
        default=PageSettings(address="", port=8080, frame_ancestors=()), description="Where the status page is served."
    )
    prerequisites: tuple[Name, ...] = Field(
        description="Types of calibrations that the pipelines look up for each detector in their input collections, "
        "beside the products that the run makes itself."
    )
    recipes: dict[Annotated[str, Field(json_schema_extra={"enum": CALIB_NAMES})], Recipe] = Field(
        description="How each product is made and verified."
    )
    run_defaults: dict[str, Any] = Field(
        description="Run options that hold if the operator does not give them.", json_schema_extra=_describe_options
    )

    @pydantic.field_validator("run_defaults")
    @classmethod
    def _as_json_has_them(cls, defaults: dict[str, Any]) -> dict[str, Any]:
        # A run is stored with its configuration, so what is read back must be equal; YAML has dates, JSON has none.
        return {name: _json_value(value) for name, value in defaults.items()}

    @pydantic.field_validator("uws_url")
    @classmethod
    def _can_be_published(cls, url: str) -> str:
        if problem := url_problem(url):
            raise ValueError(problem)
        return url

    @pydantic.field_validator("repo", "log_path_pattern")
    @classmethod
    def _has_no_password(cls, place: str) -> str:
        # What stands before @ in an s3 address is the name of a profile, in an address of HTTP it may be a token.
        if re.search(r"^https?://.*@|://[^@]*:[^@]*@", place):
            raise ValueError(
                "must not have a password in it, because it is published in events; Butler reads credentials from its "
                "own files"
            )
        return place

    @pydantic.field_validator("limits")
    @classmethod
    def _answers_in_time(cls, limits: Limits) -> Limits:
        if limits.preflight > LONGEST_PREFLIGHT_S:
            raise ValueError(f"preflight is {limits.preflight:g} s, more than {LONGEST_PREFLIGHT_S:g} s")
        return limits

    @pydantic.field_validator("log_path_pattern")
    @classmethod
    def _names_the_job(cls, pattern: str) -> str:
        fields = [field for _, *field in string.Formatter().parse(pattern) if field[0] is not None]
        if fields != [["job_id", "", None]]:
            raise ValueError("it must have exactly one {job_id}, and no other braces")
        return pattern

    @pydantic.field_validator("recipes")
    @classmethod
    def _complete(cls, recipes: dict[str, Recipe]) -> dict[str, Recipe]:
        if sorted(recipes) != sorted(CALIB_NAMES):
            raise ValueError(f"there must be a recipe for each of {', '.join(CALIB_NAMES)}, and no other")
        if problems := [*_verification_problems(recipes)]:
            raise ValueError("; ".join(problems))
        labels = [job.label for recipe in recipes.values() for job in recipe.jobs]
        labels += [recipe.verification.label for recipe in recipes.values() if recipe.verification]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"labels of jobs must be unique; used twice: {', '.join(twice)}")
        for name, recipe in recipes.items():
            if late := [other for other in recipe.builds_on if CalibType[other] >= CalibType[name]]:
                raise ValueError(f"{name} can't build on {', '.join(late)}, which comes later")
        return recipes

    @pydantic.field_validator("verification_rules")
    @classmethod
    def _known_products(cls, rules: dict[str, ProductRules]) -> dict[str, ProductRules]:
        if unknown := sorted(set(rules) - set(CALIB_NAMES)):
            raise ValueError(f"{', '.join(unknown)}: no such product; there are {', '.join(CALIB_NAMES)}")
        return rules

    @pydantic.model_validator(mode="after")
    def _bad_amplifiers_exist(self) -> Self:
        problems = []
        names = self.instrument.amplifier_names
        seen = set()
        for one in self.bad_amplifiers:
            if one.detector not in self.instrument.detector_names.values():
                problems.append(f"bad_amplifiers: {self.instrument.name} has no detector {one.detector!r}")
            if names and one.amplifier not in names:
                problems.append(
                    f"bad_amplifiers: {one.detector} has no amplifier {one.amplifier!r}; there are {', '.join(names)}"
                )
            if (one.detector, one.amplifier) in seen:
                problems.append(f"bad_amplifiers: {one.detector} {one.amplifier} is there twice")
            seen.add((one.detector, one.amplifier))
        if problems:
            raise ValueError("; ".join(problems))
        return self

    @pydantic.model_validator(mode="after")
    def _defaults_are_options(self) -> Self:
        if problems := check_run_defaults(self.option_rules()):
            raise ValueError("; ".join(problems))
        return self

    def rules(self, calib_type: CalibType) -> ProductRules:
        """Return how strictly a product is judged."""
        return self.verification_rules.get(calib_type.name, ProductRules())

    def known_to_be_bad(self) -> dict[int, dict[str, str]]:
        """Return what is known of bad amplifiers, for a sentence, by detector id and name of the amplifier."""
        ids = {name: number for number, name in self.instrument.detector_names.items()}
        known: dict[int, dict[str, str]] = {}
        for one in self.bad_amplifiers:
            known.setdefault(ids[one.detector], {})[one.amplifier] = f"{one.reason}, since {one.since}"
        return known

    def option_rules(self) -> OptionRules:
        """Return what the run options follow from."""
        return OptionRules(
            instrument=self.instrument,
            repo=self.repo,
            repo_names=self.repo_names,
            minimum_exposure_s=self.camera_minimum_exposure_s,
            run_defaults=self.run_defaults,
        )

    @classmethod
    def from_namespace(cls, config: types.SimpleNamespace | Mapping[str, Any]) -> Self:
        """Make the configuration from the files that salobj has read.

        Parameters
        ----------
        config
            The merged configuration files.

        Raises
        ------
        BadInputError
            If anything in it is wrong; one sentence for each mistake.
        """
        values = vars(config) if isinstance(config, types.SimpleNamespace) else config
        # Some fields have a default, but only for configurations that earlier releases have stored with their runs.
        optional = (name for name, field in cls.model_fields.items() if not field.is_required())
        problems = [f"{name}: Field required." for name in optional if name not in values]
        try:
            read = cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            problems += [
                f"{'.'.join(map(str, problem['loc'])) or 'run_defaults'}: {problem['msg']}."
                for problem in error.errors()
            ]
        else:
            # Runs of earlier releases are read with whatever limits they had.
            problems += read.values.never_measured() if read.values is not None else ()
            if not problems:
                return read
        raise BadInputError(problems)
