# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Shortens the texts of servers without losing the cause."""

from __future__ import annotations

import re

from ..credentials import without_credentials

__all__ = ["MAX_SERVER_TEXT", "explain_server_text", "shorten_middle"]

MAX_SERVER_TEXT = 300
"""Longest text of a server in a sentence (characters)."""

# How the Kubernetes client for Python writes an ApiException: status, reason, headers, body. Only the body, a JSON
# object at the end, has the cause; it may be written as bytes, and the text may have been cut anywhere.
_KUBERNETES = re.compile(r"\((?P<status>\d{3})\)\s*Reason: (?P<reason>[^\n]*?)\s*(?=HTTP response|\n|$)")
_BODY = "HTTP response body:"
_MESSAGE = re.compile(r'"message"\s*:\s*"(?P<message>(?:[^"\\]|\\+.)+)')

# How urllib3 writes the cause of its MaxRetryError.
_CAUSED_BY = re.compile(r"Caused by \w+\((?P<cause>.*)\)\)?\s*$", re.DOTALL)


def explain_server_text(text: str) -> str:
    """Return the cause from a server's error text, in one line of limited length.

    Parameters
    ----------
    text
        The body of an error reply, or other text from a server; a traceback and an exception of the Kubernetes client
        have their cause at the end.
    """
    text = without_credentials(text)
    if kubernetes := _KUBERNETES.search(text):
        reason = f"Kubernetes answered {kubernetes['status']} {kubernetes['reason'].strip()}"
        message = _MESSAGE.search(text, kubernetes.end())
        # A proxy in front of the API server, or an error in it, gives plain text or HTML.
        body = _unescape(message["message"]) if message else _without_tags(text[kubernetes.end() :].partition(_BODY)[2])
        explained = f"{reason}: {body}" if body.strip() else f"{reason} without a message"
        return shorten_middle(explained, MAX_SERVER_TEXT)
    if cause := _CAUSED_BY.search(text):
        return shorten_middle(f"{text[:80].rstrip()}… Caused by: {cause['cause']}", MAX_SERVER_TEXT)
    return shorten_middle(_without_tags(text), MAX_SERVER_TEXT)


def shorten_middle(text: str, limit: int) -> str:
    """Return a text in one line of at most ``limit`` characters, shortened in the middle."""
    text = " ".join(text.split())
    if len(text) <= limit:
        return text
    head = (limit - 3) // 2
    return f"{text[:head].rstrip()} … {text[-(limit - 3 - head) :].lstrip()}"


def _unescape(text: str) -> str:
    """Return a JSON string's content without its escapes; an escape that is cut off is kept."""
    return re.sub(r'\\+(["/])', r"\1", text).replace("\\n", " ")


def _without_tags(text: str) -> str:
    """Return the text of an HTML page; other text is returned unchanged."""
    if not re.search(r"<\s*(!doctype|html|head|body|h1)\b", text[:500], re.IGNORECASE):
        return text
    return re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL | re.IGNORECASE)
