# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collection has is known without asking for months of it again and again."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.butler_data import Coverage
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.web.coverage import Covered, Known

TYPES = {CalibType.BIAS: "bias", CalibType.FLAT: "flat"}
SINCE = "2026-09-27T12:00:00"
MONDAY, TUESDAY, WEDNESDAY = ("2026-11-23T12:00:00", "2026-11-24T12:00:00", "2026-11-25T12:00:00")


class Repository:
    """A collection, and what was asked of it."""

    def __init__(self) -> None:
        self.there: list[Coverage] = []
        self.asked: list[tuple[tuple[str, ...], str]] = []
        self.error = ""

    async def coverage(self, dataset_types: list[str], collection: str, since_iso_tai: str) -> list[Coverage]:
        assert collection == "daily"
        self.asked.append((tuple(dataset_types), since_iso_tai))
        if self.error and since_iso_tai == SINCE:
            raise ServiceError(self.error)
        chosen = [one for one in self.there if one.dataset_type in dataset_types]
        return [one for one in chosen if not one.end_iso_tai or one.end_iso_tai > since_iso_tai]

    def certify(self, begin: str, end: str, dataset_type: str = "bias", physical_filter: str = "") -> None:
        self.there += [Coverage(dataset_type, one, physical_filter, "run", begin, end) for one in (0, 1)]


@pytest.fixture
def repository() -> Repository:
    return Repository()


@pytest.fixture
def covered() -> Covered:
    return Covered("daily", TYPES, [0, 1])


async def ends(covered: Covered, repository: Repository, now: str) -> set[tuple[str, str, str]]:
    """Return what the board would know."""
    found = await covered.look(repository, now, SINCE)
    return {(one.dataset_type, one.physical_filter, one.end_iso_tai) for one in found.ranges}


async def test_what_is_valid_is_asked_for_and_months_only_for_flats(covered: Covered, repository: Repository) -> None:
    repository.certify(MONDAY, TUESDAY)
    assert await ends(covered, repository, MONDAY) == {("bias", "", TUESDAY)}
    # Nobody knows in which filters there should be flats.
    assert repository.asked == [(("bias", "flat"), MONDAY), (("flat",), SINCE)]
    repository.certify("2026-10-01T12:00:00", "2026-10-02T12:00:00", "flat", "i_06")
    assert await ends(covered, repository, MONDAY) == {("bias", "", TUESDAY)}, "once is enough"


async def test_what_had_ended_before_is_found(covered: Covered, repository: Repository) -> None:
    repository.certify("2026-10-01T12:00:00", "2026-10-02T12:00:00")
    repository.certify("2026-10-05T12:00:00", "2026-10-06T12:00:00")
    repository.certify("2026-10-01T12:00:00", "2026-10-03T12:00:00", "flat", "i_06")
    known = {("bias", "", "2026-10-06T12:00:00"), ("flat", "i_06", "2026-10-03T12:00:00")}
    assert await ends(covered, repository, MONDAY) == known
    asked = len(repository.asked)
    assert await ends(covered, repository, TUESDAY) == known
    assert len(repository.asked) == asked + 1


async def test_what_ends_meanwhile_is_remembered_and_what_is_withdrawn_is_not(
    covered: Covered, repository: Repository
) -> None:
    repository.certify(MONDAY, TUESDAY)
    repository.certify(MONDAY, WEDNESDAY, "flat", "r_03")
    await covered.look(repository, MONDAY, SINCE)
    repository.there = [one for one in repository.there if one.dataset_type == "bias"]
    assert await ends(covered, repository, WEDNESDAY) == {("bias", "", TUESDAY)}
    # After months nobody cares.
    assert await covered.look(repository, "2027-03-01T12:00:00", "2027-01-01T12:00:00") == Known()


async def test_if_months_can_not_be_looked_up_the_rest_is_shown_and_what_is_not_known_is_said(
    covered: Covered, repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    repository.error = "no answer within 60 s"
    repository.certify(MONDAY, "")
    found = await covered.look(repository, MONDAY, SINCE)
    assert {(one.dataset_type, one.end_iso_tai) for one in found.ranges} == {("bias", "")}
    assert found.not_known == {CalibType.FLAT: "no answer within 60 s"}
    assert "which flat in daily have ended lately: no answer within 60 s" in caplog.text


async def test_what_could_not_be_looked_up_is_asked_for_again_after_some_minutes(
    covered: Covered, repository: Repository, caplog: pytest.LogCaptureFixture
) -> None:
    def months_asked_for() -> list[tuple[str, ...]]:
        return [types for types, since in repository.asked if since == SINCE]

    repository.certify("2026-10-01T12:00:00", "2026-10-02T12:00:00")
    repository.certify("2026-10-01T12:00:00", "2026-10-03T12:00:00", "flat", "i_06")
    repository.error = "no answer within 60 s"
    both = dict.fromkeys(TYPES, repository.error)
    for now, count in (("2026-11-23T12:00:00", 1), ("2026-11-23T12:04:59", 1), ("2026-11-23T12:05:00", 2)):
        assert (await covered.look(repository, now, SINCE)).not_known == both
        assert months_asked_for() == [("bias",)] * count, "each question may take a minute, so there are few"
    assert caplog.text.count("have ended lately") == 1
    repository.error = ""
    assert (await covered.look(repository, "2026-11-23T12:06:00", SINCE)).not_known == both
    found = await covered.look(repository, "2026-11-23T12:10:00", SINCE)
    assert not found.not_known and len(found.ranges) == 4
    await covered.look(repository, "2026-11-23T12:20:00", SINCE)
    assert months_asked_for() == [("bias",), ("bias",), ("bias",), ("flat",)], "after that it is remembered"


async def test_what_is_valid_by_now_needs_no_past(covered: Covered, repository: Repository) -> None:
    repository.error = "no answer within 60 s"
    assert CalibType.BIAS in (await covered.look(repository, MONDAY, SINCE)).not_known
    repository.certify(MONDAY, TUESDAY)
    assert set((await covered.look(repository, MONDAY, SINCE)).not_known) == {CalibType.FLAT}
