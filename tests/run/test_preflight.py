# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the checks before a run say of collections."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.run.preflight import preflight
from support.plans import make_config, make_plan
from support.services import Observatory
from support.world import World


@pytest.fixture
def observatory() -> Observatory:
    return Observatory.of(World(make_config()))


async def problems(observatory: Observatory, **options: object) -> list[str]:
    return await preflight(make_plan(script_mode="BIAS", **options), observatory.services)


async def test_a_collection_that_nearly_has_the_name_of_another_is_asked_back(observatory: Observatory) -> None:
    observatory.world.collections.add("LSSTComCam/calib/daily")
    assert await problems(observatory, calib_collection="lsstcomcam/calib/daily") == [
        "calib_collection: there is no collection lsstcomcam/calib/daily in /repo/LSSTComCam, but there is "
        "LSSTComCam/calib/daily. Use that name if you mean it; otherwise choose one that differs by more than a letter "
        "or upper and lower case"
    ]
    (sentence,) = await problems(observatory, calib_collection="LSSTComCam/Calib")
    assert "but there is LSSTComCam/calib." in sentence


async def test_the_usual_collection_is_asked_back_before_it_was_ever_made(observatory: Observatory) -> None:
    assert "LSSTComCam/calib/daily" not in observatory.world.collections
    assert await problems(observatory, calib_collection="lsstcomcam/calib/daily") == [
        "calib_collection: there is no collection lsstcomcam/calib/daily in /repo/LSSTComCam, but the default is "
        "LSSTComCam/calib/daily. Use that name if you mean it; otherwise choose one that differs by more than a letter "
        "or upper and lower case"
    ]
    assert await problems(observatory) == []


async def test_new_and_existing_names_are_accepted(observatory: Observatory) -> None:
    assert await problems(observatory, calib_collection="u/me/tuesday") == []
    observatory.world.collections |= {"u/me/daily", "u/me/Daily"}
    assert await problems(observatory, calib_collection="u/me/Daily") == [], "both exist, so it is meant"


async def test_an_input_that_is_misspelt_is_proposed(observatory: Observatory) -> None:
    (sentence,) = await problems(observatory, input_collections_bias="LSSTComCam/CALIB")
    assert sentence == (
        "There is no collection LSSTComCam/CALIB in /repo/LSSTComCam, an input of BIAS.GENERATE; did you mean "
        "LSSTComCam/calib?"
    )


async def test_names_are_looked_through_only_if_one_is_missing(observatory: Observatory) -> None:
    observatory.world.collections.add("LSSTComCam/calib/daily")
    assert await problems(observatory) == []
    assert "near_names" not in observatory.repository.asked


async def test_names_that_can_not_be_looked_through_are_a_problem(observatory: Observatory) -> None:
    observatory.repository.errors["near_names"] = "the database is down"
    (sentence,) = await problems(observatory, calib_collection="u/new/one")
    assert sentence == "The repository /repo/LSSTComCam can't be used: the database is down"
