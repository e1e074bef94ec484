# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the checks before a run say of collections."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.run import preflight as preflight_module
from lsst.ts.comcamcalib.run.preflight import preflight
from support.plans import make_config, make_plan
from support.services import Observatory
from support.world import World

LIMIT_S = 7.0
NIGHT_S = 1795384800.0
"""2026-11-22T22:00:00 TAI."""


@pytest.fixture
def observatory() -> Observatory:
    return Observatory.of(World(make_config()))


async def problems(observatory: Observatory, **options: object) -> list[str]:
    return await preflight(make_plan(**{"script_mode": "BIAS", **options}), observatory.services, NIGHT_S, LIMIT_S)


async def test_a_collection_that_nearly_has_the_name_of_another_is_asked_back(observatory: Observatory) -> None:
    observatory.world.collections.add("LSSTComCam/calib/daily")
    assert await problems(observatory, calib_collection="lsstcomcam/calib/daily") == [
        "calib_collection: there is no collection lsstcomcam/calib/daily in LSSTComCam, but there is "
        "LSSTComCam/calib/daily. Use that name if you mean it; otherwise choose one that differs by more than a letter "
        "or upper and lower case"
    ]
    (sentence,) = await problems(observatory, calib_collection="LSSTComCam/Calib")
    assert "but there is LSSTComCam/calib." in sentence


async def test_the_usual_collection_is_asked_back_before_it_was_ever_made(observatory: Observatory) -> None:
    assert "LSSTComCam/calib/daily" not in observatory.world.collections
    assert await problems(observatory, calib_collection="lsstcomcam/calib/daily") == [
        "calib_collection: there is no collection lsstcomcam/calib/daily in LSSTComCam, but the default is "
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
        "There is no collection LSSTComCam/CALIB in LSSTComCam, an input of BIAS.GENERATE; did you mean "
        "LSSTComCam/calib?"
    )


async def test_names_are_looked_through_only_if_one_is_missing(observatory: Observatory) -> None:
    observatory.world.collections.add("LSSTComCam/calib/daily")
    assert await problems(observatory) == []
    assert "near_names" not in observatory.repository.asked


async def test_names_that_can_not_be_looked_through_are_a_problem(observatory: Observatory) -> None:
    observatory.repository.errors["near_names"] = "the database is down"
    (sentence,) = await problems(observatory, calib_collection="u/new/one")
    assert sentence == "The repository LSSTComCam can't be used: the database is down"


async def test_calibration_that_the_pipelines_look_up_must_be_there_for_each_detector(observatory: Observatory) -> None:
    observatory.world.not_calibrated = {("ptc", 1), ("linearizer", 0), ("linearizer", 1), ("linearizer", 4)}
    assert sorted(await problems(observatory)) == [
        "BIAS.GENERATE and BIAS.VERIFY need a linearizer that is valid now, but LSSTComCam/calib/daily, "
        "LSSTComCam/calib has none for any detector. Certify one, or name input collections that have it",
        "BIAS.GENERATE and BIAS.VERIFY need a ptc that is valid now, but LSSTComCam/calib/daily, LSSTComCam/calib has "
        "none for R22_S01. Certify one, or name input collections that have it",
    ]


async def test_what_the_run_makes_itself_need_not_be_there(observatory: Observatory) -> None:
    observatory.world.not_calibrated = {("bias", 0), ("dark", 0)}
    assert await problems(observatory, script_mode="BIAS_DARK_FLAT") == []
    (sentence,) = await problems(observatory, script_mode="DARK", n_bias=None)
    assert sentence.startswith("DARK.GENERATE and DARK.VERIFY need a bias")


async def test_products_that_are_no_frames_need_nothing_that_the_frames_do_not(observatory: Observatory) -> None:
    """Their pipelines correct the frames without certified calibrations."""
    options = {"script_mode": "BIAS_DARK_FLAT", "do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True}
    observatory.world.not_calibrated = {("ptc", 1)}
    named = " and ".join(one.partition(" need")[0] for one in await problems(observatory, **options))
    assert sorted(named.split(" and ")) == sorted(
        f"{name}.{kind}" for name in ("BIAS", "DARK", "FLAT") for kind in ("GENERATE", "VERIFY")
    )


async def test_what_is_only_verified_must_be_there(observatory: Observatory) -> None:
    observatory.world.not_calibrated = {("bias", 4)}
    (sentence,) = await problems(observatory, generate_calibrations=False)
    assert sentence.startswith("BIAS.VERIFY needs a bias")


PTC = {"script_mode": "BIAS_DARK_FLAT", "do_ptc": True}
ELSEWHERE = {"input_collections_ptc": "LSSTComCam/raw/all"}


async def test_what_a_product_of_the_flats_is_built_on_must_be_there_though_nothing_else_needs_it(
    observatory: Observatory,
) -> None:
    observatory.world.not_calibrated = {("bias", 4), ("dark", 4)}
    found = await problems(observatory, **PTC, generate_calibrations=False, do_verify=False)
    assert sorted(found) == [
        f"PTC.GENERATE needs a {name} that is valid now, but LSSTComCam/calib/daily, LSSTComCam/calib has none for "
        "R22_S11. Certify one, or name input collections that have it"
        for name in ("bias", "dark")
    ]


async def test_what_a_product_of_the_flats_is_built_on_must_be_in_its_own_collections(observatory: Observatory) -> None:
    """The verifications have other collections; and curves are verified without looking up a bias or dark."""
    observatory.world.not_calibrated = {("dark", 4)}
    found = await problems(observatory, **PTC, **ELSEWHERE, generate_calibrations=False)
    assert sorted(sentence.partition(" has none")[0] for sentence in found) == [
        "DARK.VERIFY and FLAT.VERIFY need a dark that is valid now, but LSSTComCam/calib",
        "PTC.GENERATE needs a dark that is valid now, but LSSTComCam/calib/daily, LSSTComCam/raw/all",
    ]
    assert await problems(observatory, **PTC, **ELSEWHERE) == [], "the run makes it"


@pytest.mark.parametrize("repo", ["/repo/LSSTComCam", "LSSTComCam"])
async def test_disk_without_room_is_named(
    observatory: Observatory, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, repo: str
) -> None:
    (tmp_path / "index.yaml").write_text("LSSTComCam: /repo/LSSTComCam\n")
    monkeypatch.setenv("DAF_BUTLER_REPOSITORY_INDEX", str(tmp_path / "index.yaml"))
    usage = shutil.disk_usage("/")._replace(free=5_000_000)
    monkeypatch.setattr(preflight_module.shutil, "disk_usage", lambda folder: usage)
    plan = make_plan(make_config(repo=repo), script_mode="BIAS")
    found = await preflight(plan, observatory.services, NIGHT_S, LIMIT_S)
    assert [sentence.partition(":")[0] for sentence in found] == ["journal_path", "repo"]
    assert "has only 5 MB left; make room for at least 100 MB" in found[0]


async def test_repository_that_does_not_answer_leaves_it_open(observatory: Observatory) -> None:
    observatory.repository.errors["detectors_without"] = "the database is down"
    (sentence,) = await problems(observatory)
    assert (
        sentence == "Whether the calibrations that the run builds on exist could not be looked up: the database is down"
    )
