# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""The quantities that the report shows over the focal plane, and the amplifiers that stand out; pure.

Medians and median absolute deviations throughout: some amplifiers are so bad that they would dominate any mean.
"""

from __future__ import annotations

import dataclasses
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping

from ..enums import CalibType
from ..record.history import History
from . import data
from .repository import Readings

__all__ = ["amplifier_maps", "amplifier_names", "median_or_nan", "outliers"]

Values = dict[int, dict[str, float]]
"""By detector and amplifier."""

ROBUST_SIGMA = 1.4826
"""Ratio of the standard deviation of a normal distribution to its median absolute deviation."""

OUTLIERS = 10
"""Number of amplifiers in the list of those that stand out."""

OUTLIER_MIN = 4.0
"""Robust standard deviations from the median from which an amplifier is listed; among 144 good ones there is none."""


Reader = Callable[[History, Readings], Values]


@dataclasses.dataclass(frozen=True)
class _Quantity:
    """A quantity, and where its values are found; the first place that has any counts."""

    key: str
    title: str
    unit: str
    sources: tuple[tuple[str, Reader], ...]


def _verified(calib_type: CalibType, noise: bool) -> tuple[str, Reader]:
    """Return a reader of the medians over all exposures of a statistic of cp_verify."""

    def read(history: History, readings: Readings) -> Values:
        recipe = history.plan.recipe(calib_type).verification
        if recipe is None:
            return {}
        name = recipe.noise_statistic if noise else (recipe.signal_statistic or "")
        collected: dict[tuple[int, str], list[float]] = {}
        for table in readings.statistics:
            if table.calib_type != calib_type.name:
                continue
            for detector, amplifier, value in zip(
                table.detector, table.amplifier, table.statistics.get(name, ()), strict=False
            ):
                if amplifier and value is not None:
                    collected.setdefault((detector, amplifier), []).append(value)
        return _nested({key: statistics.median(values) for key, values in collected.items()})

    return f"verification of {calib_type.name}, median of all exposures", read


def _measured(calib_type: CalibType, quantity: str) -> tuple[str, Reader]:
    """Return a reader of what the run has measured in a product; for flats in several filters, the median of all."""

    def read(history: History, _readings: Readings) -> Values:
        collected: dict[tuple[int, str], list[float]] = {}
        for measured in history.measured.values():
            for one in measured.values if measured.calib_type is calib_type else ():
                if one.quantity == quantity and one.amplifier:
                    collected.setdefault((one.detector, one.amplifier), []).append(one.value)
        return _nested({key: median_or_nan(values) for key, values in collected.items()})

    return f"measured in {calib_type.name}", read


def _gains_of_curves(_history: History, readings: Readings) -> Values:
    return {detector: dict(curve.gain) for detector, curve in readings.curves.items()}


def _gains_of_pairs(history: History, readings: Readings) -> Values:
    collected: dict[tuple[int, int], list[float]] = {}
    for gains in history.gains.values():
        for position, value in enumerate(gains.gain):
            collected.setdefault((gains.detector, position), []).append(value)
    names = amplifier_names(history, readings)
    return _nested(
        {
            (detector, names[detector][position]): median_or_nan(values)
            for (detector, position), values in collected.items()
            if position < len(names.get(detector, ()))
        }
    )


def _turnoffs_of_curves(_history: History, readings: Readings) -> Values:
    return {detector: dict(curve.turnoff) for detector, curve in readings.curves.items()}


QUANTITIES = (
    _Quantity(
        "noise", "Read noise", "electron", (_verified(CalibType.BIAS, noise=True), _measured(CalibType.PTC, "noise"))
    ),
    _Quantity("level", "Level of the flats", "electron", (_verified(CalibType.FLAT, noise=False),)),
    _Quantity("dark_rate", "Dark current", "electron/second", (_measured(CalibType.DARK, "dark_rate"),)),
    _Quantity(
        "gain",
        "Gain",
        "electron/adu",
        (
            _measured(CalibType.PTC, "gain"),
            ("photon transfer curves", _gains_of_curves),
            ("pairs of flats, median", _gains_of_pairs),
        ),
    ),
    _Quantity(
        "turnoff",
        "Turn-off",
        "electron",
        (_measured(CalibType.PTC, "turnoff"), ("photon transfer curves", _turnoffs_of_curves)),
    ),
)


def amplifier_names(history: History, readings: Readings) -> dict[int, tuple[str, ...]]:
    """Return the names of each detector's amplifiers in readout order; numbers if nothing in the run has names."""
    names: dict[int, tuple[str, ...]] = {
        detector: curve.amplifiers for detector, curve in readings.curves.items() if curve.amplifiers
    }
    for table in readings.statistics:
        own: dict[int, dict[str, None]] = {}
        for detector, amplifier in zip(table.detector, table.amplifier, strict=True):
            if amplifier:
                own.setdefault(detector, {})[amplifier] = None
        for detector, found in own.items():
            names.setdefault(detector, tuple(found))
    for measured in history.measured.values():
        for one in measured.values:
            if one.amplifier and one.amplifier not in names.get(one.detector, ()):
                names[one.detector] = (*names.get(one.detector, ()), one.amplifier)
    known = history.plan.config.instrument.amplifier_names
    for detector, number in history.plan.amplifiers.items():
        # A detector of which nothing is known has probably the names of another one.
        numbers = tuple(str(position) for position in range(1, number + 1))
        likely = (known, *names.values()) if known else names.values()
        names.setdefault(detector, next((one for one in likely if len(one) == number), numbers))
    return names


def amplifier_maps(history: History, readings: Readings) -> tuple[data.AmplifierMap, ...]:
    """Return each quantity over the focal plane, those too of which nothing was measured."""
    maps = [_map(quantity, history, readings) for quantity in QUANTITIES]
    return (*maps, _failures(history, readings))


def _map(quantity: _Quantity, history: History, readings: Readings) -> data.AmplifierMap:
    for source, read in quantity.sources:
        if values := read(history, readings):
            return _finished(quantity.key, quantity.title, quantity.unit, source, values, history, readings)
    nowhere = "no job of this run has measured it"
    return _finished(quantity.key, quantity.title, quantity.unit, nowhere, {}, history, readings)


def _failures(history: History, readings: Readings) -> data.AmplifierMap:
    """Return how many tests that count failed for each amplifier, over all exposures and products."""
    counts: dict[tuple[int, str], float] = {}
    for table in readings.statistics:
        recipe = history.plan.recipe(CalibType[table.calib_type]).verification
        counting = [name for name in table.tests if recipe is not None and name in (*recipe.tests, "PROCESSING")]
        for row, key in enumerate(zip(table.detector, table.amplifier, strict=True)):
            failed = sum(table.tests[name][row] is False for name in counting)
            if key[1]:
                counts[key] = counts.get(key, 0.0) + failed
    source = "verification by cp_verify, tests that count, all products and exposures together"
    return _finished("failures", "Failures", "failed tests", source, _nested(counts), history, readings)


def _finished(
    key: str, title: str, unit: str, source: str, values: Values, history: History, readings: Readings
) -> data.AmplifierMap:
    complete = {
        detector: {name: values.get(detector, {}).get(name, math.nan) for name in names}
        for detector, names in amplifier_names(history, readings).items()
    }
    finite = [value for own in complete.values() for value in own.values() if math.isfinite(value)]
    return data.AmplifierMap(
        key=key,
        title=title,
        unit=unit,
        source=source,
        values={detector: dict(own) for detector, own in sorted(complete.items())},
        evaluated=len(finite),
        expected=sum(history.plan.amplifiers.values()),
        median=median_or_nan(finite),
    )


def _nested(values: Mapping[tuple[int, str], float]) -> Values:
    nested: Values = {}
    for (detector, amplifier), value in values.items():
        nested.setdefault(detector, {})[amplifier] = value
    return nested


def median_or_nan(values: Iterable[float]) -> float:
    """Return the median of the finite values; NaN if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return statistics.median(finite) if finite else math.nan


def outliers(maps: Iterable[data.AmplifierMap], names: Mapping[int, str]) -> tuple[data.OutlierRow, ...]:
    """Return the amplifiers that stand out most, the worst first.

    Parameters
    ----------
    maps
        The quantities; failed tests are not compared.
    names
        Names of the detectors by id.
    """
    found = [row for one in maps if one.key != "failures" for row in _outliers_of(one, names)]
    return tuple(sorted(found, key=lambda row: -abs(row.deviation or 0.0))[:OUTLIERS])


def _outliers_of(one: data.AmplifierMap, names: Mapping[int, str]) -> Iterator[data.OutlierRow]:
    values = [value for own in one.values.values() for value in own.values() if value is not None]
    if len(values) < 8 or one.median is None:
        return
    spread = ROBUST_SIGMA * statistics.median(abs(value - one.median) for value in values)
    for detector, own in one.values.items():
        for amplifier, value in own.items():
            if value is None or not spread or abs(value - one.median) < OUTLIER_MIN * spread:
                continue
            yield data.OutlierRow(
                quantity=one.title,
                unit=one.unit,
                detector=names.get(detector, str(detector)),
                amplifier=amplifier,
                value=value,
                median=one.median,
                deviation=(value - one.median) / spread,
            )
