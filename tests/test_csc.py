# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The CSC as a CSC: states, configuration, commands in the wrong state, telemetry."""

from __future__ import annotations

import asyncio
import html
import itertools
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.enums import ErrorCode
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.operator import Operator

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

LIMIT_S = 30.0
PAGE = {"address": "127.0.0.1", "port": 0, "frame_ancestors": []}

STARTING_PROGRAM = """
import asyncio, sys
from lsst.ts.comcamcalib.csc import ComCamCalibCsc

async def main():
    async with ComCamCalibCsc() as csc:
        state, loaded = csc.summary_state.name, "lsst.daf.butler" in sys.modules
    print(state, loaded and not loaded_before)

from lsst.ts.observatory.control.maintel import comcam  # it may load Butler for itself
loaded_before = "lsst.daf.butler" in sys.modules
asyncio.run(main())
"""


def write_override(observatory: Observatory, name: str, values: dict[str, Any] | str) -> str:
    """Write a configuration override; return its name."""
    folder = Path(observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    (folder / name).write_text(values if isinstance(values, str) else yaml.safe_dump(values))
    return name


async def shown(csc: ComCamCalibCsc, path: str) -> str:
    """Return what the CSC's page answers."""
    assert csc.status_page.address is not None, "there is no page"
    host, port = csc.status_page.address
    async with aiohttp.ClientSession() as session, session.get(f"http://{host}:{port}{path}") as response:
        return await response.text()


# Start and states


async def test_csc_is_in_standby_before_butler_is_loaded(observatory: Observatory) -> None:
    arguments = [sys.executable, "-c", STARTING_PROGRAM]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, text=True, timeout=LIMIT_S, env=dict(os.environ)
    )
    assert (done.stdout.split(), done.returncode) == (["STANDBY", "False"], 0), done.stderr


async def test_csc_goes_through_all_states_and_back(csc: ComCamCalibCsc, operator: Operator) -> None:
    states = salobj.State
    await operator.hear("summaryState", summaryState=states.STANDBY)
    for _ in range(2):
        await operator.bring(start=states.DISABLED, enable=states.ENABLED)
        await operator.bring(disable=states.DISABLED, standby=states.STANDBY)
    assert not [one for one in operator.samples("errorCode") if one.errorCode]


async def test_alarms_of_a_dead_process_are_taken_back_at_the_start(csc: ComCamCalibCsc, operator: Operator) -> None:
    alarms = await operator.hear("alarms")
    assert (alarms.runId, alarms.reason) == ("", "")
    for name in ("runFailed", "verificationFailed", "certificationFailed", "backendUnreachable"):
        assert getattr(alarms, name) is False
    assert alarms.operatorDecisionNeeded is alarms.journalDegraded is False


async def test_progress_is_published_at_once_and_every_ten_seconds_while_idle(
    csc: ComCamCalibCsc, operator: Operator
) -> None:
    first = await operator.hear("progress")
    assert (first.runId, first.state, first.fractionComplete) == ("", 0, 0.0)
    await operator.wait_for("second progress", lambda: len(operator.samples("progress")) > 1, limit_s=15.0)
    gap = operator.samples("progress")[1].private_sndStamp - first.private_sndStamp
    assert 9.5 < gap < 12.0
    beats = [one.private_sndStamp for one in operator.samples("heartbeat")]
    assert len(beats) > 7 and max(other - one for one, other in itertools.pairwise(beats)) < 2.5


async def test_program_starts_in_standby_and_ends_on_exit_control(
    observatory: Observatory, operator: Operator, repository_root: Path, tmp_path: Path
) -> None:
    script = repository_root / "bin" / "run_comcamcalib"
    with (tmp_path / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, str(script)), stdout=log, stderr=log, env=dict(os.environ)
        )
    try:
        await operator.hear("summaryState", summaryState=salobj.State.STANDBY)
        versions = await operator.remote.evt_softwareVersions.aget(timeout=LIMIT_S)
        assert versions.cscVersion == ComCamCalibCsc.version
        await operator.command("exitControl")
        assert await asyncio.wait_for(process.wait(), LIMIT_S) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.asyncio(loop_scope="session")
async def test_what_the_program_logs_is_on_standard_error_too(observatory: Observatory, repository_root: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, str(repository_root / "bin" / "run_comcamcalib"), "--state", "disabled"),
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "LSST_SITE": "a_site_without_configuration"},
    )
    assert process.stderr is not None
    said = ""
    try:
        async with asyncio.timeout(LIMIT_S):
            while "instead of going to DISABLED" not in said:
                said += (await process.stderr.readline()).decode()
                assert len(said) < 10_000, "the whole schema is printed"
    finally:
        process.kill()
        await process.wait()
    assert "start failed: The configuration of _init.yaml is not valid: " in said
    assert "'uws_url' is a required property" in said


@pytest.mark.parametrize(
    ("options", "changed", "sentences"),
    [
        (
            ["--configdir", "{tmp}/nosuch"],
            {},
            [
                "There is no directory {tmp}/nosuch with configuration files.",
                "Name the directory of the CSC's configuration with --configdir.",
            ],
        ),
        (
            ["--configdir", "{tmp}", "--state", "enabled"],
            {},
            [
                "There is no configuration file {tmp}/_init.yaml; that directory has no YAML file.",
                "Name the directory of the CSC's configuration with --configdir.",
            ],
        ),
        (
            [],
            {"TS_CONFIG_OCS_DIR": "{tmp}"},
            [
                "There is no directory {tmp}/ComCamCalib/v1 with configuration files.",
                "The environment variable TS_CONFIG_OCS_DIR is {tmp}: set it to the checkout of ts_config_ocs, or name "
                "the directory with --configdir.",
            ],
        ),
        (
            [],
            {"TS_CONFIG_OCS_DIR": "", "LSST_SITE": "", "LSST_TOPIC_SUBNAME": ""},
            [
                "The environment variable LSST_TOPIC_SUBNAME is not set: the CSC needs it for the names of Kafka's "
                "topics.",
                "The environment variable LSST_SITE is not set: the CSC needs it for the site whose configuration "
                "counts.",
                "Source the environment file of your observatory; `comcamcalib observatory` writes that of a simulated "
                "one.",
                "The CSC's configuration can't be found: name its directory with --configdir, or set the environment "
                "variable TS_CONFIG_OCS_DIR.",
            ],
        ),
    ],
)
async def test_program_that_lacks_something_says_what_and_ends(
    observatory: Observatory,
    repository_root: Path,
    tmp_path: Path,
    options: list[str],
    changed: dict[str, str],
    sentences: list[str],
) -> None:
    def named(texts: Iterable[str]) -> list[str]:
        return [text.format(tmp=tmp_path) for text in texts]

    program = [sys.executable, str(repository_root / "bin" / "run_comcamcalib"), *named(options)]
    environment = {**os.environ, **dict(zip(changed, named(changed.values()), strict=True))}
    done = await asyncio.to_thread(
        subprocess.run, program, capture_output=True, text=True, timeout=LIMIT_S, env=environment
    )
    assert (done.returncode, done.stderr.splitlines()) == (1, named(sentences))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        (
            {"LSST_KAFKA_BROKER_ADDR": "127.0.0.1:1"},
            "no Kafka broker answered at 127.0.0.1:1 within 10 s",
        ),
        (
            {"LSST_TOPIC_SUBNAME": "elsewhere"},
            "Kafka topics (lsst.elsewhere.ComCamCalib.command_abort, ",
        ),
        (
            {"LSST_KAFKA_CONSUMER_CONFIGURATION": "/nosuch.yaml"},
            "The file that LSST_KAFKA_CONSUMER_CONFIGURATION names can't be used: ",
        ),
    ],
)
async def test_program_without_a_broker_that_it_can_use_says_so_and_ends(
    observatory: Observatory, repository_root: Path, changed: dict[str, str], sentence: str
) -> None:
    program = [sys.executable, str(repository_root / "bin" / "run_comcamcalib")]
    done = await asyncio.to_thread(
        subprocess.run, program, capture_output=True, text=True, timeout=LIMIT_S, env={**os.environ, **changed}
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    last = done.stderr.splitlines()[-1]
    assert last.startswith("The CSC could not be started: ") and sentence in last


# Configuration

CONFIG_MISTAKES: dict[str, tuple[dict[str, Any] | str, str]] = {
    "unknown_field": ({"uws_ulr": "http://127.0.0.1:1"}, "uws_ulr"),
    "wrong_type": ({"max_jobs": "two"}, "max_jobs"),
    "limit_without_sense": ({"limits": {"preflight": -1}}, "preflight"),
    "default_that_is_no_option": ({"run_defaults": {"n_bais": 3}}, "n_bais"),
    "default_that_is_impossible": ({"run_defaults": {"exp_times_dark": 0}}, "exp_times_dark"),
    "pattern_without_job": ({"log_path_pattern": "/scratch/{job}/ocps.log"}, "log_path_pattern"),
    "product_that_is_none": ({"recipes": {"BIAS": {"builds_on": ["FRINGE"]}}}, "FRINGE"),
    "class_that_is_not_there": ({"instrument": {"camera_class": "lsst.ts.nowhere.Camera"}}, "instrument.camera_class"),
    "no_yaml": ("limits: [", "mistake.yaml"),
}


@pytest.mark.parametrize("mistake", CONFIG_MISTAKES)
async def test_mistake_in_the_configuration_is_refused_with_a_sentence(
    observatory: Observatory, csc: ComCamCalibCsc, operator: Operator, mistake: str
) -> None:
    values, named = CONFIG_MISTAKES[mistake]
    name = write_override(observatory, "mistake.yaml", values)
    sentences = "\n".join(await operator.refused("start", configurationOverride=name))
    assert named in sentences
    assert "Traceback" not in sentences
    assert csc.summary_state is salobj.State.STANDBY
    await operator.bring(start=salobj.State.DISABLED)


# Journal


def make_folder(path: Path) -> None:
    path.mkdir()


def make_garbage(path: Path) -> None:
    path.write_bytes(b"This is not a database. " * 100)


def make_damaged(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, state INTEGER NOT NULL, entries TEXT NOT NULL)")
    connection.execute("INSERT INTO runs VALUES ('20261122-001', 99, '[]')")
    connection.commit()
    connection.close()


def make_newer(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 99")
    connection.close()


def make_older(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE runs (run_id TEXT PRIMARY KEY, state INTEGER NOT NULL, entries TEXT NOT NULL)")
    connection.execute("PRAGMA user_version = 1")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("spoil", [make_folder, make_garbage, make_newer, make_older, make_damaged])
async def test_unusable_journal_is_a_fault_with_a_sentence(
    observatory: Observatory,
    csc: ComCamCalibCsc,
    operator: Operator,
    tmp_path: Path,
    spoil: Callable[[Path], None],
) -> None:
    path = tmp_path / "journal.sqlite3"
    spoil(path)
    name = write_override(observatory, "journal.yaml", {"journal_path": str(path), "page": PAGE})
    (sentence,) = await operator.refused("start", configurationOverride=name)
    assert sentence.startswith("The CSC went to FAULT: ") and str(path) in sentence
    await operator.hear("summaryState", summaryState=salobj.State.FAULT)
    error_code = await operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_UNUSABLE)
    assert str(path) in error_code.errorReport
    for command in ("startCalibrationRun", "abort", "status", "enable"):
        (sentence,) = await operator.refused(command)
        assert "FAULT" in sentence.upper()
    # The page is there, and says why.
    sentence = error_code.errorReport.rstrip(".")
    async with asyncio.timeout(LIMIT_S):
        while "CSC FAULT" not in (text := await shown(csc, "/")):  # noqa: ASYNC110  it is a second old
            await asyncio.sleep(0.05)
    assert f"{sentence}." in html.unescape(text)
    assert json.loads(await shown(csc, "/readyz")) == {"ready": False, "reason": f"{sentence}."}
    await operator.bring(standby=salobj.State.STANDBY, start=salobj.State.DISABLED, enable=salobj.State.ENABLED)


async def test_journal_that_can_not_be_made_is_a_fault(
    observatory: Observatory, csc: ComCamCalibCsc, operator: Operator, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    name = write_override(observatory, "journal.yaml", {"journal_path": str(tmp_path / "file" / "journal.sqlite3")})
    await operator.refused("start", configurationOverride=name)
    await operator.hear("errorCode", errorCode=ErrorCode.JOURNAL_UNUSABLE)
    await operator.hear("summaryState", summaryState=salobj.State.FAULT)


# Commands in the wrong state


@pytest.mark.parametrize("command", ["enable", "disable", "standby"])
async def test_change_of_state_that_is_not_possible_is_published_as_refused(
    csc: ComCamCalibCsc, operator: Operator, command: str
) -> None:
    (sentence,) = await operator.refused(command)
    assert f"{command} not allowed in state" in sentence and "STANDBY" in sentence


COMMANDS = {
    "startCalibrationRun": {},
    "abort": {},
    "status": {},
    "resumeCalibrationRun": {"reason": "tests"},
    "acceptVerification": {"runId": "20261122-001", "calibType": 1, "reason": "tests"},
    "decertify": {"runId": "20261122-001", "calibType": 0, "reason": "tests"},
}


async def test_every_command_in_a_wrong_state_is_rejected_with_a_sentence(
    csc: ComCamCalibCsc, operator: Operator, journal_path: Path
) -> None:
    for name, fields in COMMANDS.items():
        (sentence,) = await operator.refused(name, **fields)
        assert "STANDBY" in sentence
    assert not journal_path.exists()
    await operator.bring(start=salobj.State.DISABLED)
    for name, fields in COMMANDS.items():
        (sentence,) = await operator.refused(name, **fields)
        assert ("no run" if name == "status" else "DISABLED") in sentence
    await operator.bring(enable=salobj.State.ENABLED)
    for name, fields in COMMANDS.items():
        if name != "startCalibrationRun":
            (sentence,) = await operator.refused(name, **fields)
            expected = {
                "abort": "There is no open run",
                "status": "There has been no run yet",
                "resumeCalibrationRun": "so there is none to resume. An aborted run must be named.",
            }
            assert expected.get(name, "There is no run 20261122-001; there has been no run yet.") in sentence
    assert not operator.samples("runState")
    assert csc.summary_state is salobj.State.ENABLED
