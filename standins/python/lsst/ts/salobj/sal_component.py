# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What SAL says of a component: its names, its topics, its acknowledgements."""

from __future__ import annotations

import os
import secrets

from lsst.ts.xml.component_info import ComponentInfo
from lsst.ts.xml.topic_info import TopicInfo

from .type_hints import AckCmdDataType

__all__ = ["SalComponent"]

GROUP_ID_RANDOM_BYTES = 12  # 16 characters


class SalComponent:
    """A component with an index, and who speaks for it here.

    Parameters
    ----------
    name : `str`
        Name of the SAL component.
    index : `int`
        SAL index; 0 for a component that is not indexed, and for all indices.
    identity : `str`
        private_identity of what is written.

    Raises
    ------
    TypeError
        If ``index`` is no integer.
    ValueError
        If there is no such component, or it is not indexed and ``index`` is not 0.
    RuntimeError
        If environment variable LSST_TOPIC_SUBNAME is not set.
    """

    def __init__(self, name: str, index: int, identity: str) -> None:
        if not isinstance(index, int) or isinstance(index, bool):
            raise TypeError(f"index {index!r} must be an integer")
        subname = os.environ.get("LSST_TOPIC_SUBNAME")
        if not subname:
            raise RuntimeError(
                "Environment variable LSST_TOPIC_SUBNAME must be set: the second part of Kafka topics' names"
            )
        self.name = name
        self.index = index
        self.identity = identity
        self.component_info = ComponentInfo(name, subname)
        if index != 0 and not self.indexed:
            raise ValueError(f"Index {index} must be 0: SAL component {name} is not indexed")
        names = sorted(self.component_info.topics)
        self.command_names = tuple(n.removeprefix("cmd_") for n in names if n.startswith("cmd_"))
        self.event_names = tuple(n.removeprefix("evt_") for n in names if n.startswith("evt_"))
        self.telemetry_names = tuple(n.removeprefix("tel_") for n in names if n.startswith("tel_"))
        self.sal_topic_names = self.component_info.sal_topic_names
        self._group_id_suffix = secrets.token_urlsafe(GROUP_ID_RANDOM_BYTES)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name}, {self.index})"

    @property
    def indexed(self) -> bool:
        """Is the component indexed?"""
        return self.component_info.indexed

    @property
    def name_index(self) -> str:
        """Name, or name:index for an indexed component."""
        return f"{self.name}:{self.index}" if self.indexed else self.name

    @property
    def group_id(self) -> str:
        """Kafka's group id of the reader."""
        who = self.name_index if self.identity == self.name_index else f"{self.identity}-{self.name_index}"
        return f"{who}-{self._group_id_suffix}"

    @property
    def AckCmdType(self) -> type[AckCmdDataType]:
        """Class of acknowledgements.

        Raises
        ------
        RuntimeError
            If the component has no commands.
        """
        if not self.command_names:
            raise RuntimeError(f"SAL component {self.name} has no commands, so no acknowledgements either")
        return self.component_info.topics["ack_ackcmd"].make_dataclass()  # type: ignore[return-value]

    def make_ackcmd(
        self, private_seqNum: int, ack: int, error: int = 0, result: str = "", timeout: float = 0
    ) -> AckCmdDataType:
        """Return an acknowledgement; the parameters are its fields."""
        return self.AckCmdType(  # type: ignore[call-arg]
            private_seqNum=private_seqNum, ack=int(ack), error=error, result=result, timeout=timeout
        )

    def _kafka_key(self, topic_info: TopicInfo) -> str:
        """Return the key of a topic's messages: compaction keeps the last event of each key."""
        if topic_info.attr_name.startswith("tel_"):
            return ""
        index = f'"index": {self.index}, ' if self.indexed else ""
        return f'{{ "name": "{self.name}", {index}"topic": "{topic_info.sal_name}" }}'
