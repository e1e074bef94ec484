# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the statistics of a verification are read: by Butler one by one, and by the Butler service.

Both read the same files of the same repository, in turns. DETECTORS and EXPOSURES in the environment say how many; 189
by 20 is a verification of a whole LSSTCam. The exit status is 1 if the two do not read the same, or if the service is
not faster.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import pathlib
import statistics
import tempfile
import time
from typing import Any

import yaml
from lsst.daf.butler import Butler, CollectionType, DatasetRef, FileDataset
from lsst.daf.butler.formatters.yaml import YamlFormatter
from lsst.ts.comcamcalib.butler_data import StatisticsTypes
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.repo import create_repo, register_exposure

DETECTORS = int(os.environ.get("DETECTORS", "9"))
EXPOSURES = int(os.environ.get("EXPOSURES", "20"))
ROUNDS = 3
INSTRUMENT = "LSSTComCam"
RUN = "u/ocps/bench/run"
DETECTOR_TYPE, RUN_TYPE = "verifyBiasDetStats", "verifyBiasStats"
AMPLIFIERS = [f"C{row}{column}" for row in (1, 0) for column in range(8)]
STATISTICS = ("MEAN", "NOISE", "CR_NOISE", "MEDIAN", "STDEV", "SKEW", "AMP_CORNER", "READ_NOISE")
TESTS = ("MEAN", "NOISE", "CR_NOISE", "READ_NOISE_CONSISTENT", "SUCCESS")
FIRST = 2026112200001
TAI_S = 1795377637.0  # 2026-11-22T20:00:37 TAI
LIMIT_S = 600.0


def detector_statistics(seed: int) -> dict[str, Any]:
    """Return what cp_verify writes of one exposure and detector, in its shape and size."""
    values = {
        name: {stat: (seed + 1) * 1.234567890123 + index + number / 7 for index, stat in enumerate(STATISTICS)}
        for number, name in enumerate(AMPLIFIERS)
    }
    return {
        "AMP": values,
        "METADATA": {"READ_NOISE_ADU": {name: 4.25 + seed / 1e6 for name in AMPLIFIERS}},
        "CATALOG": {},
        "DET": {},
        "ISR": {f"{name} {stat}": seed / 3 for name in AMPLIFIERS for stat in ("MEAN", "STDEV")},
        "VERIFY": {"AMP": {name: dict.fromkeys(TESTS, True) for name in AMPLIFIERS}},
        "SUCCESS": True,
    }


def fill(path: pathlib.Path) -> list[DatasetRef]:
    """Make a repository with the statistics of a verification; return the datasets by exposure and detector."""
    plane = FocalPlane(amplifier_shape=(16, 8), overscan_columns=4, hot_pixels=0, low_pixels=0)
    create_repo(path / "repo", plane)
    with contextlib.closing(Butler.from_config(str(path / "repo"), writeable=True)) as butler:
        butler.collections.register(RUN, CollectionType.RUN)
        for detector in range(9, DETECTORS):
            record = {"instrument": INSTRUMENT, "id": detector, "full_name": f"D{detector}", "purpose": "SCIENCE"}
            butler.registry.syncDimensionData("detector", record)
        for number in range(EXPOSURES):
            register_exposure(butler, exposure(number))
        files = [
            file_of(butler, path, number, detector) for number in range(EXPOSURES) for detector in range(DETECTORS)
        ]
        butler.ingest(*files, transfer="direct")
        butler.put({FIRST: {"SUCCESS": True}, "SUCCESS": True}, RUN_TYPE, instrument=INSTRUMENT, run=RUN)
        return [file.refs[0] for file in files]


def exposure(number: int) -> ExposureRecord:
    begin = TAI_S + 10 * number
    return ExposureRecord(
        exposure_id=FIRST + number,
        obs_id=f"CC_O_20261122_{1 + number:06d}",
        day_obs=20261122,
        seq_num=1 + number,
        group_id="20261122-001-BIAS",
        image_type="BIAS",
        exposure_time_s=0.0,
        dark_time_s=0.0,
        physical_filter="r_03",
        timestamp_begin_tai_s=begin,
        timestamp_end_tai_s=begin + 1,
    )


def file_of(butler: Butler, path: pathlib.Path, number: int, detector: int) -> FileDataset:
    data_id = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=FIRST + number, detector=detector)
    file = path / f"{number}-{detector}.yaml"
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    file.write_text(yaml.dump(detector_statistics(number * DETECTORS + detector), Dumper=dumper, sort_keys=False))
    ref = DatasetRef(butler.get_dataset_type(DETECTOR_TYPE), data_id, run=RUN)
    return FileDataset(str(file), [ref], formatter=YamlFormatter)


def one_by_one(path: pathlib.Path, refs: list[DatasetRef]) -> dict[tuple[int, int], Any]:
    """Read as the service did before: Butler's own way, a dataset at a time."""
    with contextlib.closing(Butler.from_config(str(path / "repo"))) as butler:
        return {(int(ref.dataId["exposure"]), int(ref.dataId["detector"])): butler.get(ref) for ref in refs}


async def allowed() -> None:
    """The benchmark may do everything."""


async def compare(path: pathlib.Path, refs: list[DatasetRef]) -> bool:
    """Measure both, print the ratio, and return whether the service is faster and reads the same."""
    limits = Limits(**dict.fromkeys(Limits.model_fields, LIMIT_S))
    service = ButlerService(str(path / "repo"), INSTRUMENT, "LSSTComCam/raw/all", limits, allowed)
    await service.start()
    await service.missing_collections([])  # loads Butler
    before, after, same = [], [], True
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        expected = await asyncio.to_thread(one_by_one, path, refs)
        middle = time.perf_counter()
        read = (await service.statistics(RUN, StatisticsTypes(RUN_TYPE, DETECTOR_TYPE))).detectors
        before.append(middle - begin)
        after.append(time.perf_counter() - middle)
        same = same and read == expected
    await service.close()
    ratio = statistics.median(before) / statistics.median(after)
    print(f"statistics of {DETECTORS} detectors x {EXPOSURES} exposures, median of {ROUNDS}, s")
    print(f"  Butler, one by one   {statistics.median(before):8.2f}")
    print(f"  the Butler service   {statistics.median(after):8.2f}")
    print(f"  ratio                {ratio:8.1f}")
    print("  the same was read" if same else "  NOT the same was read")
    return same and ratio > 1


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder)
        raise SystemExit(0 if asyncio.run(compare(path, fill(path))) else 1)


if __name__ == "__main__":
    main()
