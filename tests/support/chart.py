# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the observatory's chart of CSCs makes of values: the Kubernetes objects.

Helm is not on every machine, and the chart is not ours. So this says in Python what the chart's documentation of its
values says, for the values that we use, with the chart's traps; others are refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

import yaml

NAMESPACE = "uws"
IMAGE_TAG = "c0044"

KNOWN = {
    *("enabled", "classifier", "image", "env", "envSecrets", "s3Credentials", "butlerSecret", "secretFixup"),
    *("securityContext", "pvcMountpoint", "nfsMountpoint", "service", "annotations", "resources"),
}

ACTION = re.compile(r"\{\{-? *(.*?) *-?\}\}")
CONDITION = re.compile(r"(?:#.*\n)*\{\{- if \.Values\.\w+\.enabled \}\}\n(.*)\{\{- end \}\}\n", re.DOTALL)
VALUE = re.compile(r'(?:required "[^"]*" )?\.Values\.([\w.]+)(?: \| quote)?')

DEFAULT_ENV = {
    **dict.fromkeys(("OPENBLAS_NUM_THREADS", "GOTO_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"), "1"),
    **dict.fromkeys(("MKL_DOMAIN_NUM_THREADS", "MPI_NUM_THREADS", "NUMEXPR_NUM_THREADS", "NUMEXPR_MAX_THREADS"), "1"),
    "OMP_PROC_BIND": "false",
}
"""What the chart sets for every CSC, unless its values say otherwise."""

GRACE_PERIOD_S = 30
"""Kubernetes' own default of terminationGracePeriodSeconds, which the chart does not change."""


def render(alias: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the objects that the chart makes: the job, the claims of its volumes, and its service.

    Raises
    ------
    ValueError
        If values have a key that this does not know.
    """
    if unknown := set(values) - KNOWN:
        raise ValueError(f"the renderer does not know {', '.join(sorted(unknown))}")
    service = [_service(alias, values)] if values.get("service", {}).get("enabled") else []
    return [_job(alias, values), *(_claim(alias, one) for one in values.get("pvcMountpoint", [])), *service]


def render_template(text: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the object that one of our templates makes.

    Parameters
    ----------
    text
        The template: actions that name a value, and nothing else but a condition around all of it.
    values
        All values of the application.

    Raises
    ------
    ValueError
        If it has another action, or one that names no value.
    """

    def value(action: re.Match[str]) -> str:
        if not (known := VALUE.fullmatch(action[1])):
            raise ValueError(f"the renderer does not know {action[0]}")
        found: Any = values
        for name in known[1].split("."):
            if not isinstance(found, Mapping) or name not in found:
                raise ValueError(f"{action[0]} names no value")
            found = found[name]
        return json.dumps(found)

    inner = CONDITION.fullmatch(text)
    made: dict[str, Any] = yaml.safe_load(ACTION.sub(value, inner[1] if inner else text))
    return made


def secret_keys(values: Mapping[str, Any]) -> set[str]:
    """Return the keys of the application's secret that the values need."""
    return {
        "ts-salkafka-password",
        *(one["key"] for one in values.get("envSecrets", [])),
        *values.get("s3Credentials", []),
        *values.get("secretFixup", {}).get("filenames", []),
    }


def _job(alias: str, values: Mapping[str, Any]) -> dict[str, Any]:
    name = values["classifier"]
    labels = {"csc": alias, "csc-name": name, "csc-class": name, "csc-is-primary": "true"}
    security = values["securityContext"]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": alias,
            "namespace": NAMESPACE,
            "labels": {"helm.sh/chart": alias, **labels},
            "annotations": values["annotations"],
        },
        "spec": {
            "completions": 1,
            "template": {
                "metadata": {"labels": labels, "annotations": values["annotations"]},
                "spec": {
                    "containers": [_container(alias, values)],
                    "initContainers": [_permissions(alias, values)],
                    "securityContext": {
                        "runAsUser": security["user"],
                        "runAsGroup": security["group"],
                        "fsGroup": security["fsGroup"],
                    },
                    "volumes": _volumes(alias, values),
                    "restartPolicy": "Never",
                    "imagePullSecrets": [{"name": "pull-secret"}],
                },
            },
        },
    }


def _container(alias: str, values: Mapping[str, Any]) -> dict[str, Any]:
    image, butler = values["image"], values["butlerSecret"]
    own = [{"name": name, "value": str(value)} for name, value in (DEFAULT_ENV | values["env"]).items()]
    secrets = [
        {"name": one["name"], "valueFrom": {"secretKeyRef": {"name": NAMESPACE, "key": one["key"]}}}
        for one in [
            {"name": "LSST_KAFKA_SECURITY_PASSWORD", "key": "ts-salkafka-password"},
            *values.get("envSecrets", []),
        ]
    ]
    return {
        "name": values["classifier"],
        "image": f"{image['repository']}:{IMAGE_TAG}.{image['revision']:03d}",
        "imagePullPolicy": "Always",
        "stdin": True,
        "tty": True,
        "envFrom": [{"configMapRef": {"name": "csc-env-config"}}],
        "env": [
            *secrets,
            *own,
            {"name": "PGPASSFILE", "value": f"{butler['containerPath']}/{butler['secretFilename']}"},
            {"name": "PGUSER", "value": butler["dbUser"]},
        ],
        "volumeMounts": [
            {"name": f"{alias}-file-secrets", "mountPath": values["secretFixup"]["containerPath"]},
            *({"name": one["name"], "mountPath": one["path"]} for one in values["pvcMountpoint"]),
            *(
                {"name": one["name"], "mountPath": one["containerPath"], "readOnly": one["readOnly"]}
                for one in values["nfsMountpoint"]
            ),
        ],
        "resources": values["resources"],
    }


def _permissions(alias: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container that puts the files with secrets in place before the CSC starts."""
    lines = [f"cat /secrets-raw/{name} >> /secrets/aws-credentials.ini" for name in values["s3Credentials"]]
    lines += [f"cp /secrets-raw/{name} /secrets" for name in values["secretFixup"]["filenames"]]
    lines += ["chown 73006:73006 /secrets/*", "chmod 0600 /secrets/*"]
    return {
        "name": f"{alias}-perm-fixer",
        "image": "alpine:latest",
        "command": ["/bin/ash", "-c", "\n".join([*lines, ""])],
        "volumeMounts": [
            {"name": f"{alias}-raw-file-secrets", "mountPath": "/secrets-raw", "readOnly": True},
            {"name": f"{alias}-file-secrets", "mountPath": "/secrets"},
        ],
    }


def _volumes(alias: str, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {"name": f"{alias}-file-secrets", "emptyDir": {}},
        {"name": f"{alias}-raw-file-secrets", "secret": {"secretName": NAMESPACE, "defaultMode": 0o600}},
        *(
            {"name": one["name"], "persistentVolumeClaim": {"claimName": f"{alias}-{one['name']}-pvc"}}
            for one in values["pvcMountpoint"]
        ),
        *(
            {"name": one["name"], "nfs": {key: one[name] for key, name in _NFS.items()}}
            for one in values["nfsMountpoint"]
        ),
    ]


_NFS = {"path": "serverPath", "readOnly": "readOnly", "server": "server"}


def _claim(alias: str, one: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": f"{alias}-{one['name']}-pvc", "namespace": NAMESPACE},
        "spec": {
            "accessModes": [one["accessMode"]],
            "resources": {"requests": {"storage": one["claimSize"]}},
            "storageClassName": one["storageClass"],
        },
    }


def _service(alias: str, values: Mapping[str, Any]) -> dict[str, Any]:
    # The selector is the classifier, while the pod's label is the alias: with different names nothing is selected.
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"{alias}-service", "namespace": NAMESPACE, "labels": {"csc": values["classifier"]}},
        "spec": {
            "ports": [{"port": values["service"]["port"]}],
            "selector": {"csc": values["classifier"]},
            "type": values["service"]["type"],
        },
    }
