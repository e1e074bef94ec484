# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What all topics have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lsst.ts.xml.type_hints import BaseMsgType

if TYPE_CHECKING:
    from ..sal_info import SalInfo

__all__ = ["MAX_SEQ_NUM", "BaseTopic"]

MAX_SEQ_NUM = (1 << 31) - 1


class BaseTopic:
    """A topic of a component.

    Parameters
    ----------
    salinfo : `SalInfo`
        The component.
    attr_name : `str`
        Name of the topic as an attribute, such as evt_summaryState.

    Raises
    ------
    RuntimeError
        If the component has no such topic.
    """

    def __init__(self, *, salinfo: SalInfo, attr_name: str) -> None:
        topic_info = salinfo.component_info.topics.get(attr_name)
        if topic_info is None:
            raise RuntimeError(f"SAL component {salinfo.name} has no topic {attr_name}")
        self.salinfo = salinfo
        self.topic_info = topic_info
        self.attr_name = attr_name
        self.sal_name = topic_info.sal_name
        self.log = salinfo.log.getChild(self.sal_name)

    @property
    def DataType(self) -> type[BaseMsgType]:
        """Class of the topic's messages."""
        return self.topic_info.make_dataclass()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.salinfo.name}, {self.salinfo.index}, {self.attr_name})"
