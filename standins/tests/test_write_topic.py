# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Setting data, and when it is written."""

from __future__ import annotations

import logging
import math

import numpy as np
import pytest
from lsst.ts import salobj, utils
from lsst.ts.salobj.topics import QueueCapacityChecker


async def test_an_event_is_written_only_when_it_changes() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars"], index=7) as topics:
        event = topics.evt_scalars
        assert not event.has_data
        first = await event.set_write(int0=0)
        assert (first.did_change, first.was_written) == (True, True), "the first time counts as a change"
        assert event.has_data
        again = await event.set_write(int0=0)
        assert (again.did_change, again.was_written) == (False, False)
        forced = await event.set_write(int0=0, force_output=True)
        assert (forced.did_change, forced.was_written) == (False, True)
        changed = await event.set_write(int0=5, string0=None)
        assert (changed.did_change, changed.was_written) == (True, True)
        assert [data.int0 for data in event.data_list] == [0, 0, 5]
        assert [data.private_seqNum for data in event.data_list] == [1, 2, 3]


async def test_telemetry_is_always_written() -> None:
    async with salobj.make_mock_write_topics("Test", ["tel_scalars"]) as topics:
        for _ in range(3):
            assert (await topics.tel_scalars.set_write(double0=1.5)).was_written
        assert len(topics.tel_scalars.data_list) == 3


async def test_what_was_written_does_not_change_with_the_data() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_arrays"]) as topics:
        values = [1, 2, 3, 4, 5]
        result = await topics.evt_arrays.set_write(int0=values)
        values[0] = 99
        topics.evt_arrays.data.int0[1] = 99
        assert result.data.int0 == [1, 2, 3, 4, 5]


async def test_nan_equals_nan() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars", "evt_arrays"]) as topics:
        assert topics.evt_scalars.set(double0=math.nan)
        assert not topics.evt_scalars.set(double0=math.nan)
        assert topics.evt_arrays.set(double0=[math.nan] * 5)
        assert not topics.evt_arrays.set(double0=np.full(5, math.nan))
        assert topics.evt_arrays.set(double0=np.arange(5.0))
        assert topics.evt_arrays.data.double0 == [0, 1, 2, 3, 4]


async def test_private_fields_are_filled_in() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars"], index=7) as topics:
        before = utils.current_tai()
        data = (await topics.evt_scalars.set_write(int0=1)).data
        assert before <= data.private_sndStamp <= utils.current_tai()
        assert data.private_kafkaStamp == data.private_sndStamp
        assert data.private_efdStamp == pytest.approx(data.private_sndStamp - 37, abs=1e-6)
        assert data.private_rcvStamp == 0
        assert data.private_identity == salobj.get_user_host()
        assert len(data.private_revCode) == 8
        assert data.salIndex == 7


async def test_an_unknown_field_is_refused_and_nothing_is_set() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars"]) as topics:
        with pytest.raises(AttributeError, match="no_such_field"):
            topics.evt_scalars.set(int0=5, no_such_field=1)
        assert topics.evt_scalars.data.int0 == 0


async def test_values_that_can_not_be_compared_are_refused() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars", "evt_arrays"]) as topics:
        with pytest.raises(TypeError, match="array int0"):
            topics.evt_arrays.set(int0=5)
        with pytest.raises(TypeError, match="can't be compared"):
            topics.evt_scalars.set(int0=np.arange(5))


async def test_data_of_another_topic_is_refused() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars", "evt_arrays"]) as topics:
        topics.evt_scalars.data = topics.evt_scalars.DataType(int0=3)
        assert topics.evt_scalars.has_data
        with pytest.raises(TypeError, match="must be an instance"):
            topics.evt_scalars.data = topics.evt_arrays.DataType()


def test_a_queue_warns_once_a_level_and_again_after_it_has_emptied(caplog: pytest.LogCaptureFixture) -> None:
    checker = QueueCapacityChecker("a queue", logging.getLogger("test"), 100)
    assert checker.warn_thresholds == (10, 50, 90, 100)
    assert not checker.check_nitems(9)
    assert checker.check_nitems(10)
    assert not checker.check_nitems(49)
    assert checker.check_nitems(60)
    assert (checker.warn_threshold, checker.reset_threshold) == (90, 25)
    assert checker.check_nitems(100)
    assert "is full" in caplog.text
    assert not checker.check_nitems(60)
    assert checker.warn_threshold is None
    assert not checker.check_nitems(40)
    assert (checker.warn_threshold, checker.reset_threshold) == (90, 25)
    assert checker.check_nitems(90)
    assert not checker.check_nitems(0)
    assert (checker.warn_threshold, checker.reset_threshold) == (10, None)


@pytest.mark.parametrize(("length", "levels"), [(10, (5, 9, 10)), (19, (5, 17, 19)), (20, (5, 10, 18, 20))])
def test_a_short_queue_has_fewer_levels(length: int, levels: tuple[int, ...]) -> None:
    assert QueueCapacityChecker("a queue", logging.getLogger("test"), length).warn_thresholds == levels


def test_a_queue_must_have_some_length() -> None:
    with pytest.raises(ValueError, match="at least 10"):
        QueueCapacityChecker("a queue", logging.getLogger("test"), 9)


async def test_an_array_of_the_wrong_length_is_written_with_a_warning() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_arrays"]) as topics:
        with pytest.warns(UserWarning, match="int0 has 4 elements instead of 5"):
            await topics.evt_arrays.set_write(int0=[1, 2, 3, 4])
        assert topics.evt_arrays.data_list[-1].int0 == [1, 2, 3, 4]


async def test_set_before_set_write_is_no_change_any_more() -> None:
    async with salobj.make_mock_write_topics("Test", ["evt_scalars", "tel_scalars"]) as topics:
        assert topics.evt_scalars.set(int0=1)
        assert not (await topics.evt_scalars.set_write(int0=1)).was_written
        assert (await topics.evt_scalars.set_write(int0=1, force_output=True)).was_written
        topics.tel_scalars.set(int0=1)
        assert not (await topics.tel_scalars.set_write(int0=1, force_output=False)).was_written
        assert (await topics.tel_scalars.set_write(int0=1)).was_written
