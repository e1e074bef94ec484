# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into LOVE: a producer, a place in the hierarchy, and a view, in the form that LOVE takes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from xml.etree import ElementTree

import pytest
import yaml
from lsst.ts.comcamcalib.sal_interfaces.parts import COMPONENT, subsystem_entry

UPSTREAM = Path(__file__).parents[2] / "upstream"
HOSTS = {
    "summit": "summit-lsp.lsst.codes",
    "base": "base-lsp.lsst.codes",
    "tucson-teststand": "tucson-teststand.lsst.codes",
}

# What LOVE's models and components take.
NAME_LIMIT = 20
SCREENS = ("4k", "desktop", "mobile")
COMMON = {"link", "margin", "titleBar", "hasRawMode", "title"}
SETTINGS = {
    "EmbeddedView": COMMON | {"url"},
    "CSCExpanded": COMMON | {"name", "salindex"},
    "EventLog": COMMON | {"cscList"},
}


def view_of(site: str) -> dict[str, Any]:
    view: dict[str, Any] = json.loads((UPSTREAM / "love" / f"view-{site}.json").read_text())
    return view


def panels(site: str) -> dict[str, dict[str, Any]]:
    return {panel["content"]: panel for panel in view_of(site)["data"]["content"].values()}


def test_the_component_has_no_index() -> None:
    assert ElementTree.fromstring(subsystem_entry()).findtext("IndexEnumeration") == "no"


@pytest.mark.parametrize("site", HOSTS)
def test_each_site_has_a_producer(site: str) -> None:
    content = yaml.safe_load((UPSTREAM / "phalanx" / "applications" / "love" / f"values-{site}.yaml").read_text())
    (producer,) = content["love-producer"]["producers"]
    assert set(producer) == {"name", "csc", "WEBSOCKET_HOST"}
    # It becomes the name of a Kubernetes object.
    assert re.fullmatch("[a-z0-9]([a-z0-9-]*[a-z0-9])?", producer["name"])
    assert producer["csc"].split()[0] == f"{COMPONENT}:0"
    assert producer["WEBSOCKET_HOST"].endswith("/ws/subscription")


def test_the_hierarchy_has_the_component() -> None:
    lines = (UPSTREAM / "love" / "Config.js").read_text().splitlines()
    assert [line for line in lines if not line.startswith("//")] == [f"{{ name: '{COMPONENT}', salindex: 0 }},"]


@pytest.mark.parametrize("site", HOSTS)
def test_view_has_the_form_that_love_takes(site: str) -> None:
    view = view_of(site)
    assert set(view) == {"name", "screen", "data"}
    assert 0 < len(view["name"]) <= NAME_LIMIT
    assert view["screen"] in SCREENS
    assert set(view["data"]) == {"properties", "content"}
    container = view["data"]["properties"]
    assert (container["type"], container["cols"], container["i"]) == ("container", 100, 0)
    for panel in view["data"]["content"].values():
        assert set(panel) == {"content", "config", "properties"}
        assert set(panel["config"]) == SETTINGS[panel["content"]]
        assert set(panel["properties"]) == {"type", "i", "x", "y", "w", "h"}
        assert panel["properties"]["type"] == "component"


@pytest.mark.parametrize("site", HOSTS)
def test_panels_have_their_own_place(site: str) -> None:
    places = [panel["properties"] for panel in view_of(site)["data"]["content"].values()]
    assert sorted(place["i"] for place in places) == [1, 2, 3]
    assert all(place["x"] + place["w"] <= 100 for place in places)
    for one, other in combinations(places, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above


@pytest.mark.parametrize("site", HOSTS)
def test_view_shows_the_page_of_its_site_and_the_component(site: str) -> None:
    shown = panels(site)
    assert set(shown) == set(SETTINGS)
    address = urlsplit(shown["EmbeddedView"]["config"]["url"])
    # The page's links are relative: without the slash at the end they would lead out of it.
    assert (address.scheme, address.hostname, address.path) == ("https", HOSTS[site], "/comcamcalib/")
    expanded = shown["CSCExpanded"]["config"]
    assert (expanded["name"], expanded["salindex"]) == (COMPONENT, 0)
    assert shown["EventLog"]["config"]["cscList"][0] == {"name": COMPONENT, "salindex": 0}


@pytest.mark.parametrize("site", HOSTS)
def test_the_page_lets_love_show_it(site: str, read_site: Callable[[str], dict[str, Any]]) -> None:
    """LOVE has the same host as the page, but the page is asked for its own permission."""
    page = read_site(site.removesuffix("-teststand"))["page"]
    assert page["address"]
    assert f"https://{HOSTS[site]}" in page["frame_ancestors"]


def test_the_log_shows_the_components_that_a_run_needs(config_values: dict[str, Any]) -> None:
    instrument = config_values["instrument"]
    logged = {(one["name"], one["salindex"]) for one in panels("summit")["EventLog"]["config"]["cscList"]}
    needed = {instrument["camera"], *instrument["oods"]}
    assert logged == {(COMPONENT, 0), ("OCPS", instrument["ocps_index"]), *((name, 0) for name in needed)}
