# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Look, without changing anything, at what a planned run would replace in the repository."""

from __future__ import annotations

import concurrent.futures
import os.path
import threading
from collections.abc import Callable, Collection, Iterable
from typing import TYPE_CHECKING, TypeVar

from ..butler_data import ReplacedDataset
from ..errors import ServiceError, UnreachableError
from ..plan.validity import Validity
from .butler_certify import certified_for_others

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["look_for_replacements"]

T = TypeVar("T")


def look_for_replacements(
    repo: str,
    instrument: str,
    dataset_types: Iterable[str],
    calib_collection: str,
    validity: Validity,
    detectors: Collection[int],
    limit_s: float,
) -> dict[str, list[ReplacedDataset]]:
    """Return what is certified now where new datasets would be certified.

    This opens the repository without the right to write. It blocks, and must not run in the event loop.

    Parameters
    ----------
    repo
        The repository.
    instrument
        Butler's name of the instrument.
    dataset_types
        Those that would be certified.
    calib_collection
        Collection that they would be certified in.
    validity
        Range that they would be certified for.
    detectors
        Detector ids.
    limit_s
        Limit for opening and looking (seconds).

    Returns
    -------
    replaced
        By dataset type; empty lists if nothing is replaced. Flats are replaced only in the filter in which new ones are
        taken; those in all filters are listed.

    Raises
    ------
    ServiceError
        If the repository can't be opened or read, or does not answer in time.
    """

    def look(butler: Butler) -> dict[str, list[ReplacedDataset]]:
        begin, end = validity.begin_iso_tai, validity.end_iso_tai
        return {
            name: certified_for_others(butler, instrument, name, calib_collection, begin, end, detectors)
            for name in dataset_types
        }

    return _with_butler(repo, look, limit_s)


def _with_butler(repo: str, look: Callable[[Butler], T], limit_s: float) -> T:
    """Open a repository in a thread, which is left behind if it does not end within the limit, and look into it."""
    answer: concurrent.futures.Future[T] = concurrent.futures.Future()

    def work() -> None:
        try:
            from lsst.daf.butler import Butler

            answer.set_result(look(Butler.from_config(repo, writeable=False)))
        except Exception as error:
            answer.set_exception(error)

    threading.Thread(target=work, name=f"look into {repo}", daemon=True).start()
    try:
        return answer.result(limit_s)
    except TimeoutError as error:
        raise UnreachableError(f"the repository {repo} did not answer within {limit_s:g} s") from error
    except Exception as error:
        if "://" not in repo and os.path.isabs(repo) and not os.path.exists(repo):
            raise ServiceError(f"the repository {repo} is not on this machine") from error
        if "/" not in repo and isinstance(error, FileNotFoundError):
            raise ServiceError(
                f"this machine knows no repository {repo}; name an index that has it in DAF_BUTLER_REPOSITORY_INDEX"
            ) from error
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ServiceError(f"the repository {repo} can't be read: {cause}") from error
