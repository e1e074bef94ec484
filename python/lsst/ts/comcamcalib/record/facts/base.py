# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What all facts share."""

from __future__ import annotations

import pydantic

__all__ = ["FactModel"]


class FactModel(pydantic.BaseModel):
    """Closed, frozen, and the same after it was written as JSON and read again (NaN too)."""

    model_config = pydantic.ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")
