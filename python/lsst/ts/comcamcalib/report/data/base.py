# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all parts of the JSON file share."""

from __future__ import annotations

import math
from typing import Annotated, Any

import pydantic

__all__ = ["Model", "Number"]


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, pydantic.BeforeValidator(_finite)]
"""A number, or null: JSON has no NaN."""


class Model(pydantic.BaseModel):
    """Closed and frozen."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)
