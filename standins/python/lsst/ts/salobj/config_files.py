# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Configuration files: listing, reading, merging."""

from __future__ import annotations

import asyncio
import pathlib
import subprocess
import types
from typing import Any

import jsonschema
import yaml

from .base import ExpectedError

__all__ = ["describe_git_version", "hierarchical_update", "list_overrides", "merge_config_files"]

GIT_LIMIT = 10.0
"""Time limit of a git command (seconds)."""


def list_overrides(config_dir: pathlib.Path) -> list[str]:
    """Return the names of the files that the command start can name, sorted."""
    return sorted(path.name for path in config_dir.glob("*.yaml") if not path.name.startswith("_"))


async def describe_git_version(config_dir: pathlib.Path) -> str:
    """Return git's description of what is checked out in a directory; "" if it is no git checkout."""
    # In a thread: a process of asyncio's own that is cancelled leaves a warning about an unknown child behind.
    return await asyncio.to_thread(_describe_git_version, config_dir)


def _describe_git_version(config_dir: pathlib.Path) -> str:
    command = ["git", "describe", "--all", "--long", "--always", "--dirty"]
    try:
        done = subprocess.run(command, cwd=config_dir, capture_output=True, timeout=GIT_LIMIT, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.decode(errors="replace").strip()


def hierarchical_update(main: dict[str, Any], override: dict[str, Any], main_name: str, override_name: str) -> None:
    """Put the values of a dictionary into another one, in place; dictionaries in them are treated likewise.

    Parameters
    ----------
    main : `dict`
        What is changed.
    override : `dict`
        What is put in; not changed.
    main_name, override_name : `str`
        What they are, for the message.

    Raises
    ------
    ValueError
        If a value is a dictionary in one of them and something else in the other.
    """
    for name, value in override.items():
        if name not in main:
            main[name] = value
            continue
        old = main[name]
        if isinstance(old, dict) != isinstance(value, dict):
            kinds = ("a dictionary", "not a dictionary")
            raise ValueError(
                f"{name} is {kinds[not isinstance(old, dict)]} in {main_name} and "
                f"{kinds[not isinstance(value, dict)]} in {override_name}"
            )
        if isinstance(value, dict):
            hierarchical_update(old, value, f"{main_name}.{name}", f"{override_name}.{name}")
        else:
            main[name] = value


def merge_config_files(
    validator: jsonschema.Draft7Validator, config_dir: pathlib.Path, files: list[str], git_hash: str
) -> types.SimpleNamespace:
    """Read files, each of which overrides those before it, and validate the result; see `ConfigurableCsc`."""
    merged: dict[str, Any] = {}
    for name in files:
        content = _parse(name, _read_from_git(config_dir, name, git_hash) if git_hash else _read(config_dir, name))
        try:
            hierarchical_update(merged, content, "the files before it", name)
        except ValueError as error:
            raise ExpectedError(f"{name} does not fit the files before it: {error}") from error
    merged.pop("metadata", None)
    try:
        validator.validate(merged)
    except jsonschema.exceptions.ValidationError as error:
        raise ExpectedError(f"The configuration of {', '.join(files)} is not valid: {error}") from error
    return types.SimpleNamespace(**merged)


def _read(config_dir: pathlib.Path, name: str) -> str:
    try:
        return (config_dir / name).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ExpectedError(f"Can't read configuration file {name} in {config_dir}: {error}") from error


def _read_from_git(config_dir: pathlib.Path, name: str, git_hash: str) -> str:
    command = ["git", "show", f"{git_hash}:./{name}"]
    try:
        done = subprocess.run(command, cwd=config_dir, capture_output=True, text=True, timeout=GIT_LIMIT, check=True)
    except subprocess.CalledProcessError as error:
        raise ExpectedError(f"Git has no {name} of {git_hash} in {config_dir}: {error.stderr.strip()}") from error
    except (OSError, UnicodeDecodeError, subprocess.TimeoutExpired) as error:
        raise ExpectedError(f"Can't read {name} of {git_hash} in {config_dir} with git: {error}") from error
    return done.stdout


def _parse(name: str, text: str) -> dict[str, Any]:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ExpectedError(f"Configuration file {name} is no valid YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise ExpectedError(f"Configuration file {name} must hold a mapping, not a {type(content).__name__}")
    return content
