# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all figures of the CSC share: the simulated observatory, the CSC's process, and who listens to both."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import os
import sqlite3
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import yaml
from lsst.ts import salobj, utils
from lsst.ts.comcamcalib.record.facts import Entry, fact_from_json
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import CSC_PROGRAM, running_csc_process, small_observatory, without_journal
from support.operator import Operator

__all__ = ["House", "Load", "house", "load", "quantiles"]

LIMIT_S = 240.0

SETTINGS = {
    # So many places that no job has to wait for one.
    "max_jobs": 20,
    # Searches are conclusive after seconds instead of minutes, as this observatory is faster than the real one.
    "limits": {"job_submission": 20, "exposure_overhead": 20, "readout": 5},
}


@dataclasses.dataclass
class House:
    """An observatory in this process, an operator, and when files and ends of jobs were published (TAI)."""

    observatory: Observatory
    operator: Operator
    journal: Path
    folder: Path
    files: dict[str, float] = dataclasses.field(default_factory=dict)
    """When the last file of each image was announced, by obs_id."""
    ends: dict[str, float] = dataclasses.field(default_factory=dict)
    """When the end of each job was announced, by job id."""

    async def on_file(self, sample: Any) -> None:
        self.files[sample.obsid] = max(sample.private_sndStamp, self.files.get(sample.obsid, 0.0))

    async def on_result(self, sample: Any) -> None:
        self.ends.setdefault(sample.job_id, sample.private_sndStamp)

    @contextlib.asynccontextmanager
    async def csc(self, program: str = CSC_PROGRAM) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run an ENABLED CSC in a process of its own."""
        self.operator.forget()
        async with running_csc_process(self.folder / "csc.log", "--state", "enabled", program=program) as process:
            await self.operator.hear("summaryState", LIMIT_S, summaryState=salobj.State.ENABLED)
            yield process

    async def start_run(self, **options: Any) -> tuple[str, float]:
        """Start a run; return its identifier, and when the command was sent (TAI)."""
        fields = {"config": json.dumps(options), "reason": "bench", "program": "bench"}
        ack, sent_s = await self._command("startCalibrationRun", **fields)
        return json.loads(ack.result)["runId"], sent_s

    async def resume(self, run_id: str) -> float:
        """Resume a run; return when the command was sent (TAI)."""
        _, sent_s = await self._command("resumeCalibrationRun", runId=run_id, reason="bench")
        return sent_s

    async def _command(self, name: str, **fields: str) -> tuple[Any, float]:
        """Send a command as often as a process that has just begun takes to load Butler and to hear all heartbeats."""
        until = time.monotonic() + LIMIT_S
        while True:
            sent_s = utils.current_tai()
            try:
                return await self.operator.command(name, **fields), sent_s
            except salobj.AckError:
                if time.monotonic() > until:
                    raise
                await asyncio.sleep(0.5)

    def facts(self, run_id: str) -> list[Entry]:
        """Return the facts of a run, also while the CSC writes them."""
        query = "SELECT seq, at, body FROM facts WHERE run_id = ? ORDER BY seq"
        with contextlib.closing(sqlite3.connect(f"file:{self.journal}?mode=ro", uri=True)) as connection:
            rows = connection.execute(query, (run_id,)).fetchall()
        return [Entry(seq, at, fact_from_json(body)) for seq, at, body in rows]


@contextlib.asynccontextmanager
async def house(folder: Path) -> AsyncIterator[House]:
    """Run an observatory whose instrument is 50 times faster than reality and whose jobs only put products in place."""
    async with small_observatory(folder) as observatory, salobj.Domain() as domain:
        _configure()
        async with (
            Operator(domain) as operator,
            salobj.Remote(domain, "CCOODS", include=["imageInOODS"]) as oods,
            salobj.Remote(domain, "OCPS", index=2, include=["job_result"]) as ocps,
        ):
            one = House(observatory, operator, without_journal(observatory), folder)
            oods.evt_imageInOODS.callback = one.on_file
            ocps.evt_job_result.callback = one.on_result
            yield one


def _configure() -> None:
    folder = Path(os.environ["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    limits = yaml.safe_load((folder / "_init.yaml").read_text())["limits"]
    site = folder / "_test.yaml"
    values = yaml.safe_load(site.read_text())
    settings = {**SETTINGS, "limits": {**limits, **SETTINGS["limits"]}}  # type: ignore[dict-item]
    site.write_text(yaml.safe_dump({**values, **settings}, sort_keys=False))


@dataclasses.dataclass(frozen=True)
class Load:
    """What a process has used until now."""

    at_s: float
    cpu_s: float
    rss_mb: float

    def since(self, earlier: Load) -> str:
        """Return memory now, and the share of a core since then."""
        share = (self.cpu_s - earlier.cpu_s) / (self.at_s - earlier.at_s)
        return f"{self.rss_mb:4.0f} MB, {100 * share:5.1f} % of a core over {self.at_s - earlier.at_s:.0f} s"


def load(pid: int) -> Load:
    """Return the load of a process, from /proc."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    cpu_s = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return Load(time.monotonic(), cpu_s, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def quantiles(values: Sequence[float], unit: str = "ms", factor: float = 1e3) -> str:
    """Return p50, p95 and the largest of some values in seconds."""
    if not values:
        return "none"
    ordered = sorted(values)
    p95 = ordered[min(round(0.95 * len(ordered)), len(ordered) - 1)]
    figures = (statistics.median(ordered), p95, ordered[-1])
    p50, p95, worst = (f"{factor * one:.0f}" for one in figures)
    return f"p50 {p50:>5}, p95 {p95:>5}, longest {worst:>5} {unit}   ({len(ordered)})"
