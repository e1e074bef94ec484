# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Copy what a run has certified into another collection, with who wants that and why.

It is an act of its own, for people who look after collections: the CSC never does it. It works on the repository
directly, and only reads the CSC's journal, because the CSC owns that.
"""

from __future__ import annotations

import dataclasses
import getpass
import json
import os
import socket
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from lsst.ts import utils

from .butler_data import CertifiedRange, CertifyRequest
from .calib_types import calib_type_named
from .config import CscConfig
from .enums import CalibType
from .errors import BadInputError, ConflictError, ServiceError
from .plan.validity import Validity
from .record.fold import fold
from .record.history import History
from .record.things import Certification
from .run.owner import JournalError
from .run.reading import read_entries
from .services import butler_certify, butler_read_back
from .services.butler_queries import JOB_COLLECTIONS
from .services.database_errors import Trouble, database_trouble

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["Planned", "Promotion", "plan_promotion", "promote_planned"]

ON_CONFLICT = ("fail", "truncate")


@dataclasses.dataclass(frozen=True)
class Promotion:
    """What somebody wants to copy.

    Parameters
    ----------
    run_id, calib_types
        The run, and names of types; none: all that it certified.
    collection
        Where to.
    reason
        Why.
    on_conflict
        What becomes of calibrations that are there: ``fail`` or ``truncate``.
    by
        Who wants it; "": the user and host of this process.
    """

    run_id: str
    calib_types: tuple[str, ...]
    collection: str
    reason: str
    on_conflict: str = "fail"
    by: str = ""

    @property
    def who(self) -> str:
        """Who wants it, for the record."""
        return self.by.strip() or f"{_user()}@{socket.gethostname()}"


@dataclasses.dataclass(frozen=True)
class Planned:
    """What will be copied.

    Parameters
    ----------
    wanted
        What somebody wants.
    repo, instrument, source
        The repository, Butler's name of the instrument, and the collection that the run certified in.
    log
        The file that gets a line about it.
    requests
        What is certified.
    lines
        The same for people.
    """

    wanted: Promotion
    repo: str
    instrument: str
    source: str
    log: Path
    requests: tuple[CertifyRequest, ...]
    lines: tuple[str, ...]


def plan_promotion(wanted: Promotion, config: CscConfig, journal: Path, repo: str) -> Planned:
    """Look up what a promotion would copy; this changes nothing.

    Parameters
    ----------
    wanted
        What to copy, and where to.
    config
        The CSC's configuration.
    journal
        Its journal.
    repo
        Where this machine finds the repository.

    Raises
    ------
    BadInputError
        If it is not possible; the message has the reason and what to do.
    ServiceError
        If the repository can't be read.
    """
    certifications = _to_copy(wanted, _history(journal, wanted.run_id))
    source = certifications[0].intent.collection
    if wanted.collection == source:
        raise BadInputError([f"--to: the run has certified in {source} already; name another collection."])
    log = journal.with_name(f"{journal.stem}-promotions.jsonl")
    with _butler(repo, writeable=False) as butler:
        chains = _check_target(butler, wanted.collection)
        requests = list(_requests(butler, config.instrument.name, certifications, wanted))
        lines = [
            f"From {source} to {wanted.collection}{'' if chains is not None else ' (new)'}: {wanted.reason}",
            *_chain_lines(wanted.collection, chains or ()),
        ]
        for request in requests:
            lines += _lines(butler, config.instrument.name, request)
    return Planned(wanted, repo, config.instrument.name, source, log, tuple(requests), tuple(lines))


def promote_planned(planned: Planned) -> list[str]:
    """Copy as planned, all or nothing, and write down who did it and why; return what was done, for people.

    Raises
    ------
    BadInputError
        If something else is certified there by now; then nothing is changed.
    ServiceError
        If that failed, or the copies are not found afterwards.
    """
    wanted, who = planned.wanted, planned.wanted.who
    with _butler(planned.repo, writeable=True) as butler:
        try:
            with butler.transaction():
                for request in planned.requests:
                    butler_certify.certify(butler, planned.instrument, request)
                _document(butler, planned, who)
        except ConflictError as error:
            raise BadInputError([f"Nothing was changed: {error}"]) from error
        except ServiceError:
            raise
        except Exception as error:
            raise _failed(planned, error) from error
    with _butler(planned.repo, writeable=False) as butler:
        lost = [sentence for request in planned.requests for sentence in _not_found(butler, planned, request)]
    if lost:
        raise ServiceError(f"It was copied, but is not found again: {' '.join(lost)}")
    count = sum(len(request.dataset_ids) for request in planned.requests)
    lines = [f"{count} datasets of run {wanted.run_id} are certified in {wanted.collection}, by {who}."]
    try:
        _write_line(planned, who)
    except OSError as error:
        lines.append(f"The documentation of the collection has it, but {planned.log} could not be written: {error}")
    else:
        lines.append(f"{planned.log} and the documentation of the collection have that.")
    return lines


def _failed(planned: Planned, error: Exception) -> ServiceError:
    """Say why nothing was copied; if the connection was lost, that is not certain."""
    trouble = database_trouble(error)
    if trouble is None:
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        return ServiceError(f"Nothing was changed: Butler could not certify in {planned.wanted.collection}: {cause}.")
    if trouble.kind is Trouble.LOST:
        return ServiceError(
            f"Whether it was copied to {planned.wanted.collection} is not known: {trouble.sentence}. Run it "
            "again without --yes: what is there already is said."
        )
    return ServiceError(f"Nothing was changed: {trouble.sentence}.")


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


def _is_there(butler: Butler, instrument: str, request: CertifyRequest) -> bool:
    """Return whether exactly these datasets are certified there for exactly this validity."""
    there = butler_certify.certified_ranges(
        butler, instrument, request.dataset_type, request.calib_collection, request.dataset_ids
    )
    validity = (request.begin_iso_tai, request.end_iso_tai)
    same = {one.dataset_id for one in there if (one.begin_iso_tai, one.end_iso_tai) == validity}
    return same == set(request.dataset_ids)


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


def _lines(butler: Butler, instrument: str, request: CertifyRequest) -> list[str]:
    """Say what is certified, and what that changes.

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
    if _is_there(butler, instrument, request):
        lines.append("    is there already, for the same validity")
    if there:
        lines.append(f"    ends then: {butler_certify.in_words(request.dataset_type, there)}")
    return lines


def _document(butler: Butler, planned: Planned, who: str) -> None:
    """Add a line to the documentation of the collection."""
    name = planned.wanted.collection
    old = butler.registry.getCollectionDocumentation(name)
    types = ", ".join(dict.fromkeys(request.dataset_type for request in planned.requests))
    line = f"{_now()}: {types} of run {planned.wanted.run_id} from {planned.source}, by {who}: {planned.wanted.reason}"
    butler.registry.setCollectionDocumentation(name, f"{old}\n{line}" if old else line)


def _not_found(butler: Butler, planned: Planned, request: CertifyRequest) -> list[str]:
    return butler_read_back.read_back(
        butler,
        planned.instrument,
        request.dataset_type,
        request.calib_collection,
        request.begin_iso_tai,
        request.end_iso_tai,
        request.dataset_ids,
        (),
    )


def _write_line(planned: Planned, who: str) -> None:
    line = {
        "at": _now(),
        "who": who,
        "runId": planned.wanted.run_id,
        "from": planned.source,
        "to": planned.wanted.collection,
        "reason": planned.wanted.reason,
        "onConflict": planned.wanted.on_conflict,
        "certified": [
            {
                "datasetType": request.dataset_type,
                "datasetIds": request.dataset_ids,
                "validityBegin": request.begin_iso_tai,
                "validityEnd": request.end_iso_tai,
            }
            for request in planned.requests
        ],
    }
    with planned.log.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may know its user by number only
        return f"uid{os.getuid()}"


def _now() -> str:
    return f"{utils.astropy_time_from_tai_unix(utils.current_tai()).isot[:19]} TAI"


def _butler(repo: str, writeable: bool) -> Butler:
    from lsst.daf.butler import Butler

    try:
        return Butler.from_config(repo, writeable=writeable)
    except Exception as error:
        if (trouble := database_trouble(error)) is not None:
            raise ServiceError(f"The repository {repo} can't be opened: {trouble.sentence}.") from error
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ServiceError(f"The repository {repo} can't be opened: {cause}. Name it with --repo.") from error
