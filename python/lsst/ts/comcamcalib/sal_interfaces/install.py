# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add the component's interface to the installed lsst.ts.xml, or take it out again.

Until the interface is part of ts_xml itself, salobj does not know the component ComCamCalib. What `install` adds is
marked, so that `remove` can restore the former state byte for byte.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from importlib import resources
from pathlib import Path

__all__ = ["COMPONENT", "check_interface", "install_interface", "interface_problem", "remove_interface"]

COMPONENT = "ComCamCalib"

_BEGIN = "  <!-- ComCamCalib begin: added by ts_comcamcalib -->\n"
_END = "  <!-- ComCamCalib end -->\n"
_CLOSING = "</SALSubsystemSet>"


def _own_files() -> dict[str, bytes]:
    """Return the interface's XML files by name."""
    folder = resources.files(__package__) / COMPONENT
    return {
        item.name: item.read_bytes() for item in sorted(folder.iterdir(), key=str) if item.name.startswith(COMPONENT)
    }


def _own_entry() -> str:
    """Return the component's entry for SALSubsystems.xml, with its marks."""
    entry = (resources.files(__package__) / COMPONENT / "SALSubsystem.xml").read_text()
    return f"{_BEGIN}  {entry.strip()}\n{_END}"


def _interfaces_dir() -> Path:
    from lsst.ts.xml import get_sal_interfaces_dir

    return Path(get_sal_interfaces_dir())


def _is_upstream(directory: Path) -> bool:
    """Whether ts_xml has the component by itself, without our marks."""
    text = (directory / "SALSubsystems.xml").read_text()
    return _BEGIN not in text and f"<Name>{COMPONENT}</Name>" in text


def check_interface(directory: Path | None = None) -> list[str]:
    """Say what differs between the installed interface and this package's own.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    differences
        One sentence each; empty if the installed interface is the package's own.
    """
    directory = directory or _interfaces_dir()
    subsystems = (directory / "SALSubsystems.xml").read_text()
    differences = []
    if not _is_upstream(directory) and _own_entry() not in subsystems:
        how = "has another entry for" if _BEGIN in subsystems else "does not name"
        differences.append(f"{directory / 'SALSubsystems.xml'} {how} {COMPONENT}")
    for name, content in _own_files().items():
        path = directory / COMPONENT / name
        if not path.exists():
            differences.append(f"{path} is missing")
        elif path.read_bytes() != content:
            differences.append(f"{path} differs from this package's {name}")
    return differences


def interface_problem(directory: Path | None = None) -> str:
    """Say why the CSC can't run with the installed interface, and what to do; "" if it can.

    An interface that is part of ts_xml itself may differ, for ts_xml decides what goes over the wire.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.
    """
    directory = directory or _interfaces_dir()
    differences = check_interface(directory)
    if not differences or _is_upstream(directory):
        return ""
    return (
        f"The installed lsst.ts.xml does not have this package's interface of {COMPONENT}: {'; '.join(differences)}. "
        "Add it with: comcamcalib interface install"
    )


def install_interface(directory: Path | None = None) -> bool:
    """Add the component's interface to an installed lsst.ts.xml; doing it twice does no harm.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    changed
        False if it was there already.

    Raises
    ------
    PermissionError
        If the directory can't be written.
    RuntimeError
        If lsst.ts.xml has a component of this name that this package did not put there, and it differs; or if its list
        of components is damaged.
    """
    directory = directory or _interfaces_dir()
    if not check_interface(directory):
        return False
    if _is_upstream(directory):
        raise RuntimeError(
            f"The installed lsst.ts.xml has its own {COMPONENT}, and it differs from this package's: "
            + "; ".join(check_interface(directory))
        )
    remove_interface(directory)
    path = directory / "SALSubsystems.xml"
    head, closing, tail = path.read_bytes().decode().rpartition(_CLOSING)
    if not closing:
        raise RuntimeError(f"{path} has no {_CLOSING}, so nothing can be added; install lsst.ts.xml anew")
    target = directory / COMPONENT
    target.mkdir(exist_ok=True)
    for name, content in _own_files().items():
        _replace(target / name, content)
    _replace(path, f"{head}{_own_entry()}{closing}{tail}".encode())
    return True


def remove_interface(directory: Path | None = None) -> bool:
    """Take out what `install_interface` added.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    changed
        False if there was nothing of it.
    """
    directory = directory or _interfaces_dir()
    if _is_upstream(directory):
        return False
    path = directory / "SALSubsystems.xml"
    text = path.read_bytes().decode()
    begin = text.find(_BEGIN)
    changed = begin >= 0
    if changed:
        end = text.find(_END, begin)
        if end < 0:
            raise RuntimeError(f"{path} has {_BEGIN.strip()} without its end; install lsst.ts.xml anew")
        _replace(path, (text[:begin] + text[end + len(_END) :]).encode())
    if (directory / COMPONENT).exists():
        shutil.rmtree(directory / COMPONENT)
        changed = True
    return changed


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    if path.exists():
        shutil.copymode(path, temporary)
    else:
        os.chmod(temporary, 0o644)
    os.replace(temporary, path)
