# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The record of one run: all that has happened, kept in the journal and published.

The latest entry of each thing (stage, image, job, …) is kept in memory, so that `status` can publish all again. An
entry is written to the journal before it is published. While the journal can't be written, the run goes on, and the
write is tried again until it succeeds.
"""

from __future__ import annotations

import asyncio
import dataclasses
import enum
import functools
import json
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from lsst.ts import utils

from ..enums import RunState, StageState
from ..plan.record import (
    Alarms,
    Certification,
    CertificationIntent,
    DetectorVerification,
    Entry,
    GainEstimate,
    ImageIngested,
    ImageTaken,
    Intent,
    JobState,
    RunConfiguration,
    RunStatus,
    StageStatus,
    VerificationResult,
)
from ..services.components import Unwell
from .journal import Journal, JournalError, StoredRun
from .states import OPEN_RUN_STATES, RUN_MOVES, check_move

__all__ = ["Publish", "RunLog", "Wait", "move_run"]

Publish = Callable[[Entry], Awaitable[None]]
"""Publishes an entry."""

# Time between two attempts to write a record to the journal after a failure (seconds).
RETRY_INTERVAL_S = 1.0

# Fields that, with the type, identify what an entry is about; a new entry with the same values replaces the old one.
_KEYS: dict[type[Entry | Intent], tuple[str, ...]] = {
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
    CertificationIntent: ("output_collection", "dataset_type", "validity_end"),
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
        Called with each entry after it is written to the journal.
    entries
        Entries so far, for a run of an earlier process.
    """

    def __init__(self, journal: Journal, publish: Publish, entries: Iterable[Entry | Intent] = ()) -> None:
        self._journal = journal
        self._publish = publish
        self._log = logging.getLogger(__name__)
        self._entries: dict[tuple[object, ...], Entry | Intent] = {}
        # Each entry is turned into JSON only once: a long run has thousands, and each write stores all of them.
        self._texts: dict[tuple[object, ...], str] = {}
        self._changes = 0
        self.journal_problem = ""
        """Why the latest record is not in the journal; empty if it is."""
        # Tries again to write the record to the journal until that succeeds or the record is closed.
        self._retrying: asyncio.Task[None] = utils.make_done_future()
        self._closed = False
        self._waits: dict[str, Wait] = {}
        self.unwell: tuple[Unwell, ...] = ()
        """Other components that the run needs and that are not ENABLED or send no heartbeat."""
        for entry in entries:
            self._keep(entry)

    @classmethod
    def from_stored(cls, stored: StoredRun, journal: Journal, publish: Publish) -> RunLog:
        """Make the record of a run from the journal.

        Raises
        ------
        JournalError
            If the entries in the journal can't be understood.
        """
        types = {entry_type.__name__: entry_type for entry_type in (*get_args(Entry), CertificationIntent)}
        try:
            entries = [_from_json(types[item["entry"]], item) for item in json.loads(stored.entries)]
            (status,) = (entry for entry in entries if isinstance(entry, RunStatus))
            if (status.run_id, status.state) != (stored.run_id, stored.state):
                raise ValueError(f"its record is that of run {status.run_id}, {status.state.name}")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise JournalError(
                f"What the journal {journal.path} has of run {stored.run_id} can't be understood ({error!r}); move the "
                "file away, a new one is made"
            ) from error
        return cls(journal, publish, entries)

    async def write(self, entry: Entry) -> None:
        """Write an entry to the journal, then publish it.

        A journal that fails does not stop the run: the events still show what the run does, and an alarm is published.
        If this is cancelled, the entry is written and published all the same, because it has happened.
        """
        self._keep(entry)
        await self._to_its_end(self._write(entry))

    async def intend(self, intent: Intent) -> None:
        """Record what is about to be done outside; see `write` for a journal that fails."""
        self._keep(intent)
        await self._to_its_end(self._store())

    async def flush(self) -> None:
        """Try at once to write what is not in the journal yet; `journal_problem` shows whether that succeeded."""
        if self.journal_problem:
            await self._try_to_store()

    async def close(self) -> None:
        """Try a last time to write what is not in the journal yet, then stop trying."""
        self._closed = True
        self._retrying.cancel()
        await asyncio.gather(self._retrying, return_exceptions=True)
        await self.flush()
        if self.journal_problem:
            status = self.status
            self._log.error(
                "Run %s is %s, but that is not in the journal: after a restart the run may be shown as it was "
                "earlier. If it is shown as INTERRUPTED then, close it with abort. %s",
                status.run_id,
                status.state.name,
                self.journal_problem,
            )

    async def _to_its_end(self, work: Coroutine[Any, Any, None]) -> None:
        """Do something that must be completed even if the caller is cancelled."""
        task = asyncio.create_task(work, name=f"record of run {self.status.run_id}")
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            await asyncio.wait([task])
            raise

    async def _write(self, entry: Entry) -> None:
        await self._store()
        try:
            await self._publish(entry)
        except Exception:
            # The run must still reach its end. If publishing keeps failing, the telemetry sends the CSC to FAULT.
            self._log.exception("Run %s: %s could not be published", self.status.run_id, type(entry).__name__)

    async def _store(self) -> None:
        """Write the record to the journal; while that fails, a task tries again, and nothing waits for it."""
        if self.journal_problem:
            return
        await self._try_to_store()
        if self.journal_problem and self._retrying.done() and not self._closed:
            self._retrying = asyncio.create_task(self._retry(), name=f"retries for the journal, {self.status.run_id}")

    async def _retry(self) -> None:
        while self.journal_problem:
            await asyncio.sleep(RETRY_INTERVAL_S)
            await self._try_to_store()

    async def _try_to_store(self) -> None:
        status = self.status
        stored = None
        try:
            # Entries that came during the failure were left to this task, so it must write them before it ends.
            while stored is None or (self.journal_problem and stored != self._changes):
                stored = self._changes
                await self._journal.write(StoredRun(status.run_id, self.status.state, self._to_json()))
        except JournalError as error:
            if str(error) != self.journal_problem:
                self._log.error(
                    "%s. The run goes on, and the CSC tries to write the journal again every %g s; if the CSC is "
                    "restarted before it can be written, it will not know what the run did from now on.",
                    error,
                    RETRY_INTERVAL_S,
                )
            self.journal_problem = str(error)
            return
        if self.journal_problem:
            self._log.warning("The journal can be written again: it has run %s as it is now.", status.run_id)
        self.journal_problem = ""

    def waiting(self, who: str, for_what: str, limit_s: float | None = None) -> None:
        """Note what a stage is doing or waiting for, and its limit (seconds; None: no limit of its own)."""
        self._waits[who] = Wait(for_what, utils.current_tai() + limit_s if limit_s is not None else 0.0)

    @property
    def waits(self) -> dict[str, Wait]:
        """What each RUNNING stage is waiting for."""
        running = {stage.stage_name for stage in self.stages_in(StageState.RUNNING)}
        return {who: wait for who, wait in self._waits.items() if who in running}

    async def publish_all(self) -> None:
        """Publish the latest entry of each thing again, one after the other."""
        for key in list(self._entries):
            # The latest entry may have changed while the others were published.
            entry = self._entries[key]
            if not isinstance(entry, CertificationIntent):
                await self._publish(entry)

    @property
    def status(self) -> RunStatus:
        """The run's own state."""
        return self.of(RunStatus)[-1]

    def of(self, entry_type: type[EntryType]) -> list[EntryType]:
        """Return the latest entries of one type, in the order in which their things first appeared."""
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

    def _keep(self, entry: Entry | Intent) -> None:
        self._changes += 1
        key = (type(entry).__name__, *(getattr(entry, name) for name in _KEYS[type(entry)]))
        self._entries[key] = entry
        self._texts[key] = json.dumps({"entry": type(entry).__name__, **dataclasses.asdict(entry)})

    def _to_json(self) -> str:
        return f"[{', '.join(self._texts.values())}]"


async def move_run(log: RunLog, state: RunState, reason: str) -> None:
    """Put a run into a state, and publish that; no other code does."""
    old = log.status
    check_move(RUN_MOVES, f"run {old.run_id}", old.state, state)
    now = utils.current_tai()
    ended = state not in OPEN_RUN_STATES
    await log.write(
        dataclasses.replace(
            old,
            state=state,
            reason=reason,
            timestamp_started=now if state is RunState.RUNNING else old.timestamp_started,
            timestamp_ended=now if ended else 0.0,
        )
    )
    level = logging.WARNING if state in (RunState.FAILED, RunState.ABORTED, RunState.INTERRUPTED) else logging.INFO
    logging.getLogger(__name__).log(level, "Run %s is %s. %s", old.run_id, state.name, reason)


@functools.cache
def _hints(entry_type: type) -> dict[str, Any]:
    """Return the types of an entry's fields; computed once for each kind, because a run has thousands of entries."""
    return get_type_hints(entry_type)


def _from_json(entry_type: type[Entry | Intent], item: dict[str, object]) -> Entry | Intent:
    """Make an entry from the values that `RunLog` stored: numbers become enumerations, lists tuples.

    Raises
    ------
    ValueError, KeyError
        If a field is missing or has a value of another type; such an entry is not used at all.
    """
    hints = _hints(entry_type)  # type: ignore[arg-type]  # mypy looks for the hash of an instance
    values = {
        field.name: _field_from_json(hints[field.name], item[field.name]) for field in dataclasses.fields(entry_type)
    }
    return entry_type(**values)  # type: ignore[arg-type]


def _field_from_json(hint: Any, value: object) -> object:
    if get_origin(hint) is tuple and isinstance(value, list):
        return tuple(_field_from_json(get_args(hint)[0], one) for one in value)
    if hint is float and type(value) is int:
        return float(value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum) and type(value) in (int, str):
        return hint(value)
    if type(value) is not hint:
        raise ValueError(f"{value!r} is no {getattr(hint, '__name__', hint)}")
    return value
