# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The procedure's run, from a bare Remote, with the CSC in a process of its own.

One run is made for all of these tests; each looks at another part of what it published and left.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import json
import math
import re
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
import yaml
from lsst.daf.butler import Butler
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.options import OPTION_DESCRIPTIONS
from lsst.ts.comcamcalib.report.data import Document
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.world import day_obs_of
from support.observatory import WITH_REPORTS, running_csc_process, without_journal
from support.operator import Operator
from support.repository import certified

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

COLLECTION = "LSSTComCam/calib/u/demo/daily.test1"
DETECTORS = [f"R22_S{row}{column}" for row in range(3) for column in range(3)]
FRAMES = {CalibType.BIAS: 6, CalibType.DARK: 6, CalibType.FLAT: 14}
PAIRS = 7

# What must have SUCCEEDED before a stage begins. A product may be built on another before that one is judged, but
# is certified only if the verdicts on all that it is built on are good.
NEEDS = {
    **{f"{name}.VERIFY": [f"{name}.GENERATE"] for name in ("BIAS", "DARK", "FLAT", "DEFECTS", "PTC", "GAIN")},
    "BIAS.CERTIFY": ["BIAS.VERIFY"],
    "DARK.CERTIFY": ["BIAS.VERIFY", "DARK.VERIFY"],
    "FLAT.CERTIFY": ["BIAS.VERIFY", "DARK.VERIFY", "FLAT.VERIFY"],
    "DEFECTS.CERTIFY": ["DEFECTS.VERIFY"],
    "PTC.CERTIFY": ["BIAS.VERIFY", "DARK.VERIFY", "PTC.VERIFY"],
}
# What must have SUCCEEDED before the last job of a stage is submitted.
LAST_JOB_NEEDS = {
    "BIAS.GENERATE": ["BIAS.INGEST"],
    "DARK.GENERATE": ["DARK.INGEST", "BIAS.GENERATE"],
    "FLAT.GENERATE": ["FLAT.INGEST", "BIAS.GENERATE", "DARK.GENERATE"],
    "DEFECTS.GENERATE": ["BIAS.INGEST", "DARK.INGEST", "FLAT.INGEST"],
    "PTC.GENERATE": ["FLAT.INGEST", "BIAS.GENERATE", "DARK.GENERATE"],
    "GAIN.GENERATE": ["FLAT.INGEST", "BIAS.GENERATE", "DARK.GENERATE"],
}
STAGES = {
    *NEEDS,
    *LAST_JOB_NEEDS,
    *(f"{name}.{kind}" for name in ("BIAS", "DARK", "FLAT") for kind in ("ACQUIRE", "INGEST")),
    "REPORT",
}
JOBS = {
    **{f"{name}.{kind}": 1 for name in ("BIAS", "DARK", "FLAT") for kind in ("GENERATE", "VERIFY")},
    **{"DEFECTS.GENERATE": 4, "PTC.GENERATE": 1, "PTC.VERIFY": 1, "GAIN.GENERATE": 1},
}


@dataclasses.dataclass
class Story:
    """A run that was watched from its beginning to its end."""

    observatory: Observatory
    operator: Operator
    config_text: str
    log: Path
    run_id: str = ""
    result: str = ""
    answered_after_s: float = 0.0
    day_obs: int = 0
    begin: float = 0.0
    end: float = 0.0

    def samples(self, topic: str, **fields: object) -> list[Any]:
        return self.operator.samples(topic, runId=self.run_id, **fields)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def csc_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("csc") / "csc.log"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def story(session_observatory: Observatory, csc_log: Path, repository_root: Path) -> AsyncIterator[Story]:
    """The procedure's example with gains from flat pairs; the CSC goes on running."""
    without_journal(session_observatory)
    options = yaml.safe_load((repository_root / "config" / "examples" / "procedure.yaml").read_text())
    config = yaml.safe_dump({**options, "do_gain_from_flat_pairs": True})
    async with (
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc_process(csc_log, "--state", "enabled", "--override", WITH_REPORTS),
    ):
        await operator.hear("summaryState", summaryState=salobj.State.ENABLED)
        story = Story(session_observatory, operator, config, csc_log, begin=utils.current_tai())
        await _make(story)
        yield story
    await session_observatory.reset()


async def _make(story: Story) -> None:
    operator = story.operator
    began = time.monotonic()
    fields = {"config": story.config_text, "reason": "e2e", "program": "BLOCK-T1", "note": "a whole run"}
    ack = await operator.command("startCalibrationRun", **fields)
    story.answered_after_s = time.monotonic() - began
    story.day_obs = day_obs_of(utils.current_tai())
    story.result = ack.result
    story.run_id = json.loads(ack.result)["runId"]
    await operator.until_ended(story.run_id, limit_s=300.0)
    await operator.hear("progress", runId=story.run_id, state=RunState.COMPLETED, limit_s=15.0)
    await operator.wait_for(
        "last stages",
        lambda: set(operator.stages(story.run_id).values()) == {StageState.SUCCEEDED},
    )
    story.end = utils.current_tai()


async def test_start_is_answered_in_time_with_the_run_id(story: Story) -> None:
    assert story.answered_after_s < 10.0
    assert json.loads(story.result) == {"runId": story.run_id}
    assert story.run_id == f"{story.day_obs}-001"


async def test_run_state_publishes_acceptance_start_and_end(story: Story) -> None:
    accepted, running, completed = story.samples("runState")
    assert [one.state for one in (accepted, running, completed)] == [
        RunState.ACCEPTED,
        RunState.RUNNING,
        RunState.COMPLETED,
    ], completed.reason
    for one in (accepted, running, completed):
        assert one.scriptMode == "BIAS_DARK_FLAT"
        assert one.requestedBy == story.operator.remote.salinfo.domain.user_host
        assert one.calibCollection == COLLECTION
        assert one.repo == str(story.observatory.repo)
        assert one.imagesExpected == sum(FRAMES.values())
        assert one.estimatedDuration > 0
        assert one.reason
    assert (accepted.timestampStarted, accepted.timestampEnded, running.timestampEnded) == (0, 0, 0)
    assert story.begin <= completed.timestampAccepted <= completed.timestampStarted < completed.timestampEnded
    assert completed.timestampEnded <= story.end


async def test_run_configuration_has_every_option_with_its_effective_value(story: Story) -> None:
    (published,) = story.samples("runConfiguration")
    options = json.loads(published.config)
    # That one is accepted, but has no effect.
    assert set(options) == set(OPTION_DESCRIPTIONS) - {"background_task_timeout"}
    assert options["exp_times_dark"] == [5, 5, 5, 10, 15, 20]
    assert (options["n_flat"], options["do_ptc"], options["do_verify"]) == (14, True, True)
    assert options["detectors"] == list(range(9))
    assert options["on_failure"] == "continue"
    assert (options["program"], options["reason"], options["note"]) == ("BLOCK-T1", "e2e", "a whole run")
    assert options["repo"] == str(story.observatory.repo)


async def test_every_stage_is_published_from_pending_to_succeeded(story: Story) -> None:
    names = {one.stageName for one in story.samples("stageState")}
    assert names == STAGES
    for name in names:
        samples = story.samples("stageState", stageName=name)
        pending, running, *with_jobs, succeeded = samples
        assert (pending.state, running.state) == (StageState.PENDING, StageState.RUNNING)
        assert succeeded.state == StageState.SUCCEEDED
        # While it is RUNNING, it is published again with each of its jobs.
        assert {one.state for one in with_jobs} <= {StageState.RUNNING}
        assert len({one.jobId for one in with_jobs}) == len(with_jobs) == JOBS.get(name, 0)
        calib_type, _, kind = name.rpartition(".")
        assert {one.calibType for one in samples} == {CalibType[calib_type] if calib_type else 0}
        assert {one.stageKind for one in samples} == {StageKind[kind]}
        assert {one.attempt for one in samples} == {1}
        assert (pending.timestampStarted, running.timestampEnded) == (0, 0)
        assert succeeded.timestampStarted == running.timestampStarted
        assert story.begin < succeeded.timestampStarted <= succeeded.timestampEnded < story.end
        assert succeeded.reason, name
        has_jobs = name in JOBS
        assert bool(succeeded.jobId) is has_jobs, name


async def test_no_stage_and_no_job_begins_before_what_it_needs_has_succeeded(story: Story) -> None:
    ended = {one.stageName: one for one in story.samples("stageState", state=StageState.SUCCEEDED)}
    for name, needs in NEEDS.items():
        for need in needs:
            assert ended[need].timestampEnded <= ended[name].timestampStarted, f"{name} began before {need} ended"
    for name, needs in LAST_JOB_NEEDS.items():
        submitted = max(one.timestampSubmitted for one in story.samples("jobState", stageName=name))
        for need in needs:
            assert ended[need].timestampEnded <= submitted, f"a job of {name} was submitted before {need} ended"
    for before, after in (("BIAS", "DARK"), ("DARK", "FLAT")):
        assert ended[f"{before}.ACQUIRE"].timestampEnded <= ended[f"{after}.ACQUIRE"].timestampStarted
    others = [one.timestampEnded for name, one in ended.items() if name != "REPORT"]
    assert max(others) <= ended["REPORT"].timestampStarted
    # It is a graph, not a list: pipelines work while the camera does.
    assert ended["BIAS.GENERATE"].timestampStarted < ended["FLAT.INGEST"].timestampEnded


async def test_every_image_is_published_as_it_was_taken(story: Story) -> None:
    options = yaml.safe_load(story.config_text)
    times = {
        CalibType.BIAS: [0.0] * 6,
        CalibType.DARK: options["exp_times_dark"],
        CalibType.FLAT: options["exp_times_flat"],
    }
    for calib_type, count in FRAMES.items():
        images = story.samples("imageTaken", imageType=calib_type)
        assert [one.imageIndex for one in images] == list(range(1, count + 1))
        assert {one.imagesInSequence for one in images} == {count}
        assert [one.exposureTime for one in images] == times[calib_type]
        assert not any(one.discarded for one in images)
    images = story.samples("imageTaken")
    assert [one.imageType for one in images] == sorted(one.imageType for one in images)
    for one in images:
        day, number = divmod(one.exposureId, 100_000)
        assert (day, one.obsId) == (story.day_obs, f"CC_O_{day}_{number:06d}")
    for one, other in itertools.pairwise(images):
        assert one.exposureId < other.exposureId
        assert story.begin < one.timestampTaken < other.timestampTaken < story.end


async def test_every_image_is_published_to_be_in_the_repository(story: Story) -> None:
    ingested = story.samples("imageIngested")
    assert {one.exposureId for one in ingested} == {one.exposureId for one in story.samples("imageTaken")}
    assert len(ingested) == sum(FRAMES.values())
    for one in ingested:
        assert (one.detectorsExpected, one.detectorsIngested, one.detectorsFailed) == (9, 9, 0)
        assert (one.missing, one.reason) == ("", "")


async def test_every_job_is_followed_to_its_end(story: Story) -> None:
    jobs: dict[str, list[Any]] = {}
    for one in story.samples("jobState"):
        jobs.setdefault(one.jobId, []).append(one)
    assert Counter(phases[0].stageName for phases in jobs.values()) == JOBS
    for job_id, phases in jobs.items():
        assert re.fullmatch("[0-9a-f]{32}", job_id)
        *earlier, last = phases
        assert earlier and earlier[0].phase == "pending"
        assert {one.phase for one in earlier} <= {"pending", "queued", "executing"}
        assert {one.exitCode for one in earlier} == {-1} and {one.timestampEnded for one in earlier} == {0}
        assert (last.phase, last.exitCode, last.message) == ("completed", 0, "")
        assert last.outputCollection == f"u/ocps/{job_id}"
        assert last.calibType == CalibType[last.stageName.split(".")[0]]
        assert story.begin < last.timestampSubmitted <= last.timestampEnded < story.end
        assert "pipetask" in await asyncio.to_thread(Path(last.logPath).read_text)


async def test_log_url_leads_to_the_jobs_log(story: Story) -> None:
    last = story.samples("jobState", phase="completed")[-1]
    async with aiohttp.ClientSession() as session, session.get(last.logUrl) as reply:
        assert reply.status == 200
        results = await reply.json()
        (uri,) = [result["uri"] for result in results if result["uri"].endswith("ocps.log")]
        assert Path(uri) == Path(last.logPath)


@pytest.mark.parametrize("calib_type", FRAMES)
async def test_verification_is_published_with_the_procedures_rule_next_to_the_verdict(
    story: Story, calib_type: CalibType
) -> None:
    (result,) = story.samples("verificationResult", calibType=calib_type)
    assert result.verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES)
    assert (result.exposuresExpected, result.exposuresVerified) == (FRAMES[calib_type],) * 2
    assert (result.detectorsExpected, result.detectorsVerified) == (9, 9)
    # The procedure: 8 amplifiers x the majority of 9 detectors; int(n / 2) + 1 with the key SUCCESS counted in n.
    assert result.testsFailedThreshold == 8 * 5
    assert result.exposuresFailedThreshold == (FRAMES[calib_type] + 1) // 2 + 1
    assert result.exposuresFailed < result.exposuresFailedThreshold
    assert sum(json.loads(result.failuresByTest).values()) == result.testsFailed
    assert bool(result.physicalFilter) is (calib_type is CalibType.FLAT)
    job = story.samples("jobState", jobId=result.jobId)[-1]
    assert (job.stageName, result.outputCollection) == (f"{calib_type.name}.VERIFY", job.outputCollection)
    assert result.reason


@pytest.mark.parametrize("calib_type", FRAMES)
async def test_every_detector_is_published_with_its_signal_and_noise(story: Story, calib_type: CalibType) -> None:
    (result,) = story.samples("verificationResult", calibType=calib_type)
    detectors = story.samples("detectorVerification", calibType=calib_type)
    assert [(one.detector, one.detectorName) for one in detectors] == list(enumerate(DETECTORS))
    for one in detectors:
        assert one.physicalFilter == result.physicalFilter
        assert math.isfinite(one.signal) and math.isfinite(one.noise) and one.noise > 0
        assert sum(json.loads(one.failuresByTest).values()) == one.testsFailed
    assert sum(one.testsFailed for one in detectors) == result.testsFailed


async def test_curves_are_verified_by_a_job_and_told_without_exposures(story: Story) -> None:
    (result,) = story.samples("verificationResult", calibType=CalibType.PTC)
    job = story.samples("jobState", jobId=result.jobId)[-1]
    assert (job.stageName, job.phase, job.outputCollection) == ("PTC.VERIFY", "completed", result.outputCollection)
    assert (result.exposuresExpected, result.exposuresFailedThreshold, result.testsFailedThreshold) == (0, 0, 0)
    assert sum(json.loads(result.failuresByTest).values()) == result.testsFailed
    assert "PTC_TURNOFF" in result.reason.partition("Not counted, as configured: ")[2]
    told = story.samples("detectorVerification", calibType=CalibType.PTC)
    assert [(one.detector, one.detectorName) for one in told] == list(enumerate(DETECTORS))
    assert all(math.isfinite(one.noise) and math.isnan(one.signal) for one in told)


async def test_products_that_are_no_frames_have_a_verdict_too(story: Story) -> None:
    # The recorded curves are those of detectors of another size, whose gains differ by some per cent.
    verdicts = {
        CalibType.DEFECTS: (Verdict.PASSED,),
        CalibType.PTC: (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES),
        CalibType.GAIN: (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES),
    }
    for calib_type, expected in verdicts.items():
        (result,) = story.samples("verificationResult", calibType=calib_type)
        assert result.verdict in expected, result.reason
        assert (result.detectorsExpected, result.detectorsVerified) == (9, 9)


@pytest.mark.parametrize("calib_type", [one for one in CalibType])
async def test_values_of_each_product_and_detector_are_published(story: Story, calib_type: CalibType) -> None:
    published = story.samples("detectorMeasurement", calibType=calib_type)
    assert [(one.detector, one.detectorName) for one in published] == list(enumerate(DETECTORS))
    known = {
        CalibType.BIAS: "level",
        CalibType.DARK: "darkRate",
        CalibType.DEFECTS: "defectFraction",
        CalibType.PTC: "gain",
        CalibType.GAIN: "gain",
    }
    for one in published:
        assert one.comparedWith.startswith("LSSTComCam/calib/initial ")
        assert calib_type not in known or math.isfinite(getattr(one, known[calib_type]))


async def test_gains_of_each_flat_pair_and_detector_are_published(story: Story) -> None:
    gains = story.samples("gainEstimate")
    assert len(gains) == PAIRS * 9
    assert len({(one.exposureId, one.detector) for one in gains}) == PAIRS * 9
    flats = {one.exposureId for one in story.samples("imageTaken", imageType=CalibType.FLAT)}
    for one in gains:
        assert one.exposureId in flats
        assert one.detectorName == DETECTORS[one.detector]
        assert len(one.gain) == len(one.noise) == 16
        assert all(0.5 < gain < 4.0 for gain in one.gain)
        assert all(1.0 < noise < 50.0 for noise in one.noise)


async def test_certification_of_each_type_is_published_and_true(story: Story) -> None:
    tai = utils.astropy_time_from_tai_unix
    begin = f"{str(story.day_obs)[:4]}-{str(story.day_obs)[4:6]}-{str(story.day_obs)[6:]}T12:00:00"
    in_repo = await asyncio.to_thread(certified, story.observatory.repo, COLLECTION)
    assert len(in_repo) == 5 * 9
    published = story.samples("certification")
    assert Counter(one.datasetType for one in published) == Counter(["bias", "dark", "flat", "defects", "ptc"])
    for one in published:
        assert (one.state, one.collection, one.datasetCount) == (CertificationState.CERTIFIED, COLLECTION, 9)
        assert one.calibType == CalibType[one.datasetType.upper()]
        assert one.validityBegin == begin
        assert one.reason == "", "nothing was there before"
        found = [other for other in in_repo if other.dataset_type == one.datasetType]
        assert sorted(other.detector for other in found) == list(range(9))
        assert {other.run for other in found} == {one.outputCollection}
        assert {(other.begin, other.end) for other in found} == {(one.validityBegin, one.validityEnd)}
        job_id = story.samples("stageState", stageName=f"{one.datasetType.upper()}.GENERATE")[-1].jobId
        assert one.outputCollection == f"u/ocps/{job_id}/run"
    # The validity covers the frames: day_obs is from noon to noon, TAI.
    taken = [tai(one.timestampTaken).isot for one in story.samples("imageTaken")]
    assert published[0].validityBegin <= min(taken) <= max(taken) < published[0].validityEnd


async def test_progress_never_goes_back_and_ends_at_one(story: Story) -> None:
    progress = story.samples("progress")
    for name in ("fractionComplete", "imagesTaken", "imagesIngested", "jobsCompleted", "stagesCompleted", "elapsed"):
        values = [getattr(one, name) for one in progress]
        assert values == sorted(values), name
    last = progress[-1]
    assert (last.fractionComplete, last.remaining, last.jobsRunning) == (1.0, 0.0, 0)
    assert (last.imagesTaken, last.imagesIngested, last.imagesExpected) == (26, 26, 26)
    assert (last.jobsCompleted, last.jobsExpected) == (sum(JOBS.values()),) * 2
    assert (last.stagesCompleted, last.stagesTotal) == (len(STAGES),) * 2
    running = [one for one in progress if one.state == RunState.RUNNING]
    assert all(one.activity for one in running)
    assert all(one.remaining >= 0 for one in running) and running[0].remaining > 0
    assert any("until" in one.activity for one in running)


@pytest.mark.parametrize("topic", ["heartbeat", "progress"])
async def test_heartbeat_and_progress_come_every_second_during_the_run(story: Story, topic: str) -> None:
    completed = story.samples("runState")[-1]
    stamps = [
        one.private_sndStamp
        for one in story.operator.samples(topic)
        if completed.timestampAccepted <= one.private_sndStamp <= completed.timestampEnded
    ]
    gaps = [other - one for one, other in itertools.pairwise(stamps)]
    assert len(gaps) >= (completed.timestampEnded - completed.timestampAccepted) / 2
    assert max(gaps) < 2.5


async def test_nothing_alarms_and_nothing_is_logged_as_an_error(story: Story) -> None:
    assert not [one for one in story.operator.samples("alarms") if one.reason or one.runFailed]
    assert not [one.message for one in story.operator.samples("logMessage") if one.level >= 40]
    assert not [one for one in story.operator.samples("errorCode") if one.errorCode]
    assert "Traceback" not in await asyncio.to_thread(story.log.read_text)


def fetch_as_it_says(repo: Path, document: Document) -> None:
    """Run the lines of Python with which the report says that products are fetched."""
    with contextlib.closing(Butler.from_config(str(repo), writeable=False)) as butler:
        read: list[str] = []
        real = butler.getDeferred

        class Reader:
            """Does what a user's Butler does, and notes which dataset it was."""

            def get(self, *arguments: Any, **names: Any) -> object:
                handle = real(*arguments, **names)
                read.append(str(handle.ref.id))
                return handle.get()

        for product in document.products:
            certified = [one for one in product.certifications if one.outcome == "certified"]
            assert len(product.fetch) == 1 + bool(certified), product.calib_type
            read.clear()
            assert all(eval(line, {"butler": Reader()}) is not None for line in product.fetch)
            assert {*read} <= {one.dataset_id for one in product.datasets} and len({*read}) == 1, product.fetch


async def test_report_has_the_products_and_needs_no_network(story: Story) -> None:
    files = story.operator.samples("largeFileObjectAvailable", id=story.run_id)
    assert [one.mimeType for one in files] == ["text/html", "application/json"]
    page, numbers = (Path(one.url.removeprefix("file://")) for one in files)
    assert page.parent == story.observatory.work_directory / "reports"
    text = page.read_text()
    assert [one.byteSize for one in files] == [page.stat().st_size, numbers.stat().st_size]
    assert page.stat().st_size < 5e6
    assert story.samples("stageState", stageName="REPORT")[-1].reason == f"The report is at {files[0].url}"
    # Nothing is loaded from anywhere.
    loads = r"""<(?:script|link|iframe|object|embed)|@import|url\((?!#)|src="(?!data:)|href="(?!#|http|data:)"""
    assert not re.findall(loads, text)
    assert {target[:4] for target in re.findall(r'<a href="([^#][^"]*)"', text)} == {"http"}, "links, not loads"
    document = Document.model_validate_json(numbers.read_text())
    assert document.problems == ()
    assert (document.run.state, len(document.jobs)) == ("COMPLETED", sum(JOBS.values()))
    assert [one.calib_type for one in document.products] == [one.name for one in CalibType]
    measured = {one.key: (one.evaluated, one.expected) for one in document.maps}
    assert {measured[key] for key in ("noise", "level", "dark_rate", "gain", "failures")} == {(144, 144)}
    assert measured["turnoff"] == (0, 144), "the example's flats do not reach it"
    assert [one.name for one in document.curves] == DETECTORS
    rows = {one.calib_type: len(one.exposure) for one in document.statistics}
    assert rows["BIAS"] == rows["DARK"] == 6 * 9 * 16
    assert rows["FLAT"] == 14 * 9 * 17, "flats have statistics of whole detectors, too"
    (curves,) = [one for one in document.statistics if one.calib_type == "PTC"]
    assert curves.exposure == (None,) * 9 * 16
    assert {"PTC_GAIN", "AMP_GAIN"} <= set(curves.statistics) and "PTC_RAW_MEANS" not in curves.statistics
    await asyncio.to_thread(fetch_as_it_says, story.observatory.repo, document)
    images_and_drift = 4 + 1  # bias, dark, flat and defects
    assert text.count("<svg") == len(document.maps) + len(document.curves) + images_and_drift


async def test_late_joiner_gets_everything_by_status(story: Story) -> None:
    async with salobj.Domain() as domain, Operator(domain) as late:
        ack = await late.command("status")
        await late.hear("progress", runId=story.run_id, limit_s=15.0)
        snapshot = json.loads(ack.result)
        assert (snapshot["runId"], snapshot["runState"]) == (story.run_id, RunState.COMPLETED)
        assert (snapshot["imagesTaken"], snapshot["imagesExpected"]) == (26, 26)
        assert {one["stageName"] for one in snapshot["stages"]} == STAGES
        assert {one["state"] for one in snapshot["stages"]} == {StageState.SUCCEEDED}
        for topic, key in (
            ("runState", ()),
            ("stageState", ("stageName",)),
            ("jobState", ("jobId",)),
            ("verificationResult", ("calibType", "physicalFilter")),
            ("certification", ("calibType",)),
            ("runConfiguration", ()),
        ):
            expected = _newest(story.operator, topic, key)
            await _hear_all(late, topic, key, expected)
        await late.hear("alarms")


async def _hear_all(
    operator: Operator, topic: str, key: tuple[str, ...], expected: Mapping[tuple[object, ...], object]
) -> None:
    """Wait until as many things as expected were published to an operator; see that they are those."""

    def heard_enough() -> bool:
        return len(_newest(operator, topic, key)) >= len(expected)

    await operator.wait_for(f"{topic} of {len(expected)} things", heard_enough)
    assert _newest(operator, topic, key) == expected, topic


def _newest(operator: Operator, topic: str, key: tuple[str, ...]) -> dict[tuple[object, ...], dict[str, object]]:
    """Return the last sample of each thing that was published with a topic, without what salobj adds."""
    return {
        tuple(getattr(sample, name) for name in key): {
            name: value for name, value in vars(sample).items() if not name.startswith("private_")
        }
        for sample in operator.samples(topic)
    }


async def test_second_run_of_the_day_replaces_the_first_and_says_so(story: Story) -> None:
    before = await asyncio.to_thread(certified, story.observatory.repo, COLLECTION)
    old = {one.dataset_id for one in before if one.dataset_type == "bias"}
    run_id = await story.operator.start_run(script_mode="BIAS", n_bias=2, calib_collection=COLLECTION)
    assert run_id == f"{story.day_obs}-002"
    state = await story.operator.until_ended(run_id)
    assert state.state == RunState.COMPLETED, state.reason
    published = await story.operator.hear("certification", runId=run_id)
    assert published.reason.startswith("replaces 9 datasets that were certified before")
    assert all(dataset_id in published.reason for dataset_id in old)
    after = await asyncio.to_thread(certified, story.observatory.repo, COLLECTION)
    new = {one.dataset_id for one in after if one.dataset_type == "bias"}
    assert len(new) == 9 and not new & old
    assert [one for one in after if one.dataset_type != "bias"] == [one for one in before if one.dataset_type != "bias"]


async def test_status_of_any_run_is_known_while_disabled(story: Story) -> None:
    await story.operator.bring(disable=salobj.State.DISABLED)
    ack = await story.operator.command("status", runId=story.run_id)
    assert json.loads(ack.result)["imagesTaken"] == 26
    sentences = await story.operator.refused("status", runId="20010101-001")
    assert len(sentences) == 1 and "20010101-001" in sentences[0]
    await story.operator.bring(standby=salobj.State.STANDBY)
    (sentence,) = await story.operator.refused("status")
    assert "STANDBY" in sentence


async def test_status_is_known_from_the_journal_after_a_restart(story: Story, csc_log: Path) -> None:
    await story.operator.bring(exitControl=salobj.State.OFFLINE)
    expected = _newest(story.operator, "stageState", ("runId", "stageName"))
    async with (
        running_csc_process(csc_log, "--state", "disabled"),
        salobj.Domain() as domain,
        Operator(domain) as operator,
    ):
        await operator.hear("summaryState", summaryState=salobj.State.DISABLED)
        assert json.loads((await operator.command("status")).result)["runId"].endswith("-002")
        snapshot = json.loads((await operator.command("status", runId=story.run_id)).result)
        assert (snapshot["runState"], len(snapshot["stages"])) == (RunState.COMPLETED, len(STAGES))
        await _hear_all(operator, "stageState", ("runId", "stageName"), expected)
