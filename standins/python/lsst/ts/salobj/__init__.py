# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for lsst.ts.salobj: CSCs, controllers and remotes that talk SAL over Kafka."""

__version__ = "8.2.12+standin"

from lsst.ts.xml.sal_enums import SalRetCode, State, as_salRetCode, as_state

from . import topics, type_hints
from .base import (
    LOCAL_HOST,
    MAX_SAL_INDEX,
    AckError,
    AckTimeoutError,
    ExpectedError,
    WildcardIndexError,
    get_user_host,
    name_to_name_index,
)
from .base_csc import BaseCsc
from .config_files import hierarchical_update
from .configurable_csc import ConfigurableCsc
from .controller import Controller
from .csc_utils import get_expected_summary_states, make_state_transition_dict, set_summary_state
from .domain import Domain
from .remote import Remote
from .sal_info import SalInfo
from .sal_log_handler import SalLogHandler
from .type_hints import AckCmdDataType, BaseDdsDataType, BaseMsgType, PathType
from .validator import DefaultingValidator, StandardValidator

__all__ = [
    "LOCAL_HOST",
    "MAX_SAL_INDEX",
    "AckCmdDataType",
    "AckError",
    "AckTimeoutError",
    "BaseCsc",
    "BaseDdsDataType",
    "BaseMsgType",
    "ConfigurableCsc",
    "Controller",
    "DefaultingValidator",
    "Domain",
    "ExpectedError",
    "PathType",
    "Remote",
    "SalInfo",
    "SalLogHandler",
    "SalRetCode",
    "StandardValidator",
    "State",
    "WildcardIndexError",
    "as_salRetCode",
    "as_state",
    "get_expected_summary_states",
    "get_user_host",
    "hierarchical_update",
    "make_state_transition_dict",
    "name_to_name_index",
    "set_summary_state",
    "topics",
    "type_hints",
]
