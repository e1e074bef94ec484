# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Exposures of the simulated camera: what is known of one, and its raw files."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from pathlib import Path

from .fits_files import write_fits
from .focal_plane import FocalPlane
from .layout import DETECTOR_NAMES, INSTRUMENT

__all__ = ["ExposureRecord", "write_exposure_files"]


@dataclasses.dataclass(frozen=True)
class ExposureRecord:
    """What camera, header service and OODS know of one exposure.

    Attributes
    ----------
    exposure_id
        Butler's number, ``day_obs`` followed by five digits of ``seq_num``.
    obs_id
        Name, as ``CC_O_20261122_000012``.
    day_obs, seq_num
        Night (YYYYMMDD) and number in the night.
    group_id
        The exposures that were commanded together.
    image_type
        BIAS, DARK or FLAT.
    exposure_time_s, dark_time_s
        Seconds with light, seconds in which dark current gathered.
    physical_filter
        Filter in the beam.
    timestamp_begin_tai_s, timestamp_end_tai_s
        TAI unix seconds.
    reason, program, test_type
        What the header says of the purpose.
    """

    exposure_id: int
    obs_id: str
    day_obs: int
    seq_num: int
    group_id: str
    image_type: str
    exposure_time_s: float
    dark_time_s: float
    physical_filter: str
    timestamp_begin_tai_s: float
    timestamp_end_tai_s: float
    reason: str = ""
    program: str = ""
    test_type: str = ""


def write_exposure_files(
    focal_plane: FocalPlane,
    exposure: ExposureRecord,
    directory: Path,
    detectors: Iterable[int] = range(len(DETECTOR_NAMES)),
) -> dict[int, Path]:
    """Expose the focal plane and write one FITS file for each detector.

    Parameters
    ----------
    focal_plane
        What takes the images.
    exposure
        Which exposure; the same one gives the same pixels.
    directory
        Where the files go; made if missing. The names are as ``CC_O_20261122_000012_R22_S00.fits``.
    detectors
        Numbers of the detectors; all by default.

    Returns
    -------
    files
        File of each detector, with an absolute path.
    """
    directory.mkdir(parents=True, exist_ok=True)
    files = {}
    for detector in detectors:
        array, header = focal_plane.expose(
            exposure.image_type,
            exposure.exposure_time_s,
            exposure.exposure_id,
            exposure.physical_filter,
            detector,
            exposure.dark_time_s,
        )
        path = directory.absolute() / f"{exposure.obs_id}_{DETECTOR_NAMES[detector]}.fits"
        write_fits(path, array, {**_describe(exposure), **header})
        files[detector] = path
    return files


def _describe(exposure: ExposureRecord) -> dict[str, str | int | float]:
    return {
        "INSTRUME": INSTRUMENT,
        "OBSID": exposure.obs_id,
        "OBSDAY": exposure.day_obs,
        "SEQNUM": exposure.seq_num,
        "GROUPID": exposure.group_id,
        "REASON": exposure.reason,
        "PROGRAM": exposure.program,
        "TESTTYPE": exposure.test_type or exposure.image_type,
    }
