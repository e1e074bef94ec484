# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The replay worker behind the UWS server: jobs end in no time, and their collections are as real ones leave them."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from lsst.daf.butler import Butler, CollectionType
from lsst.ts.comcamcalib.services.joblog import explain_failure
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.faults import Fault, Faults
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from lsst.ts.comcamcalib.simulation.repo import copy_repo, ingest_file, register_exposure
from lsst.ts.comcamcalib.simulation.scenarios import scenario_faults
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer
from lsst.ts.comcamcalib.simulation.worker import Notify, WorkerPhase

pytestmark = pytest.mark.observatory

LIMIT_S = 30.0
DAY = 20261122
BIASES = [DAY * 100000 + seq_num for seq_num in range(1, 9)]
FLATS = [DAY * 100000 + seq_num for seq_num in range(11, 15)]
LOST = (BIASES[1], 3)  # the file of an exposure and detector that never came
INPUTS = "LSSTComCam/raw/all,LSSTComCam/calib"
FLAT_INPUTS = ["LSSTComCam/raw/all", "LSSTComCam/calib/daily", "LSSTComCam/calib/initial"]


@pytest.fixture(scope="module")
def taken(template_repo: Path, small_focal_plane: FocalPlane, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a repository with eight biases, one file short, and four flats in two filters."""
    root = tmp_path_factory.mktemp("taken")
    copy_repo(template_repo, root / "repo")
    with Butler.from_config(str(root / "repo"), writeable=True) as butler:
        for exposure_id in [*BIASES, *FLATS]:
            seq_num = exposure_id % 100000
            is_flat = exposure_id in FLATS
            exposure = ExposureRecord(
                exposure_id=exposure_id,
                obs_id=f"CC_O_{DAY}_{seq_num:06d}",
                day_obs=DAY,
                seq_num=seq_num,
                group_id="g",
                image_type="FLAT" if is_flat else "BIAS",
                exposure_time_s=1.0 if is_flat else 0.0,
                dark_time_s=1.0 if is_flat else 0.0,
                physical_filter="i_06" if exposure_id in FLATS[2:] else "r_03",
                timestamp_begin_tai_s=1_795_374_000.0 + 10 * seq_num,
                timestamp_end_tai_s=1_795_374_001.0 + 10 * seq_num,
            )
            register_exposure(butler, exposure)
            for detector, file in write_exposure_files(small_focal_plane, exposure, root / "raw").items():
                if (exposure_id, detector) != LOST:
                    ingest_file(butler, exposure, detector, file)
    return root / "repo"


class WatchedWorker(ReplayWorker):
    """A worker whose words the test can wait for."""

    def __init__(self) -> None:
        super().__init__({"verifyBias": 0.3}, duration_s=0.0)
        self.notified = asyncio.Event()

    async def start(self, notify: Notify) -> None:
        def pass_on(job_id: str, phase: WorkerPhase) -> None:
            notify(job_id, phase)
            self.notified.set()

        await super().start(pass_on)


@dataclasses.dataclass
class Site:
    """A server with its worker, and a client's view of both."""

    repo: Path
    worker: WatchedWorker
    faults: Faults
    server: UwsServer
    session: aiohttp.ClientSession

    async def submit(
        self, pipeline: str, exposures: Sequence[int], options: str = f"-i {INPUTS} -j 8", detectors: str = "0..8"
    ) -> str:
        root = "${CP_VERIFY_DIR}" if pipeline.startswith("verify") else "${CP_PIPE_DIR}"
        name, _, subset = pipeline.partition("#")
        query = f"instrument='LSSTComCam' AND detector IN ({detectors})"
        if exposures:
            query += f" AND exposure IN ({', '.join(str(exposure) for exposure in exposures)})"
        environment = {
            "PIPELINE_URL": f"{root}/pipelines/LSSTComCam/{name}.yaml" + (f"#{subset}" if subset else ""),
            "BUTLER_REPO": str(self.repo),
            "RUN_OPTIONS": options,
            "DATA_QUERY": query,
            "OUTPUT_GLOB": "bias,mark*",
        }
        body = {
            "command": "cd $JOB_SOURCE_DIR && bash bin/pipetask.sh",
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
        }
        async with self.session.put(f"{self.server.url}/job", json=body) as reply:
            assert reply.status == 200
            job_id: str = (await reply.json())["jobId"]
            return job_id

    async def phase(self, job_id: str) -> str:
        async with self.session.get(f"{self.server.url}/job/{job_id}/phase") as reply:
            phase: str = await reply.json()
            return phase

    async def end(self, job_id: str) -> str:
        """Wait until a job has ended, and return its last phase."""
        async with asyncio.timeout(LIMIT_S):
            while True:
                self.worker.notified.clear()
                phase = await self.phase(job_id)
                if phase in ("completed", "error"):
                    return phase
                await self.worker.notified.wait()

    async def log(self, job_id: str) -> str:
        async with self.session.get(f"{self.server.url}/job/result/{job_id}/0") as reply:
            return await reply.text()

    async def run(self, *arguments: Any, **keywords: Any) -> str:
        """Submit a job that is to be completed, and return its output collection."""
        job_id = await self.submit(*arguments, **keywords)
        assert await self.end(job_id) == "completed", await self.log(job_id)
        return f"u/ocps/{job_id}"

    def data_ids(self, job_id: str, dataset_type: str) -> list[tuple[Any, ...]]:
        """Return the data ids of what a job has put out, without the instrument."""
        with Butler.from_config(str(self.repo)) as butler:
            refs = butler.query_datasets(dataset_type, f"{job_id}/run", explain=False, limit=None)
            return sorted(tuple(ref.dataId.required.values())[1:] for ref in refs)

    def get(self, collection: str, dataset_type: str, **data_id: int | str) -> Any:
        with Butler.from_config(str(self.repo)) as butler:
            return butler.get(dataset_type, instrument="LSSTComCam", collections=collection, **data_id)


@pytest.fixture
async def site(taken: Path, tmp_path: Path) -> AsyncIterator[Site]:
    copy_repo(taken, tmp_path / "repo")
    worker, faults = WatchedWorker(), Faults()
    async with UwsServer(worker, tmp_path / "uws", faults) as server, aiohttp.ClientSession() as session:
        yield Site(tmp_path / "repo", worker, faults, server, session)


async def test_bias_is_there_for_each_detector_in_the_collections_of_a_real_job(site: Site) -> None:
    output = await site.run("cpBias", BIASES)
    with Butler.from_config(str(site.repo)) as butler:
        info = butler.collections.get_info(output)
        assert info.type is CollectionType.CHAINED
        assert list(info.children) == [f"{output}/run", *FLAT_INPUTS]
        assert butler.collections.get_info(f"{output}/run").type is CollectionType.RUN
    assert site.data_ids(output, "bias") == [(detector,) for detector in range(9)]
    bias = site.get(output, "bias", detector=4)
    assert bias.image.array.shape == (256, 512)
    assert bias.metadata["CPP_INPUT_0"] == BIASES[0]
    log = await site.log(output.removeprefix("u/ocps/"))
    assert log.startswith("+ pipetask --long-log run -p '${CP_PIPE_DIR}/pipelines/LSSTComCam/cpBias.yaml' -b ")
    assert "+ butler retrieve-artifacts --collections" in log


async def test_several_input_options_add_up_in_order(site: Site) -> None:
    first = await site.run("cpBias", BIASES)
    output = await site.run("cpBias", BIASES, f"-i LSSTComCam/raw/all -j 1 -i {first},{INPUTS}")
    with Butler.from_config(str(site.repo)) as butler:
        children = list(butler.collections.get_info(output).children)
    assert children == [f"{output}/run", "LSSTComCam/raw/all", f"{first}/run", *FLAT_INPUTS[1:]]


async def test_statistics_are_about_the_new_exposures(site: Site) -> None:
    output = await site.run("verifyBias", BIASES)
    run_level = site.get(output, "verifyBiasStats")
    assert set(run_level) == {*BIASES, "SUCCESS"}
    assert run_level["SUCCESS"] is True
    expected = [(detector, exposure) for detector in range(9) for exposure in BIASES if (exposure, detector) != LOST]
    assert site.data_ids(output, "verifyBiasDetStats") == expected
    exposure_level = site.get(output, "verifyBiasExpStats", exposure=LOST[0])
    assert "R22_S10" not in exposure_level and "R22_S11" in exposure_level
    first, seventh = (
        site.get(output, "verifyBiasDetStats", exposure=exposure, detector=0) for exposure in (BIASES[0], BIASES[6])
    )
    assert first["AMP"]["C10"]["MEAN"] != seventh["AMP"]["C10"]["MEAN"]


async def test_only_the_chosen_exposures_and_detectors_are_verified(site: Site) -> None:
    output = await site.run("verifyBias", BIASES[2:4], detectors="0, 8")
    assert set(site.get(output, "verifyBiasStats")) == {*BIASES[2:4], "SUCCESS"}
    assert set(site.get(output, "verifyBiasExpStats", exposure=BIASES[2])) == {"R22_S00", "R22_S22", "SUCCESS"}
    assert len(site.data_ids(output, "verifyBiasDetStats")) == 4


async def test_flats_are_made_for_each_of_their_filters(site: Site) -> None:
    output = await site.run("cpFlat", FLATS)
    expected = [(detector, name) for detector in range(9) for name in ("i_06", "r_03")]
    assert site.data_ids(output, "flat") == expected
    verified = await site.run("verifyFlat", FLATS)
    assert set(site.get(verified, "verifyFlatStats", physical_filter="i_06")) == {*FLATS[2:], "SUCCESS"}
    assert set(site.get(verified, "verifyFlatStats", physical_filter="r_03")) == {*FLATS[:2], "SUCCESS"}


async def test_pairs_of_flats_are_keyed_by_their_first_exposure(site: Site) -> None:
    output = await site.run("cpPtc#cpPtcGainFromFlatPairs", FLATS)
    assert site.data_ids(output, "cpPtcPartial") == [(detector, FLATS[i]) for detector in range(9) for i in (0, 2)]
    partial = site.get(output, "cpPtcPartial", exposure=FLATS[2], detector=3)
    assert isinstance(partial, PhotonTransferCurve)
    assert partial.inputExpIdPairs["C10"] == [[FLATS[2], FLATS[3]]]
    assert 1.5 < partial.gain["C10"] < 2.0
    assert site.data_ids(output, "ptc") == []


async def test_defects_need_no_exposures(site: Site) -> None:
    output = await site.run("cpDefects", [], detectors="0..8")
    assert len(site.data_ids(output, "defects")) == 9
    assert len(site.get(output, "defects", detector=0)) > 0


async def test_ptc_is_verified_with_that_of_the_run(site: Site) -> None:
    site.faults.set([Fault("focal_plane", "gain", match={"detector": 4}, times=None, value=1.06)])
    made = await site.run("cpPtc", FLATS)
    verified = await site.run("verifyPtc", FLATS, f"-i {made},{INPUTS}")
    run_level = site.get(verified, "verifyPtcStats")
    assert len(run_level) == 10
    assert all("C10 PTC_TURNOFF" in run_level[f"R22_S{i}{j}"]["FAILURES"] for i in range(3) for j in range(3))
    gains = site.get(verified, "verifyPtcDetStats", detector=4)["AMP"]["C10"]
    assert gains["PTC_GAIN"] / gains["AMP_GAIN"] == pytest.approx(1.06, rel=0.03)
    assert site.get(made, "ptc", detector=5).gain["C10"] == pytest.approx(
        site.get(verified, "verifyPtcDetStats", detector=5)["AMP"]["C10"]["AMP_GAIN"], rel=0.03
    )


async def test_defects_are_verified_in_single_exposures_only(site: Site) -> None:
    single = "verifyDefects#verifyDefectsIsr,verifyUncorrectedDefectsIsr,verifyDefectsDet"
    verified = await site.run(single, FLATS[:1], detectors="0, 1")
    assert site.data_ids(verified, "verifyDefectsDetStats") == [(0, FLATS[0]), (1, FLATS[0])]
    assert site.data_ids(verified, "verifyDefectsStats") == []


async def test_detector_without_work_is_missing_in_a_job_that_succeeds(site: Site) -> None:
    site.faults.set(scenario_faults(["detector-missing"]))
    output = await site.run("verifyBias", BIASES[:2])
    assert {detector for detector, _ in site.data_ids(output, "verifyBiasDetStats")} == set(range(9)) - {4}
    assert "R22_S11" not in site.get(output, "verifyBiasExpStats", exposure=BIASES[0])


async def test_garbled_statistics_are_those_of_one_detector(site: Site) -> None:
    site.faults.set(scenario_faults(["statistics-garbled"]))
    output = await site.run("verifyBias", BIASES[4:])
    of_four, of_five = (
        [site.get(output, "verifyBiasDetStats", exposure=one, detector=detector) for one in BIASES[4:]]
        for detector in (4, 5)
    )
    assert sum("METADATA" not in one for one in of_four) == 1
    assert all("METADATA" in one for one in of_five)
    assert site.get(output, "verifyBiasStats")["SUCCESS"] is True


async def test_faults_of_detectors_are_in_the_recorded_products(site: Site) -> None:
    sound = await site.run("cpDark", FLATS)
    site.faults.set(scenario_faults(["new-hot-column"]))
    hot = await site.run("cpDark", FLATS)
    assert np.isnan(site.get(hot, "dark", detector=4).image.array).sum() == 5 * 130
    assert (site.get(hot, "dark", detector=3).image.array == site.get(sound, "dark", detector=3).image.array).all()


async def test_job_takes_its_time_and_the_third_one_waits(site: Site) -> None:
    loop = asyncio.get_running_loop()
    begin = loop.time()
    jobs = [await site.submit("verifyBias", BIASES[:1]) for _ in range(3)]
    assert await site.phase(jobs[2]) == "queued"
    for job_id in jobs:
        assert await site.end(job_id) == "completed"
    assert loop.time() - begin > 0.6


async def test_slow_job_ends_at_once_when_it_is_let(site: Site) -> None:
    site.faults.set([Fault("worker", "slow", value=600.0)])
    job_id = await site.submit("cpBias", BIASES)
    while await site.phase(job_id) != "executing":
        site.worker.notified.clear()
        async with asyncio.timeout(LIMIT_S):
            await site.worker.notified.wait()
    site.worker.finish(job_id)
    assert await site.end(job_id) == "completed"
    with pytest.raises(KeyError):
        site.worker.finish(job_id)


@pytest.mark.parametrize(
    ("pipeline", "options", "exposures", "reason"),
    [
        ("cpBias", "-j 1", BIASES, "ValueError: No input collections provided."),
        ("cpBias", "-i LSSTComCam/raw/all,u/nobody/x", BIASES, "u/nobody/x"),
        ("cpBias", f"-i {INPUTS}", [DAY * 100000 + 99], "QuantumGraph was empty"),
        ("cpBias", f"-i {INPUTS}", ["what"], "what"),
        ("verifyDefects", f"-i {INPUTS}", FLATS, "QuantumGraph was empty"),
        ("verifyGainFromFlatPairs", f"-i {INPUTS}", FLATS, "KeyError: 'exposure'"),
        ("cpNothing", f"-i {INPUTS}", BIASES, "There is no recording of pipeline 'cpNothing'"),
    ],
)
async def test_bad_jobs_fail_as_real_ones_do(
    site: Site, pipeline: str, options: str, exposures: list[int], reason: str
) -> None:
    job_id = await site.submit(pipeline, exposures, options)
    assert await site.end(job_id) == "error"
    assert reason in explain_failure(await site.log(job_id))


async def test_error_is_explained_by_the_log_and_leaves_what_came_before(site: Site) -> None:
    site.faults.set([Fault("worker", "error", match={"pipeline": "cpBias"}, value=2, text="no usable pixels")])
    job_id = await site.submit("cpBias", BIASES)
    assert await site.end(job_id) == "error"
    explanation = explain_failure(await site.log(job_id))
    assert explanation == "cpBias, detector 2: RuntimeError: no usable pixels"
    assert site.data_ids(f"u/ocps/{job_id}", "bias") == [(0,), (1,)]


async def test_one_failed_detector_leaves_the_others_but_nothing_merged(site: Site) -> None:
    site.faults.set([Fault("worker", "fail_quantum", value=4)])
    job_id = await site.submit("verifyBias", BIASES)
    assert await site.end(job_id) == "error"
    output = f"u/ocps/{job_id}"
    assert {detector for detector, _ in site.data_ids(output, "verifyBiasDetStats")} == set(range(9)) - {4}
    assert site.data_ids(output, "verifyBiasStats") == []


async def test_killed_job_has_nothing_to_say(site: Site) -> None:
    site.faults.set([Fault("worker", "die", value=1)])
    job_id = await site.submit("cpBias", BIASES)
    assert await site.end(job_id) == "error"
    assert "Traceback" not in await site.log(job_id)
    assert site.data_ids(f"u/ocps/{job_id}", "bias") == [(0,)]


async def test_hanging_job_runs_until_it_is_deleted(site: Site) -> None:
    site.faults.set([Fault("worker", "hang", value=1)])
    job_id = await site.submit("cpBias", BIASES)
    other = await site.submit("cpBias", BIASES)
    assert await site.end(other) == "completed"
    assert await site.phase(job_id) == "executing"
    async with site.session.delete(f"{site.server.url}/job/{job_id}") as reply:
        assert reply.status == 200
    jobs = [await site.submit("cpBias", BIASES) for _ in range(3)]  # its place is free again
    assert [await site.end(job_id) for job_id in jobs] == ["completed"] * 3


async def test_unknown_fault_is_an_error(site: Site) -> None:
    site.faults.set([Fault("worker", "explode")])
    job_id = await site.submit("cpBias", BIASES)
    assert await site.end(job_id) == "error"
    assert "There is no fault 'explode' of the worker" in await site.log(job_id)
