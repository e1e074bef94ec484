# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface is added to an installed ts_xml, and taken out again without a trace."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from lsst.ts.comcamcalib.sal_interfaces import install as module
from lsst.ts.comcamcalib.sal_interfaces.install import (
    check_interface,
    install_interface,
    interface_problem,
    remove_interface,
)

SUBSYSTEMS = """<?xml version="1.0" encoding="UTF-8"?>
<!-- Kept as it is: é, <b>, and no newline at the end -->
<SALSubsystemSet>
  <SALSubsystem>
    <Name>Test</Name>
    <Description>Component for tests</Description>
    <AddedGenerics>csc</AddedGenerics>
  </SALSubsystem>
</SALSubsystemSet>"""


@pytest.fixture(params=["\n", "\r\n"], ids=["unix", "windows"])
def directory(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small sal_interfaces directory."""
    directory = tmp_path / "sal_interfaces"
    (directory / "Test").mkdir(parents=True)
    (directory / "Test" / "Test_Events.xml").write_text("<SALEventSet/>")
    (directory / "SALSubsystems.xml").write_bytes(SUBSYSTEMS.replace("\n", request.param).encode())
    return directory


def content(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_interface_that_is_not_there_is_told(directory: Path) -> None:
    differences = check_interface(directory)
    assert differences[0] == f"{directory}/SALSubsystems.xml does not name ComCamCalib"
    assert f"{directory}/ComCamCalib/ComCamCalib_Events.xml is missing" in differences
    assert len(differences) == 4


def test_installed_interface_is_complete_and_the_rest_is_untouched(directory: Path) -> None:
    before = content(directory)
    assert install_interface(directory) is True
    assert check_interface(directory) == []
    after = content(directory)
    assert {name for name in after if name.startswith("ComCamCalib")} == {
        f"ComCamCalib/ComCamCalib_{kind}.xml" for kind in ("Commands", "Events", "Telemetry")
    }
    assert after["Test/Test_Events.xml"] == before["Test/Test_Events.xml"]
    names = [one.findtext("Name") for one in ET.fromstring(after["SALSubsystems.xml"]).findall("SALSubsystem")]
    assert names == ["Test", "ComCamCalib"]


def test_csc_without_its_interface_says_what_to_do(directory: Path) -> None:
    problem = interface_problem(directory)
    assert "SALSubsystems.xml does not name ComCamCalib" in problem
    assert problem.endswith("comcamcalib interface install")
    install_interface(directory)
    assert interface_problem(directory) == ""


def test_installing_twice_changes_nothing(directory: Path) -> None:
    install_interface(directory)
    once = content(directory)
    assert install_interface(directory) is False
    assert content(directory) == once


def test_removing_restores_everything_byte_for_byte(directory: Path) -> None:
    before = content(directory)
    mode = (directory / "SALSubsystems.xml").stat().st_mode
    install_interface(directory)
    assert remove_interface(directory) is True
    assert content(directory) == before
    assert (directory / "SALSubsystems.xml").stat().st_mode == mode
    assert not (directory / "ComCamCalib").exists()
    assert remove_interface(directory) is False


def test_entry_of_an_older_release_is_told_and_replaced(directory: Path) -> None:
    before = content(directory)
    install_interface(directory)
    path = directory / "SALSubsystems.xml"
    path.write_bytes(path.read_bytes().replace(b"calibrations</Description>", b"images</Description>"))
    (directory / "ComCamCalib" / "ComCamCalib_Events.xml").write_text("<SALEventSet/>")
    (directory / "ComCamCalib" / "ComCamCalib_Old.xml").write_text("<x/>")
    assert check_interface(directory) == [
        f"{path} has another entry for ComCamCalib",
        f"{directory}/ComCamCalib/ComCamCalib_Events.xml differs from this package's ComCamCalib_Events.xml",
    ]
    assert install_interface(directory) is True
    assert check_interface(directory) == []
    assert not (directory / "ComCamCalib" / "ComCamCalib_Old.xml").exists()
    remove_interface(directory)
    assert content(directory) == before


def make_upstream(directory: Path) -> None:
    """Let ts_xml have the component by itself."""
    install_interface(directory)
    path = directory / "SALSubsystems.xml"
    text = path.read_bytes().decode()
    path.write_bytes(text.replace(module._BEGIN, "").replace(module._END, "").encode())


def test_component_that_ts_xml_has_by_itself_is_left_alone(directory: Path) -> None:
    make_upstream(directory)
    before = content(directory)
    assert check_interface(directory) == []
    assert install_interface(directory) is False
    assert remove_interface(directory) is False
    assert content(directory) == before


def test_component_of_ts_xml_that_differs_is_refused_and_left_alone(directory: Path) -> None:
    make_upstream(directory)
    (directory / "ComCamCalib" / "ComCamCalib_Events.xml").write_text("<SALEventSet/>")
    before = content(directory)
    assert interface_problem(directory) == "", "ts_xml's own decides what goes over the wire"
    with pytest.raises(RuntimeError, match=r"has its own ComCamCalib, and it differs .*ComCamCalib_Events.xml differs"):
        install_interface(directory)
    assert content(directory) == before


def test_directory_that_can_not_be_written_is_left_as_it_was(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = content(directory)
    if os.geteuid() == 0:  # root may write everywhere

        def refuse(*_args: object, **_options: object) -> None:
            raise PermissionError(13, "Permission denied", str(directory))

        monkeypatch.setattr(Path, "mkdir", refuse)
    else:
        directory.chmod(0o555)
    with pytest.raises(PermissionError):
        install_interface(directory)
    directory.chmod(0o755)
    assert content(directory) == before


def test_half_an_installation_is_told_and_completed(directory: Path) -> None:
    """The process died after it had put the files there."""
    before = content(directory)
    install_interface(directory)
    (directory / "SALSubsystems.xml").write_bytes(before["SALSubsystems.xml"])
    assert check_interface(directory) == [f"{directory}/SALSubsystems.xml does not name ComCamCalib"]
    assert install_interface(directory) is True
    assert check_interface(directory) == []
    (directory / "SALSubsystems.xml").write_bytes(before["SALSubsystems.xml"])
    assert remove_interface(directory) is True
    assert content(directory) == before


@pytest.mark.parametrize("text", ["<SALSubsystemSet>", ""])
def test_damaged_list_of_components_is_not_written_to(directory: Path, text: str) -> None:
    (directory / "SALSubsystems.xml").write_text(text)
    with pytest.raises(RuntimeError, match="has no </SALSubsystemSet>"):
        install_interface(directory)
    assert (directory / "SALSubsystems.xml").read_text() == text


def test_mark_without_its_end_is_not_taken_out_by_guessing(directory: Path) -> None:
    install_interface(directory)
    path = directory / "SALSubsystems.xml"
    path.write_bytes(path.read_bytes().replace(module._END.encode(), b""))
    before = content(directory)
    with pytest.raises(RuntimeError, match="without its end"):
        remove_interface(directory)
    assert content(directory) == before


def test_installed_ts_xml_is_the_default(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_interfaces_dir", lambda: directory)
    assert install_interface() is True
    assert check_interface() == []
    assert remove_interface() is True


# The whole package


MODULES = {
    "plain": ('subsystems = [\n    "Test",\n]\n\ngeneric_commands = ["start"]\n', "from . import (\n    Test,\n)\n"),
    "no_last_line_end": ('names: list[str] = []\nsubsystems: list[str] = ["Test"]', "from . import Test"),
    "windows": ('"""é"""\r\nsubsystems = [\r\n    "Test"\r\n]\r\n', "from . import Test\r\n"),
    "twice": ('subsystems = []\n\nsubsystems = ["Test"]  # the list\nafter = 1', "from . import Test\n\n\n"),
}


@pytest.fixture(params=list(MODULES))
def package(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A small lsst.ts.xml with the layout of the original."""
    package = tmp_path / "ts_xml_copy"
    testutils, enums = MODULES[request.param]
    files = {
        "__init__.py": "from .testutils import *\n",
        "testutils.py": testutils,
        "get_component_info.py": "from . import subsystems\n\nVALID_COMPONENT_NAMES = set(subsystems)\n",
        "enums/__init__.py": enums,
        "enums/Test.py": "",
        "data/sal_interfaces/SALSubsystems.xml": SUBSYSTEMS,
        "data/sal_interfaces/Test/Test_Events.xml": "<SALEventSet/>",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_bytes(text.encode())
    return package


def sources(package: Path) -> dict[str, bytes]:
    """All files and folders, but what Python compiles for itself of files that stay."""
    return {
        str(path.relative_to(package)): path.read_bytes() if path.is_file() else b""
        for path in package.rglob("*")
        if "__pycache__" not in path.parts or "ComCamCalib" in path.name
    }


def imported(package: Path) -> list[str]:
    """What another program sees that imports the package."""
    program = (
        "import json, ts_xml_copy, ts_xml_copy.enums\n"
        "from ts_xml_copy.get_component_info import VALID_COMPONENT_NAMES\n"
        "enums = getattr(ts_xml_copy.enums, 'ComCamCalib', None)\n"
        "print(json.dumps([ts_xml_copy.subsystems, sorted(VALID_COMPONENT_NAMES), enums and enums.RunState.ABORTED]))"
    )
    arguments = [sys.executable, "-c", program]
    outcome = subprocess.run(arguments, cwd=package.parent, capture_output=True, text=True, timeout=60, check=False)
    assert outcome.returncode == 0, outcome.stderr
    found: list[str] = json.loads(outcome.stdout)
    return found


def test_other_programs_see_the_component_in_the_list_and_its_enumerations(package: Path) -> None:
    directory = package / "data" / "sal_interfaces"
    before = sources(package)
    assert imported(package) == [["Test"], ["Test"], None]
    assert install_interface(directory) is True
    assert check_interface(directory) == []
    assert imported(package) == [["Test", "ComCamCalib"], ["ComCamCalib", "Test"], 6]
    assert install_interface(directory) is False
    assert remove_interface(directory) is True
    assert imported(package) == [["Test"], ["Test"], None]
    assert sources(package) == before
    assert remove_interface(directory) is False


def test_each_part_that_is_not_there_is_told(package: Path) -> None:
    directory = package / "data" / "sal_interfaces"
    differences = check_interface(directory)
    assert len(differences) == 7
    assert f"{package}/testutils.py does not name ComCamCalib" in differences
    assert f"{package}/enums/__init__.py does not name ComCamCalib" in differences
    assert f"{package}/enums/ComCamCalib.py is missing" in differences


@pytest.mark.parametrize("name", ["testutils.py", "enums/__init__.py", "enums/ComCamCalib.py"])
def test_an_installation_of_the_interface_alone_is_told_and_completed(package: Path, name: str) -> None:
    """An older release of this package added only the XML; or ts_xml was installed again over it."""
    directory = package / "data" / "sal_interfaces"
    before = sources(package)
    install_interface(directory)
    complete = sources(package)
    if name in before:
        (package / name).write_bytes(before[name])
    else:
        (package / name).unlink()
    (difference,) = check_interface(directory)
    assert difference.startswith(f"{package}/{name} ")
    assert interface_problem(directory) == "", "the CSC itself does not need the list"
    assert install_interface(directory) is True
    assert sources(package) == complete
    remove_interface(directory)
    assert sources(package) == before


def test_lines_of_an_older_release_are_told_and_replaced(package: Path) -> None:
    directory = package / "data" / "sal_interfaces"
    before = sources(package)
    install_interface(directory)
    complete = sources(package)
    for name in ("testutils.py", "enums/ComCamCalib.py"):
        path = package / name
        path.write_bytes(
            path.read_bytes().replace(b"ComCamCalib", b"ComCamCalibration", 2).replace(b"ABORTED", b"STOPPED")
        )
        if name == "testutils.py":
            path.write_bytes(complete[name].replace(b'append("ComCamCalib")', b'extend(["ComCamCalib"])'))
    assert check_interface(directory) == [
        f"{package}/testutils.py has another entry for ComCamCalib",
        f"{package}/enums/ComCamCalib.py differs from this package's ComCamCalib.py",
    ]
    install_interface(directory)
    assert sources(package) == complete
    remove_interface(directory)
    assert sources(package) == before


@pytest.mark.parametrize(
    ("testutils", "sentence"),
    [
        ("names = []\n", "has no list subsystems: this release of lsst.ts.xml keeps its components in a way"),
        ("subsystems = tuple(['Test'])\n", "has no list subsystems"),
        ("subsystems = [\n", "can't be read as Python"),
        (None, "is missing"),
    ],
)
def test_an_unknown_layout_is_refused_before_anything_is_written(
    package: Path, testutils: str | None, sentence: str
) -> None:
    (package / "testutils.py").unlink()
    if testutils is not None:
        (package / "testutils.py").write_text(testutils)
    before = sources(package)
    with pytest.raises(RuntimeError, match=rf"testutils.py {sentence}"):
        install_interface(package / "data" / "sal_interfaces")
    assert sources(package) == before


@pytest.mark.parametrize("name", [".", "enums", "data/sal_interfaces"])
def test_a_folder_that_can_not_be_written_is_named_and_nothing_is_changed(
    package: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = package / "data" / "sal_interfaces"
    locked = package / name
    real = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and real(path, mode))
    before = sources(package)
    with pytest.raises(PermissionError, match=f"{locked} can't be written by this user; nothing was changed"):
        install_interface(directory)
    assert sources(package) == before
    monkeypatch.setattr(os, "access", real)
    install_interface(directory)
    installed = sources(package)
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != locked and real(path, mode))
    with pytest.raises(PermissionError, match="nothing was changed"):
        remove_interface(directory)
    assert sources(package) == installed


def test_a_ts_xml_that_has_the_component_by_itself_needs_nothing(package: Path) -> None:
    directory = package / "data" / "sal_interfaces"
    install_interface(directory)
    for path in (directory / "SALSubsystems.xml", package / "testutils.py", package / "enums" / "__init__.py"):
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(
            b"".join(line for line in lines if b" begin: added" not in line and b"ComCamCalib end" not in line)
        )
    theirs = (package / "enums" / "ComCamCalib.py").read_text() + "\n# ts_xml's own words\n"
    (package / "enums" / "ComCamCalib.py").write_text(theirs)
    before = sources(package)
    assert check_interface(directory) == []
    assert install_interface(directory) is False
    assert remove_interface(directory) is False
    assert sources(package) == before


def test_the_installed_ts_xml_lists_the_component() -> None:
    """What `comcamcalib interface install` has done to the Python that runs the tests."""
    import lsst.ts.xml
    from lsst.ts.xml import enums
    from lsst.ts.xml.get_component_info import VALID_COMPONENT_NAMES

    assert check_interface() == []
    assert "ComCamCalib" in lsst.ts.xml.subsystems and "ComCamCalib" in VALID_COMPONENT_NAMES
    assert enums.ComCamCalib.Verdict.PASSED.name == "PASSED"


def test_interface_is_understood_by_ts_xml(tmp_path: Path) -> None:
    """The installed lsst.ts.xml, whichever it is, reads a copy of its own directory with the component added."""
    from lsst.ts import xml

    copy = tmp_path / "copy"
    shutil.copytree(xml.get_sal_interfaces_dir(), copy)
    install_interface(copy)
    for name in ("Commands", "Events", "Telemetry"):
        assert ET.parse(copy / "ComCamCalib" / f"ComCamCalib_{name}.xml").getroot().tag.startswith("SAL")
    names = [one.findtext("Name") for one in ET.parse(copy / "SALSubsystems.xml").getroot().findall("SALSubsystem")]
    assert names.count("ComCamCalib") == 1
