# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""AsyncS3Bucket: files go to a bucket and come back, under the observatory's names."""

from __future__ import annotations

import io
from collections.abc import Iterator
from concurrent import futures

import astropy.time
import botocore.exceptions
import pytest
from lsst.ts import salobj, utils

pytestmark = pytest.mark.asyncio

CONTENT = bytes(range(256)) * 100


@pytest.fixture
def bucket() -> Iterator[salobj.AsyncS3Bucket]:
    with utils.modify_environ(S3_ENDPOINT_URL=None):
        bucket = salobj.AsyncS3Bucket("rubinobs-lfa-test", create=True, domock=True)
        yield bucket
        bucket.stop_mock()


async def test_file_comes_back_as_it_went(bucket: salobj.AsyncS3Bucket) -> None:
    sent: list[int] = []
    url = await bucket.upload(io.BytesIO(CONTENT), "a/report.html", callback=sent.append)
    assert url == f"{bucket.service_resource.meta.client.meta.endpoint_url}/rubinobs-lfa-test/a/report.html"
    assert sum(sent) == len(CONTENT)
    assert await bucket.exists("a/report.html") and await bucket.size("a/report.html") == len(CONTENT)
    received: list[int] = []
    assert (await bucket.download("a/report.html", callback=received.append)).read() == CONTENT
    assert sum(received) == len(CONTENT)


async def test_file_that_is_not_there(bucket: salobj.AsyncS3Bucket) -> None:
    assert not await bucket.exists("nothing")
    with pytest.raises(botocore.exceptions.ClientError, match="404"):
        await bucket.download("nothing")


async def test_bucket_that_is_not_there_is_noticed_at_the_upload(bucket: salobj.AsyncS3Bucket) -> None:
    other = salobj.AsyncS3Bucket("rubinobs-lfa-elsewhere")
    with pytest.raises(Exception, match="NoSuchBucket"):
        await other.upload(io.BytesIO(CONTENT), "key")


async def test_upload_does_not_hold_up_the_event_loop(
    bucket: salobj.AsyncS3Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    import asyncio
    import threading

    begun, released = asyncio.Event(), futures.Future[None]()
    loop = asyncio.get_running_loop()
    threads = []

    def slow(**arguments: object) -> None:
        threads.append(threading.current_thread())
        loop.call_soon_threadsafe(begun.set)
        released.result(10)

    monkeypatch.setattr(bucket.bucket, "upload_fileobj", slow)
    upload = asyncio.create_task(bucket.upload(io.BytesIO(CONTENT), "key"))
    async with asyncio.timeout(10):
        await begun.wait()
        assert not upload.done()
        released.set_result(None)
        await upload
    assert threads != [threading.main_thread()]


async def test_what_a_server_in_this_process_has_is_gone_with_it() -> None:
    with utils.modify_environ(S3_ENDPOINT_URL=None):
        for _ in range(2):
            bucket = salobj.AsyncS3Bucket("rubinobs-lfa-test", create=True, domock=True)
            assert not await bucket.exists("key")
            await bucket.upload(io.BytesIO(CONTENT), "key")
            bucket.stop_mock()
            bucket.stop_mock()


@pytest.mark.parametrize(("endpoint", "expected"), [("http://s3.site:9000", "http://s3.site:9000"), ("", "amazonaws")])
async def test_server_is_that_of_the_environment(endpoint: str, expected: str) -> None:
    with utils.modify_environ(S3_ENDPOINT_URL=endpoint):
        bucket = salobj.AsyncS3Bucket("any")
    assert expected in bucket.service_resource.meta.client.meta.endpoint_url
    assert bucket.mock is None and bucket.profile is None


async def test_bucket_of_a_site_and_a_category() -> None:
    assert salobj.AsyncS3Bucket.make_bucket_name("Summit") == "rubinobs-lfa-summit"
    assert salobj.AsyncS3Bucket.make_bucket_name(s3instance="t.5", s3category="Other") == "rubinobs-other-t.5"


@pytest.mark.parametrize("part", ["", ".a", "a.", "a_b", "a-b", "a b", "a/b", "ä"])
async def test_bucket_names_with_other_characters_are_refused(part: str) -> None:
    with pytest.raises(ValueError, match=f"s3instance={part} "):
        salobj.AsyncS3Bucket.make_bucket_name(part)
    with pytest.raises(ValueError, match=f"s3category={part} "):
        salobj.AsyncS3Bucket.make_bucket_name("a", part)


async def test_bucket_name_has_at_most_63_characters() -> None:
    assert len(salobj.AsyncS3Bucket.make_bucket_name("a" * 50)) == 63
    with pytest.raises(ValueError, match="has 64 characters"):
        salobj.AsyncS3Bucket.make_bucket_name("a" * 51)


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        ((None, "report", "2026-11-22T11:59:59.9996"), "C/report/2026/11/22/C_report_2026-11-22T12:00:00.000.dat"),
        ((None, "report", "2026-11-22T11:59:59.9994"), "C/report/2026/11/21/C_report_2026-11-22T11:59:59.999.dat"),
        ((2, "report", "2026-11-22T20:00:00", "x"), "C:2/report/2026/11/22/C:2_report_x.dat"),
        (
            ("MT", "report", "2026-11-22T20:00:00", "x", "20261122-001", ".html"),
            "C:MT/report/2026/11/22/20261122-001.html",
        ),
    ],
)
async def test_key_has_component_kind_observing_day_and_name(arguments: tuple[object, ...], key: str) -> None:
    index, generator, date, *rest = arguments
    time = astropy.time.Time(date, scale="tai")
    assert salobj.AsyncS3Bucket.make_key("C", index, generator, time, *rest) == key
    assert salobj.AsyncS3Bucket.make_key("C", index, generator, time.utc, *rest) == key, "TAI counts"
