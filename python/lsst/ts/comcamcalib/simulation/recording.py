# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Products of real pipeline runs, kept small so that they can be put into another repository at once.

A recording is one JSON file for each pipeline. Exposures are positions in it (``@E0`` is the first one), so that it
fits any exposures; images are binned and have 16 bits a pixel; statistics are as they were, with six digits.
"""

from __future__ import annotations

import base64
import dataclasses
import json
import math
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from lsst.daf.butler import Butler, DatasetRef

from .containers import Exposure

__all__ = ["RECORDED", "RecordedDataset", "Recording", "record"]

RECORDED = Path(__file__).parent / "recorded"
"""The recordings of this package: what `record_all` made of the procedure's exposures."""

_BINS = 8  # along each side of an amplifier; enough to see its structure
_DIGITS = 6

Position = int
"""Number of an exposure, from 0, in the order of their ids."""


@dataclasses.dataclass(frozen=True)
class RecordedDataset:
    """One dataset of a recording.

    Attributes
    ----------
    dataset_type
        Name of its type.
    data_id
        Its data id but for the instrument; ``exposure`` is a position.
    content
        Encoded content.
    """

    dataset_type: str
    data_id: Mapping[str, int | str]
    content: Any


@dataclasses.dataclass(frozen=True)
class Recording:
    """The products of one run of a pipeline.

    Attributes
    ----------
    pipeline
        Name of the pipeline, as `pipeline_name` gives it.
    exposures
        How many exposures it worked on; 0 if it needs none.
    datasets
        What it put out.
    """

    pipeline: str
    exposures: int
    datasets: tuple[RecordedDataset, ...]

    @classmethod
    def load(cls, pipeline: str, directory: Path = RECORDED) -> Recording:
        """Read a recording.

        Raises
        ------
        FileNotFoundError
            If there is none of this pipeline.
        """
        path = _path(pipeline, directory)
        if not path.exists():
            raise FileNotFoundError(f"There is no recording of pipeline {pipeline!r}: {path} is missing.")
        content = json.loads(path.read_text())
        return cls(pipeline, content["exposures"], tuple(RecordedDataset(*item) for item in content["datasets"]))

    def save(self, directory: Path) -> Path:
        """Write the recording, and return where."""
        directory.mkdir(parents=True, exist_ok=True)
        items = [[item.dataset_type, item.data_id, item.content] for item in self.datasets]
        # One dataset a line, so that a diff shows what has changed.
        lines = ",\n".join(json.dumps(item, separators=(",", ":")) for item in items)
        path = _path(self.pipeline, directory)
        path.write_text(f'{{"exposures": {self.exposures}, "datasets": [\n{lines}\n]}}\n')
        return path


def _path(pipeline: str, directory: Path) -> Path:
    return directory / f"{pipeline.replace('#', '.')}.json"


def record(butler: Butler, job_collection: str, pipeline: str, directory: Path) -> Path:
    """Record what a job has put out: all but its images of single exposures, configurations, logs and metadata.

    Parameters
    ----------
    butler
        The repository.
    job_collection
        The job's output chain, ``u/ocps/<job id>``.
    pipeline
        Name under which it is recorded.
    directory
        Where the file goes.

    Returns
    -------
    path
        The file.

    Raises
    ------
    ValueError
        If the job has put out nothing, or something that can't be recorded.
    """
    refs = [ref for ref in butler.query_all_datasets(f"{job_collection}/run") if "instrument" in ref.dimensions]
    if not refs:
        raise ValueError(f"There is nothing to record in {job_collection}/run.")
    exposures = sorted({int(ref.dataId["exposure"]) for ref in refs if "exposure" in ref.dimensions})
    positions = {exposure: position for position, exposure in enumerate(exposures)}
    datasets = []
    for ref in sorted((ref for ref in refs if _is_recorded(ref)), key=str):
        data_id = {key: value for key, value in ref.dataId.required.items() if key != "instrument"}
        if "exposure" in data_id:
            data_id["exposure"] = positions[data_id["exposure"]]
        datasets.append(RecordedDataset(ref.datasetType.name, data_id, _encode(_plain(butler.get(ref)), positions)))
    return Recording(pipeline, len(exposures), tuple(datasets)).save(directory)


def _is_recorded(ref: DatasetRef) -> bool:
    if ref.datasetType.name.endswith(("_metadata", "_log")):
        return False
    return not (ref.datasetType.storageClass.pytype is Exposure and "exposure" in ref.dimensions)


def _plain(product: Any) -> Any:
    """Return a product as a dictionary."""
    if isinstance(product, Exposure):
        return {"image": _pack(product.image.array), "metadata": product.metadata}
    return product.to_dict() if hasattr(product, "to_dict") else product


def _encode(value: Any, positions: Mapping[int, Position]) -> Any:
    """Return a value as JSON can hold it: ids of exposures as ``@E<position>``, other integer keys as ``@I<key>``."""
    if isinstance(value, Mapping):
        return {_encode_key(key, positions): _encode(item, positions) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(item, positions) for item in value]
    if isinstance(value, str):
        if value.startswith("@"):
            raise ValueError(f"A text that begins with @ can't be recorded: {value!r}")
        return value
    if isinstance(value, float):  # numpy's float64 is one
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, int) and value in positions:
        return f"@E{positions[value]}"
    return value


def _encode_key(key: Any, positions: Mapping[int, Position]) -> str:
    encoded = _encode(key, positions)
    return f"@I{encoded}" if isinstance(encoded, int) else str(encoded)


def _pack(array: npt.NDArray[Any]) -> dict[str, Any]:
    """Bin an image (mean of the finite pixels) and give each bin 16 bits between its least and its largest value."""
    rows, columns = array.shape
    bin_rows, bin_columns = max(1, rows // (2 * _BINS)), max(1, columns // (8 * _BINS))
    cut = array[: rows - rows % bin_rows, : columns - columns % bin_columns].astype(float)
    blocks = cut.reshape(cut.shape[0] // bin_rows, bin_rows, cut.shape[1] // bin_columns, bin_columns)
    binned = np.ma.masked_invalid(blocks).mean(axis=(1, 3)).filled(np.nan)
    low, high = float(np.nanmin(binned)), float(np.nanmax(binned))
    scale = (high - low) / 65535 or 1.0
    levels = np.nan_to_num(np.rint((binned - low) / scale)).astype("<u2")
    return {
        "shape": [rows, columns],
        "bins": list(levels.shape),
        "offset": low,
        "scale": scale,
        "levels": base64.b64encode(zlib.compress(levels.tobytes(), 9)).decode(),
    }


def unpack(packed: Mapping[str, Any]) -> npt.NDArray[np.float32]:
    """Return an image of the recorded shape from its bins."""
    levels = np.frombuffer(zlib.decompress(base64.b64decode(packed["levels"])), "<u2").reshape(packed["bins"])
    binned = (packed["offset"] + packed["scale"] * levels).astype(np.float32)
    (rows, columns), (bin_rows, bin_columns) = packed["shape"], packed["bins"]
    repeated = np.kron(binned, np.ones((math.ceil(rows / bin_rows), math.ceil(columns / bin_columns)), np.float32))
    return repeated[:rows, :columns]


def decode(content: Any, exposure_at: Callable[[Position], int]) -> Any:
    """Return the content with the exposures that stand at its positions."""
    if isinstance(content, dict):
        return {decode_key(key, exposure_at): decode(item, exposure_at) for key, item in content.items()}
    if isinstance(content, list):
        return [decode(item, exposure_at) for item in content]
    if isinstance(content, str) and content.startswith("@E"):
        return exposure_at(int(content[2:]))
    return content


def decode_key(key: str, exposure_at: Callable[[Position], int]) -> int | str:
    """Return the key of a dictionary."""
    if key.startswith("@I"):
        return int(key[2:])
    return exposure_at(int(key[2:])) if key.startswith("@E") else key


def fit(content: Any, recorded: int, exposures: Sequence[int]) -> Any:
    """Return content that is about several exposures, for these exposures.

    A dictionary by exposure has an entry for each of the exposures, from the recorded ones in turn; elsewhere the
    recorded positions are taken modulo the number of exposures.
    """
    if not isinstance(content, dict):
        return decode(content, lambda position: exposures[position % len(exposures)])
    fitted = {
        decode_key(key, lambda position: position): fit(item, recorded, exposures)
        for key, item in content.items()
        if not key.startswith("@E")
    }
    for position, exposure in enumerate(exposures):
        key = f"@E{position % recorded}" if recorded else ""
        if key in content:
            fitted[exposure] = fit(content[key], recorded, exposures)
    return fitted
