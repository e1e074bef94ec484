# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Aids for tests."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import types
import warnings
from collections.abc import AsyncIterator, Iterable, Iterator

from lsst.ts import utils
from lsst.ts.xml.sal_enums import as_salRetCode

from .base import AckError, AckTimeoutError
from .domain import Domain
from .sal_info import SalInfo
from .topics import MockWriteTopic

__all__ = [
    "assertRaisesAckError",
    "assertRaisesAckTimeoutError",
    "make_mock_write_topics",
    "set_random_lsst_dds_partition_prefix",
    "set_test_topic_subname",
]

RANDOM_BYTES = 12


@contextlib.contextmanager
def assertRaisesAckError(
    ack: int | None = None, error: int | None = None, result_contains: str | None = None
) -> Iterator[None]:
    """Assert that a command fails.

    Parameters
    ----------
    ack, error : `int` or `None`
        The acknowledgement's code and error; `None` for any.
    result_contains : `str` or `None`
        Text that its result contains; `None` for any.

    Raises
    ------
    AssertionError
        If no `AckError` is raised, or another one than this.
    """
    with _assert_raises(AckError, ack, error, result_contains):
        yield


@contextlib.contextmanager
def assertRaisesAckTimeoutError(
    ack: int | None = None, error: int | None = None, result_contains: str | None = None
) -> Iterator[None]:
    """Assert that a command is not finished in time; the parameters are those of `assertRaisesAckError`."""
    with _assert_raises(AckTimeoutError, ack, error, result_contains):
        yield


@contextlib.contextmanager
def _assert_raises(
    error_class: type[AckError], ack: int | None, error: int | None, result_contains: str | None
) -> Iterator[None]:
    try:
        yield
    except error_class as raised:
        ackcmd = raised.ackcmd
        if ack is not None and ackcmd.ack != ack:
            raise AssertionError(
                f"ack={as_salRetCode(ackcmd.ack)!r} instead of {as_salRetCode(ack)!r}: {raised}"
            ) from None
        if error is not None and ackcmd.error != error:
            raise AssertionError(f"error={ackcmd.error} instead of {error}: {raised}") from None
        if result_contains is not None and result_contains not in ackcmd.result:
            raise AssertionError(f"result {ackcmd.result!r} does not contain {result_contains!r}") from None
    else:
        raise AssertionError(f"{error_class.__name__} was not raised")


def set_test_topic_subname(randomize: bool = False) -> str:
    """Set environment variable LSST_TOPIC_SUBNAME to a value for tests, and return it.

    Parameters
    ----------
    randomize : `bool`
        A new value each time? If not, it depends on the process id only.
    """
    if randomize:
        data = secrets.token_bytes(RANDOM_BYTES)
    else:
        pid = os.getpid()
        data = pid.to_bytes((pid.bit_length() + 7) // 8, "big")
    text = base64.urlsafe_b64encode(data).decode().replace("=", "").replace("-", "")
    subname = f"test_{text}"
    os.environ["LSST_TOPIC_SUBNAME"] = subname
    return subname


def set_random_lsst_dds_partition_prefix() -> None:
    """Call `set_test_topic_subname`; an old name of it."""
    warnings.warn("Use set_test_topic_subname instead", DeprecationWarning, stacklevel=2)
    set_test_topic_subname()


@contextlib.asynccontextmanager
async def make_mock_write_topics(
    name: str, attr_names: Iterable[str], index: int | None = None
) -> AsyncIterator[types.SimpleNamespace]:
    """Make topics that keep what is written to them; no broker is needed.

    Parameters
    ----------
    name : `str`
        Name of the SAL component.
    attr_names : iterable of `str`
        Names of the topics, with prefix.
    index : `int` or `None`
        SAL index; `None`: 1 for an indexed component, 0 otherwise.

    Yields
    ------
    topics : `types.SimpleNamespace`
        The topics, `topics.MockWriteTopic`, by these names.
    """
    with utils.modify_environ(LSST_TOPIC_SUBNAME=os.environ.get("LSST_TOPIC_SUBNAME") or "mock"):
        async with Domain() as domain:
            if index is None:
                with_any_index = SalInfo(domain, name)
                index = 1 if with_any_index.indexed else 0
                await with_any_index.close()
            salinfo = SalInfo(domain, name, index, write_only=True)
            yield types.SimpleNamespace(
                **{attr_name: MockWriteTopic(salinfo=salinfo, attr_name=attr_name) for attr_name in attr_names}
            )
