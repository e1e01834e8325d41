"""All answers so far: what they prove, and whether they contradict each other."""

from __future__ import annotations

import numpy as np

from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array
from gridflock.plan.devices._oracle import Answer
from gridflock.units import Kw, Mask, Money

ROUNDING = 1e-7
"""Part of an answer's cost that may be rounding and is no contradiction."""


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
        self.duals: list[Array] = []
        self._pull = np.zeros(shape)
        self._least = np.zeros(shape[:2])
        self._breach = np.zeros(shape[:2])

    @property
    def rounds(self) -> int:
        """How many."""
        return len(self.duals)

    @property
    def breaches(self) -> int:
        """How many answers were contradicted by others of the same group."""
        return int((self._breach > 0.0).sum())

    def suspects(self) -> np.ndarray:
        """(n,) rows of the groups whose answers contradicted each other, the worst first."""
        worst = self._breach.max(axis=0, initial=0.0)
        rows: np.ndarray = np.argsort(-worst, kind="stable")[: int((worst > 0.0).sum())]
        return rows

    def add(self, answer: Answer, dual: Array) -> None:
        """Take a round asked at ``dual``; groups without an answer keep what they answered last.

        Raises:
            ValueError: a group has never answered.
        """
        there = np.isfinite(answer.cost) & np.isfinite(answer.epsilon) & np.isfinite(answer.p_kw).all(axis=1)
        if not self.duals and not there.all():
            raise ValueError(f"first answers: {int((~there).sum())} groups without (rule: every group)")
        p_kw, cost = answer.p_kw, answer.cost - self._problem.worth(answer.p_kw)
        if not there.all():
            p_kw = np.where(there[:, None], p_kw, self.p_kw[-1])
            cost = np.where(there, cost, self.cost[-1])
        pull = np.asarray(self._problem.rows.matrix.T @ dual)
        claimed = cost - (pull * p_kw).sum(axis=1) - np.where(there, answer.epsilon, np.inf)
        older = self.cost - np.einsum("kgt,gt->kg", self.p_kw, pull)
        newer = np.where(there, cost - np.einsum("kgt,gt->kg", self._pull, p_kw), np.inf)
        self._lower(claimed, older, newer)
        self.p_kw = np.concatenate([self.p_kw, p_kw[None]])
        self.cost = np.concatenate([self.cost, cost[None]])
        self.there = np.concatenate([self.there, there[None]])
        self._pull = np.concatenate([self._pull, pull[None]])
        self.duals.append(dual)

    def bounds(self) -> Array:
        """(K,) what every plan costs at least by each round; -inf where a group did not answer."""
        need = self._problem.rows.need_kw
        fixed = np.array([float((dual * need).sum()) for dual in self.duals])
        bounds: Array = self._least.sum(axis=1) + fixed
        return bounds

    def _lower(self, claimed: Array, older: Array, newer: Array) -> None:
        """Claims of this round and of earlier ones, lowered to what other answers show possible."""
        sure = np.where(np.isfinite(claimed), claimed, 0.0)
        tolerance = ROUNDING * (np.abs(older).max(axis=0, initial=1.0) + np.abs(sure))
        breach = self._least - newer
        found = breach > tolerance
        self._breach = np.where(found, np.maximum(self._breach, breach), self._breach)
        self._least = np.where(found, newer, self._least)
        least = older.min(axis=0, initial=np.inf)
        above = claimed > least + tolerance
        self._breach = np.concatenate([self._breach, np.where(above, sure - least, 0.0)[None]])
        self._least = np.concatenate([self._least, np.where(above, least, claimed)[None]])
