# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a job used is read from a real, small repository, detector by detector."""

from __future__ import annotations

from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.ts.comcamcalib.services.butler import ButlerService
from support.small_repository import (
    BIASES,
    DAILY,
    FLATS_I,
    FLATS_R,
    NEXT_NOON,
    NOON,
    RAWS,
    bias_job,
    certify_request,
    image,
    run_job,
)


async def test_a_job_that_used_this_runs_product_is_good(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0, 1])
    run_job(butler, "dark", ["u/ocps/b/run", RAWS, DAILY, "LSSTComCam/calib/initial"], [])
    assert await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0, 1], "u/ocps/b/run") == []


async def test_an_older_product_that_came_first_is_named(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0])  # detector 1 failed
    old = bias_job(butler, "old")
    butler.collections.register("old/calib", CollectionType.CALIBRATION)
    butler.registry.certify("old/calib", [butler.get_dataset(one) for one in old], Timespan(None, None))
    run_job(butler, "dark", [RAWS, "u/ocps/b/run", "old/calib"], [])
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0, 1], "u/ocps/b/run")
    assert sentence == (
        f"Detector 1: for exposure {BIASES[0]} job u/ocps/dark found as bias that in u/ocps/old/run, "
        "not that in u/ocps/b/run."
    )
    run_job(butler, "dark2", [RAWS, "old/calib", "u/ocps/b/run"], [])
    sentences = await service.foreign_inputs("u/ocps/dark2", "bias", BIASES, [0, 1], "u/ocps/b/run")
    assert [sentence.split(":")[0] for sentence in sentences] == ["Detector 0", "Detector 1"]


async def test_a_product_that_was_not_found_or_an_unknown_exposure_is_not_good(
    service: ButlerService, butler: Butler
) -> None:
    bias_job(butler, "b", [0])
    run_job(butler, "dark", [RAWS, DAILY], [])
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0], "u/ocps/b/run")
    assert "found as bias none" in sentence
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", [4, *BIASES], [0], "u/ocps/b/run")
    assert "does not know exposures 4" in sentence


async def test_flats_are_looked_up_by_the_filter_of_the_exposure(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "f", [], [("flat", {"detector": 0, "physical_filter": "r_03"}, image())])
    run_job(butler, "v", ["u/ocps/f/run", "LSSTComCam/calib/initial"], [])
    assert await service.foreign_inputs("u/ocps/v", "flat", FLATS_R, [0], "u/ocps/f/run") == []
    (sentence,) = await service.foreign_inputs("u/ocps/v", "flat", FLATS_I, [0], "u/ocps/f/run")
    assert "found as flat none" in sentence
    # A job that has no flats of its own, seen at the time of a bias, looks up what there is.
    assert await service.foreign_inputs("u/ocps/v", "flat", BIASES, [0], "u/ocps/f/run") == []


async def test_detectors_without_a_valid_calibration_are_found(service: ButlerService, butler: Butler) -> None:
    """Asked of collections of which one does not exist, for a time within and outside the range."""
    ids = bias_job(butler, "b", range(2))
    await service.certify(certify_request("b", ids, NOON, NEXT_NOON))
    within, after = "2026-11-22T20:00:00", "2026-12-24T20:00:00"
    assert await service.detectors_without("bias", ["no/such", DAILY], [0, 1, 7], within) == [7]
    assert await service.detectors_without("bias", ["no/such", DAILY], [0, 1], after) == [0, 1]
    assert await service.detectors_without("bias", ["no/such"], [0], within) == [0]
    assert await service.detectors_without("cti", [DAILY], [0], within) == [0]


async def test_what_a_collection_has_since_some_time(service: ButlerService, butler: Butler) -> None:
    certified = bias_job(butler, "b", [0, 1])
    await service.certify(certify_request("b", certified, NOON, NEXT_NOON))
    found = await service.coverage(["bias", "flat", "no_such_type"], DAILY, NOON)
    assert [(one.dataset_type, one.detector, one.physical_filter, one.run) for one in found] == [
        ("bias", detector, "", "u/ocps/b/run") for detector in (0, 1)
    ]
    assert {(one.begin_iso_tai, one.end_iso_tai) for one in found} == {(NOON, NEXT_NOON)}
    assert await service.coverage(["bias"], DAILY, NEXT_NOON) == []
    assert await service.coverage(["bias"], "LSSTComCam/calib/nowhere", NOON) == []
