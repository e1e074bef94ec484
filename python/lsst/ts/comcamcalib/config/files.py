# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the configuration files without a CSC, as salobj reads them for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import BadInputError
from .csc_config import CscConfig

__all__ = ["read_config"]


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
        if not path.parent.is_dir():
            raise BadInputError([f"There is no directory {path.parent} with configuration files."]) from error
        there = ", ".join(sorted(one.name for one in path.parent.glob("*.yaml"))) or "no YAML file"
        raise BadInputError([f"There is no configuration file {path}; that directory has {there}."]) from error
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise BadInputError([f"The configuration file {path} can't be read: {error}"]) from error
    if not isinstance(content, dict | None):
        raise BadInputError([f"The configuration file {path} is not a mapping of names to values."])
    return content or {}
