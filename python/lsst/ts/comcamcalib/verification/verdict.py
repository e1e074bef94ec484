# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The verdict on a product that cp_verify has verified."""

from __future__ import annotations

import collections
import dataclasses
import statistics
from collections.abc import Mapping
from typing import Any

from ..enums import CalibType, Verdict
from .darkness import judge_darkness
from .frames import Finding, describe, spoiling
from .judgement import DetectorJudgement, Judgement, listed, one_line
from .light import judge_light
from .statistics import (
    FAILS_ALWAYS,
    DetectorStatistics,
    ExpectedStatistics,
    ExposureResult,
    UnreadableError,
    read_detector,
    read_run,
    without_signal,
)

__all__ = ["judge_statistics"]

Found = Mapping[tuple[int, int], DetectorStatistics]
"""The statistics that could be read, by (exposure, detector)."""


def judge_statistics(
    expected: ExpectedStatistics,
    run_statistics: Mapping[Any, Any] | None,
    detector_statistics: Mapping[tuple[int, int], Mapping[Any, Any]],
) -> Judgement:
    """Give a verdict on the statistics of a verification.

    A detector fails if, in the majority of the exposures, more of its amplifiers than the threshold allows fail the
    same test, or a test of the whole detector fails. Our own tests of the frames (LEVEL, NOISE_LOW, FLUX, OUTLIER) are
    counted in the same way as cp_verify's.

    The product is FAILED if a single frame of it is so bad that it spoils the product; otherwise UNKNOWN if the
    statistics of the run and of the detectors contradict each other; otherwise FAILED if a detector fails by
    the statistics that there are; otherwise UNKNOWN if anything is missing or can't be read; otherwise
    PASSED_WITH_FAILURES if there are failures below the threshold; otherwise PASSED.

    Parameters
    ----------
    expected
        The expected statistics.
    run_statistics
        Those of the whole run; None if there are none.
    detector_statistics
        Those of each detector in each exposure, by (exposure id, detector id). Others than the expected ones are
        ignored, because flats in several filters share a collection.

    Returns
    -------
    judgement
        The verdict with a sentence, and the numbers by the written procedure's rule.
    """
    found: dict[tuple[int, int], DetectorStatistics] = {}
    dark: dict[tuple[int, int], list[str]] = {}
    missing: list[str] = [] if expected.exposures and expected.detectors else ["there is nothing to verify"]
    for exposure in expected.exposures:
        for detector, name in expected.detectors.items():
            if (exposure, detector) not in detector_statistics:
                missing.append(f"{name} in exposure {exposure} (no statistics)")
                continue
            of_detector, amplifiers = detector_statistics[exposure, detector], expected.amplifiers[detector]
            if expected.frames and expected.calib_type is CalibType.FLAT:
                if unlit := without_signal(of_detector, expected, amplifiers):
                    dark[exposure, detector] = unlit
                if len(unlit) == amplifiers:
                    continue
            try:
                found[exposure, detector] = read_detector(of_detector, expected, amplifiers)
            except UnreadableError as error:
                missing.append(f"{name} in exposure {exposure} ({error})")
    run: Mapping[int, ExposureResult] = {}
    try:
        run = read_run(run_statistics, expected.detectors.values()) if run_statistics is not None else {}
        missing += _missing_exposures(expected, run) if run else ["the statistics of the run"]
        contradictions = _contradictions(expected, run, found)
    except UnreadableError as error:
        contradictions = [f"the statistics of the run can't be used: {error}"]
    return _judge(expected, run, found, _Frames(expected, found, dark), missing, contradictions)


class _Frames:
    """Findings of our own tests of the frames.

    Parameters
    ----------
    expected
        The expected statistics.
    found
        The statistics that could be read.
    dark
        The amplifiers of which cp_verify could not measure any signal, by (exposure, detector). Of a detector that has
        others, too, nothing was read: what is known of it is not complete.
    """

    def __init__(self, expected: ExpectedStatistics, found: Found, dark: Mapping[tuple[int, int], list[str]]) -> None:
        self.findings: list[Finding] = []
        if expected.frames:
            judge = judge_light if expected.calib_type is CalibType.FLAT else judge_darkness
            levels = {key: (one.signals, one.noises) for key, one in found.items()}
            levels |= {key: _unlit(names, expected.amplifiers[key[1]]) for key, names in dark.items()}
            self.findings = judge(levels, list(expected.detectors), expected.exposures, expected.frames)
        self.sentences = describe(self.findings, expected.detectors, expected.exposures, expected.threshold)
        self.spoiling = spoiling(self.findings, expected.threshold)
        nothing = DetectorStatistics(frozenset(), frozenset(), False, {}, {})
        own: dict[tuple[int, int], set[tuple[str, str]]] = {}
        for one in self.findings:
            own.setdefault((one.exposure, one.detector), set()).add((one.amplifier, one.test))
        self.counted: dict[tuple[int, int], DetectorStatistics] = {
            key: dataclasses.replace(one, failures=one.failures | own.get(key, set()))
            for key, one in {**dict.fromkeys(dark, nothing), **found}.items()
        }


def _unlit(names: list[str], amplifiers: int) -> tuple[dict[str, float], dict[str, float]]:
    """Return empty signals and noises for amplifiers without signal; nothing if that is the whole detector."""
    none = {} if len(names) == amplifiers else dict.fromkeys(names, 0.0)
    return none, none


def _missing_exposures(expected: ExpectedStatistics, run: Mapping[int, ExposureResult]) -> list[str]:
    """Name the exposures that the run's statistics lack, or have although they are not expected."""
    sentences = [f"exposure {one} in the statistics of the run" for one in expected.exposures if one not in run]
    strangers = sorted(set(run) - set(expected.exposures))
    return sentences + [f"a reason why the statistics of the run have exposure {one}" for one in strangers]


def _contradictions(expected: ExpectedStatistics, run: Mapping[int, ExposureResult], found: Found) -> list[str]:
    """Compare the run's statistics of each exposure with those of its detectors."""
    sentences = []
    counts = (*expected.tests, FAILS_ALWAYS)
    for exposure in expected.exposures:
        of_detectors = {name: found.get((exposure, detector)) for detector, name in expected.detectors.items()}
        if exposure not in run or None in of_detectors.values():
            continue  # it is already named as missing
        said = run[exposure]
        by_run = {one for one in said.failures if one[0]}
        as_a_whole = said.failures - by_run
        failed = sorted(name for name, one in of_detectors.items() if one is not None and not one.success)
        if said.success and failed:
            sentences.append(f"the run has exposure {exposure} as a success, but {listed(failed)} failed")
        elif not said.success and not failed and not as_a_whole:
            sentences.append(f"the run has exposure {exposure} as a failure, but no detector failed")
        # Flats have tests of the whole exposure; if there are any, the run does not repeat those of the detectors.
        elif by_run or expected.calib_type is not CalibType.FLAT:
            by_detectors = {
                (name, *one) for name, of_one in of_detectors.items() if of_one is not None for one in of_one.failures
            }
            if odd := sorted({one for one in by_run if one[2] in counts} ^ by_detectors):
                sentences.append(f"run and detectors disagree in exposure {exposure} about {listed(map(_named, odd))}")
    return sentences


def _named(failure: tuple[str, str, str]) -> str:
    return " ".join(word for word in failure if word)


def _judge(
    expected: ExpectedStatistics,
    run: Mapping[int, ExposureResult],
    found: Found,
    frames: _Frames,
    missing: list[str],
    contradictions: list[str],
) -> Judgement:
    """Put the verdict together."""
    by_detector: dict[int, dict[int, DetectorStatistics]] = {detector: {} for detector in expected.detectors}
    for (exposure, detector), one in frames.counted.items():
        by_detector[detector][exposure] = one
    detectors = tuple(
        _judge_detector(expected, detector, name, by_detector[detector])
        for detector, name in expected.detectors.items()
    )
    bad = [one for one in detectors if 2 * one.exposures_failed > len(expected.exposures)]
    by_test = _total(*(one.failures_by_test for one in detectors))
    verdict, reason = _verdict(expected, bad, by_test, frames, missing, contradictions)
    reason += _standing_out(expected, found)
    per_exposure = expected.threshold * (len(expected.detectors) // 2 + 1)
    counts = [collections.Counter(test for _, _, test in one.failures) for one in run.values()]
    return Judgement(
        verdict=verdict,
        reason=one_line(reason + _not_counted(run, found, verdict)),
        exposures_expected=len(expected.exposures),
        exposures_verified=sum(
            one in run and all((one, detector) in found for detector in expected.detectors)
            for one in expected.exposures
        ),
        detectors_expected=len(expected.detectors),
        detectors_verified=sum(
            all((exposure, one) in found for exposure in expected.exposures) for one in expected.detectors
        ),
        tests_failed=sum(by_test.values()),
        exposures_failed=sum(max(count.values(), default=0) >= max(per_exposure, 1) for count in counts),
        # The procedure counts the run's SUCCESS among the exposures.
        exposures_failed_threshold=(len(expected.exposures) + 1) // 2 + 1,
        tests_failed_threshold=per_exposure,
        failures_by_test=by_test,
        detectors=detectors,
        bad_frames=one_line(" ".join(frames.sentences.values()) or reason) if verdict is Verdict.FAILED else "",
    )


def _verdict(
    expected: ExpectedStatistics,
    bad: list[DetectorJudgement],
    by_test: Mapping[str, int],
    frames: _Frames,
    missing: list[str],
    contradictions: list[str],
) -> tuple[Verdict, str]:
    """Return the verdict and the sentences that go with it: first those about the frames."""
    about_frames = "".join(f"{sentence} " for sentence in frames.sentences.values())
    not_known = "; ".join(
        [*contradictions[:3], *([f"missing: {listed(missing)}"] if missing else [])],
    )
    if frames.spoiling:
        also = f" The statistics are not complete, or do not fit together: {not_known}." if not_known else ""
        return Verdict.FAILED, f"{about_frames}No good {expected.calib_type.name} can be made from these frames.{also}"
    verdict, sentence = _verdict_of_tests(expected, bad, by_test, not_known, bool(missing), bool(contradictions))
    return verdict, about_frames + sentence


def _verdict_of_tests(
    expected: ExpectedStatistics,
    bad: list[DetectorJudgement],
    by_test: Mapping[str, int],
    not_known: str,
    missing: bool,
    contradictions: bool,
) -> tuple[Verdict, str]:
    """Return the verdict that the counted tests give, and its sentence."""
    if contradictions:
        return Verdict.UNKNOWN, f"The statistics do not fit together: {not_known}."
    if bad:
        worst = sorted(bad, key=lambda one: -one.tests_failed)
        named = listed(f"{one.detector_name} ({_counted(one.failures_by_test)})" for one in worst)
        also = f"; {not_known}" if not_known else ""
        return Verdict.FAILED, (
            f"{len(bad)} of {len(expected.detectors)} detectors failed a test in the majority of "
            f"{len(expected.exposures)} exposures, as a whole or with more than {expected.threshold} amplifiers: "
            f"{named}{also}."
        )
    if missing:
        return Verdict.UNKNOWN, f"The verification is not complete: {not_known}."
    checked = f"{len(expected.detectors)} detectors in {len(expected.exposures)} exposures"
    if by_test:
        return Verdict.PASSED_WITH_FAILURES, f"Of {checked} none failed, but single tests did: {_counted(by_test)}."
    return Verdict.PASSED, f"All tests of {checked} passed."


def _judge_detector(
    expected: ExpectedStatistics, detector: int, name: str, exposures: Mapping[int, DetectorStatistics]
) -> DetectorJudgement:
    """Sum up one detector."""
    per_exposure = [
        collections.Counter(test for amplifier, test in one.failures if amplifier) for one in exposures.values()
    ]
    whole = [
        collections.Counter(test for amplifier, test in one.failures if not amplifier) for one in exposures.values()
    ]
    failures_by_test = _total(*per_exposure, *whole)
    return DetectorJudgement(
        detector=detector,
        detector_name=name,
        tests_failed=sum(failures_by_test.values()),
        exposures_failed=_most_failed(expected.threshold, per_exposure, whole),
        amplifiers_failed=len({amplifier for one in exposures.values() for amplifier, _ in one.failures} - {""}),
        failures_by_test=failures_by_test,
        signal=_median([value for one in exposures.values() for value in one.signals.values()]),
        noise=_median([value for one in exposures.values() for value in one.noises.values()]),
    )


def _standing_out(expected: ExpectedStatistics, found: Found) -> str:
    """Name the exposures, if they are the minority, in which a test of cp_verify failed for a detector as a whole."""
    detectors: dict[int, set[int]] = {}
    tests: dict[int, set[str]] = {}
    for (exposure, detector), one in found.items():
        amplifiers = collections.Counter(test for amplifier, test in one.failures if amplifier)
        failed = {test for test, count in amplifiers.items() if count > expected.threshold}
        failed |= {test for amplifier, test in one.failures if not amplifier}
        if failed:
            detectors.setdefault(exposure, set()).add(detector)
            tests.setdefault(exposure, set()).update(failed)
    named = [exposure for exposure in expected.exposures if exposure in detectors]
    if not named or 2 * len(named) > len(expected.exposures):
        return ""
    return (
        " Exposures that failed as a whole: "
        + listed(
            f"{one} ({', '.join(sorted(tests[one]))} on {len(detectors[one])} of {len(expected.detectors)} detectors)"
            for one in named
        )
        + "."
    )


def _most_failed(
    threshold: int, per_exposure: list[collections.Counter[str]], whole: list[collections.Counter[str]]
) -> int:
    """Return in how many exposures the test failed that failed in the most of them."""
    failed: collections.Counter[str] = collections.Counter()
    for amplifiers, detector in zip(per_exposure, whole, strict=True):
        failed.update({test for test, count in amplifiers.items() if count > threshold} | set(detector))
    return max(failed.values(), default=0)


def _total(*counters: Mapping[str, int]) -> dict[str, int]:
    total: collections.Counter[str] = collections.Counter()
    for one in counters:
        total.update(one)
    return dict(sorted(total.items()))


def _counted(by_test: Mapping[str, int]) -> str:
    return ", ".join(f"{test} {count} x" for test, count in by_test.items())


def _not_counted(run: Mapping[int, ExposureResult], found: Found, verdict: Verdict) -> str:
    """Return a sentence for a good verdict that names failed tests that do not count."""
    of_exposures = collections.Counter(
        f"{test} of the exposure" for one in run.values() for detector, _, test in one.failures if not detector
    )
    others = _total(*(collections.Counter(test for _, test in one.others) for one in found.values()), of_exposures)
    if not others or verdict not in (Verdict.PASSED, Verdict.PASSED_WITH_FAILURES):
        return ""
    return f" Not counted, as configured: {_counted(others)}."


def _median(values: list[float]) -> float:
    return statistics.median(values) if values else float("nan")
