# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Topics for the components of ComCam."""

from __future__ import annotations

import os

import pytest
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.xml.component_info import ComponentInfo


@pytest.fixture
def comcam_topics(kafka: EmbeddedBroker) -> EmbeddedBroker:
    """The broker, with the topics of ComCam's components and of the OCPS."""
    subname = os.environ["LSST_TOPIC_SUBNAME"]
    for component in ("CCCamera", "CCHeaderService", "CCOODS", "OCPS"):
        kafka.create_topics(topic.kafka_name for topic in ComponentInfo(component, subname).topics.values())
    return kafka
