# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stand-in for lsst.ts.salobj: CSCs, controllers and remotes that talk SAL over Kafka."""

__version__ = "8.2.12+standin"

from lsst.ts.xml.sal_enums import SalRetCode, State, as_salRetCode, as_state

from . import topics, type_hints
from .async_s3_bucket import AsyncS3Bucket
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
from .base_config_test_case import BaseConfigTestCase
from .base_csc import BaseCsc
from .base_csc_test_case import BaseCscTestCase
from .config_files import hierarchical_update
from .configurable_csc import ConfigurableCsc
from .controller import Controller
from .csc_commander import CscCommander
from .csc_utils import get_expected_summary_states, make_state_transition_dict, set_summary_state
from .delete_topics import delete_kafka_topics
from .domain import Domain
from .remote import Remote
from .sal_info import SalInfo
from .sal_log_handler import SalLogHandler
from .stream_as_generator import stream_as_generator
from .test_csc import CONFIG_SCHEMA, TestCsc
from .testutils import (
    assertRaisesAckError,
    assertRaisesAckTimeoutError,
    make_mock_write_topics,
    set_random_lsst_dds_partition_prefix,
    set_test_topic_subname,
)
from .type_hints import AckCmdDataType, BaseDdsDataType, BaseMsgType, PathType
from .validator import DefaultingValidator, StandardValidator

__all__ = [
    "CONFIG_SCHEMA",
    "LOCAL_HOST",
    "MAX_SAL_INDEX",
    "AckCmdDataType",
    "AckError",
    "AckTimeoutError",
    "AsyncS3Bucket",
    "BaseConfigTestCase",
    "BaseCsc",
    "BaseCscTestCase",
    "BaseDdsDataType",
    "BaseMsgType",
    "ConfigurableCsc",
    "Controller",
    "CscCommander",
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
    "TestCsc",
    "WildcardIndexError",
    "as_salRetCode",
    "as_state",
    "assertRaisesAckError",
    "assertRaisesAckTimeoutError",
    "delete_kafka_topics",
    "get_expected_summary_states",
    "get_user_host",
    "hierarchical_update",
    "make_mock_write_topics",
    "make_state_transition_dict",
    "name_to_name_index",
    "set_random_lsst_dds_partition_prefix",
    "set_summary_state",
    "set_test_topic_subname",
    "stream_as_generator",
    "topics",
    "type_hints",
]
