# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collection has after certifications are undone, compared with what it had before them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.undoing import Former, Held, InTheWayError, Span, undo

PLACE = "detector 0"
HOURS = [f"2026-11-22T{hour:02d}:00:00" for hour in range(12)]
WITHIN = [f"{hour[:13]}:30:00" for hour in ("2026-11-21T00", *HOURS)]
"""A moment between each two of the hours, and before and after them."""


@dataclasses.dataclass
class Done:
    """A certification, as it is remembered."""

    own: Held
    formers: list[Former]


class Collection:
    """What is certified for one data id, by the simplest rules."""

    def __init__(self) -> None:
        self.held: list[Held] = []

    def certify(self, name: str, span: Span, truncate: bool = False) -> Done:
        taken = Span(span.begin, "") if truncate else span
        formers = [Former(one, taken) for one in self.held if one.span.overlaps(span) and one.dataset_id != name]
        hit = {id(former.held) for former in formers}
        left = []
        for one in self.held:
            away = taken if id(one) in hit else span
            left += [Held(one.dataset_id, PLACE, rest) for rest in one.span.without(away)]
        self.held = [*left, Held(name, PLACE, span)]
        return Done(self.held[-1], formers)

    def undo(self, done: list[Done]) -> None:
        changes = undo(self.held, [one.own for one in done], [former for one in done for former in one.formers])
        assert set(changes.out) <= set(self.held)
        self.held = [one for one in self.held if one not in changes.out] + list(changes.back)

    def found(self) -> list[str]:
        """What a user finds at each moment."""
        return [self._at(moment) for moment in WITHIN]

    def _at(self, moment: str) -> str:
        names = [one.dataset_id for one in self.held if one.span.contains(Span(moment, moment))]
        assert len(names) < 2, "two calibrations are valid at the same time"
        return names[0] if names else ""

    def ranges(self) -> set[tuple[str, Span]]:
        return {(one.dataset_id, one.span) for one in self.held}


@st.composite
def spans(draw: st.DrawFn) -> Span:
    first, last = sorted(draw(st.lists(st.integers(0, 11), min_size=2, max_size=2, unique=True)))
    return Span(draw(st.sampled_from([HOURS[first]] * 4 + [""])), draw(st.sampled_from([HOURS[last]] * 4 + [""])))


certifications = st.lists(st.tuples(spans(), st.booleans()), min_size=1, max_size=6)


@given(certifications, certifications)
def test_the_last_run_undone_leaves_exactly_what_was_there_before_it(
    earlier: list[tuple[Span, bool]], last: list[tuple[Span, bool]]
) -> None:
    """Even if it certified several datasets, or one of them several times."""
    collection = Collection()
    for number, (span, truncate) in enumerate(earlier):
        collection.certify(f"old {number}", span, truncate)
    before, ranges = collection.found(), collection.ranges()
    done = [collection.certify(f"new {number % 2}", span, truncate) for number, (span, truncate) in enumerate(last)]
    collection.undo(done)
    assert collection.found() == before
    if len(done) == 1:
        assert collection.ranges() == ranges, "with the very ranges that it had"


@given(certifications)
def test_runs_undone_one_after_the_other_lead_back_to_the_beginning(all_runs: list[tuple[Span, bool]]) -> None:
    collection = Collection()
    states, done = [], []
    for number, (span, truncate) in enumerate(all_runs):
        states.append(collection.ranges())
        done.append(collection.certify(f"run {number}", span, truncate))
    for one, before in zip(reversed(done), reversed(states), strict=True):
        collection.undo([one])
        assert collection.ranges() == before


@given(certifications)
def test_nothing_is_undone_where_a_later_run_stands(all_runs: list[tuple[Span, bool]]) -> None:
    collection = Collection()
    done = [collection.certify(f"run {number}", span, truncate) for number, (span, truncate) in enumerate(all_runs)]
    first, *later = done
    affected = first.own.span
    if any(one.own.span.overlaps(affected) and one.own in collection.held for one in later):
        with pytest.raises(InTheWayError) as caught:
            collection.undo([first])
        assert {one.dataset_id for one in caught.value.held} <= {one.own.dataset_id for one in later}


NOON, EVENING, NEXT = HOURS[2], HOURS[6], HOURS[10]


def test_the_middle_of_three_names_the_third() -> None:
    collection = Collection()
    collection.certify("first", Span("", ""))
    middle = collection.certify("middle", Span(NOON, NEXT))
    third = collection.certify("third", Span(NOON, EVENING))
    with pytest.raises(InTheWayError) as caught:
        collection.undo([middle])
    assert [one.dataset_id for one in caught.value.held] == ["third"]
    collection.undo([third])
    collection.undo([middle])
    assert collection.ranges() == {("first", Span("", ""))}


def test_a_later_run_beside_it_is_left_alone() -> None:
    """The older one was taken over there by somebody else, and stays so."""
    collection = Collection()
    collection.certify("old", Span("", ""))
    done = collection.certify("mine", Span(NOON, EVENING))
    collection.certify("later", Span(EVENING, NEXT))
    collection.undo([done])
    assert collection.ranges() == {
        ("old", Span("", EVENING)),
        ("later", Span(EVENING, NEXT)),
        ("old", Span(NEXT, "")),
    }


def test_the_rest_that_was_cut_off_does_not_come_back_where_somebody_is_by_now() -> None:
    collection = Collection()
    collection.certify("old", Span("", ""))
    done = collection.certify("mine", Span(NOON, EVENING), truncate=True)
    assert collection.ranges() == {("old", Span("", NOON)), ("mine", Span(NOON, EVENING))}
    collection.certify("next night's", Span(EVENING, NEXT))
    with pytest.raises(InTheWayError) as caught:
        collection.undo([done])
    assert [one.dataset_id for one in caught.value.held] == ["next night's"]


def test_what_has_been_put_back_by_hand_is_left_there() -> None:
    collection = Collection()
    collection.certify("old", Span("", ""))
    done = collection.certify("mine", Span(NOON, NEXT))
    collection.certify("old", Span(NOON, EVENING))
    collection.undo([done])
    assert collection.found() == ["old"] * len(WITHIN)


def test_other_data_ids_are_not_touched() -> None:
    other = Held("theirs", "detector 1", Span("", ""))
    mine = Held("mine", PLACE, Span(NOON, NEXT))
    changes = undo([other, mine], [mine], [])
    assert (changes.out, changes.back) == ((mine,), ())
