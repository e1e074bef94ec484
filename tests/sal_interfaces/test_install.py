# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The interface is added to an installed ts_xml, and taken out again without a trace."""

from __future__ import annotations

import os
import shutil
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
