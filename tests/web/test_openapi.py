# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The JSON for programs is what its OpenAPI file says, whatever is asked."""

from __future__ import annotations

import asyncio
import re

import hypothesis
import pytest
import schemathesis
from lsst.ts.comcamcalib.web.app import make_app
from lsst.ts.comcamcalib.web.openapi import ADDRESSES, FILE, openapi_document, openapi_text
from schemathesis import GenerationMode
from support.web import Site

EXAMPLES = 15


def test_the_file_is_what_the_models_say() -> None:
    written = FILE.read_text(encoding="utf-8")
    assert written == openapi_text(), "write it again: python -m lsst.ts.comcamcalib.web.openapi"


async def test_every_address_for_programs_is_in_the_file(site: Site) -> None:
    app = make_app(site.page.parts)
    served = {
        re.sub(r"\{(\w+):[^{}]*(\{[^{}]*\}[^{}]*)*\}", r"{\1}", resource.canonical)
        for resource in app.router.resources()
        if resource.canonical.startswith("/api/") or resource.canonical in ("/healthz", "/readyz")
    }
    assert served - {"/api/openapi.json"} == {one.path for one in ADDRESSES}


async def test_the_file_is_served(site: Site) -> None:
    assert (await site.ask("/api/openapi.json")).json == openapi_document()


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
async def test_no_request_gets_an_answer_that_the_file_does_not_describe(old_site: Site, mode: GenerationMode) -> None:
    url = old_site.url

    def try_all() -> int:
        schema = schemathesis.openapi.from_dict(openapi_document())
        tried = 0
        for result in schema.get_all_operations():
            operation = result.ok()

            @hypothesis.settings(
                max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(hypothesis.HealthCheck)
            )
            @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
            def check(case: schemathesis.Case) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(base_url=url)

            try:
                check()
            except hypothesis.errors.Unsatisfiable:
                assert mode is GenerationMode.NEGATIVE, "without parameters, nothing can be wrong"
        return tried

    assert await asyncio.to_thread(try_all) > EXAMPLES
    assert (await old_site.ask("/healthz")).json["healthy"]
