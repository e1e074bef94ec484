# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The process that writes reports: what it is told, what it answers, and that it is killed at its limit."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from lsst.ts import salobj
from lsst.ts.comcamcalib.config import ReportSettings
from lsst.ts.comcamcalib.enums import RunState
from lsst.ts.comcamcalib.errors import ServiceError
from lsst.ts.comcamcalib.services.reporter import ProgramReporter, ReportMade, ReportRequest
from support.plans import make_config

REQUEST = ReportRequest("20261122-001", 2, RunState.FAILED, 'Failed: "boom" <b>')


def reporter(
    directory: Path, program: str, limit_s: float = 60.0, s3_instance: str = "", arguments: Sequence[str] = ()
) -> ProgramReporter:
    """Return a reporter whose program is a piece of Python."""
    limits = make_config(limits={"report": limit_s}).limits
    settings = ReportSettings(directory=str(directory), s3_instance=s3_instance)
    return ProgramReporter("/journal.sqlite", settings, limits, (sys.executable, "-c", program, *arguments))


WRITES = """
import json, pathlib, sys
arguments = sys.argv[1:]
page = pathlib.Path(arguments[arguments.index("--directory") + 1]) / "ComCamCalib-20261122-001.html"
page.write_text(json.dumps(arguments))
page.with_suffix(".json").write_text("{}")
print(json.dumps({"files": [str(page), str(page.with_suffix(".json"))], "remarks": ["no pictures"]}))
"""


async def test_program_is_told_the_run_its_end_and_the_places(tmp_path: Path) -> None:
    made = await reporter(tmp_path, WRITES).write(REQUEST)
    page, numbers = made.files
    assert made.remarks == ("no pictures",)
    assert page.url == (tmp_path / "ComCamCalib-20261122-001.html").as_uri()
    assert (page.mime_type, numbers.mime_type) == ("text/html", "application/json")
    assert (numbers.byte_size, numbers.checksum) == (2, "99914b932bd37a50b983c5e7c90ae93b")
    given = json.loads((tmp_path / "ComCamCalib-20261122-001.html").read_text())
    assert given == [
        *("20261122-001", "--journal", "/journal.sqlite", "--directory", str(tmp_path)),
        *("--attempt", "2", "--state", "FAILED", "--reason", REQUEST.reason),
    ]


async def refusal(one: ProgramReporter) -> str:
    with pytest.raises(ServiceError) as caught:
        await one.write(REQUEST)
    return str(caught.value)


async def test_process_is_killed_at_its_limit(tmp_path: Path) -> None:
    program = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
    slow = reporter(tmp_path, program, limit_s=3.0, arguments=[str(tmp_path / "pid")])
    sentence = await refusal(slow)
    assert sentence == "The report was not written within 3 s (limits.report), and its process was killed"
    assert_is_gone(int((tmp_path / "pid").read_text()))


async def test_process_is_killed_when_nobody_waits_for_it_any_more(tmp_path: Path) -> None:
    pipe = tmp_path / "pid"
    os.mkfifo(pipe)
    program = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(600)"
    task = asyncio.create_task(reporter(tmp_path, program, arguments=[str(pipe)]).write(REQUEST))
    pid = int(await asyncio.to_thread(pipe.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert_is_gone(pid)


def assert_is_gone(pid: int) -> None:
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        ("import sys; sys.exit('The journal /j has no run 1')", "The report could not be written: The journal /j has"),
        ("raise MemoryError('no room')", "The report could not be written: MemoryError: no room"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "its process ended with -9, without a word"),
        ("print('done')", "gave an answer that can't be understood: b'done"),
        ('print(\'{"files": ["/nowhere.html"], "remarks": []}\')', "was written, but can't be read"),
    ],
)
async def test_program_that_fails_is_told_in_a_sentence(tmp_path: Path, program: str, sentence: str) -> None:
    assert sentence in await refusal(reporter(tmp_path, program))


async def test_program_that_is_not_there(tmp_path: Path) -> None:
    limits = make_config().limits
    one = ProgramReporter(
        "/j", ReportSettings(directory=str(tmp_path), s3_instance=""), limits, [str(tmp_path / "nothing")]
    )
    assert "could not be started" in await refusal(one)


async def test_configuration_without_a_place_any_more() -> None:
    settings = ReportSettings(directory="", s3_instance="")
    assert "report.directory is empty" in await refusal(ProgramReporter("/j", settings, make_config().limits))


class Bucket:
    """Stands for salobj's bucket: remembers what was uploaded, or fails."""

    uploaded: dict[str, bytes] = {}
    error: Exception | None = None

    def __init__(self, name: str) -> None:
        self.name = name
        endpoint = type("Meta", (), {"endpoint_url": "https://s3.example.org"})
        client = type("Client", (), {"meta": endpoint})
        self.service_resource = type("Resource", (), {"meta": type("ResourceMeta", (), {"client": client})})

    @staticmethod
    def make_bucket_name(s3instance: str, s3category: str = "LFA") -> str:
        return f"rubinobs-{s3category.lower()}-{s3instance}"

    @staticmethod
    def make_key(
        salname: str, salindexname: object, generator: str, date: object, other: str, suffix: str = ".dat"
    ) -> str:
        return f"{salname}/{generator}/{other}{suffix}"

    async def upload(self, fileobj: object, key: str) -> None:
        if self.error is not None:
            raise self.error
        self.uploaded[key] = fileobj.read()  # type: ignore[attr-defined]


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> type[Bucket]:
    Bucket.uploaded, Bucket.error = {}, None
    monkeypatch.setattr(salobj, "AsyncS3Bucket", Bucket, raising=False)
    return Bucket


async def uploaded(tmp_path: Path) -> ReportMade:
    return await reporter(tmp_path, WRITES, s3_instance="cp").write(REQUEST)


async def test_files_are_uploaded_and_found_where_they_were_uploaded(tmp_path: Path, bucket: type[Bucket]) -> None:
    made = await uploaded(tmp_path)
    assert [one.url for one in made.files] == [
        "https://s3.example.org/rubinobs-lfa-cp/ComCamCalib/report/20261122-001.html",
        "https://s3.example.org/rubinobs-lfa-cp/ComCamCalib/report/20261122-001.json",
    ]
    assert bucket.uploaded["ComCamCalib/report/20261122-001.json"] == b"{}"
    assert made.remarks == ("no pictures",)


async def test_store_that_is_down_leaves_the_files_where_they_are(tmp_path: Path, bucket: type[Bucket]) -> None:
    bucket.error = ConnectionError("Could not connect to the endpoint URL")
    made = await uploaded(tmp_path)
    assert made.files[0].url.startswith("file:///")
    assert made.remarks[-1] == (
        "It could not be uploaded, and is only on the disk of the CSC: the store of large files (cp) failed: "
        "ConnectionError: Could not connect to the endpoint URL"
    )


async def test_files_are_in_the_bucket_of_salobj(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moto", reason="salobj's mock of S3 needs moto")
    buckets: list[salobj.AsyncS3Bucket] = []

    class Mocked(salobj.AsyncS3Bucket):  # type: ignore[misc]
        def __init__(self, name: str) -> None:
            super().__init__(name, create=True, domock=True)
            buckets.append(self)

    monkeypatch.setattr(salobj, "AsyncS3Bucket", Mocked)
    made = await uploaded(tmp_path)
    (bucket,) = buckets
    try:
        assert bucket.name == "rubinobs-lfa-cp"
        keys = [one.url.partition(f"{bucket.name}/")[2] for one in made.files]
        assert [key.rpartition(".")[2] for key in keys] == ["html", "json"]
        assert all(key.startswith("ComCamCalib/report/") and "20261122-001" in key for key in keys)
        content = await bucket.download(keys[1])
        assert content.read() == b"{}"
    finally:
        bucket.stop_mock()
