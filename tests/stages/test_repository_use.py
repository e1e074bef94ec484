# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the stages ask of the repository: what can't change only once, and what is independent side by side."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.enums import CalibType, StageState
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.stages.generate import generate
from support.certifying import make
from support.services import Gate


async def test_collections_that_exist_are_asked_for_once_in_a_run(make_bench, expose_all) -> None:
    bench = make_bench(do_defects=True)
    bench.observatory.world.collections.add("LSSTComCam/calib/daily")
    expose_all(bench)
    for calib_type in (CalibType.BIAS, CalibType.DARK, CalibType.FLAT, CalibType.DEFECTS):
        await make(bench, calib_type)
    assert bench.observatory.repository.asked.count("missing_collections") == 1
    assert len(bench.observatory.world.jobs) == 7


async def test_a_collection_that_is_made_meanwhile_is_an_input_from_then_on(make_bench, expose_all) -> None:
    bench = make_bench(script_mode="BIAS")
    world = bench.observatory.world
    names = ["LSSTComCam/calib/daily", "LSSTComCam/calib"]
    assert await bench.context.existing(names) == names[1:]
    world.collections.add("LSSTComCam/calib/daily")
    assert await bench.context.existing(names) == names
    bench.observatory.repository.errors["missing_collections"] = "the database is down"
    assert await bench.context.existing(names) == names, "both are known"
    with pytest.raises(ServiceError, match="the database is down"):
        await bench.context.existing(["u/another"])


async def test_what_a_job_used_is_looked_up_side_by_side(make_bench, expose_all) -> None:
    """A flat builds on bias and dark: the second look-up does not wait for the first."""
    bench = make_bench()
    expose_all(bench)
    for calib_type in (CalibType.BIAS, CalibType.DARK):
        await make(bench, calib_type)
    bench.record.move("FLAT.INGEST", StageState.SUCCEEDED)
    repository = bench.observatory.repository
    repository.asked.clear()
    gate = repository.gates["foreign_inputs"] = Gate()
    task = bench.start(generate(bench.stage("FLAT.GENERATE"), bench.context))
    await gate.until_reached()
    assert repository.asked.count("foreign_inputs") == 2
    gate.open()
    assert "datasets of type flat" in await bench.done(task)
