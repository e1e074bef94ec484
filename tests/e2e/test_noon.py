# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A run over noon TAI, when the day of observing changes: its frames find what it certified."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from pathlib import Path

import pytest
from lsst.ts import utils
from lsst.ts.comcamcalib.enums import RunState
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

DAY_S = 86400.0
# Less than the age at which a heartbeat counts as none, for the clock leaps over what is left of it.
BEFORE_NOON_S = 8.0


def frames_and_finds(repo: Path, group: str, collection: str) -> dict[int, dict[str, set[str]]]:
    """Return for each exposure of a run the RUN collections of what is found for it, by dataset type."""
    from lsst.daf.butler import Butler

    with contextlib.closing(Butler.from_config(str(repo))) as butler:
        records = [
            one
            for one in butler.query_dimension_records("exposure", instrument="LSSTComCam", limit=None, explain=False)
            if one.group.startswith(group)
        ]
        return {
            one.id: {
                name: {
                    str(ref.run)
                    for detector in range(9)
                    if (
                        ref := butler.find_dataset(
                            name,
                            instrument="LSSTComCam",
                            detector=detector,
                            collections=collection,
                            timespan=one.timespan,
                        )
                    )
                }
                for name in ("bias", "dark")
            }
            for one in records
        }


async def test_every_frame_of_a_run_over_noon_finds_the_runs_bias_and_dark(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock is some seconds before noon TAI when the run is asked for, and at noon after the first bias."""
    now, begin = utils.current_tai, utils.current_tai()
    noon = begin + (0.5 * DAY_S - begin) % DAY_S
    offset_s = noon - begin - BEFORE_NOON_S
    monkeypatch.setattr(utils, "current_tai", lambda: now() + offset_s)
    done = await site.start(script_mode="BIAS_DARK", n_bias=3, n_dark=3, exp_times_dark=5)
    await done.hear("imageTaken")
    offset_s = max(offset_s, noon - now())
    await done.ended(RunState.COMPLETED)
    (notice,) = [one for one in site.operator.samples("logMessage") if "after that noon belong to" in one.message]
    assert notice.level == logging.WARNING and "in Chile" in notice.message
    found = await asyncio.to_thread(frames_and_finds, site.observatory.repo, done.run_id, done.collection)
    assert len(found) == 6
    assert len({exposure // 100000 for exposure in found}) == 2, "there have to be frames on both days"
    runs = {one.datasetType: one.outputCollection for one in done.samples("certification")}
    assert set(runs) == {"bias", "dark"}
    for exposure, products in found.items():
        assert products == {name: {run} for name, run in runs.items()}, exposure
