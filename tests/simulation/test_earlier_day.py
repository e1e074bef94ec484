# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A repository with a past: what a run of an earlier day has certified is what is valid today."""

from __future__ import annotations

from pathlib import Path

import pytest
from astropy.time import Time, TimeDelta
from lsst.daf.butler import Butler, CollectionType, Timespan
from lsst.ts import utils
from lsst.ts.comcamcalib.simulation.earlier_day import DAYS_AGO, template_with_past
from lsst.ts.comcamcalib.simulation.faults import Fault
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.layout import INSTRUMENT, RAW_COLLECTION
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from lsst.ts.comcamcalib.simulation.repo import CALIB_CHAIN, DAILY_COLLECTION, INITIAL_COLLECTION
from lsst.ts.comcamcalib.simulation.worker import Job

SECOND = TimeDelta(1, format="sec")


class BrokenWorker(ReplayWorker):
    """A worker whose job of one pipeline fails."""

    async def submit(self, job: Job) -> None:
        is_dark = job.environment["PIPELINE_URL"].endswith("cpDark.yaml")
        fault = Fault("worker", "error", text="no usable pixels") if is_dark else None
        await super().submit(Job(job.job_id, job.environment, job.output_dir, fault))


async def test_products_of_an_earlier_day_are_valid_today_and_made_by_jobs(
    small_focal_plane: FocalPlane, tmp_path: Path
) -> None:
    folder = tmp_path / "earlier-day"
    (folder / "unfinished").mkdir(parents=True)
    (folder / "unfinished" / "butler.yaml").write_text("left behind by an attempt that was interrupted")
    repo = await template_with_past(folder, small_focal_plane, ReplayWorker(duration_s=0.0))
    now = Time(utils.current_tai(), format="unix_tai", scale="tai")
    with Butler.from_config(str(repo)) as butler:
        for dataset_type in ("bias", "dark", "flat", "defects"):
            for detector in (0, 8):
                data_id = {"instrument": INSTRUMENT, "detector": detector}
                if dataset_type == "flat":
                    data_id["physical_filter"] = "r_03"
                ref = butler.find_dataset(
                    dataset_type, data_id, collections=CALIB_CHAIN, timespan=Timespan(now, now + SECOND)
                )
                assert ref is not None and ref.run.startswith("u/ocps/"), dataset_type
                assert butler.get(ref) is not None
        (begin,) = {
            one.timespan.begin for one in butler.registry.queryDatasetAssociations("bias", collections=DAILY_COLLECTION)
        }
        assert begin.tai.isot[10:19] == "T12:00:00"
        assert DAYS_AGO <= (now - begin).jd < DAYS_AGO + 1
        assert len(list(butler.registry.queryDatasetAssociations("ptc", collections=DAILY_COLLECTION))) == 0
        assert len(list(butler.registry.queryDatasetAssociations("ptc", collections=INITIAL_COLLECTION))) == 9
        raws = butler.query_datasets("raw", RAW_COLLECTION, limit=None)
        assert len(raws) == 14 * 9
        jobs = butler.collections.query("u/ocps/*", collection_types=CollectionType.RUN)
        assert len(jobs) == 7
    assert await template_with_past(folder, small_focal_plane, BrokenWorker()) == repo, "it is made only once"


async def test_pipeline_that_fails_is_named_with_its_log(small_focal_plane: FocalPlane, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=r"Pipeline cpDark failed: see .*ocps\.log"):
        await template_with_past(tmp_path / "earlier-day", small_focal_plane, BrokenWorker(duration_s=0.0))
    assert not (tmp_path / "earlier-day" / "repo").exists()
