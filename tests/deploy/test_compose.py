# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The test stand without Kubernetes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def stand() -> dict[str, Any]:
    stand: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text())
    return stand


def test_everything_listens_on_this_machine_only(stand: dict[str, Any]) -> None:
    ports = [port for one in stand["services"].values() for port in one.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_each_service_waits_until_those_that_it_needs_are_healthy(stand: dict[str, Any]) -> None:
    needed = {name for one in stand["services"].values() for name in one.get("depends_on", {})}
    assert needed == {"broker", "registry"}
    assert all("healthcheck" in stand["services"][name] for name in needed)
    assert stand["services"]["csc"]["depends_on"]["registry"]["condition"] == "service_healthy"


def test_csc_writes_to_the_journals_volume_and_tmp_only(stand: dict[str, Any]) -> None:
    csc = stand["services"]["csc"]
    assert csc["read_only"] is True
    assert csc["tmpfs"] == ["/tmp"]
    assert csc["volumes"] == ["journal:/var/lib/comcamcalib"]
    assert "journal" in stand["volumes"]


def test_the_page_is_published_at_the_port_that_is_configured(
    stand: dict[str, Any], read_site: Callable[[str], dict[str, Any]]
) -> None:
    csc = stand["services"]["csc"]
    site = csc["environment"]["LSST_SITE"].removeprefix("${LSST_SITE:-").removesuffix("}")
    page = read_site(site)["page"]
    assert page["address"] == "0.0.0.0", "an address of the container's own could not be reached from outside"
    assert csc["ports"] == [f"127.0.0.1:{page['port']}:{page['port']}"]


def test_images_are_named_with_their_versions(stand: dict[str, Any]) -> None:
    for name in ("broker", "registry"):
        assert not stand["services"][name]["image"].endswith(":latest")
        assert stand["services"][name]["image"].count(":") == 1
