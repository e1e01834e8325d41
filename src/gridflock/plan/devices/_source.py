"""Sun and wind: what nature offers, or less of it; with an inverter, reactive power inside its disc."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.plan.devices._compiled import Array, Indices, compiled
from gridflock.plan.devices._disc import best_point, onto_disc
from gridflock.plan.devices._grouped import Grouped
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule
from gridflock.units import Kvar, Kw, Money


@compiled
def _sums(
    groups: tuple[int, int],
    start: Indices,
    available: Array,
    s: Array,
    paid: Array,
    price: Array,
    hours: Array,
    total: Array,
    cost: Array,
) -> None:
    """Sums of what is worth more than its curtailment, and what curtailing the rest costs."""
    for g in range(groups[0], groups[1]):
        for k in range(start[g], start[g + 1]):
            spilt = 0.0
            for t in range(len(hours)):
                p = min(available[k, t], s[k])
                if price[g, t] + paid[k] >= 0.0:
                    total[g, t] += p
                else:
                    spilt += p * hours[t]
            cost[g] += paid[k] * spilt


@compiled
def _add(
    groups: tuple[int, int],
    start: Indices,
    available: Array,
    s: Array,
    paid: Array,
    price: Array,
    weight: Array,
    total: NDArray[np.float32],
) -> None:
    """Weighted schedules onto ``total``."""
    for g in range(groups[0], groups[1]):
        if weight[g] == 0.0:
            continue
        for k in range(start[g], start[g + 1]):
            for t in range(price.shape[1]):
                if price[g, t] + paid[k] >= 0.0:
                    total[k, t] += weight[g] * min(available[k, t], s[k])


@compiled
def _best(
    available: Array,
    s: Array,
    q_most: Array,
    worth_p: Array,
    worth_q: Array,
    p_kw: Array,
    q_kvar: Array,
) -> None:
    """``best_point`` for m rows of T steps."""
    for k in range(available.shape[0]):
        for t in range(available.shape[1]):
            hi = min(available[k, t], s[k])
            p_kw[k, t], q_kvar[k, t] = best_point(worth_p[k, t], worth_q[k, t], 0.0, hi, s[k], q_most[k])


@dataclass(frozen=True, slots=True, eq=False)
class Sources(Grouped):
    """An oracle of m suns and winds (``Grouped``); exact (``epsilon`` 0), softness is not needed.

    Each may give anything from nothing to the smaller of what is available and its rating. Own cost:
    ``curtail_price`` of every kWh held back.

    Attributes:
        available_kw: float64 (m, T) what nature offers, >= 0.
        s_kva: float64 (m,) apparent-power rating, >= 0.
        share: float64 (m,) of the rating that reactive power may take, in [0, 1]; 0 without an inverter.
        curtail_price: float64 (m,) paid for a kWh curtailed, money.
    """

    available_kw: Kw
    s_kva: Array
    share: Array
    curtail_price: Money

    def respond(self, question: Question) -> Answer:
        """All that is available where a kWh is worth at least what its curtailment saves, else nothing."""
        columns = (self.available_kw, self.s_kva, self.curtail_price)
        asked = (question.price, self.hours)
        return self._exact(question, lambda of, *into: _sums(of, self.start, *columns, *asked, *into))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every source's schedule to ``total`` (m, T), kW."""
        columns = (self.available_kw, self.s_kva, self.curtail_price)
        self._over_groups(lambda of: _add(of, self.start, *columns, question.price, weight, total))

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(("s_kva", "share", "curtail_price"), (count,))
        return wanted | {"available_kw": (count, len(self.hours))}

    def _rules(self) -> Sequence[Rule]:
        return (
            ("available_kw", "must be finite and not below 0", self.available_kw >= 0.0),
            ("available_kw", "must be finite", np.isfinite(self.available_kw)),
            ("s_kva", "must be finite and not below 0", np.isfinite(self.s_kva) & (self.s_kva >= 0.0)),
            ("share", "must lie in [0, 1]", (self.share >= 0.0) & (self.share <= 1.0)),
            ("curtail_price", "must be finite", np.isfinite(self.curtail_price)),
        )

    def respond_rows(self, price: Array) -> tuple[Kw, Money]:
        """Each source's best answer to prices of its own.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,).
        """
        p_kw = np.where(price + self.curtail_price[:, None] >= 0.0, self._reach_kw(), 0.0)
        return p_kw, self._own_cost(p_kw)

    def nearest(self, price: Array, target: Kw, pull: Array | float) -> tuple[Kw, Money]:
        """The proximal answer: least own cost - Σ price·hours·p + pull/2·Σ (p - target)².

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            target: float64 (m, T) kW.
            pull: money per kW² and step, > 0, one for all or (m,).

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,), the pull not counted.
        """
        each = np.broadcast_to(np.asarray(pull, dtype=np.float64), self.members)[:, None]
        worth = (price + self.curtail_price[:, None]) * self.hours
        p_kw = np.clip(target + worth / each, 0.0, self._reach_kw())
        return p_kw, self._own_cost(p_kw)

    def best_both(self, price: Array, price_q: Array) -> tuple[Kw, Kvar]:
        """Active and reactive power that cost least at the prices of both.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            price_q: float64 (m, T) worth of a kvarh injected, money/kvarh.

        Returns:
            Active and reactive power, float64 (m, T).
        """
        p_kw, q_kvar = np.empty(price.shape), np.empty(price.shape)
        worth = price + self.curtail_price[:, None]
        _best(self.available_kw, self.s_kva, self.share * self.s_kva, worth, price_q, p_kw, q_kvar)
        return p_kw, q_kvar

    def nearest_both(
        self,
        price: Array,
        price_q: Array,
        target_kw: Kw,
        target_kvar: Kvar,
        pull: Array,
        pull_q: Array,
    ) -> tuple[Kw, Kvar]:
        """The proximal answer for active and reactive power together.

        Minimises ``curtail_price·hours·(available - p) - price·hours·p - price_q·hours·q
        + pull/2·(p - target)² + pull_q/2·(q - target)²``: the nearest allowed point to a shifted target.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            price_q: float64 (m, T) worth of a kvarh injected, money/kvarh.
            target_kw: float64 (m, T).
            target_kvar: float64 (m, T).
            pull: float64 (m,) money per kW² and step, > 0.
            pull_q: float64 (m,) money per kvar² and step, > 0.

        Returns:
            Active and reactive power, float64 (m, T).
        """
        wish_p = target_kw + (price + self.curtail_price[:, None]) * self.hours / pull[:, None]
        wish_q = target_kvar + price_q * self.hours / pull_q[:, None]
        reach, weight = self._reach_kw(), (pull, pull_q)
        return onto_disc(wish_p, wish_q, np.zeros_like(reach), reach, self.s_kva, self.share, weight)

    def _reach_kw(self) -> Kw:
        """(m, T) the most each may give."""
        return np.minimum(self.available_kw, self.s_kva[:, None])

    def _own_cost(self, p_kw: Kw) -> Money:
        """(m,) what is paid for energy held back."""
        cost: Money = self.curtail_price * ((self._reach_kw() - p_kw) @ self.hours)
        return cost
