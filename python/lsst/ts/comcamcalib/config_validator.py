# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A validator of the configuration whose errors name the fields."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from lsst.ts import salobj

__all__ = ["ConfigValidator"]


class ConfigValidator:
    """Validates like salobj's own validator, and names each field that is wrong.

    salobj reports only the message of an error, such as "'two' is not of type 'integer'", without the field.

    Parameters
    ----------
    schema
        JSON schema of the configuration.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self._validator = salobj.StandardValidator(schema=schema)

    def validate(self, config: Any) -> None:
        """Check a configuration.

        Raises
        ------
        jsonschema.exceptions.ValidationError
            If it does not fit the schema; the message names all mistakes.
        """
        errors = sorted(self._validator.iter_errors(config), key=lambda error: [str(part) for part in error.path])
        if errors:
            sentences = [
                ": ".join([*filter(None, [".".join(map(str, one.path))]), _public(one.message, one.path)])
                for one in errors
            ]
            # A new error: as text, one with its schema and values shows all of them, which may have a secret.
            raise type(errors[0])("; ".join(sentences))


def _public(message: str, path: Sequence[str | int]) -> str:
    """Return a message of the validator, which quotes the values, without a secret that is where none may be."""
    if "secret_variable" in path:
        return "it must be the name of an environment variable, in capitals, and never a secret"
    return re.sub(r"://[^'\"]*@", "://", message)
