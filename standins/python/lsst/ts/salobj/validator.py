# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Validators of configurations."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import jsonschema

__all__ = ["DefaultingValidator", "StandardValidator"]

StandardValidator = jsonschema.Draft7Validator


def _defaults_within(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the defaults of the properties of an object that is not there at all."""
    properties = schema.get("properties", {})
    return {name: copy.deepcopy(value["default"]) for name, value in properties.items() if "default" in value}


def _insert_defaults(validator: Any, properties: dict[str, Any], instance: Any, schema: Any) -> Iterator[Any]:
    """Put the schema's defaults into an object that lacks them, then validate as usual."""
    if isinstance(instance, dict):
        for name, subschema in properties.items():
            if not isinstance(subschema, dict):
                continue
            if "default" in subschema:
                instance.setdefault(name, copy.deepcopy(subschema["default"]))
            elif name not in instance and (inner := _defaults_within(subschema)):
                instance[name] = inner
    yield from StandardValidator.VALIDATORS["properties"](validator, properties, instance, schema)


_WithDefaults = jsonschema.validators.extend(StandardValidator, {"properties": _insert_defaults})  # type: ignore[no-untyped-call]


class DefaultingValidator:
    """Validator that puts in the defaults that a schema has, at every level that the data has, and one below.

    Parameters
    ----------
    schema : `dict`
        JSON schema, draft 7.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        StandardValidator.check_schema(schema)
        self.schema = schema
        self.defaults_validator = _WithDefaults(schema=schema)
        self.final_validator = StandardValidator(schema=schema)

    def validate(self, data_dict: dict[str, Any] | None) -> dict[str, Any]:
        """Return a copy of the data with defaults, validated.

        Raises
        ------
        jsonschema.exceptions.ValidationError
            If the data does not fit the schema.
        """
        result = {} if data_dict is None else copy.deepcopy(data_dict)
        self.defaults_validator.validate(result)
        self.final_validator.validate(result)
        return result
