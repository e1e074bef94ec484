# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where the XML files are, and what SALSubsystems.xml says."""

from __future__ import annotations

import dataclasses
import pathlib
import xml.etree.ElementTree as ElementTree

__all__ = ["Subsystem", "get_sal_interfaces_dir", "read_subsystems", "text_of"]


def get_sal_interfaces_dir() -> pathlib.Path:
    """Return the folder with SALSubsystems.xml, SALGenerics.xml and a folder for each component."""
    return pathlib.Path(__file__).parent / "data" / "sal_interfaces"


@dataclasses.dataclass(frozen=True)
class Subsystem:
    """One entry of SALSubsystems.xml.

    Attributes
    ----------
    name, description : `str`
        As in the XML.
    indexed : `bool`
        Is the component indexed?
    added_generics : `tuple` [`str`, ...]
        Categories of generic topics, and single ones by their SAL name; "mandatory" comes first.
    """

    name: str
    description: str
    indexed: bool
    added_generics: tuple[str, ...]


def text_of(element: ElementTree.Element, tag: str, default: str = "") -> str:
    """Return the stripped text of the element's child ``tag``, or ``default`` where it has none."""
    return (element.findtext(tag) or "").strip() or default


def read_subsystems() -> dict[str, Subsystem]:
    """Read SALSubsystems.xml anew: components can be added to it while a process runs."""
    found = {}
    for element in ElementTree.parse(get_sal_interfaces_dir() / "SALSubsystems.xml").getroot().iter("SALSubsystem"):
        name = text_of(element, "Name")
        generics = [item.strip() for item in text_of(element, "AddedGenerics").split(",")]
        found[name] = Subsystem(
            name=name,
            description=text_of(element, "Description"),
            indexed=text_of(element, "IndexEnumeration", default="no") != "no",
            added_generics=("mandatory", *(item for item in generics if item and item != "mandatory")),
        )
    return found
