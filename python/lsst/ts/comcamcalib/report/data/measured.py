# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was measured: statistics, values of the products, curves, and quantities over the focal plane."""

from __future__ import annotations

from .base import Model, Number

__all__ = ["AmplifierMap", "Curve", "DriftRow", "Measurements", "OutlierRow", "StatisticsTable"]


class StatisticsTable(Model):
    """All that cp_verify measured and tested for one product and filter, in columns of equal length.

    A row is an exposure, a detector and an amplifier; the amplifier is empty for what concerns the whole detector, and
    the exposure null where the product itself was tested. In the tests, true is passed, false is failed, and null was
    not tested.
    """

    calib_type: str
    physical_filter: str
    collection: str
    exposure: tuple[int | None, ...]
    detector: tuple[int, ...]
    amplifier: tuple[str, ...]
    statistics: dict[str, tuple[Number, ...]]
    tests: dict[str, tuple[bool | None, ...]]
    problems: tuple[str, ...]


class Measurements(Model):
    """What was measured in the products, in columns of equal length; the amplifier is empty for a whole detector."""

    calib_type: tuple[str, ...] = ()
    physical_filter: tuple[str, ...] = ()
    detector: tuple[int, ...] = ()
    amplifier: tuple[str, ...] = ()
    quantity: tuple[str, ...] = ()
    value: tuple[Number, ...] = ()
    unit: tuple[str, ...] = ()


class DriftRow(Model):
    """How a detector's product differs from the one that was certified before."""

    calib_type: str
    physical_filter: str
    detector: int
    name: str
    drift: Number
    """Largest change in units of its limit; null: nothing to compare with."""
    by_quantity: dict[str, Number]
    """The same for each quantity, the largest first."""
    compared_with: str


class Curve(Model):
    """A detector's photon transfer curves; all dictionaries are by amplifier, their lists by pair of flats."""

    detector: int
    name: str
    fit_type: str
    means: dict[str, tuple[Number, ...]]
    """adu"""
    variances: dict[str, tuple[Number, ...]]
    """adu**2"""
    model: dict[str, tuple[Number, ...]]
    """What the fit expects, adu**2; empty lists where there is no fit."""
    used: dict[str, tuple[bool, ...]]
    gain: dict[str, Number]
    """electron/adu"""
    noise: dict[str, Number]
    """electron"""
    turnoff: dict[str, Number]
    """electron"""


class AmplifierMap(Model):
    """One quantity over the focal plane."""

    key: str
    title: str
    unit: str
    source: str
    """Where the values come from; if there are none: why."""
    values: dict[int, dict[str, Number]]
    """By detector and amplifier; null: not measured."""
    evaluated: int
    expected: int
    median: Number


class OutlierRow(Model):
    """An amplifier that stands out among all others."""

    quantity: str
    unit: str
    detector: str
    amplifier: str
    value: Number
    median: Number
    deviation: Number
    """From the median, in robust standard deviations."""
