"""Changes of the elements themselves: the network taken apart, edited and put together again.

Rows of nodes, branches and ports may be renumbered; names keep their meaning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gridflock.grid._network import Network
from gridflock.grid.build._assemble import arranged
from gridflock.grid.build._document import Faults, FeederRejected
from gridflock.grid.build._parts import (
    Branch,
    Bus,
    Capacitor,
    End,
    Parts,
    Port,
    Regulator,
    Shunt,
    Source,
)
from gridflock.grid.change._kinds import AddElement, Rebuilding, RemoveElement
from gridflock.grid.change._switching import Names
from gridflock.grid.change._taken_apart import parts_of

REMOVABLE = ("branch", "port", "shunt", "source")


def rebuilt(
    network: Network, changes: Sequence[Rebuilding], first: int, faults: Faults
) -> tuple[Network, list[str]]:
    """The network after elements were added and removed, and in words what was done.

    Args:
        network: the version.
        changes: in order.
        first: position of the first of them in what was asked, from 1.
        faults: what is wrong is added here; then the network is the one that came in.
    """
    parts = parts_of(network)
    before = len(faults.found)
    words = []
    for at, change in enumerate(changes, start=first):
        if isinstance(change, AddElement):
            words.append(_add(parts, change.part, at, faults))
        else:
            words += _remove(parts, network, change, at, faults)
    if len(faults.found) > before:
        return network, []
    words += _drop_bare_buses(parts, len(network.buses), faults)
    _refuse_loose_ends(parts, faults)
    if len(faults.found) > before:
        return network, []
    try:
        found = arranged(parts)
    except FeederRejected as refused:
        faults.found += refused.rejected
        return network, []
    _keep_bases(network, found)
    return found, words


def _add(parts: Parts, part: Any, at: int, faults: Faults) -> str:  # noqa: ANN401 whatever the caller took for a part
    lists: dict[type, tuple[str, list[Any]]] = {
        Bus: ("bus", parts.buses),
        Branch: ("branch", parts.branches),
        Port: ("port", parts.ports),
        Shunt: ("shunt", parts.shunts),
        Source: ("source", parts.sources),
        Regulator: ("regulator", parts.regulators),
        Capacitor: ("capacitor", parts.capacitors),
    }
    if type(part) not in lists:
        faults.add("network", str(getattr(part, "id", part)), "part", "not a part of a network", at)
        return ""
    component, members = lists[type(part)]
    if any(member.id == part.id for member in members):
        faults.add(component, part.id, "id", f"there is a {component} of that name already", at)
    if isinstance(part, Bus) and not (part.v > 0 and math.isfinite(part.v)):
        faults.add("bus", part.id, "v", "a new bus needs its nominal voltage", at)
    members.append(part)
    kind = part.kind if isinstance(part, Branch | Shunt) else component
    return f"{kind} {part.id} added"


def _remove(parts: Parts, network: Network, change: RemoveElement, at: int, faults: Faults) -> list[str]:
    """Take an element and its controls out of the parts."""
    found = Names(network, faults).find(change.id, REMOVABLE, change.component, at)
    if not found:
        return []
    component = found[0]
    lists: dict[str, list[Any]] = {
        "branch": parts.branches,
        "port": parts.ports,
        "shunt": parts.shunts,
        "source": parts.sources,
    }
    members = lists[component]
    for k, member in enumerate(members):
        if member.id == change.id:
            del members[k]
            break
    else:
        faults.add(component, change.id, "id", "removed already", at)
        return []
    words = [f"{component} {change.id} removed"]
    if component == "branch":
        words += [f"regulator {c.id} removed with it" for c in parts.regulators if c.branch == change.id]
        parts.regulators = [c for c in parts.regulators if c.branch != change.id]
        for c in parts.capacitors:
            if c.branch == change.id:
                faults.add("branch", change.id, "id", f"the control of capacitor {c.id} looks at it", at)
    if component == "shunt":
        parts.capacitors = [c for c in parts.capacitors if c.shunt != change.id]
    return words


def _drop_bare_buses(parts: Parts, known: int, faults: Faults) -> list[str]:
    """Remove buses at which nothing is left; a new one must have something."""
    used = {end.bus for branch in parts.branches for end in branch.ends}
    used |= {s.end.bus for s in parts.shunts} | {s.end.bus for s in parts.sources}
    used |= {p.bus for p in parts.ports}
    bare = [row for row in range(len(parts.buses)) if row not in used]
    heads = {section.head: section.id for section in parts.sections}
    for row in bare:
        name = parts.buses[row].id
        if row >= known:
            faults.add("bus", name, "id", "nothing connects to it: add its line in the same change")
        if row in heads:
            faults.add("bus", name, "id", f"nothing is left at the head of section {heads[row]}")
    if not bare:
        return []
    new_row = np.cumsum([row in used for row in range(len(parts.buses))]) - 1
    words = [f"bus {parts.buses[row].id} removed, nothing was left at it" for row in bare]
    parts.buses = [bus for row, bus in enumerate(parts.buses) if row in used]
    _renumber(parts, new_row.tolist())
    return words


def _renumber(parts: Parts, new_row: list[int]) -> None:
    def moved(end: End) -> End:
        return replace(end, bus=new_row[end.bus]) if 0 <= end.bus < len(new_row) else end

    parts.branches = [replace(b, ends=tuple(moved(end) for end in b.ends)) for b in parts.branches]
    parts.shunts = [replace(s, end=moved(s.end)) for s in parts.shunts]
    parts.sources = [replace(s, end=moved(s.end)) for s in parts.sources]
    parts.ports = [replace(p, bus=new_row[p.bus]) for p in parts.ports]
    parts.sections = [replace(s, head=new_row[s.head]) for s in parts.sections]
    parts.regulators = [replace(c, seen=(new_row[c.seen[0]], *c.seen[1:])) for c in parts.regulators]
    parts.capacitors = [
        replace(c, seen=tuple((new_row[bus], conductor) for bus, conductor in c.seen))
        for c in parts.capacitors
    ]


def _refuse_loose_ends(parts: Parts, faults: Faults) -> None:
    """Every conductor of a port or shunt must be one that a branch or source brings to its bus."""
    ends = [end for branch in parts.branches for end in branch.ends] + [s.end for s in parts.sources]
    brought = {(end.bus, conductor) for end in ends for conductor in end.conductors}
    items: list[tuple[str, str, int, tuple[int, ...]]] = [
        ("port", p.id, p.bus, p.conductors) for p in parts.ports
    ]
    items += [("shunt", s.id, s.end.bus, s.end.conductors) for s in parts.shunts]
    for component, name, bus, conductors in items:
        missing = [c for c in conductors if c > 0 and (bus, c) not in brought]
        if missing and 0 <= bus < len(parts.buses):
            where = f"conductor {', '.join(map(str, missing))} of bus {parts.buses[bus].id}"
            faults.add(component, name, "conductors", f"no branch or source brings {where}")
        elif missing:
            faults.add(component, name, "bus", f"there is no bus row {bus}")


def _keep_bases(before: Network, after: Network) -> None:
    """Nominal voltages of the nodes that were there already, conductor by conductor."""

    def keys(network: Network) -> list[tuple[str, int]]:
        buses = [network.buses[row] for row in network.node_bus.tolist()]
        return list(zip(buses, network.node_conductor.tolist(), strict=True))

    known = dict(zip(keys(before), before.v_base.tolist(), strict=True))
    own = after.v_base.tolist()
    after.v_base[:] = [known.get(key, v) for key, v in zip(keys(after), own, strict=True)]
