# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a planned run would replace is looked up without changing anything."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from lsst.daf.butler import Butler
from lsst.ts.comcamcalib.butler_data import CertifyRequest, ReplacedDataset
from lsst.ts.comcamcalib.enums import Verdict
from lsst.ts.comcamcalib.errors import ServiceError, UnreachableError
from lsst.ts.comcamcalib.plan.validity import Validity
from lsst.ts.comcamcalib.services import replacements
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.services.replacements import look_for_replacements
from support.small_repository import DAILY, INSTRUMENT, NEXT_NOON, NOON, bias_job

NIGHT = Validity(NOON, NEXT_NOON)
LIMIT_S = 60.0


def look(repo: Path | str, validity: Validity = NIGHT, **changes: Any) -> dict[str, list[ReplacedDataset]]:
    given: dict[str, Any] = {"detectors": range(9), "calib_collection": DAILY, "limit_s": LIMIT_S, **changes}
    return look_for_replacements(str(repo), INSTRUMENT, ["bias", "flat"], validity=validity, **given)


async def test_what_is_certified_in_the_range_is_named_by_detector_and_range(
    service: ButlerService, butler: Butler, repo: Path
) -> None:
    ids = bias_job(butler, "j1", [0, 1, 2])
    await service.certify(certify_request("j1", ids))
    found = look(repo, detectors=[0, 2])
    assert [(one.detector, one.begin_iso_tai, one.end_iso_tai) for one in found["bias"]] == [
        (0, NOON, NEXT_NOON),
        (2, NOON, NEXT_NOON),
    ]
    assert {one.dataset_id for one in found["bias"]} == {ids[0], ids[2]}
    assert found["flat"] == []
    # A range that only touches it leaves it as it is.
    assert look(repo, Validity(NEXT_NOON, ""))["bias"] == []
    assert len(look(repo, Validity("", ""))["bias"]) == 3
    assert await service.certified_ranges("bias", DAILY, ids) != []


def certify_request(job: str, ids: list[str]) -> CertifyRequest:
    return CertifyRequest(
        run_collection=f"u/ocps/{job}/run",
        dataset_type="bias",
        calib_collection=DAILY,
        begin_iso_tai=NOON,
        end_iso_tai=NEXT_NOON,
        dataset_ids=tuple(ids),
        verdict=Verdict.PASSED,
    )


def test_collection_or_type_that_does_not_exist_yet_has_nothing_to_replace(repo: Path) -> None:
    assert look(repo, calib_collection="u/new/calib") == {"bias": [], "flat": []}
    assert look_for_replacements(str(repo), INSTRUMENT, ["nosuchtype"], DAILY, NIGHT, [0], LIMIT_S) == {
        "nosuchtype": []
    }


def test_repository_that_is_elsewhere_is_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=f"the repository {tmp_path}/repo is not on this machine"):
        look(tmp_path / "repo")


def test_directory_that_is_no_repository_is_named_with_the_cause_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=f"the repository {tmp_path} can't be read: ") as caught:
        look(tmp_path)
    assert "\n" not in str(caught.value)


def test_repository_that_does_not_answer_is_given_up_after_the_limit(
    repo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hang = threading.Event()

    def hanging(*_: Any) -> list[ReplacedDataset]:
        hang.wait()
        return []

    monkeypatch.setattr(replacements, "certified_for_others", hanging)
    try:
        with pytest.raises(UnreachableError, match=r"did not answer within 0\.05 s"):
            look(repo, limit_s=0.05)
    finally:
        hang.set()
