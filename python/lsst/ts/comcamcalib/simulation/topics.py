# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Names of the Kafka topics that an observatory has.

The embedded broker can't create topics at a client's request, so all of them must exist before the first client comes,
also those of components that are not simulated: a real Script or Watcher can join then.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from importlib import resources

from lsst.ts.xml.component_info import ComponentInfo

__all__ = ["OBSERVATORY_COMPONENTS", "topic_names"]

OBSERVATORY_COMPONENTS = ("CCCamera", "CCHeaderService", "CCOODS", "OCPS", "ComCamCalib")
"""Components whose topics are taken from lsst.ts.xml as well, since clients on this machine make theirs from it."""


def topic_names(subname: str, components: Iterable[str] = OBSERVATORY_COMPONENTS) -> list[str]:
    """Return the Kafka names of all topics, sorted.

    Parameters
    ----------
    subname
        Second part of the names, LSST_TOPIC_SUBNAME.
    components
        Components that lsst.ts.xml knows. Others are added from this package's data.

    Raises
    ------
    RuntimeError
        If lsst.ts.xml does not know one of the components.
    """
    names = {f"lsst.{subname}.{name}" for name in _known_names()}
    for component in components:
        try:
            topics = ComponentInfo(component, subname).topics.values()
        except ValueError as error:
            raise RuntimeError(
                f"The installed lsst.ts.xml does not know {component}, so nobody can command it ({error}). "
                "For ComCamCalib, add its interface with lsst.ts.comcamcalib.sal_interfaces.install."
            ) from error
        names.update(topic.kafka_name for topic in topics)
    return sorted(names)


def _known_names() -> Iterable[str]:
    """Yield ``component.sal_name`` of the topics that real components have (ts_xml v28.0.1)."""
    data = json.loads((resources.files(__package__) / "data" / "topics.json").read_text())
    for component, topics in data.items():
        yield f"{component}.ackcmd"
        for kind, prefix in (("commands", "command_"), ("events", "logevent_"), ("telemetry", "")):
            yield from (f"{component}.{prefix}{name}" for name in topics[kind])
