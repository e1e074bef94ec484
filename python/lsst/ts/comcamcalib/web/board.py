# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The board: whether the calibrations that are needed are valid now, by type, filter and detector."""

from __future__ import annotations

import asyncio
import datetime
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from ..butler_data import Coverage
from ..clock import Clock, iso_utc, moment_tai
from ..config import CscConfig
from ..enums import CalibType
from ..errors import ServiceError
from ..options import named_collections
from ..run.reading import CertificationFound
from ..services.butler import ButlerService
from . import data
from .coverage import RETRY, Covered, Known
from .grouping import MAX_NAMES, STATUSES, names_in_words

__all__ = ["LOOK_BACK_DAYS", "MAX_COLLECTIONS", "BoardKeeper", "board_rows", "board_types"]

INTERVAL_S = 300.0
"""Time between two looks into the repository (seconds)."""

PAUSE_S = 5.0
"""How soon after a certification it is looked at again (seconds)."""

LOOK_BACK_DAYS = 60
"""What ended longer ago counts as MISSING (days)."""

EXPIRING = datetime.timedelta(hours=6)
"""What ends within this time is EXPIRING. Calibrations of a day end at noon TAI; a new run takes an hour."""

MAX_COLLECTIONS = 8
"""Collections that are looked at; each costs Butler a query for each type."""

# What to ask a run for; frames that the product is made of come with it.
ADVICE: Mapping[CalibType, str] = {
    CalibType.BIAS: "script_mode: BIAS",
    CalibType.DARK: "script_mode: BIAS_DARK",
    CalibType.FLAT: "script_mode: BIAS_DARK_FLAT",
    CalibType.DEFECTS: "script_mode: BIAS_DARK_FLAT and do_defects: true",
    CalibType.PTC: "script_mode: BIAS_DARK_FLAT and do_ptc: true",
}


def board_types(config: CscConfig) -> dict[CalibType, str]:
    """Return the products that runs certify, with their dataset types."""
    return {
        one: config.recipes[one.name].dataset_type
        for one in CalibType
        if config.recipes[one.name].jobs[-1].dimensions != "detector+exposure_pair"
    }


def board_rows(
    known: Known,
    types: Mapping[CalibType, str],
    names: Mapping[int, str],
    now_s: float,
    certified: Sequence[CertificationFound] = (),
) -> tuple[data.BoardRow, ...]:
    """Return the rows of the board.

    Parameters
    ----------
    known
        What is known of the collection.
    types
        The products, with their dataset types.
    names
        Names of the detectors by id.
    now_s
        The time (TAI unix seconds).
    certified
        What runs have certified in the collection, the latest first.
    """
    now = _iso_tai(now_s)
    found: dict[tuple[str, str], dict[int, list[Coverage]]] = {}
    for one in known.ranges:
        found.setdefault((one.dataset_type, one.physical_filter), {}).setdefault(one.detector, []).append(one)
    rows = []
    for calib_type, dataset_type in types.items():
        filters = sorted(name for one, name in found if one == dataset_type) or [""]
        nothing = "UNKNOWN" if calib_type in known.not_known else "MISSING"
        if calib_type is CalibType.FLAT and nothing == "UNKNOWN" and "" not in filters:
            filters.append("")  # for filters in which there were flats until lately
        for physical_filter in filters:
            of_detectors = found.get((dataset_type, physical_filter), {})
            cells = [
                _cell(detector, name, of_detectors.get(detector, ()), now, nothing) for detector, name in names.items()
            ]
            runs = [one for one in certified if one.dataset_type == dataset_type]
            rows.append(_row(calib_type, physical_filter, _with_runs(cells, runs)))
    return tuple(rows)


def _cell(detector: int, name: str, ranges: Collection[Coverage], now: str, nothing: str) -> data.BoardCell:
    """Return the state of one detector; of several ranges that counts which is valid now, else the last that was."""
    begun = [one for one in ranges if one.begin_iso_tai <= now]
    best = max(begun, key=lambda one: (one.end_iso_tai or "~", one.begin_iso_tai), default=None)
    if best is None:
        return data.BoardCell(detector=detector, name=name, status=nothing, begin="", end="", age_days=None, run="")
    end = best.end_iso_tai
    soon = (datetime.datetime.fromisoformat(now) + EXPIRING).isoformat()
    status = "OK" if not end or end > soon else "EXPIRING" if end > now else "EXPIRED"
    begin = best.begin_iso_tai
    age = datetime.datetime.fromisoformat(now) - datetime.datetime.fromisoformat(begin[:26]) if begin else None
    return data.BoardCell(
        detector=detector,
        name=name,
        status=status,
        begin=begin,
        end=end,
        age_days=None if age is None else age.total_seconds() / 86400,
        run=best.run,
    )


def _with_runs(cells: Sequence[data.BoardCell], certified: Sequence[CertificationFound]) -> list[data.BoardCell]:
    """Say which runs certified what is there, with which verdict, and which detectors the latest of them left out."""
    by_collection: dict[str, CertificationFound] = {}
    for one in certified:
        by_collection.setdefault(one.output_collection, one)
    there = {cell.run for cell in cells}
    # Not merely the latest: flats in another filter are of a run of their own, and what was withdrawn counts no more.
    latest = next((one for one in by_collection.values() if one.output_collection in there), None)
    done = []
    for cell in cells:
        update: dict[str, str] = {}
        if (own := by_collection.get(cell.run)) is not None:
            update = {"run_id": own.run_id, "verdict": own.verdict.name if own.verdict else "NOT_VERIFIED"}
        if latest is not None and own is not latest and cell.detector in latest.left_out:
            update["left_out_of"] = latest.run_id
        done.append(cell.model_copy(update=update))
    return done


def _row(calib_type: CalibType, physical_filter: str, cells: Sequence[data.BoardCell]) -> data.BoardRow:
    worst = max((cell.status for cell in cells), key=STATUSES.index, default="MISSING")
    bad = [cell.name for cell in cells if cell.status == worst]
    advice = ""
    if worst == "UNKNOWN" and calib_type is CalibType.FLAT and not physical_filter:
        advice = "In which other filters there were flats lately is not known."
    elif worst != "OK":
        few = len(bad) <= MAX_NAMES or len(bad) == len(cells)
        who = names_in_words(bad, [one.name for one in cells]) if few else f"{len(bad)} of {len(cells)} detectors"
        in_filter = f" with filter: {physical_filter}" if physical_filter and calib_type is CalibType.FLAT else ""
        advice = f"{who}: start a run with {ADVICE.get(calib_type, calib_type.name)}{in_filter}."
    return data.BoardRow(
        calib_type=calib_type.name,
        physical_filter=physical_filter,
        status=worst,
        advice=advice,
        cells=tuple(cells),
    )


def _has_something(row: data.BoardRow) -> bool:
    return any(cell.status not in ("MISSING", "UNKNOWN") for cell in row.cells)


def _of_other(rows: Iterable[data.BoardRow], collection: str) -> tuple[data.BoardRow, ...]:
    """Return the rows of what another collection than the usual one has, which a run must be told."""
    return tuple(
        row.model_copy(
            update={
                "advice": f"{row.advice.removesuffix('.')} and calib_collection: {collection}." if row.advice else ""
            }
        )
        for row in rows
        if _has_something(row)
    )


def _not_known(collection: str, reasons: Mapping[CalibType, str], types: Mapping[CalibType, str]) -> str:
    """Say what could not be looked up in a collection."""
    names, reason = ", ".join(types[one] for one in reasons), next(iter(reasons.values())).rstrip(".")
    return (
        f"It could not be looked up which {names} in {collection} have ended lately: {reason}. It is tried again every "
        f"{RETRY.total_seconds() / 60:.0f} min; until then UNKNOWN is what is not valid, and flats in some filters may "
        "not be shown."
    )


def _iso_tai(tai_s: float) -> str:
    return moment_tai(tai_s).isoformat(timespec="milliseconds")


class BoardKeeper:
    """Keeps the board: asks the repository every some minutes, and soon after each certification.

    Parameters
    ----------
    config
        The CSC's configuration.
    clock
        The clock.
    repository
        Returns the repository; None while the CSC is not ENABLED.
    certified
        Returns something that is another one after each certification and withdrawal.
    certified_lately
        Returns what runs have certified lately, the latest first.
    """

    def __init__(
        self,
        config: CscConfig,
        clock: Clock,
        repository: Callable[[], ButlerService | None],
        certified: Callable[[], object],
        certified_lately: Callable[[], Awaitable[Sequence[CertificationFound]]],
    ) -> None:
        self._types = board_types(config)
        self._names = config.instrument.detector_names
        self._named = named_collections(config.option_rules())
        self._clock = clock
        self._repository = repository
        self._certified = certified
        self._certified_lately = certified_lately
        self._runs: Sequence[CertificationFound] = ()
        self._covered: dict[str, Covered] = {}
        self._known: dict[str, Known] = {}
        self.board = data.Board(
            looked="", collection=self._named[0], rows=(), problem="The repository was not asked yet."
        )
        """The board as it was seen last."""

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        last_s, seen, connected = float("-inf"), self._certified(), False
        while True:
            repository, certified = self._repository(), self._certified()
            due = self._clock.monotonic() - last_s >= INTERVAL_S
            if repository is not None and (due or certified != seen or not connected):
                last_s, seen = self._clock.monotonic(), certified
                await self.look(repository)
            elif repository is None and (due or connected):
                last_s = self._clock.monotonic()
                self._say("The repository is asked only while the CSC is ENABLED.")
            connected = repository is not None
            await asyncio.sleep(PAUSE_S)

    async def look(self, repository: ButlerService) -> None:
        """Look once; if the repository does not answer, the board shows what was known, and says so."""
        now_s = self._clock.tai()
        now, since = _iso_tai(now_s), _iso_tai(now_s - LOOK_BACK_DAYS * 86400)
        try:
            self._runs = await self._certified_lately()
            names = list(dict.fromkeys([*self._named, *(one.collection for one in self._runs)]))
            shown, not_shown = names[:MAX_COLLECTIONS], names[MAX_COLLECTIONS:]
            self._covered = {name: self._covered.get(name) or self._new(name) for name in shown}
            self._known = {name: await self._covered[name].look(repository, now, since) for name in shown}
        except ServiceError as error:
            self._say(f"It could not be looked up again: {error}")
            return
        except Exception as error:
            logging.getLogger(__name__).exception("Bug: the board could not be made")
            self._say(f"It could not be looked up again: {type(error).__name__}. The CSC's log has more.")
            return
        self.board = self._made(now_s).model_copy(
            update={"looked": iso_utc(now_s), "not_shown": tuple(not_shown), "problem": ""}
        )

    def _say(self, problem: str) -> None:
        """Say why the repository could not be asked; what is known goes on ageing."""
        made = self._made(self._clock.tai()) if self._known else self.board
        self.board = made.model_copy(update={"problem": problem})

    def _made(self, now_s: float) -> data.Board:
        """Return the board of some time, from what is known."""
        usual = self._named[0]
        rows = {
            name: board_rows(
                *(known, self._types, self._names, now_s), [one for one in self._runs if one.collection == name]
            )
            for name, known in self._known.items()
        }
        others = {name: some for name in rows if name != usual and (some := _of_other(rows[name], name))}
        return self.board.model_copy(
            update={
                "rows": rows[usual],
                "others": tuple(data.BoardOfCollection(collection=name, rows=some) for name, some in others.items()),
                "not_known": tuple(
                    _not_known(name, known.not_known, self._types)
                    for name, known in self._known.items()
                    if known.not_known
                ),
            }
        )

    def _new(self, collection: str) -> Covered:
        return Covered(collection, self._types, self._names)
