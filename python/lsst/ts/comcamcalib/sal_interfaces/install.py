# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Add the component to the installed lsst.ts.xml, or remove it again.

Until ts_xml itself has the component, salobj does not know ComCamCalib, and programs that go through all components,
such as LOVE's commander, do not list it. `install` adds everything that the change to ts_xml would (upstream/ts_xml);
the lines that it adds to ts_xml's files are marked, so that `remove` can restore the former state byte for byte.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from .insertion import Insertion, LayoutError, after_list, at_end, before_last
from .parts import COMPONENT, enums_module, subsystem_entry, xml_files

__all__ = ["COMPONENT", "check_interface", "install_interface", "interface_problem", "remove_interface"]

_BEGIN = f"  <!-- {COMPONENT} begin: added by ts_comcamcalib -->\n"
_END = f"  <!-- {COMPONENT} end -->\n"
_SUBSYSTEMS = Insertion(
    file="data/sal_interfaces/SALSubsystems.xml",
    begin=_BEGIN,
    lines=f"  {subsystem_entry()}\n",
    end=_END,
    place=before_last("</SALSubsystemSet>"),
)
_PYTHON_BEGIN = f"# {COMPONENT} begin: added by ts_comcamcalib\n"
_PYTHON_END = f"# {COMPONENT} end\n"
_LIST = Insertion(
    file="testutils.py",
    begin=_PYTHON_BEGIN,
    lines=f'subsystems.append("{COMPONENT}")\n',
    end=_PYTHON_END,
    place=after_list("subsystems"),
)
_ENUMS = Insertion(
    file="enums/__init__.py",
    begin=_PYTHON_BEGIN,
    lines=f"from . import {COMPONENT}  # noqa: E402\n",
    end=_PYTHON_END,
    place=at_end,
)


class _Place:
    """Where lsst.ts.xml keeps what the component needs.

    Parameters
    ----------
    directory
        Its ``sal_interfaces`` directory. If it is not in a package's ``data``, it is a copy of the XML only, without
        the Python modules.
    """

    def __init__(self, directory: Path | None) -> None:
        self.interfaces = directory or _interfaces_dir()
        self.package = self.interfaces.parents[1] if self.interfaces.parent.name == "data" else None
        self.folder = self.interfaces / COMPONENT
        self.insertions = {self.interfaces / "SALSubsystems.xml": _SUBSYSTEMS}
        self.files = {self.folder / name: content for name, content in xml_files().items()}
        if self.package is not None:
            self.insertions |= {self.package / one.file: one for one in (_LIST, _ENUMS)}
            self.files[self.package / "enums" / f"{COMPONENT}.py"] = enums_module().encode()

    @property
    def is_upstream(self) -> bool:
        """Whether ts_xml itself has the component, without our marks."""
        text = _read(self.interfaces / "SALSubsystems.xml")
        return not _SUBSYSTEMS.has_mark(text) and f"<Name>{COMPONENT}</Name>" in text

    def on_the_wire(self, path: Path) -> bool:
        """Whether a file defines topics."""
        return path.is_relative_to(self.interfaces)


def _interfaces_dir() -> Path:
    from lsst.ts.xml import get_sal_interfaces_dir

    return Path(get_sal_interfaces_dir())


def _read(path: Path) -> str:
    """Return a file's text with unchanged line ends."""
    return path.read_bytes().decode()


def check_interface(directory: Path | None = None) -> list[str]:
    """Return the differences between the installed lsst.ts.xml and one with this package's component.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    differences
        One sentence each; empty if everything is there.
    """
    return [sentence for _, sentence in _differences(_Place(directory))]


def _differences(place: _Place) -> Iterator[tuple[Path, str]]:
    """Yield each file that differs, with a sentence about it."""
    for path, insertion in place.insertions.items():
        if not path.is_file():
            yield path, f"{path} is missing"
        elif not _names_component(insertion, _read(path), place.is_upstream):
            how = "has another entry for" if insertion.has_mark(_read(path)) else "does not name"
            yield path, f"{path} {how} {COMPONENT}"
    for path, content in place.files.items():
        if not path.exists():
            yield path, f"{path} is missing"
        elif path.read_bytes() != content and (place.on_the_wire(path) or not place.is_upstream):
            yield path, f"{path} differs from this package's {path.name}"


def _names_component(insertion: Insertion, text: str, upstream: bool) -> bool:
    return COMPONENT in text if upstream else insertion.is_in(text)


def interface_problem(directory: Path | None = None) -> str:
    """Return why the CSC can't run with the installed interface, and what to do; "" if it can.

    An interface that is part of ts_xml itself may differ, because ts_xml defines the messages. The list of
    components and the enumerations matter to other programs, not to the CSC.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.
    """
    place = _Place(directory)
    differences = [sentence for path, sentence in _differences(place) if place.on_the_wire(path)]
    if not differences or place.is_upstream:
        return ""
    return (
        f"The installed lsst.ts.xml does not have this package's interface of {COMPONENT}: {'; '.join(differences)}. "
        "Add it with: comcamcalib interface install"
    )


def install_interface(directory: Path | None = None) -> bool:
    """Add the component to an installed lsst.ts.xml; doing it twice does no harm.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    changed
        False if it was already there.

    Raises
    ------
    PermissionError
        If a directory can't be written; nothing has been changed then.
    RuntimeError
        If lsst.ts.xml has a component of this name that this package did not put there, and it differs; or if a file
        that must be changed is missing, damaged, or has an unknown layout. Nothing has been changed then either.
    """
    place = _Place(directory)
    differences = check_interface(directory)
    if not differences:
        return False
    if place.is_upstream:
        raise RuntimeError(
            f"The installed lsst.ts.xml has its own {COMPONENT}, and it differs from this package's: "
            + "; ".join(differences)
        )
    _check_writable(place)
    changed = {}
    for path, insertion in place.insertions.items():
        try:
            changed[path] = insertion.added(insertion.removed(_read(path)))
        except LayoutError as error:
            raise RuntimeError(f"{path} {error}") from None
        except FileNotFoundError:
            raise RuntimeError(f"{path} is missing; reinstall lsst.ts.xml") from None
    if place.folder.exists():
        shutil.rmtree(place.folder)
    place.folder.mkdir()
    for path, content in place.files.items():
        _replace(path, content)
    for path, text in changed.items():
        _replace(path, text.encode())
    return True


def remove_interface(directory: Path | None = None) -> bool:
    """Remove everything that `install_interface` added.

    Parameters
    ----------
    directory
        The ``sal_interfaces`` directory; None for that of the installed lsst.ts.xml.

    Returns
    -------
    changed
        False if there was nothing to remove.

    Raises
    ------
    PermissionError
        If a directory can't be written; nothing has been changed then.
    RuntimeError
        If a file has the mark of the beginning without that of the end.
    """
    place = _Place(directory)
    if place.is_upstream:
        return False
    restored = {}
    for path, insertion in place.insertions.items():
        text = _read(path) if path.is_file() else ""
        try:
            without = insertion.removed(text)
        except LayoutError as error:
            raise RuntimeError(f"{path} {error}") from None
        if without != text:
            restored[path] = without
    own = [path for path in place.files if path.exists()]
    if not restored and not own and not place.folder.exists():
        return False
    _check_writable(place)
    # The lists first, because a component that is listed but has no files is an error for every reader.
    for path, text in restored.items():
        _replace(path, text.encode())
    if place.folder.exists():
        shutil.rmtree(place.folder)
    for path in own:
        path.unlink(missing_ok=True)
        for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
            compiled.unlink(missing_ok=True)
    return True


def _check_writable(place: _Place) -> None:
    """Check that all directories can be written, so that a change is not left incomplete."""
    for directory in {path.parent for path in place.insertions}:
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(
                f"{directory} can't be written by this user; nothing was changed. Run the command as the user who "
                "installed lsst.ts.xml."
            )


def _replace(path: Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a mixture."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
    if path.exists():
        shutil.copymode(path, temporary)
    else:
        os.chmod(temporary, 0o644)
    os.replace(temporary, path)
