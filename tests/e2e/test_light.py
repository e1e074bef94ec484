# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run makes of bad light: nothing made of such frames is certified, and the sentences speak of light."""

from __future__ import annotations

import re

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from support.run import Site, SiteRun

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

OPTIONS = {"n_bias": 2, "n_dark": 2, "exp_times_dark": 5, "n_flat": 4, "exp_times_flat": 5, "do_defects": False}


async def take_flats(site: Site, scenario: str) -> SiteRun:
    site.observatory.set_scenarios([scenario])
    return await site.start(script_mode="BIAS_DARK_FLAT", **OPTIONS)


@pytest.mark.parametrize(
    ("scenario", "words"),
    [
        ("lamp-off", r"(?i)no light|lamp.* off|without light"),
        ("lamp-dim", r"(?i)too dark|dim"),
        ("saturated", r"(?i)saturated"),
    ],
)
async def test_flats_of_a_bad_lamp_are_not_certified_and_the_sentence_says_what_the_light_was(
    site: Site, scenario: str, words: str
) -> None:
    run = await take_flats(site, scenario)
    state = await run.ended(RunState.FAILED)
    result = run.samples("verificationResult", calibType=CalibType.FLAT)[-1]
    assert result.verdict == Verdict.FAILED
    assert re.search(words, result.reason), result.reason
    assert re.search(words, state.reason), state.reason
    assert "is missing" not in result.reason
    assert {one.dataset_type for one in await run.certified()} == {"bias", "dark"}
    alarms = await run.hear("alarms", runFailed=True)
    assert alarms.verificationFailed


async def test_drifting_lamp_is_called_that_and_the_flat_is_not_simply_good(site: Site) -> None:
    run = await take_flats(site, "lamp-drifting")
    await site.operator.until_ended(run.run_id, 60.0)
    result = run.samples("verificationResult", calibType=CalibType.FLAT)[-1]
    assert result.verdict != Verdict.PASSED
    assert "drift" in result.reason.lower()


async def test_sound_lamp_is_certified(site: Site) -> None:
    run = await site.complete(script_mode="BIAS_DARK_FLAT", **OPTIONS)
    assert {one.dataset_type for one in await run.certified()} == {"bias", "dark", "flat"}


async def test_bias_with_a_light_leak_is_named_wherever_the_verdict_is_published(site: Site) -> None:
    site.observatory.set_scenarios(["light-leak"])
    run = await site.start(script_mode="BIAS", n_bias=6)
    await site.operator.until_ended(run.run_id, 60.0)
    result = run.samples("verificationResult", calibType=CalibType.BIAS)[-1]
    leaky = run.samples("imageTaken")[2]
    assert result.verdict != Verdict.PASSED
    assert str(leaky.exposureId) in result.reason or leaky.obsId in result.reason, result.reason
    if result.verdict == Verdict.FAILED:
        assert await run.certified() == []


async def test_flats_in_vain_raise_the_alarm_at_once_and_end_the_acquisition_with_stop(site: Site) -> None:
    options = {**OPTIONS, "n_flat": 10, "exp_times_flat": 100, "on_failure": "stop"}
    run = await site.start(script_mode="BIAS_DARK_FLAT", **options)
    alarms = await run.hear("alarms", verificationFailed=True)
    assert not alarms.runFailed and "saturated" in alarms.reason and "More flats will not help" in alarms.reason
    state = await run.ended(RunState.FAILED)
    assert "FLAT.INGEST: 2 of 10 flats are in the repository, and saturated" in state.reason
    assert 2 <= len(run.samples("imageTaken", imageType=CalibType.FLAT)) < 10
    assert {one.dataset_type for one in await run.certified()} == {"bias", "dark"}
