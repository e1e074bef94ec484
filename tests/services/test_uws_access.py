# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The UWS behind an ingress: TLS with an authority of one's own, a prefix, a password or a token."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import logging
import ssl
import types
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme
from lsst.ts.comcamcalib.config import Limits, UwsAccess
from lsst.ts.comcamcalib.errors import ServiceError, UnreachableError
from lsst.ts.comcamcalib.services import uws_access
from lsst.ts.comcamcalib.services.uws import UwsClient
from lsst.ts.comcamcalib.simulation.ingress import Ingress
from lsst.ts.comcamcalib.simulation.replay import ReplayWorker
from lsst.ts.comcamcalib.simulation.uws_server import UwsServer

TOKEN, NEXT_TOKEN = "t0ken-of-today", "t0ken-of-tomorrow"
PASSWORD = "s3cr3t:with:colons"
BASIC = f"Basic {base64.b64encode(f'comcamcalib:{PASSWORD}'.encode()).decode()}"
BEARER_ACCESS = UwsAccess(scheme="bearer", secret_variable="UWS_TOKEN")


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[str]:
    """The address of a UWS, as it is within the cluster, without a path."""
    async with UwsServer(ReplayWorker(), tmp_path / "uws") as server:
        yield server.url.removesuffix("/api/v1")


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The observatory's own certificate authority."""
    return trustme.CA()


@pytest.fixture(scope="module")
def ca_file(authority: trustme.CA, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def certificate(authority: trustme.CA, host: str = "127.0.0.1", **keywords: object) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host, **keywords).configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def client_of(ingress: Ingress, limits: Limits, access: UwsAccess) -> AsyncIterator[UwsClient]:
    async with UwsClient(f"{ingress.url}/api/v1", limits, access, backoff_s=0.001) as client:
        yield client


async def refusal(client: UwsClient) -> str:
    """Return the sentence with which a client can't use the UWS."""
    with pytest.raises(ServiceError) as caught:
        await client.ping()
    assert not isinstance(caught.value, UnreachableError), "another try at once would not help"
    return str(caught.value)


@pytest.mark.parametrize(
    ("scheme", "secret", "header"), [("bearer", TOKEN, f"Bearer {TOKEN}"), ("basic", f"comcamcalib:{PASSWORD}", BASIC)]
)
async def test_the_uws_is_used_through_tls_a_prefix_and_a_guard(
    server: str,
    authority: trustme.CA,
    ca_file: str,
    limits: Limits,
    monkeypatch: pytest.MonkeyPatch,
    scheme: str,
    secret: str,
    header: str,
) -> None:
    monkeypatch.setenv("UWS_SECRET", f"{secret}\n")
    access = UwsAccess.model_validate({"scheme": scheme, "secret_variable": "UWS_SECRET", "ca_file": ca_file})
    async with (
        Ingress(server, "/test-stand/uws", header, certificate(authority)) as ingress,
        client_of(ingress, limits, access) as client,
    ):
        assert ingress.url.startswith("https://") and client.url.endswith("/test-stand/uws/api/v1")
        await client.ping()
        assert await client.jobs() == []
        assert (ingress.passed, ingress.refused) == (2, 0)


async def test_a_wrong_token_is_told_with_what_to_check_and_is_not_tried_over_and_over(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UWS_TOKEN", TOKEN)
    async with (
        Ingress(server, authorization=f"Bearer {NEXT_TOKEN}") as ingress,
        client_of(ingress, limits, BEARER_ACCESS) as client,
    ):
        sentences = {await refusal(client) for _ in range(20)}
        with pytest.raises(ServiceError) as caught:
            await client.jobs()
        (sentence,) = sentences | {str(caught.value)}
        assert ingress.refused == 1, "an account may be locked after some wrong ones"
        assert "status 401: 401 Authorization Required" in sentence
        assert (
            "Check whether the secret in UWS_TOKEN or the file that UWS_TOKEN_FILE names is right and still" in sentence
        )
        assert sentence.endswith("The next try with the same credentials comes after 30 s.")
        monkeypatch.setattr(uws_access, "time", types.SimpleNamespace(monotonic=lambda: float("inf")))
        await refusal(client)
        assert ingress.refused == 2, "later it is tried again, because the server may have been wrong"
    assert TOKEN not in sentence and TOKEN not in caplog.text


async def test_many_who_ask_at_once_send_few_wrong_passwords(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWS_TOKEN", TOKEN)
    async with (
        Ingress(server, authorization=f"Bearer {NEXT_TOKEN}") as ingress,
        client_of(ingress, limits, BEARER_ACCESS) as client,
    ):
        for _ in range(5):
            await asyncio.gather(*(refusal(client) for _ in range(4)))
        assert ingress.refused <= 4


async def test_a_token_in_a_file_is_renewed_without_a_restart(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "token"
    file.write_text(TOKEN + "\n")
    monkeypatch.setenv("UWS_TOKEN_FILE", str(file))
    async with (
        Ingress(server, authorization=f"Bearer {TOKEN}") as ingress,
        client_of(ingress, limits, BEARER_ACCESS) as client,
    ):
        await client.ping()
        ingress.authorization = f"Bearer {NEXT_TOKEN}"
        assert "is right and still valid" in await refusal(client)
        file.write_text(NEXT_TOKEN + "\n")
        await client.ping()
        assert ingress.refused == 1
        file.write_text("")
        assert await refusal(client) == (
            f"The file {file}, which UWS_TOKEN_FILE names, is empty: put the secret for the UWS there."
        )
        file.unlink()
        assert "can't be read (No such file or directory)" in await refusal(client)


@pytest.mark.parametrize(
    ("scheme", "secret", "words"),
    [
        (
            "bearer",
            None,
            "neither UWS_TOKEN nor UWS_TOKEN_FILE is in the CSC's environment: set one of them and restart",
        ),
        ("bearer", "t0ken of today", "is no token: it must have neither blanks nor other than ASCII"),
        ("bearer", "t0ken\r\nX-Evil: yes", "is no token"),
        ("basic", "t0ken-only", "the environment variable UWS_TOKEN has is not of the form user:password"),
        ("basic", ":t0ken", "is not of the form user:password: correct it and restart the CSC"),
    ],
)
async def test_a_secret_that_can_not_be_used_is_told_and_nothing_is_sent(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch, scheme: str, secret: str | None, words: str
) -> None:
    if secret is not None:
        monkeypatch.setenv("UWS_TOKEN", secret)
    access = UwsAccess.model_validate({"scheme": scheme, "secret_variable": "UWS_TOKEN"})
    async with Ingress(server) as ingress, client_of(ingress, limits, access) as client:
        sentence = await refusal(client)
        assert words in sentence and "t0ken" not in sentence
        assert ingress.passed == 0


async def test_the_other_scheme_is_named(server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UWS_TOKEN", TOKEN)
    async with Ingress(server, authorization=BASIC) as ingress:
        async with client_of(ingress, limits, UwsAccess()) as client:
            assert "It asks for credentials (basic): set uws_access in the CSC's configuration" in await refusal(client)
        async with client_of(ingress, limits, BEARER_ACCESS) as client:
            assert "It asks for basic, but uws_access.scheme is bearer: correct the" in await refusal(client)


async def test_a_lack_of_rights_is_not_a_wrong_password(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWS_TOKEN", TOKEN)
    async with (
        Ingress(server, authorization=f"Bearer {TOKEN}") as ingress,
        client_of(ingress, limits, BEARER_ACCESS) as client,
    ):
        ingress.forbidden = True
        assert "is known there, but lacks the right: have it granted" in await refusal(client)


async def test_a_secret_that_the_server_repeats_is_not_told(
    server: str, limits: Limits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWS_SECRET", f"comcamcalib:{PASSWORD}")
    headers = {"Authorization": BASIC}
    text = f"no such user comcamcalib:{PASSWORD}, header {BASIC}, password {PASSWORD}"
    assert uws_access.Entrance.hide(text, headers) == "no such user …, header Basic …, password …"
    assert uws_access.Entrance.hide("as it is", {}) == "as it is"


async def test_certificates_that_are_not_accepted_are_told_with_the_reason(
    server: str, authority: trustme.CA, ca_file: str, limits: Limits
) -> None:
    access = UwsAccess(ca_file=ca_file)
    yesterday = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1)
    wrong = {
        "unable to get local issuer certificate": certificate(trustme.CA()),
        "mismatch": certificate(authority, "uws.example"),
        "certificate has expired": certificate(authority, not_after=yesterday),
    }
    for words, tls in wrong.items():
        async with Ingress(server, tls=tls) as ingress, client_of(ingress, limits, access) as client:
            sentence = await refusal(client)
            assert f"The certificate of the UWS at {client.url} is not accepted: " in sentence
            assert words in sentence and "Check that uws_access.ca_file names the authority" in sentence
            assert ingress.passed == 0
    async with (
        Ingress(server, tls=certificate(authority)) as ingress,
        client_of(ingress, limits, UwsAccess()) as client,
    ):
        assert "is not accepted" in await refusal(client), "the system does not know the observatory's authority"


async def test_a_server_without_tls_is_told(server: str, limits: Limits, ca_file: str) -> None:
    url = server.replace("http://", "https://")
    async with UwsClient(f"{url}/api/v1", limits, UwsAccess(ca_file=ca_file), backoff_s=0.001) as client:
        assert "check whether uws_url must begin with http:// instead of https://" in await refusal(client)


@pytest.mark.parametrize("content", [None, "no certificate"])
async def test_a_file_without_certificates_is_told(
    server: str, limits: Limits, tmp_path: Path, content: str | None
) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_text(content)
    async with UwsClient(f"{server}/api/v1", limits, UwsAccess(ca_file=str(file)), backoff_s=0.001) as client:
        sentence = await refusal(client)
    assert sentence.startswith(f"The certificates in {file} can't be read (")
    assert "uws_access.ca_file" in sentence
