# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is left of a run, whatever its processes went through, and what must hold after any run."""

from __future__ import annotations

import asyncio
import collections
import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from lsst.ts.comcamcalib.clock import Clock
from lsst.ts.comcamcalib.enums import CalibType, RunState, StageKind, StageState
from lsst.ts.comcamcalib.publisher import EVENTS, to_fields
from lsst.ts.comcamcalib.record.events import (
    Certification,
    Event,
    ImageIngested,
    ImageTaken,
    JobState,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from lsst.ts.comcamcalib.record.fold import fold
from lsst.ts.comcamcalib.record.history import History
from lsst.ts.comcamcalib.record.views import all_events
from lsst.ts.comcamcalib.run.journal import Journal
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from lsst.ts.comcamcalib.simulation.world import Image

from .operator import Operator
from .repository import certified
from .run import uws_jobs

__all__ = ["Outcome", "outcome_of"]

HEARD_LIMIT_S = 20.0

KEYS: dict[type, tuple[str, ...]] = {
    RunStatus: (),
    StageStatus: ("stageName",),
    ImageTaken: ("exposureId",),
    ImageIngested: ("exposureId",),
    JobState: ("jobId",),
    VerificationResult: ("calibType", "physicalFilter"),
    Certification: ("calibType", "datasetType", "validityEnd"),
}
"""Which fields say what an event is about; the last one about each thing counts."""

OF_ITS_OWN = re.compile(
    "runId|jobId|exposureId|obsId|.*[cC]ollection|log(Url|Path)|timestamp.*|validity.*|attempt|estimatedDuration"
    # They name jobs, exposures and times.
    "|reason|message"
)
"""Fields that differ from run to run, or by how often it was resumed."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is left of a run, without what differs from run to run: identifiers and times."""

    state: RunState
    stages: dict[str, StageState]
    used: dict[str, list[float]]
    """Exposure times of the used frames, by type."""
    exposed: dict[str, int]
    """How many images the camera has read out for the run, used or not, by type."""
    jobs: list[str]
    """Labels of the jobs whose outputs the run uses."""
    certified: dict[tuple[str, int], int]
    """How many datasets are certified, by type and detector."""
    told: list[str]
    """The last event about each thing; of jobs, those whose outputs the run uses."""


async def outcome_of(
    observatory: Observatory,
    witness: Operator,
    images: Sequence[Image],
    journal_path: Path,
    run_id: str,
    collection: str,
) -> Outcome:
    """Look at the journal and at what is outside; check what must hold after any run.

    Parameters
    ----------
    observatory
        The observatory.
    witness
        Who has heard everything since before the run.
    images
        All images that the camera has read out since before the run.
    journal_path
        The journal; no process may have it.
    run_id, collection
        The run, and where it certifies.
    """
    history = await _history_of(journal_path, run_id)
    used_jobs = [job for job in history.jobs.values() if job.succeeded]
    await _check_jobs(observatory, history)
    there = await asyncio.to_thread(certified, observatory.repo, collection)
    kinds = [one.calib_type for one in history.plan.stages if one.kind is StageKind.CERTIFY]
    wanted = {one for kind in kinds if (product := history.product(kind)) is not None for one in product.ids}
    assert {one.dataset_id for one in there} == wanted, "what is certified is not what the run was to certify"
    groups = {sequence.group_id: kind.name for kind, sequence in history.plan.sequences.items()}
    return Outcome(
        history.state,
        {name: stage.state for name, stage in history.stages.items()},
        {kind.name: [one.exposure_time_s for one in history.used(kind)] for kind in CalibType},
        dict(collections.Counter(groups[image.group_id] for image in images if image.group_id in groups)),
        sorted(job.label for job in used_jobs),
        dict(collections.Counter((one.dataset_type, one.detector) for one in there)),
        await _told(history, witness, {job.job_id for job in used_jobs}),
    )


async def _history_of(journal_path: Path, run_id: str) -> History:
    journal = Journal(journal_path, Clock(), lambda sentence: None)
    await journal.open()
    try:
        return fold(await journal.read(run_id))
    finally:
        await journal.close()


async def _check_jobs(observatory: Observatory, history: History) -> None:
    """All jobs of the run are known and over, and those that are used have used its frames only."""
    used_ids = {one.exposure_id for kind in CalibType for one in history.used(kind)}
    used_jobs = {job.job_id for job in history.jobs.values() if job.succeeded}
    known = {one.job_id for one in history.jobs.values()} | set(history.stray_jobs)
    for job in await uws_jobs(observatory):
        environment = {item["name"]: item["value"] for item in job["parameters"]["environment"]}
        if not str(environment["OUTPUT_GLOB"]).rpartition(",")[2].startswith(f"{history.run_id}_"):
            continue
        assert job["jobId"] in known, f"nobody knows of {environment['OUTPUT_GLOB']}"
        assert job["phase"] in ("completed", "error", "aborted"), f"{environment['OUTPUT_GLOB']} still runs"
        exposures = re.search(r"exposure IN \(([^)]*)\)", environment["DATA_QUERY"])
        if exposures and job["jobId"] in used_jobs:
            assert {int(one) for one in exposures[1].split(",")} <= used_ids, "a job has used other exposures"


async def _told(history: History, witness: Operator, used_jobs: set[str]) -> list[str]:
    """Check that what was published last of each thing follows from the facts; return it without what differs."""
    expected = [one for one in all_events(history) if type(one) in KEYS]

    def untold() -> list[str]:
        return [f"{one}; told was {_last(one, witness)}" for one in expected if _last(one, witness) != to_fields(one)]

    try:
        await witness.wait_for("last event of each thing", lambda: not untold(), HEARD_LIMIT_S)
    except AssertionError:
        raise AssertionError(f"The facts say {untold()}") from None
    return sorted(
        f"{EVENTS[type(one)]} {[item for item in to_fields(one).items() if not OF_ITS_OWN.fullmatch(item[0])]}"
        for one in expected
        if not isinstance(one, JobState) or one.job_id in used_jobs
    )


def _last(event: Event, witness: Operator) -> dict[str, object]:
    """Return the fields of the last event that was heard about what an event is about."""
    fields = to_fields(event)
    key = {name: fields[name] for name in (*KEYS[type(event)], "runId")}
    samples = witness.samples(EVENTS[type(event)], **key)
    return {name: getattr(samples[-1], name) for name in fields} if samples else {}
