# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The observatory's store of large files, through salobj."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from lsst.ts import salobj, utils

from ..errors import ServiceError

__all__ = ["upload"]


async def upload(s3_instance: str, run_id: str, files: Sequence[Path]) -> list[str]:
    """Upload the files of a report.

    Parameters
    ----------
    s3_instance
        Which store: ``cp``, ``ls``, ``tuc``, …
    run_id
        The run, which the keys of the files name.
    files
        The files.

    Returns
    -------
    urls
        Of the files, in their order.

    Raises
    ------
    ServiceError
        If that fails.
    """
    try:
        name = salobj.AsyncS3Bucket.make_bucket_name(s3instance=s3_instance)
        # It loads boto3, which takes a second.
        bucket = await asyncio.to_thread(salobj.AsyncS3Bucket, name)
        return [await _upload(bucket, run_id, path) for path in files]
    except Exception as error:
        # What boto3 raises comes from several packages, which are not imported for this.
        cause = " ".join(f"{type(error).__name__}: {error}".split())
        raise ServiceError(f"the store of large files ({s3_instance}) failed: {cause}") from error


async def _upload(bucket: salobj.AsyncS3Bucket, run_id: str, path: Path) -> str:
    key = bucket.make_key(
        salname="ComCamCalib",
        salindexname=None,
        generator="report",
        date=utils.astropy_time_from_tai_unix(utils.current_tai()),
        other=run_id,
        suffix=path.suffix,
    )
    with path.open("rb") as file:
        await bucket.upload(fileobj=file, key=key)
    endpoint = bucket.service_resource.meta.client.meta.endpoint_url
    return f"{endpoint}/{bucket.name}/{key}"
