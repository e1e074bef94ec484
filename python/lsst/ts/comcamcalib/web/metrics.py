# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Numbers for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from .. import __version__
from ..enums import RunState
from . import data
from .grouping import STATUSES

__all__ = ["Measured", "Metrics"]

CSC_STATES = ("OFFLINE", "STANDBY", "DISABLED", "ENABLED", "FAULT")


class Measured:
    """What the page counts of itself."""

    def __init__(self) -> None:
        self.requests = 0
        """Requests that were answered."""
        self.refused = 0
        """Requests that were refused because there were too many readers."""
        self.dropped = 0
        """Readers that were dropped because they read too slowly."""


class Metrics:
    """Makes the text that Prometheus reads.

    Parameters
    ----------
    now
        Returns what happens now; None: nothing was seen yet.
    board
        Returns the board.
    own
        What the page counts of itself.
    readers, age_s, loop_delay_s
        Return the number of those who watch the page, how long ago that was seen which is shown, and the longest delay
        of the event loop in the last minute (seconds).
    """

    def __init__(
        self,
        now: Callable[[], data.Now | None],
        board: Callable[[], data.Board],
        own: Measured,
        readers: Callable[[], int],
        age_s: Callable[[], float],
        loop_delay_s: Callable[[], float],
    ) -> None:
        self._now = now
        self._board = board
        self._own = own
        self._readers = readers
        self._age_s = age_s
        self._loop_delay_s = loop_delay_s
        # Not the common registry: nothing of other packages in this process belongs here.
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Reading(self._collect))
        ProcessCollector(registry=self._registry)

    def text(self) -> bytes:
        """Return all numbers."""
        return generate_latest(self._registry)

    def _collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("comcamcalib", "The program.", {"version": __version__})
        yield _counter("comcamcalib_page_requests", "Requests that were answered.", self._own.requests)
        yield _counter("comcamcalib_page_refused", "Requests refused: too many readers.", self._own.refused)
        yield _counter("comcamcalib_page_dropped", "Readers dropped: too slow.", self._own.dropped)
        yield _gauge("comcamcalib_page_readers", "Those who watch the page.", self._readers())
        yield _gauge("comcamcalib_data_age_seconds", "How long ago the CSC was looked at.", self._age_s())
        yield _gauge(
            "comcamcalib_loop_delay_seconds", "Longest delay of the event loop in a minute.", self._loop_delay_s()
        )
        yield from self._board_metrics()
        if (now := self._now()) is not None:
            yield from _now_metrics(now)

    def _board_metrics(self) -> Iterator[Metric]:
        board = self._board()
        counts = GaugeMetricFamily(
            "comcamcalib_calibrations",
            "Detectors by the state of their certified calibrations.",
            labels=("type", "filter", "status"),
        )
        for row in board.rows:
            for status in STATUSES:
                number = sum(1 for cell in row.cells if cell.status == status)
                counts.add_metric((row.calib_type, row.physical_filter, status), number)
        yield counts


def _now_metrics(now: data.Now) -> Iterator[Metric]:
    yield _one_of("comcamcalib_csc_state", "Summary state of the CSC.", CSC_STATES, now.csc.state)
    yield _gauge("comcamcalib_journal_owned", "Whether this process owns the journal.", now.csc.journal_owned)
    yield _gauge("comcamcalib_connected", "Whether the CSC is connected to the observatory.", now.csc.connected)
    alarms = GaugeMetricFamily("comcamcalib_alarm", "Whether an alarm is on.", labels=("alarm",))
    for alarm in now.alarms:
        alarms.add_metric((alarm.name.replace(" ", "_"),), float(alarm.on))
    yield alarms
    state = now.run.state if now.run is not None else ""
    yield _one_of("comcamcalib_run_state", "State of the latest run.", [one.name for one in RunState], state)
    if (progress := now.progress) is not None:
        yield _gauge("comcamcalib_run_fraction", "Part of the latest run's work that is done.", progress.fraction)
        yield _gauge("comcamcalib_run_elapsed_seconds", "Duration of the latest run.", progress.elapsed_s)
        yield _gauge("comcamcalib_run_remaining_seconds", "What is estimated to be left of it.", progress.remaining_s)
        yield _gauge("comcamcalib_run_images_taken", "Images of the latest run.", progress.images_taken)
        yield _gauge("comcamcalib_run_images_expected", "Images that it will have.", progress.images_expected)
        yield _gauge("comcamcalib_run_jobs_running", "Jobs of the latest run at the UWS.", progress.jobs_running)
        yield _gauge("comcamcalib_run_jobs_completed", "Its jobs that have succeeded.", progress.jobs_completed)


def _gauge(name: str, words: str, value: float) -> Metric:
    return GaugeMetricFamily(name, words, value=float(value))


def _counter(name: str, words: str, value: float) -> Metric:
    return CounterMetricFamily(name, words, value=float(value))


def _one_of(name: str, words: str, states: Iterable[str], state: str) -> Metric:
    family = GaugeMetricFamily(name, words, labels=("state",))
    for one in states:
        family.add_metric((one,), float(one == state))
    return family


class _Reading(Collector):
    """Collects when it is read."""

    def __init__(self, collect: Callable[[], Iterator[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()
