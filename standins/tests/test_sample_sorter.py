# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which samples a reader gets: the last of the old ones, then those in order."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from lsst.ts.salobj.sample_sorter import Sample, SampleSorter, order_by_time


def sample(index: int, sent: float) -> dict[str, Any]:
    return {"salIndex": index, "private_sndStamp": sent, "private_seqNum": 1}


def make_sorter(events: bool = True, telemetry: bool = True) -> SampleSorter:
    return SampleSorter(logging.getLogger("test"), events, telemetry)


def test_of_old_samples_the_last_of_each_index_is_handed_on_when_all_are_read() -> None:
    sorter = make_sorter()
    sorter.begin_history({"evt_x": 12})
    assert sorter.sort("evt_x", 9, sample(1, 10)) == []
    assert sorter.sort("evt_x", 10, sample(2, 11)) == []
    assert sorter.sort("evt_x", 11, sample(1, 12)) == []
    assert not sorter.history_done.is_set()
    assert sorter.unread_topics == ["evt_x"]
    handed_on = sorter.sort("evt_x", 12, sample(3, 13))
    assert [(s["salIndex"], s["private_sndStamp"]) for s in handed_on] == [(2, 11), (1, 12), (3, 13)]
    assert sorter.history_done.is_set()


def test_history_ends_with_a_sample_of_another_index_or_the_end_of_the_topic() -> None:
    for last_offset in (5, 6):
        sorter = make_sorter()
        sorter.begin_history({"evt_x": 5})
        assert sorter.sort("evt_x", 3, sample(1, 10)) == []
        assert [s["private_sndStamp"] for s in sorter.sort("evt_x", last_offset, None)] == [10]
        assert sorter.history_done.is_set()


def test_a_new_sample_that_comes_while_the_last_old_one_is_missing_is_not_lost() -> None:
    sorter = make_sorter()
    sorter.begin_history({"evt_x": 5})
    sorter.sort("evt_x", 3, sample(1, 10))
    assert [s["private_sndStamp"] for s in sorter.sort("evt_x", 7, sample(1, 20))] == [10, 20]


def test_without_old_samples_there_is_nothing_to_wait_for() -> None:
    sorter = make_sorter()
    sorter.begin_history({})
    assert sorter.history_done.is_set()


def test_a_sample_that_was_sent_earlier_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    sorter = make_sorter()
    sorter.begin_history({})
    assert sorter.sort("evt_x", 1, sample(1, 10)) != []
    assert sorter.sort("evt_x", 2, sample(1, 9.9)) == []
    assert "out of order" in caplog.text
    assert sorter.sort("evt_x", 3, sample(1, 10)) != [], "the same time is no disorder"
    assert sorter.sort("evt_x", 4, sample(2, 5)) != [], "each index has its own order"
    assert sorter.sort("evt_y", 5, sample(1, 5)) != [], "each topic has its own order"


def test_a_sample_older_than_history_is_dropped() -> None:
    sorter = make_sorter()
    sorter.begin_history({"evt_x": 0})
    assert len(sorter.sort("evt_x", 0, sample(1, 10))) == 1
    assert sorter.sort("evt_x", 1, sample(1, 9)) == []


def test_commands_and_acknowledgements_are_never_dropped() -> None:
    sorter = make_sorter()
    sorter.begin_history({})
    for attr_name in ("cmd_x", "ack_ackcmd"):
        assert sorter.sort(attr_name, 1, sample(1, 10)) != []
        assert sorter.sort(attr_name, 2, sample(1, 5)) != []


def test_dropping_can_be_switched_off() -> None:
    sorter = make_sorter(events=False, telemetry=True)
    sorter.begin_history({})
    for attr_name, kept in (("evt_x", True), ("tel_x", False)):
        sorter.sort(attr_name, 1, sample(1, 10))
        assert bool(sorter.sort(attr_name, 2, sample(1, 5))) == kept


def test_topics_are_merged_by_time_and_each_keeps_its_order() -> None:
    def message(attr_name: str, offset: int, sent: float) -> Sample:
        return Sample(attr_name, offset, {"private_sndStamp": sent})

    ack, event, late_event = message("ack_ackcmd", 0, 3), message("evt_x", 5, 2), message("evt_x", 6, 1)
    end = Sample("evt_x", 7, None)
    assert order_by_time([ack, event, late_event, end]) == [event, late_event, end, ack]
    assert order_by_time([Sample("evt_y", 0, None), event]) == [Sample("evt_y", 0, None), event]
    assert order_by_time([]) == []
