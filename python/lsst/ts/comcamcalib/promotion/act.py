# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A planned promotion, carried out: all or nothing, and written down."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsst.ts import utils

from ..butler_data import CertifyRequest
from ..clock import moment_tai
from ..errors import BadInputError, ConflictError, ServiceError
from ..run.promotions import Promoted, PromotedRange, note_promotion
from ..services import butler_certify, butler_read_back
from ..services.database_errors import Trouble, database_trouble
from .repository import open_butler
from .wanted import Planned

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["promote_planned"]


def promote_planned(planned: Planned) -> list[str]:
    """Copy as planned, all or nothing, and write down who did it and why; return what was done, for people.

    If everything is there already nothing is done, nor written down.

    Raises
    ------
    BadInputError
        If something else is certified there by now; then nothing is changed.
    ServiceError
        If that failed, or the copies are not found afterwards.
    """
    wanted, who = planned.wanted, planned.wanted.who
    if not planned.requests:
        return [f"Nothing was done: {wanted.collection} has all of it already."]
    with open_butler(planned.repo, writeable=True) as butler:
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
    noted = _noted(planned, who)  # before anything else can fail
    try:
        with open_butler(planned.repo, writeable=False) as butler:
            lost = [sentence for request in planned.requests for sentence in _not_found(butler, planned, request)]
    except Exception as error:
        cause = " ".join(str(error).split()) or type(error).__name__
        raise ServiceError(
            f"It was copied, but whether it is found again could not be looked up: {cause.rstrip('.')}. {noted} Run it "
            "again without --yes: what is there already is said."
        ) from error
    if lost:
        raise ServiceError(f"It was copied, but is not found again: {' '.join(lost)} {noted}")
    count = sum(len(request.dataset_ids) for request in planned.requests)
    return [f"{count} datasets of run {wanted.run_id} are certified in {wanted.collection}, by {who}.", noted]


def _noted(planned: Planned, who: str) -> str:
    """Write down in the file of promotions who did it and why; say where it is written."""
    try:
        note_promotion(planned.log, _promoted(planned, who))
    except OSError as error:
        return f"The documentation of the collection has it, but {planned.log} could not be written: {error}."
    return f"{planned.log} and the documentation of the collection have that."


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


def _document(butler: Butler, planned: Planned, who: str) -> None:
    """Add a line to the documentation of the collection."""
    name = planned.wanted.collection
    old = butler.registry.getCollectionDocumentation(name)
    types = ", ".join(dict.fromkeys(request.dataset_type for request in planned.requests))
    line = (
        f"{_now()} TAI: {types} of run {planned.wanted.run_id} from {planned.source}, by {who}: {planned.wanted.reason}"
    )
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


def _promoted(planned: Planned, who: str) -> Promoted:
    return Promoted(
        at=_now(),
        who=who,
        run_id=planned.wanted.run_id,
        source=planned.source,
        collection=planned.wanted.collection,
        reason=planned.wanted.reason,
        on_conflict=planned.wanted.on_conflict,
        ranges=tuple(
            PromotedRange(one.dataset_type, tuple(one.dataset_ids), one.begin_iso_tai, one.end_iso_tai)
            for one in planned.requests
        ),
    )


def _now() -> str:
    return moment_tai(utils.current_tai()).isoformat(timespec="seconds")
