# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run as the page shows it while it goes on and fails, and what monitoring hears of it."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.enums import CalibType, RunState, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.record.events import Alarms
from lsst.ts.comcamcalib.record.facts import DetectorVerdict, Entry, VerdictGiven
from lsst.ts.comcamcalib.record.fold import apply, begin
from lsst.ts.comcamcalib.report.words import SIGNS
from lsst.ts.comcamcalib.web import health as health_module
from lsst.ts.comcamcalib.web.data import StageNode, TrendPoint
from lsst.ts.comcamcalib.web.drawing import graph_of, plane_of, spark_of
from lsst.ts.comcamcalib.web.health import LoopWatch
from lsst.ts.comcamcalib.web.now import run_document
from prometheus_client.parser import text_string_to_metric_families
from support.plans import make_plan
from support.records import accepted
from support.web import Site
from support.whole_run import facts_of, history_of

USER_GUIDE = Path(__file__).parents[2] / "doc" / "user_guide.rst"


async def metrics(site: Site) -> dict[str, float]:
    """Return the numbers by name and labels, as Prometheus reads them."""
    families = text_string_to_metric_families((await site.ask("/metrics")).text)
    return {" ".join([one.name, *one.labels.values()]): one.value for family in families for one in family.samples}


# A run


async def test_a_run_is_seen_as_it_proceeds(site: Site) -> None:
    jobs = site.house.observatory.jobs
    gate = jobs.hold("cpBias")
    async with site.events() as events:
        await events.until("headline", "There has been no run yet")
        run_id = await site.house.start(script_mode="BIAS", reason="to be watched")
        await jobs.until_executing("cpBias")
        await events.until("headline", "RUNNING")
        graph = await events.until("graph", "node running")
        assert "to be watched" in graph and "op@console" in graph
        await events.until("progress", "cpBias")
        seen = (await site.ask("/api/now")).json
        (wait,) = [one for one in seen["waits"] if one["stage"] == "BIAS.GENERATE"]
        assert "the job cpBias" in wait["what"] and wait["until"].endswith("Z")
        assert seen["run"]["state"] == "RUNNING"
        assert (await metrics(site))["comcamcalib_run_state RUNNING"] == 1.0
        await events.until("jobs", " so far</td>")
        gate.set()
        await events.until("headline", "COMPLETED")
        await events.until("certifications", "certified")
    run = (await site.ask("/api/now")).json["run"]
    assert all(one["duration_s"] == one["end_s"] - one["begin_s"] for one in run["jobs"])
    assert run["run_id"] == run_id and {one["state"] for one in run["stages"]} == {"SUCCEEDED"}


async def test_a_job_that_fails_shows_the_decisive_line_and_the_alarm(site: Site) -> None:
    site.house.observatory.jobs.failing["cpBias"] = "RuntimeError: no bias <b>today</b>"
    async with site.events() as events:
        await site.house.start(script_mode="BIAS")
        await site.house.ended()
        part = await events.until("jobs", "no bias")
        assert "&lt;b&gt;today" in part
        part = await events.until("alarms", "run failed")
        assert "1 alarm" in part and "no bias" not in part, "the headline says it already"
        part = await events.until("headline", "resumeCalibrationRun")
        assert part.count("no bias") == 1 and "acceptVerification" not in part, "there is no verdict yet"
        assert await events.until("verdicts", '<p class="faint">None.</p>'), "there will be none"
    assert (await metrics(site))["comcamcalib_alarm run_failed"] == 1.0


async def test_after_a_bad_verdict_both_ways_on_are_shown(site: Site) -> None:
    plan = make_plan(site.house.config)
    site.shown = {"history": history_of(plan, *facts_of(plan)), "alarms": Alarms(run_failed=True, reason="bad")}
    await site.page.parts.live.refresh()
    page = (await site.see("/")).text
    assert "resumeCalibrationRun" in page and "acceptVerification" in page and "<p>bad</p>" in page
    site.shown["history"] = history_of(plan, *facts_of(plan, bad=0))
    await site.page.parts.live.refresh()
    page = (await site.see("/")).text
    assert "resumeCalibrationRun" not in page and "acceptVerification" not in page


async def test_a_stage_that_waits_again_after_an_interruption_takes_no_time(site: Site) -> None:
    await site.house.interrupted()
    assert site.house.runner.run is not None
    stages = run_document(site.house.runner.run.record.history, site.house.clock.tai() + 60).stages
    (generate,) = [one for one in stages if one.name == "BIAS.GENERATE"]
    assert generate.state == "PENDING" and generate.started and generate.duration_s is None


# Verdicts by detector


async def test_the_time_of_a_job_that_nobody_follows_is_not_known(site: Site) -> None:
    await site.house.interrupted()
    assert site.house.runner.run is not None
    history = site.house.runner.run.record.history
    (job,) = run_document(history, site.house.clock.tai() + 60).jobs
    assert job.submitted and job.end_s is None and job.duration_s is None
    running = dataclasses.replace(history, state=RunState.RUNNING)
    (job,) = run_document(running, history.job("cpBias").submitted_s + 60).jobs
    assert job.end_s is None and job.duration_s == pytest.approx(60.0)


def squares(given: VerdictGiven) -> dict[str, tuple[str, str]]:
    """Return outcome and remark of each detector."""
    history = apply(begin(accepted(make_plan())), Entry(2, 1.8e9, given))
    (verdict,) = run_document(history, 1.8e9).verdicts
    return {one.name: (one.outcome, one.remark) for one in verdict.detectors}


def verdict_of(verdict: Verdict, **fields: object) -> VerdictGiven:
    return VerdictGiven(
        calib_type=CalibType.BIAS, physical_filter="", attempt=1, verdict=verdict, job_id="j", reason="r", **fields
    )


def counts(detector: int, tests_failed: int = 0) -> DetectorVerdict:
    return DetectorVerdict(
        detector=detector,
        detector_name="",
        tests_failed=tests_failed,
        exposures_failed=0,
        amplifiers_failed=0,
        failures_by_test={},
        signal=0.0,
        noise=0.0,
    )


def test_a_detector_of_which_a_verdict_says_nothing_is_unknown() -> None:
    found = squares(verdict_of(Verdict.PASSED, detectors=(counts(0), counts(1, 3))))
    assert found["R22_S00"] == ("PASSED", "")
    assert found["R22_S01"] == ("PASSED_WITH_FAILURES", "3 tests failed")
    assert found["R22_S11"] == ("UNKNOWN", "the verdict has nothing of it")


def test_the_worst_finding_about_a_detector_is_its_outcome() -> None:
    findings = (
        Finding("detectors", Outcome.FAILED, "NOISE", detector=4, value=12.0, limit=9.0, unit="electron"),
        Finding("limits", Outcome.FAILURE, "NOISE", detector=4),
        Finding("drift", Outcome.NOTED, "level", detector=0, detail="never mind"),
        Finding("completeness", Outcome.UNKNOWN, "NOISE", detector=1, detail="it is not there"),
    )
    given = verdict_of(Verdict.FAILED, detectors=(counts(0), counts(1), counts(4)), findings=findings, left_out=(4,))
    assert squares(given) == {
        "R22_S00": ("PASSED", ""),
        "R22_S01": ("UNKNOWN", "NOISE: it is not there"),
        "R22_S11": ("FAILED", "left out; NOISE is 12, limit 9 electron"),
    }


def test_a_product_without_counts_is_known_only_if_all_detectors_were_judged() -> None:
    assert squares(verdict_of(Verdict.PASSED, detectors_expected=3, detectors_verified=3))["R22_S00"][0] == "PASSED"
    assert squares(verdict_of(Verdict.PASSED, detectors_expected=3, detectors_verified=2))["R22_S00"][0] == "UNKNOWN"
    assert squares(verdict_of(Verdict.UNKNOWN))["R22_S00"][0] == "UNKNOWN"


# Health


async def test_health_tells_of_a_loop_that_stood_still(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (await site.ask("/healthz")).json["healthy"]
    monkeypatch.setattr(health_module, "STALLED_S", 0.3)
    time.sleep(1.0)  # noqa: ASYNC251  that is what must not happen
    answer = await site.ask("/healthz")
    while answer.status == 200:
        answer = await site.ask("/healthz")
    assert (answer.status, answer.json["healthy"]) == (503, False)
    assert answer.json["loop_delay_s"] > 0.3


def test_a_delay_is_forgotten() -> None:
    assert LoopWatch()._delays.maxlen == 120


async def test_ready_is_who_owns_the_journal_and_is_connected(site: Site) -> None:
    async with site.events() as events:
        await events.next()
        assert (await site.ask("/readyz")).json == {
            "ready": True,
            "reason": "The CSC can begin a run, unless one is open.",
        }
        await site.house.runner.disconnect("The CSC went to DISABLED")
        site.state = "DISABLED"
        await events.until("headline", "DISABLED")
        answer = await site.ask("/readyz")
        assert answer.status == 503 and "only while it is ENABLED" in answer.json["reason"]
        runner, site.house.runner = site.house.runner, None  # type: ignore[assignment]
        await events.until("headline", "journal of runs is not open")
        answer = await site.ask("/readyz")
        assert answer.status == 503 and answer.json["reason"] == "The journal of runs is not open."
        site.house.runner = runner


async def test_metrics_are_what_prometheus_reads(site: Site) -> None:
    async with site.events() as events:
        await events.next()
        found = await metrics(site)
    assert found["comcamcalib_csc_state ENABLED"] == 1.0 and found["comcamcalib_csc_state FAULT"] == 0.0
    assert found["comcamcalib_journal_owned"] == found["comcamcalib_connected"] == 1.0
    assert found["comcamcalib_page_readers"] == 1.0
    assert found["process_resident_memory_bytes"] > 1e6


async def test_the_user_guide_names_all_metrics_and_no_others(site: Site) -> None:
    await site.house.start(script_mode="BIAS")
    await site.house.ended()
    async with site.events() as events:
        await events.until("headline", "COMPLETED")
        found = {name.split()[0] for name in await metrics(site)}
    text = USER_GUIDE.read_text(encoding="utf-8")
    rows = re.findall(r"^   \* - ``((?:comcamcalib|process)_\w+)``\n     - (.+)\n     - (.+)$", text, re.MULTILINE)
    assert [name for name, _, _ in rows if name not in found] == [], "there are no such metrics"
    assert found - {name for name, _, _ in rows} == set(), "these metrics are not described"
    assert len(rows) == len(found)


# Drawings


def node(name: str, needs: tuple[str, ...] = ()) -> StageNode:
    calib_type, _, kind = name.rpartition(".")
    return StageNode(
        name=name,
        calib_type=calib_type,
        kind=kind,
        state="PENDING",
        attempt=1,
        reason="",
        needs=needs,
        critical=False,
        started="",
        ended="",
        duration_s=None,
    )


def test_boxes_of_the_graph_do_not_overlap_and_edges_begin_at_what_exists() -> None:
    graph = graph_of([node("BIAS.ACQUIRE"), node("BIAS.INGEST", ("BIAS.ACQUIRE", "NO.STAGE")), node("REPORT")])
    places = {(one.x, one.y) for one in graph.nodes}
    assert len(places) == 3 and len(graph.edges) == 1
    assert all(one.x + graph.box_width <= graph.width for one in graph.nodes)
    assert graph_of([]).nodes == ()


def test_row_0_of_the_focal_plane_is_below() -> None:
    places = {one.name: one for one in plane_of({0: "R22_S00", 8: "R22_S22"}).squares}
    assert places["R22_S00"].y > places["R22_S22"].y and places["R22_S00"].x < places["R22_S22"].x


def test_a_curve_is_interrupted_where_a_value_is_missing() -> None:
    points = [TrendPoint(run_id=str(number), value=value) for number, value in enumerate([3, 2, None, 1, 1])]
    spark = spark_of(points)
    assert [len(line.split()) for line in spark.lines] == [2, 2]
    assert spark.last is not None and spark.last[0] > 100
    assert spark_of([]).last is None
    assert spark_of(points[:1]).last == (80.0, 14.0)


def test_no_sign_depends_on_colour_alone() -> None:
    for status in ("OK", "EXPIRING", "EXPIRED", "MISSING", *(one.name for one in Verdict)):
        assert SIGNS[status][0]
