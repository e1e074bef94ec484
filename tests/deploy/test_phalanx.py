# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""The values for the observatory's chart: what Kubernetes gets is valid, and fits the image and the CSC."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import kubernetes_validate
import pytest
import yaml
from lsst.ts.comcamcalib.csc import LEAVE_LIMIT_S
from support.chart import GRACE_PERIOD_S, NAMESPACE, render, render_template, secret_keys
from support.ingress import behind

ROOT = Path(__file__).parents[2]
PHALANX = ROOT / "deploy" / "phalanx"
SITES = ("summit", "base", "tucson-teststand")
DOMAINS = {"summit": "cp.lsst.org", "base": "ls.lsst.org", "tucson-teststand": "tu.lsst.org"}
CONFIGURATIONS = {"summit": "summit", "base": "base", "tucson-teststand": "tucson"}

# The oldest and the newest release that a site may run.
KUBERNETES = ("1.29", "1.35")


def read(name: str) -> Any:
    return yaml.safe_load((PHALANX / name).read_text())


def values_of(site: str) -> dict[str, Any]:
    values: dict[str, Any] = read(f"values-{site}.yaml")
    assert list(values) == ["comcamcalib"]
    return values["comcamcalib"]


def ingress(site: str) -> dict[str, Any]:
    common = {"host": f"{site}-lsp.lsst.codes", "controlSystem": {"appNamespace": NAMESPACE}}
    text = (PHALANX / "ingress.yaml").read_text()
    return render_template(text, {"comcamcalib": values_of(site), "global": common})


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_each_object_is_valid_in_kubernetes_own_schema(site: str, version: str) -> None:
    objects = render("comcamcalib", values_of(site))
    assert [one["kind"] for one in objects] == ["Job", "PersistentVolumeClaim", "Service"]
    for one in objects:
        kubernetes_validate.validate(one, version, strict=True)


def test_schema_refuses_what_kubernetes_would_refuse() -> None:
    (job, *_) = render("comcamcalib", values_of("summit"))
    job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["mountpath"] = "/wrong"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(job, KUBERNETES[-1], strict=True)


@pytest.mark.parametrize("site", SITES)
def test_service_selects_the_pod(site: str) -> None:
    job, _, service = render("comcamcalib", values_of(site))
    assert service["spec"]["selector"].items() <= job["spec"]["template"]["metadata"]["labels"].items()


@pytest.mark.parametrize("site", SITES)
def test_service_and_scraper_reach_the_page_that_is_configured(
    site: str, read_site: Callable[[str], dict[str, Any]]
) -> None:
    page = read_site(CONFIGURATIONS[site])["page"]
    assert page["address"] == "0.0.0.0", "an address of the pod's own could not be reached from the Service"
    job, _, service = render("comcamcalib", values_of(site))
    (port,) = service["spec"]["ports"]
    assert port.get("targetPort", port["port"]) == page["port"]
    annotations = job["spec"]["template"]["metadata"]["annotations"]
    assert annotations["prometheus.io/port"] == str(page["port"])
    assert annotations["prometheus.io/path"] == "/metrics"


@pytest.mark.parametrize("site", SITES)
def test_pod_runs_as_the_user_of_the_image_and_writes_to_the_journal_only(site: str) -> None:
    (job, claim, _) = render("comcamcalib", values_of(site))
    pod = job["spec"]["template"]["spec"]
    dockerfile = (ROOT / "Dockerfile").read_text()
    user, group = pod["securityContext"]["runAsUser"], pod["securityContext"]["runAsGroup"]
    targets = dict(re.findall(r"^FROM \S+ AS (\S+)\n(.*?)(?=^FROM |\Z)", dockerfile, re.MULTILINE | re.DOTALL))
    last_users = [re.findall(r"^USER (.*)$", targets[name], re.MULTILINE)[-1] for name in ("stand", "observatory")]
    assert last_users == [f"{user}:{group}"] * 2
    writable = [one["mountPath"] for one in pod["containers"][0]["volumeMounts"] if not one.get("readOnly")]
    assert writable == ["/home/saluser/.lsst", "/var/lib/comcamcalib"]
    assert "VOLUME /var/lib/comcamcalib" in dockerfile
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"], "two pods on two nodes must not share a journal"


@pytest.mark.parametrize("site", SITES)
def test_journal_and_reports_of_the_configuration_are_on_the_volume(site: str) -> None:
    folder = ROOT / "config" / "ComCamCalib" / "v1"
    configuration = yaml.safe_load((folder / f"_{CONFIGURATIONS[site]}.yaml").read_text())
    (volume,) = values_of(site)["pvcMountpoint"]
    assert configuration["journal_path"].startswith(f"{volume['path']}/")
    assert configuration["report"]["directory"].startswith(f"{volume['path']}/")


@pytest.mark.parametrize("site", SITES)
def test_repository_of_the_configuration_can_be_opened(site: str) -> None:
    repo = yaml.safe_load((ROOT / "config" / "ComCamCalib" / "v1" / f"_{CONFIGURATIONS[site]}.yaml").read_text())[
        "repo"
    ]
    assert "/" not in repo, "an alias: at these sites no folder with a repository of ComCam is known"
    index = values_of(site)["env"]["DAF_BUTLER_REPOSITORY_INDEX"]
    assert any(index.startswith(f"{one['containerPath']}/") for one in values_of(site)["nfsMountpoint"])


@pytest.mark.parametrize("site", SITES)
def test_logs_that_the_configuration_names_are_mounted(site: str) -> None:
    pattern = yaml.safe_load((ROOT / "config" / "ComCamCalib" / "v1" / "_init.yaml").read_text())["log_path_pattern"]
    assert any(pattern.startswith(f"{one['containerPath']}/") for one in values_of(site)["nfsMountpoint"])


@pytest.mark.parametrize("site", SITES)
def test_all_servers_are_those_of_the_site(site: str) -> None:
    text = (PHALANX / f"values-{site}.yaml").read_text()
    servers = {one for one in re.findall(r"[\w.-]+\.lsst\.org", text) if not one.startswith("ts-dockerhub")}
    assert servers
    assert all(one.endswith(DOMAINS[site]) for one in servers)


@pytest.mark.parametrize("site", SITES)
def test_every_secret_is_one_that_the_application_has_and_none_is_in_a_file(site: str) -> None:
    there = {"ts-salkafka-password", "postgres-credentials.txt", "butler-credentials.ini", *read("secrets.yaml")}
    assert secret_keys(values_of(site)) <= there
    # Files with credentials are named, never their content.
    text = (PHALANX / f"values-{site}.yaml").read_text()
    assert not re.search(r"(?i)(password|secret_access_key|token)\s*[:=]\s*\S", text)


def test_kubernetes_waits_longer_than_the_csc_needs_to_end() -> None:
    assert LEAVE_LIMIT_S < GRACE_PERIOD_S


def test_the_pieces_belong_together() -> None:
    (dependency,) = read("Chart-dependency.yaml")
    assert dependency["alias"] == "comcamcalib"
    assert dependency["condition"] == "comcamcalib.enabled"
    assert read("values.yaml") == {"comcamcalib": {"enabled": False}}


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("version", KUBERNETES)
def test_ingress_is_valid_and_leads_to_the_service(site: str, version: str) -> None:
    made = ingress(site)
    assert made["config"]["scopes"] == {"any": ["exec:internal-tools", "exec:notebook"]}, "nobody else sees the page"
    plain = {"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", **made["template"]}
    kubernetes_validate.validate(plain, version, strict=True)
    *_, service = render("comcamcalib", values_of(site))
    assert made["metadata"]["namespace"] == service["metadata"]["namespace"]
    (rule,) = made["template"]["spec"]["rules"]
    (path,) = rule["http"]["paths"]
    assert path["backend"]["service"]["name"] == service["metadata"]["name"]
    assert path["backend"]["service"]["port"]["number"] == service["spec"]["ports"][0]["port"]


@pytest.mark.parametrize("site", SITES)
def test_what_love_shows_is_where_the_ingress_serves_the_page(site: str) -> None:
    view = (ROOT / "upstream" / "love" / f"view-{site}.json").read_text()
    (url,) = re.findall(r'"url": "(.*?)"', view)
    assert urlsplit(url).path == "/comcamcalib/"
    assert behind(ingress(site), urlsplit(url).path) == "/"
    assert behind(ingress(site), "/comcamcalib/api/trends/PTC/-/R22_S11") == "/api/trends/PTC/-/R22_S11"
    assert behind(ingress(site), "/comcamcalib") is None, "relative links would lead elsewhere"
    assert behind(ingress(site), "/comcamcalibrations/") is None


def test_actions_that_the_renderer_does_not_know_are_refused() -> None:
    for action in ("{{ include .Values.one }}", "{{ .Values.none }}", "{{ .Chart.Name }}"):
        with pytest.raises(ValueError, match=r"renderer does not know|names no value"):
            render_template(f"one: {action}\n", {"one": 1})


def test_values_that_the_chart_does_not_know_are_refused() -> None:
    with pytest.raises(ValueError, match="pvcMountpoints"):
        render("comcamcalib", {**values_of("summit"), "pvcMountpoints": []})
