# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""How fast the salobj of this Python is, and that of another one beside it: REAL_PYTHON=/path/to/python.

Both talk over the same embedded broker, in turns, each part in a process of its own. The exit status is 1 if events
were lost or came out of order, or if the salobj of this Python is slower than the other one in anything.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import pathlib
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator

from lsst.ts.comcamcalib.simulation.broker import EmbeddedBroker
from lsst.ts.comcamcalib.simulation.registry import SchemaRegistry
from lsst.ts.xml.component_info import ComponentInfo

SUBJECT = pathlib.Path(__file__).with_name("subject.py")
SUBNAME = "bench"
ROUNDS = 3
TRIPS = 200
EVENTS = 2000
IDLE_S = 10.0
LIMIT_S = 120.0
# Two measurements of the same thing differ by this much on a machine that does other things too.
TOLERANCE = 1.1

CONFIGURATION = "{string0: x, bool0: true, int0: 1, float0: 1.5, intarr0: [1], multi_type: x}\n"


@dataclasses.dataclass
class Figures:
    """What was measured, of each round."""

    round_trip_ms: list[float] = dataclasses.field(default_factory=list)
    start_s: list[float] = dataclasses.field(default_factory=list)
    burst_s: list[float] = dataclasses.field(default_factory=list)
    idle_percent: list[float] = dataclasses.field(default_factory=list)
    complete: bool = True


ROWS = {
    "round_trip_ms": f"command round trip (median of {TRIPS}), ms",
    "start_s": "Remote, from process start to start_task done, s",
    "burst_s": f"burst of {EVENTS} events, from command to last event, s",
    "idle_percent": "processor time of an idle CSC, % of one core",
}


class Part:
    """A process that runs a part of subject.py."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None and process.stdin is not None
        self._process, self._out, self._in = process, process.stdout, process.stdin

    async def line(self) -> str:
        text = (await asyncio.wait_for(self._out.readline(), LIMIT_S)).decode().strip()
        if not text:
            raise RuntimeError(f"A part ended with status {await self._process.wait()} before it told its result.")
        return text

    async def wait_ready(self) -> None:
        while await self.line() != "ready":  # the original may print warnings first
            pass

    async def ask(self, text: str) -> float:
        self._in.write(f"{text}\n".encode())
        return float(await self.line())


@contextlib.asynccontextmanager
async def part(python: str, *arguments: object) -> AsyncIterator[Part]:
    process = await asyncio.create_subprocess_exec(
        python,
        *("-W", "ignore", str(SUBJECT), *(str(argument) for argument in arguments)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
    )
    try:
        yield Part(process)
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def measure(python: str, index: int, figures: Figures) -> None:
    """Add one round to the figures; indices are not used twice, so that no old samples are read."""
    async with part(python, "csc", index) as csc:
        await csc.wait_ready()
        figures.idle_percent.append(100 * await csc.ask(f"{IDLE_S}") / IDLE_S)
        async with part(python, "trips", index, TRIPS) as remote:
            await remote.wait_ready()
            figures.round_trip_ms.append(1000 * statistics.median(json.loads(await remote.line())))
        before = time.perf_counter()
        async with part(python, "start", index) as remote:
            await remote.wait_ready()
            figures.start_s.append(time.perf_counter() - before)
    async with part(python, "burst", index + 1) as writer:
        await writer.wait_ready()
        async with part(python, "receive", index + 1, EVENTS) as reader:
            await reader.wait_ready()
            outcome = json.loads(await reader.line())
    figures.burst_s.append(outcome["duration_s"])
    if outcome["numbers"] != list(range(EVENTS)):
        figures.complete = False
        print(f"{python}: {len(outcome['numbers'])} of {EVENTS} events came, or not in order", file=sys.stderr)


def write_configurations(folder: pathlib.Path) -> pathlib.Path:
    """Write the CSC's configuration and that of consumers, whose path is returned."""
    (folder / "_init.yaml").write_text(CONFIGURATION)
    consumer = folder / "consumer.yaml"
    consumer.write_text("fetch.wait.max.ms: 10\n")
    return consumer


@contextlib.asynccontextmanager
async def bus() -> AsyncIterator[None]:
    """A broker with the topics of Test, a registry, and the environment to find them."""
    registry = SchemaRegistry()
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        await registry.start()
        consumer = await asyncio.to_thread(write_configurations, pathlib.Path(folder))
        broker.create_topics(topic.kafka_name for topic in ComponentInfo("Test", SUBNAME).topics.values())
        os.environ.update(
            LSST_KAFKA_BROKER_ADDR=broker.address,
            LSST_SCHEMA_REGISTRY_URL=registry.url,
            LSST_KAFKA_CONSUMER_CONFIGURATION=str(consumer),
            LSST_TOPIC_SUBNAME=SUBNAME,
            LSST_SITE="test",
            BENCH_CONFIG_DIR=folder,
        )
        try:
            yield
        finally:
            await registry.close()


async def compare(own: str, other: str | None) -> bool:
    pythons = [own] + ([other] if other else [])
    figures = {python: Figures() for python in pythons}
    async with bus():
        for number in range(ROUNDS):
            for position, python in enumerate(pythons):
                await measure(python, 100 + 10 * number + 2 * position, figures[python])
    print(f"{'':56}{'this':>10}" + (f"{'other':>10}{'ratio':>10}" if other else ""))
    good = all(figure.complete for figure in figures.values())
    for name, title in ROWS.items():
        values = [statistics.median(getattr(figures[python], name)) for python in pythons]
        line = f"{title:56}" + "".join(f"{value:10.2f}" for value in values)
        if other:
            ratio = values[0] / values[1]
            good = good and ratio <= TOLERANCE
            line += f"{ratio:10.2f}" + ("  slower" if ratio > TOLERANCE else "")
        print(line)
    return good


async def main() -> None:
    import lsst.ts.salobj

    other = os.environ.get("REAL_PYTHON") or None
    print(f"this:  lsst.ts.salobj {lsst.ts.salobj.__version__} of {sys.executable}")
    if other:
        print(f"other: lsst.ts.salobj of {other}")
    if not await compare(sys.executable, other):
        sys.exit(1)


if __name__ == "__main__":
    asyncio.run(main())
