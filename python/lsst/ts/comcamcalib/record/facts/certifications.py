# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later
"""What became of certifications; each has a number within the run, from 1."""

from __future__ import annotations

from typing import Literal

from ...enums import CalibType, Verdict
from .base import FactModel

__all__ = [
    "Certified",
    "CertifiedBefore",
    "CertifyAbsent",
    "CertifyIntended",
    "Decertified",
    "DecertifyAbsent",
    "DecertifyIntended",
    "RangeChange",
]


class CertifiedBefore(FactModel):
    """A dataset that was certified before for a range that a certification takes over (ISO 8601 TAI, "" = open)."""

    dataset_id: str
    detector: int | None
    physical_filter: str | None
    validity_begin: str
    validity_end: str
    run_collection: str = ""
    """RUN that it was written to; empty: not known."""


class CertifyIntended(FactModel):
    """Datasets are about to be certified; validity in ISO 8601 TAI, "" = unbounded."""

    kind: Literal["certify_intended"] = "certify_intended"
    number: int
    stage_name: str
    """The stage that certifies; that of another product if this one is certified once more, for its later frames."""
    calib_type: CalibType
    verdict: Verdict | None
    """The good verdict; None: nobody verified it, and the option certify_unverified asks for it all the same."""
    dataset_type: str
    collection: str
    output_collection: str
    validity_begin: str
    validity_end: str
    dataset_ids: tuple[str, ...]
    replaces: tuple[CertifiedBefore, ...] = ()
    remarks: tuple[str, ...] = ()
    on_conflict: str = "replace"
    """With ``truncate``, what it replaces ends where the validity begins."""
    left_out: tuple[int, ...] = ()
    """Detectors of the run that it is without: they are not good, or nothing was made for them."""


class Certified(FactModel):
    """A certification was done; the reason says what it replaces, and what was not found when it was read back."""

    kind: Literal["certified"] = "certified"
    number: int
    dataset_count: int
    reason: str
    lost: tuple[str, ...] = ()
    """What was not found as it should be when it was read back, a sentence each; then it must be done again."""
    found: bool = False
    """Whether it was found after the process that had it done ended, or after an answer that did not come."""


class CertifyAbsent(FactModel):
    """An intended certification was looked for, and nothing of it is in the collection."""

    kind: Literal["certify_absent"] = "certify_absent"
    number: int
    reason: str


class RangeChange(FactModel):
    """A range that a dataset had in a collection, or gets back (ISO 8601 TAI, "" = open)."""

    dataset_type: str
    dataset_id: str
    detector: int | None
    physical_filter: str | None
    validity_begin: str
    validity_end: str


class DecertifyIntended(FactModel):
    """Certifications are about to be withdrawn, all or none, because somebody wants that."""

    kind: Literal["decertify_intended"] = "decertify_intended"
    number: int
    """Each withdrawal has a number within the run, from 1."""
    certifications: tuple[int, ...]
    """Numbers of the certifications."""
    collection: str
    out: tuple[RangeChange, ...]
    """What is taken out of the collection: the run's own datasets, and ranges of older ones that grow again."""
    back: tuple[RangeChange, ...]
    """What is put into it: what had been replaced, with the ranges that it had."""
    who: str
    why: str


class Decertified(FactModel):
    """Certifications were withdrawn; the reason says what is back, and what was not found as it should be."""

    kind: Literal["decertified"] = "decertified"
    number: int
    reason: str
    lost: tuple[str, ...] = ()
    """What was not as it should be when it was read back, a sentence each."""
    found: bool = False
    """Whether it was found after the process that had it done ended, or after an answer that did not come."""


class DecertifyAbsent(FactModel):
    """An intended withdrawal was not done, and nothing of it is."""

    kind: Literal["decertify_absent"] = "decertify_absent"
    number: int
    reason: str
    again: bool = False
    """Whether it is intended again at once, because the collection had changed since it was looked up."""
