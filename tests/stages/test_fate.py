# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A product is no better than what is known of the frames that it is made from: tables of cases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageState, Verdict
from lsst.ts.comcamcalib.findings import Finding, Outcome
from lsst.ts.comcamcalib.record.facts import FramesBlamed, StageMoved, VerdictAccepted, VerdictGiven
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.stages.fate import SHARED, judged_meanwhile, share_fate, unjudged
from lsst.ts.comcamcalib.verification import Judgement

FLAT, PTC = CalibType.FLAT, CalibType.PTC
PASSED, WITH_FAILURES, FAILED, UNKNOWN = list(Verdict)[:4]
SUCCEEDED, ENDED_BADLY, SKIPPED = StageState.SUCCEEDED, StageState.FAILED, StageState.SKIPPED
RUNNING, PENDING = StageState.RUNNING, StageState.PENDING

OWN = Judgement(PASSED, "PTC is fine.", (Finding("trend", Outcome.NOTED, ""),))


def verdict(
    calib_type: CalibType, given: Verdict, rules: Sequence[str] = (), physical_filter: str = "r_03", attempt: int = 1
) -> VerdictGiven:
    outcome = {UNKNOWN: Outcome.UNKNOWN, FAILED: Outcome.FAILED}.get(given, Outcome.NOTED)
    return VerdictGiven(
        calib_type=calib_type,
        physical_filter=physical_filter,
        attempt=attempt,
        verdict=given,
        job_id="job-09",
        reason="as it was found.",
        findings=tuple(Finding(rule, outcome, "NOISE") for rule in rules),
    )


@pytest.fixture
def history(make_bench):
    """Return what gives the history of a run with these facts after the end of a VERIFY stage."""

    def make(*facts: object, state: StageState = ENDED_BADLY, stage: str = "FLAT.VERIFY", **options: object) -> History:
        bench = make_bench(**{"do_ptc": True, "do_defects": True, **options})
        for fact in facts:
            bench.record.put(fact)
        if state is not PENDING:
            reason = "a reason."
            bench.record.put(StageMoved(stage_name=stage, attempt=1, state=state, reason=reason))
        return bench.context.history

    return make


UNREAD = "Nobody knows whether the FLAT frames that it is made from are good: FLAT is UNKNOWN: as it was found. "
NOT_DONE = "Nobody knows whether the FLAT frames that it is made from are good: FLAT.VERIFY is {}: a reason. "
BAD = "The FLAT frames that it is made from are bad: lamp off. "


@pytest.mark.parametrize(
    ("facts", "state", "given", "words"),
    [
        # Good flats, or flats of which the verdict is still to come: its own judgement stands.
        ([verdict(FLAT, PASSED)], SUCCEEDED, PASSED, ""),
        ([verdict(FLAT, WITH_FAILURES)], SUCCEEDED, PASSED, ""),
        ([verdict(FLAT, UNKNOWN)], RUNNING, PASSED, ""),
        ([], PENDING, PASSED, ""),
        # Flats that are bad.
        (
            [verdict(FLAT, FAILED, ["light"]), FramesBlamed(calib_type=FLAT, reason="lamp off.")],
            ENDED_BADLY,
            FAILED,
            BAD,
        ),
        ([FramesBlamed(calib_type=FLAT, reason="lamp off.")], ENDED_BADLY, FAILED, BAD),
        # They were judged: only the product of theirs differs from what is certified.
        ([verdict(FLAT, FAILED, ["drift"])], ENDED_BADLY, PASSED, ""),
        # Nobody could judge them.
        ([verdict(FLAT, UNKNOWN)], ENDED_BADLY, UNKNOWN, UNREAD),
        ([verdict(FLAT, UNKNOWN, ["completeness"])], ENDED_BADLY, UNKNOWN, UNREAD),
        ([verdict(FLAT, UNKNOWN, ["agreement", "drift"])], ENDED_BADLY, UNKNOWN, UNREAD),
        ([verdict(FLAT, UNKNOWN, ["light"])], ENDED_BADLY, UNKNOWN, UNREAD),
        ([], ENDED_BADLY, UNKNOWN, NOT_DONE.format("FAILED")),
        ([], SKIPPED, UNKNOWN, NOT_DONE.format("SKIPPED")),
        ([verdict(FLAT, PASSED, attempt=2)], ENDED_BADLY, UNKNOWN, NOT_DONE.format("FAILED")),
        ([verdict(FLAT, PASSED, physical_filter="g_01"), verdict(FLAT, UNKNOWN)], ENDED_BADLY, UNKNOWN, UNREAD),
        # They were judged, only the product of theirs can't be compared.
        ([verdict(FLAT, UNKNOWN, ["drift"])], ENDED_BADLY, PASSED, ""),
        ([verdict(FLAT, UNKNOWN, ["measured", "limits"])], ENDED_BADLY, PASSED, ""),
        # Somebody has accepted them.
        (
            [
                verdict(FLAT, UNKNOWN),
                VerdictAccepted(calib_type=FLAT, physical_filter="r_03", attempt=1, who="op", why="fine"),
            ],
            SUCCEEDED,
            PASSED,
            "",
        ),
        # Frames that it is not made from.
        ([verdict(CalibType.BIAS, UNKNOWN, physical_filter="")], PENDING, PASSED, ""),
    ],
)
async def test_what_is_known_of_the_flats_counts_for_the_curves(history, facts, state, given, words) -> None:
    shared = share_fate(PTC, OWN, history(*facts, state=state))
    assert shared.verdict is given
    assert shared.reason == (f"{words}Its own result: PTC is fine." if words else "PTC is fine.")
    if given is UNKNOWN:
        (found,) = [one for one in shared.findings if one.rule == SHARED]
        assert (found.quantity, found.outcome) == ("FLAT", Outcome.UNKNOWN)
        assert shared.findings[0] is found, "the worst comes first"


async def test_without_their_verification_flats_are_not_asked_for(history) -> None:
    assert unjudged(PTC, history(state=PENDING, do_verify=False)) == {}


async def test_curves_that_are_bad_themselves_stay_so(history) -> None:
    bad = Judgement(FAILED, "A gain is wrong.", (Finding("ptc", Outcome.FAILED, "gain"),))
    shared = share_fate(PTC, bad, history(verdict(FLAT, UNKNOWN)))
    assert (shared.verdict, [one.rule for one in shared.findings]) == (FAILED, ["ptc", SHARED])
    assert shared.reason.endswith("Its own result: A gain is wrong.")


@pytest.mark.parametrize(
    ("stage", "types"),
    [("BIAS.VERIFY", {"DEFECTS"}), ("DARK.VERIFY", {"DEFECTS"}), ("FLAT.VERIFY", {"DEFECTS", "PTC", "GAIN"})],
)
async def test_all_that_is_made_from_the_frames_shares_their_fate(history, stage: str, types: set[str]) -> None:
    run = history(stage=stage, state=SKIPPED, do_gain_from_flat_pairs=True)
    assert {one.name for one in CalibType if unjudged(one, run)} == types


@pytest.mark.parametrize(
    ("flats", "curves", "rules", "again"),
    [
        (SUCCEEDED, ENDED_BADLY, [SHARED], ["PTC.VERIFY"]),
        (PENDING, ENDED_BADLY, [SHARED], ["PTC.VERIFY"]),
        (SUCCEEDED, ENDED_BADLY, ["drift", SHARED], ["PTC.VERIFY"]),
        (ENDED_BADLY, ENDED_BADLY, [SHARED], []),
        (SUCCEEDED, SUCCEEDED, [SHARED], []),  # somebody has accepted it
        (SUCCEEDED, ENDED_BADLY, ["completeness"], []),
        (SUCCEEDED, ENDED_BADLY, [], []),
    ],
)
async def test_what_waited_for_the_flats_is_judged_again(history, flats, curves, rules, again) -> None:
    ended = StageMoved(stage_name="PTC.VERIFY", attempt=1, state=curves, reason="")
    assert judged_meanwhile(history(verdict(PTC, UNKNOWN, rules, ""), ended, state=flats)) == again
