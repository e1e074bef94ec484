# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""What people read agrees with the program: options, limits, sentences, topics, files, commands, decisions."""

from __future__ import annotations

import ast
import inspect
import re
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, get_args
from xml.etree import ElementTree

import pytest
import typer.main
import yaml
from lsst.ts.comcamcalib.cli import app
from lsst.ts.comcamcalib.config import CscConfig, value_limits
from lsst.ts.comcamcalib.enums import ErrorCode, RunState, StageKind, StageState, Verdict
from lsst.ts.comcamcalib.options.table import Option, option_table
from lsst.ts.comcamcalib.publisher import to_fields
from lsst.ts.comcamcalib.record.events import Alarms
from lsst.ts.comcamcalib.simulation.scenarios import SCENARIOS
from support.host_faults import HOST_FAULTS

ROOT = Path(__file__).parents[1]
DOC = ROOT / "doc"
PACKAGE = ROOT / "python" / "lsst" / "ts" / "comcamcalib"
PAGES = sorted([ROOT / "README.rst", *DOC.rglob("*.rst")])
DECISIONS = sorted((DOC / "decisions").glob("[0-9]*.rst"))

LITERAL = re.compile(r"``(.+?)``")


def page(name: str) -> str:
    return (DOC / f"{name}.rst").read_text()


def literals(text: str) -> set[str]:
    return set(LITERAL.findall(text))


def table_rows(text: str) -> Iterator[list[str]]:
    """Yield the cells of each row of all list-tables, but for the headings."""
    for table in text.split(".. list-table::")[1:]:
        for row in re.findall(r"^   \* - .*(?:\n     .*)*", table, re.MULTILINE)[1:]:
            yield [" ".join(cell.split()) for cell in re.split(r"\n     - ", row.removeprefix("   * - "))]


def code_blocks(text: str, language: str) -> list[str]:
    """Return the contents of the code blocks in a language."""
    blocks = re.findall(rf"\.\. code-block:: {language}\n\n((?:(?:   .*)?\n)+)", text + "\n")
    return [inspect.cleandoc("\n" + block) for block in blocks]


def yaml_blocks(text: str) -> list[dict[str, Any]]:
    return [yaml.safe_load(block) for block in code_blocks(text, "yaml")]


# Options and configuration


def written_default(option: Option) -> str:
    """Return a default as an operator would write it."""
    match option.default:
        case None:
            return ""
        case bool():
            return str(option.default).lower()
        case float():
            return f"{option.default:g}"
        case tuple():
            return ",".join(map(str, option.default))
        case default:
            return str(default) or '""'


def test_the_guide_has_each_run_option_with_its_default(config: CscConfig) -> None:
    table = option_table(config.option_rules())
    documented: dict[str, str] = {}
    for row in table_rows(page("user_guide")):
        if len(row) == 3 and (names := LITERAL.findall(row[0])) and set(names) <= set(table):
            documented |= dict.fromkeys(names, row[1])
    assert set(documented) == set(table)
    # Defaults that are no fixed value are told in words.
    in_words = {"detectors", "repo"} | {name for name, option in table.items() if option.default is None}
    expected = {name: f"``{written_default(option)}``" for name, option in table.items() if name not in in_words}
    assert {name: documented[name] for name in expected} == expected
    assert not any("``" in documented[name] for name in in_words)


@pytest.mark.parametrize("section", ["run_defaults", "plausible", "frames", "limits"])
def test_the_guide_shows_the_shipped_configuration(section: str, config_values: dict[str, Any]) -> None:
    assert config_values[section] in yaml_blocks(page("user_guide"))


def test_the_shipped_values_explain_each_quantity_and_each_word_that_a_limit_may_have() -> None:
    text = (ROOT / "config" / "ComCamCalib" / "v1" / "_init.yaml").read_text()
    comment = re.search(r"((?:^#.*\n)+)^values:", text, re.MULTILINE)
    assert comment is not None
    measured, _, compared = comment[1].partition("in comparison only")
    listed = {
        part: {
            product: quantities
            for row in re.findall(r"^#     ([A-Z].*)$", some, re.MULTILINE)
            for products, quantities in [row.split("  ", 1)]
            for product in products.split(", ")
        }
        for part, some in (("limits", measured), ("drift", compared))
    }
    names = {
        part: {product: tuple(re.findall(r"\w+", re.sub(r"\(.*?\)", "", row))) for product, row in rows.items()}
        for part, rows in listed.items()
    }
    assert names["limits"] == value_limits.MEASURED
    more = {
        product: tuple(one for one in quantities if one not in value_limits.MEASURED[product])
        for product, quantities in value_limits.COMPARED.items()
    }
    assert names["drift"] == {product: quantities for product, quantities in more.items() if quantities}
    assert all(one in comment[1].partition("#   of ")[2] for one in value_limits.OF_DETECTOR)
    for name in ("of", "must_be", "outcome", "change"):
        (explained,) = re.findall(rf"^#   {name}  .*(?:\n#    .*)*", comment[1], re.MULTILINE)
        words = get_args(value_limits.DriftLimit.model_fields[name].annotation)
        assert len(words) > 1 and all(word in explained for word in words), name


def test_the_guide_names_the_tests_that_count(config: CscConfig) -> None:
    known = literals(page("user_guide"))
    for recipe in config.recipes.values():
        assert recipe.verification is None or set(recipe.verification.tests) <= known


# The interface


def test_the_guide_names_each_command_event_and_telemetry_topic() -> None:
    interface = PACKAGE / "sal_interfaces" / "ComCamCalib"
    topics = [
        element.text.split("_")[-1]
        for file in interface.glob("ComCamCalib_*.xml")
        for element in ElementTree.parse(file).iter("EFDB_Topic")
        if element.text
    ]
    assert len(topics) > 15
    named = literals(page("user_guide"))
    assert [topic for topic in [*topics, "abort"] if topic not in named] == []


def test_the_guide_explains_each_alarm_and_each_word_for_a_state() -> None:
    text = page("user_guide")
    alarms = {name for name, value in to_fields(Alarms()).items() if isinstance(value, bool)}
    assert alarms <= {row[0].strip("`") for row in table_rows(text)}
    words = [member.name for enum in (RunState, StageState, StageKind, Verdict) for member in enum]
    assert [word for word in words if not re.search(rf"\b{word}\b", text)] == []
    for enum in (RunState, StageState):
        numbered = r"\s+".join(f"{int(member)} {member.name}" for member in enum)
        assert re.search(numbered, text), f"numbers of {enum.__name__}"


# Failures


def text_of(node: ast.AST) -> str | None:
    """Return a string of the source with … for what is put in when it runs; None if it is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return None


def product_nodes() -> Iterator[ast.AST]:
    for file in PACKAGE.rglob("*.py"):
        if "simulation" not in file.parts:
            yield from ast.walk(ast.parse(file.read_text()))


def fields(text: str, name: str) -> list[str]:
    """Return the contents of the fields of a name (``:Symptom: …``), each on one line."""
    found = re.findall(rf"^:{name}: (.*(?:\n  .*)*)", text, re.MULTILINE)
    return [" ".join(content.split()) for content in found]


def symptoms(components: Iterable[str] = ()) -> list[str]:
    """Return the quoted symptoms, with … for the names of components, which the program has from its configuration."""
    names = "|".join(map(re.escape, components)) or "(?!)"
    text = page("failure_states")
    cells = [row[0] for row in table_rows(text)] + fields(text, "Symptom")
    return [re.sub(names, "…", quote) for cell in cells for quote in LITERAL.findall(cell)]


def quotes(symptom: str, sentence: str) -> bool:
    """Whether a symptom is a piece of a sentence; its … stands for anything."""
    return re.search(".*".join(map(re.escape, symptom.strip("… ").split("…"))), sentence) is not None


def test_failure_states_explain_each_error_code() -> None:
    rows = [row[0] for row in table_rows(page("failure_states"))]
    for code in ErrorCode:
        assert any(row.startswith(f"``{code.name}`` (error code {int(code)})") for row in rows), code


def test_failure_states_quote_sentences_that_the_program_says(config: CscConfig) -> None:
    said = {text for node in product_nodes() if (text := text_of(node))} | set(ErrorCode.__members__)
    quoted = symptoms(config.instrument.components)
    assert len(quoted) > 60
    assert [symptom for symptom in quoted if not any(quotes(symptom, sentence) for sentence in said)] == []


def test_failure_states_explain_each_reason_for_which_a_stage_fails() -> None:
    reasons = [
        text
        for node in product_nodes()
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "StageError"
        for argument in node.args
        if (text := text_of(argument)) and re.search(r"\w", text)  # there is one that only joins others
    ]
    assert len(reasons) > 10
    quoted = [symptom for symptom in symptoms() if len(symptom) > 8]
    assert [reason for reason in reasons if not any(quotes(symptom, reason) for symptom in quoted)] == []


def test_each_scenario_and_each_fault_of_the_host_has_its_section_in_failure_states() -> None:
    """And each section has its fault, by a name that exists, with symptom, cause and remedy."""
    text = page("failure_states")
    _, *sections = re.split(
        r"^(.+)\n-{4,}\n", text[text.index("Faults of the observatory, one by one") :], flags=re.MULTILINE
    )
    named: dict[str, list[str]] = {"Scenario": [], "Host fault": []}
    for title, content in zip(sections[::2], sections[1::2], strict=True):
        names = [(kind, name) for kind in named for name in fields(content, kind)]
        assert len(names) == 1, f"{title} names {names}"
        named[names[0][0]].append(names[0][1])
        assert [len(fields(content, name)) for name in ("Symptom", "Cause", "Remedy")] == [1, 1, 1], title
    assert sorted(named["Scenario"]) == sorted(SCENARIOS)
    assert sorted(named["Host fault"]) == sorted(HOST_FAULTS)


# Files, commands and targets


@pytest.mark.parametrize("file", PAGES, ids=lambda file: str(file.relative_to(ROOT)))
def test_files_that_a_page_links_exist(file: Path) -> None:
    text = file.read_text()
    targets = re.findall(r"<([^<>:`]+\.(?:rst|yaml|md|toml))>`_", text)
    targets += [f"{name.split('<')[-1].rstrip('>')}.rst" for name in re.findall(r":doc:`(.+?)`", text)]
    for contents in re.findall(r"\.\. toctree::\n(?:   :.*\n)*\n((?:   .+\n)+)", text):
        targets += [f"{name}.rst" for name in contents.split()]
    assert [target for target in targets if not (file.parent / target).exists()] == []


def test_files_that_the_readme_names_exist() -> None:
    named = {name for name in literals((ROOT / "README.rst").read_text()) if re.fullmatch(r"[\w.-]+(/[\w.-]*)+", name)}
    # What the demonstration makes is not there before.
    named = {name for name in named if not name.startswith("demo-data/")}
    assert {"conda/meta.yaml", "config/examples/procedure.yaml"} <= named
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_files_of_the_package_that_the_developer_guide_names_exist() -> None:
    named = {name for name in literals(page("developer_guide")) if re.fullmatch(r"[\w/]+\.py", name)}
    assert len(named) > 50
    places = [ROOT, PACKAGE, *(folder for folder in PACKAGE.iterdir() if folder.is_dir())]
    # Inside a list item the folder stands before the first of its files.
    assert [name for name in sorted(named) if not any((place / name).exists() for place in places)] == []
    simulators = {file.name for file in (PACKAGE / "simulation").glob("*.py")} - {"__init__.py"}
    assert simulators <= named, "the table of the simulated observatory is complete"


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def test_make_targets_that_the_pages_name_exist() -> None:
    named = {
        target for file in PAGES for target in re.findall(r"(?:``|^ +|\n +)make ([a-z-]+)", file.read_text()) if target
    }
    assert {"demo", "test", "test-fast", "lint"} <= named
    assert named <= make_targets()


def terminal_commands() -> dict[str, Any]:
    command: Any = typer.main.get_command(app)
    return dict(command.commands)


def test_terminal_commands_that_the_pages_name_exist() -> None:
    named = {
        tuple(command.split())
        for file in PAGES
        for command in re.findall(r"(?<![\w/])comcamcalib ([a-z]+(?: (?:install|remove|check))?)", file.read_text())
    }
    commands = terminal_commands()
    assert {words[0] for words in named} - set(commands) == set()
    assert all(words[1] in commands[words[0]].commands for words in named if len(words) > 1)


def test_the_readme_lists_all_terminal_commands() -> None:
    listed = literals((ROOT / "README.rst").read_text())
    missing = [name for name in terminal_commands() if not any(one.startswith(f"comcamcalib {name}") for one in listed)]
    assert missing == []


def test_the_readmes_examples_are_python_and_use_what_the_client_has() -> None:
    from lsst.ts.comcamcalib.client import CalibrationClient

    examples = code_blocks((ROOT / "README.rst").read_text(), "python")
    assert len(examples) == 2
    for example in examples:
        tree = compile(example, "README.rst", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT | ast.PyCF_ONLY_AST)
        used = {
            node.attr
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "client"
        }
        assert [name for name in used if not hasattr(CalibrationClient, name)] == []


def test_the_developer_guide_names_all_scenarios() -> None:
    assert set(SCENARIOS) <= literals(page("developer_guide"))


# Decisions and dependencies


def names_of(requirements: Sequence[str]) -> set[str]:
    return {re.split(r"[\[<>=]", requirement)[0] for requirement in requirements}


def project(file: Path) -> dict[str, Any]:
    return dict(tomllib.loads(file.read_text())["project"])


def test_each_decision_is_linked_and_tells_context_decision_and_consequences() -> None:
    contents = re.findall(r"^   (\d{4}-\S+)$", (DOC / "decisions" / "index.rst").read_text(), re.MULTILINE)
    assert contents == [file.stem for file in DECISIONS]
    numbers = [file.name.partition("-")[0] for file in DECISIONS]
    assert len(set(numbers)) == len(numbers) and all(re.fullmatch(r"\d{4}", number) for number in numbers)
    for number, file in zip(numbers, DECISIONS, strict=True):
        text = file.read_text()
        assert re.findall(r"^(\w+)\n=+$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], file.name
        assert f"{number} " in text.splitlines()[1]


def test_each_dependency_has_its_decision() -> None:
    product, standins = project(ROOT / "pyproject.toml"), project(ROOT / "standins" / "pyproject.toml")
    extras = [one for extra in product["optional-dependencies"].values() for one in extra]
    dependencies = names_of([*product["dependencies"], *extras, *standins["dependencies"]])
    text = "\n".join(file.read_text() for file in DECISIONS).lower()
    # "requests" is a word of English, too.
    patterns = {name: rf"\b{re.escape(name.lower())}\b" for name in sorted(dependencies)} | {"requests": "``requests``"}
    assert [name for name, pattern in patterns.items() if not re.search(pattern, text)] == []
