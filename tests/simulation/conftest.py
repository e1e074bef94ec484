# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""A bus for the simulators, and an ear for what they say on it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, Self

import pytest
import pytest_asyncio
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.configuration import write_consumer_configuration
from lsst.ts.comcamcalib.simulation.focal_plane import FocalPlane
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.comcamcalib.simulation.topics import topic_names

SUBNAME = "simtest"
LIMIT_S = 30.0


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


class Ear:
    """Hears all samples of some events of a remote that are sent from now on, in the order in which they were sent."""

    def __init__(self, remote: salobj.Remote, *names: str) -> None:
        self._events = [getattr(remote, f"evt_{name}") for name in names]
        self._heard: list[tuple[float, str, Any]] = []
        self._changed = asyncio.Event()
        self._begin_tai = 0.0

    def __enter__(self) -> Self:
        self._begin_tai = utils.current_tai()
        for event in self._events:
            event.callback = self._make_callback(event.attr_name.removeprefix("evt_"))
        return self

    def __exit__(self, *exception: object) -> None:
        for event in self._events:
            event.callback = None

    def _make_callback(self, name: str) -> Callable[[Any], Any]:
        async def hear(sample: Any) -> None:
            if sample.private_sndStamp >= self._begin_tai:
                self._heard.append((sample.private_sndStamp, name, sample))
                self._changed.set()

        return hear

    @property
    def names(self) -> list[str]:
        return [name for _, name, _ in sorted(self._heard, key=lambda heard: heard[0])]

    def samples(self, name: str) -> list[Any]:
        return [sample for _, event, sample in sorted(self._heard, key=lambda heard: heard[0]) if event == name]

    async def wait_for(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()


@pytest.fixture
def ear() -> type[Ear]:
    return Ear
