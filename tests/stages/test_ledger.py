# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The ledger of files: exposure by detector, whatever comes in whatever order."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.oods import IngestNotice
from lsst.ts.comcamcalib.stages.ledger import IngestLedger

EXPOSURE = 2026112200001


def notice(detector: int | None, ok: bool = True, text: str = "", exposure: int | None = EXPOSURE) -> IngestNotice:
    return IngestNotice(exposure, detector, ok, text)


async def test_file_is_missing_until_it_is_reported() -> None:
    ledger = IngestLedger((0, 4))
    assert ledger.missing(EXPOSURE) == {0, 4}
    ledger.notice(notice(4))
    assert ledger.missing(EXPOSURE) == {0}
    assert ledger.ingested(EXPOSURE) == {4}


async def test_detectors_that_are_not_in_use_do_not_count() -> None:
    ledger = IngestLedger((0, 4))
    ledger.notice(notice(7))
    ledger.notice(notice(8, ok=False, text="no"))
    assert ledger.ingested(EXPOSURE) == frozenset()
    assert ledger.failed(EXPOSURE) == {}


async def test_failure_is_kept_with_the_oods_words_until_the_file_is_there() -> None:
    ledger = IngestLedger((0,))
    ledger.notice(notice(0, ok=False, text="disk full"))
    assert ledger.failed(EXPOSURE) == {0: "disk full"}
    assert ledger.missing(EXPOSURE) == {0}
    ledger.present(EXPOSURE, 0)
    assert ledger.failed(EXPOSURE) == {}
    assert ledger.missing(EXPOSURE) == frozenset()


async def test_late_failure_does_not_deny_what_is_there() -> None:
    """The OODS tries a file again after it was ingested, and says that it is there already."""
    ledger = IngestLedger((0,))
    ledger.notice(notice(0))
    ledger.notice(notice(0, ok=False, text="exists already"))
    assert ledger.failed(EXPOSURE) == {}
    assert ledger.missing(EXPOSURE) == frozenset()


async def test_failure_of_an_unknown_file_is_kept_apart() -> None:
    ledger = IngestLedger((0,))
    ledger.notice(notice(None, ok=False, text="no header"))
    ledger.notice(notice(0, ok=False, text="no id", exposure=None))
    ledger.notice(notice(None, ok=True))
    assert ledger.unattributed == ["no header", "no id"]
    assert ledger.failed(EXPOSURE) == {}


async def test_each_change_is_news() -> None:
    ledger = IngestLedger((0, 1))
    counts = [ledger.news.count]
    for one in (notice(0), notice(1, ok=False, text="x"), notice(1)):
        ledger.notice(one)
        counts.append(ledger.news.count)
    assert counts == sorted(set(counts))


NOTICES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4), st.booleans()), max_size=40)


@settings(deadline=None)  # how long it takes depends on what else the machine does
@given(NOTICES, st.sets(st.integers(0, 4), min_size=1))
def test_ledger_says_ingested_what_was_ever_reported_so_and_nothing_else(
    reported: list[tuple[int, int, bool]], detectors: set[int]
) -> None:
    ledger = IngestLedger(detectors)
    for exposure, detector, ok in reported:
        ledger.notice(notice(detector, ok, "why", exposure))
    for exposure in (1, 2, 3):
        there = {detector for one, detector, ok in reported if ok and one == exposure} & detectors
        assert ledger.ingested(exposure) == there
        assert ledger.missing(exposure) == detectors - there
        assert not ledger.failed(exposure).keys() & there
        tried = {detector for one, detector, ok in reported if one == exposure} & detectors
        assert ledger.failed(exposure).keys() == tried - there
