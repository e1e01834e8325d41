"""Why this set-point: the price as a sum, the bounds that hold it, and what doing otherwise would cost."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._alone import Best, best_answer, cheapest_change
from gridflock.plan._grounds import EXPORT_TARIFF, IMPORT_TARIFF, OWNER, Grounds
from gridflock.plan._reason import span_text
from gridflock.units import Kw, Money

_SHOWN = 5e-4
"""Money per kWh below which a price is left out of the words."""
_SAME_KW = 1e-4
_SAME_MONEY = 1e-6
_SLIGHTLY_KW = 0.01
_ASKED_KW = 1.0
_AT_END = "left at the end"
_TARIFFS = (IMPORT_TARIFF, EXPORT_TARIFF, OWNER)


@dataclass(frozen=True, slots=True)
class Summand:
    """A named part of a price, money per kWh."""

    name: str
    price: float


@dataclass(frozen=True, slots=True)
class Refused:
    """What the group could have done instead in this step.

    Attributes:
        by_kw: injection more (positive) or less than planned; 0 where the group has no room.
        costs: money more at the plan's prices, the group's other steps following in the best way; what
            the limits ask of the others is in the prices, so a large change may cost more. NaN where
            it cannot.
        step: the step that makes up for it; -1 where nothing has to.
        why: why it cannot, or empty.
    """

    by_kw: float
    costs: float
    step: int
    why: str


@dataclass(frozen=True, slots=True)
class Explained:
    """The answer to "why this set-point?".

    Attributes:
        group: which plan group.
        step: which step.
        p_kw: the set-point.
        base_kw: what the group would do unasked.
        alone_kw: what it would do at its tariff alone, no limit anywhere else; one of several best
            answers where they are equally good.
        price: local worth of a kWh injected: the sum of ``parts``.
        parts: tariffs and binding limits; degenerate optima have several such sets, this is the plan's.
        limits: those of ``parts`` that are not a tariff.
        bounds: own bounds that hold the set-point, in words.
        worth: money per kWh in store at the step's end; NaN without a store.
        worth_of: what it is the sum of: energy left at the end, full, empty or owed later.
        holds: the lowest and the highest local price at which the set-point stays best, all other
            steps as they are.
        more: a kilowatt more injection.
        less: a kilowatt less.
        text: all of it in sentences.
    """

    group: str
    step: int
    p_kw: float
    base_kw: float
    alone_kw: float
    price: float
    parts: tuple[Summand, ...]
    limits: tuple[Summand, ...]
    bounds: tuple[str, ...]
    worth: float
    worth_of: tuple[Summand, ...]
    holds: tuple[float, float]
    more: Refused
    less: Refused
    text: str


def explain(grounds: Grounds, group: str, step: int, timezone: str = "UTC") -> Explained:
    """Why a group does in a step what the plan says.

    Args:
        grounds: a plan with its prices.
        group: plan group.
        step: step of its grid.
        timezone: IANA name, for times in words.

    Raises:
        KeyError: no such group.
        IndexError: no such step.
    """
    f = grounds.flexibility
    if group not in f.groups:
        raise KeyError(group)
    if not 0 <= step < f.grid.n:
        raise IndexError(step)
    return _Why(grounds, f.groups.index(group), step, timezone).told()


class _Why:
    """One question, with what all parts of its answer need."""

    def __init__(self, grounds: Grounds, row: int, step: int, timezone: str) -> None:
        self._grounds, self._row, self._step, self._timezone = grounds, row, step, timezone
        self._f: Flexibility = grounds.flexibility
        self._p: Kw = grounds.p_kw[row]
        self._price: Money = grounds.price(row)
        self._end = float(grounds.end_value[row])
        self._best = best_answer(self._f, row, self._price, self._end)

    def told(self) -> Explained:
        """The whole answer."""
        f, t = self._f, self._step
        parts = tuple(
            Summand(name, float(price[t])) for name, price in self._grounds.of(self._row) if price[t] != 0.0
        )
        up, down = self._room()
        more, less = self._refused(min(_ASKED_KW, up)), self._refused(-min(_ASKED_KW, down))
        raises, falls = self._marginal(min(_SLIGHTLY_KW, up)), self._marginal(-min(_SLIGHTLY_KW, down))
        worth_of = self._worth_of()
        found = Explained(
            group=f.groups[self._row],
            step=t,
            p_kw=float(self._p[t]),
            base_kw=float(f.base_kw[self._row, t]),
            alone_kw=self._alone(),
            price=float(sum(part.price for part in parts)),
            parts=parts,
            limits=tuple(part for part in parts if part.name not in _TARIFFS),
            bounds=self._bounds(up, down),
            worth=float(sum(part.price for part in worth_of)) if worth_of else float("nan"),
            worth_of=worth_of,
            holds=(float(self._price[t]) - falls, float(self._price[t]) + raises),
            more=more,
            less=less,
            text="",
        )
        return _with_text(found, self)

    def span(self, step: int) -> str:
        """A step as times of day."""
        return span_text(self._f.grid, step, step, self._timezone)

    def _alone(self) -> float:
        """The set-point at the tariff alone: every tariff part of the price at every step, no limit."""
        tariff = np.zeros(self._f.grid.n)
        for name, price in self._grounds.of(self._row):
            if name in _TARIFFS:
                tariff += price
        best = best_answer(self._f, self._row, tariff, self._end, self._grounds.band_penalty)
        if best is None:
            return float("nan")
        planned, alone = float(self._p[self._step]), float(best.p_kw[self._step])
        # Where several answers are equally good, the planned one is preferred.
        change = cheapest_change(
            self._f, self._row, best.p_kw, tariff, self._end, self._step, planned - alone
        )
        return planned if change is not None and change.costs < _SAME_MONEY else alone

    def _room(self) -> tuple[float, float]:
        """How much more and how much less the group's power bounds allow in this step, kW."""
        f, g, t = self._f, self._row, self._step
        moved = self._p[t] - f.base_kw[g, t]
        return max(float(f.up_kw[g, t] - moved), 0.0), max(float(f.down_kw[g, t] + moved), 0.0)

    def _bounds(self, up: float, down: float) -> tuple[str, ...]:
        f, g, t = self._f, self._row, self._step
        if up + down <= _SAME_KW:
            return ("it has nothing to move in this step",)
        words = []
        for room, most, side in ((up, f.up_kw[g], "above"), (down, f.down_kw[g], "below")):
            if room <= _SAME_KW and most[t] > _SAME_KW:
                whole = most[t] >= most.max() - _SAME_KW
                limit = "its largest in any step" if whole else "all there is in this step"
                words.append(f"{most[t]:.1f} kW {side} its base is {limit}")
            elif room <= _SAME_KW:
                words.append(f"nothing {side} its base is possible in this step")
        return tuple(words)

    def _worth_of(self) -> tuple[Summand, ...]:
        """The worth of energy in store as the sum of what later binds it."""
        best = self._best
        if best is None or np.isnan(best.worth[self._step]):
            return ()
        found = [Summand(_AT_END, self._end)] if self._end else []
        later = self._step + np.flatnonzero(np.abs(best.bound[self._step :]) > 1e-9)
        found += [Summand(self._edge(best, int(s)), float(best.bound[s])) for s in later]
        return tuple(found) or (Summand(_AT_END, 0.0),)

    def _edge(self, best: Best, s: int) -> str:
        at = span_text(self._f.grid, s, s, self._timezone, end_only=True)
        if best.bound[s] < 0:
            return f"full at {at}"
        lo, goals = self._f.x_lo_kwh[self._row], self._grounds.keeps(self._row, s + 1)
        if goals:
            return f"kept for {' and '.join(goals)} at {at}"
        return f"{'owed by' if lo[s + 1] > lo.min() + 1e-6 else 'empty at'} {at}"

    def _refused(self, by_kw: float) -> Refused:
        t = self._step
        if abs(by_kw) <= _SAME_KW:
            return Refused(0.0, float("nan"), -1, "no power left on that side")
        change = cheapest_change(self._f, self._row, self._p, self._price, self._end, t, by_kw)
        if change is None:
            return Refused(by_kw, float("nan"), -1, "its energy band leaves no room for it")
        energy = change.moved_kw * self._f.grid.hours
        energy[t] = 0.0
        back = -np.sign(by_kw) * energy
        step = int(np.argmax(back))
        return Refused(by_kw, max(change.costs, 0.0), step if back[step] > 1e-3 * abs(by_kw) else -1, "")

    def _marginal(self, by_kw: float) -> float:
        """Money per kWh that the first bit of a change costs; inf where it is impossible."""
        if abs(by_kw) < 1e-6:
            return float("inf")
        change = cheapest_change(self._f, self._row, self._p, self._price, self._end, self._step, by_kw)
        if change is None:
            return float("inf")
        return max(change.costs, 0.0) / (abs(by_kw) * float(self._f.grid.hours[self._step]))


def _with_text(found: Explained, why: _Why) -> Explained:
    terms = [part for part in found.parts if abs(part.price) > _SHOWN]
    said = [
        f"{found.group}, {why.span(found.step)}: {found.p_kw:.1f} kW (unasked {found.base_kw:.1f} kW).",
        _tariff_words(found),
        f"A kWh is worth {found.price:.3f} here{_sum(terms)}.",
    ]
    if found.worth_of:
        said.append(f"A kWh in store is worth {found.worth:.3f}{_sum(_first_of(found))}.")
    if found.bounds:
        bounds = "; ".join(found.bounds)
        said.append(f"{bounds[0].upper()}{bounds[1:]}.")
    said.append(_holds_words(found.holds))
    said += [_refused_words(found.more, "more", why), _refused_words(found.less, "less", why)]
    return replace(found, text=" ".join(line for line in said if line))


def _first_of(found: Explained) -> list[Summand]:
    """The worth in store as what binds it first and what it is worth from then on."""
    bounds = [part for part in found.worth_of if part.name != _AT_END and abs(part.price) > _SHOWN]
    if len(bounds) < 2:
        return [part for part in found.worth_of if abs(part.price) > _SHOWN]
    first = bounds[0]
    return [first, Summand("worth after that", found.worth - first.price)]


def _tariff_words(found: Explained) -> str:
    if np.isnan(found.alone_kw):
        return ""
    if abs(found.alone_kw - found.p_kw) <= 0.05:
        return "At its tariff alone it would do no better otherwise."
    cause = " and ".join(part.name for part in found.limits if abs(part.price) > _SHOWN)
    here = f"; here {cause} counts too" if cause else "; limits in other steps move it"
    return f"At its tariff alone it would do {found.alone_kw:.1f} kW{here}."


def _sum(parts: list[Summand]) -> str:
    if not parts:
        return ""
    words = " ".join(f"{'-' if p.price < 0 else '+'} {abs(p.price):.3f} {p.name}" for p in parts)
    return f" = {words.removeprefix('+ ')}"


def _holds_words(holds: tuple[float, float]) -> str:
    low, high = holds
    if np.isinf(low) and np.isinf(high):
        return "No price would change it."
    if np.isinf(low):
        return f"It stands at any price up to {high:.3f}."
    if high - low < _SHOWN:
        return "At this price other set-points are as good."
    if np.isinf(high):
        return f"It stands at any price from {low:.3f} on."
    return f"It stands at prices from {low:.3f} to {high:.3f}."


def _refused_words(refused: Refused, side: str, why: _Why) -> str:
    if refused.why:
        return f"Injecting {side} is impossible: {refused.why}."
    made = f", made up for at {why.span(refused.step)}" if refused.step >= 0 else ""
    cost = f"cost {refused.costs:.3f}" if refused.costs >= _SHOWN else "be as good"
    return f"{abs(refused.by_kw):.1f} kW {side} would {cost}{made}."
