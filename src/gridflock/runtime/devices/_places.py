"""The group tree and the places in the grid as programs that devices follow.

Topology stands in one assignment: the system, the feeder, the segment, the transformer; the connection point
is the device's own programs. What is no place, providers, programs and people's virtual DERs, stands in
another, behind all of them. The nearer a place, the more its program weighs.
"""

from __future__ import annotations

import math
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


def curve(group: str, kind: str, v_pu: Sequence[float], y: Sequence[float]) -> Curve | tuple[Rejected, ...]:
    """A curve that inverters may be given.

    Args:
        group: whose.
        kind: ``volt-var`` or ``volt-watt``.
        v_pu: voltages of its points.
        y: there, as parts of the largest active power; injection positive.
    """
    bounds = {"volt-var": CurveBounds(), "volt-watt": CurveBounds.volt_watt()}.get(kind)
    if bounds is None:
        return (Rejected("curve", "kind", (group,), f"{kind!r} is not volt-var or volt-watt"),)
    faults = bounds.faults(group, np.asarray(v_pu, dtype=np.float64), np.asarray(y, dtype=np.float64))
    if faults:
        return faults
    which = DERCurveType.VOLT_VAR if kind == "volt-var" else DERCurveType.VOLT_WATT
    assert all(math.isfinite(each) for each in (*v_pu, *y))
    return Curve(which, tuple(map(float, v_pu)), tuple(map(float, y)))
