# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OODS's notices about the ingest of files into the Butler repository."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from lsst.ts import salobj

from .image_name import exposure_id_of

__all__ = ["CcOods", "IngestNotice", "Oods", "notice_of"]

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


class CcOods:
    """CCOODS's imageInOODS events, one reader for all subscribers.

    Parameters
    ----------
    domain
        Domain of the CSC.
    instrument
        The camera's name in the events, ``LSSTComCam``; notices about other cameras are ignored.
    detectors
        Full names of the detectors, such as ``R22_S00``, by detector id.
    """

    def __init__(self, domain: salobj.Domain, instrument: str, detectors: Sequence[str]) -> None:
        self._domain = domain
        self._instrument = instrument
        self._detectors = tuple(detectors)
        self._log = logging.getLogger(__name__)
        self._subscribers: list[Callable[[IngestNotice], None]] = []
        self._remote: salobj.Remote | None = None

    async def start(self) -> None:
        """Start the remote. Earlier notices are not read; if they were successes, the files are in the repository."""
        self._remote = salobj.Remote(self._domain, "CCOODS", readonly=True, include=["imageInOODS"], evt_max_history=0)
        self._remote.evt_imageInOODS.callback = self._on_image
        await self._remote.start_task

    async def close(self) -> None:
        """Close the remote."""
        remote, self._remote = self._remote, None
        if remote is not None:
            await remote.close()

    def subscribe(self, callback: Callable[[IngestNotice], None]) -> Callable[[], None]:
        """Call back for every notice from now on; see `Oods.subscribe`."""
        self._subscribers.append(callback)

        def unsubscribe() -> None:
            if callback in self._subscribers:
                self._subscribers.remove(callback)

        return unsubscribe

    async def _on_image(self, data: salobj.BaseMsgType) -> None:
        """Notify all subscribers, even if one of them fails."""
        notice = notice_of(data, self._instrument, self._detectors)
        if notice is None:
            return
        for callback in tuple(self._subscribers):
            try:
                callback(notice)
            except Exception:
                self._log.exception("A subscriber to the OODS's notices failed on %s", notice)


def notice_of(data: salobj.BaseMsgType, instrument: str, detectors: Sequence[str]) -> IngestNotice | None:
    """Turn an imageInOODS into a notice.

    Parameters
    ----------
    data
        The event.
    instrument
        The camera whose files matter.
    detectors
        Full names of its detectors by detector id.

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
    if data.camera not in (instrument, UNDEFINED_CAMERA):
        return None
    description = data.description
    if data.obsid.isdecimal():
        exposure_id = int(data.obsid)
    else:
        try:
            exposure_id = exposure_id_of(data.obsid)
        except ValueError as error:
            if "?" not in data.obsid:
                description = f"{description} ({error})"
            exposure_id = None
    return IngestNotice(exposure_id, _detector(data.raft, data.sensor, detectors), succeeded, description)


def _detector(raft: str, sensor: str, detectors: Sequence[str]) -> int | None:
    """Return the detector id, None if the names do not give it."""
    if raft == UNKNOWN_RAFT:
        number = sensor.removeprefix("S")
        return int(number) if number.isdecimal() and int(number) < len(detectors) else None
    name = f"{raft}_{sensor}"
    return detectors.index(name) if name in detectors else None
