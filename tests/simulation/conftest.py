# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A bus for the simulators, and a small repository that tests copy."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsst.ts import utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.configuration import write_consumer_configuration
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.comcamcalib.simulation.topics import topic_names

SUBNAME = "simtest"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bus(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[None]:
    """Broker, registry, topics and environment for one module's tests."""
    consumer = tmp_path_factory.mktemp("bus") / "consumer.yaml"
    write_consumer_configuration(consumer)
    with EmbeddedBroker() as broker:
        broker.create_topics(topic_names(SUBNAME, components=["CCCamera", "CCHeaderService", "CCOODS", "OCPS"]))
        async with SchemaRegistry() as registry:
            with utils.modify_environ(
                LSST_KAFKA_BROKER_ADDR=broker.address,
                LSST_SCHEMA_REGISTRY_URL=registry.url,
                LSST_TOPIC_SUBNAME=SUBNAME,
                LSST_SITE="test",
                LSST_KAFKA_CONSUMER_CONFIGURATION=str(consumer),
            ):
                yield


@pytest.fixture(scope="session")
def small_focal_plane() -> FocalPlane:
    return FocalPlane(amplifier_shape=(32, 16), overscan_columns=8, hot_pixels=2, low_pixels=1)


@pytest.fixture(scope="session")
def template_repo(tmp_path_factory: pytest.TempPathFactory, small_focal_plane: FocalPlane) -> Path:
    from lsst.ts.comcamcalib.simulation.repo import create_repo

    path = tmp_path_factory.mktemp("template") / "repo"
    create_repo(path, small_focal_plane)
    return path
