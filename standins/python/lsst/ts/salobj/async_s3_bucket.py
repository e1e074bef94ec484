# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Files in an S3 bucket, such as the Large File Annex, without blocking the event loop."""

from __future__ import annotations

import asyncio
import datetime
import functools
import io
import os
import re
from collections.abc import Callable
from typing import Any, BinaryIO, TypeVar

import astropy.time

__all__ = ["AsyncS3Bucket"]

T = TypeVar("T")

MAX_NAME = 63  # characters of a bucket's name, S3's own limit
_NAME_PART = re.compile(r"[a-z0-9]([a-z0-9.]*[a-z0-9])?", re.IGNORECASE)
# The observing day begins at noon.
_DAY_BEGIN = datetime.timedelta(hours=12)


class AsyncS3Bucket:
    """A bucket of an S3 server; boto3 does the work, in threads.

    The environment variable ``S3_ENDPOINT_URL`` names the server; if it is missing or empty, it is Amazon's. Keys come
    from where boto3 looks for them.

    Parameters
    ----------
    name
        Name of the bucket.
    create
        Make the bucket if there is none. Without it the first use of a bucket that does not exist fails.
    profile
        Profile of access keys. None: boto3's default.
    domock
        Use a server in this process, which forgets everything at `stop_mock`. It needs moto.

    Attributes
    ----------
    name, profile
        As given.
    service_resource
        boto3's resource for the server.
    bucket
        boto3's bucket.
    mock
        The server in this process, or None.
    """

    def __init__(self, name: str, *, create: bool = False, profile: str | None = None, domock: bool = False) -> None:
        import boto3  # takes a quarter of a second

        self.name = name
        self.profile = profile
        self.mock: Any = None
        if domock:
            self._start_mock()
        session = boto3.Session(profile_name=profile)
        self.service_resource = session.resource("s3", endpoint_url=os.environ.get("S3_ENDPOINT_URL") or None)
        if create:
            self.service_resource.create_bucket(Bucket=name)
        self.bucket = self.service_resource.Bucket(name)

    def _start_mock(self) -> None:
        import moto

        self.mock = moto.mock_aws()
        self.mock.start()

    def stop_mock(self) -> None:
        """End the server in this process; harmless if there is none."""
        mock, self.mock = self.mock, None
        if mock is not None:
            mock.stop()

    @staticmethod
    def make_bucket_name(s3instance: str, s3category: str = "LFA") -> str:
        """Return the name of the observatory's bucket of a category at a site, such as ``rubinobs-lfa-summit``.

        Parameters
        ----------
        s3instance, s3category
            Letters, digits and dots, the latter neither first nor last.

        Raises
        ------
        ValueError
            If a part has other characters, or the name is too long.
        """
        for what, part in (("s3instance", s3instance), ("s3category", s3category)):
            if not _NAME_PART.fullmatch(part):
                raise ValueError(
                    f"{what}={part} can't be part of a bucket's name: use letters, digits and, between them, dots."
                )
        name = f"rubinobs-{s3category}-{s3instance}".lower()
        if len(name) > MAX_NAME:
            raise ValueError(f"The bucket's name {name} has {len(name)} characters; at most {MAX_NAME} are allowed.")
        return name

    @staticmethod
    def make_key(
        salname: str,
        salindexname: str | int | None,
        generator: str,
        date: astropy.time.Time,
        other: str | None = None,
        stem: str | None = None,
        suffix: str = ".dat",
    ) -> str:
        """Return the key of a file, such as ``ComCamCalib/report/2026/11/22/ComCamCalib_report_other.html``.

        Parameters
        ----------
        salname
            Name of the SAL component.
        salindexname
            Index of an indexed component, or a name for it; None (or 0) if there is none.
        generator
            Kind of file.
        date
            When its data were taken. Its observing day is in the key.
        other
            What tells it from other files of the day; the date with milliseconds, TAI, if None.
        stem
            The name of the file without suffix, instead of the one that is made of the other parts.
        suffix
            End of the name.
        """
        component = f"{salname}:{salindexname}" if salindexname else salname
        tai = astropy.time.Time(date, scale="tai", precision=3).isot
        day = (datetime.datetime.fromisoformat(tai) - _DAY_BEGIN).strftime("%Y/%m/%d")
        if stem is None:
            stem = f"{component}_{generator}_{tai if other is None else other}"
        return f"{component}/{generator}/{day}/{stem}{suffix}"

    async def upload(self, fileobj: BinaryIO, key: str, callback: Callable[[int], None] | None = None) -> str:
        """Put a file into the bucket, in the place of one that has the key.

        Parameters
        ----------
        fileobj
            Open for reading bytes, at the place from which it is to be read.
        key
            Its key.
        callback
            Called in another thread with the number of bytes of each piece that was sent.

        Returns
        -------
        url
            Where it is, for the event ``largeFileObjectAvailable``: server, bucket and key.
        """
        await _in_thread(self.bucket.upload_fileobj, Fileobj=fileobj, Key=key, Callback=callback)
        return f"{self.service_resource.meta.client.meta.endpoint_url}/{self.name}/{key}"

    async def download(self, key: str, callback: Callable[[int], None] | None = None) -> io.BytesIO:
        """Return a file's content, to be read from its beginning; ``callback`` is as that of `upload`."""
        content = io.BytesIO()
        await _in_thread(self.bucket.download_fileobj, Key=key, Fileobj=content, Callback=callback)
        content.seek(0)
        return content

    async def exists(self, key: str) -> bool:
        """Return whether the bucket has a file of this key."""
        import botocore.exceptions

        try:
            await self.size(key)
        except botocore.exceptions.ClientError as error:
            if error.response["Error"]["Code"] == "404":
                return False
            raise
        return True

    async def size(self, key: str) -> int:
        """Return the number of bytes of a file."""
        head = await _in_thread(self.bucket.meta.client.head_object, Bucket=self.name, Key=key)
        return int(head["ContentLength"])


async def _in_thread(function: Callable[..., T], **arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(None, functools.partial(function, **arguments))
