# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The sections of the CSC's configuration as closed, frozen models.

Limits and estimates are in seconds throughout.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

import pydantic
from pydantic import Field

__all__ = [
    "Closed",
    "Estimates",
    "FrameLimits",
    "JobRecipe",
    "Limits",
    "PageSettings",
    "Plausible",
    "Recipe",
    "ReportSettings",
    "Seconds",
    "UwsAccess",
    "VerificationRecipe",
]

CalibName = Literal["BIAS", "DARK", "FLAT", "DEFECTS", "PTC", "GAIN"]
FrameName = Literal["BIAS", "DARK", "FLAT"]
Name = Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_]+$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Closed(pydantic.BaseModel):
    """A model that can't be changed and refuses unknown fields."""

    # Files must have each field; defaults are for configurations that earlier releases have stored with their runs.
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class UwsAccess(Closed):
    """How the CSC gets through what stands in front of the UWS; secrets are in its environment."""

    scheme: Literal["none", "basic", "bearer"] = Field(
        default="none",
        description="What the UWS, or an ingress in front of it, asks for: none; basic (user name and password); "
        "bearer (a token).",
    )
    secret_variable: str = Field(
        default="COMCAMCALIB_UWS_SECRET",
        pattern=r"^[A-Z][A-Z0-9_]{0,63}$",
        description="Name of the environment variable with the token, or with user:password; never the secret itself. "
        "If it is not set, the variable of this name and _FILE names a file with the secret, which is read for every "
        "request and so may be changed at any time.",
    )
    ca_file: str = Field(
        default="",
        description="Certificates (PEM) of the authorities that may vouch for the UWS (path); empty: those of the "
        "system.",
    )


class Limits(Closed):
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
    uws_forgotten: Seconds = Field(
        default=45.0,
        description="How long the UWS must say that it does not know a job, which it has shown before, until that is "
        "believed (seconds). A server that has just been restarted may not have its disk yet.",
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
    journal: Seconds = Field(
        description="How long an act waits until it is written down in the journal, before its stage fails (seconds)."
    )
    report: Seconds = Field(
        default=180.0,
        description="Writing the report at the end of a run, in a process of its own, and once more for its upload "
        "(seconds). The process is killed then.",
    )


class Estimates(Closed):
    """Usual durations, for planning only; all in seconds."""

    readout_s: Seconds = Field(description="From the end of an exposure to the beginning of the next (seconds).")
    ingest_s: Seconds = Field(description="From the last readout to the last file in the repository (seconds).")
    job_s: Seconds = Field(description="One OCPS job from its submission to its end (seconds).")
    report_s: Seconds = Field(default=20.0, description="Writing the report at the end of a run (seconds).")


class ReportSettings(Closed):
    """Where the reports of runs go. It is a mapping in any case, because salobj overrides no null by a mapping."""

    directory: str = Field(
        pattern=r"^(/[^\n]*)?$",
        description="Folder for the reports, two files a run; made if it does not exist; empty: no report is written "
        "(absolute path).",
    )
    s3_instance: str = Field(
        pattern=r"^[a-z0-9][a-z0-9.]*[a-z0-9]$|^$",
        description="Instance of the observatory's store of large files that reports are uploaded to, such as cp; "
        "empty: they are not uploaded (text).",
    )


class PageSettings(Closed):
    """Where the status page is served. It is a mapping in any case, because salobj overrides no null by a mapping."""

    address: str = Field(
        pattern=r"^[0-9A-Za-z.:-]*$",
        description="Address that the page is served on, such as 0.0.0.0 for all networks or 127.0.0.1 for this "
        "machine only; empty: there is no page (IP address or name).",
    )
    port: int = Field(
        ge=0, le=65535, description="Port of the page; 0: any that is free, which the log names (number)."
    )
    frame_ancestors: tuple[Annotated[str, Field(pattern=r"^(self|https?://[A-Za-z0-9.*-]+(:[0-9]+)?)$")], ...] = Field(
        description="Sites that may show the page in a frame of theirs, such as https://love.example.org for LOVE's "
        "EmbeddedView, or self; if there are none, nobody may (texts)."
    )


class Plausible(Closed):
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


class FrameLimits(Closed):
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


class JobRecipe(Closed):
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


class VerificationRecipe(Closed):
    """How cp_verify verifies a product."""

    label: Name = Field(description="Name of the job, unique among all recipes, such as verifyBias (text).")
    pipeline: str = Field(
        min_length=1, pattern=r"^[A-Za-z0-9_./${}#-]+$", description="Pipeline, as in a job of a recipe (text)."
    )
    run_statistics: Name = Field(description="Dataset type of the statistics of the whole run (text).")
    detector_statistics: Name = Field(
        description="Dataset type of the statistics of exposure and detector; for PTC, of the detector (text)."
    )
    exposure_statistics: Name | None = Field(
        default=None,
        description="Dataset type of the statistics of each exposure (text); null: they are not read. Those of PTC "
        "have no exposures.",
    )
    tests: tuple[Name, ...] = Field(
        min_length=1,
        description="Tests that count for the verdict, by cp_verify's names; if one is missing, it is UNKNOWN.",
    )
    tests_not_counted: tuple[Name, ...] = Field(
        default=("READ_NOISE_CONSISTENT",),
        description="Tests that are named if they fail, but do not count. A test that is in neither list makes the "
        "verdict UNKNOWN, because nobody has said what it means.",
    )
    signal_statistic: Name | None = Field(
        description="Name of an amplifier's statistic that is its signal (electron); null, for PTC: there is none."
    )
    noise_statistic: Name = Field(description="Name of an amplifier's statistic that is its noise (electron).")

    @property
    def needed_statistics(self) -> tuple[str, ...]:
        """Names of the statistics that must have been measured for each amplifier."""
        return (*([self.signal_statistic] if self.signal_statistic else []), self.noise_statistic)


class Recipe(Closed):
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
        description="Its verification by cp_verify; null, for DEFECTS, GAIN and, if wanted, PTC: only its values count."
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
