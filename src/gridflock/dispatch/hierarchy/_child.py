"""The lower end of a border between two systems: which bounds hold here, and what is told upwards."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Allowance, Directive, Rejected, Standing
from gridflock.units import Kw, TimeGrid

ROUNDING_KW = 1e-6
"""Bounds are kept within this."""
ACCEPT_S = 3_600
"""No directive may be adopted later than so long from when it is heard."""
WANT_S = 3_600
"""A want counts for so long after its directive could last be adopted, unless it is said again."""
_NEVER = (-1, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Child:
    """What a system knows of the one above it.

    Attributes:
        name: its own, as the parent knows it.
        kept: everything it may be doing: bounds that it and all below it are inside of.
        settled_on: epoch and number of the directive that ``kept`` is; (-1, -1) for none.
        adopted: the newest directive, whose bounds hold from the moment it is heard; None before the first.
    """

    name: str
    kept: Allowance
    settled_on: tuple[int, int] = _NEVER
    adopted: Directive | None = None

    @classmethod
    def begun(cls, name: str, default_kw: tuple[float, float], now_s: int) -> Child:
        """A child nobody has told anything: it stays inside its default.

        Args:
            name: its own.
            default_kw: lowest and highest injection while nothing is said, as agreed with the parent.
            now_s: moment, unix seconds.
        """
        grid = TimeGrid(np.array([now_s, now_s + 1], dtype=np.int64))
        low, high = (np.array([bound]) for bound in default_kw)
        return cls(name, Allowance(grid, low, high, default_kw))

    @property
    def aims(self) -> Allowance:
        """The bounds it has to keep from now on."""
        return self.kept if self.adopted is None else self.adopted.allowance

    def heard(self, directive: Directive, now_s: int) -> tuple[Child, Rejected | None]:
        """Take a directive in: adopted at once if it is the newest and in time, else refused with the rule.

        Args:
            directive: from above.
            now_s: moment by the own clock, unix seconds.
        """
        fault = self._fault(directive, now_s)
        if fault is not None:
            return self, Rejected("directive", fault[0], (directive.child,), fault[1])
        if self.adopted is not None and directive.order == self.adopted.order:
            return self, None
        return replace(self, adopted=directive, kept=_union(self.kept, directive.allowance)), None

    def _fault(self, directive: Directive, now_s: int) -> tuple[str, str] | None:
        """Field and rule that a directive breaks."""
        newest = _NEVER if self.adopted is None else self.adopted.order
        if directive.child != self.name:
            return "child", f"is for {directive.child!r}, not for {self.name!r}"
        if now_s > directive.accept_until_s:
            return "accept_until_s", f"came {now_s - directive.accept_until_s} s too late"
        if directive.accept_until_s > now_s + ACCEPT_S:
            return "accept_until_s", f"is {directive.accept_until_s - now_s} s ahead, more than {ACCEPT_S} s"
        if directive.order < newest:
            return "number", f"{directive.order} is older than {newest}"
        return self._misshapen(directive)

    def _misshapen(self, directive: Directive) -> tuple[str, str] | None:
        bounds, steps = directive.allowance, directive.allowance.grid.n
        shapes = {np.shape(a) for a in (bounds.lo_kw, bounds.hi_kw, directive.want_kw, directive.price)}
        if shapes != {(steps,)}:
            return "allowance", f"arrays of {sorted(shapes)} for {steps} steps"
        if not (bounds.lo_kw <= bounds.hi_kw).all():
            return "lo_kw", "is above hi_kw, or not a number, in some step"
        if bounds.default_kw != self.kept.default_kw:
            return "default_kw", f"{bounds.default_kw} is not the agreed {self.kept.default_kw}"
        return None

    def settled(self, lo_kw: Kw, hi_kw: Kw) -> Child:
        """The child once everything below it can no longer do more than the adopted bounds allow.

        Args:
            lo_kw: (T,) lowest injection that is still possible in each step of the adopted grid.
            hi_kw: (T,) highest.
        """
        if self.adopted is None:
            return self
        bounds = self.adopted.allowance
        inside = (lo_kw >= bounds.lo_kw - ROUNDING_KW).all() and (hi_kw <= bounds.hi_kw + ROUNDING_KW).all()
        return replace(self, kept=bounds, settled_on=self.adopted.order) if inside else self

    def standing(
        self,
        at_s: int,
        p_kw: float,
        able_kw: tuple[float, float],
        plan_kw: Kw | None = None,
        value: tuple[float, float] = (np.nan, np.nan),
    ) -> Standing:
        """What is told upwards.

        Args:
            at_s: moment by the own clock, unix seconds.
            p_kw: injection at the connection now.
            able_kw: lowest and highest it could come to.
            plan_kw: (T,) what it means to inject in the steps of ``kept``.
            value: cost and proven bound of that plan, money.
        """
        plan = np.full(self.kept.grid.n, np.nan) if plan_kw is None else np.asarray(plan_kw, dtype=np.float64)
        epoch, number = self.settled_on
        return Standing(self.name, at_s, epoch, number, self.kept, p_kw, able_kw, plan, *value)


def _union(kept: Allowance, new: Allowance) -> Allowance:
    """Bounds that hold both, in the steps of the new ones."""
    low, high = kept.over(new.grid)
    return replace(new, lo_kw=np.minimum(low, new.lo_kw), hi_kw=np.maximum(high, new.hi_kw))
