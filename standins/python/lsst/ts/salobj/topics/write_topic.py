# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""A topic that is written."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from lsst.ts import utils

from .base_topic import MAX_SEQ_NUM, BaseTopic

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["SetWriteResult", "WriteTopic"]


class SetWriteResult(NamedTuple):
    """What `ControllerEvent.set_write` and `ControllerTelemetry.set_write` did.

    Attributes
    ----------
    did_change : `bool`
        Did a field change, or was it set for the first time?
    was_written : `bool`
        Was a message written?
    data : `BaseMsgType`
        The data: a copy if it was written.
    """

    did_change: bool
    was_written: bool
    data: Any


class WriteTopic(BaseTopic):
    """Data of a topic, to be set and written.

    Parameters
    ----------
    salinfo : `SalInfo`
        The component.
    attr_name : `str`
        Name of the topic as an attribute, such as evt_summaryState.
    min_seq_num : `int` or `None`
        Smallest private_seqNum; `None` if the writer does not number its messages.
    max_seq_num : `int`
        Largest private_seqNum; after it ``min_seq_num`` follows.
    initial_seq_num : `int` or `None`
        First private_seqNum; `None` for ``min_seq_num``.

    Raises
    ------
    RuntimeError
        If there is no such topic, or the SalInfo has been started.
    ValueError
        If the SalInfo writes the topic already.
    """

    def __init__(
        self,
        *,
        salinfo: SalInfo,
        attr_name: str,
        min_seq_num: int | None = 1,
        max_seq_num: int = MAX_SEQ_NUM,
        initial_seq_num: int | None = None,
    ) -> None:
        super().__init__(salinfo=salinfo, attr_name=attr_name)
        self._data: Any = None
        self._has_data = False
        # Does set_write write if nothing has changed?
        self.default_force_output = not attr_name.startswith("evt_")
        self._seq_num_generator = None
        if min_seq_num is not None:
            self._seq_num_generator = utils.index_generator(imin=min_seq_num, imax=max_seq_num, i0=initial_seq_num)
        salinfo.add_writer(self)

    @property
    def data(self) -> Any:
        """The data that `write` writes. Another instance of the topic's class may be set."""
        if self._data is None:
            self._data = self.DataType()
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        if not isinstance(data, self.DataType):
            raise TypeError(f"data={data!r} must be an instance of {self.DataType.__name__}")
        self._data = data
        self._has_data = True

    @property
    def has_data(self) -> bool:
        """Has data been set?"""
        return self._has_data

    def set(self, **kwargs: Any) -> bool:
        """Set fields of the data; `None` leaves a field as it is.

        Returns
        -------
        did_change : `bool`
            Has a field changed, or is it the first time that data is set?

        Raises
        ------
        AttributeError
            If there is no such field; no field is set then.
        TypeError
            If a value can't be compared with the field's, such as a scalar with an array.
        """
        data = self.data
        unknown = [name for name in kwargs if name not in self.topic_info.fields]
        if unknown:
            raise AttributeError(f"{self} has no field {', '.join(unknown)}")
        did_change = not self._has_data
        for name, value in kwargs.items():
            if value is None:
                continue
            if self.topic_info.fields[name].is_array:
                value = self._as_list(name, value)
                changed = not _equal_lists(getattr(data, name), value)
            else:
                changed = not self._equal_scalars(name, getattr(data, name), value)
            if changed:
                setattr(data, name, value)
                did_change = True
        self._has_data = True
        return did_change

    async def set_write(self, *, force_output: bool | None = None, **kwargs: Any) -> SetWriteResult:
        """Set fields and write the data.

        Parameters
        ----------
        force_output : `bool` or `None`
            Write it even if no field has changed? `None`: not if it is an event, otherwise yes.
        **kwargs : `Any`
            The fields, as for `set`.

        Raises
        ------
        AttributeError, TypeError
            As for `set`.
        """
        did_change = self.set(**kwargs)
        if did_change or (self.default_force_output if force_output is None else force_output):
            return SetWriteResult(did_change, True, await self.write())
        return SetWriteResult(did_change, False, self.data)

    async def write(self) -> Any:
        """Write the data as it is, and return a copy of it.

        Raises
        ------
        RuntimeError
            If the SalInfo is not running.
        TypeError, ValueError, OverflowError
            If a field's value doesn't fit its type.
        """
        self.salinfo.assert_running()
        data = self._prepare_to_write()
        await self._write(data)
        return data

    def _prepare_to_write(self) -> Any:
        """Fill in the private fields and return a copy of the data."""
        data = self.data
        now = utils.current_tai()
        data.private_sndStamp = data.private_kafkaStamp = now
        data.private_efdStamp = utils.utc_from_tai_unix(now)
        data.private_revCode = self.topic_info.rev_code
        data.private_identity = self.salinfo.identity
        data.private_origin = self.salinfo.domain.origin
        if self._seq_num_generator is not None:
            data.private_seqNum = next(self._seq_num_generator)
        if self.salinfo.index != 0:
            data.salIndex = self.salinfo.index
        values = dict(vars(data))
        for name in self.topic_info.array_fields:
            values[name] = list(values[name])
        # Made anew, because that warns of arrays of the wrong length.
        return self.DataType(**values)

    async def _write(self, data: Any) -> None:
        await self.salinfo.write_data(self.topic_info, vars(data))
        self._has_data = True

    def _as_list(self, name: str, value: Any) -> list[Any]:
        try:
            return value.tolist() if hasattr(value, "tolist") else list(value)
        except TypeError:
            raise TypeError(f"{self}: {value!r} can't be the value of the array {name}") from None

    def _equal_scalars(self, name: str, old: Any, new: Any) -> bool:
        try:
            return _equal(old, new)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{self}: {new!r} can't be compared with {name}={old!r}: {error}") from error


def _equal(old: Any, new: Any) -> bool:
    """Are two values equal? NaN equals NaN here."""
    if bool(old == new):
        return True
    return isinstance(old, float) and isinstance(new, float) and math.isnan(old) and math.isnan(new)


def _equal_lists(old: list[Any], new: list[Any]) -> bool:
    return len(old) == len(new) and all(_equal(a, b) for a, b in zip(old, new, strict=True))
