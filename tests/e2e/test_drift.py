# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A detector that is not any more what the certified calibrations say is found, named and not certified."""

from __future__ import annotations

import math
import re
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from lsst.ts import salobj
from lsst.ts.comcamcalib.enums import CalibType, Verdict
from lsst.ts.comcamcalib.run.measurements import series
from lsst.ts.comcamcalib.run.reading import open_to_read
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from support.observatory import running_csc
from support.operator import Operator
from support.run import Site

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

BAD, BAD_ID = "R22_S11", 4
OPTIONS = {
    **{"script_mode": "BIAS_DARK_FLAT", "n_bias": 2, "n_dark": 2, "exp_times_dark": 10},
    **{"n_flat": 4, "exp_times_flat": [0.5, 0.5, 1.0, 1.0]},
    **{"do_defects": True, "do_ptc": True, "do_gain_from_flat_pairs": True},
}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def full_size(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Site]:
    """An observatory whose detectors are those of the recorded products, so that these can be compared."""
    async with (
        Observatory(
            tmp_path_factory.mktemp("drift") / "repo",
            worker=ReplayWorker(duration_s=0.2),
            speed=50.0,
            ocps_state=salobj.State.ENABLED,
        ) as observatory,
        salobj.Domain() as domain,
        Operator(domain) as operator,
        running_csc(initial_state=salobj.State.ENABLED) as csc,
    ):
        yield Site(observatory, operator, csc)


async def test_drifted_gain_and_hot_column_are_found_where_they_are(full_size: Site) -> None:
    full_size.observatory.set_scenarios(["drifted-gain", "new-hot-column"])
    run = await full_size.start(**OPTIONS)
    await full_size.operator.until_ended(run.run_id, 200.0)
    await full_size.operator.hear_all(full_size.csc)
    results = {one.calibType: one for one in run.samples("verificationResult")}

    for calib_type in (CalibType.PTC, CalibType.GAIN):
        assert results[calib_type].verdict == Verdict.FAILED, results[calib_type].reason
        said = re.search(
            rf"Gain changed against what is certified: {BAD} 0\.0[45]\d+ \(limit 0\.04\)", results[calib_type].reason
        )
        assert said, results[calib_type].reason
        published = {one.detector: one for one in run.samples("detectorMeasurement", calibType=calib_type)}
        assert published[BAD_ID].drift > 1 > max(one.drift for number, one in published.items() if number != BAD_ID)
        assert published[BAD_ID].comparedWith.startswith("LSSTComCam/calib/initial ")

    # The flat's level follows the gain, and so takes it back. Its frames are not bad, nor are the defects made of them.
    flat = results[CalibType.FLAT]
    assert flat.verdict == Verdict.PASSED_WITH_FAILURES, flat.reason
    changed = re.search(rf"Response changed against what is certified: {BAD} C\d\d 0\.046.* and 11 more", flat.reason)
    assert changed, flat.reason
    defects = results[CalibType.DEFECTS]
    assert defects.verdict == Verdict.PASSED_WITH_FAILURES, defects.reason
    assert f"New columns changed against what is certified: {BAD} 1 (limit 0)" in defects.reason

    certified = {one.dataset_type for one in await run.certified()}
    assert certified == {"bias", "dark", "flat", "defects"}
    with open_to_read(full_size.observatory.work_directory / "journal.sqlite3") as journal:
        columns = series(journal, CalibType.DEFECTS, "", 9)
        assert columns[BAD_ID, "C12", "defect_columns"].values[0][1] == 1.0
        assert (
            sum(one.values[0][1] for (_, name, what), one in columns.items() if name and what == "defect_columns") == 1
        )
        gains = series(journal, CalibType.PTC, "", 9)
        assert all(math.isfinite(one.values[0][1]) for place, one in gains.items() if place[2] == "gain")
