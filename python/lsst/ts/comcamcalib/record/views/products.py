# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verdicts, measured values and gains, as events."""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator

from ...plan.request import job_collection
from .. import events, facts
from ..events import Event
from ..history import History
from .dispatch import published

__all__ = ["gain_estimate", "measurement_events", "verdict_events"]


MEASURED = ("level", "noise", "dark_rate", "gain", "turnoff", "defect_fraction")
"""Quantities that `DetectorMeasurement` has."""


def verdict_events(given: facts.VerdictGiven, history: History) -> Iterator[Event]:
    """Yield the events about a verdict, and about each detector in it."""
    yield events.VerificationResult(
        run_id=history.run_id,
        calib_type=given.calib_type,
        physical_filter=given.physical_filter,
        attempt=given.attempt,
        verdict=given.verdict,
        job_id=given.job_id,
        output_collection=job_collection(given.job_id) if given.job_id else "",
        exposures_expected=given.exposures_expected,
        exposures_verified=given.exposures_verified,
        detectors_expected=given.detectors_expected,
        detectors_verified=given.detectors_verified,
        tests_failed=given.tests_failed,
        exposures_failed=given.exposures_failed,
        exposures_failed_threshold=given.exposures_failed_threshold,
        tests_failed_threshold=given.tests_failed_threshold,
        failures_by_test=json.dumps(given.failures_by_test),
        reason=given.reason,
    )
    for one in given.detectors:
        yield events.DetectorVerification(
            run_id=history.run_id,
            calib_type=given.calib_type,
            physical_filter=given.physical_filter,
            detector=one.detector,
            detector_name=one.detector_name,
            tests_failed=one.tests_failed,
            exposures_failed=one.exposures_failed,
            amplifiers_failed=one.amplifiers_failed,
            failures_by_test=json.dumps(one.failures_by_test),
            signal=one.signal,
            noise=one.noise,
        )


def measurement_events(measured: facts.Measured, history: History) -> Iterator[Event]:
    """Yield the event about each detector in which something was measured, or compared with what is certified."""
    drifts = {one.detector: one for one in measured.drifts}
    for detector in dict.fromkeys((*(one.detector for one in measured.values), *drifts)):
        drift = drifts.get(detector)
        own = [one for one in measured.values if one.detector == detector]
        yield events.DetectorMeasurement(
            run_id=history.run_id,
            calib_type=measured.calib_type,
            physical_filter=measured.physical_filter,
            detector=detector,
            detector_name=history.plan.detector_names.get(detector, ""),
            drift=float("nan") if drift is None else drift.drift,
            compared_with="" if drift is None else drift.compared_with,
            **{name: _median(own, name) for name in MEASURED},
        )


def _median(values: list[facts.Measurement], quantity: str) -> float:
    found = [one.value for one in values if one.quantity == quantity and math.isfinite(one.value)]
    return statistics.median(found) if found else float("nan")


def gain_estimate(gains: facts.GainsMeasured, history: History) -> events.GainEstimate:
    """Return the event about the gains of a detector from a pair of flats."""
    return events.GainEstimate(
        run_id=history.run_id,
        exposure_id=gains.exposure_id,
        detector=gains.detector,
        detector_name=history.plan.detector_names.get(gains.detector, ""),
        gain=_padded(gains.gain),
        noise=_padded(gains.noise),
    )


def _padded(values: tuple[float, ...]) -> tuple[float, ...]:
    """Return as many values as the event has, NaN where there is no amplifier."""
    number = events.GAIN_ESTIMATE_AMPLIFIERS
    return (*values[:number], *(float("nan"),) * (number - len(values)))


@published.register
def _(fact: facts.VerdictGiven, history: History) -> Iterator[Event]:
    # Not the fact itself, because somebody may have accepted a verdict of the same attempt.
    yield from verdict_events(history.verdicts[fact.calib_type, fact.physical_filter], history)


@published.register
def _(fact: facts.VerdictAccepted, history: History) -> Iterator[Event]:
    verdict = history.verdicts.get((fact.calib_type, fact.physical_filter))
    if verdict is not None and verdict.attempt == fact.attempt:
        yield from verdict_events(verdict, history)


@published.register
def _(fact: facts.Measured, history: History) -> Iterator[Event]:
    yield from measurement_events(fact, history)


@published.register
def _(fact: facts.GainsMeasured, history: History) -> Iterator[Event]:
    yield gain_estimate(fact, history)
