# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lsst.ts.comcamcalib.options.pipetask import ELSEWHERE, FLAGS, VALUES, pipetask_options
from lsst.ts.comcamcalib.options.values import NotAllowedError

GOOD = [
    "",
    "-c cpBiasIsr:doDefect=False",
    "-c isr:doDefect=False -c isr:overscan.fitType='MEDIAN_PER_ROW'",
    "-cisr:doDark=False",
    "--config isr:doDark=False",
    "--config=isr:doDark=False",
    "-c parameters:n=3,isr:doDark=False",
    "-c isr:fields=[1,2]",
    "-c isr:limits=(0.1,2e5)",
    "-C isr:/repo/configs/isr.py",
    "--config-file=isr:$CONFIG/isr.py".replace("$CONFIG", "/cfg"),
    "--timeout 3000 --fail-fast",
    "--no-versions",
    "--register-dataset-types",
    "  -c   isr:a=1   --clobber-outputs ",
    "-n 2 --memory-per-quantum 4GB",
    "--start-method=spawn",
]


@pytest.mark.parametrize("text", GOOD)
def test_configuration_and_harmless_options_are_allowed(text: str) -> None:
    assert pipetask_options(text) == text


@pytest.mark.parametrize(
    "text",
    [
        *("-i LSSTComCam/raw/all", "-iu/me", "--input u/me", "--input=u/me", "-o u/me", "-ou/me", "--output u/me"),
        *("--output=u/me", "--output-run u/me/run", "--output-run=u/me/run", "-b /repo/main", "-b/repo/main"),
        *("--butler-config /repo/main", "-p other.yaml", "-pother.yaml", "--pipeline=other.yaml"),
        *("-d detector=0", "--data-query=detector=0", "-j 64", "-j64", "--processes 64", "-g graph.qg", "-q graph.qg"),
        *("--show pipeline", "--replace-run", "--extend-run", "--rebase", "--prune-replaced=purge", "--delete isr"),
        *("-t module.Task", "--skip-existing", "--skip-existing-in u/me", "--init-only", "--skip-init-writes"),
        *("--mock", "--options-file=x", "-@ x", "--instrument x", "--data-id-table t", "--select-tasks isr", "--pdb"),
        *("--long-log", "--", "-", "---", "-x", "--no-such-option", "--fail-fast=1", "-h", "--help", "--inpu u/me"),
        *("extra", "and more", "isr:a=1", "-c isr:a=1 extra", "extra -c isr:a=1", "-c isr:a=1 -i u/me"),
        *(
            "-c",
            "-c isr",
            "-c isr:a",
            "-c isr:=1",
            "-c :a=1",
            "-c -i",
            "-c --input=u/me:a=1",
            "--config=",
            "-c=isr:a=1",
        ),
        *("-c isr:a=1 -c", "--timeout", "--timeout soon", "--timeout=-1", "-n 0", "--start-method fork"),
        *("-c isr:a='b c'", "-c isr:a='-i u/me'", "'-i' u/me", "-c 'isr:a=1 -i u/me'"),
        *("-c isr:a=*", "-c isr:a=x?"),
        *("-c isr:a=1 | tee x", "-c isr:a=1 && rm x", "-c isr:a=1 & true", "-c isr:a=1 > x", "-c isr:a=1 < x"),
        *("-c isr:a=1 # no more", "-c isr:a=$(id)", "-c isr:a=`id`", "-c isr:a=1; id", '-c isr:a="x"', "-c isr:a=\\x"),
        *("-c isr:a=1\n-i u/me", "-c isr:a=1\t-i u/me", "-c isr:a=1\r", "-c isr:a=1\u2028", "-c isr:a=\u00e9"),
        *("-c\u00a0isr:a=1", "-c isr:a=1\u3000-i u/me"),
    ],
)
def test_what_breaks_out_of_the_command_line_or_overrides_it_is_refused(text: str, mistakes: Any) -> None:
    for product in ("bias", "ptc"):
        (sentence,) = mistakes(json.dumps({f"config_options_{product}": text}))
        assert sentence.startswith(f"config_options_{product}: ")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("-i u/me", "has -i, which the job has of its own; use the run option input_collections_x for the product"),
        ("-j 4", "has -j, which the job has of its own; use the run option n_processes"),
        ("-c a:b=1 and", "has the word and, which is neither an option of pipetask nor the value of one"),
        ("-c a:b", "has -c a:b, but -c needs label:field=value after it"),
        ("--timeout", "has --timeout, but --timeout needs a number of seconds after it"),
        ("-c a:b='c d'", "has a blank between quotes (a:b='c), but the worker splits the text at every blank"),
        ("-c a:b=1 | cat", "has the character |, which is not allowed in texts for the OCPS"),
    ],
)
def test_a_refusal_says_what_is_wrong_and_what_to_do(text: str, sentence: str) -> None:
    with pytest.raises(NotAllowedError) as caught:
        pipetask_options(text)
    assert str(caught.value) == sentence


def test_an_option_that_is_not_allowed_is_answered_with_those_that_are() -> None:
    with pytest.raises(NotAllowedError) as caught:
        pipetask_options("--replace-run")
    assert all(option in str(caught.value) for option in (*FLAGS, *VALUES))


def test_the_allowed_options_are_pipetask_s_and_have_values_as_it_has() -> None:
    """`pipetask run` itself says which options there are."""
    run = pytest.importorskip("lsst.ctrl.mpexec.cli.cmd.commands").run
    theirs = {name: option for option in run.params for name in (*option.opts, *option.secondary_opts)}
    assert set(FLAGS) | set(VALUES) | set(ELSEWHERE) <= set(theirs)
    assert all(theirs[name].is_flag for name in FLAGS)
    assert not any(theirs[name].is_flag for name in VALUES)


piece = st.one_of(
    st.sampled_from(
        ["-c", "-i", "-o", "--input=a", "isr:a=1", "'", " ", "\t", "x", "=", ":", "~", "[a-z]", "{a,b}", "!"]
    ),
    st.sampled_from([*FLAGS, *VALUES, *ELSEWHERE]),
    st.text(st.characters(max_codepoint=200), max_size=4),
)


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(piece, max_size=8), good=st.sampled_from(GOOD))
def test_pipetask_gets_an_accepted_text_word_by_word_from_the_worker_s_shell(pieces: list[str], good: str) -> None:
    """The shell splits an unquoted variable; no word of an accepted text is one of the job's own options."""
    text = " ".join([good, "".join(pieces)])
    try:
        accepted = pipetask_options(text)
    except NotAllowedError:
        return
    shell = subprocess.run(
        ["/bin/sh", "-c", 'printf "%s\\n" $RUN_OPTIONS'],
        env={"RUN_OPTIONS": accepted},
        capture_output=True,
        check=True,
        text=True,
        cwd="/",
    )
    words = [word for word in shell.stdout.split("\n") if word]
    assert words == accepted.split()
    own = ("-i", "-o", "-b", "-p", "-d", "-j", "--input", "--output", "--butler", "--pipeline", "--data", "--proc")
    assert not any(word.startswith(own) for word in words)
