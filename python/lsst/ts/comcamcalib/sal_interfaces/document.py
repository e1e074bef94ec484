# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page about the SAL interface, made from its XML."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from importlib import resources

from .install import COMPONENT

__all__ = ["document_interface"]

_PARTS = (
    ("Commands", "SALCommand", "command_"),
    ("Events", "SALEvent", "logevent_"),
    ("Telemetry", "SALTelemetry", ""),
)


def document_interface() -> str:
    """Return the page in reStructuredText: enumerations, commands, events and telemetry with all their fields."""
    folder = resources.files(__package__) / COMPONENT
    lines = [
        ".. Made by `comcamcalib interface document`; do not edit.",
        "",
        *_heading(f"The SAL interface of {COMPONENT}", "#"),
        "Generic topics, such as the state commands, the command ``abort`` and the event ``summaryState``, are those",
        "of every CSC and are not repeated here. Strings have no units; times are TAI unix seconds.",
        "",
    ]
    for part, tag, prefix in _PARTS:
        root = ET.fromstring((folder / f"{COMPONENT}_{part}.xml").read_text())
        enumerations = [element.text or "" for element in root.findall("Enumeration")]
        if enumerations:
            lines += [*_heading("Enumerations", "="), *_enumeration_table(enumerations)]
        lines += _heading(part, "=")
        for topic in root.findall(tag):
            lines += _topic(topic, prefix)
    return "\n".join(lines).rstrip() + "\n"


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _table(headings: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> list[str]:
    lines = [".. list-table::", "   :header-rows: 1", ""]
    for row in (headings, *rows):
        lines += [f"   {'*' if i == 0 else ' '} - {cell}".rstrip() for i, cell in enumerate(row)]
    return [*lines, ""]


def _enumeration_table(enumerations: list[str]) -> list[str]:
    def rows() -> Iterator[tuple[str, ...]]:
        for enumeration in enumerations:
            names = [name.strip().split("_", 1) for name in enumeration.split(",")]
            values = ", ".join(f"{value} {number}" for number, (_, value) in enumerate(names, start=1))
            yield names[0][0], values

    return _table(("enumeration", "values"), rows())


def _topic(topic: ET.Element, prefix: str) -> list[str]:
    name = _text(topic, "EFDB_Topic").removeprefix(f"{COMPONENT}_{prefix}")
    lines = [*_heading(name, "-"), _text(topic, "Description"), ""]
    items = topic.findall("item")
    if not items:
        return [*lines, "No fields.", ""]

    def rows() -> Iterator[tuple[str, ...]]:
        for item in items:
            count = _text(item, "Count")
            kind = _text(item, "IDL_Type") + (f"[{count}]" if count != "1" else "")
            yield f"``{_text(item, 'EFDB_Name')}``", kind, _text(item, "Units"), _text(item, "Description")

    return lines + _table(("field", "type", "units", "meaning"), rows())


def _text(element: ET.Element, tag: str) -> str:
    return " ".join((element.findtext(tag) or "").split())
