"""What the ledger keeps of virtual DERs, and how they are made again from it.

An entry holds the whole state of every group that a request changed, so that the newest one of each group is
enough to have it again, over whatever registry there is then.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from gridflock.fleet.groups import Groups
from gridflock.model import Entry, GroupVersion, Json
from gridflock.runtime._virtual import Definition, Step, Terms, VirtualDers
from gridflock.units import Rows

KIND = "group"


def entry_of(step: Step, head: Mapping[str, Json], now_s: int) -> Entry:
    """What the ledger keeps of a request: the groups it changed, whole, and the one that went.

    Args:
        step: what was done.
        head: who did what to which group, and how the screen tells it.
        now_s: when.
    """
    document: dict[str, Any] = {"states": [_state(step.after, name) for name in step.changed]}
    if step.gone is not None:
        document["gone"] = [head["group"], *step.gone]
    return Entry(KIND, now_s, head, {"document": np.frombuffer(json.dumps(document).encode(), np.uint8)})


def rebuilt(groups: Groups, entries: Iterable[Entry], now_s: int) -> tuple[VirtualDers, list[Entry]]:
    """The groups of people as the ledger has them, over the registry as it is now.

    Members that are registered no more are left out. A group that holds others than before gets its next
    minor version; one that cannot be made any more is left out as long as that is so.

    Args:
        groups: the system's own.
        entries: of kind ``KIND``, in order.
        now_s: the present, unix seconds.

    Returns:
        The groups, and entries for the ledger that tell of those that changed or are missing.
    """
    states, gone = _newest(entries)
    known = VirtualDers.over(groups)
    known = replace(known, register=replace(known.register, gone=gone))
    told: list[Entry] = []
    for name in _ordered(states):
        state = states[name]
        step = known.define(_remembered(known, state), "gridflock", now_s)
        if step.rejected:
            text = f"group {name!r} cannot be made: " + "; ".join(fault.reason for fault in step.rejected)
            told.append(Entry(KIND, now_s, {"group": name, "verb": "missing", "text": text}))
            continue
        known, rows = step.after, step.after.groups.rows(name)
        if _mark(known.groups, rows) != state["crc"]:
            known = known.renumbered(name, now_s)
            text = f"group {name!r} follows the registry: {len(rows)} members, {state['count']} before"
            head: dict[str, Json] = {"group": name, "verb": "follow", "text": text}
            told.append(entry_of(Step(known, changed=(name,)), head, now_s))
    return known, told


def _state(known: VirtualDers, group: str) -> dict[str, Any]:
    found, rows = known.definition(group), known.groups.rows(group)
    return {
        "id": group,
        "title": found.title,
        "members": found.members,
        "children": found.children,
        "where": found.terms.where,
        "place": found.terms.place,
        "inside": found.terms.inside,
        "outside": found.terms.outside,
        "version": found.version,
        "count": len(rows),
        "crc": _mark(known.groups, rows),
    }


def _newest(entries: Iterable[Entry]) -> tuple[dict[str, dict[str, Any]], dict[str, GroupVersion]]:
    """The last state of every group that stands, and the last version of those that went."""
    states: dict[str, dict[str, Any]] = {}
    gone: dict[str, GroupVersion] = {}
    for entry in entries:
        if "document" not in entry.columns:
            continue
        document = json.loads(entry.columns["document"].tobytes())
        for state in document["states"]:
            states[state["id"]] = state
            gone.pop(state["id"], None)
        if "gone" in document:
            name, *version = document["gone"]
            states.pop(name, None)
            gone[name] = GroupVersion(*version)
    return states, gone


def _ordered(states: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Groups, each behind those inside it and those its rule looks at."""
    done: dict[str, None] = {}
    open_ends = [(name, False) for name in reversed(list(states))]
    while open_ends:
        name, ready = open_ends.pop()
        if ready:
            done[name] = None
        elif name not in done:
            state = states[name]
            below = (*state["children"], *state["inside"], *state["outside"])
            open_ends.append((name, True))
            open_ends += [(other, False) for other in below if other in states]
    return list(done)


def _remembered(known: VirtualDers, state: Mapping[str, Any]) -> Definition:
    """A stored state as a request; members and groups inside that are there no more are left out."""
    devices = known.register.devices
    terms = Terms(state["where"], state["place"], tuple(state["inside"]), tuple(state["outside"]))
    return Definition(
        state["id"],
        state["title"],
        tuple(name for name in state["members"] if devices.id_of(name) is not None),
        tuple(name for name in state["children"] if name in known.groups),
        terms=terms,
        version=GroupVersion(*state["version"]),
    )


def _mark(groups: Groups, rows: Rows) -> int:
    """By which other members are told."""
    ids = groups.fleet.ids
    return zlib.crc32("\n".join([ids[row] for row in rows.tolist()]).encode())
