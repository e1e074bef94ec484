# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a collection must have after a certification is undone; pure.

A CALIBRATION collection has, for each data id, datasets for ranges that do not overlap. A certification takes a range
away from the datasets that had it. Undoing it takes the range from its own datasets and gives it back, unless somebody
else has it by now.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Hashable, Iterator, Sequence

__all__ = ["Former", "Held", "InTheWayError", "Span", "Undone", "undo"]


@dataclasses.dataclass(frozen=True)
class Span:
    """A range of time (ISO 8601 TAI, as `lsst.ts.comcamcalib.services.butler_queries.iso_tai` writes it; "": open)."""

    begin: str
    end: str

    # Such times sort like text, because each has its year first and no zeros at the end.

    def overlaps(self, other: Span) -> bool:
        """Whether the two have a part in common."""
        return self.begin < (other.end or "~") and other.begin < (self.end or "~")

    def contains(self, other: Span) -> bool:
        """Whether another range is within this one."""
        return self.begin <= other.begin and (other.end or "~") <= (self.end or "~")

    def touches(self, other: Span) -> bool:
        """Whether the two overlap, or one begins where the other ends."""
        return self.begin <= (other.end or "~") and other.begin <= (self.end or "~")

    def common(self, other: Span) -> Span | None:
        """Return the part that the two have in common; None if there is none."""
        if not self.overlaps(other):
            return None
        return Span(max(self.begin, other.begin), min(self.end, other.end, key=lambda end: end or "~"))

    def joined(self, other: Span) -> Span:
        """Return the range from the earlier beginning to the later end."""
        return Span(min(self.begin, other.begin), max(self.end, other.end, key=lambda end: end or "~"))

    def without(self, other: Span) -> list[Span]:
        """Return what is left of this range without another: up to two parts."""
        common = self.common(other)
        if common is None:
            return [self]
        before = [Span(self.begin, common.begin)] if self.begin < common.begin else []
        after = [Span(common.end, self.end)] if common.end and common.end < (self.end or "~") else []
        return [*before, *after]

    def __str__(self) -> str:
        begin = f"from {self.begin}" if self.begin else "without a begin"
        return f"{begin} {f'to {self.end}' if self.end else 'without an end'}"


@dataclasses.dataclass(frozen=True)
class Held:
    """A dataset that a collection has for a range.

    Parameters
    ----------
    dataset_id
        UUID as text.
    place
        Its data id.
    span
        The range.
    """

    dataset_id: str
    place: Hashable
    span: Span


@dataclasses.dataclass(frozen=True)
class Former:
    """What a certification took from a dataset.

    Parameters
    ----------
    held
        The dataset, with the range that it had before.
    taken
        The range that the certification took; it may be longer.
    """

    held: Held
    taken: Span


@dataclasses.dataclass(frozen=True)
class Undone:
    """The changes that undo certifications; a dataset may be in both, with another range.

    Parameters
    ----------
    out
        What is taken out of the collection.
    back
        What is put into it afterwards.
    """

    out: tuple[Held, ...]
    back: tuple[Held, ...]


class InTheWayError(Exception):
    """Somebody else has certified in the meantime where something is to be undone.

    Parameters
    ----------
    held
        What is in the way.
    """

    def __init__(self, held: Sequence[Held]) -> None:
        super().__init__(f"{len(held)} datasets are in the way")
        self.held = tuple(held)


def undo(there: Collection[Held], own: Collection[Held], formers: Sequence[Former]) -> Undone:
    """Return the changes that undo some certifications.

    Parameters
    ----------
    there
        What the collection has now.
    own
        The datasets that were certified, with the ranges for which they were; a dataset may have several.
    formers
        What that took from others, in the order in which it was taken.

    Returns
    -------
    changes
        Own datasets are out, whatever ranges they have now. Of each other dataset that had a part of the range, this
        part is back; if it still has the parts beside it, all are one range again.

    Raises
    ------
    InTheWayError
        If a dataset that is neither is there for a part of the range now.
    """
    mine, before = {one.dataset_id for one in own}, {one.held.dataset_id for one in formers}
    out = [one for one in there if one.dataset_id in mine]
    rest = [one for one in there if one.dataset_id not in mine]
    in_the_way = [
        one
        for one in rest
        if one.dataset_id not in before
        and any(one.place == mine.place and one.span.overlaps(mine.span) for mine in own)
    ]
    restored: list[Held] = []
    for former in reversed(formers):
        if former.held.dataset_id in mine:
            continue
        missing = former.held.span.common(former.taken)
        in_the_way += [one for one in rest if _holds_part_of(one, former.held, missing)]
        # What a later certification took comes first: it had taken this range before.
        for span in _free(missing, [one.span for one in restored if one.place == former.held.place]):
            restored.append(dataclasses.replace(former.held, span=span))
    if in_the_way:
        raise InTheWayError(list(dict.fromkeys(in_the_way)))
    for part in restored:
        beside = [one for one in rest if _belongs_to(one, part, formers)]
        grown = functools.reduce(Span.joined, (one.span for one in beside), part.span)
        out += [one for one in beside if one in there]
        rest = [*(one for one in rest if one not in beside), dataclasses.replace(part, span=grown)]
    back = [one for one in rest if one not in there or one in out]
    return Undone(tuple(one for one in out if one not in back), tuple(one for one in back if one not in out))


def _belongs_to(one: Held, part: Held, formers: Sequence[Former]) -> bool:
    """Whether a range that a dataset has is the rest of one of which a part is given back."""
    same = (one.dataset_id, one.place) == (part.dataset_id, part.place) and one.span.touches(part.span)
    joined = one.span.joined(part.span)
    return same and any(
        former.held.dataset_id == part.dataset_id and former.held.span.contains(joined) for former in formers
    )


def _holds_part_of(one: Held, former: Held, missing: Span | None) -> bool:
    """Whether a dataset has a part of what another is to get back."""
    other = one.place == former.place and one.dataset_id != former.dataset_id
    return other and missing is not None and one.span.overlaps(missing)


def _free(span: Span | None, taken: Collection[Span]) -> Iterator[Span]:
    """Yield the parts of a range that are not taken."""
    parts = [] if span is None else [span]
    for one in taken:
        parts = [part for whole in parts for part in whole.without(one)]
    yield from parts
