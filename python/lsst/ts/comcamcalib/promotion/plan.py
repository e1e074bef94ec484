# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a promotion would copy, and what that would change; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..butler_data import CertifiedRange, CertifyRequest
from ..calib_types import calib_type_named
from ..enums import CalibType
from ..errors import BadInputError
from ..plan.validity import Validity
from ..record.fold import fold
from ..record.history import History
from ..record.things import Certification
from ..run.owner import JournalError
from ..run.promotions import promotions_file
from ..run.reading import read_entries
from ..services import butler_certify
from ..services.butler_queries import JOB_COLLECTIONS
from .repository import open_butler
from .wanted import Planned, Promotion

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["plan_promotion"]

ON_CONFLICT = ("fail", "truncate")


def plan_promotion(wanted: Promotion, journal: Path, repo: str = "") -> Planned:
    """Look up what a promotion would copy; this changes nothing.

    Parameters
    ----------
    wanted
        What to copy, and where to.
    journal
        The CSC's journal.
    repo
        Where this machine finds the repository; "": where the run has found it.

    Raises
    ------
    BadInputError
        If it is not possible; the message has the reason and what to do.
    ServiceError
        If the repository can't be read.
    """
    history = _history(journal, wanted.run_id)
    certifications = _to_copy(wanted, history)
    repo, instrument = repo or history.plan.config.repo, history.plan.config.instrument.name
    source = certifications[0].intent.collection
    if wanted.collection == source:
        raise BadInputError([f"--to: the run has certified in {source} already; name another collection."])
    log = promotions_file(journal)
    with open_butler(repo, writeable=False) as butler:
        chains = _check_target(butler, wanted.collection)
        requests = list(_requests(butler, instrument, certifications, wanted))
        lines = [
            f"From {source} to {wanted.collection}{'' if chains is not None else ' (new)'}: {wanted.reason}",
            *_chain_lines(wanted.collection, chains or ()),
        ]
        missing = []
        for request in requests:
            there = _there(butler, instrument, request)
            if len(there) < len(request.dataset_ids):
                missing.append(request)
            lines += _lines(butler, instrument, request, len(there))
    return Planned(wanted, repo, instrument, source, log, tuple(missing), tuple(lines))


def _history(journal: Path, run_id: str) -> History:
    try:
        return fold(read_entries(journal, run_id))
    except (JournalError, ValueError) as error:
        raise BadInputError([f"{error}. Name the CSC's journal with --journal."]) from error


def _to_copy(wanted: Promotion, history: History) -> list[Certification]:
    """Return the certifications that stand."""
    problems = []
    if not wanted.reason.strip():
        problems.append("--reason: say why; it is recorded with your name.")
    if wanted.on_conflict not in ON_CONFLICT:
        problems.append(f"--on-conflict: {wanted.on_conflict!r} is none of {' and '.join(ON_CONFLICT)}.")
    types = set() if wanted.calib_types else set(CalibType)
    for name in wanted.calib_types:
        try:
            types.add(calib_type_named(name))
        except BadInputError as error:
            problems += error.problems
    if history.open:
        problems.append(f"Run {history.run_id} is {history.state.name}; wait for its end.")
    if problems:
        raise BadInputError(problems)
    done = [one for one in history.certifications.values() if one.done and one.intent.calib_type in types]
    standing = [one for one in done if one.withdrawn is None]
    missing = {one.name for one in types if wanted.calib_types} - {one.intent.calib_type.name for one in standing}
    if missing or not standing:
        gone = [f"{one.intent.calib_type.name} was {one.withdrawn.words}" for one in done if one.withdrawn is not None]
        what = ", ".join(sorted(missing)) or "anything"
        raise BadInputError(["; ".join([f"Run {history.run_id} has not certified {what}", *dict.fromkeys(gone)]) + "."])
    return standing


def _check_target(butler: Butler, name: str) -> list[str] | None:
    """Check the collection to copy into; return the chains that it is in, None if it does not exist.

    Raises
    ------
    BadInputError
        If nothing may be certified there.
    """
    from lsst.daf.butler import CollectionType, MissingCollectionError

    if not name or name.split() != [name]:
        raise BadInputError([f"--to: {name!r} is no name of a collection."])
    try:
        info = butler.collections.get_info(name, include_parents=True)
    except MissingCollectionError:
        return None
    if info.type is CollectionType.CHAINED:
        raise BadInputError(
            [
                f"--to: {name} is a CHAINED collection, through which people find calibrations; nothing is promoted "
                "into one. Name a CALIBRATION collection; whoever looks after the chain can put that into it."
            ]
        )
    if obstacle := butler_certify.certify_obstacle(butler, name):
        raise BadInputError([f"--to: {obstacle}"])
    return sorted(info.parents or ())


def _chain_lines(name: str, chains: Sequence[str]) -> list[str]:
    """Say who else sees the copies; each job's own chain has the inputs of that job, so that they are only counted."""
    jobs = [one for one in chains if one.startswith(JOB_COLLECTIONS)]
    others = [one for one in chains if one not in jobs]
    lines = [f"{name} is in the chain {one}: whoever uses that sees it at once." for one in others]
    return [*lines, f"It is also in the chains of {len(jobs)} jobs ({JOB_COLLECTIONS}…)."] if jobs else lines


def _there(butler: Butler, instrument: str, request: CertifyRequest) -> set[str]:
    """Return those of the datasets that are certified there for this validity, and so need no copy."""
    there = butler_certify.certified_ranges(
        butler, instrument, request.dataset_type, request.calib_collection, request.dataset_ids
    )
    wanted = butler_certify.timespan_of(request.begin_iso_tai, request.end_iso_tai)
    return {
        one.dataset_id
        for one in there
        if butler_certify.timespan_of(one.begin_iso_tai, one.end_iso_tai).contains(wanted)
    }


def _requests(
    butler: Butler, instrument: str, certifications: Iterable[Certification], wanted: Promotion
) -> Iterator[CertifyRequest]:
    """Yield what is to be certified: the run's datasets, for the ranges that they have now."""
    seen: set[tuple[str, CertifiedRange]] = set()
    for one in certifications:
        intent = one.intent
        now = butler_certify.certified_ranges(
            butler, instrument, intent.dataset_type, intent.collection, intent.dataset_ids
        )
        new = [found for found in now if (intent.dataset_type, found) not in seen]
        seen |= {(intent.dataset_type, found) for found in new}
        if gone := set(intent.dataset_ids) - {found.dataset_id for found in now}:
            raise BadInputError(
                [
                    f"{len(gone)} of the {len(intent.dataset_ids)} datasets of {intent.calib_type.name} of run "
                    f"{wanted.run_id} are not in {intent.collection} any more: a later run has replaced them, or "
                    "somebody has withdrawn them. Nothing is promoted in part; promote the later run."
                ]
            )
        for begin, end in sorted({(found.begin_iso_tai, found.end_iso_tai) for found in new}):
            yield CertifyRequest(
                run_collection=intent.output_collection,
                dataset_type=intent.dataset_type,
                dataset_ids=tuple(
                    found.dataset_id for found in new if (found.begin_iso_tai, found.end_iso_tai) == (begin, end)
                ),
                calib_collection=wanted.collection,
                begin_iso_tai=begin,
                end_iso_tai=end,
                verdict=intent.verdict,
                on_conflict=wanted.on_conflict,
            )


def _lines(butler: Butler, instrument: str, request: CertifyRequest, already: int) -> list[str]:
    """Say what is certified, how many datasets of it are there already, and what it changes.

    Raises
    ------
    BadInputError
        If something is there that may not be changed.
    """
    there = butler_certify.certified_before(butler, instrument, request)
    verdict = request.verdict.name if request.verdict is not None else "not verified"
    words = Validity(request.begin_iso_tai, request.end_iso_tai).words
    lines = [f"  {len(request.dataset_ids)} {request.dataset_type} of {request.run_collection} ({verdict}), {words}"]
    if there and request.on_conflict == "fail":
        raise BadInputError(
            [
                f"{request.calib_collection} already has for a part of this validity: "
                f"{butler_certify.in_words(request.dataset_type, there)}. Name another collection, or give "
                "--on-conflict truncate: that then ends where this begins."
            ]
        )
    if already:
        count = f"{already} of them" if already < len(request.dataset_ids) else "all of them"
        lines.append(f"    there already: {count}, with the same dataset UUIDs, for this validity")
    if there:
        lines.append(f"    ends then: {butler_certify.in_words(request.dataset_type, there)}")
    return lines
