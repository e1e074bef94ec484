# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The OpenAPI document of the page's JSON, made of its models.

``static/openapi.json`` is what is served and what people read; ``python -m lsst.ts.comcamcalib.web.openapi`` writes it
again after a change, and a test compares the two.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path
from typing import Any, Literal

from pydantic.json_schema import models_json_schema

from ..enums import CalibType
from ..report.data import Model
from . import data

__all__ = ["openapi_document", "openapi_text"]

FILE = Path(__file__).parent / "static" / "openapi.json"

PARAMETERS: dict[str, dict[str, Any]] = {
    "run_id": {
        "description": "Identifier of a run.",
        "schema": {"type": "string", "pattern": r"^[0-9]{8}-[0-9]{3,6}$"},
        "example": "20261122-001",
    },
    "calib_type": {
        "description": "Type of calibration.",
        "schema": {"type": "string", "enum": [one.name for one in CalibType]},
    },
    "physical_filter": {
        "description": "Filter of a flat, - for a product without filters.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9_~-]{1,40}$"},
        "example": "-",
    },
    "detector": {
        "description": "Full name of a detector.",
        "schema": {"type": "string", "pattern": "^R[0-9X]{2}_S[0-9GW][0-9]$"},
        "example": "R22_S11",
    },
}


@dataclasses.dataclass(frozen=True)
class _Address:
    """An address for programs: what it is, and the model of its answer."""

    path: str
    name: str
    summary: str
    model: type[Model]
    may_be_missing: bool = False
    says_no: bool = False
    """Whether its answer of 503 has the same model."""


ADDRESSES = (
    _Address("/api/now", "now", "What happens now.", data.Now),
    _Address("/api/runs", "runs", "The latest runs, the latest first.", data.RunList),
    _Address("/api/runs/{run_id}", "run", "A run.", data.RunDocument, may_be_missing=True),
    _Address("/api/board", "board", "Whether the calibrations that are needed are valid.", data.Board),
    _Address("/api/promotions", "promotions", "The latest promotions, the latest first.", data.PromotionList),
    _Address("/api/trends", "trends", "What there are trends of.", data.TrendList),
    _Address(
        "/api/trends/{calib_type}/{physical_filter}",
        "trend",
        "Values of a product over the latest runs, by detector.",
        data.TrendTable,
        may_be_missing=True,
    ),
    _Address(
        "/api/trends/{calib_type}/{physical_filter}/{detector}",
        "trendOfDetector",
        "Values of a product over the latest runs, by amplifier of a detector.",
        data.TrendTable,
        may_be_missing=True,
    ),
    _Address("/healthz", "health", "Whether the process is alive and its loop keeps time.", data.Health, says_no=True),
    _Address("/readyz", "readiness", "Whether the CSC can begin a run.", data.Readiness, says_no=True),
)


def openapi_document() -> dict[str, Any]:
    """Return the document."""
    models: list[type[Model]] = [*(one.model for one in ADDRESSES), data.Problem]
    modes: list[tuple[type[Model], Literal["validation", "serialization"]]] = [
        (model, "serialization") for model in dict.fromkeys(models)
    ]
    _, schemas = models_json_schema(modes, ref_template="#/components/schemas/{model}")
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "ComCamCalib status page",
            "version": "1",
            "description": "What the ComCamCalib CSC does. It can only be read. Fields may be added, but none is "
            "renamed, removed or given another meaning without another version.",
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        # Relative to the document, because an ingress may serve the page under a path of its own.
        "servers": [{"url": ".."}],
        "paths": {one.path: {"get": _operation(one)} for one in ADDRESSES},
        "components": {"schemas": schemas["$defs"]},
    }


def _operation(one: _Address) -> dict[str, Any]:
    names = [part[1:-1] for part in one.path.split("/") if part.startswith("{")]
    responses = {"200": _answer(one.summary, one.model)}
    if one.may_be_missing:
        responses["404"] = _answer("There is no such thing; a sentence says what there is.", data.Problem)
    if one.says_no:
        responses["503"] = _answer("No; the answer says why.", one.model)
    else:
        responses["503"] = _answer("Too many readers, or it can't be read now; a sentence says why.", data.Problem)
    return {
        "operationId": one.name,
        "summary": one.summary,
        "parameters": [{"name": name, "in": "path", "required": True, **PARAMETERS[name]} for name in names],
        "responses": responses,
    }


def _answer(words: str, model: type[Model]) -> dict[str, Any]:
    schema = {"$ref": f"#/components/schemas/{model.__name__}"}
    return {"description": words, "content": {"application/json": {"schema": schema}}}


def openapi_text() -> str:
    """Return the document as it is in the file."""
    return json.dumps(openapi_document(), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(openapi_text(), encoding="utf-8")
    sys.stdout.write(f"{FILE} was written.\n")
