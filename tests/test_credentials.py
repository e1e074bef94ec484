# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""No password gets into an event or a sentence."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest
from lsst.ts.comcamcalib import CONFIG_SCHEMA
from lsst.ts.comcamcalib.config_validator import ConfigValidator
from lsst.ts.comcamcalib.credentials import authorization, url_problem, without_credentials
from lsst.ts.comcamcalib.errors import BadInputError
from support.plans import make_config


@pytest.mark.parametrize(
    "url",
    [
        "http://uws:s3cr3t@uws-server/api/v1",
        "https://s3cr3t@uws-server/api/v1",
        "https://:s3cr3t@uws-server:8080",
        "http://uws:s3cr3t%40@[::1]/api/v1",
        "http://uws-server/api/v1?password=s3cr3t",
        "http://uws-server/api/v1#s3cr3t",
        "http://uws:s3cr3t/x@uws-server/api/v1",
    ],
)
def test_an_address_with_a_secret_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadInputError) as caught:
        make_config(uws_url=url)
    assert str(caught.value).startswith("uws_url: Value error, ") and "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "place",
    [
        "https://butler:s3cr3t@server/repo/{job_id}",
        "https://butler:s3/cr3t@server/repo/{job_id}",
        "https://s3cr3t@server/repo/{job_id}",
        "postgresql://rubin:s3cr3t@db/registry/{job_id}",
    ],
)
@pytest.mark.parametrize("name", ["repo", "log_path_pattern"])
def test_other_addresses_that_are_published_have_no_secret_either(name: str, place: str) -> None:
    with pytest.raises(BadInputError, match=f"{name}: Value error, must not have a password in it") as caught:
        make_config(**{name: place})
    assert "cr3t" not in str(caught.value)


def test_the_profile_of_an_s3_address_is_no_secret() -> None:
    assert make_config(repo="s3://embargo@rubin/repo").repo == "s3://embargo@rubin/repo"


def test_the_refusal_says_where_credentials_go() -> None:
    assert "set uws_access, and the environment variable that it names" in url_problem("http://a:b@uws/")


@pytest.mark.parametrize("url", ["http:///", "http:///api", "http://uws:port/api", "https://[::1/api"])
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(BadInputError, match="must be an address such as"):
        make_config(uws_url=url)


@pytest.mark.parametrize("url", ["http://uws-server/api/v1", "https://uws.example:8443/api/v1/", "http://[::1]:8080"])
def test_a_plain_address_is_accepted(url: str) -> None:
    assert make_config(uws_url=url).uws_url == url


@pytest.mark.parametrize(
    "value", ["ftp://uws:s3cr3t@uws-server", "http://uws:s3 cr3t@uws", {"url": "http://a:s3cr3t@b"}]
)
def test_the_schema_does_not_quote_a_secret(value: Any) -> None:
    config = {**make_config().model_dump(mode="json"), "uws_url": value}
    with pytest.raises(jsonschema.ValidationError) as caught:
        ConfigValidator(CONFIG_SCHEMA).validate(config)
    assert caught.value.message.startswith("uws_url: ") and "cr3t" not in caught.value.message


def test_a_repository_with_a_password_is_refused_and_a_profile_of_s3_is_not() -> None:
    with pytest.raises(BadInputError, match="repo: Value error, must not have a password in it") as caught:
        make_config(repo="https://butler:s3cr3t@example/repo")
    assert "s3cr3t" not in str(caught.value)
    assert make_config(repo="s3://profile@bucket/repo").repo == "s3://profile@bucket/repo"


def test_credentials_are_taken_out_of_any_text() -> None:
    text = "GET http://u:p@uws/api/v1 and postgresql://butler:x@db:5432/b; write to ops@example, http://uws/a@b"
    assert without_credentials(text) == (
        "GET http://uws/api/v1 and postgresql://db:5432/b; write to ops@example, http://uws/a@b"
    )


def test_a_secret_in_the_place_of_its_variables_name_is_refused_without_showing_it() -> None:
    for secret in ("ghp_s3cr3t", "user:s3cr3t", "S3CR3T-TOKEN"):
        access = {"scheme": "bearer", "secret_variable": secret, "ca_file": ""}
        with pytest.raises(BadInputError, match=r"uws_access\.secret_variable: ") as caught:
            make_config(uws_access=access)
        assert secret not in str(caught.value)
        config = {**make_config().model_dump(mode="json"), "uws_access": access}
        with pytest.raises(jsonschema.ValidationError) as refused:
            ConfigValidator(CONFIG_SCHEMA).validate(config)
        assert refused.value.message.startswith("uws_access.secret_variable: ")
        assert secret not in refused.value.message


def test_no_credentials_are_sent_where_none_are_asked_for() -> None:
    assert authorization("none", "NO_SUCH_VARIABLE") == {}
