# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""To which run and repository a job belongs: marks, and the repository that it uses."""

from __future__ import annotations

import os.path

from ..credentials import without_credentials
from .ocps import JobRequest
from .uws_job import UwsJob

__all__ = ["foreign_repository", "mark_of", "same_repository"]


def mark_of(request: JobRequest) -> str:
    """Return the mark by which a job is recognised at the UWS: the last of its globs, which matches no dataset."""
    return request.output_dataset_types.rpartition(",")[2].strip()


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
    if not repo or not seen.butler_repo or same_repository(seen.butler_repo, repo):
        return ""
    theirs = without_credentials(seen.butler_repo)
    return (
        f"Job {seen.job_id} works on the repository {theirs}, but this CSC is configured for {repo}: the "
        "products of the job are not found here. Correct repo of this CSC or the configuration of the OCPS; both must "
        "name the same repository"
    )


def same_repository(one: str, other: str) -> bool:
    """Return whether two names mean the same Butler repository; aliases, links and forms of a path count."""
    if _plain(one) == _plain(other):
        return True
    one, other = _plain(_resolve_alias(one)), _plain(_resolve_alias(other))
    if one == other:
        return True
    try:
        return os.path.samefile(one, other)
    except (OSError, ValueError):  # at least one of them is not on this machine
        return os.path.realpath(one) == os.path.realpath(other)


def _resolve_alias(name: str) -> str:
    """Return the path or URL that an alias stands for in Butler's index; a name that is no alias stays as it is."""
    if "/" in name:
        return name
    try:
        from lsst.daf.butler import ButlerRepoIndex

        return str(ButlerRepoIndex.get_repo_uri(name, return_label=True))
    except Exception:  # there is no index, or it can't be read: keep the name
        return name


def _plain(name: str) -> str:
    """Return a name of a repository without the parts that do not matter."""
    return name.strip().removeprefix("file://").removesuffix("/butler.yaml").rstrip("/") or "/"
