# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is really in a Butler repository, asked without any code of the product."""

from __future__ import annotations

import dataclasses
from pathlib import Path

__all__ = ["Certified", "certified", "count_raws"]


@dataclasses.dataclass(frozen=True)
class Certified:
    """A dataset of a calibration collection, with its validity (ISO 8601 TAI; "" = unbounded)."""

    dataset_type: str
    detector: int
    physical_filter: str
    run: str
    dataset_id: str
    begin: str
    end: str


def certified(repo: Path, collection: str) -> list[Certified]:
    """Return what a calibration collection has; nothing if there is no such collection."""
    from lsst.daf.butler import Butler, MissingCollectionError

    with Butler.from_config(str(repo)) as butler:
        try:
            butler.collections.get_info(collection)
        except MissingCollectionError:
            return []
        return [
            Certified(
                product,
                int(one.ref.dataId["detector"]),
                str(one.ref.dataId.get("physical_filter", "")),
                str(one.ref.run),
                str(one.ref.id),
                one.timespan.begin.tai.isot[:19] if one.timespan.begin is not None else "",
                one.timespan.end.tai.isot[:19] if one.timespan.end is not None else "",
            )
            for product in ("bias", "dark", "flat", "defects", "ptc")
            for one in butler.registry.queryDatasetAssociations(product, collections=collection)
        ]


def count_raws(repo: Path) -> int:
    """Return the number of raw files that a repository has."""
    from lsst.daf.butler import Butler

    with Butler.from_config(str(repo)) as butler:
        return len(butler.query_datasets("raw", collections="LSSTComCam/raw/all", explain=False, limit=None))
