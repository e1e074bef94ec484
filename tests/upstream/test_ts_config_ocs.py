# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes into ts_config_ocs: the configuration with its test, and the Watcher's rules."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from lsst.ts.comcamcalib.publisher import to_fields
from lsst.ts.comcamcalib.record.events import Alarms
from support.interface import topics

ROOT = Path(__file__).parents[2]
OURS = ROOT / "upstream" / "ts_config_ocs"
SITES = ("summit", "base", "tucson")

# What ts_watcher's schema of the rule GenericBoolean takes and needs.
GENERIC_BOOLEAN = {"rule_name", "remote_name", "remote_index", "callback_name", "alarm_items", "severity"}
SEVERITIES = ("WARNING", "SERIOUS", "CRITICAL")


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A ts_config_ocs with nothing but what we add to it."""
    shutil.copytree(ROOT / "config" / "ComCamCalib", tmp_path / "ComCamCalib")
    shutil.copytree(OURS / "tests", tmp_path / "tests", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def run_tests(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "unittest", "discover", "--start-directory", "tests"]
    return subprocess.run(command, cwd=checkout, capture_output=True, text=True, check=False, timeout=120)


def test_every_sites_configuration_is_valid_there(checkout: Path) -> None:
    outcome = run_tests(checkout)
    assert outcome.returncode == 0, outcome.stderr
    assert "Ran 1 test" in outcome.stderr


@pytest.mark.parametrize("site", SITES)
def test_a_mistake_in_a_sites_file_fails_its_test(checkout: Path, site: str) -> None:
    path = checkout / "ComCamCalib" / "v1" / f"_{site}.yaml"
    path.write_text(path.read_text() + "max_job: 4\n")
    outcome = run_tests(checkout)
    assert outcome.returncode == 1
    assert path.name in outcome.stderr and "max_job" in outcome.stderr


def test_each_site_has_its_configuration_and_its_rules() -> None:
    names = {f"_{site}.yaml" for site in SITES}
    assert names <= {path.name for path in (ROOT / "config" / "ComCamCalib" / "v1").iterdir()}
    assert names == {path.name for path in (OURS / "Watcher" / "v6").iterdir()}


# The Watcher


def rules_of(site: str) -> dict[str, list[dict[str, Any]]]:
    content = yaml.safe_load((OURS / "Watcher" / "v6" / f"_{site}.yaml").read_text())
    assert list(content) == ["rules"]
    assert all(set(rule) == {"classname", "configs"} for rule in content["rules"])
    rules = {rule["classname"]: rule["configs"] for rule in content["rules"]}
    assert len(rules) == len(content["rules"])
    return rules


@pytest.mark.parametrize("site", SITES)
def test_state_and_heartbeat_are_watched(site: str) -> None:
    rules = rules_of(site)
    assert set(rules) == {"Enabled", "Heartbeat", "GenericBoolean"}
    assert rules["Enabled"] == rules["Heartbeat"] == [{"name": "ComCamCalib"}]


@pytest.mark.parametrize("site", SITES)
def test_each_alarm_of_the_interface_has_a_rule_of_its_own(site: str) -> None:
    rules = rules_of(site)["GenericBoolean"]
    assert all(set(rule) == GENERIC_BOOLEAN for rule in rules)
    assert {(rule["remote_name"], rule["remote_index"]) for rule in rules} == {("ComCamCalib", 0)}
    events = topics("Events")
    watched = []
    for rule in rules:
        fields = events[rule["callback_name"].removeprefix("evt_")]
        (item,) = rule["alarm_items"]
        assert item["alarm_value"] is True
        assert fields[item["item_name"]].findtext("IDL_Type") == "boolean"
        watched.append((rule["callback_name"], item["item_name"]))
    alarms = [name for name, field in events["alarms"].items() if field.findtext("IDL_Type") == "boolean"]
    assert len(alarms) == 6
    assert sorted(watched) == sorted(("evt_alarms", name) for name in alarms)
    # The name of the rule is all that tells an alarm from the others.
    assert len({rule["rule_name"] for rule in rules}) == len(rules)


@pytest.mark.parametrize("site", SITES)
def test_what_may_lose_a_calibration_is_serious_and_nothing_wakes_people(site: str) -> None:
    severity = {rule["alarm_items"][0]["item_name"]: rule["severity"] for rule in rules_of(site)["GenericBoolean"]}
    assert set(severity.values()) <= set(SEVERITIES)
    # Only critical alarms are escalated.
    assert "CRITICAL" not in severity.values()
    assert {name for name, value in severity.items() if value == "SERIOUS"} == {
        "certificationFailed",
        "journalDegraded",
    }


def test_all_sites_have_the_same_rules() -> None:
    assert rules_of("summit") == rules_of("base") == rules_of("tucson")


def test_a_csc_at_peace_raises_no_alarm_and_each_trouble_raises_one() -> None:
    def raised(event: dict[str, Any]) -> list[str]:
        """What the rule does: an item that has its value raises the alarm."""
        return [
            rule["rule_name"]
            for rule in rules_of("summit")["GenericBoolean"]
            if any(event[item["item_name"]] == item["alarm_value"] for item in rule["alarm_items"])
        ]

    peace = to_fields(Alarms())
    assert raised(peace) == []
    for name in [name for name, value in peace.items() if isinstance(value, bool)]:
        assert len(raised(peace | {name: True})) == 1
