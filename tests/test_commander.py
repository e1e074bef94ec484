# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The commander: what is typed reaches the CSC, what the CSC tells is printed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsst.ts.comcamcalib.commander import ComCamCalibCommander
from lsst.ts.comcamcalib.csc import ComCamCalibCsc

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

LIMIT_S = 60.0


@pytest_asyncio.fixture(loop_scope="session")
async def commander(enabled_csc: ComCamCalibCsc) -> AsyncIterator[ComCamCalibCommander]:
    async with ComCamCalibCommander() as commander:
        commander.testing = True
        yield commander


async def printed(commander: ComCamCalibCommander, *words: str) -> str:
    """Wait until a line is printed that has all of the words, and take it; what topics tell comes in any order."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            for line in commander.output_queue:
                if all(word in line for word in words):
                    commander.output_queue.remove(line)
                    return str(line)
            await asyncio.sleep(0.01)  # the queue tells nobody when something comes


async def test_a_run_is_started_from_a_file_and_its_progress_printed(
    commander: ComCamCalibCommander, tmp_path: Path
) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("script_mode: BIAS\nn_bias: 2\ncalib_collection: LSSTComCam/calib/u/commander\n")
    await commander.run_command(f"startCalibrationRun {options}")
    accepted = await printed(commander, "startCalibrationRun was accepted", "runId")
    run_id = accepted.split('"')[3]
    await printed(commander, run_id, "BIAS.CERTIFY is SUCCEEDED")
    await printed(commander, f"run {run_id} is COMPLETED")
    await commander.run_command("status")
    assert run_id in await printed(commander, '"runState": 4')


async def test_refusals_and_typing_errors_are_sentences(commander: ComCamCalibCommander, tmp_path: Path) -> None:
    options = tmp_path / "options.yaml"
    options.write_text("n_biass: 2\n")
    with pytest.raises(Exception, match="n_biass: no such option; did you mean n_bias"):
        await commander.run_command(f"startCalibrationRun {options}")
    with pytest.raises(ValueError, match="one file is wanted, not 2 words"):
        await commander.run_command("startCalibrationRun one two")
    with pytest.raises(FileNotFoundError):
        await commander.run_command(f"startCalibrationRun {tmp_path / 'none.yaml'}")


async def test_help_names_every_command_with_its_words(commander: ComCamCalibCommander) -> None:
    text = "\n".join(commander.get_commands_help())
    assert "startCalibrationRun [file]" in text
    for command in ("status", "abort", "resumeCalibrationRun", "acceptVerification", "decertify", "enable"):
        assert command in text
