# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON schema of the CSC's configuration, made from `lsst.ts.comcamcalib.config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .config import CscConfig

__all__ = ["CONFIG_SCHEMA"]


def _for_draft_7(node: Any, definitions: Mapping[str, Any]) -> Any:
    """Write a schema out without references, and with closed objects only.

    A JSON schema of draft 7 ignores keywords beside a ``$ref``, and so would hide a field's own description.
    A mapping with known keys becomes an object with these properties, so that each can have a description.
    """
    if isinstance(node, list):
        return [_for_draft_7(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if reference := node.get("$ref"):
        target = definitions[reference.removeprefix("#/$defs/")]
        beside = {key: value for key, value in node.items() if key != "$ref"}
        return _for_draft_7({**target, **beside}, definitions)
    node = {key: value for key, value in node.items() if key not in ("title", "$defs", "default")}
    if names := node.pop("propertyNames", {}).get("enum"):
        value = node["additionalProperties"]
        node["properties"] = {name: {**value, "description": f"{name}. {node['description']}"} for name in names}
        node.update(required=names, additionalProperties=False)
    properties = node.pop("properties", None)
    written = {key: _for_draft_7(value, definitions) for key, value in node.items()}
    if properties is not None:
        # Names of properties are data: one could be called "title".
        written["properties"] = {name: _for_draft_7(value, definitions) for name, value in properties.items()}
    return written


def _make_schema() -> dict[str, Any]:
    generated = CscConfig.model_json_schema(mode="serialization")  # there, a field with a default is required, too
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "ComCamCalib v1",
        **_for_draft_7(generated, generated.get("$defs", {})),
    }


CONFIG_SCHEMA = _make_schema()
"""Draft 7 JSON schema of the configuration; salobj reads the version from its title."""
