# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Products are measured and compared with what is certified, through a real Butler."""

from __future__ import annotations

import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from lsst.daf.butler import Butler
from lsst.resources import ResourcePath
from lsst.ts.comcamcalib.butler_data import DetectorValues
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.services.frame_files import image_shape, read_combined, read_image
from lsst.ts.comcamcalib.simulation.containers import Box, Defect, Defects, Exposure, PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.layout import AMPLIFIER_NAMES
from support.small_repository import BIASES, CHAIN, DAILY, FLATS_R, certify_request, run_job

ROWS = [[f"C{row}{column}" for column in range(8)] for row in (0, 1)]
SHAPE = (32, 64)  # of the detectors in the small repository: two rows of eight amplifiers of 16 x 8


def exposure(value: float, seed: int = 1, shape: tuple[int, int] = SHAPE) -> Exposure:
    pixels = np.random.default_rng(seed).normal(value, 0.5, shape)
    return Exposure.from_array(pixels.astype(np.float32), {})


def values_of(found: DetectorValues, quantity: str) -> dict[str, float]:
    return {one.amplifier: one.value for one in (*found.values, *found.changes) if one.quantity == quantity}


# Predecessors


async def test_what_is_certified_first_in_the_chain_is_the_predecessor(service: ButlerService, butler: Butler) -> None:
    ids = run_job(butler, "b1", [], [("bias", {"detector": one}, exposure(1.0)) for one in (0, 4)])
    before = await service.predecessors("bias", [DAILY, CHAIN], BIASES[0], "", ())
    assert {one.collection for one in before.values()} == {"LSSTComCam/calib/initial"}
    await service.certify(certify_request("b1", ids))
    now = await service.predecessors("bias", [DAILY, CHAIN], BIASES[0], "", ())
    assert (now[0].dataset_id, now[0].collection) == (ids[0], DAILY)
    assert (now[4].dataset_id, now[4].collection) == (ids[1], DAILY)
    assert now[8] == before[8]


async def test_runs_own_datasets_are_no_predecessors(service: ButlerService, butler: Butler) -> None:
    """After an interruption the run's own product may be certified already."""
    ids = run_job(butler, "b2", [], [("bias", {"detector": 4}, exposure(1.0))])
    before = await service.predecessors("bias", [DAILY, CHAIN], BIASES[0], "", ())
    await service.certify(certify_request("b2", ids))
    assert await service.predecessors("bias", [DAILY, CHAIN], BIASES[0], "", ids) == before


async def test_only_the_filter_of_the_flat_counts(service: ButlerService) -> None:
    assert len(await service.predecessors("flat", [CHAIN], FLATS_R[0], "r_03", ())) == 9
    assert await service.predecessors("flat", [CHAIN], FLATS_R[0], "i_06", ()) == {}


@pytest.mark.parametrize(("dataset_type", "collections"), [("bias", ["no/such"]), ("bias", []), ("nonsense", [CHAIN])])
async def test_where_nothing_is_certified_there_is_no_predecessor(
    service: ButlerService, dataset_type: str, collections: list[str]
) -> None:
    assert await service.predecessors(dataset_type, collections, BIASES[0], "", ()) == {}


async def test_time_of_an_unknown_exposure_is_not_guessed(service: ButlerService) -> None:
    with pytest.raises(ServiceError, match="does not know exposure 2026112299999"):
        await service.predecessors("bias", [CHAIN], 2026112299999, "", ())


# Frames


async def test_frame_is_measured_beside_its_predecessor(service: ButlerService, butler: Butler) -> None:
    frame, before = exposure(3.0), exposure(1.0, seed=2)
    frame.image.array[0:16, 8] += 50.0  # a column of C01, which is in the lower row
    ids = run_job(butler, "m1", [], [("bias", {"detector": 4}, frame), ("bias", {"detector": 5}, before)])
    found = await service.product_values(CalibType.BIAS, ids[:1], ROWS, ids[1])
    levels = values_of(found, "level")
    assert set(levels) == set(AMPLIFIER_NAMES)
    assert levels == pytest.approx(dict.fromkeys(AMPLIFIER_NAMES, 3.0), abs=0.3)
    assert {one.quantity for one in found.before} == {"level", "noise"}
    assert statistics.median(one.value for one in found.before if one.quantity == "level") == pytest.approx(
        1.0, abs=0.1
    )
    changed = {name: one for name, one in values_of(found, "changed_fraction").items() if one}
    assert changed == {"C01": 1 / 8}


async def test_frame_without_predecessor_is_only_measured(service: ButlerService, butler: Butler) -> None:
    ids = run_job(butler, "m2", [], [("dark", {"detector": 4}, exposure(0.1))])
    found = await service.product_values(CalibType.DARK, ids, ROWS)
    assert (found.before, found.changes, found.not_compared) == ((), (), "")
    assert {one.unit for one in found.values} == {"electron/second"}


async def test_frame_of_another_size_is_not_compared_and_that_is_said(service: ButlerService, butler: Butler) -> None:
    frames = [("bias", {"detector": 4}, exposure(1.0)), ("bias", {"detector": 5}, exposure(1.0, shape=(16, 64)))]
    ids = run_job(butler, "m3", [], frames)
    found = await service.product_values(CalibType.BIAS, ids[:1], ROWS, ids[1])
    assert found.not_compared == "It has 32 x 64 pixels, the certified one 16 x 64."
    assert found.values and not found.before and not found.changes


async def test_file_that_is_gone_is_named(service: ButlerService, butler: Butler) -> None:
    ids = run_job(butler, "m4", [], [("bias", {"detector": 4}, exposure(1.0))])
    ref = butler.query_datasets("bias", "u/ocps/m4/run")[0]
    Path(butler.getURI(ref).ospath).unlink()
    with pytest.raises(ServiceError, match=r"bias_LSSTComCam_\S*\.fits could not be read as FITS: FileNotFoundError"):
        await service.product_values(CalibType.BIAS, ids, ROWS)


async def test_dataset_that_is_gone_is_named(service: ButlerService) -> None:
    gone = "0195f0b8-0000-7000-8000-000000000000"
    with pytest.raises(ServiceError, match=f"does not have the dataset {gone} any more"):
        await service.product_values(CalibType.PTC, [gone], ROWS)


async def test_layout_that_does_not_fit_is_said(service: ButlerService, butler: Butler) -> None:
    ids = run_job(butler, "m5", [], [("bias", {"detector": 4}, exposure(1.0))])
    with pytest.raises(ServiceError, match="can't be divided into 2 rows of 7 and 7 amplifiers"):
        await service.product_values(CalibType.BIAS, ids, [row[:7] for row in ROWS])


# Files as the science pipelines write them


@pytest.fixture
def exposure_f(tmp_path: Path) -> ResourcePath:
    """A file in the form of an ExposureF: extensions without loss, and a table after them."""
    pixels = np.arange(48, dtype=np.float32).reshape(6, 8)
    pixels[2, 3] = np.nan
    hdus = [
        fits.PrimaryHDU(),
        fits.CompImageHDU(pixels, name="IMAGE", compression_type="GZIP_2", quantize_level=0.0),
        fits.CompImageHDU(np.zeros((6, 8), np.int32), name="MASK", compression_type="GZIP_2"),
        fits.CompImageHDU(np.ones((6, 8), np.float32), name="VARIANCE", compression_type="GZIP_2", quantize_level=0.0),
        fits.BinTableHDU.from_columns([fits.Column("id", "J", array=np.arange(3))], name="ARCHIVE_INDEX"),
    ]
    fits.HDUList(hdus).writeto(tmp_path / "bias.fits")
    return ResourcePath(tmp_path / "bias.fits")


def test_exposure_f_is_read_without_the_science_pipelines(exposure_f: ResourcePath) -> None:
    pixels = read_image(exposure_f)
    assert pixels.dtype == np.float32
    assert math.isnan(pixels[2, 3])
    assert (pixels[0, 7], pixels[5, 0]) == (7.0, 40.0)
    assert image_shape(exposure_f) == (6, 8)


@pytest.mark.parametrize(
    ("cards", "scales"),
    [
        ({}, ()),
        ({"OBSTYPE": "bias", "NCOMB": 2}, ()),
        ({"CPP_INPUT_0": 11, "CPP_INPUT_SCALE_0": 1.0, "CPP_INPUT_1": 12, "CPP_INPUT_SCALE_1": 1}, (1.0, 1.0)),
        (
            {
                **{f"CPP_INPUT_{one}": 2026112200001 + one for one in range(11)},
                **{f"CPP_INPUT_DATE_{one}": "2026-11-22" for one in range(11)},
                **{f"CPP_INPUT_SCALE_{one}": 20.0 + one for one in range(11)},
            },
            tuple(20.0 + one for one in range(11)),
        ),
        ({"CPP_INPUT_0": 11, "CPP_INPUT_1": 12, "CPP_INPUT_SCALE_1": "?"}, (None, None)),
    ],
)
def test_header_says_of_which_exposures_a_frame_is_made(
    tmp_path: Path, cards: dict[str, object], scales: tuple[float | None, ...]
) -> None:
    """In the primary header, where the science pipelines write it."""
    header = fits.Header([(f"HIERARCH {key}" if len(key) > 8 else key, value) for key, value in cards.items()])
    hdus = [fits.PrimaryHDU(header=header), fits.ImageHDU(np.ones((2, 3), np.float32), name="IMAGE")]
    fits.HDUList(hdus).writeto(tmp_path / "bias.fits")
    pixels, found = read_combined(ResourcePath(tmp_path / "bias.fits"))
    assert pixels.shape == (2, 3)
    assert tuple(None if math.isnan(one) else one for one in found) == scales


async def test_depth_of_a_frame_is_measured_beside_that_of_its_predecessor(
    service: ButlerService, butler: Butler
) -> None:
    frames = [exposure(1.0), exposure(1.0, seed=2)]
    for frame, number in zip(frames, (3, 20), strict=True):
        frame.metadata.update({f"CPP_INPUT_{one}": one for one in range(number)})
        frame.metadata.update({f"CPP_INPUT_SCALE_{one}": 15.0 for one in range(number)})
    ids = run_job(
        butler, "m6", [], [("dark", {"detector": one}, frame) for one, frame in zip((4, 5), frames, strict=True)]
    )
    found = await service.product_values(CalibType.DARK, ids[:1], ROWS, ids[1])
    depth = [
        [(one.quantity, one.value, one.unit) for one in some if not one.amplifier]
        for some in (found.values, found.before)
    ]
    assert depth == [
        [("exposures", 3.0, ""), ("exposure_sum", 45.0, "second")],
        [("exposures", 20.0, ""), ("exposure_sum", 300.0, "second")],
    ]


def test_file_without_an_image_is_refused(tmp_path: Path) -> None:
    table = fits.BinTableHDU.from_columns([fits.Column("id", "J", array=np.arange(3))])
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "no.fits")
    with pytest.raises(ServiceError, match=r"no\.fits has no image of rows and columns"):
        read_image(ResourcePath(tmp_path / "no.fits"))
    (tmp_path / "broken.fits").write_bytes(b"\0" * 100)
    with pytest.raises(ServiceError, match=r"broken\.fits could not be read as FITS"):
        image_shape(ResourcePath(tmp_path / "broken.fits"))


# Defects, curves and pairs


def defects(*boxes: Box) -> Defects:
    return Defects(Defect(one) for one in boxes)


async def test_defects_are_measured_in_the_size_of_the_jobs_image(service: ButlerService, butler: Butler) -> None:
    column, pixel = Box(8, 0, 1, 16), Box(63, 31, 1, 1)
    now = run_job(
        butler,
        "d1",
        [],
        [("biasBootstrap", {"detector": 4}, exposure(0.0)), ("defects", {"detector": 4}, defects(column, pixel))],
    )
    before = run_job(butler, "d2", [], [("defects", {"detector": 4}, defects(pixel))])
    found = await service.product_values(CalibType.DEFECTS, now[1:], ROWS, before[0])
    assert values_of(found, "defect_fraction") == {"": 17 / 2048}
    assert values_of(found, "new_fraction") == {"": 16 / 2048}
    assert values_of(found, "new_columns") == {"": 1.0}
    assert values_of(found, "overlap") == {"": 1.0}
    assert {name for name, one in values_of(found, "defect_pixels").items() if one} == {"C01", "C17"}


async def test_earlier_defects_outside_of_the_detector_are_not_compared(service: ButlerService, butler: Butler) -> None:
    now = run_job(
        butler, "d3", [], [("biasBootstrap", {"detector": 4}, exposure(0.0)), ("defects", {"detector": 4}, defects())]
    )
    before = run_job(butler, "d4", [], [("defects", {"detector": 4}, defects(Box(64, 0, 1, 1)))])
    found = await service.product_values(CalibType.DEFECTS, now[1:], ROWS, before[0])
    assert "outside of the detector" in found.not_compared
    assert not found.changes


async def test_defects_without_an_image_of_the_detector_can_not_be_measured(
    service: ButlerService, butler: Butler
) -> None:
    ids = run_job(butler, "d5", [], [("defects", {"detector": 4}, defects())])
    with pytest.raises(
        ServiceError, match=r"The size of detector 4 is unknown: u/ocps/d5 has no biasBootstrap or bias"
    ):
        await service.product_values(CalibType.DEFECTS, ids, ROWS)


def curve(gain: float) -> PhotonTransferCurve:
    names = list(AMPLIFIER_NAMES)
    return PhotonTransferCurve(names, "POLYNOMIAL", dict.fromkeys(names, gain), noise=dict.fromkeys(names, 6.5))


async def test_gains_of_pairs_are_compared_with_the_certified_ptc(service: ButlerService, butler: Butler) -> None:
    datasets = [
        ("cpPtcPartial", {"detector": 4, "exposure": one}, curve(gain))
        for one, gain in zip(FLATS_R, (1.6, 1.8), strict=True)
    ]
    ids = run_job(butler, "g1", [], datasets)
    ptc = (await service.predecessors("ptc", [CHAIN], FLATS_R[0], "", ()))[4]
    found = await service.product_values(CalibType.GAIN, ids, ROWS, ptc.dataset_id)
    assert values_of(found, "gain") == pytest.approx(dict.fromkeys(AMPLIFIER_NAMES, 1.7))
    assert values_of(found, "gain_pairs") == dict.fromkeys(AMPLIFIER_NAMES, 2.0)
    assert {one.quantity for one in found.before} >= {"gain", "noise"}


async def test_curves_are_compared(service: ButlerService, butler: Butler) -> None:
    ids = run_job(butler, "p1", [], [("ptc", {"detector": 4}, curve(1.7)), ("ptc", {"detector": 5}, curve(1.6))])
    found = await service.product_values(CalibType.PTC, ids[:1], ROWS, ids[1])
    assert values_of(found, "gain")["C10"] == 1.7
    assert next(one.value for one in found.before if one.quantity == "gain") == 1.6
