# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the script modes and switches make of a run."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc, without_journal
from support.operator import Operator
from support.run import Site, options_of

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

RAW = "LSSTComCam/raw/all"

ALL = ["ACQUIRE", "INGEST", "GENERATE", "VERIFY", "CERTIFY"]


@pytest_asyncio.fixture(scope="module", loop_scope="session", autouse=True)
async def shared_csc(session_observatory: Observatory) -> AsyncIterator[ComCamCalibCsc]:
    """An ENABLED CSC for all of these tests; each certifies in a collection of its own."""
    without_journal(session_observatory)
    async with running_csc(initial_state=salobj.State.ENABLED) as csc:
        yield csc
    await session_observatory.reset()


@pytest.fixture
def site(session_observatory: Observatory, operator: Operator, shared_csc: ComCamCalibCsc) -> Site:
    return Site(session_observatory, operator, shared_csc)


def stages(**kinds: list[str]) -> set[str]:
    return {f"{name}.{kind}" for name, some in kinds.items() for kind in some}


# Modes


async def test_bias_alone(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=2, calib_collection="LSSTComCam/calib/u/tests/alone")
    assert set(done.stages) == stages(BIAS=ALL)
    state = done.samples("runState")[-1]
    assert state.scriptMode == "BIAS"
    assert {one.dataset_type for one in await done.certified()} == {"bias"}
    assert len(done.samples("imageTaken")) == state.imagesExpected == 2


async def test_bias_and_dark(site: Site) -> None:
    done = await site.complete(script_mode="BIAS_DARK", n_bias=1, n_dark=None, exp_times_dark=[3, 5])
    assert set(done.stages) == stages(BIAS=ALL, DARK=ALL)
    assert [one.exposureTime for one in done.samples("imageTaken")] == [0, 3, 5]
    # The dark is made with this run's bias, which stands before everything else that is certified.
    bias_job = done.samples("stageState", stageName="BIAS.GENERATE")[-1].jobId
    raw, inputs = options_of(await done.job("DARK.GENERATE"), "i")
    assert raw == RAW
    # What is in between was made by BIAS.CERTIFY, or not yet.
    first, *between, last = inputs.split(",")
    assert (first, last) == (f"u/ocps/{bias_job}", "LSSTComCam/calib")
    assert between in ([], [done.collection])


async def test_dark_alone_takes_the_bias_from_the_input_collections(site: Site) -> None:
    done = await site.complete(
        script_mode="DARK",
        n_dark=1,
        exp_times_dark=3,
        input_collections_dark="LSSTComCam/calib/u/tests/alone,LSSTComCam/calib",
    )
    assert set(done.stages) == stages(DARK=ALL)
    assert {one.dataset_type for one in await done.certified()} == {"dark"}
    _, inputs = options_of(await done.job("DARK.GENERATE"), "i")
    assert inputs.split(",") == ["LSSTComCam/calib/u/tests/alone", "LSSTComCam/calib"]


async def test_verification_only_judges_the_input_collections_and_certifies_nothing(site: Site) -> None:
    done = await site.complete(
        script_mode="BIAS",
        n_bias=2,
        generate_calibrations=False,
        input_collections_verify_bias="LSSTComCam/calib/u/tests/alone,LSSTComCam/calib",
    )
    assert set(done.stages) == stages(BIAS=["ACQUIRE", "INGEST", "VERIFY"])
    (result,) = done.samples("verificationResult")
    assert result.verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES)
    _, inputs = options_of(await done.job("BIAS.VERIFY"), "i")
    assert inputs.split(",") == ["LSSTComCam/calib/u/tests/alone", "LSSTComCam/calib"]
    assert not done.samples("certification")
    assert await done.certified() == []


async def test_neither_generation_nor_verification_takes_images_only(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=1, generate_calibrations=False, do_verify=False)
    assert set(done.stages) == stages(BIAS=["ACQUIRE", "INGEST"])
    assert not done.samples("jobState")


async def test_unverified_products_are_not_certified(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=1, do_verify=False)
    assert set(done.stages) == stages(BIAS=["ACQUIRE", "INGEST", "GENERATE"])
    assert not done.samples("certification") and not done.samples("verificationResult")
    assert await done.certified() == []


async def test_unverified_products_are_certified_on_request_and_said_to_be_unverified(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=1, do_verify=False, certify_unverified=True)
    assert set(done.stages) == stages(BIAS=["ACQUIRE", "INGEST", "GENERATE", "CERTIFY"])
    (published,) = done.samples("certification")
    assert "certified without verification" in published.reason
    assert len(await done.certified()) == 9


# Detectors and frames


async def test_some_detectors_only(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=1, detectors="(1,4)")
    (ingested,) = done.samples("imageIngested")
    assert (ingested.detectorsExpected, ingested.detectorsIngested) == (2, 2)
    assert "detector IN (1, 4)" in (await done.job("BIAS.GENERATE"))["DATA_QUERY"]
    assert [one.detectorName for one in done.samples("detectorVerification")] == ["R22_S01", "R22_S11"]
    assert sorted(one.detector for one in await done.certified()) == [1, 4]
    (published,) = done.samples("certification")
    assert published.datasetCount == 2


async def test_discarded_frames_are_taken_first_and_not_used(site: Site) -> None:
    done = await site.complete(script_mode="BIAS", n_bias=2, n_discard_bias=2)
    images = done.samples("imageTaken")
    assert [one.discarded for one in images] == [True, True, False, False]
    assert [one.imageIndex for one in images] == [1, 2, 3, 4]
    used = [one.exposureId for one in images[2:]]
    # Which of the two is complete first is chance.
    assert sorted(one.exposureId for one in done.samples("imageIngested")) == used
    assert f"exposure IN ({used[0]}, {used[1]})" in (await done.job("BIAS.GENERATE"))["DATA_QUERY"]
    (result,) = done.samples("verificationResult")
    assert result.exposuresVerified == 2


async def test_flats_are_taken_and_judged_in_the_filter_that_was_asked_for(site: Site) -> None:
    done = await site.complete(
        **{"script_mode": "BIAS_DARK_FLAT", "n_bias": 1, "n_dark": 1, "exp_times_dark": 3},
        **{"n_flat": 8, "exp_times_flat": 1, "filter": 3},
    )
    (flat,) = done.samples("verificationResult", calibType=CalibType.FLAT)
    assert flat.physicalFilter == "i_06", "the third of the camera's filters"
    flats = [one for one in await done.certified() if one.dataset_type == "flat"]
    assert {one.physical_filter for one in flats} == {"i_06"}
    assert {one.physicalFilter for one in done.samples("detectorVerification", calibType=CalibType.BIAS)} == {""}


@pytest.mark.parametrize("wanted", ["u_99", 7])
async def test_filter_that_is_not_there_is_refused_with_those_that_are(operator: Operator, wanted: str | int) -> None:
    config = json.dumps({"n_bias": 1, "n_dark": 1, "n_flat": 1, "filter": wanted})
    (sentence,) = await operator.refused("startCalibrationRun", config=config)
    assert f"no filter {wanted}" in sentence and "r_03" in sentence
    assert not operator.samples("imageTaken")


# Dates


async def test_validity_that_does_not_cover_the_frames_is_warned_of_and_kept(site: Site) -> None:
    done = await site.complete(
        script_mode="BIAS",
        n_bias=1,
        certify_calib_begin_date="2021-07-15",
        certify_calib_end_date="2021-07-16",
    )
    (warning,) = [one for one in site.operator.samples("logMessage") if "covers nothing" in one.message]
    assert warning.level == logging.WARNING
    assert done.run_id in warning.message and "2021-07-15" in warning.message
    (published,) = done.samples("certification")
    assert (published.validityBegin, published.validityEnd) == ("2021-07-15T00:00:00", "2021-07-16T00:00:00")
    assert {(one.begin, one.end) for one in await done.certified()} == {
        (published.validityBegin, published.validityEnd)
    }
