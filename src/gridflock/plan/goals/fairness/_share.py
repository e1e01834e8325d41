"""Alpha-fair shares: a concave worth of what each participant is granted of what it asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.plan._terms import Share
from gridflock.plan.goals._part import NOBODY, Checks, Members, Part, Reading, Setting, nothing
from gridflock.plan.goals.fairness._ledger import gini, jain
from gridflock.units import Kw, Kwh

_LEAST = 1e-9
"""A request or weight below this is none."""
_STEEPEST = 1e4
"""Largest slope against the one at a full share: beyond it low shares are only ordered."""


def utility(share: NDArray[np.float64], alpha: float) -> NDArray[np.float64]:
    """Worth of shares > 0, with slope 1 at a full share: ``(s^(1-a) - 1)/(1-a)``, ``log s`` at alpha 1.

    (J. Mo, J. Walrand, IEEE/ACM Trans. Networking 8(5), 2000.)
    """
    s = np.asarray(share, dtype=np.float64)
    worth: NDArray[np.float64] = np.log(s) if alpha == 1 else (s ** (1 - alpha) - 1) / (1 - alpha)
    return worth


def slopes(alpha: float, segments: int) -> NDArray[np.float64]:
    """Slope of the utility in the middle of ``segments`` equal segments from 0 to 1, not rising.

    Steeper than 1e4 is cut and only kept in order, so that money and fairness stay on one scale.
    """
    middle = (np.arange(segments) + 0.5) / segments
    slope = middle**-alpha
    cut = slope > _STEEPEST
    slope[cut] = _STEEPEST * (1.0 + 1e-3 * np.arange(cut.sum())[::-1])
    return slope


@dataclass(frozen=True, slots=True, eq=False)
class FairShare:
    """Sharing scarce power or unavoidable curtailment. Form: concave worth in segments.

    Each participant's share is what it is granted of what it asked within the span; its worth is
    ``worth * weight * asked * utility(share)``. Alpha 0 counts kWh alone, 1 is proportional fairness, a
    large one helps the smallest share first.

    Attributes:
        participants: by name, the members whose energy counts.
        direction: ``"drawing"`` where energy taken is granted (charging), ``"injecting"`` where energy
            delivered is (sun).
        alpha: 0 to 16; stands in the reading, to be logged with what follows from it.
        requested_kwh: by participant, > 0; absent ones ask for their base energy.
        weight: by participant, > 0, as from ``Ledger.weights``; absent ones have 1.
        worth: money per kWh at a full share.
        from_s: start, unix seconds.
        until_s: end, not included.
        segments: of the concave worth.
        name: of the goal.
    """

    participants: Mapping[str, Members]
    direction: Literal["drawing", "injecting"]
    alpha: float
    requested_kwh: Mapping[str, float] = field(default_factory=lambda: NOBODY)
    weight: Mapping[str, float] = field(default_factory=lambda: NOBODY)
    worth: float = 1.0
    from_s: float = -np.inf
    until_s: float = np.inf
    segments: int = 40
    name: str = "fair share"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Nobody to share, strangers, alphas, weights or requests out of range, a span without a step."""
        checks = Checks(self.name, at)
        if not self.participants:
            checks.say("participants", "nobody to share with")
        for who, members in self.participants.items():
            checks.members("participants", members or (who,))
        if self.direction not in {"drawing", "injecting"}:
            checks.say("direction", f"{self.direction!r} is neither 'drawing' nor 'injecting'")
        checks.number("alpha", self.alpha, 0.0, 16.0)
        checks.number("worth", self.worth)
        checks.number("segments", self.segments, 1, 1000)
        checks.window(self.from_s, self.until_s)
        for name in ("requested_kwh", "weight"):
            given: Mapping[str, float] = getattr(self, name)
            nobody = [who for who in given if who not in self.participants]
            if nobody:
                checks.say(name, "names nobody who shares", nobody[:20])
            for value in given.values():
                checks.number(name, value, _LEAST)
        if not checks.found:
            idle = [w for w, kwh in zip(self.participants, self._asked_kwh(at), strict=True) if not kwh > 0]
            if idle:
                checks.say("requested_kwh", "asks for nothing: no request, and no base energy", idle[:20])
        return checks.result()

    def _sign(self, at: Setting) -> NDArray[np.float64]:
        counted = at.within(self.from_s, self.until_s)
        return np.where(counted, 1.0 if self.direction == "injecting" else -1.0, 0.0)

    def granted_kwh(self, at: Setting, p_kw: Kw) -> Kwh:
        """(P,) energy each participant gets under the powers ``p_kw`` (G, T)."""
        counted = self._sign(at) * at.flexibility.grid.hours
        flows = [at.flow(members or (who,)) for who, members in self.participants.items()]
        return np.array([flow.power_kw(at.flexibility, p_kw) @ counted for flow in flows])

    def _asked_kwh(self, at: Setting) -> Kwh:
        base = self.granted_kwh(at, at.flexibility.base_kw)
        given = [self.requested_kwh.get(who, base[k]) for k, who in enumerate(self.participants)]
        return np.array(given, dtype=np.float64)

    def curtailed_kwh(self, at: Setting, p_kw: Kw) -> dict[str, float]:
        """By participant, energy asked and not granted; what a ledger is told."""
        missing = np.maximum(self._asked_kwh(at) - self.granted_kwh(at, p_kw), 0.0)
        return dict(zip(self.participants, missing.tolist(), strict=True))

    def shares(self, at: Setting, p_kw: Kw) -> NDArray[np.float64]:
        """(P,) granted over asked, from 0 to 1."""
        return np.clip(self.granted_kwh(at, p_kw) / self._asked_kwh(at), 0.0, 1.0)

    def worth_of(self, at: Setting, p_kw: Kw) -> float:
        """Money the granted shares are worth to the plan, segment by segment."""
        slope, asked = slopes(self.alpha, self.segments), self._asked_kwh(at)
        granted, weight = self.granted_kwh(at, p_kw), [self.weight.get(who, 1.0) for who in self.participants]
        width = asked[:, None] / self.segments
        filled = np.clip(granted[:, None] - width * np.arange(self.segments), 0.0, width)
        short = np.minimum(granted, 0.0) * slope[0]
        return float(self.worth * np.array(weight) @ (filled @ slope + short))

    def part(self, at: Setting) -> Part:
        """One concave worth per participant."""
        slope, sign = slopes(self.alpha, self.segments), self._sign(at)
        blocks = []
        for (who, members), asked in zip(self.participants.items(), self._asked_kwh(at), strict=True):
            worth = self.worth * self.weight.get(who, 1.0)
            width = np.full(self.segments, asked / self.segments)
            blocks.append(
                Share(f"{self.name} of {who}", at.flow(members or (who,)), sign, width, worth * slope)
            )
        return replace(nothing(at), blocks=tuple(blocks))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy not granted, with alpha, the smallest share and the indices of fairness."""
        share = self.shares(at, p_kw)
        missing = np.array(list(self.curtailed_kwh(at, p_kw).values()))
        facts = {
            "alpha": self.alpha,
            "least_share": float(share.min()),
            "jain": jain(share),
            "gini": gini(missing),
        }
        return Reading(
            f"fair at alpha {self.alpha:g}", float(missing.sum()), "kWh not granted", self.worth, facts
        )
