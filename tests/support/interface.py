# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The component's XML, parsed."""

from __future__ import annotations

import functools
import xml.etree.ElementTree as ET
from importlib import resources

__all__ = ["TOPIC_TAGS", "generic_event", "topics", "tree"]

TOPIC_TAGS = {"Commands": "SALCommand", "Events": "SALEvent", "Telemetry": "SALTelemetry"}
PREFIXES = {"Commands": "ComCamCalib_command_", "Events": "ComCamCalib_logevent_", "Telemetry": "ComCamCalib_"}


@functools.cache
def tree(kind: str) -> ET.Element:
    """Return a file of the interface: ``Commands``, ``Events`` or ``Telemetry``."""
    folder = resources.files("lsst.ts.comcamcalib.sal_interfaces") / "ComCamCalib"
    return ET.fromstring((folder / f"ComCamCalib_{kind}.xml").read_text())


def topics(kind: str) -> dict[str, dict[str, ET.Element]]:
    """Return the fields of each topic of a kind, by name, in order."""
    found = {}
    for topic in tree(kind).findall(TOPIC_TAGS[kind]):
        name = topic.findtext("EFDB_Topic", "")
        assert name.startswith(PREFIXES[kind]), name
        items = topic.findall("item")
        fields = {item.findtext("EFDB_Name", ""): item for item in items}
        assert len(fields) == len(items), f"{name} has a field twice"
        found[name.removeprefix(PREFIXES[kind])] = fields
    return found


def generic_event(name: str) -> dict[str, ET.Element]:
    """Return the fields of an event that all components may have, by name, in order."""
    text = (resources.files("lsst.ts.xml") / "data" / "sal_interfaces" / "SALGenerics.xml").read_text()
    event = next(
        one for one in ET.fromstring(text).iter("SALEvent") if one.findtext("EFDB_Topic", "").endswith(f"_{name}")
    )
    return {item.findtext("EFDB_Name", ""): item for item in event.findall("item")}
