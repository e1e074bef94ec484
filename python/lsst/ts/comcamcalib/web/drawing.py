# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where things are in the page's drawings: the graph of stages, the focal plane, and the values of trends; pure."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from ..enums import StageKind
from ..report.places import DETECTOR_SIZE, detector_corners
from ..report.words import SIGNS
from . import data
from .grouping import MANY

__all__ = ["Edge", "Graph", "Node", "Plane", "Spark", "Square", "graph_of", "plane_of", "spark_of"]

# The graph: a column for each kind of stage, a row for each product (units of the drawing).
COLUMN, ROW, WIDTH, HEIGHT, MARGIN = 186, 62, 152, 42, 6
KINDS = tuple(kind.name for kind in StageKind)

# A sparkline (units of the drawing).
SPARK_WIDTH, SPARK_HEIGHT, SPARK_MARGIN = 160.0, 28.0, 3.0


@dataclasses.dataclass(frozen=True)
class Node:
    """A stage in the graph: left and upper edge of its box."""

    stage: data.StageNode
    x: int
    y: int


@dataclasses.dataclass(frozen=True)
class Edge:
    """A curve from a stage to one that waits for it, as the path of an SVG."""

    path: str
    critical: bool


@dataclasses.dataclass(frozen=True)
class Graph:
    """The graph of stages, with the size of its drawing."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    width: int
    height: int
    box_width: int = WIDTH
    box_height: int = HEIGHT


def graph_of(stages: Sequence[data.StageNode]) -> Graph:
    """Return the graph of a run's stages.

    Parameters
    ----------
    stages
        In the order of the plan. A stage that belongs to no product is in the last row.
    """
    products = list(dict.fromkeys(one.calib_type for one in stages if one.calib_type))
    kinds = [kind for kind in KINDS if any(one.kind == kind for one in stages)]
    rows = {name: number for number, name in enumerate(products)}
    columns = {kind: number for number, kind in enumerate(kinds)}
    last_row = max(len(products) - 1, 0)
    places = {
        one.name: (MARGIN + COLUMN * columns[one.kind], MARGIN + ROW * rows.get(one.calib_type, last_row))
        for one in stages
    }
    critical = {one.name for one in stages if one.critical}
    edges = [
        Edge(_curve(places[before], places[one.name]), {before, one.name} <= critical)
        for one in stages
        for before in one.needs
        if before in places
    ]
    return Graph(
        nodes=tuple(Node(one, *places[one.name]) for one in stages),
        # The critical ones are drawn last, over the others.
        edges=tuple(sorted(edges, key=lambda edge: edge.critical)),
        width=COLUMN * max(len(kinds) - 1, 0) + WIDTH + 2 * MARGIN,
        height=ROW * last_row + HEIGHT + 2 * MARGIN,
    )


def _curve(begin: tuple[int, int], end: tuple[int, int]) -> str:
    """Return the curve between two boxes: to the right, or down where both are in one column."""
    if begin[0] == end[0]:
        x = begin[0] + WIDTH // 2
        down = end[1] > begin[1]
        first, last = (begin[1] + HEIGHT, end[1]) if down else (begin[1], end[1] + HEIGHT)
        return f"M{x} {first}L{x} {last}"
    x1, y1 = begin[0] + WIDTH, begin[1] + HEIGHT // 2
    x2, y2 = end[0], end[1] + HEIGHT // 2
    if x2 < x1:  # backwards, as from the verification of one product to a job of another
        x1, x2 = begin[0], end[0] + WIDTH
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"


@dataclasses.dataclass(frozen=True)
class Square:
    """A detector on the focal plane: left and upper edge of its square, and what is said of it."""

    detector: int
    name: str
    x: float
    y: float
    kind: str
    """Kind of its word, as of a badge; ``none`` if there is none."""
    sign: str
    """Empty: it is well, and there is no room for a sign in each square."""
    words: str


@dataclasses.dataclass(frozen=True)
class Plane:
    """The focal plane, row 0 below and column 0 left, with the size of its drawing."""

    squares: tuple[Square, ...]
    width: float
    height: float
    large: bool
    """Whether there is no room for names."""
    size: float = DETECTOR_SIZE


def plane_of(names: Mapping[int, str], said: Mapping[int, tuple[str, str]] | None = None) -> Plane:
    """Return where the detectors are, and what is said of them.

    Parameters
    ----------
    names
        Full names by id.
    said
        A word that `badge` knows, and a remark, by id.
    """
    corners = detector_corners(names)
    width = max((x for x, _ in corners.values()), default=0.0) + DETECTOR_SIZE
    height = max((y for _, y in corners.values()), default=0.0) + DETECTOR_SIZE
    large = len(names) > MANY
    squares = []
    for one, (x, y) in corners.items():
        word, remark = (said or {}).get(one, ("not judged", ""))
        sign, kind = SIGNS.get(word, ("–", "none"))
        squares.append(
            Square(
                detector=one,
                name=names[one],
                x=round(x, 2),
                y=round(height - y - DETECTOR_SIZE, 2),
                kind=kind,
                sign="" if large and kind == "good" else sign,
                words=f"{word}; {remark}" if remark else word,
            )
        )
    return Plane(tuple(squares), width, height, large)


@dataclasses.dataclass(frozen=True)
class Spark:
    """A small curve of values over runs, the oldest left; several parts where values are missing."""

    lines: tuple[str, ...]
    """Points of polylines."""
    last: tuple[float, float] | None
    """The latest value."""
    width: float = SPARK_WIDTH
    height: float = SPARK_HEIGHT


def spark_of(points: Sequence[data.TrendPoint]) -> Spark:
    """Return the curve of some values.

    Parameters
    ----------
    points
        The latest first.
    """
    values = [one.value for one in reversed(points)]
    known = [value for value in values if value is not None]
    if not known:
        return Spark((), None)
    low, high = min(known), max(known)
    middle, span = (low + high) / 2, (high - low) or 1.0
    step = (SPARK_WIDTH - 2 * SPARK_MARGIN) / max(len(values) - 1, 1)
    inner = SPARK_HEIGHT - 2 * SPARK_MARGIN

    def place(number: int, value: float) -> tuple[float, float]:
        x = SPARK_MARGIN + number * step if len(values) > 1 else SPARK_WIDTH / 2
        return round(x, 1), round(SPARK_HEIGHT / 2 - (value - middle) / span * inner, 1)

    parts: list[list[tuple[float, float]]] = [[]]
    for number, value in enumerate(values):
        if value is not None:
            parts[-1].append(place(number, value))
        elif parts[-1]:
            parts.append([])
    lines = tuple(" ".join(f"{x},{y}" for x, y in part) for part in parts if len(part) > 1)
    latest = values[-1]
    return Spark(lines, None if latest is None else place(len(values) - 1, latest))
