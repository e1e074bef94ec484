# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The pages as HTML: whole ones, which need no script, and their parts, by which the script keeps them up to date."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from ..report.words import badge, duration, number
from . import data
from .drawing import graph_of, plane_of, spark_of
from .grouping import MANY, cell_groups, marks_of, names_in_words, rafts_of, square_groups
from .trends import selection_of

__all__ = ["PARTS", "STATIC", "page", "parts_of_board", "parts_of_now", "styles"]

STATIC = Path(__file__).parent / "static"
REPORT_STYLE = Path(__file__).parents[1] / "report" / "templates" / "report.css"

SLOW_PARTS = ("alarms", "graph", "verdicts", "jobs", "exposures", "certifications")
"""Parts that change only if something has happened."""

PARTS = ("headline", "progress", *SLOW_PARTS, "board")
"""Parts of the page Now, which are blocks of the template and have their names as ids."""

MACROS = ("board_table", "dash", "plane", "promotions_table", "tile")


@functools.cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(STATIC),
        # Reasons, names and lines of logs are text of others, and must stay text.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(number=number, duration=duration, moment=_moment, age=_age)
    environment.globals.update(
        {one.__name__: one for one in (badge, graph_of, names_in_words, plane_of, rafts_of, selection_of, spark_of)}
    )
    environment.globals.update(square_groups=square_groups, cell_groups=cell_groups, many=MANY)
    environment.globals.update(
        marks_of=marks_of, names_of=_names_of, said_of_cells=_said_of_cells, said_of_squares=_said_of_squares
    )
    # A part is made without the rest of the template, so what all of them use must not be in it.
    macros = environment.get_template("macros.html").module
    environment.globals.update({name: getattr(macros, name) for name in MACROS})
    return environment.get_template("page.html")


def page(view: str, root: str = "", **content: Any) -> str:
    """Return a whole page.

    Parameters
    ----------
    view
        ``now``, ``runs``, ``run``, ``board``, ``trends``, ``trend`` or ``problem``.
    root
        From the page's own address to that of Now, such as ``../``; all links are relative, because an ingress may
        serve the page under a path of its own.
    **content
        What it shows.
    """
    return _template().render(view=view, root=root, **content)


def parts_of_now(now: data.Now, *, all_of_them: bool = True) -> dict[str, str]:
    """Return the parts of the page Now as HTML, by id.

    Parameters
    ----------
    now
        What happens now.
    all_of_them
        Whether those too that change only if something has happened.
    """
    names = ("headline", "progress", *(SLOW_PARTS if all_of_them else ()))
    return {name: _part(name, {"now": now, "run": now.run}) for name in names}


def parts_of_board(board: data.Board) -> dict[str, str]:
    """Return the part of the page that has the board."""
    return {"board": _part("board", {"board": board})}


def _part(name: str, content: Mapping[str, Any]) -> str:
    template = _template()
    context = template.new_context({"view": "now", "root": "", **content})
    return "".join(template.blocks[name](context)).strip()


@functools.cache
def styles() -> str:
    """Return the style of the page: that of the report, and its own."""
    return REPORT_STYLE.read_text(encoding="utf-8") + (STATIC / "page.css").read_text(encoding="utf-8")


def _moment(text: str) -> str:
    """Return a time as people read it."""
    return text.replace("T", " ").removesuffix("Z") if text else "–"


def _age(seconds: float) -> str:
    """Return an age as people say it."""
    for length_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * length_s:
            return f"{seconds / length_s:.0f} {unit}"
    return f"{seconds:.0f} s"


def _names_of(cells: Iterable[data.BoardCell]) -> dict[int, str]:
    return {one.detector: one.name for one in cells}


def _said_of_cells(cells: Iterable[data.BoardCell]) -> dict[int, tuple[str, str]]:
    return {
        one.detector: (one.status, "; ".join([*([f"to {_moment(one.end)}"] if one.end else []), *marks_of(one)]))
        for one in cells
    }


def _said_of_squares(squares: Iterable[data.DetectorSquare]) -> dict[int, tuple[str, str]]:
    return {one.detector: (one.outcome, one.remark) for one in squares}
