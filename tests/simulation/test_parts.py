# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which parts of an observatory run, and where the others are."""

from __future__ import annotations

import pytest
from lsst.ts.comcamcalib.simulation.parts import PARTS, address_of_other, parts_without

ADDRESSES = {
    "UWS": "COMCAMCALIB_UWS_URL",
    "broker": "LSST_KAFKA_BROKER_ADDR",
    "registry": "LSST_SCHEMA_REGISTRY_URL",
}


def test_all_parts_run_unless_they_are_left_out() -> None:
    assert parts_without([]) == set(PARTS)
    assert parts_without(["OCPS", "CCCamera", "OCPS"]) == set(PARTS) - {"OCPS", "CCCamera"}


@pytest.mark.parametrize("name", ["ocps", "OCPS", "Ocps"])
def test_capitals_do_not_matter(name: str) -> None:
    assert "OCPS" not in parts_without([name])


@pytest.mark.parametrize("names", [["OCPS:2", "camera"], ["OCPS:2", "OCPS", "camera"]])
def test_all_wrong_names_are_told_with_the_right_ones(names: list[str]) -> None:
    with pytest.raises(
        ValueError, match=r"no part OCPS:2, camera\. Its parts are: CCCamera, .*, UWS, broker, registry"
    ):
        parts_without(names)


@pytest.mark.parametrize(("part", "variable"), ADDRESSES.items())
def test_other_server_needs_an_address(monkeypatch: pytest.MonkeyPatch, part: str, variable: str) -> None:
    for address in (None, ""):
        if address is None:
            monkeypatch.delenv(variable, raising=False)
        else:
            monkeypatch.setenv(variable, address)
        with pytest.raises(
            ValueError, match=f"Without a {part} of its own .* set the environment variable {variable} "
        ):
            parts_without([part])
    monkeypatch.setenv(variable, "http://elsewhere/api/v1")
    assert part not in parts_without([part])
    assert address_of_other(part) == "http://elsewhere/api/v1"
