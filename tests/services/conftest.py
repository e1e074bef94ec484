# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Fixtures for the tests of the services."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from lsst.daf.butler import Butler
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.config import Limits
from lsst.ts.comcamcalib.services.butler import ButlerService
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.configuration import write_consumer_configuration
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.comcamcalib.simulation.repo import copy_repo
from lsst.ts.comcamcalib.simulation.topics import topic_names
from support.job_world import FakeOcps, FakeUws, JobWorld
from support.permission import allowed
from support.small_repository import INSTRUMENT, RAWS, make_template

SUBNAME = "servicestest"


@pytest.fixture(scope="session")
def limits() -> Limits:
    """Limits that a passing test never reaches."""
    return Limits(**dict.fromkeys(Limits.model_fields, 20.0))


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


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def domain(bus: None) -> AsyncIterator[salobj.Domain]:
    """The domain that the services share, as they share the CSC's."""
    async with salobj.Domain() as domain:
        yield domain


@pytest.fixture
async def world(limits: Limits) -> AsyncIterator[JobWorld]:
    """The job service's surroundings; nothing may be left of it afterwards."""
    world = JobWorld(FakeOcps(), FakeUws(), limits)
    yield world
    for service in world.services:
        await service.close()
    assert world.ocps.callbacks == []
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository with some frames and initial calibrations."""
    return make_template(tmp_path_factory.mktemp("services"))


@pytest.fixture
def repo(template: Path, tmp_path: Path) -> Path:
    copy_repo(template, tmp_path / "repo")
    return tmp_path / "repo"


@pytest.fixture
def butler(repo: Path) -> Iterator[Butler]:
    """The worker's own access: what it writes, the service has to see."""
    with contextlib.closing(Butler.from_config(str(repo), writeable=True)) as butler:
        yield butler


@pytest.fixture
async def service(repo: Path, limits: Limits) -> AsyncIterator[ButlerService]:
    service = ButlerService(str(repo), INSTRUMENT, RAWS, limits, allowed)
    await service.start()
    yield service
    await service.close()
