"""The group tree and the places in the grid as programs that devices follow.

Topology stands in one assignment: the system, the feeder, the segment, the transformer; the connection point
is the device's own programs. What is no place, providers, programs and people's virtual DERs, stands in
another, behind all of them. The nearer a place, the more its program weighs.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

import numpy as np

from gridflock.dispatch.guard import CurveBounds
from gridflock.field.ieee2030_5._placing import GRID, Curve, Grouped
from gridflock.field.ieee2030_5.resources import DERCurveType
from gridflock.model import Rejected
from gridflock.runtime._system import System

_GROUPS = "groups"
_TRANSFORMER, _SEGMENT, _FEEDER, _SYSTEM = 80, 90, 100, 120
_PEOPLE, _PROVIDER, _PROGRAM = 130, 140, 150
_OWN = frozenset({"all", "section", "plan", "type", "phase", "demand", "site", "sites"})
"""First parts of the ids of groups that are no programs of devices, or stand in it already."""
_TOLD_DIGITS = 4
MAY_BE_GIVEN = "a curve that may be given"
"""The rule that a refused curve breaks."""
_WEIGHTS = {"provider": _PROVIDER, "program": _PROGRAM}


def grouped(
    system: System, names: Collection[str], curves: Mapping[str, Sequence[Curve]] | None = None
) -> tuple[Grouped, ...]:
    """The groups that any of some resources is in, as programs.

    Args:
        system: network, fleet and groups.
        names: resources.
        curves: group id, as below, to the curves that its devices follow by default.
    """
    return tuple(
        Grouped(name, members, primacy, assignment, curves=tuple((curves or {}).get(name, ())))
        for name, members, primacy, assignment in (*_places(system, names), *_others(system, names))
        if members
    )


def _places(system: System, names: Collection[str]) -> Iterator[tuple[str, tuple[str, ...], int, str]]:
    """``all``, ``feeder/<f>``, ``section/<s>``, ``transformer/<t>``."""
    fleet, groups = system.fleet, system.groups
    mine = sorted(names)
    yield "all", tuple(mine), _SYSTEM, GRID
    for word, primacy in (("feeder", _FEEDER), ("transformer", _TRANSFORMER)):
        at: dict[str, list[str]] = {}
        for name in mine:
            text = fleet.labels[word][int(fleet.columns[word][fleet.row_of[name]])]
            where = text or (system.network.name if word == "feeder" else "")
            if where:
                at.setdefault(where, []).append(name)
        yield from ((f"{word}/{where}", tuple(at[where]), primacy, GRID) for where in sorted(at))
    for section in groups.level("section").ids:
        yield section, _members(system, section, names), _SEGMENT, GRID


def _others(system: System, names: Collection[str]) -> Iterator[tuple[str, tuple[str, ...], int, str]]:
    """Groups that are no places."""
    for group in system.groups.ids:
        head = group.partition("/")[0]
        if head not in _OWN:
            yield group, _members(system, group, names), _WEIGHTS.get(head, _PEOPLE), _GROUPS


def _members(system: System, group: str, names: Collection[str]) -> tuple[str, ...]:
    ids = system.fleet.ids
    return tuple(sorted(ids[row] for row in system.rows_of[group].tolist() if ids[row] in names))


_BOUNDS = {
    DERCurveType.VOLT_VAR: CurveBounds(),
    DERCurveType.VOLT_WATT: CurveBounds.volt_watt(),
}
"""What inverters may be given, by kind; nothing else is told."""
_KINDS = {"volt-var": DERCurveType.VOLT_VAR, "volt-watt": DERCurveType.VOLT_WATT}


def curve(group: str, kind: str, v_pu: Sequence[float], y: Sequence[float]) -> Curve | tuple[Rejected, ...]:
    """A curve that inverters may be given.

    Args:
        group: whose.
        kind: ``volt-var`` or ``volt-watt``.
        v_pu: voltages of its points.
        y: there, as parts of the largest active power; injection positive.
    """
    if kind not in _KINDS:
        return (Rejected("curve", "kind", (group,), f"{kind!r} is not volt-var or volt-watt"),)
    made = Curve(_KINDS[kind], tuple(map(float, v_pu)), tuple(map(float, y)))
    return unfit(group, (made,)) or made


def unfit(group: str, curves: Sequence[Curve]) -> tuple[Rejected, ...]:
    """What keeps curves of a group from being told: the guard's bounds, or that there are two of a kind.

    They are judged as they are told, in hundredths of a per cent.
    """
    found = list[Rejected]()
    for at, one in enumerate(curves):
        bounds = _BOUNDS.get(one.kind)
        if bounds is None:
            found.append(Rejected("curve", "kind", (group,), "is not volt-var or volt-watt"))
            continue
        if any(other.kind == one.kind for other in curves[:at]):
            found.append(Rejected("curve", "kind", (group,), f"a second {one.kind.name.lower()}"))
        told = (np.round(np.asarray(values, dtype=np.float64), _TOLD_DIGITS) for values in (one.v_pu, one.y))
        found += bounds.faults(group, *told)
    return tuple(found)
