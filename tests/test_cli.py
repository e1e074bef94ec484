# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The program comcamcalib, as an operator types it: sentences and exit codes, never a traceback."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.parts import PARTS
from lsst.ts.comcamcalib.simulation.scenarios import SCENARIOS
from support.operator import Operator

on_the_bus = pytest.mark.observatory

LIMIT_S = 60.0
PROGRAM = "from lsst.ts.comcamcalib.cli import app; app()"
BIAS = "{script_mode: BIAS, n_bias: 1, n_processes: 1}"


@dataclasses.dataclass
class Done:
    """A program that has ended."""

    code: int
    output: str
    errors: str

    @property
    def last_words(self) -> str:
        """The last line of the errors; libraries may have warned before."""
        return self.errors.rstrip("\n").rpartition("\n")[2]


async def comcamcalib(*arguments: str, text: str = "", env: dict[str, str] | None = None) -> Done:
    """Run the program to its end, without a terminal."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PROGRAM, *arguments, stdin=pipe, stdout=pipe, stderr=pipe, env=env or dict(os.environ)
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(text.encode()), LIMIT_S)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    done = Done(process.returncode, output.decode(), errors.decode())
    assert "Traceback" not in done.output + done.errors, done.errors
    return done


def bare_environment(**variables: str) -> dict[str, str]:
    """Return an environment in which no observatory is known."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return {**kept, **variables}


# Without an observatory


async def test_trend_of_a_journal_needs_no_configuration_and_says_where_it_looked(tmp_path: Path) -> None:
    done = await comcamcalib("trend", "PTC", "--journal", str(tmp_path / "none.sqlite"), env=bare_environment())
    assert done.code == 1
    assert done.last_words.startswith(f"There is no journal {tmp_path / 'none.sqlite'}; ")


@pytest.mark.parametrize(
    "command",
    [
        ["status"],
        ["start"],
        ["resume"],
        ["watch"],
        ["abort"],
        ["enable"],
        ["accept", "20261122-001", "BIAS", "--reason", "good"],
        ["decertify", "20261122-001", "--reason", "bad"],
    ],
)
async def test_without_an_environment_it_says_what_to_source(command: list[str]) -> None:
    done = await comcamcalib(*command, env=bare_environment())
    assert done.code == 1
    assert "LSST_TOPIC_SUBNAME is not set" in done.errors and "Source the environment file" in done.errors


@pytest.mark.parametrize("command", [["accept", "20261122-001", "BIAS"], ["decertify", "20261122-001"]])
async def test_a_decision_needs_a_reason(command: list[str]) -> None:
    done = await comcamcalib(*command, env=bare_environment(LSST_TOPIC_SUBNAME="nowhere"))
    assert done.code == 2 and "--reason" in done.errors


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["accept", "20261122-001", "SKY", "--reason", "good"], "SKY: no such product; there are BIAS, DARK, "),
        (["accept", "20261122-001", "", "--reason", "good"], ": no such product; there are BIAS, DARK, "),
        (["accept", "20261122-001", "bias", "--reason", " "], "--reason: say why; it is recorded with your name."),
        (["decertify", "20261122-001", "SKY", "--reason", "bad"], "SKY: no such product; there are BIAS, DARK, "),
        (["decertify", "20261122-001", "--reason", ""], "--reason: say why; it is recorded with your name."),
    ],
)
async def test_what_was_typed_is_checked_before_the_csc_is_looked_for(command: list[str], sentence: str) -> None:
    done = await comcamcalib(*command, env=bare_environment())
    assert done.code == 1
    assert done.errors.startswith(sentence)


async def test_promote_says_what_it_lacks(tmp_path: Path) -> None:
    words = ["promote", "20261122-001", "--to", "u/me/copy", "--reason", "tests"]
    done = await comcamcalib(*words, env=bare_environment())
    assert done.code == 1 and "name its directory with --config-dir" in done.errors
    config = ["--config-dir", str(CONFIGURATION), "--site", "summit", "--journal", str(tmp_path / "none.sqlite3")]
    done = await comcamcalib(*words, *config, env=bare_environment())
    assert done.code == 1
    assert done.last_words == (
        f"There is no journal {tmp_path / 'none.sqlite3'}; journal_path in the CSC's configuration says where it is. "
        "Name the CSC's journal with --journal."
    )


async def test_broker_that_is_not_there_is_named() -> None:
    environment = bare_environment(
        LSST_TOPIC_SUBNAME="nowhere",
        LSST_SITE="test",
        LSST_KAFKA_BROKER_ADDR="127.0.0.1:1",
        LSST_SCHEMA_REGISTRY_URL="http://127.0.0.1:1",
    )
    done = await comcamcalib("status", env=environment)
    assert done.code == 1
    assert "127.0.0.1:1" in done.errors


async def test_options_that_can_not_be_read_are_named(tmp_path: Path) -> None:
    (tmp_path / "picture.yaml").write_bytes(b"\xff\xfe\x00\x80")
    environment = bare_environment(LSST_TOPIC_SUBNAME="nowhere")
    for name, sentence in {
        "nosuch.yaml": f"There is no file {tmp_path / 'nosuch.yaml'} with run options.",
        "picture.yaml": f"The run options in {tmp_path / 'picture.yaml'} can't be read: this is no text in UTF-8.",
        ".": f"The run options in {tmp_path} can't be read: Is a directory.",
    }.items():
        for command in ("start", "plan"):
            words = ["--config-dir", str(CONFIGURATION)] if command == "plan" else []
            done = await comcamcalib(command, str(tmp_path / name), *words, env=environment)
            assert (done.code, done.errors) == (1, f"{sentence}\n")


@pytest.mark.parametrize("command", ["plan", "runs", "report", "trend", "promote"])
async def test_directory_of_the_configuration_that_is_not_there_is_named(command: str, tmp_path: Path) -> None:
    words = ["20261122-001", "--to", "u/me/copy", "--reason", "tests"] if command == "promote" else []
    done = await comcamcalib(command, *words, "--config-dir", str(tmp_path / "nosuch"), env=bare_environment())
    assert done.code == 1
    assert done.errors.splitlines()[:2] == [
        f"There is no directory {tmp_path / 'nosuch'} with configuration files.",
        "Name the directory of the CSC's configuration with --config-dir.",
    ]


@pytest.mark.parametrize("command", ["runs", "report", "trend"])
async def test_journal_that_is_a_directory_is_named(command: str, tmp_path: Path) -> None:
    done = await comcamcalib(command, "--journal", str(tmp_path), env=bare_environment())
    assert done.code == 1
    assert done.last_words == (
        f"There is no journal {tmp_path}: this is a directory; journal_path in the CSC's configuration says where it "
        "is."
    )


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["demo", "--data", "{file}"], "{file} can't be used (Not a directory); name another folder with --data"),
        (["demo", "--options", "{file}"], "The run options in {file} can't be read: this is no text in UTF-8."),
        (["observatory", "--repo", "{file}"], "The folder {file} can't be made (File exists); name another one with"),
        (
            ["observatory", "--repo", "{file}.repo", "--env-file", "{file}/environment.sh"],
            "The folder {file} can't be made (File exists); name another one with --env-file.",
        ),
    ],
)
async def test_places_that_a_simulation_can_not_use_are_named(
    command: list[str], sentence: str, tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xff\xfe\x00\x80")
    done = await comcamcalib(*(word.format(file=file) for word in command), env=bare_environment())
    assert done.code == 1
    assert done.last_words.startswith(sentence.format(file=file))


CONFIGURATION = Path(__file__).parents[1] / "config" / "ComCamCalib" / "v1"


async def plan(*arguments: str, text: str = "", env: dict[str, str] | None = None) -> Done:
    """Run ``comcamcalib plan -`` on a machine that knows no observatory."""
    return await comcamcalib("plan", "-", *arguments, text=text, env=env or bare_environment())


async def test_plan_is_printed_without_an_observatory() -> None:
    done = await plan("--config-dir", str(CONFIGURATION), "--site", "summit", text=BIAS)
    assert (done.code, done.errors) == (0, "")
    assert "This run would take 1 exposure, run 2 jobs" in done.output
    assert "-p ${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml -b LSSTComCam -o u/ocps/<job cpBias> " in done.output
    assert "AND exposure IN (<exposures of BIAS>)" in done.output
    assert "Would be certified in LSSTComCam/calib/daily" in done.output
    assert "was not looked at: this machine knows no repository LSSTComCam; name an index" in done.output
    assert "Expected duration: " in done.output


async def test_plan_finds_configuration_and_site_as_the_csc_does(tmp_path: Path) -> None:
    folder = tmp_path / "ComCamCalib" / "v1"
    folder.mkdir(parents=True)
    (folder / "_init.yaml").write_text((CONFIGURATION / "_init.yaml").read_text())
    (folder / "_hill.yaml").write_text(
        (CONFIGURATION / "_summit.yaml").read_text().replace("repo: LSST", "repo: /hill/LSST")
    )
    (folder / "quick.yaml").write_text("max_jobs: 1\n")
    environment = bare_environment(TS_CONFIG_OCS_DIR=str(tmp_path), LSST_SITE="hill")
    done = await plan("--override", "quick.yaml", "--no-look", text=BIAS, env=environment)
    assert done.code == 0
    assert "-b /hill/LSSTComCam " in done.output
    assert "At most 1 job runs at once" in done.output
    assert "was not looked at: --no-look was given." in done.output


async def test_plan_names_all_mistakes_and_prints_no_plan() -> None:
    text = "{script_mode: BIAS, n_bais: 3, do_ptc: true}"
    done = await plan("--config-dir", str(CONFIGURATION), "--site", "summit", text=text)
    assert (done.code, done.output) == (1, "")
    assert "n_bais: no such option; did you mean n_bias?" in done.errors
    assert "do_ptc true: needs script_mode BIAS_DARK_FLAT" in done.errors


async def test_plan_without_a_configuration_says_where_to_name_it(tmp_path: Path) -> None:
    done = await plan(text=BIAS)
    assert done.code == 1
    assert "--config-dir" in done.errors and "TS_CONFIG_OCS_DIR" in done.errors
    assert "The site is summit; name yours with --site, or set the environment variable LSST_SITE." in done.errors
    done = await plan("--config-dir", str(CONFIGURATION), "--site", "moon", text=BIAS)
    assert done.code == 1
    assert "There is no configuration file" in done.errors and "_moon.yaml" in done.errors
    assert "The site is moon; name yours with --site, or set the environment variable LSST_SITE." in done.errors


async def test_interface_of_the_installed_component_is_this_packages() -> None:
    done = await comcamcalib("interface", "check")
    assert (done.code, done.output) == (0, "The installed interface is this package's.\n")


async def test_scenarios_are_listed_and_an_unknown_one_is_refused_with_the_list(tmp_path: Path) -> None:
    done = await comcamcalib("scenarios")
    assert done.code == 0
    names = {line.split()[0] for line in done.output.splitlines()}
    assert names == set(SCENARIOS)
    assert "lamp 0.02 {'image_type': 'FLAT'}" in done.output
    done = await comcamcalib("observatory", "--repo", str(tmp_path / "repo"), "--scenario", "nosuch")
    assert done.code == 1
    assert "There is no scenario nosuch" in done.errors and "image-lost" in done.errors
    assert not (tmp_path / "repo").exists()


async def test_wrong_part_of_the_observatory_is_refused_with_the_list(tmp_path: Path) -> None:
    done = await comcamcalib("observatory", "--repo", str(tmp_path / "repo"), "--without", "OCPS", "--without", "CSC")
    assert done.code == 1
    assert done.errors.strip() == (
        "The observatory has no part CSC. Its parts are: "
        "CCCamera, CCHeaderService, CCOODS, OCPS, UWS, broker, registry."
    )
    assert not (tmp_path / "repo").exists()


async def test_observatory_without_a_server_asks_where_the_other_one_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("COMCAMCALIB_UWS_URL", raising=False)
    done = await comcamcalib("observatory", "--repo", str(tmp_path / "repo"), "--without", "uws")
    assert done.code == 1
    assert "set the environment variable COMCAMCALIB_UWS_URL to its address" in done.errors


async def test_help_names_every_part_that_can_be_left_out() -> None:
    done = await comcamcalib("observatory", "--help")
    assert done.code == 0
    assert [part for part in PARTS if part not in done.output] == []


async def test_help_names_every_command() -> None:
    done = await comcamcalib("--help")
    assert done.code == 0
    own = {"start", "resume", "watch", "status", "abort", "enable", "interface"}
    commands = own | {"observatory", "scenarios", "demo"}
    assert [command for command in commands if command not in done.output] == []


async def test_help_of_resume_says_which_run_and_which_are_done_again() -> None:
    done = await comcamcalib("resume", "--help")
    assert done.code == 0
    words = " ".join(done.output.split())
    for text in ("--reason", "--no-watch", "the latest that was interrupted or failed", "What has succeeded stays"):
        assert text in words


# With one


@pytest_asyncio.fixture(loop_scope="session")
async def disabled_csc(csc: ComCamCalibCsc, operator: Operator) -> AsyncIterator[ComCamCalibCsc]:
    await operator.bring(start=salobj.State.DISABLED)
    yield csc


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_run_is_started_watched_and_shown_afterwards(enabled_csc: ComCamCalibCsc, tmp_path: Path) -> None:
    nothing = await comcamcalib("status")
    assert (nothing.code, nothing.last_words) == (1, "There has been no run yet.")
    options = tmp_path / "options.yaml"
    options.write_text(BIAS)
    done = await comcamcalib("start", str(options), "--reason", "tests", "--note", "by hand")
    assert done.code == 0, done.errors
    lines = done.output.splitlines()
    (accepted,) = (line for line in lines if line.endswith(": The run was accepted"))
    run_id = accepted.split()[3].rstrip(":")
    for words in ("BIAS 1 of 1: CC_O_", "BIAS.GENERATE", "completed", "PASSED", "certified", "COMPLETED"):
        assert any(words in line for line in lines), words
    assert f"run {run_id}: All stages succeeded" in done.output
    status = await comcamcalib("status")
    assert status.code == 0
    assert status.output.startswith(f"Run {run_id} is COMPLETED. All stages succeeded")
    assert "1 of 1 images taken." in status.output
    assert [line.split()[:2] for line in status.output.splitlines()[2:]] == [
        [f"BIAS.{kind}", "SUCCEEDED"] for kind in ("ACQUIRE", "INGEST", "GENERATE", "VERIFY", "CERTIFY")
    ]
    as_json = await comcamcalib("status", run_id, "--json")
    assert json.loads(as_json.output)["runId"] == run_id
    watched = await comcamcalib("watch")
    assert (watched.code, watched.output) == (0, status.output)
    unknown = await comcamcalib("status", "20010101-001")
    assert unknown.code == 1
    assert unknown.last_words == (
        f"There is no run 20010101-001; the latest is {run_id}, and `comcamcalib runs` lists all."
    )


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_bad_options_are_answered_with_all_their_mistakes(
    enabled_csc: ComCamCalibCsc, repository_root: Path
) -> None:
    done = await comcamcalib("start", str(repository_root / "tests" / "data" / "procedure_example.yaml"))
    assert done.code == 1
    assert "exp_ttimes_dark: no such option; did you mean exp_times_dark?" in done.errors.splitlines()
    assert 'script_mode": no such option; did you mean script_mode?' in done.errors.splitlines()
    assert done.output == ""


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_run_is_started_without_watching_aborted_and_watched_to_its_end(
    enabled_csc: ComCamCalibCsc, observatory: Observatory, operator: Operator
) -> None:
    observatory.world.faults.set([Fault("worker", "slow", value=600.0)])
    started = await comcamcalib("start", "-", "--no-watch", text=BIAS)
    assert started.code == 0, started.errors
    run_id = started.output.split()[1]
    again = await comcamcalib("start", "-", text=BIAS)
    assert again.code == 1 and f"Run {run_id} is open" in again.errors
    watching = asyncio.create_task(comcamcalib("watch"))
    await operator.hear("runState", runId=run_id, state=2)
    await operator.hear("jobState", runId=run_id, phase="executing")
    aborted = await comcamcalib("abort")
    assert aborted.code == 0 and "being aborted" in aborted.output
    watched = await watching
    assert watched.code == 1
    assert "ABORTED" in watched.output and run_id in watched.output
    nothing = await comcamcalib("abort")
    assert (nothing.code, nothing.last_words) == (1, "There is no open run that could be aborted.")
    shown = await comcamcalib("watch")
    assert shown.code == 1 and f"Run {run_id} is ABORTED." in shown.output


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_failed_run_is_a_failure_of_the_program_and_its_cause_is_said_once(
    enabled_csc: ComCamCalibCsc, observatory: Observatory
) -> None:
    observatory.world.faults.set([Fault("worker", "error", match={"pipeline": "cpBias"}, text="no usable pixels")])
    for done in (await comcamcalib("start", "-", text=BIAS), await comcamcalib("watch")):
        assert done.code == 1
        assert done.output.count("no usable pixels") == 1
        end = "Failed (2 stages that need them were skipped): BIAS.GENERATE"
        assert [line for line in done.output.splitlines() if line.endswith(end) and "FAILED" in line]
    status = await comcamcalib("status")
    assert (status.code, status.output) == (0, done.output)


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_failed_run_is_resumed_and_watched_to_its_end(
    enabled_csc: ComCamCalibCsc, observatory: Observatory, operator: Operator
) -> None:
    nothing = await comcamcalib("resume")
    assert (nothing.code, nothing.last_words) == (
        1,
        "No run was interrupted or has failed, so there is none to resume. An aborted run must be named.",
    )
    fault = Fault("worker", "error", match={"pipeline": "cpBias"}, times=2, text="no usable pixels")
    observatory.world.faults.set([fault])
    failed = await comcamcalib("start", "-", text=BIAS)
    assert failed.code == 1
    # It fails once more.
    again = await comcamcalib("resume", "--reason", "try again")
    assert again.code == 1
    first = next(line for line in again.output.splitlines() if " goes on. " in line)
    run_id = first.split()[1]
    assert first == (
        f"Run {run_id} goes on. No frame of the plan is taken again; stages to be done: BIAS.GENERATE, BIAS.VERIFY, "
        "BIAS.CERTIFY; of these done again: BIAS.GENERATE."
    )
    assert f"run {run_id}: Resumed by " in again.output and ": try again" in again.output
    assert "no usable pixels" in again.output and "FAILED" in again.output
    done = await comcamcalib("resume", run_id)
    assert done.code == 0, done.output
    assert f"run {run_id}: All stages succeeded" in done.output
    ended = await comcamcalib("resume", run_id)
    assert (ended.code, ended.last_words) == (1, f"Run {run_id} is COMPLETED: there is nothing to resume.")
    assert len({one.exposureId for one in operator.samples("imageTaken")}) == 1


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_aborted_run_must_be_named_and_goes_on_without_watching(
    enabled_csc: ComCamCalibCsc, observatory: Observatory, operator: Operator
) -> None:
    observatory.world.faults.set([Fault("worker", "slow", value=600.0)])
    started = await comcamcalib("start", "-", "--no-watch", text=BIAS)
    run_id = started.output.split()[1]
    await operator.hear("jobState", runId=run_id, phase="executing")
    await comcamcalib("abort")
    await operator.until_ended(run_id)
    unnamed = await comcamcalib("resume")
    assert unnamed.code == 1 and unnamed.last_words.endswith("An aborted run must be named.")
    resumed = await comcamcalib("resume", run_id, "--no-watch")
    assert resumed.code == 0, resumed.errors
    assert f"Run {run_id} goes on. " in resumed.output and "COMPLETED" not in resumed.output
    await operator.hear("runState", runId=run_id, state=4)


@on_the_bus
@pytest.mark.asyncio(loop_scope="session")
async def test_csc_is_enabled_from_any_state_and_commands_before_are_refused(
    disabled_csc: ComCamCalibCsc, operator: Operator
) -> None:
    refused = await comcamcalib("start", "-", text=BIAS)
    assert refused.code == 1
    assert "DISABLED" in refused.errors and "bring ComCamCalib to ENABLED first" in refused.errors
    late = await comcamcalib("enable", "--override", "night.yaml")
    assert late.code == 1 and "so night.yaml can't be used: send it to STANDBY first" in " ".join(late.errors.split())
    assert disabled_csc.summary_state is salobj.State.DISABLED
    for _ in range(2):
        done = await comcamcalib("enable")
        assert (done.code, done.output) == (0, "ComCamCalib is ENABLED.\n"), done.errors
    assert disabled_csc.summary_state is salobj.State.ENABLED
