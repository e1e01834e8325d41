"""``apply``: several changes at once, all or none, and what speaks against them.

A position that an element already has is no fault: positions come as telemetry, repeated and late,
and say how things are. What is refused is a name that does not exist, two energised points that do
not belong together, and a network that could not be solved any more.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np

from gridflock.grid._admittance import admittance, irregular
from gridflock.grid._network import Network
from gridflock.grid._state import ControlState, initial
from gridflock.grid.build._document import Faults
from gridflock.grid.change._closing import refuse_conflicts
from gridflock.grid.change._kinds import Change, ChangeRejected, Rebuilding
from gridflock.grid.change._rebuilding import rebuilt
from gridflock.grid.change._switching import switched
from gridflock.units import NEVER_S

NAMED = 8
"""Buses named in a sentence; more are counted."""


def apply(network: Network, *changes: Change) -> Network:
    """A new version of a network. The old one stays as it is and valid.

    Changes are done in order and all together: where one is refused, none is done. Where none makes
    a difference, the version that came in is returned. While elements stay the same, so do all rows
    and the factors of the islands in which nothing moved; adding and removing elements may renumber.

    Args:
        network: the version to start from.
        changes: what to do.

    Raises:
        ChangeRejected: an unknown or ambiguous name, a position that does not exist, an element
            that contradicts itself, a closing between points of different phase or voltage level, a
            network that is singular afterwards. All faults found are listed.
    """
    faults = Faults()
    draft, words, at = network, [], 1
    for structural, group in groupby(changes, lambda c: isinstance(c, Rebuilding)):
        run = list(group)
        if structural:
            draft, more = rebuilt(draft, [c for c in run if isinstance(c, Rebuilding)], at, faults)
        else:
            draft, more = switched(draft, [c for c in run if not isinstance(c, Rebuilding)], at, faults)
        words += more
        at += len(run)
    _stop(faults)
    if not words:
        return network
    refuse_conflicts(network, draft, faults)
    _stop(faults)
    _refuse_singular(draft, faults)
    _stop(faults)
    return replace(draft, version=network.version + 1, changes=tuple(words), wired=draft.wiring)


def _stop(faults: Faults) -> None:
    if faults.found:
        raise ChangeRejected(faults.found)


def _refuse_singular(network: Network, faults: Faults) -> None:
    try:
        reasons = irregular(network, admittance(network, initial(network)).lu.islands)
    except np.linalg.LinAlgError as error:
        reasons = [str(error)]
    for reason in reasons:
        faults.add("network", network.name, "topology", f"{reason}; ground it or take its source off, too")


def follow(before: Network, after: Network, state: ControlState) -> ControlState:
    """The control state of one version carried over to another, by names.

    Positions and timers stay; a locked regulator stands at its held position, a control that is new
    at its written one.

    Args:
        before: the version the state belongs to.
        after: the version it shall serve.
        state: positions and timers.
    """
    start = initial(after)
    k_before, k_after = len(before.regulators.ids), len(after.regulators.ids)
    regs = _rows(before.regulators.ids, after.regulators.ids)
    caps = _rows(before.capacitors.ids, after.capacitors.ids)
    kept = (regs >= 0) & ~after.regulators.locked
    taps = np.where(kept, state.taps[regs], start.taps) if k_before else start.taps
    cap_on = np.where(caps >= 0, state.cap_on[caps], start.cap_on) if len(state.cap_on) else start.cap_on
    pending = np.full(k_after + len(caps), NEVER_S, dtype=np.int64)
    pending[:k_after][kept] = state.pending_since_s[:k_before][regs[kept]]
    pending[k_after:][caps >= 0] = state.pending_since_s[k_before:][caps[caps >= 0]]
    return ControlState(taps.astype(np.int8), cap_on, pending)


def _rows(before: tuple[str, ...], after: tuple[str, ...]) -> np.ndarray:
    if before == after:
        return np.arange(len(after))
    row = {name: k for k, name in enumerate(before)}
    return np.array([row.get(name, -1) for name in after], dtype=np.int64)


def consequences(before: Network, after: Network) -> tuple[str, ...]:
    """In words, which buses lost supply, got it back, or hang on another section than before."""
    row = {name: k for k, name in enumerate(before.buses)}
    common = np.array([row.get(name, -1) for name in after.buses])
    known = common >= 0
    old = known & before.topology.bus_live[common]
    new = after.topology.bus_live
    words = []
    for lost, text in ((known & old & ~new, "without supply"), (known & ~old & new, "supplied again")):
        if lost.any():
            words.append(f"{_named(after, np.flatnonzero(lost))} {text}")
    sections = np.array([*before.sections, ""])[before.bus_section][common]
    moved = known & old & new & (sections != np.array([*after.sections, ""])[after.bus_section])
    for pair in sorted({(sections[k], after.sections[after.bus_section[k]]) for k in np.flatnonzero(moved)}):
        there = moved & (sections == pair[0]) & (after.bus_section == after.sections.index(pair[1]))
        words.append(f"{_named(after, np.flatnonzero(there))} from section {pair[0]} to section {pair[1]}")
    return tuple(words)


def _named(network: Network, buses: np.ndarray) -> str:
    names = ", ".join(network.buses[k] for k in buses[:NAMED].tolist())
    more = f" and {len(buses) - NAMED} more" if len(buses) > NAMED else ""
    return f"{'bus' if len(buses) == 1 else f'{len(buses)} buses'} {names}{more}"
