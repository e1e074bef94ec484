# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Verification in the replay worker belongs to the frames: their light, their noise, their faults."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import Fault, FocalPlane, Light
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES, INSTRUMENT, RAW_COLLECTION
from lsst.ts.comcamcalib.simulation.replay_verify import verify_frames
from lsst.ts.comcamcalib.simulation.repo import copy_repo, ingest_file, register_exposure

DAY = 20261122
FILTER = "r_03"
DETECTORS = (0, 4)

Products = dict[str, dict[tuple[Any, ...], Any]]
Verify = Callable[..., Products]


@pytest.fixture
def verify(template_repo: Path, small_focal_plane: FocalPlane, tmp_path: Path) -> Verify:
    """Take frames, verify them, and return the products by dataset type and data id."""
    copy_repo(template_repo, tmp_path / "repo")

    def verify(
        image_type: str,
        times_s: Sequence[float],
        lights: Mapping[int, Light] | None = None,
        faults: tuple[Fault, ...] = (),
        waves: Mapping[int, float] | None = None,
        **keywords: Any,
    ) -> Products:
        pairs = {}
        with Butler.from_config(str(tmp_path / "repo"), writeable=True) as butler:
            for seq_num, time_s in enumerate(times_s, 1):
                exposure = frame(image_type, seq_num, time_s)
                register_exposure(butler, exposure)
                light = (lights or {}).get(seq_num, Light())
                wave = (waves or {}).get(seq_num, 0.0)
                plane = dataclasses.replace(small_focal_plane, light=light, faults=faults, pickup_electrons=wave)
                for detector, file in write_exposure_files(plane, exposure, tmp_path / "raw", DETECTORS).items():
                    ingest_file(butler, exposure, detector, file)
                    pairs[exposure.exposure_id, detector] = FILTER
            products: Products = {}
            arguments = {"instrument": INSTRUMENT, "with_merged": True, **keywords}
            for name, data_id, content in verify_frames(
                f"verify{image_type.title()}", butler, [RAW_COLLECTION], pairs, **arguments
            ):
                key = tuple(value % 100_000 if isinstance(value, int) else value for value in data_id.values())
                products.setdefault(name, {})[key if name.endswith("DetStats") else key[:1]] = content
        return products

    return verify


def frame(image_type: str, seq_num: int, time_s: float) -> ExposureRecord:
    return ExposureRecord(
        exposure_id=DAY * 100_000 + seq_num,
        obs_id=f"CC_O_{DAY}_{seq_num:06d}",
        day_obs=DAY,
        seq_num=seq_num,
        group_id="g",
        image_type=image_type,
        exposure_time_s=time_s,
        dark_time_s=time_s,
        physical_filter=FILTER,
        timestamp_begin_tai_s=1_795_374_000.0 + 100 * seq_num,
        timestamp_end_tai_s=1_795_374_001.0 + 100 * seq_num,
    )


def statistic(products: Products, name: str, exposure: int, detector: int, statistic: str) -> list[float]:
    amplifiers = products[name][exposure, detector]["AMP"]
    return [amplifiers[amplifier][statistic] for amplifier in AMPLIFIER_NAMES]


@pytest.mark.parametrize("count", [1, 2, 6])
def test_sound_biases_pass_however_few_they_are(verify: Verify, count: int) -> None:
    products = verify("BIAS", [0.0] * count)
    assert products["verifyBiasStats"][()]["SUCCESS"] is True
    assert set(products["verifyBiasDetStats"]) == {(i, detector) for i in range(1, count + 1) for detector in DETECTORS}
    assert set(products["verifyBiasExpStats"][1,]) == {"R22_S00", "R22_S11", "SUCCESS"}


def test_sound_darks_of_unlike_times_pass(verify: Verify) -> None:
    products = verify("DARK", [5.0, 20.0, 20.0])
    assert products["verifyDarkStats"][()]["SUCCESS"] is True, products["verifyDarkStats"]


@pytest.mark.parametrize("times_s", [[1.0, 1.0], [5.0] * 4, [0.1, 0.1, 0.8, 0.8, 1.6, 1.6]])
def test_flats_have_the_level_of_their_exposure_times(
    verify: Verify, small_focal_plane: FocalPlane, times_s: list[float]
) -> None:
    products = verify("FLAT", times_s)
    for seq_num, time_s in enumerate(times_s, 1):
        for detector in DETECTORS:
            means = statistic(products, "verifyFlatDetStats", seq_num, detector, "MEAN")
            noises = statistic(products, "verifyFlatDetStats", seq_num, detector, "NOISE")
            expected = time_s * small_focal_plane.flat_rate
            assert means == pytest.approx([expected] * 16, rel=0.05)
            # Divided by a flat that has the same noise in it, so somewhat less than the light's own.
            assert all(0.5 < noise / math.sqrt(expected + 50) < 1.05 for noise in noises)


def test_few_flats_pass(verify: Verify) -> None:
    products = verify("FLAT", [5.0, 5.0])
    results = products["verifyFlatDetStats"].values()
    assert all(result["SUCCESS"] for result in results)
    # cp_verify's comparison of detectors, in electron, fails for all real flats.
    assert products["verifyFlatStats"][FILTER,][DAY * 100_000 + 1]["FAILURES"] == ["SCATTER"]


def test_dim_lamp_and_drifting_lamp_show_in_the_level(verify: Verify, small_focal_plane: FocalPlane) -> None:
    products = verify("FLAT", [5.0] * 3, {1: Light(lamp=0.02), 2: Light(lamp=0.95)})
    expected = {1: 0.02, 2: 0.95, 3: 1.0}
    for seq_num, lamp in expected.items():
        means = statistic(products, "verifyFlatDetStats", seq_num, 4, "MEAN")
        assert means == pytest.approx([lamp * 5.0 * small_focal_plane.flat_rate] * 16, rel=0.05)


def test_saturated_flats_have_a_full_well_and_hardly_any_noise(verify: Verify, small_focal_plane: FocalPlane) -> None:
    products = verify("FLAT", [10.0, 10.0])
    wells = small_focal_plane.truth(4).full_well
    amplifiers = products["verifyFlatDetStats"][1, 4]["AMP"]
    assert 0.9 * min(wells.values()) < amplifiers["C10"]["MEAN"] < 1.1 * max(wells.values())
    assert all(values["NOISE"] < 30 for values in amplifiers.values())


def test_lamp_that_is_off_gives_no_statistics_that_pass(verify: Verify) -> None:
    products = verify("FLAT", [5.0, 5.0], {1: Light(lamp=0.0), 2: Light(lamp=0.0)})
    assert all(not result["SUCCESS"] for result in products["verifyFlatDetStats"].values())
    assert products["verifyFlatStats"][FILTER,]["SUCCESS"] is False


def test_light_leak_shows_in_its_frame_only(verify: Verify) -> None:
    products = verify("BIAS", [0.0] * 6, {3: Light(leak_electrons=2000.0)})
    for seq_num in range(1, 7):
        means = statistic(products, "verifyBiasDetStats", seq_num, 4, "MEAN")
        assert means == pytest.approx([2000.0 if seq_num == 3 else 0.0] * 16, rel=0.1, abs=3)
    noises = statistic(products, "verifyBiasDetStats", 3, 4, "NOISE")
    assert all(noise > 30 for noise in noises), "the light has its own noise"
    run_level = products["verifyBiasStats"][()]
    assert [one for one in range(1, 7) if not run_level[DAY * 100_000 + one]["SUCCESS"]] == [3]


def test_noisy_detector_fails_and_no_other(verify: Verify) -> None:
    products = verify("BIAS", [0.0] * 3, faults=(Fault(4, 1.6),))
    for seq_num in (1, 2, 3):
        merged = products["verifyBiasExpStats"][seq_num,]
        assert merged["R22_S00"]["SUCCESS"] and not merged["R22_S11"]["SUCCESS"]
        assert {failure.split()[1] for failure in merged["R22_S11"]["FAILURES"]} >= {"NOISE"}
        assert len({failure.split()[0] for failure in merged["R22_S11"]["FAILURES"]}) == 16


@pytest.mark.parametrize("image_type", ["BIAS", "DARK"])
def test_dead_detector_leaves_nothing_and_fails(verify: Verify, image_type: str) -> None:
    products = verify(image_type, [0.0 if image_type == "BIAS" else 10.0] * 2, faults=(Fault(4, is_dead=True),))
    name = f"verify{image_type.title()}DetStats"
    for seq_num in (1, 2):
        assert statistic(products, name, seq_num, 4, "NOISE") == [0.0] * 16
        assert statistic(products, name, seq_num, 4, "MEAN") == [0.0] * 16
        tests = products[name][seq_num, 4]["VERIFY"]["AMP"]
        # As in cp_verify: no mean is below a noise of zero, but a noise of zero is not too high.
        assert all(not one["MEAN"] and one["NOISE"] and "READ_NOISE_CONSISTENT" not in one for one in tests.values())
        assert products[name][seq_num, 0]["SUCCESS"] is True


def test_dead_detector_has_no_flat_and_spoils_no_other(verify: Verify) -> None:
    products = verify("FLAT", [5.0, 5.0], faults=(Fault(4, is_dead=True),))
    for seq_num in (1, 2):
        assert products["verifyFlatDetStats"][seq_num, 0]["SUCCESS"] is True
        assert products["verifyFlatDetStats"][seq_num, 4]["SUCCESS"] is False
        assert all(math.isnan(mean) for mean in statistic(products, "verifyFlatDetStats", seq_num, 4, "MEAN"))


def test_wave_fails_its_exposure_in_all_detectors(verify: Verify) -> None:
    products = verify("BIAS", [0.0] * 4, waves={3: 40.0})
    run_level = products["verifyBiasStats"][()]
    assert [one for one in range(1, 5) if not run_level[DAY * 100_000 + one]["SUCCESS"]] == [3]
    for detector in DETECTORS:
        assert statistic(products, "verifyBiasDetStats", 3, detector, "NOISE") == pytest.approx([40.6] * 16, rel=0.2)


def test_nothing_is_merged_of_detectors_that_failed_to_run(verify: Verify) -> None:
    assert set(verify("BIAS", [0.0], with_merged=False)) == {"verifyBiasDetStats"}
