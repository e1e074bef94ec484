# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts of every kind, at random and by example."""

from __future__ import annotations

import typing

from hypothesis import strategies as st
from lsst.ts.comcamcalib.enums import CalibType
from lsst.ts.comcamcalib.record import facts
from lsst.ts.comcamcalib.record.facts import Entry, Fact

from support.plans import make_plan
from support.records import accepted

__all__ = ["KINDS", "any_fact", "any_run"]

KINDS: tuple[type[Fact], ...] = typing.get_args(Fact)

_STAGES = [stage.name for stage in make_plan().stages]
_LABELS = [job.label for stage in make_plan().stages for job in stage.jobs]

# Few values, so that facts are often about the same thing.
_VALUES: dict[str, st.SearchStrategy[object]] = {
    "stage_name": st.sampled_from([*_STAGES, "NO.STAGE"]),
    "label": st.sampled_from([*_LABELS, "noJob"]),
    "attempt": st.integers(1, 3),
    "index": st.integers(1, 5),
    "number": st.integers(1, 3),
    "exposure_id": st.integers(2026112200001, 2026112200005),
    "job_id": st.sampled_from(["job-01", "job-02"]),
    "calib_type": st.sampled_from(list(CalibType)),
    "detector": st.integers(0, 8),
}


def _of_kind(kind: type[Fact]) -> st.SearchStrategy[Fact]:
    known = {name: _VALUES[name] for name in kind.model_fields if name in _VALUES}
    return st.builds(kind, kind=st.just(kind.model_fields["kind"].default), **known)


any_fact: st.SearchStrategy[Fact] = st.one_of(*(_of_kind(kind) for kind in KINDS if kind is not facts.RunAccepted))
"""Any fact but an acceptance."""


@st.composite
def any_run(draw: st.DrawFn) -> list[Entry]:
    """Return the acceptance of a run, and any facts after it in any order."""
    rest = draw(st.lists(any_fact, max_size=25))
    first = accepted(make_plan())
    return [first, *(Entry(number, first.at + number, fact) for number, fact in enumerate(rest, start=2))]
