# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The history follows from the facts alone, in whatever order they come."""

from __future__ import annotations

import pytest
from hypothesis import given
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageState, Verdict
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Entry, Fact
from lsst.ts.comcamcalib.record.fold import apply, begin, fold
from lsst.ts.comcamcalib.record.history import History
from support.facts import any_run
from support.plans import RUN_ID, make_plan
from support.records import accepted

BIAS = CalibType.BIAS


def after(*some: Fact) -> History:
    first = accepted(make_plan())
    return fold([first, *(Entry(number, first.at + number, fact) for number, fact in enumerate(some, start=2))])


def intended(index: int = 1, **values: object) -> facts.FrameIntended:
    return facts.FrameIntended(calib_type=BIAS, index=index, exposure_time_s=0.0, **values)  # type: ignore[arg-type]


def taken(index: int = 1, exposure_id: int = 11) -> facts.FrameTaken:
    return facts.FrameTaken(
        calib_type=BIAS, index=index, exposure_id=exposure_id, obs_id=f"CC_{exposure_id}", taken_s=1.0
    )


def job(attempt: int = 1) -> facts.JobIntended:
    return facts.JobIntended(
        label="cpBias",
        attempt=attempt,
        stage_name="BIAS.GENERATE",
        stage_attempt=1,
        calib_type=BIAS,
        mark=f"{RUN_ID}_BIAS.GENERATE_cpBias_{attempt}*",
        exposures=(11,),
        inputs=(),
        pipeline="cpBias.yaml",
        data_query="",
        config="",
        output_dataset_types="",
    )


def found(job_id: str = "job-01", attempt: int = 1) -> facts.JobFound:
    return facts.JobFound(label="cpBias", attempt=attempt, job_id=job_id, submitted_s=5.0)


def ended(exit_code: int = 0, job_id: str = "job-01") -> facts.JobEnded:
    phase = "completed" if exit_code == 0 else "error"
    return facts.JobEnded(
        label="cpBias", attempt=1, job_id=job_id, phase=phase, exit_code=exit_code, message="", ended_s=9.0
    )


@given(any_run())
def test_no_order_of_facts_breaks_the_fold_and_every_prefix_folds(entries: list[Entry]) -> None:
    history = begin(entries[0])
    for number, entry in enumerate(entries[1:], start=2):
        history = apply(history, entry)
        assert history == fold(entries[:number]) or "nan" in repr(history)
        assert history.seq == number
    assert set(history.stages) == {stage.name for stage in history.plan.stages}, "no fact adds or removes a stage"


@given(any_run())
def test_every_question_has_an_answer_whatever_happened(entries: list[Entry]) -> None:
    history = fold(entries)
    for calib_type in CalibType:
        assert set(history.used(calib_type)) <= set(history.taken(calib_type))
        assert all(frame.exposure_id for frame in history.taken(calib_type))
    assert all(job.label == history.jobs[job.label, job.attempt].label for job in history.jobs.values())
    assert isinstance(history.no_more_exposures, str)
    assert all(one.outcome is None for one in history.open_certifications)
    assert {frame.exposure_id for frame in history.frames.values()} - {0} <= history.known_exposures


def test_nothing_comes_before_the_acceptance() -> None:
    with pytest.raises(ValueError, match="the first fact of a run is its acceptance, not run_moved"):
        fold([Entry(1, 1.0, facts.RunMoved(state=RunState.RUNNING, reason=""))])
    with pytest.raises(ValueError, match=r".*"):
        fold([])


def test_run_begins_accepted_with_all_stages_pending() -> None:
    history = after()
    assert (history.state, history.run_id, history.open) == (RunState.ACCEPTED, RUN_ID, True)
    assert {stage.state for stage in history.stages.values()} == {StageState.PENDING}
    assert history.no_more_exposures == "the run is ACCEPTED"


def test_resumed_run_began_when_it_began_first_and_has_not_ended() -> None:
    moves = [RunState.RUNNING, RunState.FAILED, RunState.RUNNING]
    history = after(*(facts.RunMoved(state=state, reason=state.name) for state in moves))
    assert history.started_s == history.accepted_s + 2
    assert history.ended_s == 0.0


def test_next_attempt_of_a_stage_has_neither_begun_nor_ended() -> None:
    def move(attempt: int, state: StageState) -> facts.StageMoved:
        return facts.StageMoved(stage_name="BIAS.VERIFY", attempt=attempt, state=state, reason="")

    history = after(move(1, StageState.RUNNING), move(1, StageState.FAILED), move(2, StageState.PENDING))
    stage = history.stages["BIAS.VERIFY"]
    assert (stage.attempt, stage.started_s, stage.ended_s) == (2, 0.0, 0.0)


def test_frame_is_open_until_it_is_known_whether_it_was_taken() -> None:
    assert after(intended()).frames[BIAS, 1].open
    assert not after(intended(), taken()).frames[BIAS, 1].open
    absent = facts.FrameAbsent(calib_type=BIAS, index=1, reason="no exposure")
    assert not after(intended(), absent).frames[BIAS, 1].open
    assert after(intended(), absent, intended()).frames[BIAS, 1].open, "it was commanded once more"


def test_frame_that_was_taken_is_not_intended_again() -> None:
    assert after(intended(), taken(), intended()).frames[BIAS, 1].exposure_id == 11


def test_discarded_lost_and_stray_exposures_are_known_but_not_used() -> None:
    history = after(
        intended(1, discarded=True),
        taken(1, 11),
        intended(2),
        taken(2, 12),
        facts.FrameGivenUp(calib_type=BIAS, index=2, reason="lost"),
        intended(3, replaces=2),
        taken(3, 13),
        facts.FrameStray(calib_type=BIAS, exposure_id=14, obs_id="CC_14", reason="one too many"),
    )
    assert history.exposure_ids(BIAS) == (13,)
    assert history.known_exposures == {11, 12, 13, 14}


def test_exposures_are_in_their_own_order_not_in_that_of_the_intents() -> None:
    assert after(intended(1), intended(2), taken(2, 11), taken(1, 12)).exposure_ids(BIAS) == (11, 12)


def test_job_is_open_then_running_then_ended() -> None:
    open_job = after(job()).jobs["cpBias", 1]
    running = after(job(), found()).jobs["cpBias", 1]
    done = after(job(), found(), ended()).jobs["cpBias", 1]
    assert (open_job.open, open_job.running, open_job.succeeded) == (True, False, False)
    assert (running.open, running.running, running.succeeded) == (False, True, False)
    assert (done.open, done.running, done.succeeded) == (False, False, True)


def test_job_that_ended_badly_is_absent_or_distrusted_has_not_succeeded() -> None:
    distrusted = facts.JobDistrusted(label="cpBias", attempt=1, reason="an older bias was used")
    absent = facts.JobAbsent(label="cpBias", attempt=1, reason="the UWS has none")
    for some in ([found(), ended(1)], [found(), ended(), distrusted], [absent]):
        one = after(job(), *some).jobs["cpBias", 1]
        assert not one.succeeded
        assert not one.open


def test_other_job_than_was_believed_at_first_is_running_anew() -> None:
    one = after(job(), found("job-01"), ended(1, "job-01"), found("job-02")).jobs["cpBias", 1]
    assert (one.job_id, one.running, one.exit_code) == ("job-02", True, -1)


def test_latest_attempt_at_a_job_counts() -> None:
    history = after(job(1), found(), ended(1), job(2), found("job-02", 2))
    latest = history.job("cpBias")
    assert latest is not None
    assert (latest.attempt, latest.job_id) == (2, "job-02")
    assert [one.job_id for one in history.jobs_of("BIAS.GENERATE")] == ["job-01", "job-02"]


def verdict(kind: Verdict, attempt: int = 1, physical_filter: str = "", job_id: str = "job-01") -> facts.VerdictGiven:
    return facts.VerdictGiven(
        calib_type=CalibType.FLAT,
        physical_filter=physical_filter,
        attempt=attempt,
        verdict=kind,
        job_id=job_id,
        reason=kind.name,
    )


def standing(history: History) -> set[tuple[str, Verdict]]:
    return {(one.physical_filter, one.verdict) for one in history.verdicts_of(CalibType.FLAT)}


def test_verdicts_of_all_filters_stand_beside_each_other() -> None:
    history = after(verdict(Verdict.PASSED, 1, "r_03"), verdict(Verdict.FAILED, 1, "i_06"))
    assert standing(history) == {("r_03", Verdict.PASSED), ("i_06", Verdict.FAILED)}


def test_next_attempt_and_the_verification_itself_override_what_stood_before() -> None:
    first_look = verdict(Verdict.FAILED, 1, "", job_id="")
    assert standing(after(first_look, verdict(Verdict.PASSED, 1, "r_03"))) == {("r_03", Verdict.PASSED)}
    assert standing(after(verdict(Verdict.FAILED, 1, "i_06"), verdict(Verdict.PASSED, 2, "r_03"))) == {
        ("r_03", Verdict.PASSED)
    }


def acceptance(attempt: int = 1, physical_filter: str = "r_03") -> facts.VerdictAccepted:
    return facts.VerdictAccepted(
        calib_type=CalibType.FLAT, physical_filter=physical_filter, attempt=attempt, who="op", why="good enough"
    )


def test_an_accepted_verdict_stands_until_the_next_attempt() -> None:
    bad = verdict(Verdict.FAILED, 1, "r_03")
    history = after(bad, acceptance())
    assert standing(history) == {("r_03", Verdict.ACCEPTED_BY_OPERATOR)}
    assert history.verdicts[CalibType.FLAT, "r_03"].reason == "Accepted by op: good enough. It was FAILED: FAILED"
    assert standing(after(bad, acceptance(), bad)) == {("r_03", Verdict.ACCEPTED_BY_OPERATOR)}
    again = after(bad, acceptance(), verdict(Verdict.FAILED, 2, "r_03"))
    assert standing(again) == {("r_03", Verdict.FAILED)} and not again.accepted_verdicts


@pytest.mark.parametrize("other", [acceptance(2), acceptance(1, "i_06")], ids=["another attempt", "another filter"])
def test_an_acceptance_of_another_verdict_changes_nothing(other: facts.VerdictAccepted) -> None:
    history = after(verdict(Verdict.FAILED, 1, "r_03"), other)
    assert standing(history) == {("r_03", Verdict.FAILED)} and not history.accepted_verdicts
    good = after(verdict(Verdict.PASSED, 1, "r_03"), acceptance())
    assert standing(good) == {("r_03", Verdict.PASSED)}, "a good verdict needs none"


def certified(number: int = 1) -> tuple[Fact, Fact]:
    intent = facts.CertifyIntended(
        number=number,
        stage_name="BIAS.CERTIFY",
        calib_type=BIAS,
        verdict=Verdict.PASSED,
        dataset_type="bias",
        collection="u/daily",
        output_collection="u/ocps/b/run",
        validity_begin="",
        validity_end="",
        dataset_ids=("id",),
    )
    return intent, facts.Certified(number=number, dataset_count=1, reason="")


WITHDRAWAL = facts.DecertifyIntended(
    number=1, certifications=(1,), collection="u/daily", out=(), back=(), who="op", why="a crack"
)


def test_a_withdrawal_that_was_done_ends_the_certification_and_is_published_with_the_run() -> None:
    history = after(*certified(), WITHDRAWAL)
    assert history.certifications[1].sound and len(history.open_withdrawals) == 1
    history = after(*certified(), WITHDRAWAL, facts.Decertified(number=1, reason="1 dataset is out"))
    one = history.certifications[1]
    assert one.done and not one.sound and one.withdrawn is not None
    assert one.withdrawn.words == "withdrawn by op: a crack"
    assert history.open_withdrawals == [] and history.reason.endswith(". BIAS was withdrawn by op: a crack")


def test_a_withdrawal_that_was_not_done_leaves_the_certification() -> None:
    history = after(*certified(), WITHDRAWAL, facts.DecertifyAbsent(number=1, reason="disk I/O error"))
    assert history.certifications[1].sound and history.open_withdrawals == []
    assert after(facts.Decertified(number=3, reason="")).withdrawals == {}, "nothing says what it is about"


def test_blame_is_taken_back_when_it_was_wrong() -> None:
    blame = facts.FramesBlamed(calib_type=CalibType.FLAT, reason="the lamp is off")
    assert after(blame).blamed == {CalibType.FLAT: "the lamp is off"}
    assert after(blame, facts.FramesBlamed(calib_type=CalibType.FLAT, reason="")).blamed == {}


def test_no_further_exposure_after_a_failure_if_that_is_wanted() -> None:
    first = accepted(make_plan(on_failure="stop"))
    running = facts.RunMoved(state=RunState.RUNNING, reason="")
    failed = facts.StageMoved(stage_name="BIAS.INGEST", attempt=1, state=StageState.FAILED, reason="lost")
    assert fold([first, Entry(2, 1.0, running)]).no_more_exposures == ""
    history = fold([first, Entry(2, 1.0, running), Entry(3, 2.0, failed)])
    assert history.no_more_exposures == "BIAS.INGEST failed and on_failure is stop"
