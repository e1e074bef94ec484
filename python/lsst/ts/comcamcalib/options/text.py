# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the text of run options: YAML 1.1 or JSON, strictly, as names and values.

PyYAML only parses the text; none of its constructors is used. Every value stays the text that was written, and the
option decides what it means. So ``(0,1,2)`` and ``2021-07-15`` stay as they are, ``1:30`` does not become 90, ``010``
does not become 8, and no text can create a Python object.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import yaml

from ..errors import BadInputError
from .shown import shown

__all__ = ["MAX_BYTES", "UNREADABLE", "read_text"]

MAX_BYTES = 64 * 1024
"""Longest text that is read, in UTF-8 (bytes)."""

MAX_DEPTH = 8
"""Deepest nesting of lists and mappings; no option needs more than one level."""

NULLS = frozenset({"", "~", "null", "Null", "NULL"})


class _Unreadable:
    """Marks a value whose mistake is already listed."""


UNREADABLE = _Unreadable()


@dataclasses.dataclass
class _Node:
    """A list or mapping while it is read; the items of a mapping are key, value, key, value and so on."""

    is_mapping: bool
    line: int
    items: list[Any] = dataclasses.field(default_factory=list)


def read_text(text: str) -> tuple[dict[str, Any], list[str]]:
    """Read names and values from an operator's text.

    Parameters
    ----------
    text
        A mapping in YAML or JSON; blanks and comments alone count as an empty mapping.

    Returns
    -------
    values
        Value by name: text as it was written, None, True and False (JSON only), lists and dicts of these, or
        `UNREADABLE`.
    mistakes
        A sentence for each mistake that leaves the rest readable: names given twice, tags, anchors, aliases.

    Raises
    ------
    BadInputError
        If the text as a whole can't be read as a mapping.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise BadInputError([f"config: {size} bytes of text are too long; at most {MAX_BYTES} are read."])
    text = text.removeprefix("\ufeff")
    mistakes: list[str] = []
    pairs = _read_json(text)
    if pairs is None:
        pairs = _read_yaml(text, mistakes)
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values and values[name] is not UNREADABLE:
            mistakes.append(f"{shown(name)}: given twice; give it once.")
            value = UNREADABLE
        values[name] = value
    return values, mistakes


def _read_json(text: str) -> list[tuple[str, Any]] | None:
    """Read a JSON object; return None if the text is not one, because it may still be YAML.

    JSON is tried first because YAML does not allow tabs between values.
    """
    if not text.lstrip().startswith("{"):
        return None
    try:
        top = json.loads(text, object_pairs_hook=_Pairs, parse_int=str, parse_float=str, parse_constant=str)
    except (ValueError, RecursionError):
        return None
    return [(name, _object(value)) for name, value in top]


def _object(value: Any) -> Any:
    """Turn objects within a value into dicts. No option takes an object, so repeated keys in it need no check."""
    if isinstance(value, _Pairs):
        return dict(value)
    return [_object(one) for one in value] if isinstance(value, list) else value


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as a list of all its entries, so that repeated names are not lost."""


def _read_yaml(text: str, mistakes: list[str]) -> list[tuple[str, Any]]:
    """Read a YAML mapping."""
    try:
        top = _build(yaml.parse(text, Loader=yaml.SafeLoader), mistakes)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise BadInputError(
            [f"config: can't be read as YAML: {shown(error.problem or error.context)}{where}."]
        ) from None
    except (yaml.YAMLError, ValueError, OverflowError) as error:
        # PyYAML raises ValueError for escapes such as "\UFFFFFFFF", OverflowError for very long version numbers.
        raise BadInputError([f"config: can't be read as YAML: {shown(str(error))}."]) from None
    if not isinstance(top, _Node):
        kind = "nothing" if top is None else "a single value"
        raise BadInputError([f"config: {kind} instead of a mapping of options, such as n_bias: 6."])
    if not top.is_mapping:
        raise BadInputError(["config: a list instead of a mapping of options, such as n_bias: 6."])
    pairs = []
    for key, value in zip(top.items[::2], top.items[1::2], strict=True):
        if isinstance(key, str | None):
            pairs.append(("null" if key is None else key, _plain(value)))
        elif key is not UNREADABLE:
            mistakes.append(
                f"config: a list or mapping stands in line {key.line} where the name of an option should be."
            )
    return pairs


def _plain(value: Any) -> Any:
    """Turn nodes into lists and dicts. No option takes a mapping, so the entries of one are dropped."""
    if not isinstance(value, _Node):
        return value
    items = [_plain(item) for item in value.items]
    if UNREADABLE in items:
        return UNREADABLE
    return {} if value.is_mapping else items


def _build(events: Iterator[yaml.Event], mistakes: list[str]) -> Any:
    """Build a document from its events, without recursion.

    Raises
    ------
    BadInputError
        If it is nested too deeply, or there is a second document.
    """
    top = _Node(is_mapping=False, line=0)
    open_nodes = [top]
    documents = 0
    for event in events:
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise BadInputError([f"config: a second document begins in line {_line(event)}; only one is read."])
        elif isinstance(event, yaml.CollectionEndEvent):
            open_nodes.pop()
        elif isinstance(event, yaml.NodeEvent) and not (len(open_nodes) == 1 and _is_empty(event)):
            value = _begin(event, mistakes)
            open_nodes[-1].items.append(value)
            if isinstance(event, yaml.CollectionStartEvent):
                # The content of a refused list or mapping is read and dropped.
                open_nodes.append(value if isinstance(value, _Node) else _Node(is_mapping=False, line=0))
            if len(open_nodes) > MAX_DEPTH + 1:
                raise BadInputError(
                    [f"config: more than {MAX_DEPTH} lists or mappings in each other in line {_line(event)}."]
                )
    if not top.items:
        return _Node(is_mapping=True, line=0)
    return top.items[0]


def _begin(event: yaml.NodeEvent, mistakes: list[str]) -> Any:
    """Return the value of an event, or an empty node for a list or mapping that begins."""
    if isinstance(event, yaml.AliasEvent):
        mistakes.append(
            f"config: the alias *{shown(event.anchor)} in line {_line(event)} is not allowed; write the value."
        )
        return UNREADABLE
    allowed = True
    if event.anchor is not None:
        mistakes.append(
            f"config: the anchor &{shown(event.anchor)} in line {_line(event)} is not allowed; leave it out."
        )
        allowed = False
    tag = getattr(event, "tag", None)
    if tag is not None:
        mistakes.append(f"config: the tag {shown(tag)} in line {_line(event)} is not allowed; write the value alone.")
        allowed = False
    if not allowed:
        return UNREADABLE
    if isinstance(event, yaml.ScalarEvent):
        is_null = event.style is None and event.value in NULLS
        return None if is_null else _whole_characters(event.value)
    return _Node(isinstance(event, yaml.MappingStartEvent), _line(event))


def _whole_characters(text: str) -> str:
    r"""Join the halves of characters that JSON writes as two escapes, such as ``\ud83d\ude00``."""
    try:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le")
    except UnicodeDecodeError:
        return text  # half a character alone: the option refuses it


def _is_empty(event: yaml.NodeEvent) -> bool:
    """Whether a document is empty, such as comments after ``---``."""
    return isinstance(event, yaml.ScalarEvent) and event.style is None and event.value == "" and event.anchor is None


def _line(event: yaml.Event) -> int:
    assert event.start_mark is not None  # only events that were made without a text have none
    return event.start_mark.line + 1
