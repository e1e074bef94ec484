# This file is part of ts_comcamcalib.
#
# Developed for the Vera C. Rubin Observatory Telescope and Site Systems.
# See the COPYRIGHT file at the top-level directory of this distribution.
# SPDX-License-Identifier: GPL-3.0-or-later

"""Summary states: ways from one to another."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from lsst.ts.xml.sal_enums import State

from .base import AckError

if TYPE_CHECKING:
    from .remote import Remote

__all__ = ["get_expected_summary_states", "make_state_transition_dict", "set_summary_state"]

# From OFFLINE to ENABLED, with the command that leads to the next state and the one that leads to the state before.
_LADDER = (State.OFFLINE, State.STANDBY, State.DISABLED, State.ENABLED)
_UP = ("enterControl", "start", "enable")
_DOWN = ("exitControl", "standby", "disable")


def make_state_transition_dict() -> dict[tuple[State, State], list[tuple[str, State]]]:
    """Return, for each (initial state, final state), the commands with the states that they lead to.

    FAULT is never a final state, since no command leads to it.
    """
    transitions: dict[tuple[State, State], list[tuple[str, State]]] = {}
    for i, begin in enumerate(_LADDER):
        for j, end in enumerate(_LADDER):
            if i <= j:
                steps = [(_UP[k], _LADDER[k + 1]) for k in range(i, j)]
            else:
                steps = [(_DOWN[k - 1], _LADDER[k - 1]) for k in range(i, j, -1)]
            transitions[begin, end] = steps
    for end in _LADDER:
        transitions[State.FAULT, end] = [("standby", State.STANDBY), *transitions[State.STANDBY, end]]
    return transitions


def get_expected_summary_states(initial_state: State, final_state: State) -> list[State]:
    """Return the states that a CSC goes through, with the initial and the final one.

    Raises
    ------
    ValueError
        If there is no way.
    """
    if initial_state == final_state:
        return [State(initial_state)]
    key = (State(initial_state), State(final_state))
    transitions = make_state_transition_dict()
    if key not in transitions:
        raise ValueError(f"There is no way from {key[0]!r} to {key[1]!r}")
    return [key[0], *(state for _, state in transitions[key])]


async def set_summary_state(remote: Remote, state: State, override: str = "", timeout: float = 30) -> list[State]:
    """Bring a CSC to a summary state by commands.

    Parameters
    ----------
    remote : `Remote`
        The CSC. It needs evt_summaryState, without a callback.
    state : `State`
        The state to reach.
    override : `str`
        Configuration override, for the command start.
    timeout : `float`
        Time limit for each command, and for its present state (seconds).

    Returns
    -------
    states : `list` [`State`]
        The states that it went through, with the first and the last one.

    Raises
    ------
    ValueError
        If ``state`` is FAULT or no state.
    RuntimeError
        If its present state is not known, or a command fails.
    """
    state = State(state)
    if state == State.FAULT:
        raise ValueError("A CSC can't be sent to state FAULT")
    who = remote.salinfo.name_index
    try:
        sample = await remote.evt_summaryState.aget(timeout=timeout)  # type: ignore[attr-defined]
    except TimeoutError:
        raise RuntimeError(
            f"The summary state of {who} is not known: no event summaryState within {timeout} s"
        ) from None
    present = State(sample.summaryState)
    states = [present]
    if present == state:
        return states
    for command_name, next_state in make_state_transition_dict()[present, state]:
        command = getattr(remote, f"cmd_{command_name}", None)
        if command is None:
            raise RuntimeError(f"{who} can't leave {states[-1]!r}: it has no command {command_name}")
        kwargs = {"configurationOverride": override} if command_name == "start" else {}
        try:
            await command.set_start(**kwargs, timeout=timeout)
        except AckError as error:
            raise RuntimeError(f"Command {command_name} of {who} failed: {error!r}") from error
        states.append(next_state)
    return states


def parse_state(text: str) -> State:
    """Return the state that a word of a command line names, in lower case."""
    try:
        return State[text.upper()]
    except KeyError:
        raise argparse.ArgumentTypeError(f"{text!r} is no state") from None
