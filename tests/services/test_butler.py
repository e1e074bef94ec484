# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler service on a real, small repository: what it finds there."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.butler_data import ExposureFound
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services import butler_certify, butler_lookup, butler_read_back
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.repo import register_exposure
from support.permission import allowed
from support.small_repository import (
    BIASES,
    CHAIN,
    DAILY,
    FLATS_I,
    FLATS_R,
    INSTRUMENT,
    NEXT_NOON,
    NOON,
    RAWS,
    bias_job,
    certify_request,
    exposure,
    image,
    run_job,
)

# Looking


async def test_missing_collections_are_named(service: ButlerService) -> None:
    assert await service.missing_collections([RAWS, "no/such", DAILY, "u/ocps/none"]) == ["no/such", "u/ocps/none"]


async def test_only_new_names_and_calibration_collections_can_take_calibrations(service: ButlerService) -> None:
    assert await service.certify_obstacle("LSSTComCam/calib/new") == ""
    assert await service.certify_obstacle(DAILY) == ""
    assert "it is a RUN collection" in await service.certify_obstacle(RAWS)


async def test_raws_are_seen_one_by_one(service: ButlerService) -> None:
    present = await service.raws_present([*BIASES, *FLATS_R, 4], [1, 2, 3])
    assert present == {(exposure_id, detector) for exposure_id in BIASES for detector in (1, 2)}
    assert await service.raws_present([], [1]) == await service.raws_present(BIASES, []) == set()


async def test_filters_are_told_of_known_exposures_only(service: ButlerService) -> None:
    filters = await service.physical_filters([BIASES[0], FLATS_I[0], 4])
    assert filters == {BIASES[0]: "r_03", FLATS_I[0]: "i_06"}


async def test_exposures_are_asked_for_until_they_are_known(service: ButlerService, butler: Butler) -> None:
    found = await service.exposures([BIASES[0], 2026112200077])
    assert found == {
        BIASES[0]: ExposureFound(
            BIASES[0], 20261122, "r_03", "2026-11-22T20:01:37", "2026-11-22T20:01:38", "CC_O_20261122_000001"
        )
    }
    register_exposure(butler, exposure(2026112200077, "DARK", "i_06"))
    assert (await service.physical_filters([BIASES[0], 2026112200077]))[2026112200077] == "i_06"


async def test_exposures_of_a_group_are_found_in_their_order_as_soon_as_the_repository_knows_them(
    service: ButlerService, butler: Butler
) -> None:
    """A worker registers them while the service is at work: nothing of an earlier look-up may be kept."""
    group = "20261123-001-DARK"
    assert await service.exposures_of_group(group) == []
    for exposure_id in (2026112200082, 2026112200081):
        register_exposure(butler, dataclasses.replace(exposure(exposure_id, "DARK", "i_06"), group_id=group))
    first, second = await service.exposures_of_group(group)
    assert first == ExposureFound(
        2026112200081, 20261122, "i_06", "2026-11-22T21:21:37", "2026-11-22T21:21:38", "CC_O_20261122_000081"
    )
    assert second.exposure_id == 2026112200082
    register_exposure(butler, dataclasses.replace(exposure(2026112200080, "DARK", "i_06"), group_id=group))
    assert [one.exposure_id for one in await service.exposures_of_group(group)] == [
        2026112200080,
        2026112200081,
        2026112200082,
    ]


@pytest.mark.parametrize("group", ["20261122-001-", "20261122-001-X1", "20261122-001-x", "%", 'it\'s \\ "one"'])
async def test_a_group_is_looked_up_by_its_whole_name(service: ButlerService, group: str) -> None:
    assert {one.exposure_id for one in await service.exposures_of_group("20261122-001-X")} >= set(BIASES)
    assert await service.exposures_of_group(group) == []


async def test_exposures_of_a_group_can_not_be_told_without_the_repository(tmp_path: Path, limits: Limits) -> None:
    """An empty answer would mean that a frame was not taken, so there must be none."""
    service = ButlerService(str(tmp_path / "none"), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    with pytest.raises(ServiceError, match="could not look for exposures of group 20261122-001-X: FileNotFoundError"):
        await service.exposures_of_group("20261122-001-X")
    await service.close()


async def test_the_name_of_an_existing_collection_is_proposed_for_a_slip(
    service: ButlerService, butler: Butler
) -> None:
    """Jobs leave chains by the thousand, and raws are in a RUN: nobody certifies there."""
    bias_job(butler, "dayli", [0])
    names = ["lsstcomcam/calib/daily", "LSSTComCam/Calib", "LSSTComCam/raw/All", "u/ocps/daily", "u/me/new"]
    assert await service.near_names(names) == {"lsstcomcam/calib/daily": DAILY, "LSSTComCam/Calib": CHAIN}
    assert await service.near_names([]) == {}


async def test_datasets_of_a_run_are_seen_as_soon_as_a_job_wrote_them(service: ButlerService, butler: Butler) -> None:
    assert await service.datasets("u/ocps/late/run", "bias") == []
    ids = bias_job(butler, "late", [0, 4])
    found = await service.datasets("u/ocps/late/run", "bias")
    assert {(one.dataset_id, one.detector, one.physical_filter, one.exposure, one.run) for one in found} == {
        (ids[0], 0, None, None, "u/ocps/late/run"),
        (ids[1], 4, None, None, "u/ocps/late/run"),
    }
    assert await service.datasets("u/ocps/late/run", "no_such_type") == []


async def test_flats_have_a_filter_and_partial_curves_an_exposure(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "f", [], [("flat", {"detector": 1, "physical_filter": "i_06"}, image())])
    (flat,) = await service.datasets("u/ocps/f/run", "flat")
    assert (flat.detector, flat.physical_filter, flat.exposure) == (1, "i_06", None)
    curve = PhotonTransferCurve(["C10", "C11"], "PARTIAL", gain={"C10": 1.7}, noise={"C10": 6.0, "C11": 7})
    run_job(butler, "g", [], [("cpPtcPartial", {"detector": 1, "exposure": FLATS_R[0]}, curve)])
    (partial,) = await service.datasets("u/ocps/g/run", "cpPtcPartial")
    assert (partial.detector, partial.exposure) == (1, FLATS_R[0])
    values = await service.gain_values("u/ocps/g/run")
    assert values.keys() == {(FLATS_R[0], 1)}
    gain, noise = values[FLATS_R[0], 1].gain, values[FLATS_R[0], 1].noise
    assert gain["C10"] == 1.7 and np.isnan(gain["C11"]) and noise == {"C10": 6.0, "C11": 7.0}


def test_the_number_of_queries_does_not_grow_with_the_detectors(butler: Butler) -> None:
    """With a slow database each query counts, and stages wait for them."""
    import sqlalchemy

    ids = bias_job(butler, "b")
    run_job(butler, "dark", ["u/ocps/b/run"], [])
    butler_certify.certify(butler, INSTRUMENT, certify_request("b", ids))
    statements: list[str] = []

    def note(*args: Any) -> None:
        statements.append(args[2])

    def queries(look: Callable[[int], list[str]], number: int) -> int:
        butler.registry.refresh()
        statements.clear()
        assert look(number) == []
        return len(statements)

    def used(number: int) -> list[str]:
        detectors = range(number)
        return butler_lookup.foreign_inputs(
            butler, INSTRUMENT, "u/ocps/dark", "bias", BIASES, detectors, "u/ocps/b/run"
        )

    def read_back(number: int) -> list[str]:
        return butler_read_back.read_back(butler, INSTRUMENT, "bias", DAILY, NOON, NEXT_NOON, ids[:number], BIASES)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
    try:
        for look in (used, read_back):
            look(1)  # what is asked only once does not count
            assert queries(look, 1) == queries(look, 9) < 25
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", note)
