# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is kept ready for ts_xml is the package's own interface, and is put where ts_xml has such things."""

from __future__ import annotations

import enum
import importlib.util
import pathlib
import subprocess
import sys
import tomllib
import types
from xml.etree import ElementTree

import pytest
from lsst.ts.comcamcalib import enums

OWN_XML = pathlib.Path(enums.__file__).parent / "sal_interfaces" / "ComCamCalib"
XML = pathlib.Path("python/lsst/ts/xml")
NEWS_TYPE = '[[tool.towncrier.type]]\ndirectory = "{}"\nname = "{}"\nshowcontent = true\n\n'


@pytest.fixture
def program(repository_root: pathlib.Path) -> pathlib.Path:
    return repository_root / "upstream" / "ts_xml" / "add_to_ts_xml.py"


@pytest.fixture
def checkout(tmp_path: pathlib.Path) -> pathlib.Path:
    """A small copy of the layout of ts_xml."""
    files = {
        XML / "data/sal_interfaces/SALSubsystems.xml": (
            "<SALSubsystemSet>\n  <SALSubsystem>\n    <Name>CCOODS</Name>\n  </SALSubsystem>\n</SALSubsystemSet>\n"
        ),
        XML / "testutils.py": 'subsystems = [\n    "CCOODS",\n    "DIMM",\n]\n',
        XML / "enums/__init__.py": "from . import (\n    DIMM,\n    AlarmRule,\n    Electrometer,\n)\n",
        XML / "enums/DIMM.py": "",
        pathlib.Path("towncrier.toml"): NEWS_TYPE.format("ccoods", "CCOODS") + NEWS_TYPE.format("dimm", "DIMM"),
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def run(program: pathlib.Path, checkout: pathlib.Path) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, str(program), str(checkout), "--ticket", "ABC-1"]
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=60)


def load(path: pathlib.Path) -> types.ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_everything_is_put_in_its_place(program: pathlib.Path, checkout: pathlib.Path) -> None:
    assert run(program, checkout).returncode == 0
    added = checkout / XML / "data/sal_interfaces/ComCamCalib"
    assert {path.name: path.read_text() for path in added.iterdir()} == {
        path.name: path.read_text() for path in OWN_XML.glob("ComCamCalib_*.xml")
    }
    subsystems = ElementTree.parse(checkout / XML / "data/sal_interfaces/SALSubsystems.xml").getroot()
    assert [entry.findtext("Name") for entry in subsystems] == ["CCOODS", "ComCamCalib"]
    assert load(checkout / XML / "testutils.py").subsystems == ["CCOODS", "ComCamCalib", "DIMM"]
    assert "    AlarmRule,\n    ComCamCalib,\n    Electrometer,\n" in (checkout / XML / "enums/__init__.py").read_text()
    types_of_news = tomllib.loads((checkout / "towncrier.toml").read_text())["tool"]["towncrier"]["type"]
    assert [entry["directory"] for entry in types_of_news] == ["ccoods", "comcamcalib", "dimm"]
    assert "ComCamCalib" in (checkout / "doc/news/interface_changes/ABC-1.comcamcalib.rst").read_text()


def test_the_enumerations_are_those_that_the_interface_declares(program: pathlib.Path, checkout: pathlib.Path) -> None:
    run(program, checkout)
    module = load(checkout / XML / "enums/ComCamCalib.py")
    declared: dict[str, list[str]] = {}
    for path in OWN_XML.glob("ComCamCalib_*.xml"):
        for element in ElementTree.parse(path).getroot().iter("Enumeration"):
            for item in (element.text or "").replace(",", " ").split():
                name, _, value = item.partition("_")
                declared.setdefault(name, []).append(value)
    assert sorted(module.__all__) == sorted(declared)
    for name, values in declared.items():
        made: type[enum.IntEnum] = getattr(module, name)
        assert {item.name: int(item) for item in made} == {value: at for at, value in enumerate(values, start=1)}
        assert {item.name: int(item) for item in made} == {item.name: int(item) for item in getattr(enums, name)}


def test_a_second_time_changes_nothing(program: pathlib.Path, checkout: pathlib.Path) -> None:
    run(program, checkout)
    before = {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()}
    assert run(program, checkout).stdout == "0 files were made or changed.\n"
    assert {path: path.read_bytes() for path in checkout.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("name", [XML / "testutils.py", pathlib.Path("towncrier.toml")])
def test_an_unknown_layout_is_refused_before_anything_is_written(
    program: pathlib.Path, checkout: pathlib.Path, name: pathlib.Path
) -> None:
    (checkout / name).write_text("something else\n")
    outcome = run(program, checkout)
    assert outcome.returncode == 1
    assert str(name) in outcome.stderr and "by hand" in outcome.stderr
    assert not (checkout / XML / "data/sal_interfaces/ComCamCalib").exists()


def test_what_is_no_ts_xml_is_refused(program: pathlib.Path, tmp_path: pathlib.Path) -> None:
    outcome = run(program, tmp_path)
    assert outcome.returncode == 1
    assert "is not a checkout of ts_xml" in outcome.stderr
