# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Limits for what is measured in the products themselves: values, their drift, their trend."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, Self

import pydantic
from pydantic import Field

from ..enums import CalibType
from ..measurements import DEPTH
from .models import Closed, Name

__all__ = ["COMPARED", "MEASURED", "OF_DETECTOR", "DriftLimit", "TrendLimits", "ValueLimit", "ValueLimits"]

PRODUCTS = tuple(one.name for one in CalibType)

MEASURED: Mapping[str, tuple[str, ...]] = {
    "BIAS": ("level", "noise", *DEPTH),
    "DARK": ("dark_rate", "dark_rate_noise", "dark_rate_95", *DEPTH),
    "FLAT": ("response", "response_noise", *DEPTH),
    "DEFECTS": ("defect_pixels", "defect_columns", "defect_fraction"),
    "PTC": ("gain", "noise", "turnoff", "fit_residual", "fit_chi_square"),
    "GAIN": ("gain", "gain_min", "gain_max", "gain_pairs", "noise", "noise_min", "noise_max", "noise_pairs"),
}
"""What is measured in each product, and so can have a limit."""

COMPARED: Mapping[str, tuple[str, ...]] = {
    "BIAS": (*MEASURED["BIAS"], "changed_fraction"),
    "DARK": (*MEASURED["DARK"], "changed_fraction"),
    "FLAT": (*MEASURED["FLAT"], "changed_fraction"),
    "DEFECTS": (*MEASURED["DEFECTS"], "new_fraction", "vanished_fraction", "new_columns", "overlap"),
    "PTC": MEASURED["PTC"],
    # Gains from pairs are compared with the ptc, which has nothing else.
    "GAIN": ("gain", "noise"),
}
"""What can be compared with what is certified."""

OF_DETECTOR = frozenset({*DEPTH, "defect_fraction", "new_fraction", "vanished_fraction", "new_columns", "overlap"})
"""Quantities that no amplifier has."""

Bound = Annotated[float, Field(allow_inf_nan=False)]
Strictness = Literal["note", "count", "fail"]


class ValueLimit(Closed):
    """One limit of one measured quantity."""

    quantity: Name = Field(
        description="The measured quantity, such as gain or changed_fraction (text); _init.yaml lists those of each "
        "product."
    )
    of: Literal["amplifier", "detector"] = Field(
        description="Whose value: that of each amplifier, or the detector's, which is the median over its amplifiers "
        "unless the quantity is one of the whole detector."
    )
    must_be: Literal["at most", "at least"] = Field(description="On which side of the limit good values are.")
    limit: Bound = Field(description="The limit (unit of the quantity; of a fraction, 0.01 is one per cent).")
    outcome: Strictness = Field(
        description="What a value beyond the limit means: note, it is told; count, it is a failure, and the product "
        "PASSED_WITH_FAILURES; fail, the product is FAILED."
    )

    def exceeded(self, value: float) -> bool:
        """Return whether a value is beyond the limit; NaN is not."""
        return value > self.limit if self.must_be == "at most" else value < self.limit


class DriftLimit(ValueLimit):
    """One limit of the change of one measured quantity against what is certified now."""

    change: Literal["absolute", "fraction"] = Field(
        description="absolute: the difference counts, without its sign; fraction: the same, divided by the certified "
        "value. A quantity that exists only in comparison, such as changed_fraction, counts as it is.",
    )


class TrendLimits(Closed):
    """When a value stands out from those of earlier runs."""

    runs: int = Field(ge=3, le=1000, description="So many of the latest runs are looked at (number).")
    min_runs: int = Field(ge=3, description="With fewer runs there is no trend yet, which is told (number).")
    spreads: float = Field(
        gt=0,
        allow_inf_nan=False,
        description="A value stands out that is farther from the median of the runs than this many of their robust "
        "standard deviations (number).",
    )
    least_fraction: float = Field(
        ge=0, le=1, description="A value nearer to the median than this fraction of it never stands out (0 to 1)."
    )
    outcome: Strictness = Field(description="What a value that stands out means; see the outcome of a limit.")

    @pydantic.model_validator(mode="after")
    def _enough(self) -> Self:
        if self.min_runs > self.runs:
            raise ValueError(f"min_runs, {self.min_runs}, is more than runs, {self.runs}")
        return self


def _complete(limits: dict[str, Any]) -> dict[str, Any]:
    if sorted(limits) != sorted(PRODUCTS):
        raise ValueError(f"there must be a list, which may be empty, for each of {', '.join(PRODUCTS)}, and no other")
    return limits


Product = Annotated[str, Field(json_schema_extra={"enum": list(PRODUCTS)})]


class ValueLimits(Closed):
    """Limits for the values of products."""

    limits: Annotated[dict[Product, tuple[ValueLimit, ...]], pydantic.AfterValidator(_complete)] = Field(
        description="Limits of the values of each product."
    )
    drift: Annotated[dict[Product, tuple[DriftLimit, ...]], pydantic.AfterValidator(_complete)] = Field(
        description="Limits of their change against what is certified now for the same detector and filter, by product."
    )
    trend: TrendLimits | None = Field(
        description="When a value stands out from earlier runs; null: that is not looked at."
    )

    def never_measured(self) -> Iterator[str]:
        """Yield a sentence for each limit of something that its product does not have, which would never be met."""
        for section, limits, known in (("limits", self.limits, MEASURED), ("drift", self.drift, COMPARED)):
            for product, some in limits.items():
                for one in some:
                    place = f"values.{section}.{product}: {one.quantity}"
                    if one.quantity not in known[product]:
                        yield f"{place} is not measured there; there are {', '.join(known[product])}."
                    elif one.of == "amplifier" and one.quantity in OF_DETECTOR:
                        yield f"{place} is of the detector; write of: detector."
