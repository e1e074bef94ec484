# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever is wrong with a start: one sentence a mistake, all at once, and nothing has moved."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.states import bring_from_standby, bring_to_standby
from support.observatory import running_csc, without_journal
from support.operator import LIMIT_S, Operator
from support.repository import count_raws

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

# By name: a configuration, and what each of the sentences about it must name.
MISTAKES: dict[str, tuple[str, list[list[str]]]] = {
    "unknown_option": ("n_fringe: 3", [["n_fringe", "no such option"]]),
    "misspelt_option": ("n_bais: 3", [["n_bais", "did you mean n_bias?"]]),
    "wrong_type": ("n_bias: three", [["n_bias", "three"]]),
    "wrong_types": (
        "{n_bias: [1], do_verify: perhaps, exp_times_dark: {a: 1}, detectors: half}",
        [["n_bias"], ["do_verify", "perhaps"], ["exp_times_dark"], ["detectors", "half"]],
    ),
    "wrong_length": ("{n_dark: 3, exp_times_dark: [1, 2]}", [["exp_times_dark", "2", "n_dark", "3"]]),
    "ptc_without_pairs": ("{do_ptc: true, n_flat: 3, exp_times_flat: [1, 2, 3]}", [["do_ptc", "pair"]] * 3),
    "gain_without_pairs": (
        "{do_gain_from_flat_pairs: true, n_flat: 3, exp_times_flat: [1, 2, 3]}",
        [["do_gain_from_flat_pairs", "pair"]] * 3,
    ),
    "defects_without_flats": ("{script_mode: BIAS, do_defects: true}", [["do_defects", "BIAS_DARK_FLAT"]]),
    "unknown_mode": ("script_mode: BIAS_FLAT", [["script_mode", "BIAS_FLAT", "BIAS_DARK_FLAT"]]),
    "detector_9": ("detectors: (0,9)", [["detectors", "9"]]),
    "zero_second_darks": ("{n_dark: 1, exp_times_dark: 0}", [["exp_times_dark", "0"]]),
    "flats_too_short_for_the_camera": ("{n_flat: 1, exp_times_flat: 0.05}", [["exp_times_flat", "0.05", "0.1"]]),
    "end_before_beginning": (
        "{certify_calib_begin_date: 2026-11-23, certify_calib_end_date: 2026-11-22}",
        [["certify_calib_end_date", "2026-11-22"]],
    ),
    "no_date": ("certify_calib_begin_date: tomorrow", [["certify_calib_begin_date", "tomorrow"]]),
    "shell_in_a_collection": ("calib_collection: 'a;rm -rf /'", [["calib_collection", ";"]]),
    "quote_in_config_options": ("""config_options_bias: '-c isr:doFlat="x"'""", [["config_options_bias", '"']]),
    "dollar_in_input_collections": ("input_collections_bias: $HOME", [["input_collections_bias", "$"]]),
    "colon_in_the_reason": ("reason: 'a, b: c'", [["reason"]]),
    "accents_in_headers": (
        "{reason: Calibración, program: señal, test_case: 'é'}",
        [["reason", "ó", "ASCII"], ["program", "ñ", "ASCII"], ["test_case", "é", "ASCII"]],
    ),
    "header_too_long": ("program: " + "x" * 65, [["program", "65", "64"]]),
    "pipe_in_config_options": ("config_options_flat: -c isr:a=1 | tee x", [["config_options_flat", "|"]]),
    "another_output": ("config_options_ptc: -o u/me", [["config_options_ptc", "-o"]]),
    "path_for_a_collection": (
        "{calib_collection: u/../me, input_collections_bias: u//me}",
        [["calib_collection", "u/../me"], ["input_collections_bias", "u//me"]],
    ),
    "truth_for_a_collection": ("calib_collection: true", [["calib_collection", "truth value"]]),
    "nothing_for_a_dark": ("{n_dark: 1, exp_times_dark: 1e-300}", [["exp_times_dark", "1e-300", "0.001"]]),
    "several_filters": ("filter: [r_03, i_06]", [["filter", "several"]]),
    "too_many_darks": ("exp_times_dark: " + str([1] * 1001), [["exp_times_dark", "1001", "1000"]]),
    "another_repo": ("repo: /repo/main", [["repo", "/repo/main"]]),
    "list": ("[n_bias, 3]", [["mapping"]]),
    "bare_word": ("BIAS", [["mapping"]]),
    "number": ("7", [["mapping"]]),
    "no_yaml": ("n_bias: [1", [["YAML"]]),
    "tag": ("n_bias: !!python/object/apply:os.system ['true']", [["tag"]]),
    "alias": ("{reason: &a x, note: *a}", [["anchor"], ["alias"]]),
    "duplicate_key": ("n_bias: 1\nn_bias: 2", [["n_bias"]]),
    "control_character": ("note: 'a\x07b'", [[]]),
    "too_long": ("note: " + "x" * 70_000, [["70006 bytes", "65536"]]),
    "several_at_once": (
        "{n_bais: 3, script_mode: FLAT, detectors: (9), repo: /other, calib_collection: a$b}",
        [["n_bais"], ["script_mode"], ["detectors"], ["repo"], ["calib_collection"]],
    ),
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def shared_csc(session_observatory: Observatory) -> AsyncIterator[ComCamCalibCsc]:
    """An ENABLED CSC for all of these tests: each leaves it as well as it found it."""
    without_journal(session_observatory)
    async with running_csc(initial_state=salobj.State.ENABLED) as csc:
        yield csc
    await session_observatory.reset()


@contextlib.asynccontextmanager
async def nothing_moves(observatory: Observatory, operator: Operator, csc: ComCamCalibCsc) -> AsyncIterator[None]:
    """Make sure that no image is taken, no job submitted, nothing written in the journal; the CSC stays as it was."""
    before = await asyncio.to_thread(_traces, observatory)
    yield
    assert await asyncio.to_thread(_traces, observatory) == before
    async with aiohttp.ClientSession() as session, session.get(f"{observatory.uws.url}/job") as reply:
        assert await reply.json() == []
    assert observatory.camera.idle.is_set()
    for topic in ("runState", "stageState", "imageTaken", "jobState"):
        assert not operator.samples(topic)
    assert not any(one.reason for one in operator.samples("alarms"))
    assert csc.summary_state is salobj.State.ENABLED
    (sentence,) = await operator.refused("status")
    assert "no run yet" in sentence


def _traces(observatory: Observatory) -> tuple[int, int]:
    """Return the number of raws and of the journal's rows."""
    with contextlib.closing(sqlite3.connect(observatory.work_directory / "journal.sqlite3")) as journal:
        (rows,) = journal.execute("SELECT count(*) FROM runs").fetchone()
    return count_raws(observatory.repo), rows


def match(sentences: list[str], expected: list[list[str]]) -> None:
    """Make sure that there is one sentence for each mistake, and that it names what it must name."""
    assert len(sentences) == len(expected), sentences
    left = list(sentences)
    for words in expected:
        found = next((one for one in left if all(word in one for word in words)), None)
        assert found is not None, f"None of {left} names {words}"
        left.remove(found)
    for sentence in sentences:
        assert len(sentence) < 700 and "Traceback" not in sentence


async def test_the_procedures_example_as_printed_is_refused_with_both_its_mistakes(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator, repository_root: Path
) -> None:
    text = (repository_root / "tests" / "data" / "procedure_example.yaml").read_text()
    async with nothing_moves(session_observatory, operator, shared_csc):
        sentences = await operator.refused("startCalibrationRun", config=text)
    # Its repository is not this one's.
    match(
        sentences,
        [
            ["exp_ttimes_dark: no such option; did you mean exp_times_dark?"],
            ['script_mode": no such option; did you mean script_mode?'],
            ["repo", "/repo/LSSTComCam"],
        ],
    )


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_mistake_is_answered_with_a_sentence_and_nothing_moves(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator, mistake: str
) -> None:
    config, expected = MISTAKES[mistake]
    async with nothing_moves(session_observatory, operator, shared_csc):
        match(await operator.refused("startCalibrationRun", config=config), expected)


async def test_command_fields_are_checked_like_the_options(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator
) -> None:
    async with nothing_moves(session_observatory, operator, shared_csc):
        sentences = await operator.refused("startCalibrationRun", reason="a: b", program="c,d")
    match(sentences, [["reason"], ["program"]])


# Pre-flight checks


async def test_everything_that_is_not_ready_is_named_at_once(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator
) -> None:
    observatory = session_observatory
    config = "{script_mode: BIAS, n_bias: 1, input_collections_bias: 'LSSTComCam/calib,no/such'}"
    observatory.world.faults.set([Fault("http", "status", times=None, value=503, text="down")])
    await bring_to_standby(observatory.oods)
    await bring_to_standby(observatory.camera)
    await observatory.camera.do_exitControl(None)
    try:
        sentences: list[str] = []
        # The CSC hears the states of the others a little later.
        async with asyncio.timeout(LIMIT_S):
            while not {"CCOODS is in STANDBY: enable it.", "CCCamera is in OFFLINE: enable it."} <= set(sentences):
                sentences = await operator.refused("startCalibrationRun", config=config)
    finally:
        observatory.set_scenarios([])
        await observatory.camera.do_enterControl(None)
        await bring_from_standby(observatory.camera, salobj.State.ENABLED)
        await bring_from_standby(observatory.oods, salobj.State.ENABLED)
    match(
        sentences,
        [
            ["CCOODS is in STANDBY", "enable it"],
            ["CCCamera is in OFFLINE", "enable it"],
            ["UWS", "503"],
            ["no collection no/such", "BIAS.GENERATE"],
        ],
    )
    async with nothing_moves(observatory, operator, shared_csc):
        pass


@pytest.mark.parametrize("effect", ["drop", "garbage", "delay"])
async def test_uws_that_does_not_answer_properly_is_named_in_time(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator, effect: str
) -> None:
    session_observatory.world.faults.set([Fault("http", effect, times=None, value=60.0)])
    try:
        (sentence,) = await operator.refused("startCalibrationRun", config="script_mode: BIAS")
    finally:
        session_observatory.set_scenarios([])
    assert "UWS" in sentence
    async with nothing_moves(session_observatory, operator, shared_csc):
        pass


async def test_after_all_of_this_a_sound_start_is_accepted_and_a_second_one_refused(
    session_observatory: Observatory, shared_csc: ComCamCalibCsc, operator: Operator
) -> None:
    run_id = await operator.start_run(script_mode="BIAS", n_bias=2, n_processes=1)
    assert run_id.endswith("-001")
    (sentence,) = await operator.refused("startCalibrationRun", config="script_mode: BIAS")
    assert run_id in sentence and "abort" in sentence and "resume" not in sentence
    state = await operator.until_ended(run_id)
    assert state.state == RunState.COMPLETED, state.reason
