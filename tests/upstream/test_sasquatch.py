# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into the observatory's chart of Sasquatch, and the dashboard: every topic and field is in the interface."""

from __future__ import annotations

import json
import re
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from lsst.ts.comcamcalib.config import CscConfig
from lsst.ts.comcamcalib.enums import CalibType, CertificationState, RunState, StageState, Verdict
from lsst.ts.comcamcalib.services.uws_job import Phase
from support.interface import topics

UPSTREAM = Path(__file__).parents[2] / "upstream"
SASQUATCH = UPSTREAM / "phalanx" / "applications" / "sasquatch"

# The components of ts_xml 27.
COMPONENTS = re.findall(
    r"\w+",
    """
    AlarmRule ATAOS ATBuilding ATCamera ATDome ATDomeTrajectory ATHeaderService ATHexapod ATMCS
    ATMonochromator ATOODS ATPneumatics ATPtg ATSpectrograph ATWhiteLight CBP CCCamera CCHeaderService
    CCOODS DIMM DREAM DSM EAS Electrometer ESS FiberSpectrograph GCHeaderService
    GenericCamera GIS Guider HVAC LaserTracker LEDProjector LinearStage LOVE MOSS
    MTAirCompressor MTAOS MTCamera MTDome MTDomeTrajectory MTHeaderService MTHexapod MTM1M3 MTM1M3TS
    MTM2 MTMount MTOODS MTPtg MTReflector MTRotator MTVMS OCPS PMD
    Scheduler Script ScriptQueue SummitFacility Test TunableLaser Watcher WeatherForecast WFOODS
    """,
)


def own_topics() -> list[str]:
    prefixes = {"Commands": "command_", "Events": "logevent_", "Telemetry": ""}
    return ["ackcmd", *(f"{prefixes[kind]}{name}" for kind in prefixes for name in topics(kind))]


def consumers(site: str) -> dict[str, dict[str, Any]]:
    """Return all consumers of a site's file by name."""
    content = yaml.safe_load((SASQUATCH / f"values-{site}.yaml").read_text())
    assert all(set(part) == {"kafkaConsumers"} for part in content.values())
    return {name: one for part in content.values() for name, one in part["kafkaConsumers"].items()}


# Consumers


@pytest.mark.parametrize(
    ("site", "prefix"),
    [("summit", ""), ("base", ""), ("tucson-teststand", ""), ("usdfprod", "summit.")],
)
def test_all_our_topics_come_into_the_efd_and_nobody_elses(site: str, prefix: str) -> None:
    found = consumers(site)
    assert found
    for consumer in found.values():
        assert consumer["enabled"] is True
        assert consumer["database"] == "efd"
        (expression,) = consumer["topicRegexps"]
        mine = [f"{prefix}lsst.sal.ComCamCalib.{name}" for name in own_topics()]
        assert len(mine) > 15
        assert all(re.search(expression, name) for name in mine)
        others = [f"{prefix}lsst.sal.{name}.logevent_summaryState" for name in COMPONENTS]
        assert not any(re.search(expression, name) for name in others)


def test_no_other_consumer_takes_our_topics_too() -> None:
    """Their expressions are the names of components, and are found anywhere in a topic."""
    taken = [name for name in COMPONENTS if re.search(f"lsst.sal.{name}", "lsst.sal.ComCamCalib.logevent_runState")]
    assert taken == []


def test_both_databases_of_the_copy_are_written() -> None:
    assert list(consumers("usdfprod")) == ["comcamcalib", "standby-comcamcalib"]


# The dashboard

DASHBOARD: dict[str, Any] = json.loads((UPSTREAM / "chronograf" / "dashboard.json").read_text())["dashboard"]
CELLS = {cell["name"]: cell for cell in DASHBOARD["cells"]}
QUERIES = [(name, query["query"]) for name, cell in CELLS.items() for query in cell["queries"]]
SOURCE = re.compile(r'FROM "efd"\."autogen"\."lsst\.sal\.ComCamCalib\.(\w+)"')


def fields_of(topic: str) -> set[str]:
    kind, name = ("Events", topic.removeprefix("logevent_")) if topic.startswith("logevent_") else ("Telemetry", topic)
    return set(topics(kind)[name])


def identifiers(text: str) -> set[str]:
    """Return the fields that a part of a query names, without the names that it gives."""
    return set(re.findall(r'"(\w+)"', re.sub(r'AS "\w+"', "", text)))


@pytest.mark.parametrize(("cell", "query"), QUERIES)
def test_each_query_reads_fields_that_the_interface_has(cell: str, query: str) -> None:
    match = SOURCE.search(query)
    assert match, f"{cell} reads no topic of ComCamCalib"
    named = identifiers(query[: match.start()]) | identifiers(query[match.end() :])
    assert named
    assert named <= fields_of(match[1])
    assert "time > :dashboardTime: AND time < :upperDashboardTime:" in query


def test_identifiers_are_found() -> None:
    assert identifiers('SELECT ("a" - "b") / 60 AS "BIAS"') == {"a", "b"}


def test_tables_show_the_columns_that_they_read() -> None:
    tables = [cell for cell in CELLS.values() if cell["type"] == "table"]
    assert len(tables) > 5
    for cell in tables:
        (query,) = (one["query"] for one in cell["queries"])
        selected = re.findall(r'"(\w+)"', query.partition(" FROM ")[0])
        assert [option["internalName"] for option in cell["fieldOptions"]] == ["time", *selected]


def test_the_dashboard_has_what_people_look_for() -> None:
    read = {match[1] for _, query in QUERIES if (match := SOURCE.search(query))}
    assert read >= {
        "logevent_runState",
        "logevent_verificationResult",
        "logevent_detectorMeasurement",
        "logevent_detectorVerification",
        "logevent_jobState",
        "logevent_certification",
        "logevent_alarms",
    }


def test_trends_have_a_line_for_each_detector(config: CscConfig) -> None:
    trends = [cell for cell in CELLS.values() if any("detectorName" in one["query"] for one in cell["queries"])]
    assert len(trends) >= 4
    names = [detector.name for detector in config.instrument.detectors]
    for cell in trends:
        assert [re.findall(r"\"detectorName\" = '(\w+)'", one["query"]) for one in cell["queries"]] == [
            [name] for name in names
        ]


def test_numbers_and_words_mean_what_the_enumerations_say() -> None:
    (template,) = DASHBOARD["templates"]
    assert {value["key"]: int(value["value"]) for value in template["values"]} == {
        item.name: int(item) for item in CalibType
    }
    assert [value["key"] for value in template["values"] if value["selected"]] == ["BIAS"]
    for cell, enum in (("Runs", RunState), ("Verdicts", Verdict), ("Certifications", CertificationState)):
        assert ", ".join(f"{int(item)} {item.name}" for item in enum) in CELLS[cell]["note"]

    def query(cell: str) -> str:
        return str(CELLS[cell]["queries"][0]["query"])

    assert f'"state" = {int(StageState.FAILED)}' in query("Stages that failed")
    assert f"\"phase\" != '{Phase.COMPLETED}'" in query("Jobs that failed")
    assert f'"calibType" = {int(CalibType.DARK)}' in query("Dark current")
    assert f'"calibType" = {int(CalibType.PTC)}' in query("Gain (photon transfer curve)")
    assert f'"calibType" = {int(CalibType.DEFECTS)}' in query("Fraction of pixels that are defects")
    durations = [re.findall(r'"calibType" = (\d).*', one["query"]) for one in CELLS["Duration of jobs"]["queries"]]
    assert durations == [[str(int(item))] for item in CalibType]


def test_cells_have_only_values_that_chronograf_takes() -> None:
    """It refuses a whole dashboard for a single other one."""
    for cell in DASHBOARD["cells"]:
        assert cell["noteVisibility"] in ("default", "showWhenNoData")
        assert cell["type"] in ("line", "line-stacked", "bar", "line-plus-single-stat", "single-stat", "table", "note")
        for color in cell["colors"]:
            assert color["type"] in ("max", "min", "threshold", "text", "background", "scale")
            assert re.fullmatch("#[0-9A-F]{6}", color["hex"])
        for axis in cell["axes"].values():
            assert axis["scale"] in ("linear", "log", "") and axis["base"] in ("10", "2", "", "raw")
        assert all(query["type"] == "influxql" for query in cell["queries"])


def test_cells_have_their_own_place() -> None:
    cells = list(CELLS.values())
    assert len(cells) == len(DASHBOARD["cells"]) == len({cell["i"] for cell in cells})
    for cell in cells:
        assert cell["x"] >= 0 and cell["w"] > 0 and cell["h"] > 0
        assert cell["x"] + cell["w"] <= 12, "Chronograf's grid has 12 columns"
    for one, other in combinations(cells, 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        above = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or above, f"{one['name']} is over {other['name']}"
