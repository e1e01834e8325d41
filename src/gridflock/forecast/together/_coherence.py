"""Forecasts of members and groups that add up."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array, diags_array
from scipy.sparse.linalg import splu

from gridflock.forecast.together._shrink import Belief, shrunk, standard
from gridflock.units import Kw

Floats = NDArray[np.float64]

_DENSE = 400
"""Groups up to which the products of all of them are held as one matrix."""
_MOST_ERRORS = 512
"""Joint observations kept: beyond, some steps of each forecast tell as much."""
_LEAST = 1e-7
_HELD = 1e-2
"""Of its spread, what is left of a group that is held: it yields to other groups, hardly to members."""


@dataclass(frozen=True, eq=False)
class Coherence:
    """Trace minimisation with shrunk error correlations (MinT: Wickramasuriya et al., JASA 114, 2019).

    Groups may overlap and lie in each other in any way: each is a sum of members. With C = [I, −G] the
    forecasts ŷ of groups and members add up after ŷ − W Cᵀ (C W Cᵀ)⁻¹ C ŷ, where W = s (λ T + (1−λ) R) s
    holds today's spreads s of each forecast and the correlations R of past errors, drawn to T, which has the
    common correlation r everywhere (``shrunk``). W is never formed: T = (1−r) I + r 1 1ᵀ, R has the rank of
    the errors seen, and C W Cᵀ is sparse but for these ranks (Woodbury). What is certain (spread 0: the sun
    at night) is not moved.

    Attributes:
        sums: (A, n) which members a group adds up, 1 or 0.
        error: (A + n, M) past errors of forecasts one made for the same moments, groups first; NaN where
            unknown. Forecasts are taken to be of means (``expected``): medians of skewed members do not add
            up.
        steps: how many successive columns are one forecast's steps, which err together.
    """

    sums: csr_array
    error: Floats
    steps: int = 1

    def __post_init__(self) -> None:
        groups, members = self.sums.shape
        if self.error.shape[0] != groups + members:
            raise ValueError(
                f"{self.error.shape[0]} rows of errors for {groups} groups and {members} members"
            )
        if self.steps < 1 or self.error.shape[1] % self.steps:
            raise ValueError(
                f"{self.error.shape[1]} columns of errors are no forecasts of {self.steps} steps"
            )
        if not np.isin(self.sums.data, (0.0, 1.0)).all():
            raise ValueError("a group holds a member once or not at all")

    @cached_property
    def _kept(self) -> tuple[Floats, int]:
        """Standardised errors of as many forecasts, newest, and of each as many steps as are kept."""
        blocks = self.error.shape[1] // self.steps
        first = max(0, blocks - _MOST_ERRORS)
        each = max(1, min(self.steps, _MOST_ERRORS // max(blocks - first, 1)))
        # Not every so many: those would be the same hours of each day.
        step = np.unique(np.linspace(0, self.steps - 1, each).astype(np.int64))
        column = (np.arange(first, blocks)[:, None] * self.steps + step).ravel()
        return standard(np.asarray(self.error[:, column], dtype=np.float64)), len(step)

    @cached_property
    def belief(self) -> Belief:
        """How far the correlations of past errors are believed."""
        found = shrunk(*self._kept)
        return Belief(max(found.doubt, _LEAST), found.common)

    @cached_property
    def usual(self) -> Floats:
        """Usual spread of each forecast (A + n,), kW: the root mean square of its errors."""
        known = np.isfinite(self.error)
        square = np.where(known, self.error, 0.0) ** 2
        return np.asarray(np.sqrt(square.sum(axis=1) / np.maximum(known.sum(axis=1), 1)))

    def made_coherent(self, base_kw: Kw, spread_kw: Kw | None = None, *, held: bool = False) -> Kw:
        """Forecasts moved as little as their spreads allow, so that all sums hold.

        Args:
            base_kw: (A + n, T), groups first.
            spread_kw: (A + n, T) how uncertain each is today, >= 0; None for the usual spread.
            held: groups are taken at their word, as far as they agree among themselves, and members follow
                (level-conditional: Hollyman, Petropoulos and Tipping, EJOR 294, 2021): their errors count
                as small, and as telling nothing of members'.

        Returns:
            (A + n, T): sums hold to rounding, members certain today are untouched.

        Raises:
            ValueError: other shapes, or values that are not finite.
        """
        groups, members = self.sums.shape
        if base_kw.ndim != 2 or len(base_kw) != groups + members or not np.isfinite(base_kw).all():
            raise ValueError(f"forecasts of shape {base_kw.shape} for {groups} groups and {members} members")
        spread = np.repeat(self.usual[:, None], base_kw.shape[1], axis=1) if spread_kw is None else spread_kw
        if spread.shape != base_kw.shape or not (np.isfinite(spread) & (spread >= 0)).all():
            raise ValueError("spreads are numbers >= 0, one for each forecast")
        member = np.array(base_kw[groups:], dtype=np.float64)
        gap = base_kw[:groups] - self.sums @ member
        for t in range(base_kw.shape[1]):
            member[:, t] += self._share(np.asarray(spread[:, t], dtype=np.float64), gap[:, t], held=held)
        return np.concatenate([self.sums @ member, member])

    def _share(self, spread: Floats, gap: Floats, *, held: bool) -> Floats:
        """What members (n,) take of the gaps (A,) between groups and the sums of their members."""
        groups = self.sums.shape[0]
        # A group that is certain to a watt beside uncertain members: its row must stay solvable.
        least = 1e-9 * max(float(spread.max(initial=0.0)), 1e-12)
        group = np.maximum((_HELD if held else 1.0) * spread[:groups], least)
        own = np.concatenate([group, spread[groups:]])
        doubt, common = self.belief.doubt, self.belief.common
        score = self._kept[0]
        seen = np.sqrt((1.0 - doubt) / max(score.shape[1], 1)) * score
        alike = np.full((len(own), 1), np.sqrt(doubt * common))
        drawn = own[:, None] * np.concatenate([alike, seen], axis=1)
        fixed = doubt * (1.0 - common) * own**2
        if held:
            drawn[:groups], fixed[:groups] = 0.0, group**2
        across = drawn[:groups] - self.sums @ drawn[groups:]
        flat = diags_array(fixed[:groups]) + (self.sums * fixed[groups:]) @ self.sums.T
        weight = _solved(csr_array(flat), across, gap)
        # −W Cᵀ x, rows of the members: C = [I, −G].
        taken: Floats = fixed[groups:] * (self.sums.T @ weight) - drawn[groups:] @ (across.T @ weight)
        return taken


def _solved(flat: csr_array, across: Floats, right: Floats) -> Floats:
    """``(flat + across·acrossᵀ)⁻¹ right``."""
    if len(right) <= _DENSE:
        whole: Floats = flat.toarray() + across @ across.T
        return np.asarray(np.linalg.solve(whole, right))
    factor = splu(flat.tocsc())
    plain, wide = factor.solve(right), factor.solve(across)
    inner = np.eye(across.shape[1]) + across.T @ wide
    return np.asarray(plain - wide @ np.linalg.solve(inner, across.T @ plain))
