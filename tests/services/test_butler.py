# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The Butler service on a real, small repository."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetRef, FileDataset, Timespan
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError, UnreachableError
from lsst.ts.comcamcalib.services.butler import ButlerService, CertifiedRange, DefectsArea, ExposureFound
from lsst.ts.comcamcalib.simulation.containers import Box, Defect, Defects, Exposure, PhotonTransferCurve
from lsst.ts.comcamcalib.simulation.exposures import ExposureRecord, write_exposure_files
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.repo import copy_repo, create_repo, ingest_files, register_exposure

INSTRUMENT = "LSSTComCam"
RAWS = "LSSTComCam/raw/all"
DAILY = "LSSTComCam/calib/daily"
CHAIN = "LSSTComCam/calib"
NOON, NEXT_NOON = "2026-11-22T12:00:00", "2026-11-23T12:00:00"
BIASES = (2026112200001, 2026112200002)
FLATS_R = (2026112200011, 2026112200012)
FLATS_I = (2026112200021,)
TAI_20H = 1795377600.0 + 37.0  # 2026-11-22T20:00:37 TAI


def exposure(exposure_id: int, image_type: str, physical_filter: str) -> ExposureRecord:
    sequence = exposure_id % 100000
    begin = TAI_20H + 60 * sequence
    return ExposureRecord(
        exposure_id=exposure_id,
        obs_id=f"CC_O_20261122_{sequence:06d}",
        day_obs=20261122,
        seq_num=sequence,
        group_id="20261122-001-X",
        image_type=image_type,
        exposure_time_s=1.0,
        dark_time_s=1.0,
        physical_filter=physical_filter,
        timestamp_begin_tai_s=begin,
        timestamp_end_tai_s=begin + 1,
    )


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with two biases (raws of detectors 0 to 2), flats in two filters, and initial calibrations."""
    path = tmp_path_factory.mktemp("services")
    plane = FocalPlane(amplifier_shape=(16, 8), overscan_columns=4, hot_pixels=0, low_pixels=0)
    create_repo(path / "repo", plane)
    with contextlib.closing(Butler.from_config(str(path / "repo"), writeable=True)) as butler:
        for exposure_id in BIASES:
            record = exposure(exposure_id, "BIAS", "r_03")
            ingest_files(butler, record, write_exposure_files(plane, record, path / "raw", range(3)))
        for exposure_id in FLATS_R:
            register_exposure(butler, exposure(exposure_id, "FLAT", "r_03"))
        for exposure_id in FLATS_I:
            register_exposure(butler, exposure(exposure_id, "FLAT", "i_06"))
    return path / "repo"


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    copy_repo(template, tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    """The worker's own access: what it writes, the service has to see."""
    with contextlib.closing(Butler.from_config(str(repo), writeable=True)) as butler:
        yield butler


@pytest.fixture
async def service(repo: Path, limits: Limits) -> AsyncIterator[ButlerService]:
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits)
    await service.start()
    yield service
    await service.close()


def image() -> Exposure:
    return Exposure.from_array(np.zeros((4, 5), np.float32), {})


def run_job(
    butler: Butler, job: str, inputs: Sequence[str], datasets: Sequence[tuple[str, dict[str, Any], object]]
) -> list[str]:
    """Leave in the repository what a job leaves; return the ids of its datasets."""
    run, chain = f"u/ocps/{job}/run", f"u/ocps/{job}"
    butler.collections.register(run, CollectionType.RUN)
    butler.collections.register(chain, CollectionType.CHAINED)
    butler.collections.redefine_chain(chain, [run, *inputs])
    with butler.transaction():
        return [
            str(butler.put(value, name, {"instrument": INSTRUMENT, **data_id}, run=run).id)
            for name, data_id, value in datasets
        ]


def bias_job(butler: Butler, job: str, detectors: Sequence[int] = range(9)) -> list[str]:
    return run_job(butler, job, [RAWS, DAILY], [("bias", {"detector": one}, image()) for one in detectors])


def found_bias(butler: Butler, detector: int, when: str, collection: str = DAILY) -> str | None:
    """Return the id of the bias that is found at some time of 2026-11."""
    from astropy.time import Time

    ref = butler.find_dataset(
        "bias",
        {"instrument": INSTRUMENT, "detector": detector},
        collections=collection,
        timespan=Timespan.fromInstant(Time(f"2026-11-{when}", scale="tai")),
    )
    return None if ref is None else str(ref.id)


# Looking


async def test_missing_collections_are_named(service: ButlerService) -> None:
    assert await service.missing_collections([RAWS, "no/such", DAILY, "u/ocps/none"]) == ["no/such", "u/ocps/none"]


async def test_only_new_names_and_calibration_collections_can_take_calibrations(service: ButlerService) -> None:
    assert await service.certify_obstacle("LSSTComCam/calib/new") == ""
    assert await service.certify_obstacle(DAILY) == ""
    assert "it is a RUN collection" in await service.certify_obstacle(RAWS)


async def test_raws_are_seen_one_by_one(service: ButlerService) -> None:
    present = await service.raws_present([*BIASES, *FLATS_R, 4], [1, 2, 3])
    assert present == {(exposure_id, detector) for exposure_id in BIASES for detector in (1, 2)}
    assert await service.raws_present([], [1]) == await service.raws_present(BIASES, []) == set()


async def test_filters_are_told_of_known_exposures_only(service: ButlerService) -> None:
    filters = await service.physical_filters([BIASES[0], FLATS_I[0], 4])
    assert filters == {BIASES[0]: "r_03", FLATS_I[0]: "i_06"}


async def test_exposures_are_asked_for_until_they_are_known(service: ButlerService, butler: Butler) -> None:
    found = await service.exposures([BIASES[0], 2026112200077])
    assert found == {
        BIASES[0]: ExposureFound(BIASES[0], 20261122, "r_03", "2026-11-22T20:01:37", "2026-11-22T20:01:38")
    }
    register_exposure(butler, exposure(2026112200077, "DARK", "i_06"))
    assert (await service.physical_filters([BIASES[0], 2026112200077]))[2026112200077] == "i_06"


async def test_the_name_of_an_existing_collection_is_proposed_for_a_slip(
    service: ButlerService, butler: Butler
) -> None:
    """Jobs leave chains by the thousand, and raws are in a RUN: nobody certifies there."""
    bias_job(butler, "dayli", [0])
    names = ["lsstcomcam/calib/daily", "LSSTComCam/Calib", "LSSTComCam/raw/All", "u/ocps/daily", "u/me/new"]
    assert await service.near_names(names) == {"lsstcomcam/calib/daily": DAILY, "LSSTComCam/Calib": CHAIN}
    assert await service.near_names([]) == {}


async def test_datasets_of_a_run_are_seen_as_soon_as_a_job_wrote_them(service: ButlerService, butler: Butler) -> None:
    assert await service.datasets("u/ocps/late/run", "bias") == []
    ids = bias_job(butler, "late", [0, 4])
    found = await service.datasets("u/ocps/late/run", "bias")
    assert {(one.dataset_id, one.detector, one.physical_filter, one.exposure, one.run) for one in found} == {
        (ids[0], 0, None, None, "u/ocps/late/run"),
        (ids[1], 4, None, None, "u/ocps/late/run"),
    }
    assert await service.datasets("u/ocps/late/run", "no_such_type") == []


async def test_flats_have_a_filter_and_partial_curves_an_exposure(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "f", [], [("flat", {"detector": 1, "physical_filter": "i_06"}, image())])
    (flat,) = await service.datasets("u/ocps/f/run", "flat")
    assert (flat.detector, flat.physical_filter, flat.exposure) == (1, "i_06", None)
    curve = PhotonTransferCurve(["C10", "C11"], "PARTIAL", gain={"C10": 1.7}, noise={"C10": 6.0, "C11": 7})
    run_job(butler, "g", [], [("cpPtcPartial", {"detector": 1, "exposure": FLATS_R[0]}, curve)])
    (partial,) = await service.datasets("u/ocps/g/run", "cpPtcPartial")
    assert (partial.detector, partial.exposure) == (1, FLATS_R[0])
    values = await service.gain_values("u/ocps/g/run")
    assert values.keys() == {(FLATS_R[0], 1)}
    gain, noise = values[FLATS_R[0], 1].gain, values[FLATS_R[0], 1].noise
    assert gain["C10"] == 1.7 and np.isnan(gain["C11"]) and noise == {"C10": 6.0, "C11": 7.0}


async def test_gains_and_noises_come_from_the_curve_of_each_detector(service: ButlerService, butler: Butler) -> None:
    curves = {n: PhotonTransferCurve(["C10"], "POLYNOMIAL", gain={"C10": 1.5 + n}, noise={"C10": 6.0}) for n in (3, 5)}
    run_job(butler, "ptc", [], [("ptc", {"detector": n}, curve) for n, curve in curves.items()])
    values = await service.ptc_values("u/ocps/ptc/run")
    assert {detector: dict(one.gain) for detector, one in values.items()} == {3: {"C10": 4.5}, 5: {"C10": 6.5}}


async def test_the_area_of_defects_is_told_with_the_detectors_size(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "boot", [], [("biasBootstrap", {"detector": n}, image()) for n in (0, 1)])
    defects = Defects([Defect(Box(0, 0, 2, 3)), Defect(Box(4, 0, 1, 1))])
    pairs = [("defects", {"detector": 0}, defects), ("defects", {"detector": 1}, Defects())]
    run_job(butler, "defects", ["u/ocps/boot/run"], pairs)
    assert await service.defects_area("u/ocps/defects/run") == {0: DefectsArea(7, 20), 1: DefectsArea(0, 20)}


async def test_defects_of_a_detector_of_unknown_size_are_an_error(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "defects", [], [("defects", {"detector": 0}, Defects())])
    with pytest.raises(ServiceError, match="How large detector 0 is can't be told"):
        await service.defects_area("u/ocps/defects/run")


async def test_statistics_are_read_by_filter_with_integer_keys(service: ButlerService, butler: Butler) -> None:
    stats = [
        ("verifyFlatStats", {"physical_filter": "r_03"}, {FLATS_R[0]: {"SUCCESS": True}, "SUCCESS": True}),
        ("verifyFlatStats", {"physical_filter": "i_06"}, {FLATS_I[0]: {"SUCCESS": False}, "SUCCESS": False}),
        *(("verifyFlatDetStats", {"exposure": one, "detector": 2}, {"N": one}) for one in (*FLATS_R, *FLATS_I)),
    ]
    run_job(butler, "v", [], stats)
    run_level, detectors = await service.statistics("u/ocps/v/run", "verifyFlatStats", "verifyFlatDetStats", "r_03")
    assert run_level == {FLATS_R[0]: {"SUCCESS": True}, "SUCCESS": True}
    assert detectors == {(one, 2): {"N": one} for one in FLATS_R}
    with pytest.raises(ServiceError, match="which filter is meant"):
        await service.statistics("u/ocps/v/run", "verifyFlatStats", "verifyFlatDetStats")


def verification(butler: Butler, job: str, detectors: Sequence[int] = (0, 1, 2)) -> list[DatasetRef]:
    """Leave the statistics of two biases and some detectors; return those by exposure and detector."""
    stats = [
        ("verifyBiasStats", {}, {BIASES[0]: {"SUCCESS": True}, "SUCCESS": True}),
        *(
            ("verifyBiasDetStats", {"exposure": one, "detector": n}, {"N": [one, n]})
            for one in BIASES
            for n in detectors
        ),
    ]
    ids = run_job(butler, job, [], stats)
    return [butler.get_dataset(one) for one in ids[1:]]


async def test_statistics_in_another_format_are_read_by_butler(
    service: ButlerService, butler: Butler, tmp_path: Path
) -> None:
    """An ingested JSON file: only Butler knows its formatter."""
    butler.collections.register("u/ocps/j/run", CollectionType.RUN)
    file = tmp_path / "statistics.json"
    file.write_text('{"N": 7}')
    data_id = butler.registry.expandDataId(instrument=INSTRUMENT, exposure=BIASES[0], detector=2)
    ref = DatasetRef(butler.get_dataset_type("verifyBiasDetStats"), data_id, run="u/ocps/j/run")
    formatter = "lsst.daf.butler.formatters.json.JsonFormatter"
    butler.ingest(FileDataset(str(file), [ref], formatter=formatter), transfer="direct")
    _, detectors = await service.statistics("u/ocps/j/run", "verifyBiasStats", "verifyBiasDetStats")
    assert detectors == {(BIASES[0], 2): {"N": 7}}


async def test_statistics_are_read_side_by_side_within_a_limit_by_their_number(
    service: ButlerService, butler: Butler, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lsst.ts.comcamcalib.services import butler_statistics
    from lsst.ts.comcamcalib.services.worker_threads import WorkerThreads

    verification(butler, "v")
    asked: list[float] = []
    threads: set[str] = set()
    do, read = WorkerThreads.do, butler_statistics.read_files

    async def listen(self: WorkerThreads, what: str, limit_s: float, *args: Any) -> Any:
        asked.append(limit_s)
        return await do(self, what, limit_s, *args)

    def note(files: Any) -> Any:
        threads.add(threading.current_thread().name)
        return read(files)

    monkeypatch.setattr(WorkerThreads, "do", listen)
    monkeypatch.setattr(butler_statistics, "read_files", note)
    run_level, detectors = await service.statistics("u/ocps/v/run", "verifyBiasStats", "verifyBiasDetStats")
    assert run_level == {BIASES[0]: {"SUCCESS": True}, "SUCCESS": True}
    assert detectors == {(one, n): {"N": [one, n]} for one in BIASES for n in (0, 1, 2)}
    assert set(asked[1:]) == {limits.butler_query + 7 * limits.butler_statistics}
    assert len(asked) == 1 + 7, "each of the seven files in a part of its own"
    assert threads and threading.current_thread().name not in threads


async def test_statistics_that_can_not_be_read_are_an_error_that_names_the_file(
    service: ButlerService, butler: Butler
) -> None:
    refs = verification(butler, "v")
    file = Path(butler.getURI(refs[4]).ospath)
    for content, sentence in (
        ("{N: [", rf"The file file://{file} with verifyBiasDetStats@.* could not be read: ParserError: while parsing"),
        ("[1, 2]", r"The dataset verifyBiasDetStats@.* is a list, not statistics\."),
        (None, rf"The file file://{file} with verifyBiasDetStats@.* could not be read: FileNotFoundError: "),
    ):
        file.write_text(content) if content is not None else file.unlink()
        with pytest.raises(ServiceError, match=sentence) as caught:
            await service.statistics("u/ocps/v/run", "verifyBiasStats", "verifyBiasDetStats")
        assert "\n" not in str(caught.value)


async def test_the_number_of_queries_does_not_grow_with_the_detectors(service: ButlerService, butler: Butler) -> None:
    """With a slow database each query counts, and stages wait for them."""
    import sqlalchemy

    statements: list[str] = []
    ids = bias_job(butler, "b")
    run_job(butler, "dark", ["u/ocps/b/run"], [])
    await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids)

    def note(*args: Any) -> None:
        statements.append(args[2])

    async def count(question: Awaitable[object]) -> int:
        statements.clear()
        await question
        return len(statements)

    sqlalchemy.event.listen(sqlalchemy.engine.Engine, "before_cursor_execute", note)
    try:
        for _ in range(4):  # what is asked only once, when a thread opens the repository, does not count
            await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0], "u/ocps/b/run")
        one, nine = [
            await count(service.foreign_inputs("u/ocps/dark", "bias", BIASES, range(number), "u/ocps/b/run"))
            for number in (1, 9)
        ]
        assert one == nine < 25
        await service.read_back("bias", DAILY, NOON, NEXT_NOON, ids[:1], BIASES)
        one, nine = [
            await count(service.read_back("bias", DAILY, NOON, NEXT_NOON, ids[:number], BIASES)) for number in (1, 9)
        ]
        assert one == nine < 25
    finally:
        sqlalchemy.event.remove(sqlalchemy.engine.Engine, "before_cursor_execute", note)


async def test_statistics_that_do_not_exist_are_none(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0])
    assert await service.statistics("u/ocps/b/run", "verifyBiasStats", "verifyBiasDetStats") == (None, {})


async def test_get_reads_a_certified_calibration_for_an_exposure(service: ButlerService) -> None:
    bias = await service.get("bias", CHAIN, detector=0, exposure=BIASES[0])
    assert isinstance(bias, Exposure)
    with pytest.raises(ServiceError, match="could not read bias of detector 0, exposure 4 from"):
        await service.get("bias", CHAIN, detector=0, exposure=4)


# What a job used


async def test_a_job_that_used_this_runs_product_is_good(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0, 1])
    run_job(butler, "dark", ["u/ocps/b/run", RAWS, DAILY, "LSSTComCam/calib/initial"], [])
    assert await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0, 1], "u/ocps/b/run") == []


async def test_an_older_product_that_came_first_is_named(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0])  # detector 1 failed
    old = bias_job(butler, "old")
    butler.collections.register("old/calib", CollectionType.CALIBRATION)
    butler.registry.certify("old/calib", [butler.get_dataset(one) for one in old], Timespan(None, None))
    run_job(butler, "dark", [RAWS, "u/ocps/b/run", "old/calib"], [])
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0, 1], "u/ocps/b/run")
    assert sentence == (
        f"Detector 1: for exposure {BIASES[0]} job u/ocps/dark found as bias that in u/ocps/old/run, "
        "not that in u/ocps/b/run."
    )
    run_job(butler, "dark2", [RAWS, "old/calib", "u/ocps/b/run"], [])
    sentences = await service.foreign_inputs("u/ocps/dark2", "bias", BIASES, [0, 1], "u/ocps/b/run")
    assert [sentence.split(":")[0] for sentence in sentences] == ["Detector 0", "Detector 1"]


async def test_a_product_that_was_not_found_or_an_unknown_exposure_is_not_good(
    service: ButlerService, butler: Butler
) -> None:
    bias_job(butler, "b", [0])
    run_job(butler, "dark", [RAWS, DAILY], [])
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0], "u/ocps/b/run")
    assert "found as bias none" in sentence
    (sentence,) = await service.foreign_inputs("u/ocps/dark", "bias", [4, *BIASES], [0], "u/ocps/b/run")
    assert "does not know exposures 4" in sentence


async def test_flats_are_looked_up_by_the_filter_of_the_exposure(service: ButlerService, butler: Butler) -> None:
    run_job(butler, "f", [], [("flat", {"detector": 0, "physical_filter": "r_03"}, image())])
    run_job(butler, "v", ["u/ocps/f/run", "LSSTComCam/calib/initial"], [])
    assert await service.foreign_inputs("u/ocps/v", "flat", FLATS_R, [0], "u/ocps/f/run") == []
    (sentence,) = await service.foreign_inputs("u/ocps/v", "flat", FLATS_I, [0], "u/ocps/f/run")
    assert "found as flat none" in sentence
    # A job that has no flats of its own, seen at the time of a bias, looks up what there is.
    assert await service.foreign_inputs("u/ocps/v", "flat", BIASES, [0], "u/ocps/f/run") == []


# Certifying


async def test_certified_datasets_are_found_within_the_range_and_not_outside(
    service: ButlerService, butler: Butler
) -> None:
    ids = bias_job(butler, "b")
    outcome = await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids)
    assert {one.dataset_id for one in outcome.certified} == set(ids)
    assert {one.detector for one in outcome.certified} == set(range(9)) and outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, ids) == []
    butler.registry.refresh()
    assert found_bias(butler, 4, "22T12:00:00") == found_bias(butler, 4, "23T11:59:59") == ids[4]
    assert found_bias(butler, 4, "22T11:59:59") is None and found_bias(butler, 4, "23T12:00:00") is None


async def test_the_same_call_twice_changes_nothing(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b")
    first = await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids)
    assert await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids) == first
    assert len(list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))) == 9


async def test_what_was_certified_before_makes_room_and_stays_outside_the_range(
    service: ButlerService, butler: Butler
) -> None:
    old = bias_job(butler, "old", [0, 1])
    new = bias_job(butler, "new", [0])
    await service.certify("u/ocps/old/run", "bias", DAILY, "2026-11-20T00:00:00.5", "", old)
    outcome = await service.certify("u/ocps/new/run", "bias", DAILY, NOON, NEXT_NOON, new)
    (replaced,) = outcome.replaced
    assert (replaced.dataset_id, replaced.detector, replaced.physical_filter) == (old[0], 0, None)
    assert (replaced.begin_iso_tai, replaced.end_iso_tai) == ("2026-11-20T00:00:00.5", "")
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T13:00:00") == new[0]
    assert found_bias(butler, 0, "22T11:00:00") == found_bias(butler, 0, "23T13:00:00") == old[0]
    assert found_bias(butler, 1, "22T13:00:00") == old[1]  # another detector is left alone
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, new) == []
    (problem, _) = await service.read_back("bias", DAILY, NOON, NEXT_NOON, [old[0]])
    assert problem.startswith("bias of detector 0") and "not certified" in problem
    # And the old one back in place: the new one makes room in turn.
    again = await service.certify("u/ocps/old/run", "bias", DAILY, NOON, NEXT_NOON, old)
    assert [(one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in again.replaced] == [
        (new[0], NOON, NEXT_NOON)
    ]


async def test_a_dataset_whose_range_grows_is_certified_for_all_of_it(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0])
    await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids)
    outcome = await service.certify("u/ocps/b/run", "bias", DAILY, NOON, "2026-11-25T12:00:00", ids)
    assert outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, "2026-11-25T12:00:00", ids) == []


async def test_unbounded_ranges_are_allowed_and_a_new_collection_is_made(
    service: ButlerService, butler: Butler
) -> None:
    ids = bias_job(butler, "b", [0])
    for begin, end in (("", NOON), (NOON, ""), ("", "")):
        await service.certify("u/ocps/b/run", "bias", "u/new", begin, end, ids)
        assert await service.read_back("bias", "u/new", begin, end, ids) == []
    assert butler.collections.get_info("u/new").type is CollectionType.CALIBRATION


async def test_the_old_way_of_saying_for_ever_is_understood(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0])
    await service.certify("u/ocps/b/run", "bias", DAILY, "1950-01-01", "2050-01-01", ids)
    assert await service.read_back("bias", DAILY, "1950-01-01", "2050-01-01", ids) == []
    butler.registry.refresh()
    assert found_bias(butler, 0, "22T12:00:00") == ids[0]


async def test_flats_of_two_filters_live_side_by_side(service: ButlerService, butler: Butler) -> None:
    in_r = run_job(butler, "r", [], [("flat", {"detector": 0, "physical_filter": "r_03"}, image())])
    in_i = run_job(butler, "i", [], [("flat", {"detector": 0, "physical_filter": "i_06"}, image())])
    await service.certify("u/ocps/r/run", "flat", DAILY, NOON, NEXT_NOON, in_r)
    outcome = await service.certify("u/ocps/i/run", "flat", DAILY, NOON, NEXT_NOON, in_i)
    assert outcome.replaced == () and outcome.certified[0].physical_filter == "i_06"
    assert await service.read_back("flat", DAILY, NOON, NEXT_NOON, [*in_r, *in_i]) == []


def latiss_bias(butler: Butler, run: str) -> DatasetRef:
    """Return a bias of another instrument's detector 0, in the same repository."""
    with butler.transaction():
        butler.registry.syncDimensionData("instrument", {"name": "LATISS", "detector_max": 1, "class_name": "x.Latiss"})
        butler.registry.syncDimensionData(
            "detector", {"instrument": "LATISS", "id": 0, "full_name": "RXX_S00", "purpose": "SCIENCE"}
        )
    butler.collections.register(run, CollectionType.RUN)
    return butler.put(image(), "bias", {"instrument": "LATISS", "detector": 0}, run=run)


async def test_calibrations_of_another_instrument_are_left_alone_and_not_counted(
    service: ButlerService, butler: Butler
) -> None:
    other = latiss_bias(butler, "LATISS/run")
    butler.registry.certify(DAILY, [other], Timespan(None, None))
    ids = bias_job(butler, "b", [0])
    outcome = await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids)
    assert outcome.replaced == ()
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, ids, BIASES) == []
    butler.registry.refresh()
    (still,) = butler.query_datasets("bias", DAILY, instrument="LATISS", find_first=False)
    assert still.id == other.id


async def test_a_job_did_not_use_what_another_instrument_has_for_the_same_number(
    service: ButlerService, butler: Butler
) -> None:
    """A LATISS bias comes first in the chain; pipetask never looks at it for LSSTComCam."""
    latiss_bias(butler, "LATISS/run")
    bias_job(butler, "b", [0])
    run_job(butler, "dark", ["LATISS/run", "u/ocps/b/run"], [])
    assert await service.foreign_inputs("u/ocps/dark", "bias", BIASES, [0], "u/ocps/b/run") == []


async def test_a_dataset_in_the_way_with_two_ranges_is_told_with_both(service: ButlerService, butler: Butler) -> None:
    old, between, new = (bias_job(butler, name, [0]) for name in ("old", "between", "new"))
    await service.certify("u/ocps/old/run", "bias", DAILY, "2026-11-20T12:00:00", "2026-11-25T12:00:00", old)
    await service.certify("u/ocps/between/run", "bias", DAILY, NOON, NEXT_NOON, between)
    outcome = await service.certify("u/ocps/new/run", "bias", DAILY, "2026-11-21T12:00:00", "2026-11-24T12:00:00", new)
    assert sorted((one.dataset_id, one.begin_iso_tai, one.end_iso_tai) for one in outcome.replaced) == sorted(
        [
            (old[0], "2026-11-20T12:00:00", NOON),
            (old[0], NEXT_NOON, "2026-11-25T12:00:00"),
            (between[0], NOON, NEXT_NOON),
        ]
    )


async def test_the_ranges_of_datasets_are_told_as_they_are_stored(service: ButlerService, butler: Butler) -> None:
    ids = bias_job(butler, "b", [0, 1])
    assert await service.certified_ranges("bias", DAILY, ids) == []
    assert await service.certified_ranges("bias", "no/such", ids) == []
    assert await service.certified_ranges("no_such_type", DAILY, ids) == []
    await service.certify("u/ocps/b/run", "bias", DAILY, "1970-01-01T00:00:00", NOON, ids[:1])
    await service.certify("u/ocps/b/run", "bias", DAILY, "1970-01-01T00:00:01", "", ids[1:])
    assert sorted(await service.certified_ranges("bias", DAILY, ids), key=lambda one: one.end_iso_tai) == [
        CertifiedRange(ids[1], "1970-01-01T00:00:01", ""),
        CertifiedRange(ids[0], "", NOON),
    ]


async def test_each_frame_has_to_find_the_new_dataset_and_only_that(service: ButlerService, butler: Butler) -> None:
    """The range ends in the middle of the second bias, which an older one covers from there on."""
    old, new = bias_job(butler, "old", [0]), bias_job(butler, "new", [0])
    await service.certify("u/ocps/old/run", "bias", DAILY, NOON, NEXT_NOON, old)
    end = "2026-11-22T20:02:37.5"
    await service.certify("u/ocps/new/run", "bias", DAILY, NOON, end, new)
    assert await service.read_back("bias", DAILY, NOON, end, new, BIASES[:1]) == []
    (problem,) = await service.read_back("bias", DAILY, NOON, end, new, BIASES)
    name = f"bias of detector 0 ({new[0]})"
    assert problem.startswith(f"Looking for {name} by exposure {BIASES[1]} finds datasets ")
    assert old[0] in problem and new[0] in problem
    # Later flats are not covered, so nothing is looked for; an unknown exposure is not passed over.
    assert await service.read_back("bias", DAILY, NOON, end, new, [BIASES[0], *FLATS_R]) == []
    (problem,) = await service.read_back("bias", DAILY, NOON, end, new, [BIASES[0], 4])
    assert problem == "The repository does not know exposure 4, so it is not known what is found for it."


@pytest.mark.parametrize(
    ("collection", "begin", "end", "sentence"),
    [
        (RAWS, NOON, NEXT_NOON, "it is a RUN collection"),
        (CHAIN, NOON, NEXT_NOON, "it is a CHAINED collection"),
        (DAILY, NEXT_NOON, NOON, "range"),
        (DAILY, NOON, NOON, "is empty"),
        (DAILY, "tomorrow", NOON, "is no validity range"),
        (DAILY, "", "1960-01-01", "range"),
    ],
)
async def test_a_certification_that_can_not_be_is_refused_with_a_sentence(
    service: ButlerService, butler: Butler, collection: str, begin: str, end: str, sentence: str
) -> None:
    ids = bias_job(butler, "b", [0])
    with pytest.raises(ServiceError, match=sentence):
        await service.certify("u/ocps/b/run", "bias", collection, begin, end, ids)
    assert not list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))


async def test_ids_that_are_not_in_the_run_are_refused_and_nothing_is_certified(
    service: ButlerService, butler: Butler
) -> None:
    ids, others = bias_job(butler, "b", [0, 1]), bias_job(butler, "other", [2])
    with pytest.raises(ServiceError, match=f"u/ocps/b/run has no bias with the ids {others[0]}"):
        await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, [*ids, *others])
    with pytest.raises(ServiceError, match="no bias to certify"):
        await service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, [])
    assert not list(butler.registry.queryDatasetAssociations("bias", collections=DAILY))


async def test_what_is_no_calibration_is_not_certified(service: ButlerService, butler: Butler) -> None:
    data = {"exposure": FLATS_R[0], "detector": 0}
    ids = run_job(butler, "v", [], [("verifyFlatDetStats", data, {"SUCCESS": True})])
    with pytest.raises(ServiceError, match="is no calibration"):
        await service.certify("u/ocps/v/run", "verifyFlatDetStats", DAILY, NOON, NEXT_NOON, ids)


async def test_a_certification_that_fails_half_way_changes_nothing(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = bias_job(butler, "old", [0]), bias_job(butler, "new", [0])
    await service.certify("u/ocps/old/run", "bias", DAILY, NOON, NEXT_NOON, old)
    registry_type = type(butler.registry)

    def fail(*_args: object, **_kwargs: object) -> None:
        raise RuntimeError("the database is gone")

    with monkeypatch.context() as patch:
        patch.setattr(registry_type, "certify", fail)
        with pytest.raises(ServiceError, match=r"could not certify bias .*RuntimeError: the database is gone"):
            await service.certify("u/ocps/new/run", "bias", DAILY, NOON, NEXT_NOON, new)
    assert found_bias(butler, 0, "22T13:00:00") == old[0]
    # The service has opened the repository anew.
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, old) == []


async def test_many_days_of_calibrations_are_read_back_by_exact_dataset(service: ButlerService, butler: Butler) -> None:
    first, second = bias_job(butler, "one", [0, 1]), bias_job(butler, "two", [0, 1])
    await service.certify("u/ocps/one/run", "bias", DAILY, NOON, NEXT_NOON, first)
    await service.certify("u/ocps/two/run", "bias", DAILY, NEXT_NOON, "2026-11-24T12:00:00", second)
    assert await service.read_back("bias", DAILY, NOON, NEXT_NOON, first) == []
    problems = await service.read_back("bias", DAILY, NEXT_NOON, "2026-11-24T12:00:00", first)
    assert any(f"dataset {second[0]} of u/ocps/two/run" in problem for problem in problems)
    (problem,) = await service.read_back("bias", DAILY, NOON, NEXT_NOON, ["00000000-0000-0000-0000-000000000000"])
    assert "has no dataset" in problem


# The thread


async def test_a_repository_that_is_not_there_is_told_in_a_sentence(tmp_path: Path, limits: Limits) -> None:
    service = ButlerService(str(tmp_path / "none"), INSTRUMENT, RAWS, limits)
    await service.start()
    with pytest.raises(ServiceError, match=r"Butler \(.*none\) could not look for collections: FileNotFoundError"):
        await service.missing_collections([RAWS])
    await service.close()
    with pytest.raises(ServiceError, match="it is closed"):
        await service.missing_collections([RAWS])


def block_lookups(monkeypatch: pytest.MonkeyPatch) -> tuple[threading.Event, threading.Event]:
    """Let look-ups of collections begin and not end before the second event."""
    from lsst.ts.comcamcalib.services import butler_queries

    begun, released = threading.Event(), threading.Event()

    def wait(_butler: Butler, names: Sequence[str]) -> list[str]:
        begun.set()
        assert released.wait(20)
        return list(names)

    monkeypatch.setattr(butler_queries, "missing_collections", wait)
    return begun, released


async def test_a_question_that_hangs_hits_its_limit_and_others_are_answered_beside_it(
    repo: Path, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, released = block_lookups(monkeypatch)
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits.model_copy(update={"butler_query": 0.2}))
    await service.start()
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    with pytest.raises(
        UnreachableError, match=r"could not look for collections within 0.2 s: it still tries to, which can't be"
    ):
        await hanging
    await service.close()
    released.set()


async def test_a_slow_certification_delays_no_look_up_and_the_look_after_it_sees_it(
    service: ButlerService, butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A certification that waits for the database's lock is not the fault of those who only want to look."""
    from lsst.ts.comcamcalib.services import butler_certify

    ids = bias_job(butler, "b")
    begun, released = threading.Event(), threading.Event()
    real = butler_certify.certify

    def slow(*args: Any, **kwargs: Any) -> Any:
        begun.set()
        assert released.wait(20)
        return real(*args, **kwargs)

    monkeypatch.setattr(butler_certify, "certify", slow)
    certifying = asyncio.create_task(service.certify("u/ocps/b/run", "bias", DAILY, NOON, NEXT_NOON, ids))
    await asyncio.to_thread(begun.wait, 20)
    reading_back = asyncio.create_task(service.read_back("bias", DAILY, NOON, NEXT_NOON, ids))
    assert await service.missing_collections(["no/such"]) == ["no/such"]
    assert len(await service.datasets("u/ocps/b/run", "bias")) == 9
    assert not certifying.done() and not reading_back.done()
    released.set()
    assert len((await certifying).certified) == 9
    assert await reading_back == [], "it was asked after the certification, and so has to see it"


async def test_closing_does_not_wait_for_ever(
    repo: Path,
    limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    from lsst.ts.comcamcalib.services import butler_threads

    begun, released = block_lookups(monkeypatch)
    monkeypatch.setattr(butler_threads, "CLOSE_LIMIT_S", 0.05)
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits)
    await service.start()
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    begin = time.monotonic()
    await service.close()
    assert time.monotonic() - begin < 5
    assert "is left behind: it still tries to look for collections" in caplog.text
    released.set()
    assert await hanging == ["a"]


async def test_a_cancelled_question_does_not_block_the_next(
    service: ButlerService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    begun, released = block_lookups(monkeypatch)
    hanging = asyncio.create_task(service.missing_collections(["a"]))
    await asyncio.to_thread(begun.wait, 20)
    queued = asyncio.create_task(service.missing_collections(["never"]))
    await asyncio.sleep(0)
    for task in (hanging, queued):
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert "nobody waits for it any more" in caplog.text
    released.set()
    assert await service.missing_collections(["b"]) == ["b"]


def test_nothing_heavy_is_imported_before_the_first_question() -> None:
    heavy: Callable[[str], bool] = lambda name: name in ("numpy", "astropy") or name.startswith("lsst.daf")  # noqa: E731
    code = "import sys, lsst.ts.comcamcalib.services.butler; print('\\n'.join(sys.modules))"
    modules = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    assert "lsst.ts.comcamcalib.services.butler" in modules
    assert [name for name in modules if heavy(name)] == []
