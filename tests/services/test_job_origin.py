# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether two names mean the same repository."""

from __future__ import annotations

from pathlib import Path

import pytest
from lsst.ts.comcamcalib.services.job_origin import foreign_repository, same_repository
from support.job_world import uws_job


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("/repo/LSSTComCam", "/repo/LSSTComCam", True),
        ("/repo/LSSTComCam/", "/repo/LSSTComCam", True),
        ("/repo/LSSTComCam/butler.yaml", "file:///repo/LSSTComCam", True),
        ("/repo/../repo/LSSTComCam", "/repo/LSSTComCam", True),
        ("s3://bucket/repo", "s3://bucket/repo/", True),
        ("/repo/LSSTComCam", "/repo/LATISS", False),
        ("/repo/LSSTComCam", "/repo/LSSTComCam2", False),
        ("s3://bucket/repo", "s3://other/repo", False),
        ("/repo/LSSTComCam/butler+sasquatch.yaml", "/repo/LSSTComCam", True),
        ("/repo/LATISS/butler+sasquatch.yaml", "/repo/LSSTComCam/butler+sasquatch.yaml", False),
        ("no_such_alias", "no_such_alias", True),
        ("no_such_alias", "/repo/LSSTComCam", None),
        ("LSSTComCam", "/repo/LSSTComCam", None),
        ("s3://bucket/repo", "/repo/LSSTComCam", None),
    ],
)
def test_forms_of_a_name(one: str, other: str, same: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAF_BUTLER_REPOSITORY_INDEX", raising=False)
    assert same_repository(one, other) is same
    assert same_repository(other, one) is same


def test_a_link_is_the_repository_that_it_leads_to(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert same_repository(str(tmp_path / "link"), str(tmp_path / "real"))
    (tmp_path / "copy").mkdir()
    assert same_repository(str(tmp_path / "copy"), str(tmp_path / "real")) is False


def test_an_alias_of_butler_s_index_is_the_repository_that_it_stands_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "data-repos.yaml"
    index.write_text("LSSTComCam: /repo/LSSTComCam\nLATISS: /repo/LATISS\n")
    monkeypatch.setenv("DAF_BUTLER_REPOSITORY_INDEX", str(index))
    assert same_repository("LSSTComCam", "/repo/LSSTComCam")
    assert same_repository("LATISS", "/repo/LSSTComCam") is False
    assert same_repository("nobody", "/repo/LSSTComCam") is None


def test_an_alias_that_this_machine_does_not_know_proves_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert foreign_repository(uws_job("a", butler_repo="nobody"), "/repo/LSSTComCam") == ""
    assert "Job a works on the repository nobody. Whether that is /repo/LSSTComCam" in caplog.text


def test_what_is_not_told_can_not_be_compared() -> None:
    assert foreign_repository(uws_job("a"), "/repo/LSSTComCam") == ""
    assert foreign_repository(uws_job("a", butler_repo="/repo/LATISS"), "") == ""
