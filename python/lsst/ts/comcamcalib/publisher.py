# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The only writer of the component's own SAL topics."""

from __future__ import annotations

import dataclasses
import enum
from typing import TYPE_CHECKING

from .record.events import (
    Alarms,
    Certification,
    DetectorMeasurement,
    DetectorVerification,
    Event,
    GainEstimate,
    ImageIngested,
    ImageTaken,
    JobState,
    LargeFile,
    RunConfiguration,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from .run.progress import Progress

if TYPE_CHECKING:
    from lsst.ts import salobj

__all__ = ["EVENTS", "Publisher", "to_fields"]

EVENTS: dict[type[Event], str] = {
    RunStatus: "runState",
    RunConfiguration: "runConfiguration",
    StageStatus: "stageState",
    ImageTaken: "imageTaken",
    ImageIngested: "imageIngested",
    JobState: "jobState",
    VerificationResult: "verificationResult",
    DetectorVerification: "detectorVerification",
    DetectorMeasurement: "detectorMeasurement",
    GainEstimate: "gainEstimate",
    Certification: "certification",
    LargeFile: "largeFileObjectAvailable",
    Alarms: "alarms",
}
"""Topic of each kind of event."""


def to_fields(event: Event | Progress) -> dict[str, object]:
    """Turn an event into the fields of its topic: names in lowerCamelCase, enumerations as numbers, tuples as lists."""
    fields = {}
    for field in dataclasses.fields(event):
        value = getattr(event, field.name)
        head, *tail = field.name.split("_")
        name = head + "".join(word.capitalize() for word in tail)
        if isinstance(value, enum.IntEnum):
            value = int(value)
        elif isinstance(value, enum.StrEnum):
            value = value.value
        elif isinstance(value, tuple):
            value = list(value)
        fields[name] = value
    return fields


class Publisher:
    """Writes events and telemetry to the CSC's topics.

    Parameters
    ----------
    csc
        The CSC whose topics they are.
    """

    def __init__(self, csc: salobj.BaseCsc) -> None:
        self._csc = csc

    async def publish(self, event: Event) -> None:
        """Publish an event, even if it equals the last sample: ``status`` publishes events again."""
        topic = getattr(self._csc, f"evt_{EVENTS[type(event)]}")
        await topic.set_write(**to_fields(event), force_output=True)

    async def progress(self, progress: Progress) -> None:
        """Publish the telemetry."""
        await self._csc.tel_progress.set_write(**to_fields(progress))

    async def rejected(self, command_name: str, requested_by: str, reason: str) -> None:
        """Publish that a command was refused, because LOVE does not show the text of the acknowledgement."""
        await self._csc.evt_commandRejected.set_write(
            commandName=command_name, requestedBy=requested_by, reason=reason, force_output=True
        )
