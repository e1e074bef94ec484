# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""No more jobs than allowed are at the UWS at once, and none of its places is ever lost."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.stages.places import Places
from support.bias_job import turn


class Guests:
    """Tasks that want a place, by name; each keeps its place until it may go."""

    def __init__(self, number: int) -> None:
        self.places = Places(number)
        self.came: list[str] = []
        """Who got a place, in order."""
        self.inside: set[str] = set()
        self.most = 0
        self.go: dict[str, asyncio.Event] = {}
        """Set when somebody may go, by name."""
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def _stay(self, name: str, urgency: float) -> None:
        async with self.places.place(urgency):
            self.came.append(name)
            self.inside.add(name)
            self.most = max(self.most, len(self.inside))
            try:
                await self.go[name].wait()
            finally:
                self.inside.remove(name)

    async def arrive(self, name: str, urgency: float = 0.0) -> None:
        """Let somebody come; return when it has its place or waits for one."""
        self.go[name] = asyncio.Event()
        self.tasks[name] = asyncio.create_task(self._stay(name, urgency), name=name)
        await turn()

    async def leave(self, name: str) -> None:
        """Let somebody go."""
        self.go[name].set()
        await turn()

    async def end(self) -> None:
        """Let all go."""
        for go in self.go.values():
            go.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def test_as_many_as_there_are_places_come_in_and_the_others_wait() -> None:
    guests = Guests(2)
    for name in "abc":
        await guests.arrive(name)
    assert guests.inside == {"a", "b"} and guests.places.full
    await guests.leave("a")
    assert guests.inside == {"b", "c"} and guests.places.full
    await guests.end()
    assert not guests.places.full


async def test_the_most_urgent_comes_first_and_among_equals_who_came_first() -> None:
    guests = Guests(1)
    for name, urgency in (("first", 0.0), ("x", 10.0), ("y", 300.0), ("z", 10.0), ("w", 0.0)):
        await guests.arrive(name, urgency)
    await guests.end()
    assert guests.came == ["first", "y", "x", "z", "w"]


async def test_who_comes_at_the_moment_a_place_is_given_to_another_does_not_take_it() -> None:
    guests = Guests(1)
    await guests.arrive("a")
    await guests.arrive("b")
    guests.go["a"].set()
    await asyncio.sleep(0)
    await guests.arrive("c", urgency=1e9)
    assert guests.came == ["a", "b"] and guests.most == 1
    await guests.end()


async def test_who_gives_up_waiting_takes_no_place() -> None:
    guests = Guests(1)
    for name in "abc":
        await guests.arrive(name)
    guests.tasks["b"].cancel()
    await turn()
    await guests.leave("a")
    assert guests.came == ["a", "c"]
    await guests.end()
    assert not guests.places.full


async def test_a_place_that_is_given_to_somebody_who_gives_up_at_that_moment_goes_to_the_next() -> None:
    guests = Guests(1)
    for name in "abc":
        await guests.arrive(name)
    guests.go["a"].set()
    while not guests.tasks["a"].done():  # noqa: ASYNC110, a turn of the loop is all that is slept
        await asyncio.sleep(0)
    guests.tasks["b"].cancel()
    await turn()
    assert guests.inside == {"c"} and "b" not in guests.came
    await guests.end()
    assert not guests.places.full


async def test_who_fails_leaves_its_place() -> None:
    places = Places(1)
    with pytest.raises(RuntimeError, match="broken"):
        async with places.place(0.0):
            raise RuntimeError("broken")
    assert not places.full


STEPS = st.lists(
    st.tuples(st.sampled_from(["arrive", "leave", "cancel", "turn"]), st.integers(0, 9), st.integers(0, 3)),
    max_size=60,
)


@given(number=st.integers(1, 3), steps=STEPS)
def test_whatever_happens_there_are_never_too_many_and_no_place_is_lost(
    number: int, steps: list[tuple[str, int, int]]
) -> None:
    async def play() -> None:
        guests = Guests(number)
        names: list[str] = []
        for what, which, urgency in steps:
            if what == "arrive":
                names.append(f"guest {len(names)}")
                await guests.arrive(names[-1], urgency)
            elif what == "turn":
                await turn()
            elif names and what == "leave":
                guests.go[names[which % len(names)]].set()
            elif names:
                guests.tasks[names[which % len(names)]].cancel()
        await turn()
        present = sum(not task.done() for task in guests.tasks.values())
        assert guests.most <= number
        assert len(guests.inside) == min(number, present), "somebody waits although there is a place"
        await guests.end()
        assert not guests.places.full

    asyncio.run(play())
