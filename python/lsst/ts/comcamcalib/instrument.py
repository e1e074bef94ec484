# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The instrument as data: everything that the product knows about its camera and what belongs to it.

How its calibrations are made (the recipes) stands beside it in the configuration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Self

import pydantic
from pydantic import Field

__all__ = ["ControllerRule", "Detector", "ImageNames", "Instrument"]

Component = Annotated[str, Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")]
DottedPath = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)+$")]

MAX_SEQUENCE = 99999
"""An exposure id has five digits for the sequence number."""


class _Closed(pydantic.BaseModel):
    """A model that can't be changed and refuses unknown fields."""

    # Files must have each field; defaults are for configurations that earlier releases have stored with their runs.
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, json_schema_serialization_defaults_required=True)


class Detector(_Closed):
    """One detector of the camera."""

    id: int = Field(ge=0, description="Butler's detector id (number).")
    name: str = Field(pattern=r"^R[0-9X]{2}_S[0-9GW][0-9]$", description="Full name: raft and sensor (text).")
    amplifiers: int = Field(ge=1, description="Amplifiers that it has (number).")


class ControllerRule(_Closed):
    """How exposure ids are made from the images of one controller."""

    controller: str = Field(pattern=r"^[A-Z]$", description="Letter in the image name (text).")
    offset_years: int = Field(ge=0, description="Years by which the exposure id is ahead of the image's date (years).")
    last_day_with_offset: int | None = Field(
        ge=19700101,
        le=99991231,
        description="The last day_obs with this offset, such as 20231004; null: it has no end (date as a number).",
    )


class ImageNames(_Closed):
    """The camera's image names, such as ``CC_O_20261122_000012``, and the rule of their exposure ids."""

    prefix: str = Field(pattern=r"^[A-Z]{2}$", description="What all image names begin with (text).")
    controllers: tuple[ControllerRule, ...] = Field(
        min_length=1, description="The controllers whose images have exposure ids."
    )

    @pydantic.model_validator(mode="after")
    def _each_once(self) -> Self:
        if twice := _twice(one.controller for one in self.controllers):
            raise ValueError(f"there are two rules for the controller {twice}")
        return self

    @property
    def example(self) -> str:
        """An image name, for a sentence."""
        return f"{self.prefix}_{self.controllers[0].controller}_20261122_000012"

    def exposure_id(self, image_name: str) -> int:
        """Return Butler's exposure id of an image.

        Parameters
        ----------
        image_name
            The image's name: with the controller O, ``…_O_20261122_000012`` becomes 2026112200012.

        Raises
        ------
        ValueError
            If it is not an image name of this camera, or there is no rule for it; the message is a sentence.
        """
        pattern = rf"{self.prefix}_(?P<controller>[A-Z])_(?P<day>\d{{8}})_(?P<sequence>\d{{6}})"
        match = re.fullmatch(pattern, image_name, re.ASCII)
        if match is None:
            raise ValueError(f"{image_name[:100]!r} is no image name of this camera (such as {self.example}).")
        rule = next((one for one in self.controllers if one.controller == match["controller"]), None)
        if rule is None:
            known = ", ".join(one.controller for one in self.controllers)
            raise ValueError(
                f"Image {image_name} was taken under controller {match['controller']}; exposure ids are known for "
                f"these controllers only: {known}."
            )
        day, sequence = int(match["day"]), int(match["sequence"])
        if sequence > MAX_SEQUENCE:
            raise ValueError(
                f"Image {image_name} has a sequence number above {MAX_SEQUENCE}: there is no exposure id for it."
            )
        if rule.last_day_with_offset is None or day <= rule.last_day_with_offset:
            day += rule.offset_years * 10_000
        # Of a day before the year 1000, which no camera has, the zeros must stay.
        return int(f"{day:08d}{sequence:05d}")


class Instrument(_Closed):
    """The camera, and the components that belong to it."""

    name: str = Field(pattern=r"^[A-Za-z0-9_]+$", description="Butler's name of the instrument (text).")
    camera_class: DottedPath = Field(description="The camera's class in ts_observatory_control (dotted path).")
    usages_class: DottedPath = Field(
        description="The class with the usages of the camera's class, of which TakeImage is used (dotted path)."
    )
    setup_attributes: tuple[Component, ...] = Field(
        description="What the camera's class can set up before an exposure, by its own names, such as filter."
    )
    camera: Component = Field(description="SAL component of the camera (text).")
    header_service: Component = Field(description="SAL component of the header service (text).")
    oods: tuple[Component, ...] = Field(
        min_length=1, description="SAL components that ingest the camera's files; each file is ingested by one of them."
    )
    ocps_index: int = Field(ge=0, description="SAL index of the OCPS that is configured for the instrument (number).")
    image_names: ImageNames = Field(description="The camera's image names and the rule of their exposure ids.")
    detectors: tuple[Detector, ...] = Field(min_length=1, description="All detectors, by increasing id.")
    # Runs that were accepted by releases without this field are read from the journal.
    amplifier_rows: tuple[tuple[str, ...], ...] = Field(
        default=(),
        description="Names of the amplifiers in the image of a detector, from the lowest row upwards and in each from "
        "left to right; all have the same size. Combined frames of a detector with another number of amplifiers, or of "
        "all if this is empty, are measured as a whole (texts).",
    )

    @pydantic.field_validator("detectors")
    @classmethod
    def _distinct(cls, detectors: tuple[Detector, ...]) -> tuple[Detector, ...]:
        if twice := _twice(one.name for one in detectors):
            raise ValueError(f"the detector {twice} is named twice")
        ids = [one.id for one in detectors]
        if ids != sorted(set(ids)):
            raise ValueError("each detector needs an id of its own, and they must be in the order of their ids")
        return detectors

    @pydantic.field_validator("amplifier_rows")
    @classmethod
    def _amplifiers_differ(cls, rows: tuple[tuple[str, ...], ...]) -> tuple[tuple[str, ...], ...]:
        if not all(rows):
            raise ValueError("a row has no amplifier")
        if twice := _twice(name for row in rows for name in row):
            raise ValueError(f"the amplifier {twice} is named twice")
        return rows

    @pydantic.model_validator(mode="after")
    def _components_differ(self) -> Self:
        if twice := _twice((self.camera, self.header_service, *self.oods)):
            raise ValueError(f"the component {twice} is named twice")
        return self

    @property
    def detector_names(self) -> Mapping[int, str]:
        """Full names of the detectors by id, in the order of the ids."""
        return {one.id: one.name for one in self.detectors}

    @property
    def amplifiers(self) -> Mapping[int, int]:
        """Numbers of amplifiers by detector id."""
        return {one.id: one.amplifiers for one in self.detectors}

    @property
    def amplifier_names(self) -> tuple[str, ...]:
        """Names that amplifiers may have; a detector with fewer amplifiers has some of them. Empty: any."""
        return tuple(name for row in self.amplifier_rows for name in row)

    def amplifier_rows_of(self, detector: int) -> tuple[tuple[str, ...], ...]:
        """Return the names of a detector's amplifiers by rows; empty if they are not known."""
        named = sum(len(row) for row in self.amplifier_rows)
        return self.amplifier_rows if self.amplifiers[detector] == named else ()

    @property
    def ocps(self) -> str:
        """Name and index of the OCPS, as components are named in sentences: ``OCPS:2``."""
        return f"OCPS:{self.ocps_index}"

    @property
    def frame_components(self) -> tuple[str, ...]:
        """Components without which no frame gets into the repository."""
        return (self.camera, self.header_service, *self.oods)

    @property
    def components(self) -> tuple[str, ...]:
        """All components that a run may need, the OCPS with its index."""
        return (*self.frame_components, self.ocps)


def _twice(names: Iterable[str]) -> str:
    """Return the first name that comes a second time, "" if there is none."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            return name
        seen.add(name)
    return ""
