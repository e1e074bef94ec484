# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What has changed since the earlier day on which everything was certified is named, product by product."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from support.observatory import running_csc
from support.operator import Operator
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

OPTIONS = {
    "script_mode": "BIAS_DARK_FLAT",
    "n_bias": 4,
    "n_dark": 4,
    "exp_times_dark": 20,
    "n_flat": 4,
    "exp_times_flat": [1.6, 1.6, 2.0, 2.0],
    "do_defects": True,
    "do_ptc": True,
    # With a gain that is 5 % less than the certified one, the noise seems 5 % higher, which is just what is allowed.
    "number_verification_tests_threshold_bias": 15,
    "number_verification_tests_threshold_dark": 15,
    "number_verification_tests_threshold_flat": 15,
}
CHANGED = "R22_S11"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def site_with_past(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """An observatory in which bias, dark, flat and defects of an earlier day are certified."""
    root = tmp_path_factory.mktemp("past")
    plane = FocalPlane(amplifier_shape=(32, 16), overscan_columns=8, hot_pixels=2, low_pixels=1)
    async with (
        Observatory(
            root / "repo",
            focal_plane=plane,
            worker=ReplayWorker(duration_s=0.2),
            speed=50.0,
            ocps_state=salobj.State.ENABLED,
            certified=True,
        ) as observatory,
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc(initial_state=salobj.State.ENABLED) as csc,
    ):
        yield Site(observatory, operator, csc)


async def test_a_gain_that_has_drifted_and_a_new_hot_column_are_named_with_their_detector(site_with_past: Site) -> None:
    site_with_past.observatory.set_scenarios(["drifted-gain", "new-hot-column"])
    run = await site_with_past.start(**OPTIONS)
    await site_with_past.operator.until_ended(run.run_id, 120.0)
    found = {CalibType(one.calibType): one for one in run.samples("verificationResult")}
    ptc, defects = found[CalibType.PTC], found[CalibType.DEFECTS]
    assert ptc.verdict in (Verdict.PASSED_WITH_FAILURES, Verdict.FAILED)
    assert re.search(rf"Gain changed against what is certified: {CHANGED} 0\.0[3-9]", ptc.reason), ptc.reason
    assert defects.verdict == Verdict.PASSED_WITH_FAILURES
    assert re.search(rf"New columns changed against what is certified: {CHANGED} 1 ", defects.reason), defects.reason
