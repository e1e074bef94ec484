# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Base class of tests of configuration files."""

from __future__ import annotations

import importlib
import itertools
import os
import pathlib
from typing import Any

import yaml

from .config_files import list_overrides, merge_config_files
from .type_hints import PathType
from .validator import StandardValidator

__all__ = ["BaseConfigTestCase"]


class BaseConfigTestCase:
    """Mix-in for `unittest.TestCase` that checks the configuration files of a CSC."""

    def get_schema(self, module_name: str, schema_name: str = "CONFIG_SCHEMA") -> dict[str, Any]:
        """Return the schema of a CSC.

        Parameters
        ----------
        module_name : `str`
            Module that holds it, itself or in a module config_schema.
        schema_name : `str`
            Its name there.

        Raises
        ------
        RuntimeError
            If it is not there.
        """
        for name in (module_name, f"{module_name}.config_schema"):
            try:
                schema = getattr(importlib.import_module(name), schema_name, None)
            except ModuleNotFoundError as error:
                if error.name != name:
                    raise
                continue
            if schema is not None:
                return dict(yaml.safe_load(schema)) if isinstance(schema, str) else schema
        raise RuntimeError(f"There is no {schema_name} in {module_name} or {module_name}.config_schema")

    def get_config_dir(self, config_package_root: PathType, sal_name: str, schema: dict[str, Any]) -> pathlib.Path:
        """Return the directory of the files: package root, SAL name, version at the end of the schema's title."""
        version = str(schema["title"]).split()[-1]
        return pathlib.Path(os.fsdecode(config_package_root)) / sal_name / version

    def check_config_files(self, config_dir: PathType, schema: dict[str, Any], exclude_glob: str | None = None) -> None:
        """Check every combination of _init.yaml, a site's file and an override.

        Parameters
        ----------
        config_dir : path
            Where they are.
        schema : `dict`
            The schema.
        exclude_glob : `str` or `None`
            Pattern of overrides that are not checked.

        Raises
        ------
        AssertionError
            If there is no such directory or no _init.yaml in it.
        ExpectedError
            If a combination is not valid.
        """
        directory = pathlib.Path(os.fsdecode(config_dir))
        assert directory.is_dir(), f"{directory} does not exist or is no directory"
        assert (directory / "_init.yaml").is_file(), f"There is no _init.yaml in {directory}"
        validator = StandardValidator(schema=schema)
        excluded = {path.name for path in directory.glob(exclude_glob)} if exclude_glob else set()
        sites = sorted(
            path.name for path in directory.glob("_*.yaml") if path.name not in ("_init.yaml", "_labels.yaml")
        )
        overrides = [name for name in list_overrides(directory) if name not in excluded]
        # A site whose file is not there has none; but where there are any, _init.yaml need not be complete.
        for site, override in itertools.product(
            [[site] for site in sites] or [[]], [[], *([name] for name in overrides)]
        ):
            merge_config_files(validator, directory, ["_init.yaml", *site, *override], git_hash="")

    def check_standard_config_files(
        self,
        module_name: str,
        schema_name: str = "CONFIG_SCHEMA",
        sal_name: str | None = None,
        config_package_root: PathType | None = None,
        config_dir: PathType | None = None,
    ) -> None:
        """Check the configuration files of a CSC.

        Parameters
        ----------
        module_name, schema_name : `str`
            As for `get_schema`.
        sal_name : `str` or `None`
            Name of the SAL component; needed unless ``config_dir`` is given.
        config_package_root : path or `None`
            Root of the configuration package; needed unless ``config_dir`` is given.
        config_dir : path or `None`
            Where the files are; `None`: as `get_config_dir` says.

        Raises
        ------
        AssertionError, ExpectedError, RuntimeError
            As for `check_config_files` and `get_schema`.
        """
        schema = self.get_schema(module_name, schema_name)
        if config_dir is None:
            if sal_name is None or config_package_root is None:
                raise RuntimeError("Either config_dir or both sal_name and config_package_root must be given")
            config_dir = self.get_config_dir(config_package_root, sal_name, schema)
        self.check_config_files(config_dir, schema)
