"""Nobody is called much more often than the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from gridflock.model import Rejected
from gridflock.plan._terms import Band
from gridflock.plan.goals._part import Checks, Members, Part, Reading, Setting, nothing
from gridflock.plan.goals.fairness._ledger import Ledger
from gridflock.units import Kw


@dataclass(frozen=True, slots=True, eq=False)
class CallBound:
    """Who was called too often already is left at base. Form: row with slack.

    Where one more call would exceed ``Ledger.most_calls``, a participant gives nothing in the span. As the
    median never falls by calling, the bound holds after every event.

    Attributes:
        participants: by name, the members that would be called.
        ledger: calls so far.
        direction: ``"drawing"`` where a call means drawing less, ``"injecting"`` where it means
            delivering less.
        times_median: calls nobody exceeds over the median of calls, >= 1.
        from_s: start, unix seconds.
        until_s: end, not included.
        price: money per kWh called all the same.
        name: of the goal.
    """

    participants: Mapping[str, Members]
    ledger: Ledger
    direction: Literal["drawing", "injecting"]
    times_median: float = 1.5
    from_s: float = -np.inf
    until_s: float = np.inf
    price: float = 50.0
    name: str = "bound on calls"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Nobody to spare, strangers, numbers out of range, a span without a step."""
        checks = Checks(self.name, at)
        if not self.participants:
            checks.say("participants", "nobody to call")
        for who, members in self.participants.items():
            checks.members("participants", members or (who,))
        if self.direction not in {"drawing", "injecting"}:
            checks.say("direction", f"{self.direction!r} is neither 'drawing' nor 'injecting'")
        checks.number("times_median", self.times_median, 1.0)
        checks.number("price", self.price)
        checks.number("ledger", self.ledger.keep, 0.0, 1.0)
        for value in (*self.ledger.calls.values(), *self.ledger.kwh.values()):
            checks.number("ledger", value)
        checks.window(self.from_s, self.until_s)
        return checks.result()

    def spared(self) -> tuple[str, ...]:
        """Who is not to be called now."""
        return self.ledger.spared(self.participants, self.times_median)

    def _bounds(self, at: Setting, who: str) -> Band:
        flow = at.flow(self.participants[who] or (who,))
        base = flow.power_kw(at.flexibility, at.flexibility.base_kw)
        inside, drawing = at.within(self.from_s, self.until_s), self.direction == "drawing"
        lo = np.where(inside & (not drawing), base, -np.inf)
        hi = np.where(inside & drawing, base, np.inf)
        return Band(f"{self.name} of {who}", flow, lo, hi, self.price, self.price)

    def part(self, at: Setting) -> Part:
        """One row per step of each participant that is spared."""
        return replace(nothing(at), blocks=tuple(self._bounds(at, who) for who in self.spared()))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy given by those who should have been spared."""
        given = 0.0
        for who in self.spared():
            band = self._bounds(at, who)
            flow = band.flow.power_kw(at.flexibility, p_kw)
            beyond = np.maximum(np.maximum(band.lo_kw - flow, flow - band.hi_kw), 0.0)
            given += float(beyond @ at.flexibility.grid.hours)
        asked = f"<= {self.ledger.most_calls(self.participants, self.times_median):g} calls"
        return Reading(asked, given, "kWh given", self.price, {"spared": float(len(self.spared()))})
