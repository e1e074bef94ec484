# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The statistics of a verification, read from a real, small repository."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler, CollectionType, DatasetRef, FileDataset
from lsst.ts.comcamcalib.butler_data import BrokenStatistics, StatisticsTypes, VerificationStatistics
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.containers import PhotonTransferCurve
from support.small_repository import (
    BIASES,
    FLATS_I,
    FLATS_R,
    INSTRUMENT,
    bias_job,
    run_job,
)

BIAS = StatisticsTypes("verifyBiasStats", "verifyBiasDetStats")
FLAT = StatisticsTypes("verifyFlatStats", "verifyFlatDetStats")


async def test_statistics_are_read_by_filter_with_integer_keys(service: ButlerService, butler: Butler) -> None:
    stats = [
        ("verifyFlatStats", {"physical_filter": "r_03"}, {FLATS_R[0]: {"SUCCESS": True}, "SUCCESS": True}),
        ("verifyFlatStats", {"physical_filter": "i_06"}, {FLATS_I[0]: {"SUCCESS": False}, "SUCCESS": False}),
        *(("verifyFlatDetStats", {"exposure": one, "detector": 2}, {"N": one}) for one in (*FLATS_R, *FLATS_I)),
    ]
    run_job(butler, "v", [], stats)
    found = await service.statistics("u/ocps/v/run", FLAT, "r_03")
    assert found.run == {FLATS_R[0]: {"SUCCESS": True}, "SUCCESS": True}
    assert found.detectors == {(one, 2): {"N": one} for one in FLATS_R}
    assert found.exposures is None
    with pytest.raises(ServiceError, match="the filter must be given"):
        await service.statistics("u/ocps/v/run", FLAT)


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
    found = await service.statistics("u/ocps/j/run", BIAS)
    assert found.detectors == {(BIASES[0], 2): {"N": 7}}


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
    found = await service.statistics("u/ocps/v/run", BIAS)
    assert found.run == {BIASES[0]: {"SUCCESS": True}, "SUCCESS": True}
    assert found.detectors == {(one, n): {"N": [one, n]} for one in BIASES for n in (0, 1, 2)}
    assert set(asked[1:]) == {limits.butler_query + 7 * limits.butler_dataset}
    assert len(asked) == 1 + 7, "each of the seven files in a part of its own"
    assert threads and threading.current_thread().name not in threads


async def test_statistics_that_can_not_be_read_are_an_error_that_names_the_file(
    service: ButlerService, butler: Butler
) -> None:
    refs = verification(butler, "v")
    file = Path(butler.getURI(refs[4]).ospath)
    file.unlink()
    sentence = rf"The file file://{file} with verifyBiasDetStats@.* could not be read: FileNotFoundError: "
    with pytest.raises(ServiceError, match=sentence) as caught:
        await service.statistics("u/ocps/v/run", BIAS)
    assert "\n" not in str(caught.value)


async def test_a_file_that_is_no_statistics_does_not_hide_the_others(service: ButlerService, butler: Butler) -> None:
    refs = verification(butler, "v")
    file = Path(butler.getURI(refs[4]).ospath)
    place = (int(refs[4].dataId["exposure"]), int(refs[4].dataId["detector"]))
    for content in ("{N: [", "{N: !!python/object:os.system {}}", "\x00", "2026-13-45"):
        file.write_text(content)
        found = await service.statistics("u/ocps/v/run", BIAS)
        broken = found.detectors[place]
        assert isinstance(broken, BrokenStatistics), content
        assert broken.reason.startswith(f"the file file://{file} could not be understood: ")
        assert "\n" not in broken.reason
        assert len(found.detectors) == 6
    file.write_text("[1, 2]")
    assert (await service.statistics("u/ocps/v/run", BIAS)).detectors[place] == [1, 2]


async def test_statistics_of_exposures_are_read_if_they_are_wanted(service: ButlerService, butler: Butler) -> None:
    refs = [
        ("verifyBiasStats", {}, {"SUCCESS": True}),
        *(("verifyBiasExpStats", {"exposure": one}, {"R22_S00": {"SUCCESS": True}}) for one in BIASES),
    ]
    run_job(butler, "v", [], refs)
    types = StatisticsTypes("verifyBiasStats", "verifyBiasDetStats", "verifyBiasExpStats")
    found = await service.statistics("u/ocps/v/run", types)
    assert found.exposures == {one: {"R22_S00": {"SUCCESS": True}} for one in BIASES}
    assert (found.run, found.detectors) == ({"SUCCESS": True}, {})


async def test_statistics_of_curves_have_detectors_and_no_exposures(service: ButlerService, butler: Butler) -> None:
    refs = [
        ("verifyPtcStats", {}, {"R22_S00": {"SUCCESS": True}, "SUCCESS": True}),
        *(("verifyPtcDetStats", {"detector": n}, {"AMP": {"C10": {"PTC_RAW_MEANS": [1.0, n]}}}) for n in (0, 2)),
    ]
    run_job(butler, "v", [], refs)
    found = await service.statistics("u/ocps/v/run", StatisticsTypes("verifyPtcStats", "verifyPtcDetStats"))
    assert found.run == {"R22_S00": {"SUCCESS": True}, "SUCCESS": True}
    assert found.detectors == {(None, n): {"AMP": {"C10": {"PTC_RAW_MEANS": [1.0, n]}}} for n in (0, 2)}
    assert found.exposures is None


async def test_statistics_that_do_not_exist_are_none(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0])
    assert await service.statistics("u/ocps/b/run", BIAS) == VerificationStatistics(None, {})


async def test_many_curves_may_take_longer_than_one_look_up(
    service: ButlerService, butler: Butler, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A ramp of a hundred flat pairs has a curve for each pair and detector."""
    from lsst.ts.comcamcalib.services.worker_threads import WorkerThreads

    curve = PhotonTransferCurve(["C10"], "PARTIAL", gain={"C10": 1.3}, noise={"C10": 6.0})
    curves = [("cpPtcPartial", {"detector": n, "exposure": one}, curve) for n in range(9) for one in BIASES]
    run_job(butler, "g", [], curves)
    asked: list[float] = []
    do = WorkerThreads.do

    async def listen(self: WorkerThreads, what: str, limit_s: float, *args: Any) -> Any:
        asked.append(limit_s)
        return await do(self, what, limit_s, *args)

    monkeypatch.setattr(WorkerThreads, "do", listen)
    assert len(await service.gain_values("u/ocps/g/run")) == 18
    assert asked == [limits.butler_query, limits.butler_query + 18 * limits.butler_dataset]
