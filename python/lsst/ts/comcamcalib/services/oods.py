# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OODS's notices about the ingest of files into the Butler repository."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections.abc import Callable
from typing import Protocol

from lsst.ts import salobj

from ..instrument import Instrument

__all__ = ["IngestNotice", "Oods", "SalOods", "notice_of"]

UNDEFINED_CAMERA = "UNDEF"
"""Camera name in a notice if the OODS could not read the file's header."""

UNKNOWN_RAFT = "R??"
"""Raft in a notice of a failure; the sensor's two digits are then the detector's number, not its place."""


@dataclasses.dataclass(frozen=True)
class IngestNotice:
    """The outcome of the ingest of one file.

    Parameters
    ----------
    exposure_id
        Butler's exposure id; None if the OODS does not know it.
    detector
        Detector id; None if the OODS does not know it.
    succeeded
        Whether the file is in the repository now.
    description
        The OODS's own words.
    """

    exposure_id: int | None
    detector: int | None
    succeeded: bool
    description: str


class Oods(Protocol):
    """What the stages need of the OODS."""

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        """Call back for every notice from now on; the returned function ends it."""


class SalOods:
    """The imageInOODS events of the instrument's OODS, one reader for all subscribers.

    An instrument may have several OODS, each for some of its detectors.

    Parameters
    ----------
    domain
        Domain of the CSC.
    instrument
        The instrument whose files matter; notices about other cameras are ignored.
    """

    def __init__(self, domain: salobj.Domain, instrument: Instrument) -> None:
        self._domain = domain
        self._instrument = instrument
        self._log = logging.getLogger(__name__)
        self._subscribers: list[Callable[[IngestNotice], None]] = []
        self._remotes: list[salobj.Remote] = []

    async def start(self) -> None:
        """Start the remotes. Earlier notices are not read; if they were successes, the files are in the repository."""
        for name in self._instrument.oods:
            remote = salobj.Remote(self._domain, name, readonly=True, include=["imageInOODS"], evt_max_history=0)
            self._remotes.append(remote)
            remote.evt_imageInOODS.callback = self._on_image
        await asyncio.gather(*(remote.start_task for remote in self._remotes))

    async def close(self) -> None:
        """Close the remotes."""
        remotes, self._remotes = self._remotes, []
        await asyncio.gather(*(remote.close() for remote in remotes))

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        """Call back for every notice from now on; see `Oods.subscribe`."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    async def _on_image(self, data: salobj.BaseMsgType) -> None:
        """Notify all subscribers, even if one of them fails."""
        notice = notice_of(data, self._instrument)
        if notice is None:
            return
        for callback in tuple(self._subscribers):
            try:
                callback(notice)
            except Exception:
                self._log.exception("A subscriber to the OODS's notices failed on %s", notice)


def notice_of(data: salobj.BaseMsgType, instrument: Instrument) -> IngestNotice | None:
    """Turn an imageInOODS into a notice.

    Parameters
    ----------
    data
        The event.
    instrument
        The instrument whose files matter.

    Returns
    -------
    notice
        None if it is about another camera's file.

    Notes
    -----
    A file that was ingested is named by image name, raft and sensor (``CC_O_20261122_000012``, ``R22``, ``S11``). One
    that was not is named by the digits of its exposure id, ``R??`` and the detector's number (``S04``), or, when even
    its header could not be read, by question marks and the camera UNDEF. That may be any file.
    """
    succeeded = data.statusCode == 0
    if data.camera not in (instrument.name, UNDEFINED_CAMERA):
        return None
    description = data.description
    if data.obsid.isdecimal():
        exposure_id = int(data.obsid)
    else:
        try:
            exposure_id = instrument.image_names.exposure_id(data.obsid)
        except ValueError as error:
            if "?" not in data.obsid:
                description = f"{description} ({error})"
            exposure_id = None
    return IngestNotice(exposure_id, _detector(data.raft, data.sensor, instrument), succeeded, description)


def _detector(raft: str, sensor: str, instrument: Instrument) -> int | None:
    """Return the detector id, None if the names do not give it."""
    names = instrument.detector_names
    if raft == UNKNOWN_RAFT:
        number = sensor.removeprefix("S")
        return int(number) if number.isdecimal() and int(number) in names else None
    return next((detector for detector, name in names.items() if name == f"{raft}_{sensor}"), None)
