# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository is born with a past, takes raw files as the OODS gives them, and can be copied."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.time import Time
from lsst.daf.butler import Butler, CollectionType, DatasetRef, Timespan
from lsst.daf.butler.registry import ConflictingDefinitionError
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, INSTRUMENT, RAW_COLLECTION
from lsst.ts.comcamcalib.simulation.repo import (
    CALIB_CHAIN,
    DAILY_COLLECTION,
    INITIAL_COLLECTION,
    copy_repo,
    create_repo,
    ingest_file,
    ingest_files,
    register_exposure,
)

EXPOSURE = ExposureRecord(
    exposure_id=2026112200012,
    obs_id="CC_O_20261122_000012",
    day_obs=20261122,
    seq_num=12,
    group_id="20261122-001-DARK",
    image_type="DARK",
    exposure_time_s=5.0,
    dark_time_s=5.5,
    physical_filter="r_03",
    timestamp_begin_tai_s=1_795_300_000.0,
    timestamp_end_tai_s=1_795_300_005.5,
    reason="daily",
    program="calib",
)


@pytest.fixture
def repo(template_repo: Path, tmp_path: Path) -> Path:
    path = tmp_path / "repo"
    copy_repo(template_repo, path)
    return path


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    with contextlib.closing(Butler.from_config(str(repo), writeable=True)) as butler:
        yield butler


@pytest.fixture
def files(small_focal_plane: FocalPlane, tmp_path: Path) -> dict[int, Path]:
    return write_exposure_files(small_focal_plane, EXPOSURE, tmp_path / "raw")


def data_id(**more: int | str) -> dict[str, int | str]:
    return {"instrument": INSTRUMENT, "exposure": EXPOSURE.exposure_id, **more}


def find(butler: Butler, dataset_type: str, detector: int) -> DatasetRef | None:
    """Find the calibration that is valid when the exposure was taken."""
    begin, end = (
        Time(timestamp, format="unix_tai", scale="tai")
        for timestamp in (EXPOSURE.timestamp_begin_tai_s, EXPOSURE.timestamp_end_tai_s)
    )
    found: DatasetRef | None = butler.find_dataset(
        dataset_type,
        {"instrument": INSTRUMENT, "detector": detector, "physical_filter": EXPOSURE.physical_filter},
        collections=CALIB_CHAIN,
        timespan=Timespan(begin, end),
    )
    return found


def test_exposure_is_ingested_with_all_its_detectors(
    butler: Butler, files: dict[int, Path], small_focal_plane: FocalPlane
) -> None:
    ingest_files(butler, EXPOSURE, files)
    refs = butler.query_datasets("raw", collections=RAW_COLLECTION)
    assert sorted(ref.dataId["detector"] for ref in refs) == list(range(9))
    raw = butler.get("raw", data_id(detector=3), collections=RAW_COLLECTION)
    expected, _ = small_focal_plane.expose("DARK", 5.0, EXPOSURE.exposure_id, "r_03", 3, 5.5)
    assert np.array_equal(raw.image.array, expected)
    assert raw.metadata["OBSID"] == "CC_O_20261122_000012"
    assert raw.metadata["GROUPID"] == "20261122-001-DARK"
    assert (raw.metadata["REASON"], raw.metadata["PROGRAM"]) == ("daily", "calib")


def test_exposure_is_known_as_the_camera_describes_it(butler: Butler) -> None:
    register_exposure(butler, EXPOSURE)
    (record,) = butler.query_dimension_records("exposure", instrument=INSTRUMENT)
    assert (record.id, record.obs_id, record.day_obs, record.seq_num) == (2026112200012, EXPOSURE.obs_id, 20261122, 12)
    assert (record.observation_type, record.group, record.physical_filter) == ("dark", EXPOSURE.group_id, "r_03")
    assert record.timespan.begin.unix_tai == pytest.approx(EXPOSURE.timestamp_begin_tai_s)
    assert record.timespan.end.unix_tai == pytest.approx(EXPOSURE.timestamp_end_tai_s)


def test_one_detectors_missing_file_does_not_touch_the_others(butler: Butler, files: dict[int, Path]) -> None:
    files[4].unlink()
    register_exposure(butler, EXPOSURE)
    for detector in (3, 5):
        ingest_file(butler, EXPOSURE, detector, files[detector])
    with pytest.raises(FileNotFoundError):
        ingest_file(butler, EXPOSURE, 4, files[4])
    refs = butler.query_datasets("raw", collections=RAW_COLLECTION)
    assert sorted(ref.dataId["detector"] for ref in refs) == [3, 5]


def test_file_is_not_ingested_twice(butler: Butler, files: dict[int, Path]) -> None:
    ingest_files(butler, EXPOSURE, files)
    with pytest.raises(ConflictingDefinitionError):
        ingest_file(butler, EXPOSURE, 0, files[0])


def test_exposure_may_be_registered_again_but_not_changed(butler: Butler) -> None:
    register_exposure(butler, EXPOSURE)
    register_exposure(butler, EXPOSURE)
    with pytest.raises(ConflictingDefinitionError):
        register_exposure(butler, dataclasses.replace(EXPOSURE, exposure_time_s=6.0))


@pytest.mark.parametrize("dataset_type", ["bias", "dark", "flat", "defects", "ptc"])
def test_initial_calibrations_are_found_by_any_exposure(butler: Butler, dataset_type: str) -> None:
    register_exposure(butler, EXPOSURE)
    for detector in range(9):
        ref = find(butler, dataset_type, detector)
        assert ref is not None
        assert ref.run == f"{INITIAL_COLLECTION}/run"
        assert butler.get(dataset_type, data_id(detector=detector), collections=CALIB_CHAIN) is not None


def test_starting_curve_has_the_true_gains_under_the_real_names(butler: Butler, small_focal_plane: FocalPlane) -> None:
    register_exposure(butler, EXPOSURE)
    ptc = butler.get("ptc", data_id(detector=6), collections=CALIB_CHAIN)
    assert ptc.ampNames == list(AMPLIFIER_NAMES)
    assert ptc.gain == small_focal_plane.truth(6).gain
    assert ptc.noise == pytest.approx(small_focal_plane.truth(6).read_noise, rel=0.03)


def test_calibration_certified_into_daily_comes_before_the_initial_one(butler: Butler) -> None:
    register_exposure(butler, EXPOSURE)
    butler.collections.register("u/ocps/1/run", CollectionType.RUN)
    initial = butler.get("bias", data_id(detector=0), collections=CALIB_CHAIN)
    ref = butler.put(initial, "bias", instrument=INSTRUMENT, detector=0, run="u/ocps/1/run")
    butler.registry.certify(DAILY_COLLECTION, [ref], Timespan(None, None))
    assert find(butler, "bias", 0) == ref
    other = find(butler, "bias", 1)
    assert other is not None and other.run == f"{INITIAL_COLLECTION}/run"


def test_copy_is_independent_of_its_template(
    butler: Butler, repo: Path, tmp_path: Path, files: dict[int, Path]
) -> None:
    ingest_files(butler, EXPOSURE, files)  # the template is open, and part of it still in the write-ahead log
    copy_repo(repo, tmp_path / "copy")
    with contextlib.closing(Butler.from_config(str(tmp_path / "copy"), writeable=True)) as copy:
        assert len(copy.query_datasets("raw", collections=RAW_COLLECTION)) == 9
        ref = find(copy, "bias", 0)
        assert ref is not None
        assert Path(copy.getURI(ref).ospath).is_relative_to(tmp_path / "copy")
        copy.pruneDatasets(copy.query_datasets("raw", collections=RAW_COLLECTION), purge=True, unstore=True)
    assert len(butler.query_datasets("raw", collections=RAW_COLLECTION)) == 9
    assert all(file.exists() for file in files.values())


def test_repository_is_not_overwritten(repo: Path, small_focal_plane: FocalPlane, template_repo: Path) -> None:
    with pytest.raises(FileExistsError):
        create_repo(repo, small_focal_plane)
    with pytest.raises(FileExistsError):
        copy_repo(template_repo, repo)


@pytest.mark.parametrize(
    "name",
    ["verifyBiasStats", "verifyFlatExpStats", "cpPtcPartial", "defects", "flatBootstrap", "cpBiasIsr_metadata"],
)
def test_dataset_types_of_the_pipelines_are_registered(butler: Butler, name: str) -> None:
    assert butler.get_dataset_type(name).name == name


def test_statistics_keep_integer_keys(butler: Butler, tmp_path: Path) -> None:
    butler.collections.register("u/test", CollectionType.RUN)
    statistics = {2026112200012: {"SUCCESS": False, "FAILURES": ["R22_S00 C10 NOISE"]}, "SUCCESS": False}
    butler.put(statistics, "verifyBiasStats", instrument=INSTRUMENT, run="u/test")
    assert butler.get("verifyBiasStats", instrument=INSTRUMENT, collections="u/test") == statistics


def test_image_header_is_read_without_the_pixels(
    butler: Butler, files: dict[int, Path], read_pixels: Callable[[], int]
) -> None:
    ingest_files(butler, EXPOSURE, files)
    header = butler.get("raw.metadata", data_id(detector=1), collections=RAW_COLLECTION)
    assert header["DETNAME"] == "R22_S01"
    assert read_pixels() == 0


@pytest.fixture
def read_pixels(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count how often an image's pixels were read."""
    from lsst.ts.comcamcalib.simulation import formatters

    calls = []
    read_fits = formatters.read_fits
    monkeypatch.setattr(formatters, "read_fits", lambda path: calls.append(path) or read_fits(path))
    return lambda: len(calls)


def test_statistics_are_written_and_read_as_in_the_real_repository(repo: Path) -> None:
    """Butler's own formatter, in pure Python: the simulated repository must not be faster where it counts."""
    with contextlib.closing(Butler.from_config(str(repo))) as butler:
        configured = butler._config["datastore", "formatters", "StructuredDataDict"]
    assert configured == "lsst.daf.butler.formatters.yaml.YamlFormatter"
