# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Recordings keep what matters of real products, and fit other exposures and detectors."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.simulation.batch import STEPS
from lsst.ts.comcamcalib.simulation.containers import Box, Defect, Defects, Exposure
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord
from lsst.ts.comcamcalib.simulation.layout import INSTRUMENT, PIPELINE_ENVIRONMENT
from lsst.ts.comcamcalib.simulation.recording import RECORDED, Recording, decode, fit, record, unpack
from lsst.ts.comcamcalib.simulation.replay_verify import VERIFICATIONS
from lsst.ts.comcamcalib.simulation.replay_verify_products import PRODUCT_VERIFICATIONS
from lsst.ts.comcamcalib.simulation.repo import copy_repo, register_exposure
from lsst.ts.comcamcalib.simulation.worker import pipeline_name


def add_exposure(butler: Butler, seq_num: int) -> int:
    exposure = ExposureRecord(
        exposure_id=2026112200000 + seq_num,
        obs_id=f"CC_O_20261122_{seq_num:06d}",
        day_obs=20261122,
        seq_num=seq_num,
        group_id="g",
        image_type="BIAS",
        exposure_time_s=0.0,
        dark_time_s=0.0,
        physical_filter="r_03",
        timestamp_begin_tai_s=1_795_374_000.0 + seq_num,
        timestamp_end_tai_s=1_795_374_000.0 + seq_num,
    )
    register_exposure(butler, exposure)
    return exposure.exposure_id


@pytest.fixture
def repo(template_repo: Path, tmp_path: Path) -> Path:
    copy_repo(template_repo, tmp_path / "repo")
    return tmp_path / "repo"


def test_recorded_job_is_read_back_as_it_was(repo: Path, tmp_path: Path) -> None:
    image = np.linspace(-1, 50, 64 * 128, dtype=np.float32).reshape(64, 128)
    image[3, 5] = np.nan
    statistics = {"AMP": {"C10": {"MEAN": 0.123456789, "NOISE": float("nan")}}, "SUCCESS": False}
    with Butler.from_config(str(repo), writeable=True) as butler:
        exposures = [add_exposure(butler, seq_num) for seq_num in (7, 3)]
        run = "u/ocps/j/run"
        butler.collections.register(run)
        for dataset_type, data_id, product in [
            ("bias", {"detector": 4}, Exposure.from_array(image, {"CPP_INPUT_0": exposures[1], "DETNUM": 4})),
            ("cpBiasIsrExp", {"detector": 4, "exposure": exposures[0]}, Exposure.from_array(image, {})),
            ("cpBiasIsrExp", {"detector": 4, "exposure": exposures[1]}, Exposure.from_array(image, {})),
            ("defects", {"detector": 4}, Defects([Defect(Box(3, 4, 5, 6))], {"DETNAME": "R22_S11"})),
            ("verifyBiasDetStats", {"detector": 4, "exposure": exposures[0]}, statistics),
            ("verifyBiasStats", {}, {exposure: {"SUCCESS": True} for exposure in exposures} | {"SUCCESS": True}),
        ]:
            butler.put(product, dataset_type, instrument=INSTRUMENT, run=run, **data_id)
        path = record(butler, "u/ocps/j", "cpTest#part", tmp_path)
    assert path == tmp_path / "cpTest.part.json"
    recording = Recording.load("cpTest#part", tmp_path)
    assert recording.exposures == 2
    contents = {item.dataset_type: item for item in recording.datasets}
    assert set(contents) == {"bias", "defects", "verifyBiasDetStats", "verifyBiasStats"}  # no image of one exposure
    assert contents["verifyBiasDetStats"].data_id == {"detector": 4, "exposure": 1}
    new = [5000, 6000]
    bias = decode(contents["bias"].content, new.__getitem__)
    assert bias["metadata"]["CPP_INPUT_0"] == 5000
    assert bias["metadata"]["DETNUM"] == 4
    unpacked = unpack(bias["image"])
    assert unpacked.shape == image.shape
    assert np.nanmax(np.abs(unpacked - image)) < 10  # binned: a gradient of 51 over 64 rows
    assert abs(float(unpacked.mean()) - float(np.nanmean(image))) < 0.01
    assert Defects.from_dict(contents["defects"].content)[0].box == Box(3, 4, 5, 6)
    of_detector = decode(contents["verifyBiasDetStats"].content, new.__getitem__)
    assert of_detector["AMP"]["C10"]["MEAN"] == pytest.approx(0.123457, abs=1e-9)
    assert np.isnan(of_detector["AMP"]["C10"]["NOISE"])
    assert fit(contents["verifyBiasStats"].content, 2, new) == {
        5000: {"SUCCESS": True},
        6000: {"SUCCESS": True},
        "SUCCESS": True,
    }


def test_job_without_output_cannot_be_recorded(repo: Path, tmp_path: Path) -> None:
    with Butler.from_config(str(repo), writeable=True) as butler:
        butler.collections.register("u/ocps/j/run")
        with pytest.raises(ValueError, match="nothing to record in u/ocps/j/run"):
            record(butler, "u/ocps/j", "cpBias", tmp_path)


def test_text_that_looks_like_an_exposure_is_refused(repo: Path, tmp_path: Path) -> None:
    with Butler.from_config(str(repo), writeable=True) as butler:
        butler.collections.register("u/ocps/j/run")
        butler.put({"note": "@E1"}, "verifyBiasStats", instrument=INSTRUMENT, run="u/ocps/j/run")
        with pytest.raises(ValueError, match="begins with @"):
            record(butler, "u/ocps/j", "cpBias", tmp_path)


def test_exposures_other_than_recorded_take_those_in_turn() -> None:
    content = {"@E0": {"level": 1}, "@E1": {"level": 2}, "unit": "electron"}
    assert fit(content, 2, [10, 20, 30]) == {
        10: {"level": 1},
        20: {"level": 2},
        30: {"level": 1},
        "unit": "electron",
    }
    assert fit(content, 2, [10]) == {10: {"level": 1}, "unit": "electron"}


def test_pairs_and_number_keys_survive() -> None:
    content = {"inputExpIdPairs": {"C10": [["@E0", "@E1"], ["@E2", "@E3"]]}, "expScale": {"@E0": {"@I4": {"C10": 1.5}}}}
    fitted = fit(content, 4, [10, 20, 30, 40])
    assert fitted == {"inputExpIdPairs": {"C10": [[10, 20], [30, 40]]}, "expScale": {10: {4: {"C10": 1.5}}}}


def test_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no recording of pipeline 'cpNothing'"):
        Recording.load("cpNothing", tmp_path)


@pytest.mark.parametrize("pipeline", [pipeline_name(step.url) for step in STEPS])
def test_shipped_recording_is_whole(pipeline: str) -> None:
    recording = Recording.load(pipeline)
    assert recording.exposures == (
        0 if pipeline == "cpDefects" else 14 if "lat" in pipeline or "Ptc" in pipeline else 6
    )
    of_type: dict[str, set[int | str]] = {}
    for item in recording.datasets:
        of_type.setdefault(item.dataset_type, set()).add(item.data_id.get("detector", "all"))
    assert of_type
    assert all(detectors in ({"all"}, set(range(9))) for detectors in of_type.values())


def test_every_pipeline_but_the_verifications_has_a_shipped_recording_and_they_are_small() -> None:
    steps = {pipeline_name(step.url) for step in STEPS}
    files = [
        path.stem for root in PIPELINE_ENVIRONMENT.values() for path in Path(root).glob("pipelines/LSSTComCam/*.yaml")
    ]
    assert {name for name in steps if "#" not in name} == set(files) - {*VERIFICATIONS, *PRODUCT_VERIFICATIONS}
    paths = list(RECORDED.iterdir())
    assert {path.name for path in paths} == {f"{name.replace('#', '.')}.json" for name in steps}
    assert sum(path.stat().st_size for path in paths) < 2_000_000
    assert all(json.loads(path.read_text())["datasets"] for path in paths)
