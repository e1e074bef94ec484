# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A broker and a registry for all tests of the stand-ins, and what every test must leave behind: nothing."""

from __future__ import annotations

import asyncio
import itertools
import os
import pathlib
import threading
import unittest.mock
from collections.abc import AsyncIterator, Iterator

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.xml.component_info import ComponentInfo

COMPONENTS = ("CCCamera", "CCOODS", "OCPS", "Test")
_indices = itertools.count(20001)  # BaseCscTestCase uses those up to 10000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a broker, wherever it says so."""
    for item in items:
        if "kafka" in getattr(item, "fixturenames", ()):
            item.add_marker("observatory")


class RegistryThread:
    """A schema registry with an event loop of its own, since each test has another one."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="schema registry", daemon=True)
        self._registry: SchemaRegistry | None = None

    def start(self) -> str:
        self._thread.start()

        async def start() -> SchemaRegistry:
            registry = SchemaRegistry()
            await registry.start()
            return registry

        self._registry = asyncio.run_coroutine_threadsafe(start(), self._loop).result(timeout=10)
        return self._registry.url

    def stop(self) -> None:
        if self._registry is not None:
            asyncio.run_coroutine_threadsafe(self._registry.close(), self._loop).result(timeout=10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(timeout=10)
        self._loop.close()


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """A broker with the topics of the components, a registry, and the environment variables to find them."""
    broker = EmbeddedBroker()
    registry = RegistryThread()
    consumer_yaml: pathlib.Path = tmp_path_factory.mktemp("kafka") / "consumer.yaml"
    # The embedded broker answers a fetch only when its time is over.
    consumer_yaml.write_text("fetch.wait.max.ms: 10\n")
    with broker:
        variables = {
            "LSST_KAFKA_BROKER_ADDR": broker.address,
            "LSST_SCHEMA_REGISTRY_URL": registry.start(),
            "LSST_KAFKA_CONSUMER_CONFIGURATION": str(consumer_yaml),
            "LSST_SITE": "test",
            "LSST_TOPIC_SUBNAME": "unused",
        }
        with unittest.mock.patch.dict(os.environ, variables):
            subname = salobj.set_test_topic_subname()
            for component in COMPONENTS:
                broker.create_topics(info.kafka_name for info in ComponentInfo(component, subname).topics.values())
            yield broker
        registry.stop()


@pytest.fixture
def index() -> int:
    """A SAL index that no other test uses."""
    return next(_indices)


@pytest.fixture
async def domain(kafka: EmbeddedBroker) -> AsyncIterator[salobj.Domain]:
    """A domain for remotes."""
    async with salobj.Domain() as domain:
        yield domain


@pytest.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """Fail a test that leaves a task behind."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if task is not asyncio.current_task()}
    if left:
        await asyncio.wait(left, timeout=1)
    names = sorted(task.get_name() for task in left if not task.done())
    assert not names, f"These tasks go on after the test: {names}"


@pytest.fixture(autouse=True)
def fast_close(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let controllers of tests close without the pause for the last messages."""
    monkeypatch.setattr("lsst.ts.salobj.controller.SHUTDOWN_DELAY", 0.05)
