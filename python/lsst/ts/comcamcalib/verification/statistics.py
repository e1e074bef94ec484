# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read cp_verify's statistics, and check that they are complete and agree with each other.

Everything is checked, because these are dictionaries from files. cp_verify writes for each detector of each exposure::

    {"AMP": {amplifier: {statistic: value}}, "VERIFY": {"AMP": {amplifier: {test: bool, "SUCCESS": bool}},
     "DET": {test: bool, "SUCCESS": bool}}, "SUCCESS": bool, ...}

and for the whole run ``{exposure: {"SUCCESS": bool, "FAILURES": ["R22_S21 C17 NOISE"]}, "SUCCESS": bool}``. Of flats
the run names only the tests of whole exposures, such as ``SCATTER``, and hides those of detectors and amplifiers.
"""

from __future__ import annotations

import dataclasses
import math
import sys
from collections.abc import Collection, Iterator, Mapping
from typing import Any, TypeGuard

from ..enums import CalibType
from .frames import FrameFacts

__all__ = [
    "FAILS_ALWAYS",
    "DetectorStatistics",
    "ExpectedStatistics",
    "ExposureResult",
    "UnreadableError",
    "read_detector",
    "read_run",
    "without_signal",
]

FAILS_ALWAYS = "PROCESSING"
"""cp_verify writes this test only if it failed (too many cosmic rays), so it may be absent, but it counts."""

EXPOSURE_TEST = "SCATTER"
"""The only test of a whole exposure that is known; it does not count (the configuration says why)."""

GROUP_KEYS = frozenset({"SUCCESS", "VERIFY", "RUN", "EXP"})
"""Keys of the run's statistics that are not exposures."""

_SIGNAL_AND_NOISE = ("MEAN", "NOISE")


class UnreadableError(ValueError):
    """Statistics do not have the required form, or contradict themselves."""


@dataclasses.dataclass(frozen=True)
class ExpectedStatistics:
    """The expected statistics, and how they are judged.

    Parameters
    ----------
    calib_type, physical_filter
        The product, and its filter; "" if it has none.
    exposures
        Ids of the exposures.
    detectors
        Full names of the detectors by id.
    amplifiers
        Numbers of amplifiers by detector id.
    tests
        Names of the tests that count; each must be there for all amplifiers, or for the detector as a whole.
    threshold
        How many amplifiers of a detector may fail the same test in an exposure.
    signal_statistic, noise_statistic
        Names of an amplifier's statistics (electron).
    frames
        Facts about the frames apart from the statistics; None: only cp_verify's own tests are counted.
    """

    calib_type: CalibType
    physical_filter: str
    exposures: tuple[int, ...]
    detectors: Mapping[int, str]
    amplifiers: Mapping[int, int]
    tests: tuple[str, ...]
    threshold: int
    signal_statistic: str = _SIGNAL_AND_NOISE[0]
    noise_statistic: str = _SIGNAL_AND_NOISE[1]
    frames: FrameFacts | None = None


@dataclasses.dataclass(frozen=True)
class DetectorStatistics:
    """The statistics of one detector in one exposure.

    Parameters
    ----------
    failures
        Tests that count and failed, as (amplifier, test); "" stands for the detector as a whole.
    others
        Tests that do not count and failed, in the same way.
    success
        cp_verify's own result.
    signals, noises
        By amplifier (electron).
    """

    failures: frozenset[tuple[str, str]]
    others: frozenset[tuple[str, str]]
    success: bool
    signals: Mapping[str, float]
    noises: Mapping[str, float]


@dataclasses.dataclass(frozen=True)
class ExposureResult:
    """The run's statistics of one exposure.

    Parameters
    ----------
    success
        cp_verify's own result.
    failures
        As (detector name, amplifier or "", test); the detector is "" for a test of the exposure as a whole.
    """

    success: bool
    failures: frozenset[tuple[str, str, str]]


# The readers go through hundreds of thousands of values. So they first compare the exact type, because checks against
# abstract classes take most of the time, and make the text for an error only if there is one.


def _mapping(value: Any, what: str) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise UnreadableError(f"{what} is missing or not a mapping")
    return value


def _boolean(value: Any, what: str) -> bool:
    if not isinstance(value, bool):
        raise UnreadableError(f"{what} is missing or neither true nor false")
    return value


def read_run(statistics: Mapping[Any, Any], names: Collection[str]) -> dict[int, ExposureResult]:
    """Read the statistics of the whole run.

    Parameters
    ----------
    statistics
        As cp_verify has written them.
    names
        Full names of the detectors in use.

    Returns
    -------
    results
        By exposure id; the key may have been written as a number or as text.

    Raises
    ------
    UnreadableError
        If they have the wrong form or contradict themselves.
    """
    results: dict[int, ExposureResult] = {}
    for key, entry in _mapping(statistics, "the content").items():
        if key in GROUP_KEYS:
            continue
        exposure = _exposure_id(key)
        if exposure in results:
            raise UnreadableError(f"exposure {exposure} is there twice")
        result = _mapping(entry, f"the entry of exposure {exposure}")
        success = _boolean(result.get("SUCCESS"), f"SUCCESS of exposure {exposure}")
        failures = result.get("FAILURES", [])
        if not isinstance(failures, list | tuple):
            raise UnreadableError(f"FAILURES of exposure {exposure} are not a list")
        if success and failures:
            raise UnreadableError(f"exposure {exposure} has succeeded, but with failures")
        results[exposure] = ExposureResult(success, frozenset(_failure(one, names) for one in failures))
    if _boolean(statistics.get("SUCCESS"), "SUCCESS of the run") != all(one.success for one in results.values()):
        raise UnreadableError("SUCCESS of the run does not follow from its exposures")
    return results


def _failure(text: Any, names: Collection[str]) -> tuple[str, str, str]:
    """Read a failure, such as ``R22_S21 C17 NOISE``, ``R22_S21 SCATTER`` or ``SCATTER``."""
    words = text.split(" ") if isinstance(text, str) else []
    if words == [EXPOSURE_TEST]:
        return "", "", EXPOSURE_TEST
    if len(words) not in (2, 3) or words[0] not in names:
        raise UnreadableError(f"'{str(text)[:80]}' is no failure of a detector in use")
    return words[0], words[1] if len(words) == 3 else "", words[-1]


def _exposure_id(key: Any) -> int:
    if isinstance(key, int) and not isinstance(key, bool):
        return key
    if isinstance(key, str) and key.isascii() and key.isdigit() and len(key) < 20:
        return int(key)
    raise UnreadableError(f"'{str(key)[:80]}' is not an exposure")


def read_detector(statistics: Mapping[Any, Any], expected: ExpectedStatistics, amplifiers: int) -> DetectorStatistics:
    """Read the statistics of one detector in one exposure.

    Parameters
    ----------
    statistics
        As cp_verify has written them.
    expected
        The expected statistics.
    amplifiers
        Amplifiers that the detector has.

    Raises
    ------
    UnreadableError
        If anything is missing, is not a number, or contradicts something else.
    """
    verify = _mapping(_mapping(statistics, "the content").get("VERIFY"), "VERIFY")
    tests: dict[str, Mapping[Any, Any]] = {
        str(name): one if type(one) is dict else _mapping(one, f"VERIFY of amplifier {name}")
        for name, one in _mapping(verify.get("AMP"), "VERIFY AMP").items()
    }
    values = _mapping(statistics.get("AMP"), "AMP")
    if len(tests) != amplifiers:
        raise UnreadableError(f"there are tests of {len(tests)} amplifiers instead of {amplifiers}")
    if {str(name) for name in values} != set(tests):
        raise UnreadableError("statistics and tests are not of the same amplifiers")
    tests[""] = _mapping(verify.get("DET", {}), "VERIFY DET")
    _check_success(tests, _boolean(statistics.get("SUCCESS"), "SUCCESS"))
    for test in expected.tests:
        _check_present(test, tests)
    failed = frozenset(
        (name, str(test))
        for name, results in tests.items()
        for test, passed in results.items()
        if passed is not True and test != "SUCCESS" and not _boolean(passed, f"{test} of {name or 'the detector'}")
    )
    failures = frozenset(one for one in failed if one[1] in expected.tests or one[1] == FAILS_ALWAYS)
    for name, test in failures:
        if tests[name].get("SUCCESS"):
            raise UnreadableError(f"{name or 'the detector'} has succeeded, but failed {test}")
    return DetectorStatistics(
        failures=failures,
        others=failed - failures,
        success=bool(statistics["SUCCESS"]),
        signals=dict(_finite(values, expected.signal_statistic)),
        noises=dict(_finite(values, expected.noise_statistic)),
    )


def _check_success(tests: Mapping[str, Mapping[Any, Any]], success: bool) -> None:
    """Check that cp_verify's values of SUCCESS follow from its tests."""
    opinions = {
        name: results.get("SUCCESS") is True or _boolean(results.get("SUCCESS"), f"SUCCESS of {name or 'the detector'}")
        for name, results in tests.items()
        if results or name
    }
    if success != all(opinions.values()):
        raise UnreadableError("SUCCESS does not follow from the amplifiers and the detector")
    for name, opinion in opinions.items():
        if not opinion and not any(passed is False for test, passed in tests[name].items() if test != "SUCCESS"):
            raise UnreadableError(f"{name or 'the detector'} has not succeeded, but no test of it failed")


def _check_present(test: str, tests: Mapping[str, Mapping[Any, Any]]) -> None:
    """Check that a test was done for all amplifiers, or for the detector, which is among the tests as ""."""
    lacking = sorted(name for name, results in tests.items() if name and test not in results)
    if lacking and (len(lacking) < len(tests) - 1 or test not in tests[""]):
        of = "for any amplifier" if len(lacking) == len(tests) - 1 else f"for {', '.join(lacking)}"
        raise UnreadableError(f"test {test} is missing {of}")


def _finite(values: Mapping[Any, Any], statistic: str) -> Iterator[tuple[str, float]]:
    for name, one in values.items():
        value = (one if type(one) is dict else _mapping(one, f"AMP {name}")).get(statistic)
        if type(value) is float and -math.inf < value < math.inf:
            yield str(name), value
            continue
        if not _is_finite(value):
            raise UnreadableError(f"{statistic} of {name} is missing or not a finite number")
        yield str(name), float(min(max(value, -sys.float_info.max), sys.float_info.max))  # whole numbers have no limit


def _is_finite(value: Any) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def without_signal(statistics: Any, expected: ExpectedStatistics, amplifiers: int) -> list[str]:
    """Return the amplifiers of a detector that cp_verify has tested, but whose signal it could not measure.

    It writes that for a flat without light, because the product that it divides by is then not a number. A value that
    is missing for some amplifiers says nothing; one that is missing for all of them does.
    """
    values = statistics.get("AMP") if isinstance(statistics, Mapping) else None
    if not isinstance(values, Mapping) or len(values) != amplifiers:
        return []
    signals = {
        str(name): one.get(expected.signal_statistic) if isinstance(one, Mapping) else None
        for name, one in values.items()
    }
    if not any(_is_finite(signal) for signal in signals.values()):
        return list(signals)
    return [name for name, signal in signals.items() if isinstance(signal, float) and not math.isfinite(signal)]
