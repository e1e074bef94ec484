# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What was: the runs of the journal, their reports, promotions, and the trends of what runs measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from ..clock import Clock, iso_utc
from ..config import CscConfig
from ..enums import CalibType
from ..errors import ServiceError
from ..record.fold import fold
from ..report import file_name
from ..run.owner import JournalError
from ..run.promotions import Promoted, promotions_file, read_promotions
from ..run.reading import CertificationFound, certified_lately, open_to_read, read_entries, read_overviews, read_report
from ..services.worker_threads import WorkerThreads
from . import data
from .memory import Memory
from .now import run_document
from .trends import trend_products, trend_rows

__all__ = ["NotFoundError", "Past"]

T = TypeVar("T")

MAX_RUNS = 200
"""Runs in the list."""

MAX_PROMOTIONS = 200
"""Promotions in the list."""

CERTIFICATIONS = 500
"""Certifications that are looked at to find where and how runs have certified."""

READ_LIMIT_S = 20.0
"""Longest time for reading (seconds)."""

REMEMBERED_S = 30.0
"""How long what was read is shown again (seconds)."""

LISTS_REMEMBERED_S = 3.0
"""The same for lists: they cost little, and who has just decided something about a run looks for it in them."""

REPORT_TYPES: Mapping[str, str] = {"html": "text/html", "json": "application/json"}


class NotFoundError(Exception):
    """There is no such thing; the message says what there is."""


class Past:
    """Reads the journal, beside the run that writes it, in threads of its own.

    Parameters
    ----------
    config
        The CSC's configuration.
    clock
        The clock.
    threads
        In which it is read.
    """

    def __init__(self, config: CscConfig, clock: Clock, threads: WorkerThreads) -> None:
        self._config = config
        self._journal = Path(config.journal_path)
        self._clock = clock
        self._threads = threads
        self._lists: Memory[data.RunList | data.TrendList | data.PromotionList] = Memory(3, LISTS_REMEMBERED_S)
        self._runs: Memory[data.RunDocument] = Memory(8, REMEMBERED_S)

    async def close(self) -> None:
        """Wait for nothing any more."""
        for memory in (self._lists, self._runs):
            await memory.close()

    def forget(self) -> None:
        """Read everything again."""
        for memory in (self._lists, self._runs):
            memory.forget()

    async def runs(self) -> data.RunList:
        """Return the latest runs; what keeps them from being read is in the answer."""
        found = await self._lists.get("runs", lambda: self._do("list the runs", self._read_runs))
        assert isinstance(found, data.RunList)
        return found

    async def run(self, run_id: str) -> data.RunDocument:
        """Return a run.

        Raises
        ------
        NotFoundError
            If there is none.
        """

        def read() -> data.RunDocument:
            try:
                return run_document(fold(read_entries(self._journal, run_id)), self._clock.tai())
            except (JournalError, ValueError) as error:
                raise NotFoundError(f"{error}.") from error

        return await self._runs.get(run_id, lambda: self._do(f"read run {run_id}", read))

    async def report(self, run_id: str, suffix: str) -> bytes:
        """Return a report that the journal names.

        Raises
        ------
        NotFoundError
            If there is none.
        ServiceError
            If it can't be read.
        """
        return await self._do(f"read the report of run {run_id}", lambda: self._read_report(run_id, suffix))

    async def certified_lately(self) -> list[CertificationFound]:
        """Return what runs have certified lately, the latest first; nothing if it can't be read."""

        def read() -> list[CertificationFound]:
            try:
                return certified_lately(self._journal, CERTIFICATIONS)
            except JournalError:
                return []  # the page says elsewhere that the journal can't be read

        return await self._do("look what runs have certified", read)

    async def promotions(self) -> data.PromotionList:
        """Return the latest promotions; what keeps them from being read is in the answer."""
        found = await self._lists.get("promotions", lambda: self._do("list the promotions", self._read_promotions))
        assert isinstance(found, data.PromotionList)
        return found

    async def trend_list(self) -> data.TrendList:
        """Return what there are trends of; what keeps them from being read is in the answer."""
        found = await self._lists.get("trends", lambda: self._do("list the trends", self._read_trend_list))
        assert isinstance(found, data.TrendList)
        return found

    async def trend(
        self, type_name: str, physical_filter: str, detector: str, make: Callable[[data.TrendTable], T]
    ) -> T:
        """Return what is made of the trends of a product.

        Parameters
        ----------
        type_name, physical_filter
            The product.
        detector
            The one of whose amplifiers; empty: of all detectors.
        make
            Makes it, in the thread that has read them: so there are never more tables in memory than threads, which
            counts for those of a whole LSSTCam.

        Raises
        ------
        NotFoundError
            If there is no such product or detector.
        """
        if type_name not in CalibType.__members__:
            raise NotFoundError(f"There is no product {type_name}; there are {', '.join(CalibType.__members__)}.")
        names = self._config.instrument.detector_names
        if detector and detector not in names.values():
            raise NotFoundError(f"There is no detector {detector}; there are {', '.join(names.values())}.")
        key = (CalibType[type_name], physical_filter, detector)
        return await self._do(f"read trends of {type_name}", lambda: make(self._read(*key)))

    async def _do(self, what: str, read: Callable[[], T]) -> T:
        return await self._threads.do(what, READ_LIMIT_S, read, READ_LIMIT_S)

    # In the thread

    def _read_runs(self) -> data.RunList:
        try:
            overviews, total = read_overviews(self._journal, MAX_RUNS)
        except JournalError as error:
            return data.RunList(written=self._written(), runs=(), total=0, problem=f"{error}.")
        rows = tuple(
            data.RunRow(
                run_id=one.run_id,
                state=one.state.name if one.state is not None else "unknown",
                reason=one.reason,
                script_mode=one.script_mode,
                requested_by=one.requested_by,
                why=one.why,
                calib_collection=one.calib_collection,
                accepted=iso_utc(one.accepted_s),
                last=iso_utc(one.last_s),
                has_report=one.has_report,
                withdrawn=one.withdrawn,
            )
            for one in overviews
        )
        return data.RunList(written=self._written(), runs=rows, total=total, problem="")

    def _read_promotions(self) -> data.PromotionList:
        file = promotions_file(self._journal)
        try:
            found, strange = read_promotions(file)
        except OSError as error:
            problem = f"Promotions are not known: {file} can't be read: {error.strerror or error}."
            return data.PromotionList(written=self._written(), promotions=(), problem=problem)
        rows = tuple(_promotion(one) for one in found[:MAX_PROMOTIONS])
        problem = f"{file} has {strange} line{'s'[: strange - 1]} that can't be understood." if strange else ""
        return data.PromotionList(written=self._written(), promotions=rows, problem=problem)

    def _read_report(self, run_id: str, suffix: str) -> bytes:
        path = self._find_report(run_id, suffix)
        try:
            return path.read_bytes()
        except OSError as error:
            raise ServiceError(f"the report of run {run_id} can't be read ({error.strerror})") from error

    def _find_report(self, run_id: str, suffix: str) -> Path:
        try:
            written = read_report(self._journal, run_id)
        except JournalError as error:
            raise NotFoundError(f"{error}.") from error
        if written is None:
            raise NotFoundError(f"The journal has no report of run {run_id}.")
        named = next((one for one in written.files if one.mime_type == REPORT_TYPES[suffix]), None)
        if named is None or not self._config.report.directory:
            raise NotFoundError(f"There is no such report of run {run_id} on this machine.")
        # Not by the URL in the journal, which is that of the store if the report was uploaded.
        directory = Path(self._config.report.directory).resolve()
        path = directory / file_name(run_id, f".{suffix}")
        if not path.is_file() or path.resolve().parent != directory:
            raise NotFoundError(
                f"The report of run {run_id} is not on this machine any more. Write it again: "
                f"comcamcalib report {run_id} --again"
            )
        return path

    def _read_trend_list(self) -> data.TrendList:
        try:
            with open_to_read(self._journal) as connection:
                products = trend_products(connection)
        except ServiceError as error:
            return data.TrendList(written=self._written(), products=(), problem=str(error))
        return data.TrendList(written=self._written(), products=products, problem="")

    def _read(self, calib_type: CalibType, physical_filter: str, detector: str) -> data.TrendTable:
        names = self._config.instrument.detector_names
        number = next((one for one, name in names.items() if name == detector), None)
        try:
            with open_to_read(self._journal) as connection:
                rows, ignored = trend_rows(connection, calib_type, physical_filter, names, number)
        except ServiceError as error:
            raise NotFoundError(str(error)) from error
        if not rows:
            words = f"{calib_type.name} {physical_filter} {detector}"
            raise NotFoundError(f"No run has measured {' '.join(words.split())} yet.")
        return data.TrendTable(
            written=self._written(),
            calib_type=calib_type.name,
            physical_filter=physical_filter,
            detector=detector,
            rows=rows,
            not_counting=ignored,
        )

    def _written(self) -> str:
        return iso_utc(self._clock.tai())


def _promotion(one: Promoted) -> data.PromotionRow:
    numbers: dict[str, int] = {}
    for some in one.ranges:
        numbers[some.dataset_type] = numbers.get(some.dataset_type, 0) + len(some.dataset_ids)
    return data.PromotionRow(
        at=one.at,
        run_id=one.run_id,
        dataset_types=numbers,
        source=one.source,
        collection=one.collection,
        who=one.who,
        why=one.reason,
    )
