# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pipelines find the truth: real pipetask command lines on a real repository, from raw files to verdicts."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, Timespan
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import Fault, FocalPlane
from lsst.ts.comcamcalib.simulation.layout import (
    AMPLIFIER_NAMES,
    DETECTOR_NAMES,
    INSTRUMENT,
    PIPELINE_ENVIRONMENT,
    RAW_COLLECTION,
)
from lsst.ts.comcamcalib.simulation.repo import (
    CALIB_CHAIN,
    DAILY_COLLECTION,
    INITIAL_COLLECTION,
    create_repo,
    ingest_file,
    register_exposure,
)

pytestmark = pytest.mark.pipelines

RUN_PIPETASKS = Path(__file__).with_name("run_pipetasks.py")
LIMIT_S = 600.0
DAY = 20261122
PLANE = FocalPlane()
DETECTORS = range(len(DETECTOR_NAMES))


@dataclasses.dataclass
class Night:
    """A repository with a night's exposures, and the jobs that ran on them."""

    folder: Path
    plane: FocalPlane
    exposures: dict[str, list[int]] = dataclasses.field(default_factory=dict)
    lost: frozenset[int] = frozenset()
    faults: dict[str, tuple[str, float, str]] = dataclasses.field(default_factory=dict)
    """Effect, value and text of the worker's fault in a job."""

    @property
    def repo(self) -> Path:
        return self.folder / "repo"

    def observe(self, plan: Mapping[str, list[float]]) -> None:
        """Take exposures of these types and times, and ingest them, but for the lost detectors."""
        create_repo(self.repo, self.plane)
        number = 0
        with contextlib.closing(Butler.from_config(str(self.repo), writeable=True)) as butler:
            for image_type, times in plan.items():
                for seconds in times:
                    number += 1
                    exposure = _describe(image_type, seconds, number)
                    register_exposure(butler, exposure)
                    wanted = [detector for detector in DETECTORS if detector not in self.lost]
                    files = write_exposure_files(self.plane, exposure, self.folder / "raw", wanted)
                    for detector, file in files.items():
                        ingest_file(butler, exposure, detector, file)
                    self.exposures.setdefault(image_type, []).append(exposure.exposure_id)

    def command(self, job: str, pipeline: str, image_type: str, prerequisites: str = "", *options: str) -> list[str]:
        """Return the command line with which the OCPS's worker runs a pipeline."""
        variable = "CP_VERIFY_DIR" if pipeline.startswith("verify") else "CP_PIPE_DIR"
        inputs = ",".join([*(f"u/ocps/{name}" for name in prerequisites.split()), CALIB_CHAIN])
        query = f"instrument='{INSTRUMENT}' AND detector IN (0..8)"
        if image_type:
            query += f" AND exposure IN ({', '.join(map(str, self.exposures[image_type]))})"
        return [
            *("--long-log", "run", "-p", f"${{{variable}}}/pipelines/LSSTComCam/{pipeline}", "-b", str(self.repo)),
            *("-o", f"u/ocps/{job}", "-i", RAW_COLLECTION, "-i", inputs, *options),
            *("--output-run", f"u/ocps/{job}/run", "-d", query),
        ]

    def run(self, *commands: list[str]) -> list[int]:
        """Run command lines and return their exit codes."""
        jobs = [command[command.index("-o") + 1].removeprefix("u/ocps/") for command in commands]
        orders = [
            (command, str(self.folder / f"{job}.log"), self.faults.get(job))
            for command, job in zip(commands, jobs, strict=True)
        ]
        ran = subprocess.run(
            [sys.executable, str(RUN_PIPETASKS)],
            input=json.dumps(orders),
            env={**os.environ, **PIPELINE_ENVIRONMENT},
            stdout=subprocess.PIPE,
            text=True,
            timeout=LIMIT_S,
            check=True,
        )
        codes: list[int] = json.loads(ran.stdout)
        return codes

    @contextlib.contextmanager
    def butler(self, **options: Any) -> Iterator[Butler]:
        with contextlib.closing(Butler.from_config(str(self.repo), **options)) as butler:
            yield butler

    def get(self, dataset_type: str, job: str, **data_id: Any) -> Any:
        with self.butler() as butler:
            return butler.get(dataset_type, instrument=INSTRUMENT, collections=f"u/ocps/{job}/run", **data_id)

    def detectors_of(self, dataset_type: str, job: str) -> list[int]:
        with self.butler() as butler:
            refs = butler.query_datasets(dataset_type, collections=f"u/ocps/{job}/run")
        return sorted(ref.dataId["detector"] for ref in refs)


def _describe(image_type: str, seconds: float, number: int) -> ExposureRecord:
    begin = 1_795_300_000.0 + 60 * number
    return ExposureRecord(
        exposure_id=DAY * 100_000 + number,
        obs_id=f"CC_O_{DAY}_{number:06d}",
        day_obs=DAY,
        seq_num=number,
        group_id=f"{DAY}-001-{image_type}",
        image_type=image_type,
        exposure_time_s=seconds,
        dark_time_s=seconds,
        physical_filter="r_03",
        timestamp_begin_tai_s=begin,
        timestamp_end_tai_s=begin + seconds + 2,
    )


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A good night, with all products made and verified."""
    night = Night(tmp_path_factory.mktemp("night"), PLANE)
    night.observe({"BIAS": [0] * 5, "DARK": [10, 20, 30, 30], "FLAT": [0.35, 0.35, 0.8, 0.8, 1.6, 1.6]})
    command = night.command
    codes = night.run(
        command("bias", "cpBias.yaml", "BIAS"),
        command("bias-verify", "verifyBias.yaml", "BIAS", "bias"),
        command("dark", "cpDark.yaml", "DARK", "bias"),
        command("dark-verify", "verifyDark.yaml", "DARK", "dark bias"),
        command("flat", "cpFlat.yaml", "FLAT", "dark bias"),
        command("flat-verify", "verifyFlat.yaml", "FLAT", "flat dark bias"),
        command("bias-bootstrap", "cpBiasBootstrap.yaml", "BIAS"),
        command("dark-bootstrap", "cpDarkBootstrap.yaml", "DARK", "bias-bootstrap"),
        command("flat-bootstrap", "cpFlatBootstrap.yaml", "FLAT", "bias-bootstrap dark-bootstrap"),
        command("defects", "cpDefects.yaml", "", "bias-bootstrap dark-bootstrap flat-bootstrap"),
        command("ptc", "cpPtc.yaml", "FLAT", "bias dark"),
    )
    assert codes == [0] * 11, f"a job failed; its log is in {night.folder}"
    return night


@pytest.fixture(scope="module")
def faulty_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night of biases: detector 4 and one amplifier of detector 7 are noisy, detector 8 was never ingested."""
    faults = (Fault(4, 1.5, image_types=("BIAS",)), Fault(7, 1.5, amplifiers=("C03",), image_types=("BIAS",)))
    plane = dataclasses.replace(PLANE, faults=faults)
    night = Night(tmp_path_factory.mktemp("faulty"), plane, lost=frozenset({8}))
    night.observe({"BIAS": [0] * 3})
    codes = night.run(
        night.command("bias", "cpBias.yaml", "BIAS"), night.command("bias-verify", "verifyBias.yaml", "BIAS", "bias")
    )
    assert codes == [0, 0], f"a job failed; its log is in {night.folder}"
    return night


@pytest.fixture(scope="module")
def aged_night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    """A night with a dead detector (0), one whose gain has drifted (1) and a new hot column (2), with six detectors.

    The darks' verification lacks detector 3, and that of the biases garbles the statistics of detector 5.
    """
    faults = (
        Fault(0, is_dead=True),
        Fault(1, gain_factor=1.06),
        Fault(2, amplifiers=("C12",), hot_column_rate=40.0),
    )
    plane = dataclasses.replace(PLANE, faults=faults)
    night = Night(tmp_path_factory.mktemp("aged"), plane, lost=frozenset({6, 7, 8}))
    night.faults = {"bias-verify": ("garble", 5, ""), "dark-verify": ("no_work", 3, "")}
    night.observe({"BIAS": [0] * 4, "DARK": [20] * 2, "FLAT": [0.8, 0.8, 1.6, 1.6]})
    command = night.command
    codes = night.run(
        command("bias", "cpBias.yaml", "BIAS"),
        command("bias-verify", "verifyBias.yaml", "BIAS", "bias"),
        command("dark", "cpDark.yaml", "DARK", "bias"),
        command("dark-verify", "verifyDark.yaml", "DARK", "dark bias"),
        command("flat", "cpFlat.yaml", "FLAT", "dark bias"),
        command("bias-bootstrap", "cpBiasBootstrap.yaml", "BIAS"),
        command("dark-bootstrap", "cpDarkBootstrap.yaml", "DARK", "bias-bootstrap"),
        command("flat-bootstrap", "cpFlatBootstrap.yaml", "FLAT", "bias-bootstrap dark-bootstrap"),
        command("defects", "cpDefects.yaml", "", "bias-bootstrap dark-bootstrap flat-bootstrap"),
        command("ptc", "cpPtc.yaml", "FLAT", "bias dark"),
    )
    assert codes == [0] * 10, f"a job failed; its log is in {night.folder}"
    return night


@pytest.mark.parametrize(
    ("dataset_type", "job"),
    [("bias", "bias"), ("dark", "dark"), ("flat", "flat"), ("defects", "defects"), ("ptc", "ptc")],
)
def test_each_detector_has_its_product(night: Night, dataset_type: str, job: str) -> None:
    assert night.detectors_of(dataset_type, job) == list(DETECTORS)


@pytest.mark.parametrize("detector", DETECTORS)
def test_bias_is_the_detectors_structure(night: Night, detector: int) -> None:
    truth, layout = PLANE.truth(detector), PLANE.layout
    residual = night.get("bias", "bias", detector=detector).image.array.copy()
    for name in AMPLIFIER_NAMES:
        section = layout.image_section(name)
        residual[section] -= truth.bias_pattern[section] * truth.gain[name]
        noise = truth.read_noise[name] / np.sqrt(5)
        assert residual[section].std() == pytest.approx(noise, rel=0.05)
        assert abs(residual[section].mean()) < 0.25


@pytest.mark.parametrize("detector", DETECTORS)
def test_dark_is_the_dark_current(night: Night, detector: int) -> None:
    truth = PLANE.truth(detector)
    dark = night.get("dark", "dark", detector=detector).image.array
    hot = np.zeros(dark.shape, bool)
    for x, y in truth.hot_pixels:
        hot[y, x] = True
    assert dark[~hot].mean() == pytest.approx(truth.dark_rate[~hot].mean(), rel=0.05)
    assert dark[hot] == pytest.approx(truth.dark_rate[hot], rel=0.2)
    assert dark[~hot].max() < 4.0, "a cosmic ray got through"


def test_flat_is_the_response(night: Night) -> None:
    mean_response = np.mean([PLANE.truth(detector).response.mean() for detector in DETECTORS])
    for detector in DETECTORS:
        flat = night.get("flat", "flat", detector=detector, physical_filter="r_03").image.array
        ratio = flat / (PLANE.truth(detector).response / mean_response)
        assert ratio.mean() == pytest.approx(1, abs=2e-3)
        # 1.5 s x 15,000 electron/s x 2 and less give 0.43 % of photon noise; the pixels' own spread is 0.8 %.
        assert ratio.std() < 0.006


@pytest.mark.parametrize("detector", DETECTORS)
def test_gain_and_read_noise_are_the_true_ones(night: Night, detector: int) -> None:
    truth, ptc = PLANE.truth(detector), night.get("ptc", "ptc", detector=detector)
    assert ptc.badAmps == []
    assert ptc.gain == pytest.approx(truth.gain, rel=0.02)
    assert ptc.noise == pytest.approx(truth.read_noise, rel=0.05)


def test_pairs_are_under_the_first_exposures_id(night: Night) -> None:
    with night.butler() as butler:
        refs = butler.query_datasets("cpPtcPartial", collections="u/ocps/ptc/run")
    flats = night.exposures["FLAT"]
    assert {ref.dataId["exposure"] for ref in refs} == set(flats[::2])
    pair = night.get("cpPtcPartial", "ptc", exposure=flats[2], detector=5)
    assert pair.inputExpIdPairs["C10"] == [flats[2:4]]
    assert pair.gain == pytest.approx(PLANE.truth(5).gain, rel=0.08)


@pytest.mark.parametrize("detector", DETECTORS)
def test_every_bad_pixel_is_among_the_defects_and_few_others(night: Night, detector: int) -> None:
    truth = PLANE.truth(detector)
    defects = night.get("defects", "defects", detector=detector)
    mask = defects.to_mask(PLANE.layout.image_shape)
    injected = {*truth.hot_pixels, *truth.low_pixels}
    assert [place for place in injected if not mask[place[1], place[0]]] == []
    assert sum(defect.getBBox().getArea() for defect in defects) <= len(injected) + 3


@pytest.mark.parametrize("kind", ["Bias", "Dark"])
def test_good_frames_pass_verification(night: Night, kind: str) -> None:
    statistics = night.get(f"verify{kind}Stats", f"{kind.lower()}-verify")
    expected = {exposure: {"SUCCESS": True} for exposure in night.exposures[kind.upper()]}
    assert statistics == {**expected, "SUCCESS": True}


def test_good_flats_pass_but_for_the_scatter_in_electrons_that_none_passes(night: Night) -> None:
    statistics = night.get("verifyFlatStats", "flat-verify", physical_filter="r_03")
    assert statistics.pop("SUCCESS") is False
    assert statistics == {exposure: {"SUCCESS": False, "FAILURES": ["SCATTER"]} for exposure in night.exposures["FLAT"]}
    brightest = night.get("verifyFlatExpStats", "flat-verify", exposure=night.exposures["FLAT"][-1])
    assert all(brightest[name] == {"SUCCESS": True} for name in DETECTOR_NAMES)
    assert brightest["VERIFY"] == {"EXP": {"SCATTER": False}}


def test_job_uses_the_uncertified_products_of_the_run(night: Night) -> None:
    header = night.get("flat.metadata", "flat", detector=3, physical_filter="r_03")
    assert header["LSST CALIB RUN BIAS"] == "u/ocps/bias/run"
    assert header["LSST CALIB RUN DARK"] == "u/ocps/dark/run"
    assert header["LSST CALIB RUN PTC"] == f"{INITIAL_COLLECTION}/run"
    with night.butler() as butler:
        bias = butler.find_dataset("bias", instrument=INSTRUMENT, detector=3, collections="u/ocps/bias/run")
    assert bias is not None and header["LSST CALIB UUID BIAS"] == str(bias.id)


def test_certified_product_is_what_the_procedure_gets(night: Night) -> None:
    exposure = night.exposures["DARK"][0]
    with night.butler(writeable=True) as butler:
        refs = butler.query_datasets("bias", collections="u/ocps/bias/run")
        butler.registry.certify(DAILY_COLLECTION, refs, Timespan(None, None))
        bias = butler.get("bias", instrument=INSTRUMENT, detector=0, exposure=exposure, collections=CALIB_CHAIN)
    assert [bias.metadata[f"CPP_INPUT_{index}"] for index in range(5)] == night.exposures["BIAS"]


def test_options_reach_the_tasks_and_misspelt_ones_fail_the_job(night: Night) -> None:
    codes = night.run(
        night.command("bias-median", "cpBias.yaml", "BIAS", "", "-c", "cpBiasCombine:combine=MEDIAN"),
        night.command("bias-label", "cpBias.yaml", "BIAS", "", "-c", "isr:doDefect=False"),
        night.command("bias-field", "cpBias.yaml", "BIAS", "", "-c", "cpBiasCombine:combin=MEDIAN"),
        night.command("gain", "cpPtc.yaml#cpPtcGainFromFlatPairs", "FLAT", "", "-c", "cpPtcIsr:doDefect=False"),
    )
    assert codes == [0, 1, 1, 0]
    median, mean = (night.get("bias", job, detector=2).image.array for job in ("bias-median", "bias"))
    assert not np.array_equal(median, mean)
    assert median.mean() == pytest.approx(mean.mean(), abs=0.05)
    assert len(night.detectors_of("cpPtcPartial", "gain")) == 3 * 9
    with night.butler() as butler:
        assert butler.query_datasets("ptc", collections="u/ocps/gain/run", explain=False) == []


def test_noisy_detector_fails_noise_in_all_its_amplifiers(faulty_night: Night) -> None:
    for exposure in faulty_night.exposures["BIAS"]:
        statistics = faulty_night.get("verifyBiasExpStats", "bias-verify", exposure=exposure)
        failures = statistics["R22_S11"]["FAILURES"]
        assert {failure for failure in failures if failure.endswith(" NOISE")} == {
            f"{a} NOISE" for a in AMPLIFIER_NAMES
        }
        assert {failure.split()[1] for failure in failures} == {"NOISE", "READ_NOISE_CONSISTENT"}


def test_noisy_amplifier_fails_there_and_nowhere_else(faulty_night: Night) -> None:
    statistics = faulty_night.get("verifyBiasStats", "bias-verify")
    for exposure in faulty_night.exposures["BIAS"]:
        others = [failure for failure in statistics[exposure]["FAILURES"] if not failure.startswith("R22_S11 ")]
        assert others == ["R22_S21 C03 NOISE", "R22_S21 C03 READ_NOISE_CONSISTENT"]


def test_detector_that_was_not_ingested_is_missing(faulty_night: Night) -> None:
    assert faulty_night.detectors_of("bias", "bias") == list(range(8))
    exposure = faulty_night.exposures["BIAS"][0]
    statistics = faulty_night.get("verifyBiasExpStats", "bias-verify", exposure=exposure)
    assert set(statistics) == {*DETECTOR_NAMES[:8], "SUCCESS"}


def test_dead_detector_gives_empty_products_and_leaves_the_others_alone(aged_night: Night) -> None:
    assert not aged_night.get("bias", "bias", detector=0).image.array.any()
    statistics = aged_night.get("verifyBiasExpStats", "bias-verify", exposure=aged_night.exposures["BIAS"][0])
    assert {failure.split()[1] for failure in statistics["R22_S00"]["FAILURES"]} == {"MEAN", "CR_NOISE"}
    assert statistics["R22_S01"] == {"SUCCESS": True}
    ptc = aged_night.get("ptc", "ptc", detector=0)
    assert ptc.badAmps == list(AMPLIFIER_NAMES) and np.isnan(list(ptc.gain.values())).all()
    flat = aged_night.get("flat", "flat", detector=4, physical_filter="r_03").image.array
    assert np.isfinite(flat).mean() > 0.999 and np.nanmean(flat) == pytest.approx(1, abs=0.05)
    assert aged_night.get("defects", "defects", detector=0).to_mask(PLANE.layout.image_shape).all()


def test_gain_that_has_drifted_is_measured_and_shows_in_the_flat(aged_night: Night) -> None:
    truth = PLANE.truth(1)
    measured = aged_night.get("ptc", "ptc", detector=1).gain
    ratios = [measured[name] / truth.gain[name] for name in AMPLIFIER_NAMES]
    assert np.median(ratios) == pytest.approx(1.06, abs=0.01)
    flat = aged_night.get("flat", "flat", detector=1, physical_filter="r_03").image.array
    other = aged_night.get("flat", "flat", detector=4, physical_filter="r_03").image.array
    expected = truth.response.mean() / PLANE.truth(4).response.mean() / 1.06
    assert np.nanmean(flat) / np.nanmean(other) == pytest.approx(expected, rel=3e-3)


def test_new_hot_column_is_among_the_defects(aged_night: Night) -> None:
    layout = PLANE.layout
    mask = aged_night.get("defects", "defects", detector=2).to_mask(layout.image_shape)
    column = mask[layout.image_section("C12")][:, layout.amplifier_columns // 3]
    assert column.all()
    assert mask.sum() < column.sum() + 40
    dark = aged_night.get("dark", "dark", detector=2).image.array[layout.image_section("C12")]
    # Pixels of equal brightness in a row are taken for a cosmic ray.
    assert np.isnan(dark[:, layout.amplifier_columns // 3]).all()
    bootstrap = aged_night.get("darkBootstrap", "dark-bootstrap", detector=2).image.array[layout.image_section("C12")]
    rate = np.median(bootstrap[:, layout.amplifier_columns // 3]) * PLANE.truth(2).gain["C12"]
    assert rate == pytest.approx(40.0, rel=0.05)


def test_detector_without_work_is_absent_from_a_verification_that_succeeds(aged_night: Night) -> None:
    assert set(aged_night.detectors_of("verifyDarkDetStats", "dark-verify")) == {0, 1, 2, 4, 5}
    statistics = aged_night.get("verifyDarkExpStats", "dark-verify", exposure=aged_night.exposures["DARK"][1])
    assert set(statistics) == {*(DETECTOR_NAMES[detector] for detector in (0, 1, 2, 4, 5)), "SUCCESS"}


def test_garbled_statistics_are_those_of_one_detector_and_nobody_notices(aged_night: Night) -> None:
    exposures = aged_night.exposures["BIAS"]
    sound, garbled = (
        [aged_night.get("verifyBiasDetStats", "bias-verify", exposure=one, detector=number) for one in exposures]
        for number in (4, 5)
    )
    assert sum("METADATA" not in one for one in garbled) == 1
    assert sum("SCHEMA" in one for one in garbled) == 1
    assert all(set(one) == {"AMP", "CATALOG", "DET", "VERIFY", "SUCCESS", "METADATA"} for one in sound)
    merged = aged_night.get("verifyBiasExpStats", "bias-verify", exposure=exposures[0])
    assert merged[DETECTOR_NAMES[5]] == {"SUCCESS": True}


def test_ptc_is_verified_against_the_camera(aged_night: Night) -> None:
    assert aged_night.run(aged_night.command("ptc-verify", "verifyPtc.yaml", "FLAT", "ptc dark bias")) == [0]
    statistics = aged_night.get("verifyPtcStats", "ptc-verify")
    assert set(statistics) == {*DETECTOR_NAMES[:6], "SUCCESS"}
    failed = {name: {one.split()[1] for one in statistics[name].get("FAILURES", [])} for name in DETECTOR_NAMES[:6]}
    # 24,000 electrons, the brightest flats, are no turn-off.
    assert failed[DETECTOR_NAMES[4]] <= {"PTC_TURNOFF", "PTC_NOISE"} and "PTC_TURNOFF" in failed[DETECTOR_NAMES[4]]
    assert "PTC_GAIN" in failed[DETECTOR_NAMES[1]]
    assert failed[DETECTOR_NAMES[0]] == {"PTC_GAIN", "PTC_NOISE", "NOISE_SIGNAL_INDEPENDENCE", "PTC_TURNOFF"}
    of_one = aged_night.get("verifyPtcDetStats", "ptc-verify", detector=4)
    assert len(of_one["AMP"]["C10"]["PTC_RAW_MEANS"]) == 2


def test_defects_are_verified_in_single_exposures_but_not_merged_without_visits(aged_night: Night) -> None:
    single = "verifyDefects.yaml#verifyDefectsIsr,verifyUncorrectedDefectsIsr,verifyDefectsDet"
    codes = aged_night.run(
        aged_night.command("defects-verify", "verifyDefects.yaml", "DARK", "defects flat dark bias"),
        aged_night.command("defects-single", single, "DARK", "defects flat dark bias"),
    )
    assert codes == [1, 0]
    assert "QuantumGraph was empty" in (aged_night.folder / "defects-verify.log").read_text()
    exposure = aged_night.exposures["DARK"][0]
    statistics = aged_night.get("verifyDefectsDetStats", "defects-single", exposure=exposure, detector=2)
    assert statistics["AMP"]["C12"]["DEFECT_PIXELS"] >= 128, "the hot column is masked"
    assert all(tests["MIN"] and tests["MAX"] for tests in statistics["VERIFY"]["AMP"].values())
    with aged_night.butler() as butler:
        assert butler.query_datasets("verifyDefectsStats", collections="*", find_first=False, explain=False) == []


def test_gains_of_pairs_can_not_be_verified(aged_night: Night) -> None:
    pairs = aged_night.exposures["FLAT"][::2]
    one = aged_night.command("gain-verify-one", "verifyGainFromFlatPairs.yaml", "FLAT", "ptc")
    one[-1] = f"instrument='{INSTRUMENT}' AND exposure = {pairs[0]}"
    codes = aged_night.run(aged_night.command("gain-verify", "verifyGainFromFlatPairs.yaml", "FLAT", "ptc"), one)
    assert codes == [1, 1]
    assert "KeyError: 'exposure'" in (aged_night.folder / "gain-verify-one.log").read_text()
