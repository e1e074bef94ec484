# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which product is good enough to be certified: the history is the only way to one."""

from __future__ import annotations

import ast
import pathlib
from typing import Any

import lsst.ts.comcamcalib
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType, StageState, Verdict
from lsst.ts.comcamcalib.record.facts import (
    Certified,
    CertifyIntended,
    Dataset,
    Decertified,
    DecertifyIntended,
    Entry,
    Fact,
    ProductMade,
    StageMoved,
)
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.record.things import GOOD_VERDICTS, GoodProduct
from support.certifying import verdict_of
from support.facts import any_run
from support.plans import make_plan
from support.records import accepted

BIAS, FLAT = CalibType.BIAS, CalibType.FLAT


def after(*some: Fact, **options: Any) -> History:
    first = accepted(make_plan(**{"detectors": [0, 1], **options}))
    return fold([first, *(Entry(number, first.at + number, fact) for number, fact in enumerate(some, start=2))])


def made(calib_type: CalibType = BIAS, filters: tuple[str | None, ...] = (None,), job_id: str = "job-01") -> Fact:
    recipe = make_plan().recipe(calib_type).jobs[-1]
    return ProductMade(
        label=recipe.label,
        attempt=1,
        job_id=job_id,
        calib_type=calib_type,
        dataset_type=recipe.dataset_type,
        run_collection=f"u/ocps/{job_id}/run",
        datasets=tuple(
            Dataset(dataset_id=f"id-{detector}-{kind}", detector=detector, physical_filter=kind)
            for detector in (0, 1)
            for kind in filters
        ),
    )


def verified(calib_type: CalibType = BIAS, state: StageState = StageState.SUCCEEDED, attempt: int = 1) -> Fact:
    return StageMoved(stage_name=f"{calib_type.name}.VERIFY", attempt=attempt, state=state, reason="")


def test_product_with_its_verdict() -> None:
    good = after(made(), verdict_of(BIAS, Verdict.PASSED_WITH_FAILURES), verified()).good_product(BIAS)
    assert (good.product.ids, good.verdict) == (("id-0-None", "id-1-None"), Verdict.PASSED_WITH_FAILURES)


@pytest.mark.parametrize("verdict", list(Verdict))
def test_only_good_verdicts_count(verdict: Verdict) -> None:
    history = after(made(), verdict_of(BIAS, verdict), verified())
    if verdict in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES, Verdict.ACCEPTED_BY_OPERATOR):
        assert history.good_product(BIAS).verdict is verdict
    else:
        with pytest.raises(ValueError, match=f"^BIAS is {verdict.name}$"):
            history.good_product(BIAS)


def test_what_is_not_made_or_not_verified_is_not_good() -> None:
    with pytest.raises(ValueError, match=r"^BIAS is not made$"):
        after(verdict_of(BIAS), verified()).good_product(BIAS)
    with pytest.raises(ValueError, match=r"^BIAS is not verified$"):
        after(made(), verified()).good_product(BIAS)
    with pytest.raises(ValueError, match=r"^BIAS is not verified$"):
        after(made(), verified(), verdict_of(CalibType.DARK)).good_product(BIAS)


@pytest.mark.parametrize("state", sorted(set(StageState) - {StageState.SUCCEEDED}))
def test_verdict_of_a_stage_that_has_not_succeeded_is_not_enough(state: StageState) -> None:
    with pytest.raises(ValueError, match=r"^the verification of BIAS has not succeeded$"):
        after(made(), verdict_of(BIAS), verified(state=state)).good_product(BIAS)


def test_product_is_good_only_in_all_of_its_filters() -> None:
    flat, in_r = made(FLAT, ("g_01", "r_03", "z_10")), verdict_of(FLAT, physical_filter="r_03")
    with pytest.raises(ValueError, match=r"^FLAT is not verified in g_01, z_10$"):
        after(flat, in_r, verified(FLAT)).good_product(FLAT)
    others = [verdict_of(FLAT, physical_filter="g_01"), verdict_of(FLAT, Verdict.UNKNOWN, "z_10")]
    with pytest.raises(ValueError, match=r"^FLAT is UNKNOWN$"):
        after(flat, in_r, *others, verified(FLAT)).good_product(FLAT)
    others[1] = verdict_of(FLAT, Verdict.ACCEPTED_BY_OPERATOR, "z_10")
    good = after(flat, in_r, *others, verified(FLAT)).good_product(FLAT)
    assert good.verdict is Verdict.ACCEPTED_BY_OPERATOR, "the one that is trusted least"


def test_verdict_on_all_filters_is_a_verdict_on_each() -> None:
    history = after(made(FLAT, ("g_01", "r_03")), verdict_of(FLAT, Verdict.PASSED), verified(FLAT))
    assert history.good_product(FLAT).verdict is Verdict.PASSED


def test_verdicts_of_an_earlier_attempt_do_not_count() -> None:
    """The first attempt was good in both filters, the second could judge only one."""
    flat = made(FLAT, ("g_01", "r_03"))
    first = [verdict_of(FLAT, physical_filter=kind) for kind in ("g_01", "r_03")]
    assert after(flat, *first, verified(FLAT)).good_product(FLAT)
    second = verdict_of(FLAT, physical_filter="r_03", attempt=2)
    with pytest.raises(ValueError, match=r"^FLAT is not verified in g_01$"):
        after(flat, *first, verified(FLAT), second, verified(FLAT, attempt=2)).good_product(FLAT)


def test_without_verification_only_the_option_makes_a_product_good() -> None:
    wanted = {"do_verify": False, "certify_unverified": True}
    assert after(made(), **wanted).good_product(BIAS).verdict is None
    with pytest.raises(ValueError, match=r"^BIAS is not verified$"):
        after(made(), do_verify=False).good_product(BIAS)
    with pytest.raises(ValueError, match=r"^BIAS is not verified$"):
        after(made(), certify_unverified=True).good_product(BIAS)
    with pytest.raises(ValueError, match=r"^BIAS is FAILED$"):
        after(made(), verdict_of(BIAS, Verdict.FAILED), **wanted).good_product(BIAS)
    with pytest.raises(ValueError, match=r"^BIAS is not made$"):
        after(**wanted).good_product(BIAS)


def test_what_was_withdrawn_is_not_good_even_without_verification() -> None:
    wanted = {"do_verify": False, "certify_unverified": True}
    certified = [
        CertifyIntended(
            number=1,
            stage_name="BIAS.CERTIFY",
            calib_type=BIAS,
            verdict=None,
            dataset_type="bias",
            collection="LSSTComCam/calib/daily",
            output_collection="u/ocps/job-01/run",
            validity_begin="2026-11-22T12:00:00",
            validity_end="2026-11-23T12:00:00",
            dataset_ids=("id-0-None", "id-1-None"),
        ),
        Certified(number=1, dataset_count=2, reason=""),
    ]
    withdrawn = [
        DecertifyIntended(
            number=1, certifications=(1,), collection="LSSTComCam/calib/daily", out=(), back=(), who="op", why="a crack"
        ),
        Decertified(number=1, reason=""),
    ]
    dark = made(CalibType.DARK).model_copy(update={"datasets": (Dataset(dataset_id="dark-0", detector=0),)})
    facts = (made(), *certified, *withdrawn, dark)
    for calib_type in (BIAS, CalibType.DARK):
        with pytest.raises(ValueError, match=r"^BIAS was withdrawn by op: a crack$"):
            after(*facts, **wanted).good_product(calib_type)


def without(calib_type: CalibType, *detectors: int, physical_filter: str = "") -> Fact:
    verdict = verdict_of(calib_type, Verdict.PASSED_WITH_FAILURES, physical_filter)
    return verdict.model_copy(update={"left_out": detectors})


def test_detectors_that_a_verdict_leaves_out_are_not_good() -> None:
    good = after(made(), without(BIAS, 1), verified()).good_product(BIAS)
    assert (good.product.ids, good.left_out) == (("id-0-None",), (1,))
    with pytest.raises(ValueError, match=r"^no detector of BIAS is good$"):
        after(made(), without(BIAS, 0, 1), verified()).good_product(BIAS)


def test_a_flat_may_be_good_in_one_filter_only() -> None:
    verdicts = (without(FLAT, 1, physical_filter="g_01"), verdict_of(FLAT, physical_filter="r_03"))
    good = after(made(FLAT, ("g_01", "r_03")), *verdicts, verified(FLAT)).good_product(FLAT)
    assert good.product.ids == ("id-0-g_01", "id-0-r_03", "id-1-r_03")
    assert good.left_out == (1,)


@pytest.mark.parametrize("late", [False, True])
def test_what_is_built_on_it_leaves_it_out_whichever_verdict_came_first(late: bool) -> None:
    """A dark may be judged before the bias that it was built on."""
    verdicts = [without(BIAS, 1), verdict_of(CalibType.DARK)]
    history = after(
        made(), made(CalibType.DARK), *(reversed(verdicts) if late else verdicts), verified(), verified(CalibType.DARK)
    )
    good = history.good_product(CalibType.DARK)
    assert (good.product.ids, good.left_out) == (("id-0-None",), (1,))
    assert history.left_out_before(FLAT) == {1: "left out of BIAS"}
    assert history.left_out_before(BIAS) == {}


def test_what_is_not_made_by_this_run_is_no_reason_to_leave_anything_out() -> None:
    """The run verifies the bias in the input collections, and what it makes is built on another."""
    history = after(without(BIAS, 1), made(CalibType.DARK), verdict_of(CalibType.DARK), verified(CalibType.DARK))
    assert history.good_product(CalibType.DARK).left_out == ()


def test_a_detector_for_which_nothing_was_made_is_left_out_of_all_that_is_built_on_it() -> None:
    facts = [made(), made(CalibType.DARK), verdict_of(BIAS), verdict_of(CalibType.DARK)]
    history = after(*facts, verified(), verified(CalibType.DARK), detectors=[0, 1, 4])
    assert history.not_made(BIAS) == {4: "no bias was made"} and history.not_made(FLAT) == {}
    assert history.left_out_before(BIAS) == history.left_out_before(FLAT) == {4: "no bias was made"}
    good = history.good_product(CalibType.DARK)
    assert (good.product.ids, good.left_out) == (("id-0-None", "id-1-None"), (4,))
    unverified = after(made(), do_verify=False, certify_unverified=True, detectors=[0, 1, 4]).good_product(BIAS)
    assert unverified.left_out == (4,)


_FACTS = st.one_of(
    st.builds(made, filters=st.sampled_from([("g_01",), ("g_01", "r_03")]), calib_type=st.just(FLAT)),
    st.builds(
        verdict_of,
        st.just(FLAT),
        st.sampled_from(Verdict),
        st.sampled_from(["", "g_01", "r_03"]),
        st.integers(1, 2),
    ),
    st.builds(verified, st.just(FLAT), st.sampled_from(StageState), st.integers(1, 2)),
)


@settings(max_examples=500, deadline=None)
@given(st.lists(_FACTS, max_size=8))
def test_no_order_of_facts_makes_a_product_good_without_good_verdicts(some: list[Fact]) -> None:
    history = after(*some)
    try:
        good = history.good_product(FLAT)
    except ValueError:
        return
    latest = max(number for number, fact in enumerate(some) if isinstance(fact, StageMoved))
    assert some[latest].state is StageState.SUCCEEDED
    verdicts = {one.physical_filter: one.verdict for one in history.verdicts_of(FLAT)}
    assert verdicts and set(verdicts.values()) <= GOOD_VERDICTS and good.verdict in verdicts.values()
    assert "" in verdicts or {one.physical_filter for one in good.product.datasets} <= set(verdicts)


@settings(deadline=None)
@given(any_run())
def test_whatever_happened_a_product_that_is_good_has_a_good_verdict(entries: list[Entry]) -> None:
    history = fold(entries)
    for calib_type in CalibType:
        try:
            good = history.good_product(calib_type)
        except ValueError:
            continue
        assert good.verdict in GOOD_VERDICTS and good.product is history.product(calib_type)


def test_nothing_but_the_history_makes_a_good_product() -> None:
    """Whoever certifies needs one, so there is no other path."""
    package = pathlib.Path(lsst.ts.comcamcalib.__path__[0])
    makers = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == GoodProduct.__name__
    }
    assert makers == {"record/history.py"}


def test_nothing_but_the_act_of_certifying_makes_a_request_to_butler() -> None:
    package = pathlib.Path(lsst.ts.comcamcalib.__path__[0])
    calls = {
        file.relative_to(package).as_posix()
        for file in package.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "CertifyRequest"
    }
    assert calls == {"stages/certifying.py", "promotion/plan.py"}, "a promotion copies what a run has certified"
