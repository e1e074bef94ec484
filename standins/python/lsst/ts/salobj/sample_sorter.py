# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which of the samples that were read are handed on: the last of the old ones, then all that are in order."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

__all__ = ["Sample", "SampleSorter", "order_by_time"]

Data = dict[str, Any]


class Sample(NamedTuple):
    """A message that was read: the topic's attribute name, its offset, its data.

    ``data`` is `None` if all that the partition holds has been read, and for a message that can't be decoded.
    """

    attr_name: str
    offset: int
    data: dict[str, Any] | None


def order_by_time(samples: list[Sample]) -> list[Sample]:
    """Return samples in the order of sending, as far as that does not change the order within a topic.

    Kafka has no order between topics: without this, the acknowledgement of a command would often be seen before the
    events that were written before it.
    """
    latest: dict[str, float] = {}
    keys = []
    for sample in samples:
        sent = 0.0 if sample.data is None else sample.data["private_sndStamp"]
        latest[sample.attr_name] = max(sent, latest.get(sample.attr_name, 0.0))
        keys.append(latest[sample.attr_name])
    return [samples[i] for i in sorted(range(len(samples)), key=keys.__getitem__)]


class SampleSorter:
    """History and order of the samples of one SalInfo.

    Of the old samples of a topic the last one of each SAL index is handed on, when all of them have been read. Of
    events and telemetry, a sample that was sent before one that has been seen (by topic and SAL index) is dropped.

    Parameters
    ----------
    log : `logging.Logger`
        Where a dropped sample is logged.
    discard_out_of_order_events, discard_out_of_order_telemetry : `bool`
        Drop such samples at all?

    Attributes
    ----------
    history_done : `asyncio.Event`
        Have all old samples been read?
    """

    def __init__(
        self, log: logging.Logger, discard_out_of_order_events: bool, discard_out_of_order_telemetry: bool
    ) -> None:
        self._log = log
        self._discarded_kinds = tuple(
            prefix
            for prefix, discard in (("evt_", discard_out_of_order_events), ("tel_", discard_out_of_order_telemetry))
            if discard
        )
        self._history_ends: dict[str, int] = {}
        self._newest_by_index: dict[str, dict[int, Data]] = {}
        self._last_sent: dict[tuple[str, int], float] = {}
        self.history_done = asyncio.Event()

    @property
    def unread_topics(self) -> list[str]:
        """Attribute names of the topics of which not all old samples have been read."""
        return sorted(self._history_ends)

    def begin_history(self, history_ends: dict[str, int]) -> None:
        """Expect old samples of these topics, up to these offsets."""
        self._history_ends = dict(history_ends)
        self._newest_by_index = {attr_name: {} for attr_name in history_ends}
        if not history_ends:
            self.history_done.set()

    def sort(self, attr_name: str, offset: int, data: Data | None) -> list[Data]:
        """Return what to hand on, now that this has been read.

        Parameters
        ----------
        attr_name : `str`
            The topic.
        offset : `int`
            Kafka's offset of the sample.
        data : `dict` or `None`
            The sample; `None` if it is not for this reader, or if it is not a sample but the end of the topic.
        """
        end = self._history_ends.get(attr_name)
        if end is None:
            return [] if data is None or self._is_out_of_order(attr_name, data) else [data]
        newest = self._newest_by_index[attr_name]
        if data is not None and offset <= end:
            index = data.get("salIndex", 0)
            newest.pop(index, None)  # so that the one that was sent last comes last
            newest[index] = data
        if offset < end:
            return []
        result = list(newest.values())
        if data is not None and offset > end:
            result.append(data)
        del self._history_ends[attr_name], self._newest_by_index[attr_name]
        for old in result:
            self._last_sent[attr_name, old.get("salIndex", 0)] = old["private_sndStamp"]
        if not self._history_ends:
            self.history_done.set()
        return result

    def _is_out_of_order(self, attr_name: str, data: Data) -> bool:
        """Was the sample sent before one that has been seen?"""
        if not attr_name.startswith(self._discarded_kinds):
            return False
        key = (attr_name, data.get("salIndex", 0))
        sent, last_sent = data["private_sndStamp"], self._last_sent.get(key, 0.0)
        if sent < last_sent:
            self._log.warning(
                f"Dropped a sample of {attr_name} that came out of order: index={key[1]}, "
                f"private_sndStamp={sent} < {last_sent}, private_seqNum={data['private_seqNum']}"
            )
            return True
        self._last_sent[key] = sent
        return False
