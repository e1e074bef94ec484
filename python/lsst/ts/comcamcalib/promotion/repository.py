# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The repository of a promotion, opened; what keeps it from that is a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import ServiceError
from ..services.database_errors import database_trouble

if TYPE_CHECKING:
    from lsst.daf.butler import Butler

__all__ = ["open_butler"]


def open_butler(repo: str, writeable: bool) -> Butler:
    """Open a repository.

    Raises
    ------
    ServiceError
        If that is not possible; the sentence says why.
    """
    from lsst.daf.butler import Butler

    try:
        return Butler.from_config(repo, writeable=writeable)
    except Exception as error:
        if (trouble := database_trouble(error)) is not None:
            raise ServiceError(f"The repository {repo} can't be opened: {trouble.sentence}.") from error
        cause = " ".join(str(error).split())[:300] or type(error).__name__
        raise ServiceError(f"The repository {repo} can't be opened: {cause}. Name it with --repo.") from error
