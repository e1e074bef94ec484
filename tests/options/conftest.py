# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.errors import BadInputError
from lsst.ts.comcamcalib.options import RunOptions, parse_options

DAY_OBS = 20261122


@pytest.fixture
def parse(config: CscConfig) -> Callable[..., RunOptions]:
    """Read options with the summit's configuration, on 2026-11-22."""

    def read(text: str, **fields: Any) -> RunOptions:
        return parse_options(text, config.option_rules(), now_day_obs=DAY_OBS, **fields)

    return read


@pytest.fixture
def mistakes(parse: Callable[..., RunOptions]) -> Callable[..., list[str]]:
    """Return the sentences with which a text is refused."""

    def refused(text: str, **fields: Any) -> list[str]:
        with pytest.raises(BadInputError) as caught:
            parse(text, **fields)
        assert all(sentence.strip() and "\n" not in sentence for sentence in caught.value.problems)
        return list(caught.value.problems)

    return refused
