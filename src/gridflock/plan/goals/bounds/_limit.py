"""Limits on power: of the head, a transformer, a phase; how fast it changes; a shape to follow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Rejected
from gridflock.plan._terms import Band, Ramp
from gridflock.plan.goals._part import Checks, Members, Part, Reading, Setting, nothing
from gridflock.units import Kw, Mask


def _beyond(values: Kw, lo: Kw, hi: Kw) -> Kw:
    """By how much values lie outside ``[lo, hi]``."""
    beyond: Kw = np.maximum(np.maximum(lo - values, values - hi), 0.0)
    return beyond


@dataclass(frozen=True, slots=True, eq=False)
class PowerLimit:
    """Import and back-feed of the head, a transformer or a phase. Form: row with slack.

    No reverse flow is ``export_kw=0``. A phase names its groups with the part of their power on it.

    Attributes:
        import_kw: (T,) or one, largest import, >= 0, ``inf`` for none.
        export_kw: (T,) or one, largest export (reverse flow, back-feed), >= 0, ``inf`` for none.
        members: whose sum; nothing named means the head.
        beside_kw: (T,) or one, injection of what else flows there and takes no orders.
        price: money per kWh beyond the limit.
        name: of the goal, such as ``"transformer T12"``.
    """

    import_kw: Kw | float = np.inf
    export_kw: Kw | float = np.inf
    members: Members = ()
    beside_kw: Kw | float = 0.0
    price: float = 10.0
    name: str = "power limit"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Negative limits, strangers, prices that are no number."""
        checks = Checks(self.name, at)
        checks.steps("import_kw", self.import_kw, 0.0, endless=True)
        checks.steps("export_kw", self.export_kw, 0.0, endless=True)
        checks.members("members", self.members)
        checks.steps("beside_kw", self.beside_kw)
        checks.number("price", self.price)
        return checks.result()

    def part(self, at: Setting) -> Part:
        """One row per step and side."""
        lo, hi = -at.steps(self.import_kw), at.steps(self.export_kw)
        flow = at.flow(self.members, self.beside_kw)
        return replace(nothing(at), blocks=(Band(self.name, flow, lo, hi, self.price, self.price),))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy beyond the limit."""
        flow = at.flow(self.members, self.beside_kw).power_kw(at.flexibility, p_kw)
        beyond = _beyond(flow, -at.steps(self.import_kw), at.steps(self.export_kw))
        sides = (("import", float(np.min(self.import_kw))), ("export", float(np.min(self.export_kw))))
        asked = ", ".join(f"{side} <= {most:g} kW" for side, most in sides if np.isfinite(most))
        facts = {"most_import_kw": float(-flow.min()), "most_export_kw": float(flow.max())}
        value = float(beyond @ at.flexibility.grid.hours)
        return Reading(asked or "no limit", value, "kWh beyond", self.price, facts)


@dataclass(frozen=True, slots=True, eq=False)
class RampLimit:
    """How fast a flow may change, as under a cloud front. Form: row with slack.

    Attributes:
        kw_per_min: largest change per minute between the means of neighbouring steps, >= 0; with 0
            every change is priced.
        members: whose flow; nothing named means the head.
        beside_kw: (T,) or one, injection of what else flows there.
        price: money per kW of change beyond it.
        before_kw: the flow now; NaN where the change into the first step is free.
        name: of the goal.
    """

    kw_per_min: float
    members: Members = ()
    beside_kw: Kw | float = 0.0
    price: float = 1.0
    before_kw: float = np.nan
    name: str = "ramp limit"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Negative limits, strangers, prices that are no number."""
        checks = Checks(self.name, at)
        checks.number("kw_per_min", self.kw_per_min)
        checks.members("members", self.members)
        checks.steps("beside_kw", self.beside_kw)
        checks.number("price", self.price)
        if np.isinf(self.before_kw):
            checks.say("before_kw", f"{self.before_kw} is not a finite number, or NaN for none")
        return checks.result()

    def _ramp(self, at: Setting) -> Ramp:
        hours = at.flexibility.grid.hours
        limit: Kw = self.kw_per_min * 60.0 * 0.5 * (hours[1:] + hours[:-1])
        first = self.kw_per_min * 60.0 * 0.5 * float(hours[0])
        flow = at.flow(self.members, self.beside_kw)
        return Ramp(self.name, flow, limit, self.price, self.before_kw, first)

    def part(self, at: Setting) -> Part:
        """One row per pair of neighbouring steps, and one from now into the first."""
        return replace(nothing(at), blocks=(self._ramp(at),))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Change beyond the limit, summed over the horizon."""
        ramp = self._ramp(at)
        change = np.abs(ramp.change_kw(ramp.flow.power_kw(at.flexibility, p_kw)))
        value = float(np.maximum(change - ramp.limits_kw, 0.0).sum())
        facts = {"largest_change_kw": float(change.max(initial=0.0))}
        return Reading(f"<= {self.kw_per_min:g} kW/min", value, "kW beyond", self.price, facts)


@dataclass(frozen=True, slots=True, eq=False)
class LoadShape:
    """A shape of some hours to follow within a band. Form: two-sided row with two slacks.

    Attributes:
        target_kw: (T,) or one, wanted injection (a load to follow is negative).
        band: half width as a share of the target's size, from 0 to 1.
        members: whose sum; nothing named means the head.
        beside_kw: (T,) or one, injection of what else flows there.
        from_s: start, unix seconds; -inf for the horizon's.
        until_s: end, not included; inf for the horizon's.
        response: expected part of what is asked that is done, above 0 and at most 1.
        price: money per kWh outside the band.
        name: of the goal.
    """

    target_kw: Kw | float
    band: float = 0.05
    members: Members = ()
    beside_kw: Kw | float = 0.0
    from_s: float = -np.inf
    until_s: float = np.inf
    response: float = 1.0
    price: float = 10.0
    name: str = "load shape"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Numbers out of range, strangers, a span without a step."""
        checks = Checks(self.name, at)
        checks.steps("target_kw", self.target_kw)
        checks.number("band", self.band, 0.0, 1.0)
        checks.members("members", self.members)
        checks.steps("beside_kw", self.beside_kw)
        checks.window(self.from_s, self.until_s)
        checks.number("response", self.response, 0.01, 1.0)
        checks.number("price", self.price)
        return checks.result()

    def _bounds(self, at: Setting) -> tuple[Kw, Kw, Mask]:
        target, inside = at.steps(self.target_kw), at.within(self.from_s, self.until_s)
        half = self.band * np.abs(target)
        return np.where(inside, target - half, -np.inf), np.where(inside, target + half, np.inf), inside

    def part(self, at: Setting) -> Part:
        """One row per side and step of the span."""
        lo, hi, _ = self._bounds(at)
        flow = at.flow(self.members, self.beside_kw, self.response)
        return replace(nothing(at), blocks=(Band(self.name, flow, lo, hi, self.price, self.price),))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Expected energy outside the band."""
        lo, hi, inside = self._bounds(at)
        flow = at.flow(self.members, self.beside_kw, self.response).power_kw(at.flexibility, p_kw)
        off = np.abs(flow - at.steps(self.target_kw))[inside]
        size = np.maximum(np.abs(at.steps(self.target_kw))[inside], 1e-9)
        value = float(_beyond(flow, lo, hi) @ at.flexibility.grid.hours)
        facts = {"largest_miss_share": float((off / size).max())}
        return Reading(f"within {self.band:.0%} of the target", value, "kWh outside", self.price, facts)
