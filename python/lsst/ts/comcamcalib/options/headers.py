# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Texts that go into the headers of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .shown import shown
from .values import NotAllowedError, plain_text

__all__ = ["MAX_HEADER", "MAX_PROGRAM", "header_text"]

MAX_HEADER = 68
"""Longest text in a card of a FITS header (characters).

Of a card's 80 characters, 10 are the keyword and the equals sign and 2 the quotes. It is also the limit of Butler's
registry for an exposure's observation_reason.
"""

MAX_PROGRAM = 64
"""Limit of Butler's registry for an exposure's science_program (characters)."""


def header_text(limit: int) -> Callable[[Any], str]:
    """Return a reader of texts for image headers: printable ASCII only, because FITS has no other characters.

    Blanks at both ends are removed, because FITS does not keep them.

    Parameters
    ----------
    limit
        Longest text (characters), where ``'`` counts twice because FITS doubles it.
    """

    def read(value: Any) -> str:
        text = plain_text(value).strip(" ")
        for character in text:
            if not " " <= character <= "~":
                raise NotAllowedError(
                    f"has the character {shown(character)}, but image headers have only printable ASCII characters; "
                    "write it without"
                )
        for character in ",:":
            if character in text:
                raise NotAllowedError(f"has a '{character}', which the camera can't take in image headers")
        if text.endswith("&"):
            raise NotAllowedError("ends in '&', which means in an image header that the text continues")
        if text.endswith("\\"):
            # Texts are sent with a : between them, and a : within a text has a backslash before it. So the header
            # service would take the : after this text as part of it, and put all later texts into wrong headers.
            raise NotAllowedError("ends in a backslash, which would join it to the next image header; leave it out")
        quotes = text.count("'")
        if len(text) + quotes > limit:
            twice = " (' counts twice)" if quotes else ""
            raise NotAllowedError(
                f"has {len(text) + quotes} characters{twice}, but this image header has room for {limit}; shorten it"
            )
        return text

    return read
