"""A demand-response event: stages, notice, opt-outs, and the rebound after it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from gridflock.model import Rejected
from gridflock.plan._terms import Band, Flow
from gridflock.plan.goals._part import Checks, Members, Part, Reading, Setting, nothing, weighted
from gridflock.units import Kw, Mask


@dataclass(frozen=True, slots=True)
class Stage:
    """From one moment of an event on, so much.

    Attributes:
        from_s: start, unix seconds; the stage lasts until the next one or the event's end.
        rise_kw: injection of the members above their base, >= 0: load shed, or power delivered.
    """

    from_s: float
    rise_kw: float


@dataclass(frozen=True, slots=True, eq=False)
class Event:
    """Less load or more power for some hours. Form: rows with slack, in the event and after it.

    Members in ``opted_out`` do not count, neither for the event nor for its rebound: nothing is asked of
    them on its account. What the notice no longer allows is not asked; ``reading`` says how much that is.

    Attributes:
        start_s: unix seconds.
        end_s: end, not included.
        stages: ascending in time, the first at the start or later, the last before the end.
        members: who takes part; nothing named means every group.
        opted_out: members that do not.
        notice_s: time between the call and the first kW asked, >= 0.
        rebound_kw: largest extra import of the members above base after the event, >= 0, ``inf`` for none.
        rebound_s: how long after the end that holds, >= 0.
        price: money per kWh missing.
        rebound_price: money per kWh of import beyond ``rebound_kw``.
        called_s: moment of the call, unix seconds; NaN for the moment of planning.
        name: of the goal.
    """

    start_s: float
    end_s: float
    stages: tuple[Stage, ...]
    members: Members = ()
    opted_out: tuple[str, ...] = ()
    notice_s: float = 0.0
    rebound_kw: float = np.inf
    rebound_s: float = 0.0
    price: float = 5.0
    rebound_price: float = 5.0
    called_s: float = np.nan
    name: str = "event"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """An empty or reversed span, stages out of it, opt-outs that name nobody, all opted out."""
        checks = Checks(self.name, at)
        if self.start_s < self.end_s:
            # Planned anew after its end, it still bounds the rebound.
            checks.window(self.start_s, self.end_s + max(self.rebound_s, 0.0), ("start_s", "end_s"))
        else:
            checks.window(self.start_s, self.end_s, ("start_s", "end_s"))
        self._stage_faults(checks)
        checks.members("members", self.members)
        for name in ("notice_s", "rebound_s", "price", "rebound_price"):
            checks.number(name, getattr(self, name))
        if not self.rebound_kw >= 0:
            checks.say("rebound_kw", f"{self.rebound_kw} is not a number >= 0")
        members = at.shares(self.members)
        nobody = [who for who in self.opted_out if not at.shares((who,)).keys() & members.keys()]
        if nobody:
            checks.say("opted_out", "names nobody who takes part", nobody[:20])
        elif members and not self._taking_part(at):
            checks.say("opted_out", "leaves nobody who takes part")
        return checks.result()

    def _stage_faults(self, checks: Checks) -> None:
        if not self.stages:
            checks.say("stages", "empty: at least one is needed")
        for stage in self.stages:
            if not (np.isfinite(stage.rise_kw) and stage.rise_kw >= 0):
                checks.say("rise_kw", f"{stage.rise_kw} is not a finite number >= 0")
            if not self.start_s <= stage.from_s < self.end_s:
                checks.say("from_s", f"stage at {stage.from_s} outside [{self.start_s}, {self.end_s})")
        if any(one.from_s >= other.from_s for one, other in pairwise(self.stages)):
            checks.say("stages", "must ascend in time")

    def _taking_part(self, at: Setting) -> dict[str, float]:
        out = {group for who in self.opted_out for group in at.shares((who,))}
        return {group: share for group, share in at.shares(self.members).items() if group not in out}

    def _flow(self, at: Setting) -> Flow:
        return Flow(self._taking_part(at), np.zeros(at.n))

    def _asked_kw(self, at: Setting) -> Kw:
        """(T,) rise called for, NaN outside the stages, the notice not yet counted."""
        starts = at.flexibility.grid.starts_s
        asked = np.full(at.n, np.nan)
        for stage in self.stages:
            asked[(starts >= stage.from_s) & (starts < self.end_s)] = stage.rise_kw
        return asked

    def _in_time(self, at: Setting) -> Mask:
        called_s = at.now_s if np.isnan(self.called_s) else self.called_s
        return np.asarray(at.flexibility.grid.starts_s >= called_s + self.notice_s)

    def part(self, at: Setting) -> Part:
        """The event as rows below, the rebound as rows above."""
        flow = self._flow(at)
        base = flow.power_kw(at.flexibility, at.flexibility.base_kw)
        asked = np.where(self._in_time(at), self._asked_kw(at), np.nan)
        lo = np.where(np.isnan(asked), -np.inf, base + np.nan_to_num(asked))
        endless = np.full(at.n, np.inf)
        blocks = [Band(self.name, flow, lo, endless, self.price, 0.0)]
        after = at.within(self.end_s, self.end_s + self.rebound_s)
        if after.any() and np.isfinite(self.rebound_kw):
            floor = np.where(after, base - self.rebound_kw, -np.inf)
            blocks.append(Band(f"rebound of {self.name}", flow, floor, endless, self.rebound_price, 0.0))
        return replace(nothing(at), blocks=tuple(blocks))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy missing in the event; the peak after it, as rise over base and as import."""
        f, flow = at.flexibility, self._flow(at)
        hours = f.grid.hours
        rise = flow.power_kw(f, p_kw) - flow.power_kw(f, f.base_kw)
        called = np.isfinite(self._asked_kw(at))
        asked, after = np.nan_to_num(self._asked_kw(at)), at.within(self.end_s, np.inf)
        missing = np.where(called, np.maximum(asked - rise, 0.0), 0.0)
        too_late = asked @ (hours * ~self._in_time(at))
        facts = {
            "asked_kwh": float(asked @ hours),
            "given_kwh": float(np.minimum(rise, asked) @ (hours * called)),
            "too_late_kwh": float(too_late),
            "rebound_kw": float(-rise[after].min(initial=0.0)),
            "peak_after_kw": float(-at.net_kw(p_kw)[after].min(initial=0.0)),
        }
        steps = " then ".join(f"{stage.rise_kw:g}" for stage in self.stages)
        return Reading(f"{steps} kW", float(missing @ hours), "kWh missing", self.price, facts)


def answered(event: Event, at: Setting, p_kw: Kw) -> dict[str, float]:
    """Energy each participant gave in an event, kWh; a ledger counts it as one call each.

    Args:
        event: without faults.
        at: the problem it was planned in.
        p_kw: (G, T) powers as planned or as measured.
    """
    within = at.within(event.start_s, event.end_s) * at.flexibility.grid.hours
    out = {group for who in event.opted_out for group in at.shares((who,))}
    given = {}
    for who in weighted(event.members or at.flexibility.groups):
        share = {group: part for group, part in at.shares((who,)).items() if group not in out}
        flow = Flow(share, np.zeros(at.n), 1.0)
        rise = flow.power_kw(at.flexibility, p_kw) - flow.power_kw(at.flexibility, at.flexibility.base_kw)
        given[who] = max(0.0, float(rise @ within))
    return given
