# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A whole run whose UWS is behind TLS, a path prefix and a guard, and runs that are refused there."""

from __future__ import annotations

import base64
import contextlib
import datetime
import logging
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import trustme
import yaml
from lsst.ts import salobj
from lsst.ts.comcamcalib.csc import ComCamCalibCsc
from lsst.ts.comcamcalib.simulation.ingress import Ingress
from lsst.ts.comcamcalib.simulation.observatory import Observatory
from support.observatory import running_csc
from support.operator import Operator
from support.run import Site, uws_jobs

pytestmark = [pytest.mark.observatory, pytest.mark.asyncio(loop_scope="session")]

PREFIX = "/test-stand/uws"
TOKEN = "t0ken-of-the-test-stand"
PASSWORD = "s3cr3t:of:the:test-stand"
OVERRIDE = "behind_ingress.yaml"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """The observatory's own certificate authority."""
    return trustme.CA()


def certificate(authority: trustme.CA, not_after: datetime.datetime | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1", not_after=not_after).configure_cert(context)
    return context


@contextlib.asynccontextmanager
async def csc_behind(
    observatory: Observatory, authority: trustme.CA, tls: ssl.SSLContext, authorization: str, scheme: str
) -> AsyncIterator[tuple[Ingress, ComCamCalibCsc]]:
    """An ENABLED CSC with a page, which reaches the UWS through an ingress; the OCPS reaches it directly."""
    folder = Path(observatory.environment["TS_CONFIG_OCS_DIR"]) / "ComCamCalib" / "v1"
    authority.cert_pem.write_to_path(folder / "ca.pem")
    async with Ingress(observatory.uws.url.removesuffix("/api/v1"), PREFIX, authorization, tls) as ingress:
        settings = {
            "uws_url": f"{ingress.url}/api/v1",
            "uws_access": {"scheme": scheme, "secret_variable": "UWS_SECRET", "ca_file": str(folder / "ca.pem")},
            "page": {"address": "127.0.0.1", "port": 0, "frame_ancestors": []},
        }
        (folder / OVERRIDE).write_text(yaml.safe_dump(settings))
        async with running_csc(initial_state=salobj.State.ENABLED, override=OVERRIDE) as csc:
            assert csc.summary_state is salobj.State.ENABLED
            yield ingress, csc


async def all_of_the_page(csc: ComCamCalibCsc, run_id: str) -> str:
    """Return what the status page tells people and programs."""
    assert csc.status_page.address is not None
    url = "http://{}:{}".format(*csc.status_page.address)
    texts = []
    async with aiohttp.ClientSession() as session:
        for path in ("/", "/api/now", "/api/runs", f"/api/runs/{run_id}", "/api/board", "/metrics", "/readyz"):
            async with session.get(url + path) as reply:
                assert reply.status == 200, path
                texts.append(await reply.text())
    return "\n".join(texts)


def events(operator: Operator) -> str:
    """Return everything that was heard."""
    assert operator.samples("logMessage")
    return "\n".join(str(vars(sample)) for _, sample, _ in operator.heard)


async def test_a_run_is_complete_through_the_ingress_and_the_token_is_told_nowhere(
    observatory: Observatory,
    operator: Operator,
    authority: trustme.CA,
    journal_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UWS_SECRET", TOKEN)
    tls = certificate(authority)
    async with csc_behind(observatory, authority, tls, f"Bearer {TOKEN}", "bearer") as (ingress, csc):
        assert ingress.url.startswith("https://") and ingress.url.endswith(PREFIX)
        await operator.command("setLogLevel", level=logging.DEBUG)
        run = await Site(observatory, operator, csc).complete(script_mode="BIAS", n_bias=3)
        assert len(await run.certified()) == 9
        assert ingress.passed > 4 and ingress.refused == 0
        assert {one.logUrl.partition("/api/")[0] for one in run.samples("jobState") if one.logUrl} == {ingress.url}
        page = await all_of_the_page(csc, run.run_id)
        assert run.run_id in page
    files = [file.read_bytes() for file in journal_path.parent.glob(f"{journal_path.name}*")]
    assert any(run.run_id.encode() in content for content in files)
    assert not any(TOKEN.encode() in content for content in files)
    for text in (page, caplog.text, events(operator)):
        assert text and TOKEN not in text


async def test_a_wrong_password_is_refused_before_anything_moves(
    observatory: Observatory,
    operator: Operator,
    authority: trustme.CA,
    journal_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("UWS_SECRET", f"comcamcalib:{PASSWORD}")
    expected = f"Basic {base64.b64encode(b'comcamcalib:another').decode()}"
    async with csc_behind(observatory, authority, certificate(authority), expected, "basic") as (ingress, _):
        (sentence,) = await operator.refused("startCalibrationRun", config="script_mode: BIAS")
        assert sentence.startswith("The UWS, which runs the jobs, can't be used: ")
        assert "status 401" in sentence
        assert "Check whether the secret in UWS_SECRET or the file that UWS_SECRET_FILE names is right" in sentence
        assert ingress.passed == 0 and ingress.refused == 1
    assert not operator.samples("runState") and not operator.samples("imageTaken")
    assert await uws_jobs(observatory) == []
    sent = base64.b64encode(f"comcamcalib:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, sent):
        assert secret not in events(operator) and secret not in caplog.text
        assert not any(secret.encode() in file.read_bytes() for file in journal_path.parent.glob("journal.sqlite3*"))


async def test_an_expired_certificate_is_named_with_what_to_mend(
    observatory: Observatory, operator: Operator, authority: trustme.CA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UWS_SECRET", TOKEN)
    expired = certificate(authority, datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=1))
    async with csc_behind(observatory, authority, expired, f"Bearer {TOKEN}", "bearer") as (ingress, _):
        (sentence,) = await operator.refused("startCalibrationRun", config="script_mode: BIAS")
        assert (
            f"The certificate of the UWS at {ingress.url}/api/v1 is not accepted: certificate has expired" in sentence
        )
        assert "that it is still valid" in sentence
        assert ingress.passed == ingress.refused == 0, "nothing is sent to a server that is not known, least a token"
    assert not operator.samples("runState")
    assert TOKEN not in events(operator)
