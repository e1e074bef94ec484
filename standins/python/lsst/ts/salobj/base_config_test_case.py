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
import unittest
from typing import Any

import yaml

from .base import ExpectedError
from .config_files import list_overrides, merge_config_files
from .type_hints import PathType
from .validator import StandardValidator

__all__ = ["BaseConfigTestCase"]


class BaseConfigTestCase:
    """Mix-in for `unittest.TestCase` that checks the configuration files of a CSC."""

    def get_schema(
        self, csc_package_root: PathType, sal_name: str | None = None, schema_subpath: str | None = None
    ) -> dict[str, Any]:
        """Return the schema of a CSC that keeps it in a file.

        Parameters
        ----------
        csc_package_root : path
            Root of the CSC's package.
        sal_name : `str` or `None`
            Name of the SAL component; needed unless ``schema_subpath`` is given.
        schema_subpath : `str` or `None`
            Where the file is, from the root; `None`: schema/<SAL name>.yaml.

        Raises
        ------
        AssertionError
            If there is no such directory or file, or it is no schema.
        RuntimeError
            If neither SAL name nor path are given.
        """
        if sal_name is None and schema_subpath is None:
            raise RuntimeError("Either sal_name or schema_subpath must be given")
        root = pathlib.Path(os.fsdecode(csc_package_root))
        path = root / (f"schema/{sal_name}.yaml" if schema_subpath is None else schema_subpath)
        assert root.is_dir(), f"{root} does not exist or is no directory"
        assert path.is_file(), f"{path} does not exist or is no file"
        schema = yaml.safe_load(path.read_text())
        assert isinstance(schema, dict), f"{path} holds no schema"
        return schema

    def get_config_dir(self, config_package_root: PathType, sal_name: str, schema: dict[str, Any]) -> pathlib.Path:
        """Return the directory of the files: package root, SAL name, version at the end of the schema's title.

        Raises
        ------
        AssertionError
            If there is no such directory, or the title has no version.
        """
        version = str(schema["title"]).split()[-1]
        assert version.startswith("v"), f"The schema's title {schema['title']!r} does not end in a version such as v1"
        directory = pathlib.Path(os.fsdecode(config_package_root)) / sal_name / version
        assert directory.is_dir(), f"{directory} does not exist or is no directory"
        return directory

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
            If there is no such directory or no _init.yaml in it, or a combination is not valid.
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
            try:
                merge_config_files(validator, directory, ["_init.yaml", *site, *override], git_hash="")
            except ExpectedError as error:
                raise AssertionError(f"{directory}: {error}") from error

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
            Module that has the schema, and its name there. Without that module the test is skipped.
        sal_name : `str` or `None`
            Name of the SAL component; needed unless ``config_dir`` is given.
        config_package_root : path or `None`
            Root of the configuration package; needed unless ``config_dir`` is given.
        config_dir : path or `None`
            Where the files are; `None`: as `get_config_dir` says.

        Raises
        ------
        AssertionError
            As for `check_config_files` and `get_config_dir`.
        AttributeError
            If the module has no such schema.
        RuntimeError, ValueError
            If it is not known where the files are.
        """
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise unittest.SkipTest(f"{module_name} can't be imported: {error}") from error
        schema = getattr(module, schema_name)
        if config_dir is None:
            if config_package_root is None:
                raise RuntimeError("Either config_dir or config_package_root must be given")
            if sal_name is None:
                raise ValueError("Either config_dir or sal_name must be given")
            config_dir = self.get_config_dir(config_package_root, sal_name, schema)
        self.check_config_files(config_dir, schema)
