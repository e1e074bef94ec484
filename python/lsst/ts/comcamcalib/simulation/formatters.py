# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the simulated datasets are written to files: images as FITS, products as JSON.

Statistics have Butler's own YAML formatter, as in the real repository: its reader, in pure Python, is slow.
"""

from __future__ import annotations

import json
from typing import Any

from lsst.daf.butler import FormatterV2
from lsst.resources import ResourcePath

from .containers import Exposure
from .fits_files import read_fits, read_header, write_fits

__all__ = ["FitsExposureFormatter", "JsonContainerFormatter"]


class FitsExposureFormatter(FormatterV2):  # type: ignore[misc]
    """Reads and writes an `Exposure`; its component ``metadata`` without the pixels."""

    default_extension = ".fits"
    supported_extensions = frozenset({".fits"})
    can_read_from_local_file = True

    def read_from_local_file(self, path: str, component: str | None = None, expected_size: int = -1) -> Any:
        """Read the exposure, or its header."""
        return read_header(path) if component == "metadata" else Exposure.from_array(*read_fits(path))

    def write_local_file(self, in_memory_dataset: Any, uri: ResourcePath) -> None:
        """Write the exposure."""
        write_fits(uri.ospath, in_memory_dataset.image.array, in_memory_dataset.metadata)


class JsonContainerFormatter(FormatterV2):  # type: ignore[misc]
    """Reads and writes any type that has ``to_dict`` and ``from_dict``."""

    default_extension = ".json"
    can_read_from_uri = True

    def read_from_uri(self, uri: ResourcePath, component: str | None = None, expected_size: int = -1) -> Any:
        """Read the object; its type is that of the dataset's storage class."""
        return self.dataset_ref.datasetType.storageClass.pytype.from_dict(json.loads(uri.read()))

    def to_bytes(self, in_memory_dataset: Any) -> bytes:
        """Return the object as JSON."""
        return json.dumps(in_memory_dataset.to_dict()).encode()
