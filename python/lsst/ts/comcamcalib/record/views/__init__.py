# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run's history looks like from outside: its SAL events, and the answer to the command ``status``; pure."""

from __future__ import annotations

from collections.abc import Iterator

from .. import facts
from ..events import Event
from ..facts import Fact
from ..history import History
from .certifications import certification
from .dispatch import published
from .frames import frame_events
from .jobs import job_state, stray_job
from .products import gain_estimate, measurement_events, verdict_events
from .report import report_files
from .run import configuration, last_job_id, run_status, stage_status

__all__ = ["all_events", "events_after", "snapshot"]


def events_after(fact: Fact, history: History) -> list[Event]:
    """Return the events to publish after a fact.

    Parameters
    ----------
    fact
        The last fact.
    history
        What follows from all facts, this one included.
    """
    return list(published(fact, history))


def all_events(history: History) -> Iterator[Event]:
    """Yield the latest event of each thing of a run: everything that was published and still holds."""
    yield run_status(history)
    yield configuration(history)
    yield from (stage_status(stage, history) for stage in history.stages.values())
    for frame in history.frames.values():
        yield from frame_events(frame, history)
    yield from (job_state(job, history) for job in history.jobs.values() if job.job_id)
    yield from (stray_job(stray, history) for stray in history.stray_jobs.values())
    for verdict in history.verdicts.values():
        yield from verdict_events(verdict, history)
    for measured in history.measured.values():
        yield from measurement_events(measured, history)
    yield from (gain_estimate(gains, history) for gains in history.gains.values())
    yield from (certification(one, history) for one in history.certifications.values() if one.done)
    if history.report is not None:
        yield from report_files(history.report, history)


@published.register
def _(_fact: facts.RunAccepted, history: History) -> Iterator[Event]:
    yield from all_events(history)


def snapshot(history: History) -> dict[str, object]:
    """Return what the command ``status`` answers, ready for JSON."""
    return {
        "runId": history.run_id,
        "runState": int(history.state),
        "reason": history.reason,
        "stages": [
            {
                "stageName": stage.name,
                "state": int(stage.state),
                "jobId": last_job_id(stage, history),
                "reason": stage.reason,
            }
            for stage in history.stages.values()
        ],
        "certifications": [
            {
                "calibType": int(one.calib_type),
                "state": int(one.state),
                "collection": one.collection,
                "datasetCount": one.dataset_count,
                "reason": one.reason,
            }
            for one in (certification(one, history) for one in history.certifications.values() if one.done)
        ],
        "imagesTaken": sum(1 for frame in history.frames.values() if frame.exposure_id),
        "imagesExpected": history.plan.images_expected,
    }
