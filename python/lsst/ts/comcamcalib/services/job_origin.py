# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which repository a job uses."""

from __future__ import annotations

import logging
import os.path
import re

from ..credentials import without_credentials
from .uws_job import UwsJob

__all__ = ["foreign_repository", "resolve_alias", "same_repository"]


def foreign_repository(seen: UwsJob, repo: str) -> str:
    """Return a sentence if a job uses another repository than this CSC; "" if not, or if they can't be compared.

    Parameters
    ----------
    seen
        The job, as the UWS shows it.
    repo
        Repository of this CSC's configuration; "": not known.

    Notes
    -----
    Reads Butler's index of repositories and other files, so it must not run in the event loop.
    """
    if not repo or not seen.butler_repo:
        return ""
    theirs = without_credentials(seen.butler_repo)
    same = same_repository(seen.butler_repo, repo)
    if same is None:
        logging.getLogger(__name__).warning(
            "Job %s works on the repository %s. Whether that is %s, for which this CSC is configured, can't be seen on "
            "this machine; if the products of the job are not found, compare the two",
            seen.job_id,
            theirs,
            repo,
        )
    if same is not False:
        return ""
    return (
        f"Job {seen.job_id} works on the repository {theirs}, but this CSC is configured for {repo}: the "
        "products of the job are not found here. Correct repo of this CSC or the configuration of the OCPS; both must "
        "name the same repository"
    )


def same_repository(one: str, other: str) -> bool | None:
    """Return whether two names mean the same Butler repository; None if that can't be seen on this machine.

    Aliases, links and forms of a path count. An alias that this machine does not know may stand for any repository,
    and a folder and an object store may hold configurations of the same one.
    """
    if _plain(one) == _plain(other):
        return True
    one, other = _plain(resolve_alias(one)), _plain(resolve_alias(other))
    if one == other:
        return True
    if "/" not in one or "/" not in other or ("://" in one) != ("://" in other):
        return None
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # at least one of them is not on this machine
        return os.path.realpath(one) == os.path.realpath(other)


def resolve_alias(name: str) -> str:
    """Return the path or URL that an alias stands for in Butler's index; a name that is no alias stays as it is.

    Reads files, so it must not run in the event loop.
    """
    if "/" in name:
        return name
    try:
        from lsst.daf.butler import ButlerRepoIndex

        uri = ButlerRepoIndex.get_repo_uri(name)
        return uri.ospath if uri.isLocal else str(uri)
    except Exception:  # there is no index, or it can't be read: keep the name
        return name


def _plain(name: str) -> str:
    """Return a name of a repository without the parts that do not matter.

    A repository may have several configuration files, such as butler.yaml and butler+sasquatch.yaml.
    """
    path = name.strip().removeprefix("file://")
    return re.sub(r"(?<=/)[^/]+\.yaml$", "", path).rstrip("/") or "/"
