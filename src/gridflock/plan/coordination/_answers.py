"""All answers so far: what they prove, and whether they contradict each other."""

from __future__ import annotations

import numpy as np

from gridflock.plan.coordination._problem import LARGEST, Problem
from gridflock.plan.devices import Answer
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Mask, Money

ROUNDING = 1e-7
"""Part of an answer's cost that may be rounding and is no contradiction."""
DEAREST = 1e18
"""An answer that costs more than this, or moves more than ``LARGEST``, is none."""


class Unanswered(ValueError):  # noqa: N818 reads as what is wrong
    """Groups without a first answer.

    Attributes:
        rows: of the groups.
    """

    def __init__(self, rows: tuple[int, ...]) -> None:
        super().__init__(f"first answers: {len(rows)} groups without (rule: every group)")
        self.rows = rows


class Answers:
    """Rounds of answers, audited against each other by the law of supply.

    At the prices of round j no answer of the same group, older or newer, may cost less than the one given
    in round j, its ``epsilon`` allowed for. Twice that, for j and k, is the law of supply: ``(price_j -
    price_k)·(p_j - p_k)`` is not negative. What is found to cost less replaces what was claimed, so the
    bound of round j falls to what the answers themselves still support.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        shape = (0, problem.groups, len(problem.hours))
        self.p_kw: Kw = np.zeros(shape)
        self.cost: Money = np.zeros(shape[:2])
        self.there: Mask = np.zeros(shape[:2], dtype=np.bool_)
        self.asked: Mask = np.zeros(0, dtype=np.bool_)
        self._dual = np.zeros((0, *problem.rows.need_kw.shape))
        self._pull = np.zeros(shape)
        self._least = np.zeros(shape[:2])
        self._breach = np.zeros(shape[:2])

    @property
    def rounds(self) -> int:
        """How many."""
        return len(self.cost)

    @property
    def breaches(self) -> int:
        """How many answers were contradicted by others of the same group."""
        return int((self._breach > 0.0).sum())

    def suspects(self) -> Indices:
        """(n,) rows of the groups whose answers contradicted each other, the worst first."""
        worst = self._breach.max(axis=0, initial=0.0)
        rows: Indices = np.argsort(-worst, kind="stable")[: int((worst > 0.0).sum())]
        return rows

    def add(self, answer: Answer, dual: Array) -> None:
        """Take a round asked at ``dual``; groups without an answer keep what they answered last.

        Raises:
            Unanswered: a group has never answered.
        """
        there = (np.abs(answer.cost) <= DEAREST) & np.isfinite(answer.epsilon)
        there &= (np.abs(answer.p_kw) <= LARGEST).all(axis=1)
        if not self.asked.any() and not there.all():
            raise Unanswered(tuple(np.flatnonzero(~there).tolist()))
        p_kw, cost = answer.p_kw, answer.cost - self._problem.worth(answer.p_kw)
        if not there.all():
            p_kw = np.where(there[:, None], p_kw, self.p_kw[-1])
            cost = np.where(there, cost, self.cost[-1])
        pull = self._problem.rows.pull(dual)
        claimed = cost - (pull * p_kw).sum(axis=1) - np.where(there, answer.epsilon, np.inf)
        older = np.where(self.asked[:, None], self.reduced(pull), np.inf)
        newer = np.where(there, cost - np.einsum("kgt,gt->kg", self._pull, p_kw), np.inf)
        self._lower(claimed, older, newer)
        self._append(p_kw, cost, there, asked=True, dual=dual, pull=pull)

    def keep(self, p_kw: Kw, own_cost: Money) -> None:
        """Take schedules nobody was asked for, such as those of an earlier horizon: they prove no bound.

        Args:
            p_kw: (G, T) sums.
            own_cost: (G,); NaN for groups that have none.
        """
        there = np.isfinite(own_cost)
        p_kw = np.where(there[:, None], p_kw, 0.0)
        cost = np.where(there, own_cost - self._problem.worth(p_kw), 0.0)
        none = np.zeros((1, self._problem.groups))
        self._least = np.concatenate([self._least, none - np.inf])
        self._breach = np.concatenate([self._breach, none])
        dual, pull = np.zeros(self._dual.shape[1:]), np.zeros(self._pull.shape[1:])
        self._append(p_kw, cost, there, asked=False, dual=dual, pull=pull)

    def only(self, kept: Indices) -> None:
        """Forget all rounds but some."""
        for name in ("p_kw", "cost", "there", "asked", "_dual", "_pull", "_least", "_breach"):
            setattr(self, name, getattr(self, name)[kept])

    def bounds(self) -> Array:
        """(K,) what every plan costs at least by each round; -inf where a group did not answer."""
        fixed = np.einsum("kst,st->k", self._dual, self._problem.rows.need_kw)
        bounds: Array = self._least.sum(axis=1) + fixed
        return bounds

    def best(self) -> tuple[Array, Money]:
        """Duals (S, T) with the best bound, and what each group costs at least at them (G,)."""
        k = int(np.argmax(self.bounds()))
        return self._dual[k], self._least[k]

    def reduced(self, pull: Array) -> Array:
        """(K, G) what each answer costs where power is worth ``pull`` (G, T) more."""
        reduced: Array = self.cost - np.einsum("kgt,gt->kg", self.p_kw, pull)
        return reduced

    def last(self) -> Indices:
        """(G,) the round in which each group answered last."""
        rounds: Indices = self.rounds - 1 - np.argmax(self.there[::-1], axis=0)
        return rounds

    def _append(self, p_kw: Kw, cost: Money, there: Mask, *, asked: bool, dual: Array, pull: Array) -> None:
        """One more round at the end of every column."""
        self.p_kw = np.concatenate([self.p_kw, p_kw[None]])
        self.cost = np.concatenate([self.cost, cost[None]])
        self.there = np.concatenate([self.there, there[None]])
        self.asked = np.append(self.asked, asked)
        self._dual = np.concatenate([self._dual, dual[None]])
        self._pull = np.concatenate([self._pull, pull[None]])

    def _lower(self, claimed: Array, older: Array, newer: Array) -> None:
        """Claims of this round and of earlier ones, lowered to what other answers show possible."""
        sure = np.where(np.isfinite(claimed), claimed, 0.0)
        size = np.where(np.isfinite(older), np.abs(older), 1.0)
        tolerance = ROUNDING * (size.max(axis=0, initial=1.0) + np.abs(sure))
        breach = self._least - newer
        found = breach > tolerance
        self._breach = np.where(found, np.maximum(self._breach, breach), self._breach)
        self._least = np.where(found, newer, self._least)
        least = older.min(axis=0, initial=np.inf)
        above = claimed > least + tolerance
        self._breach = np.concatenate([self._breach, np.where(above, sure - least, 0.0)[None]])
        self._least = np.concatenate([self._least, np.where(above, least, claimed)[None]])
