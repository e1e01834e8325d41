"""Devices in plan groups, and what terms say of groups said of their devices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._terms import Flow, Terms
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw

_SUMMED = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")


@dataclass(frozen=True, slots=True, eq=False)
class Members:
    """Devices and the plan groups they belong to.

    Attributes:
        flexibility: m devices, sorted by group; its ``groups`` are their names.
        names: G plan groups, which terms speak of.
        group: int64 (m,) group of each, ascending.
    """

    flexibility: Flexibility
    names: tuple[str, ...]
    group: Indices

    @property
    def start(self) -> Indices:
        """(G + 1,) first device of each group, and m."""
        start: Indices = np.searchsorted(self.group, np.arange(len(self.names) + 1)).astype(np.int64)
        return start

    @property
    def inside(self) -> Mapping[str, tuple[str, ...]]:
        """By plan group the names of its devices; groups without devices are left out."""
        found: dict[str, list[str]] = {}
        for device, group in zip(self.flexibility.groups, self.group.tolist(), strict=True):
            found.setdefault(self.names[group], []).append(device)
        return {group: tuple(devices) for group, devices in found.items()}

    def together(self) -> Flexibility:
        """The groups' sums, an outer form of what their devices can do."""
        f = self.flexibility
        arrays: dict[str, Array] = {name: self.sums(getattr(f, name)) for name in _SUMMED}
        for side in ("up", "down"):
            weight = getattr(f, f"{side}_kw").max(axis=1)
            whole = np.bincount(self.group, weight, len(self.names))
            summed = np.bincount(self.group, weight * getattr(f, f"cost_{side}"), len(self.names))
            arrays[f"cost_{side}"] = np.divide(summed, whole, out=np.zeros_like(summed), where=whole > 0.0)
            # The best gain of any: it fills with least and empties by least.
            best = np.full(len(self.names), -np.inf)
            np.maximum.at(best, self.group[weight > 0.0], getattr(f, f"gain_{side}")[weight > 0.0])
            arrays[f"gain_{side}"] = np.where(np.isfinite(best), best, 0.0)
        return Flexibility(f.grid, self.names, **arrays)  # type: ignore[arg-type]  # all float64

    def sums(self, p_kw: Kw) -> Kw:
        """(G, T) of (m, T)."""
        sums = np.zeros((len(self.names), p_kw.shape[1]))
        np.add.at(sums, self.group, p_kw)
        return sums


def terms_of_devices(members: Members, terms: Terms) -> Terms:
    """Terms with what they say of groups said of each of its devices; what names a device goes before."""
    names, devices = members.names, members.flexibility.groups
    of = [names[g] for g in members.group.tolist()]
    inside = members.inside
    wanted = {limit.group for limit in terms.group_limits}
    said = {d: d if d in terms.premium else g for d, g in zip(devices, of, strict=True)}
    return replace(
        terms,
        premium={d: terms.premium[name] for d, name in said.items() if name in terms.premium},
        end_value={d: terms.end_value[g] for d, g in zip(devices, of, strict=True) if g in terms.end_value},
        members={
            name: tuple(d for g in terms.members.get(name, (name,)) for d in inside.get(g, (g,)))
            for name in wanted
        },
        blocks=tuple(replace(block, flow=_spread(block.flow, inside)) for block in terms.blocks),
    )


def _spread(flow: Flow, inside: Mapping[str, tuple[str, ...]]) -> Flow:
    """A flow of groups as one of their devices."""
    share = {d: part for name, part in flow.share.items() for d in inside.get(name, ())}
    share |= {name: part for name, part in flow.share.items() if name not in inside}
    return replace(flow, share=share)
