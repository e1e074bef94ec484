# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read an operator's file with run options, for the programs that send its text to the CSC."""

from __future__ import annotations

from pathlib import Path

from ..errors import BadInputError

__all__ = ["read_options_file"]


def read_options_file(path: Path) -> str:
    """Return the text of a file with run options; what is in it is checked elsewhere.

    Raises
    ------
    BadInputError
        If it can't be read; a sentence.
    """
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise BadInputError([f"There is no file {path} with run options."]) from error
    except OSError as error:
        raise BadInputError([f"The run options in {path} can't be read: {error.strerror or error}."]) from error
    except ValueError as error:
        raise BadInputError([f"The run options in {path} can't be read: this is no text in UTF-8."]) from error
