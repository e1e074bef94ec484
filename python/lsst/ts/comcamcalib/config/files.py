# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the configuration files without a CSC, as salobj reads them for one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import yaml

from ..errors import BadInputError
from .csc_config import CscConfig

__all__ = ["find_directory", "read_config"]

PACKAGE_DIR = "TS_CONFIG_OCS_DIR"
"""The environment variable that says where the configuration package is."""


def find_directory(directory: Path | None, option: str) -> Path:
    """Return the directory with the configuration files.

    Parameters
    ----------
    directory
        The directory that an option names; None: the one of the configuration package.
    option
        That option.

    Raises
    ------
    BadInputError
        If there is none; the sentences say what to do.
    """
    package = os.environ.get(PACKAGE_DIR)
    if directory is not None:
        way_out = f"Name the directory of the CSC's configuration with {option}."
    elif package:
        directory = Path(package) / "ComCamCalib" / "v1"
        way_out = (
            f"The environment variable {PACKAGE_DIR} is {package}: set it to the checkout of ts_config_ocs, or name "
            f"the directory with {option}."
        )
    else:
        raise BadInputError(
            [
                f"The CSC's configuration can't be found: name its directory with {option}, or set the environment "
                f"variable {PACKAGE_DIR}."
            ]
        )
    if not os.path.isfile(directory / "_init.yaml"):
        raise BadInputError([_missing(directory / "_init.yaml"), way_out])
    return directory


def read_config(directory: Path, site: str, override: str = "") -> CscConfig:
    """Read the configuration of a site.

    Parameters
    ----------
    directory
        Directory with ``_init.yaml`` and ``_<site>.yaml``; each file changes values of the files before it, also inside
        mappings; a list is replaced as a whole.
    site
        Name of the site, such as ``summit``.
    override
        Name of a third file, as in the command ``start``; "": there is none.

    Raises
    ------
    BadInputError
        If a file can't be read or is no mapping, or the configuration is wrong; one sentence for each mistake.
    """
    # Imported here, because salobj takes a second and most of this package does not need it.
    from lsst.ts import salobj

    values: dict[str, Any] = {}
    names = [name for name in ("_init.yaml", f"_{site}.yaml", override) if name]
    for name in names:
        try:
            salobj.hierarchical_update(values, _read_mapping(directory / name), "the files before it", name)
        except ValueError as error:
            raise BadInputError([f"The configuration file {directory / name} can't be used: {error}."]) from error
    try:
        return CscConfig.from_namespace(values)
    except BadInputError as error:
        where = f"The configuration in {directory} ({', '.join(names)}) is wrong."
        raise BadInputError([where, *error.problems]) from error


def _read_mapping(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInputError([_missing(path)]) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInputError([f"The configuration file {path} can't be read: {error}"]) from error
    if not isinstance(content, dict | None):
        raise BadInputError([f"The configuration file {path} is not a mapping of names to values."])
    return content or {}


def _missing(path: Path) -> str:
    # Not pathlib's, which raises an error where the permission to look is missing.
    if not os.path.isdir(path.parent):
        return f"There is no directory {path.parent} with configuration files."
    there = ", ".join(sorted(one.name for one in path.parent.glob("*.yaml"))) or "no YAML file"
    return f"There is no configuration file {path}; that directory has {there}."
