# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commander: what is typed reaches the CSC, what the CSC publishes is printed."""

from __future__ import annotations

import asyncio
import os
import shlex
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsst.ts.comcamcalib.commander import ComCamCalibCommander, split_named, typed_fields
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.csc_remote import RefusedError
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory

ACCEPT = {"runId": str, "calibType": int, "reason": str, "physicalFilter": str, "attempt": int}
"""As the commander asks for them: first those that are needed."""

LIMIT_S = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def commander(enabled_csc: ComCamCalibCsc) -> AsyncIterator[ComCamCalibCommander]:
    async with ComCamCalibCommander() as commander:
        commander.testing = True
        yield commander


async def printed(commander: ComCamCalibCommander, *words: str) -> str:
    """Wait until a line is printed that has all of the words, and take it; what topics publish comes in any order."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for line in commander.output_queue:
                if all(word in line for word in words):
                    commander.output_queue.remove(line)
                    return str(line)
            await asyncio.sleep(0.01)  # the queue tells nobody when something comes


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="session")
async def test_a_run_is_started_from_a_file_and_its_progress_printed(
    commander: ComCamCalibCommander, tmp_path: Path
) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("script_mode: BIAS\nn_bias: 2\ncalib_collection: LSSTComCam/calib/u/commander\n")
    await commander.run_command(f'startCalibrationRun {options} reason="a b" program=SITCOM-826 note="it\'s #1"')
    accepted = await printed(commander, "startCalibrationRun was accepted", "runId")
    run_id = accepted.split('"')[3]
    configuration = await printed(commander, "runConfiguration", run_id)
    assert '"reason": "a b"' in configuration and '"program": "SITCOM-826"' in configuration
    assert '"note": "it\'s #1"' in configuration.replace("\\'", "'")
    await printed(commander, run_id, "BIAS.CERTIFY is SUCCEEDED")
    await printed(commander, f"run {run_id} is COMPLETED")
    await commander.run_command("status")
    assert run_id in await printed(commander, '"runState": 4')


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="session")
async def test_refusals_and_typing_errors_are_sentences(commander: ComCamCalibCommander, tmp_path: Path) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("n_biass: 2\n")
    with pytest.raises(Exception, match="n_biass: no such option; did you mean n_bias"):
        await commander.run_command(f"startCalibrationRun {options}")
    with pytest.raises(ValueError, match="give one file, not 2 words"):
        await commander.run_command("startCalibrationRun one two")
    with pytest.raises(ValueError, match=r"ends within a quotation .* nothing was sent"):
        await commander.run_command("startCalibrationRun reason=it's")
    with pytest.raises(ValueError, match="n_bias is no field of this command but a run option"):
        await commander.run_command("startCalibrationRun n_bias=3")
    with pytest.raises(ValueError, match="decertify needs reason"):
        await commander.run_command("decertify 20261122-001 FLAT")
    with pytest.raises(BadInputError, match=r"^There is no file .*none\.yaml with run options\.$"):
        await commander.run_command(f"startCalibrationRun {tmp_path / 'none.yaml'}")
    with pytest.raises(RefusedError, match=r"^There is no open run that could be aborted\.$"):
        await commander.run_command("abort")
    with pytest.raises(RefusedError, match=r"^enable not allowed in state [^;]*$"):
        await commander.run_command("enable")


async def test_commander_without_a_broker_says_so_and_ends() -> None:
    program = "from lsst.ts.comcamcalib.commander import command_comcamcalib; command_comcamcalib()"
    environment = {**os.environ, "LSST_KAFKA_BROKER_ADDR": "127.0.0.1:1", "LSST_TOPIC_SUBNAME": "nowhere"}
    done = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("The commander could not be started: ")


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="session")
async def test_failed_run_is_resumed_by_its_name_with_a_reason(
    commander: ComCamCalibCommander, observatory: Observatory, tmp_path: Path
) -> None:
    observatory.world.faults.set([Fault("worker", "error", match={"pipeline": "cpBias"}, text="no usable pixels")])
    options = tmp_path / "options.yaml"
    options.write_text("script_mode: BIAS\ncalib_collection: LSSTComCam/calib/u/commander\n")
    await commander.run_command(f"startCalibrationRun {options}")
    run_id = (await printed(commander, "startCalibrationRun was accepted", "runId")).split('"')[3]
    await printed(commander, f"run {run_id} is FAILED", "no usable pixels")
    with pytest.raises(
        Exception, match=f"There is no run 20010101-001; the latest is {run_id}, and `comcamcalib runs` lists all\\."
    ):
        await commander.run_command("resumeCalibrationRun 20010101-001")
    await commander.run_command(f'resumeCalibrationRun {run_id} reason="the disk was full"')
    await printed(commander, "resumeCalibrationRun was accepted", run_id, "of these done again: BIAS.GENERATE")
    await printed(commander, f"run {run_id} is RUNNING", ": the disk was full")
    await printed(commander, f"run {run_id} is COMPLETED")


@pytest.mark.observatory
@pytest.mark.asyncio(loop_scope="session")
async def test_help_names_every_command_with_its_words(commander: ComCamCalibCommander) -> None:
    text = "\n".join(commander.get_commands_help())
    assert "startCalibrationRun [file]" in text
    for command in ("status", "abort", "resumeCalibrationRun", "acceptVerification", "decertify", "enable"):
        assert command in text


@pytest.mark.parametrize(
    "line",
    [
        'run FLAT "two words"',
        "run 3 'two words'",
        'run calibType=flat reason="two words"',
        'reason="two words" runId=run calibType=3',
        "reason='two words' run FLAT",
        'run FLAT two" "words',
        "run FLAT 'two words' r_03 2",
        'run FLAT reason="two words" attempt=2 physicalFilter=r_03',
    ],
)
def test_fields_are_typed_in_order_or_by_name_with_blanks_in_quotes(line: str) -> None:
    words = shlex.split(line)
    expected = {"runId": "run", "calibType": 3, "reason": "two words"}
    fields = typed_fields("acceptVerification", words, ACCEPT, 3)
    seen = {name: fields.pop(name) for name in ("physicalFilter", "attempt") if name in fields}
    assert fields == expected and seen in ({}, {"physicalFilter": "r_03", "attempt": 2})


def test_an_equals_sign_in_a_text_is_no_name() -> None:
    words = shlex.split('run FLAT "gain=1.4 is right"')
    assert typed_fields("acceptVerification", words, ACCEPT, 3)["reason"] == "gain=1.4 is right"
    assert split_named(["a=b=c", "reason=a=b"], ACCEPT) == (["a=b=c"], {"reason": "a=b"})


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (
            "run FLAT one two 3 words",
            "acceptVerification has 1 word too many; its fields are runId, calibType, reason, physicalFilter, attempt;",
        ),
        ("run FLAT", "acceptVerification needs reason"),
        ("", "acceptVerification needs runId and calibType and reason"),
        ('run FLAT ""', "acceptVerification needs reason"),
        ("run SKY why", "calibType: 'SKY' is no whole number, nor one of BIAS, DARK"),
        ("run reason=a reason=b FLAT", "reason is given twice"),
        ("run FLAT n_bias=3", "n_bias is no field of this command but a run option"),
    ],
)
def test_what_can_not_be_sent_is_answered_with_a_sentence(line: str, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        typed_fields("acceptVerification", shlex.split(line), ACCEPT, 3)
