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
    with pytest.raises(ServiceError, match="the filter must be given"):
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
    assert set(asked[1:]) == {limits.butler_query + 7 * limits.butler_dataset}
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


async def test_statistics_that_do_not_exist_are_none(service: ButlerService, butler: Butler) -> None:
    bias_job(butler, "b", [0])
    assert await service.statistics("u/ocps/b/run", "verifyBiasStats", "verifyBiasDetStats") == (None, {})


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
