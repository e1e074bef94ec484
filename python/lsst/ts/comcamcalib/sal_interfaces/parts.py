# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The parts of the component in ts_xml: its interface, its entry in the list, its enumerations."""

from __future__ import annotations

from importlib import resources

__all__ = ["COMPONENT", "enums_module", "subsystem_entry", "xml_files"]

COMPONENT = "ComCamCalib"

_ENUMS_HEADER = '''\
# This file is part of ts_xml.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Enumerations of ComCamCalib."""

from __future__ import annotations

import enum

'''


def xml_files() -> dict[str, bytes]:
    """Return the interface's XML files by name."""
    folder = resources.files(__package__) / COMPONENT
    return {
        item.name: item.read_bytes() for item in sorted(folder.iterdir(), key=str) if item.name.startswith(COMPONENT)
    }


def subsystem_entry() -> str:
    """Return the component's entry for SALSubsystems.xml, without white space around it."""
    return (resources.files(__package__) / COMPONENT / "SALSubsystem.xml").read_text().strip()


def enums_module() -> str:
    """Return the text of ts_xml's module with the enumerations that the interface declares."""
    source = (resources.files(__package__.rpartition(".")[0]) / "enums.py").read_text()
    own, _, _ = source[source.index("__all__") :].partition("\n\n\nclass ErrorCode")  # it is not part of the interface
    return _ENUMS_HEADER + own.replace('"ErrorCode", ', "") + "\n"
