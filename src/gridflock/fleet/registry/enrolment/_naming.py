"""Resources by id, and ids in what is refused."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from gridflock.fleet.registry._rows import Registry
from gridflock.model import Rejected
from gridflock.units import Rows

_SHOWN = 20


def rows_of(registry: Registry, ids: Iterable[str]) -> tuple[Rows, list[str]]:
    """Rows of some resources, ascending and each once, and the ids that nobody has."""
    asked = dict.fromkeys(ids)
    rows = np.array([row for row, name in enumerate(registry.ids) if name in asked], dtype=np.int32)
    if len(rows) == len(asked):
        return rows, []
    known = {registry.ids[row] for row in rows.tolist()}
    return rows, [name for name in asked if name not in known]


def named(component: str, field: str, registry: Registry, rows: Rows, reason: str) -> Rejected:
    """One refusal for many resources, naming at most a screenful."""
    shown = tuple([registry.ids[row] for row in rows[:_SHOWN].tolist()])
    return Rejected(component, field, shown, reason, count=len(rows))


def strangers(component: str, ids: list[str]) -> list[Rejected]:
    """Refusal of ids that nobody has."""
    return [Rejected(component, "id", tuple(ids[:_SHOWN]), "unknown resource", count=len(ids))] if ids else []
