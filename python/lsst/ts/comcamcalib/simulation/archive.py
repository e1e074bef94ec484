# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The raw files and the Butler repository, as the OODS works on them.

Everything here blocks: it is for the world's worker thread, which is also the only one that may use an `Archive`.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from .focal_plane import FocalPlane
from .layout import INSTRUMENT
from .world import Image

# The Butler takes seconds to import. The worker thread imports it, so that importing this module is fast.
if TYPE_CHECKING:
    from lsst.daf.butler import Butler

    from .exposures import ExposureRecord

__all__ = ["Archive"]


class Archive:
    """Writes raw files and ingests them, between `open` and `close`.

    Parameters
    ----------
    repo
        Root directory of the repository.
    raw_directory
        Where the raw files go, in one folder a day.
    """

    def __init__(self, repo: Path, raw_directory: Path) -> None:
        self._repo = repo
        self._raw_directory = raw_directory
        self._opened: Butler | None = None

    def open(self) -> None:
        """Open the repository, which must exist."""
        from lsst.daf.butler import Butler

        self._opened = Butler.from_config(str(self._repo), writeable=True)

    def close(self) -> None:
        """Close the repository; harmless if it is not open."""
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    @property
    def _butler(self) -> Butler:
        if self._opened is None:
            raise RuntimeError(f"The repository {self._repo} is not open.")
        return self._opened

    def last_seq_num(self, day_obs: int) -> int:
        """Return the highest number of an image of an observing day that the repository knows, or 0."""
        exposures = self._butler.query_dimension_records(
            "exposure", instrument=INSTRUMENT, day_obs=day_obs, explain=False
        )
        return max((record.seq_num for record in exposures), default=0)

    def write_files(self, focal_plane: FocalPlane, image: Image, detectors: Iterable[int]) -> dict[int, Path]:
        """Write the image's file of each of these detectors; return where they are."""
        from .exposures import write_exposure_files

        return write_exposure_files(
            focal_plane, exposure_record(image), self._raw_directory / str(image.day_obs), detectors
        )

    def ingest(self, image: Image, detector: int, file: Path) -> None:
        """Ingest one file.

        Raises
        ------
        Exception
            What the Butler raises, if it refuses.
        """
        from .repo import ingest_file, register_exposure

        record = exposure_record(image)
        register_exposure(self._butler, record)
        ingest_file(self._butler, record, detector, file)


def exposure_record(image: Image) -> ExposureRecord:
    """Return an image of the camera as the files and the repository describe it."""
    from .exposures import ExposureRecord

    return ExposureRecord(
        exposure_id=image.exposure_id,
        obs_id=image.name,
        day_obs=image.day_obs,
        seq_num=image.seq_num,
        group_id=image.group_id,
        image_type=image.image_type,
        exposure_time_s=image.exposure_time_s,
        dark_time_s=image.exposure_time_s,
        physical_filter=image.physical_filter,
        timestamp_begin_tai_s=image.begin_tai,
        timestamp_end_tai_s=image.end_tai,
        reason=image.keys.get("reason", ""),
        program=image.keys.get("program", ""),
        test_type=image.keys.get("testType", ""),
    )
