# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of one run: what happened so far, kept in the journal and told to the world.

The newest entry of each thing (stage, image, job, …) is kept in memory, so that `status` can tell everything again; the
same goes to the journal before it is published.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import logging
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar, get_args, get_type_hints

from lsst.ts import utils

from ..enums import StageState
from ..plan.record import (
    Alarms,
    Certification,
    DetectorVerification,
    Entry,
    GainEstimate,
    ImageIngested,
    ImageTaken,
    JobState,
    RunConfiguration,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from .journal import Journal, JournalError, StoredRun

__all__ = ["Publish", "RunLog", "Wait"]

Publish = Callable[[Entry], Awaitable[None]]
"""Tells the world about an entry."""

# What makes an entry the newest of its thing; together with the type.
_KEYS: dict[type[Entry], tuple[str, ...]] = {
    RunStatus: (),
    RunConfiguration: (),
    StageStatus: ("stage_name",),
    ImageTaken: ("exposure_id",),
    ImageIngested: ("exposure_id",),
    JobState: ("job_id",),
    VerificationResult: ("calib_type", "physical_filter"),
    DetectorVerification: ("calib_type", "physical_filter", "detector"),
    GainEstimate: ("exposure_id", "detector"),
    Certification: ("calib_type", "state"),
    Alarms: (),
}

EntryType = TypeVar("EntryType")


@dataclasses.dataclass(frozen=True)
class Wait:
    """What a stage is waiting for, and until when at the latest (TAI unix seconds, 0: no limit)."""

    for_what: str
    until: float


class RunLog:
    """All entries of one run; implements what `lsst.ts.comcamcalib.plan.record.Record` asks of a writer.

    Parameters
    ----------
    journal
        Where entries are kept.
    publish
        Called with each entry once it is written down.
    entries
        Entries so far, for a run of an earlier process.
    """

    def __init__(self, journal: Journal, publish: Publish, entries: Iterable[Entry] = ()) -> None:
        self._journal = journal
        self._publish = publish
        self._log = logging.getLogger(__name__)
        self._entries: dict[tuple[object, ...], Entry] = {}
        # Each is written out once: a long run has thousands of entries, and each new one is stored with all others.
        self._texts: dict[tuple[object, ...], str] = {}
        self.journal_problem = ""
        """Why the journal could not be written the last time; empty if it could."""
        self._waits: dict[str, Wait] = {}
        for entry in entries:
            self._keep(entry)

    @classmethod
    def from_stored(cls, stored: StoredRun, journal: Journal, publish: Publish) -> RunLog:
        """Make the record of a run that the journal has.

        Raises
        ------
        JournalError
            If what the journal has can't be understood.
        """
        types = {entry_type.__name__: entry_type for entry_type in get_args(Entry)}
        try:
            entries = [_from_json(types[item["entry"]], item) for item in json.loads(stored.entries)]
        except (ValueError, LookupError, TypeError) as error:
            raise JournalError(
                f"What the journal {journal.path} has of run {stored.run_id} can't be understood ({error!r}); move the "
                "file away, a new one is made"
            ) from error
        return cls(journal, publish, entries)

    async def write(self, entry: Entry) -> None:
        """Write down an entry, then publish it.

        A journal that fails does not stop the run: what the run does can be seen in its events. It is told as an alarm.
        When this is cancelled, the entry is written down and published all the same: it has happened.
        """
        self._keep(entry)
        task = asyncio.create_task(self._write(entry), name=f"record of run {self.status.run_id}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def _write(self, entry: Entry) -> None:
        status = self.status
        try:
            await self._journal.write(StoredRun(status.run_id, status.state, self._to_json()))
            self.journal_problem = ""
        except JournalError as error:
            self._log.error("%s. The run goes on; after a restart nothing will be known of it.", error)
            self.journal_problem = str(error)
        try:
            await self._publish(entry)
        except Exception:
            # The run must reach a defined end. That nothing can be told ends the CSC by its telemetry, in FAULT.
            self._log.exception("Run %s: %s could not be published", status.run_id, type(entry).__name__)

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        """Say what a stage is doing or waiting for, and how long at the most (seconds; None: no limit of its own)."""
        self._waits[who] = Wait(for_what, utils.current_tai() + limit_s if limit_s is not None else 0.0)

    @property
    def waits(self) -> dict[str, Wait]:
        """What each stage that is RUNNING is waiting for."""
        running = {stage.stage_name for stage in self.stages_in(StageState.RUNNING)}
        return {who: wait for who, wait in self._waits.items() if who in running}

    async def publish_all(self) -> None:
        """Publish the newest entry of each thing again, one after the other."""
        for key in list(self._entries):
            # What is the newest may have changed while the others were published.
            await self._publish(self._entries[key])

    @property
    def status(self) -> RunStatus:
        """The run's own state."""
        return self.of(RunStatus)[-1]

    def of(self, entry_type: type[EntryType]) -> list[EntryType]:
        """Return the newest entries of one type, in the order in which their things appeared."""
        return [entry for entry in self._entries.values() if isinstance(entry, entry_type)]

    def stage(self, name: str) -> StageStatus:
        """Return the state of a stage."""
        return next(stage for stage in self.of(StageStatus) if stage.stage_name == name)

    def stages_in(self, *states: StageState) -> list[StageStatus]:
        """Return the stages that are in one of some states."""
        return [stage for stage in self.of(StageStatus) if stage.state in states]

    def snapshot(self) -> dict[str, object]:
        """Return what the command ``status`` answers, ready for JSON."""
        status = self.status
        return {
            "runId": status.run_id,
            "runState": int(status.state),
            "reason": status.reason,
            "stages": [
                {
                    "stageName": stage.stage_name,
                    "state": int(stage.state),
                    "jobId": stage.job_id,
                    "reason": stage.reason,
                }
                for stage in self.of(StageStatus)
            ],
            "imagesTaken": len(self.of(ImageTaken)),
            "imagesExpected": status.images_expected,
        }

    def _keep(self, entry: Entry) -> None:
        key = (type(entry).__name__, *(getattr(entry, name) for name in _KEYS[type(entry)]))
        self._entries[key] = entry
        self._texts[key] = json.dumps({"entry": type(entry).__name__, **dataclasses.asdict(entry)})

    def _to_json(self) -> str:
        return f"[{', '.join(self._texts.values())}]"


def _from_json(entry_type: type[Entry], item: dict[str, object]) -> Entry:
    """Make an entry again from what `RunLog` stored: numbers become enumerations, lists tuples."""
    hints = get_type_hints(entry_type)
    values: dict[str, object] = {}
    for field in dataclasses.fields(entry_type):
        value, hint = item[field.name], hints[field.name]
        values[field.name] = tuple(value) if isinstance(value, list) else hint(value)
    return entry_type(**values)  # type: ignore[arg-type]
