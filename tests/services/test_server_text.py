# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What servers say is made short, but keeps its cause and loses its passwords."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lsst.ts.comcamcalib.services.server_text import MAX_SERVER_TEXT, explain_server_text, shorten_middle

HEADERS = "HTTPHeaderDict({'Audit-Id': '5b2e', 'Cache-Control': 'no-cache, private', 'Date': '" + "x" * 300 + "'})"
QUOTA = (
    'jobs.batch "uws-job-0f" is forbidden: exceeded quota: uws, requested: count/jobs.batch=1, used: 20, limited: 20'
)


def api_exception(status: int, reason: str, body: str) -> str:
    """Write an exception as the Kubernetes client does."""
    return f"({status})\nReason: {reason}\nHTTP response headers: {HEADERS}\nHTTP response body: {body}\n"


def compact(body: object) -> str:
    """Write JSON without blanks, as Kubernetes does."""
    return json.dumps(body, separators=(",", ":"))


def as_bytes(body: object) -> str:
    """Write JSON as bytes, as older clients do."""
    return repr(json.dumps(body).encode())


@pytest.mark.parametrize("dumps", [json.dumps, compact, as_bytes])
def test_the_cause_of_a_kubernetes_exception_stands_in_its_body(dumps: Callable[[object], str]) -> None:
    body = {"kind": "Status", "metadata": {}, "status": "Failure", "message": QUOTA, "reason": "Forbidden", "code": 403}
    text = explain_server_text(api_exception(403, "Forbidden", dumps(body)))
    assert text.startswith("Kubernetes answered 403 Forbidden: jobs.batch")
    assert "exceeded quota: uws" in text and len(text) <= MAX_SERVER_TEXT and "Audit-Id" not in text


def test_a_body_that_was_cut_still_says_the_beginning_of_its_message() -> None:
    whole = api_exception(403, "Forbidden", json.dumps({"kind": "Status", "message": QUOTA}))
    text = explain_server_text(whole[: whole.index("requested")])
    assert text.startswith("Kubernetes answered 403 Forbidden: jobs.batch") and "exceeded quota: uws" in text


def test_without_a_body_status_and_reason_are_all_there_is() -> None:
    assert explain_server_text("(500)\nReason: Internal Server Error\n") == (
        "Kubernetes answered 500 Internal Server Error without a message"
    )


@pytest.mark.parametrize(
    ("body", "cause"),
    [
        ("etcdserver: request timed out", "etcdserver: request timed out"),
        ("<html><head></head><body><h1>504 Gateway Time-out</h1></body></html>", "504 Gateway Time-out"),
        ('{"error": "upstream is overloaded"}', '{"error": "upstream is overloaded"}'),
    ],
)
def test_a_body_without_a_message_is_the_cause_itself(body: str, cause: str) -> None:
    text = explain_server_text(api_exception(500, "Internal Server Error", body))
    assert text == f"Kubernetes answered 500 Internal Server Error: {cause}"


def test_a_connection_to_kubernetes_that_fails_says_why() -> None:
    text = explain_server_text(
        "HTTPSConnectionPool(host='10.43.0.1', port=443): Max retries exceeded with url: /apis/batch/v1/namespaces/uws/"
        f"jobs?labelSelector={'type%3Duws-job' * 30} (Caused by NewConnectionError('<urllib3.connection."
        "HTTPSConnection object at 0x7f>: Failed to establish a new connection: [Errno 111] Connection refused'))"
    )
    assert text.startswith("HTTPSConnectionPool(host='10.43.0.1'") and "[Errno 111] Connection refused" in text


def test_a_page_is_told_without_its_tags() -> None:
    page = "<!DOCTYPE html><html><head><style>p {color: red}</style></head><body><h1>502 Bad Gateway</h1></body></html>"
    assert explain_server_text(page) == "502 Bad Gateway"


def test_passwords_are_not_passed_on() -> None:
    text = explain_server_text("Failed: 500 Server Error for url: http://ocps:s3cr3t@uws-server/api/v1/job")
    assert text == "Failed: 500 Server Error for url: http://uws-server/api/v1/job"


@given(st.text(max_size=3000))
def test_any_text_becomes_one_bounded_line(text: str) -> None:
    explained = explain_server_text(text)
    assert len(explained) <= MAX_SERVER_TEXT and len(explained.splitlines()) <= 1


@given(st.text(max_size=200), st.integers(10, 100))
def test_what_is_cut_is_cut_from_the_middle(text: str, limit: int) -> None:
    line = " ".join(text.split())
    short = shorten_middle(text, limit)
    assert len(short) <= limit
    assert short == line or (line.startswith(short.partition(" … ")[0]) and line.endswith(short.rpartition(" … ")[2]))
