# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The simulated observatory's data repository: a real Butler repository with a simulated past."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from astropy.time import Time
from lsst.daf.butler import (
    Butler,
    CollectionType,
    Config,
    DatasetRef,
    DatasetType,
    FileDataset,
    Timespan,
)

from .camera_geometry import Camera
from .containers import Defects, Exposure, PhotonTransferCurve
from .exposures import ExposureRecord, write_exposure_files
from .focal_plane import FocalPlane
from .formatters import FitsExposureFormatter
from .instrument import SimulatedComCam
from .layout import AMPLIFIER_NAMES, DETECTOR_NAMES, INSTRUMENT, PIPELINE_ENVIRONMENT, RAW_COLLECTION
from .loopback import LOOPBACK
from .postgresql import PostgresqlServer

__all__ = [
    "CALIB_CHAIN",
    "DAILY_COLLECTION",
    "INITIAL_COLLECTION",
    "PIPELINE_ENVIRONMENT",
    "ExposureRecord",
    "copy_repo",
    "create_repo",
    "ingest_file",
    "ingest_files",
    "register_exposure",
    "registry_of",
    "remove_repo",
    "write_exposure_files",
]

CALIB_CHAIN = f"{INSTRUMENT}/calib"
"""What jobs read their calibrations from: the daily ones first, then the initial ones."""

DAILY_COLLECTION = f"{CALIB_CHAIN}/daily"
"""Where a run certifies; empty at first."""

INITIAL_COLLECTION = f"{CALIB_CHAIN}/initial"
"""Calibrations of an older date, valid without bounds."""

_INITIAL_RUN = f"{INITIAL_COLLECTION}/run"
_INITIAL_FILTERS = ("r_03",)
# Nominal over true read noise. A master of few frames adds 2 % to the noise of a frame that it is subtracted from, and
# the noise of one amplifier is known to 0.8 %; without a margin, cp_verify's limit of 5 % fails good frames at times.
_NOMINAL_READ_NOISE = 1.02
_DATABASE = "gen3.sqlite3"
_POSTGRESQL = f"postgresql+psycopg2://{LOOPBACK}/"
"""How the address of a registry on PostgreSQL begins; port, user and password come from the environment."""

_PACKAGE = __name__.rpartition(".")[0]


def create_repo(path: Path, focal_plane: FocalPlane, server: PostgresqlServer | None = None) -> None:
    """Make a repository that is ready for raw files and jobs.

    It knows the instrument and all dataset types of the pipelines, and has initial calibrations (bias, dark, flat in
    r_03, empty defects, a photon transfer curve with nominal gains and read noise, the camera) made from the truth.

    Parameters
    ----------
    path
        Its root directory; must not exist or be empty.
    focal_plane
        What the initial calibrations are of.
    server
        Where its registry gets a database of its own. None: SQLite, in the repository's directory.

    Raises
    ------
    FileExistsError
        There is a repository already.
    """
    configuration = _repo_configuration()
    if server is not None:
        configuration["registry"] = {"db": _POSTGRESQL + server.create_database()}
    Butler.makeRepo(str(path), config=Config(configuration), forceConfigRoot=True)
    if server is None:
        _set_write_ahead_log(path)
    with contextlib.closing(_open(path)) as butler:
        SimulatedComCam().register(butler.registry)
        butler.registry.registerDatasetType(_raw_dataset_type(butler))
        butler.collections.register(RAW_COLLECTION, CollectionType.RUN)
        _register_pipeline_dataset_types(butler)
        _make_initial_calibrations(butler, focal_plane)


def copy_repo(template: Path, target: Path, server: PostgresqlServer | None = None) -> None:
    """Copy a repository; the template may be open, but nobody may write into it meanwhile.

    Raw files stay where they are: they were ingested by their absolute paths, as the OODS does it.

    Parameters
    ----------
    template, target
        Root directories.
    server
        Where the template has its registry, and the copy gets one. None: SQLite.

    Raises
    ------
    FileExistsError
        The target exists.
    """
    shutil.copytree(template, target, ignore=shutil.ignore_patterns(f"{_DATABASE}*"))
    if server is not None:
        file = target / "butler.yaml"
        configuration = yaml.safe_load(file.read_text())
        database = server.create_database(template=_database_of(template))
        configuration["registry"]["db"] = _POSTGRESQL + database
        file.write_text(yaml.safe_dump(configuration))
        return
    # SQLite's own copy is whole also when part of it is still in the write-ahead log.
    with (
        contextlib.closing(sqlite3.connect(template / _DATABASE)) as source,
        contextlib.closing(sqlite3.connect(target / _DATABASE)) as destination,
    ):
        source.backup(destination)
    _set_write_ahead_log(target)


def remove_repo(path: Path, server: PostgresqlServer | None = None) -> None:
    """Remove a repository with its registry, but not the raw files outside it."""
    if server is not None:
        server.drop_database(_database_of(path))
    shutil.rmtree(path)


def registry_of(path: Path) -> str:
    """Return what a repository has its registry in: "sqlite" or "postgresql"."""
    return "postgresql" if _address_of(path).startswith("postgresql") else "sqlite"


def _database_of(path: Path) -> str:
    return _address_of(path).removeprefix(_POSTGRESQL)


def _address_of(path: Path) -> str:
    configuration = yaml.safe_load((path / "butler.yaml").read_text())
    return str(configuration.get("registry", {}).get("db", ""))


def register_exposure(butler: Butler, exposure: ExposureRecord) -> None:
    """Tell the repository of an exposure; telling it again changes nothing.

    Raises
    ------
    lsst.daf.butler.registry.ConflictingDefinitionError
        It knows another exposure of this id.
    """
    registry = butler.registry
    with butler.transaction():
        registry.syncDimensionData("day_obs", {"instrument": INSTRUMENT, "id": exposure.day_obs})
        registry.syncDimensionData("group", {"instrument": INSTRUMENT, "name": exposure.group_id})
        registry.syncDimensionData("exposure", _exposure_dimension(exposure))


def ingest_file(butler: Butler, exposure: ExposureRecord, detector: int, file: Path) -> None:
    """Ingest the raw file of one detector of an exposure that the repository knows.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    lsst.daf.butler.registry.ConflictingDefinitionError
        This detector's file was ingested before.
    """
    data_id = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=exposure.exposure_id, detector=detector)
    ref = DatasetRef(_raw_dataset_type(butler), data_id, run=RAW_COLLECTION)
    butler.ingest(FileDataset(str(file.absolute()), [ref], formatter=FitsExposureFormatter), transfer="direct")


def ingest_files(butler: Butler, exposure: ExposureRecord, files: Mapping[int, Path]) -> None:
    """Ingest an exposure, one detector's file after the other; stops at the first that fails.

    Raises
    ------
    Exception
        As `register_exposure` and `ingest_file`; the files before the failing one are in the repository.
    """
    register_exposure(butler, exposure)
    for detector, file in files.items():
        ingest_file(butler, exposure, detector, file)


def _open(path: Path) -> Butler:
    return Butler.from_config(str(path), writeable=True)


def _repo_configuration() -> dict[str, Any]:
    """Storage classes and formatters, as they go into the repository's butler.yaml.

    The names are our own: the Butler's configuration defines the real ones (ExposureF, Defects,
    PhotonTransferCurveDataset) for types that are not on PyPI, and does not let a repository redefine them.
    """
    containers, formatters = f"{_PACKAGE}.containers", f"{_PACKAGE}.formatters"
    return {
        "storageClasses": {
            "SimulatedExposure": {
                "pytype": f"{containers}.Exposure",
                "derivedComponents": {"metadata": "StructuredDataDict"},
            },
            "SimulatedDefects": {"pytype": f"{containers}.Defects"},
            "SimulatedPhotonTransferCurve": {"pytype": f"{containers}.PhotonTransferCurve"},
            "SimulatedCamera": {"pytype": f"{_PACKAGE}.camera_geometry.Camera"},
        },
        "datastore": {
            "formatters": {
                "SimulatedExposure": f"{formatters}.FitsExposureFormatter",
                "SimulatedDefects": f"{formatters}.JsonContainerFormatter",
                "SimulatedPhotonTransferCurve": f"{formatters}.JsonContainerFormatter",
                "SimulatedCamera": f"{formatters}.JsonContainerFormatter",
                "StructuredDataDict": "lsst.daf.butler.formatters.yaml.YamlFormatter",
            }
        },
    }


def _set_write_ahead_log(path: Path) -> None:
    """Let readers and a writer work side by side, and spare most of the disk's flushes; the database remembers it."""
    with contextlib.closing(sqlite3.connect(path / _DATABASE)) as database:
        database.execute("PRAGMA journal_mode=WAL")


def _raw_dataset_type(butler: Butler) -> DatasetType:
    name, dimensions, storage_class = SimulatedComCam.raw_definition
    return DatasetType(name, dimensions, storage_class, universe=butler.dimensions)


def _exposure_dimension(exposure: ExposureRecord) -> dict[str, Any]:
    begin, end = (
        Time(timestamp, format="unix_tai", scale="tai")
        for timestamp in (exposure.timestamp_begin_tai_s, exposure.timestamp_end_tai_s)
    )
    return {
        "instrument": INSTRUMENT,
        "id": exposure.exposure_id,
        "obs_id": exposure.obs_id,
        "physical_filter": exposure.physical_filter,
        "group": exposure.group_id,
        "day_obs": exposure.day_obs,
        "exposure_time": exposure.exposure_time_s,
        "dark_time": exposure.dark_time_s,
        "observation_type": exposure.image_type.lower(),
        "observation_reason": exposure.reason or "unknown",
        "science_program": exposure.program or "unknown",
        "target_name": "UNKNOWN",
        "seq_num": exposure.seq_num,
        "seq_start": exposure.seq_num,
        "seq_end": exposure.seq_num,
        "has_simulated": True,
        "can_see_sky": False,
        "timespan": Timespan(begin, end),
    }


def _register_pipeline_dataset_types(butler: Butler) -> None:
    """Register what the pipelines write, as in a repository where they have run before: the OCPS's jobs do not."""
    from lsst.pipe.base import Pipeline

    for directory in PIPELINE_ENVIRONMENT.values():
        for file in sorted(Path(directory).glob("pipelines/LSSTComCam/*.yaml")):
            Pipeline.fromFile(str(file)).to_graph(butler.registry).register_dataset_types(butler)


def _make_initial_calibrations(butler: Butler, focal_plane: FocalPlane) -> None:
    butler.collections.register(_INITIAL_RUN, CollectionType.RUN)
    for collection in (INITIAL_COLLECTION, DAILY_COLLECTION):
        butler.collections.register(collection, CollectionType.CALIBRATION)
    butler.collections.register(CALIB_CHAIN, CollectionType.CHAINED)
    butler.collections.redefine_chain(CALIB_CHAIN, [DAILY_COLLECTION, INITIAL_COLLECTION])
    refs: dict[str, list[DatasetRef]] = {}
    with butler.transaction():
        for name, data_id, product in _initial_products(focal_plane):
            refs.setdefault(name, []).append(butler.put(product, name, data_id, run=_INITIAL_RUN))
        for of_one_type in refs.values():
            butler.registry.certify(INITIAL_COLLECTION, of_one_type, Timespan(None, None))


def _initial_products(focal_plane: FocalPlane) -> Iterator[tuple[str, dict[str, Any], Any]]:
    """Yield dataset type, data id and content of the initial calibrations, without any noise."""
    mean_response = np.mean([focal_plane.truth(detector).response.mean() for detector in range(len(DETECTOR_NAMES))])
    metadata = {"UNITS": "electron", "CALIB_ID": "initial"}
    nominal: list[Mapping[str, tuple[float, float]]] = []
    for detector in range(len(DETECTOR_NAMES)):
        truth = focal_plane.truth(detector)
        nominal.append({name: (truth.gain[name], truth.read_noise[name]) for name in AMPLIFIER_NAMES})
    yield "camera", {"instrument": INSTRUMENT}, Camera.of_values(nominal)
    for detector in range(len(DETECTOR_NAMES)):
        truth = focal_plane.truth(detector)
        data_id: dict[str, Any] = {"instrument": INSTRUMENT, "detector": detector}
        bias = truth.bias_pattern.copy()
        for name in AMPLIFIER_NAMES:
            bias[focal_plane.layout.image_section(name)] *= truth.gain[name]
        yield "bias", data_id, Exposure.from_array(bias, {"OBSTYPE": "bias", **metadata})
        yield "dark", data_id, Exposure.from_array(truth.dark_rate, {"OBSTYPE": "dark", **metadata})
        flat = Exposure.from_array(truth.response / np.float32(mean_response), {"OBSTYPE": "flat", **metadata})
        for physical_filter in _INITIAL_FILTERS:
            yield "flat", {**data_id, "physical_filter": physical_filter}, flat
        yield "defects", data_id, Defects(metadata={"CALIB_ID": "initial"})
        yield (
            "ptc",
            data_id,
            PhotonTransferCurve(
                ampNames=list(AMPLIFIER_NAMES),
                ptcFitType="POLYNOMIAL",
                gain=dict(truth.gain),
                noise={name: _NOMINAL_READ_NOISE * noise for name, noise in truth.read_noise.items()},
                ptcTurnoff={name: truth.full_well[name] / truth.gain[name] for name in AMPLIFIER_NAMES},
                metadata={"CALIB_ID": "initial"},
            ),
        )
