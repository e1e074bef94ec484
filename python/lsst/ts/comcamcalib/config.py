# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC's configuration as closed, frozen models; `lsst.ts.comcamcalib.config_schema` is made from them.

Limits and estimates are in seconds throughout.
"""

from __future__ import annotations

import datetime
import math
import re
import string
import types
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from .credentials import url_problem
from .enums import CalibType
from .errors import BadInputError
from .options import OPTION_DESCRIPTIONS, check_run_defaults

__all__ = ["CscConfig", "Estimates", "FrameLimits", "JobRecipe", "Limits", "Plausible", "Recipe", "VerificationRecipe"]

CALIB_NAMES = [calib_type.name for calib_type in CalibType]
CalibName = Literal["BIAS", "DARK", "FLAT", "DEFECTS", "PTC", "GAIN"]
FrameName = Literal["BIAS", "DARK", "FLAT"]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_]+$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]

LONGEST_PREFLIGHT_S = 8.0
"""Seconds; LOVE gives up a command after 10 s, and writing the new run to the journal takes a moment."""


OCPS_INSTRUMENTS = {1: "LATISS", 2: "LSSTComCam", 3: "LSSTCam", 101: "rapid analysis"}
"""Instrument of each OCPS, by its SAL index (enumeration SalIndex of the OCPS in ts_xml); it refuses any other."""


class _Closed(pydantic.BaseModel):
    """A model that can't be changed and refuses unknown fields."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


class Limits(_Closed):
    """How long each wait may take; all in seconds."""

    preflight: Seconds = Field(description="All checks before a run is accepted, in parallel (seconds); at most 8.")
    exposure_overhead: Seconds = Field(
        description="takeImages of one frame, from the command to its last acknowledgement, without the exposure time "
        "itself (seconds)."
    )
    readout: Seconds = Field(description="The camera's endReadout after the end of an exposure (seconds).")
    filter_change: Seconds = Field(description="setFilter, from the command to the filter being in place (seconds).")
    ocps_enabled: Seconds = Field(
        description="How long a job waits for an OCPS that left ENABLED after the run was accepted (seconds)."
    )
    job_submission: Seconds = Field(
        description="The job id in the OCPS's answer to execute; and, after an answer that does not prove whether "
        "there is a job, the search for it at the UWS (seconds)."
    )
    job: Seconds = Field(
        description="One job from its submission to its end (seconds). This is the deadline that Kubernetes sets for "
        "jobs (3600 s), plus the time that a job may wait for a free machine."
    )
    job_abort: Seconds = Field(description="The OCPS's answer to abort_job (seconds).")
    job_log: Seconds = Field(description="Fetching the log of a failed job, all requests together (seconds).")
    uws_request: Seconds = Field(description="One request to the UWS (seconds).")
    uws_list: Seconds = Field(
        description="The request for all jobs of the UWS, which walks through the files of every job (seconds). It "
        "took 16 s for 300 jobs with 500 files each."
    )
    uws_unreachable: Seconds = Field(
        description="How long a job is followed without any answer from UWS or OCPS before it counts as lost (seconds)."
    )
    butler_queue: Seconds = Field(
        description="A call's wait for a free Butler thread (seconds). Longer than butler_certify, because "
        "certifications are done one after the other."
    )
    butler_query: Seconds = Field(description="One look-up in the Butler repository, from its beginning (seconds).")
    butler_dataset: Seconds = Field(
        description="Reading one dataset of many (seconds). Reading a product or the statistics of a verification, "
        "one file for each exposure and detector, may take butler_query plus this time for each dataset."
    )
    butler_certify: Seconds = Field(
        description="One certification, from its beginning (seconds). SQLite lets writers queue for up to 300 s."
    )
    component_heartbeat: Seconds = Field(
        description="Age of the last heartbeat above which a component counts as dead (seconds)."
    )


class Estimates(_Closed):
    """Usual durations, for planning only; all in seconds."""

    readout_s: Seconds = Field(description="From the end of an exposure to the beginning of the next (seconds).")
    ingest_s: Seconds = Field(description="From the last readout to the last file in the repository (seconds).")
    job_s: Seconds = Field(description="One OCPS job from its submission to its end (seconds).")


class Plausible(_Closed):
    """Ranges outside which a measured value can't be right for this camera."""

    gain_min: float = Field(gt=0, description="Smallest plausible gain of an amplifier (electron/adu).")
    gain_max: float = Field(gt=0, allow_inf_nan=False, description="Largest plausible gain (electron/adu).")
    noise_min: float = Field(ge=0, description="Smallest plausible read noise of an amplifier (electron).")
    noise_max: float = Field(gt=0, allow_inf_nan=False, description="Largest plausible read noise (electron).")
    defect_fraction_max: float = Field(
        gt=0, le=1, description="Largest plausible fraction of a detector's pixels that are defects (0 to 1)."
    )

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (self.gain_min < self.gain_max and self.noise_min < self.noise_max):
            raise ValueError("gain_min must be less than gain_max, and noise_min less than noise_max")
        return self


Fraction = Annotated[float, Field(gt=0, le=1)]


class FrameLimits(_Closed):
    """Limits for single frames, outside which no good product can be made from them."""

    level_min: float = Field(gt=0, allow_inf_nan=False, description="Least level of a flat (electron).")
    level_max: float = Field(gt=0, allow_inf_nan=False, description="Largest level of a flat (electron).")
    light_min: float = Field(
        ge=0,
        allow_inf_nan=False,
        description="Level up to which a flat has no light at all: the lamp is off (electron).",
    )
    turnoff_fraction_min: float = Field(
        ge=0, lt=1, description="Least level of a flat as a fraction of the turn-off, if the ptc has it (fraction)."
    )
    turnoff_fraction_max: Fraction = Field(
        description="Largest level of a flat as a fraction of the turn-off, if the ptc has it (fraction)."
    )
    flat_noise_fraction_min: Fraction = Field(
        description="Least noise of a flat, as a fraction of the square root of its level (fraction)."
    )
    dark_noise_fraction_min: Fraction = Field(
        description="Least noise of a bias or dark, as a fraction of the read noise in the ptc (fraction)."
    )
    flux_tolerance: Fraction = Field(
        description="By how much the light per second of one flat may differ from that of the others (fraction)."
    )
    flux_change_max: Fraction = Field(
        description="Change of the light per second above which a single flat makes the product FAILED (fraction)."
    )
    shutter_uncertainty_s: float = Field(
        ge=0, allow_inf_nan=False, description="Uncertainty of an exposure time (seconds)."
    )
    outlier_min: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="Least difference of a bias or dark from the others that makes it stand out (electron).",
    )
    outlier_in_product_max: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="By how much one frame may move the plain mean of all frames; more makes it FAILED (electron).",
    )
    nominal_gain: float = Field(
        gt=0, allow_inf_nan=False, description="Gain for a first look at raws if there is no ptc (electron/adu)."
    )

    @pydantic.model_validator(mode="after")
    def _in_order(self) -> Self:
        if not (
            self.light_min < self.level_min < self.level_max and self.turnoff_fraction_min < self.turnoff_fraction_max
        ):
            raise ValueError(
                "light_min must be less than level_min, level_min less than level_max, and turnoff_fraction_min less "
                "than turnoff_fraction_max"
            )
        return self


class JobRecipe(_Closed):
    """One OCPS job of a product."""

    label: Name = Field(description="Name of the job, unique among all recipes, such as cpBias (text).")
    pipeline: str = Field(
        min_length=1,
        pattern=r"^[A-Za-z0-9_./${}#-]+$",
        description="Pipeline as pipetask wants it; variables are expanded in the worker's environment (text).",
    )
    frames: tuple[FrameName, ...] = Field(
        description="Types of frames whose exposures the data query names; empty if the job reads no raws."
    )
    dataset_type: Name = Field(description="Dataset type that the job makes and that is counted afterwards (text).")
    dimensions: Literal["detector", "detector+physical_filter", "detector+exposure_pair"] = Field(
        description="Dimensions for each of which there must be one dataset."
    )
    options: Literal["bias", "dark", "flat", "defects", "ptc", ""] = Field(
        description="The run option config_options_<this> is added to the job's command line; empty: none is added."
    )
    uses: tuple[Name, ...] = Field(
        description="Labels of earlier jobs of the same recipe whose datasets it looks up; it starts after them."
    )


class VerificationRecipe(_Closed):
    """How cp_verify verifies a product."""

    label: Name = Field(description="Name of the job, unique among all recipes, such as verifyBias (text).")
    pipeline: str = Field(
        min_length=1, pattern=r"^[A-Za-z0-9_./${}#-]+$", description="Pipeline, as in a job of a recipe (text)."
    )
    run_statistics: Name = Field(description="Dataset type of the statistics of the whole run (text).")
    detector_statistics: Name = Field(description="Dataset type of the statistics of exposure and detector (text).")
    tests: tuple[Name, ...] = Field(
        min_length=1,
        description="Tests that count for the verdict, by cp_verify's names; if one is missing, it is UNKNOWN.",
    )
    signal_statistic: Name = Field(description="Name of an amplifier's statistic that is its signal (electron).")
    noise_statistic: Name = Field(description="Name of an amplifier's statistic that is its noise (electron).")


class Recipe(_Closed):
    """How one product is made and verified."""

    dataset_type: Name = Field(description="Dataset type of the product (text).")
    builds_on: tuple[CalibName, ...] = Field(description="Types of products that its jobs use.")
    frames: tuple[FrameName, ...] = Field(description="Types of frames that must be in the repository first.")
    jobs: tuple[JobRecipe, ...] = Field(
        min_length=1,
        description="Its jobs, each after those that it uses; the last one makes the product. Jobs that do not use "
        "each other run side by side.",
    )
    verification: VerificationRecipe | None = Field(
        description="Its verification by cp_verify; null: the values of the product itself are checked."
    )

    @pydantic.model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.jobs[-1].dataset_type != self.dataset_type:
            raise ValueError(f"the last job makes {self.jobs[-1].dataset_type}, not {self.dataset_type}")
        if missing := {frames for job in self.jobs for frames in job.frames} - set(self.frames):
            raise ValueError(f"a job reads {', '.join(sorted(missing))} frames, which are not among the recipe's")
        earlier: list[str] = []
        for job in self.jobs:
            if unknown := [label for label in job.uses if label not in earlier]:
                raise ValueError(f"{job.label} uses {', '.join(unknown)}, which is not an earlier job of the recipe")
            if len(set(job.uses)) < len(job.uses):
                raise ValueError(f"{job.label} names a job twice among those that it uses")
            earlier.append(job.label)
        return self


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


class CscConfig(_Closed):
    """Configuration of the ComCamCalib CSC."""

    instrument: Name = Field(description="Butler's name of the instrument, LSSTComCam (text).")
    detectors: tuple[Annotated[str, Field(pattern=r"^R\d\d_S\d\d$")], ...] = Field(
        min_length=1,
        description="Full names of the detectors, such as R22_S00; the position is the detector id, from 0.",
    )
    ocps_index: int = Field(ge=0, description="SAL index of the OCPS that is configured for the instrument (number).")
    uws_url: str = Field(
        pattern=r"^https?://[^\s]+$",
        description="Base of the UWS's REST API, as in the OCPS's own configuration, without credentials (url).",
    )
    uws_poll_interval_s: Seconds = Field(description="Time between two requests for the state of a job (seconds).")
    repo: str = Field(
        min_length=1, pattern=r"^\S+$", description="Butler repository, the same that the OCPS uses (path or url)."
    )
    raw_collection: str = Field(min_length=1, pattern=r"^\S+$", description="Collection that raws are ingested into.")
    journal_path: str = Field(min_length=1, description="SQLite file with the journal of the runs (path).")
    log_path_pattern: str = Field(description="Where people find a job's log; {job_id} stands for the id (path).")
    camera_minimum_exposure_s: Seconds = Field(description="Shortest exposure that the shutter can make (seconds).")
    archiver_check_interval_s: Seconds = Field(
        description="Pause between two looks in Butler for files that no event announced (seconds)."
    )
    limits: Limits = Field(description="How long each wait may take (seconds).")
    estimates: Estimates = Field(description="Usual durations, for planning (seconds).")
    plausible: Plausible = Field(description="Ranges of plausible values for DEFECTS, PTC and GAIN.")
    frames: FrameLimits = Field(description="Limits for single frames.")
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

    @pydantic.field_validator("detectors")
    @classmethod
    def _unique(cls, detectors: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(detectors)) < len(detectors):
            raise ValueError("a detector is named twice")
        return detectors

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
        # Without a verification only the values of defects, ptc and gains can be judged.
        if unverified := [name for name in ("BIAS", "DARK", "FLAT") if recipes[name].verification is None]:
            raise ValueError(f"the recipe of {', '.join(unverified)} needs a verification")
        labels = [job.label for recipe in recipes.values() for job in recipe.jobs]
        labels += [recipe.verification.label for recipe in recipes.values() if recipe.verification]
        if twice := sorted({label for label in labels if labels.count(label) > 1}):
            raise ValueError(f"labels of jobs must be unique; used twice: {', '.join(twice)}")
        for name, recipe in recipes.items():
            if late := [other for other in recipe.builds_on if CalibType[other] >= CalibType[name]]:
                raise ValueError(f"{name} can't build on {', '.join(late)}, which comes later")
        return recipes

    @pydantic.model_validator(mode="after")
    def _ocps_of_the_instrument(self) -> Self:
        owner = OCPS_INSTRUMENTS.get(self.ocps_index, self.instrument)
        if owner != self.instrument:
            right = [str(index) for index, name in OCPS_INSTRUMENTS.items() if name == self.instrument]
            hint = f"; that of {self.instrument} has the index {right[0]}" if right else ""
            raise ValueError(f"ocps_index {self.ocps_index} is the OCPS of {owner}, not of {self.instrument}{hint}")
        return self

    @pydantic.model_validator(mode="after")
    def _defaults_are_options(self) -> Self:
        if problems := check_run_defaults(self):
            raise ValueError("; ".join(problems))
        return self

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
        try:
            return cls.model_validate(dict(values))
        except pydantic.ValidationError as error:
            raise BadInputError(
                f"{'.'.join(map(str, problem['loc'])) or 'run_defaults'}: {problem['msg']}."
                for problem in error.errors()
            ) from error
