# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Lines that are added to another package's file, marked so that they can be removed again byte for byte."""

from __future__ import annotations

import ast
import dataclasses
import io
from collections.abc import Callable

__all__ = ["Insertion", "LayoutError", "after_list", "at_end", "before_last"]


class LayoutError(RuntimeError):
    """Lines can't be added to a file or removed from it; the message continues a sentence that begins with its path."""


@dataclasses.dataclass(frozen=True)
class Insertion:
    """Lines for a file.

    Parameters
    ----------
    file
        Path of the file, relative to the package that it belongs to.
    begin, lines, end
        A line that marks the beginning, the lines to add, a line that marks the end; each with its line end.
    place
        Finds the place in the file's text; raises `LayoutError` if it can't.
    """

    file: str
    begin: str
    lines: str
    end: str
    place: Callable[[str], int]

    @property
    def block(self) -> str:
        """All added lines."""
        return f"{self.begin}{self.lines}{self.end}"

    def has_mark(self, text: str) -> bool:
        """Whether something was added to a text, this release's lines or an older one's."""
        return self.begin in text

    def is_in(self, text: str) -> bool:
        """Whether exactly these lines were added to a text."""
        return self.block.removesuffix("\n") in text

    def added(self, text: str) -> str:
        """Return a text with the lines."""
        at = self.place(text)
        before, after = text[:at], text[at:]
        if before and not before.endswith("\n") and not after:
            # The last line has no line end. Put one before the block instead of after it, which `removed` recognises.
            return "\n".join([before, self.block.removesuffix("\n")])
        return f"{before}{self.block}{after}"

    def removed(self, text: str) -> str:
        """Return a text without the lines of any release; raise `LayoutError` if the end mark is missing."""
        begin = text.find(self.begin)
        if begin < 0:
            return text
        last = self.end.removesuffix("\n")
        end = text.find(last, begin)
        if end < 0:
            raise LayoutError(f"has {self.begin.strip()} without its end; reinstall lsst.ts.xml")
        end += len(last)
        if end == len(text):
            return text[:begin].removesuffix("\n")
        return text[:begin] + text[end:].removeprefix("\n")


def before_last(closing: str) -> Callable[[str], int]:
    """Return a function that finds the place before the last occurrence of a text."""

    def place(text: str) -> int:
        at = text.rfind(closing)
        if at < 0:
            raise LayoutError(f"has no {closing}, so nothing can be added; reinstall lsst.ts.xml")
        return at

    return place


def after_list(name: str) -> Callable[[str], int]:
    """Return a function that finds the place after the statement that assigns a list to a Python module's variable."""

    def place(text: str) -> int:
        try:
            statements = ast.parse(text).body
        except (SyntaxError, ValueError) as error:
            raise LayoutError(f"can't be read as Python ({error}); reinstall lsst.ts.xml") from None
        ends = [
            statement.end_lineno
            for statement in statements
            if isinstance(statement, ast.Assign | ast.AnnAssign)
            and isinstance(statement.value, ast.List)
            and any(
                isinstance(target, ast.Name) and target.id == name
                for target in (statement.targets if isinstance(statement, ast.Assign) else [statement.target])
            )
        ]
        if not ends or ends[-1] is None:
            raise LayoutError(
                f"has no list {name}: this release of lsst.ts.xml keeps its components in a way that this package does "
                "not know; ask for a newer release of ts_comcamcalib"
            )
        # Not splitlines, which recognises more kinds of line ends than Python's parser.
        return sum(len(line) for line in io.StringIO(text, newline="").readlines()[: ends[-1]])

    return place


def at_end(text: str) -> int:
    """Return the end of a text as the place."""
    return len(text)
