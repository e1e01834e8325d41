"""Band stores: rows of ``model.Flexibility``, single devices or whole groups, with exact answers.

A battery, a vehicle, a comfort band, a heat tank or the sun is one row. ``respond_rows`` is the best answer
to prices (a linear program), ``nearest`` the best one that is also pulled to a target (its proximal
question); both are exact, and all rows are answered in one compiled call.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gridflock.model import Flexibility
from gridflock.plan.devices._band_replay import replay_rows
from gridflock.plan.devices._band_row import Asked, Columns, add_groups, answer_rows, sum_groups
from gridflock.plan.devices._compiled import Array, Indices, Spread, over_groups
from gridflock.plan.devices._grouped import Grouped
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.plan.devices._refusal import Rule, unanswered
from gridflock.units import Kw, Kwh, Mask, Money

_PER_STEP = ("base_kw", "up_kw", "down_kw", "x_lo_kwh", "x_hi_kwh")
_PER_ROW = ("gain_up", "gain_down", "cost_up", "cost_down", "end_value", "loss_per_hour")
_NONE = np.empty((0, 0))


@dataclass(frozen=True, slots=True, eq=False)
class Bands(Grouped):
    """An oracle of m band stores (``Grouped``); what the columns mean, ``model.Flexibility`` says.

    ``x[t+1] = (1 - loss_per_hour)^hours·x[t] + (gain_up·up + gain_down·down)·hours``, ``x[0] = 0``. Up and
    down in one step share its time: ``up/up_kw + down/down_kw <= 1``. A band yields only where a row cannot
    keep it by itself: edge by edge it is then widened to the nearest content that can be reached.

    Own cost: ``cost_up`` and ``cost_down`` of every kWh, ``unserved_price`` of the kWh by which the band had
    to be widened most, less ``end_value`` of every kWh in store at the end.

    Attributes:
        base_kw: float64 (m, T).
        up_kw: float64 (m, T), >= 0.
        down_kw: float64 (m, T), >= 0.
        x_lo_kwh: float64 (m, T + 1), may be -inf; edge 0 is not looked at.
        x_hi_kwh: float64 (m, T + 1), may be inf.
        gain_up: float64 (m,); the two gains of a row never have the same sign.
        gain_down: float64 (m,).
        cost_up: float64 (m,) money/kWh.
        cost_down: float64 (m,) money/kWh.
        end_value: float64 (m,) money per kWh in store.
        loss_per_hour: float64 (m,) share of the content lost in an hour, in [0, 1).
        unserved_price: money per kWh a band lacks.
    """

    base_kw: Kw
    up_kw: Kw
    down_kw: Kw
    x_lo_kwh: Kwh
    x_hi_kwh: Kwh
    gain_up: Array
    gain_down: Array
    cost_up: Money
    cost_down: Money
    end_value: Money
    loss_per_hour: Array
    unserved_price: float = 100.0

    def __post_init__(self) -> None:
        """Columns in the layout of compiled loops; a side without power has no say over the store."""
        for name in (*_PER_STEP, *_PER_ROW, "hours"):
            object.__setattr__(self, name, np.ascontiguousarray(getattr(self, name), dtype=np.float64))
        for gain, power in (("gain_up", self.up_kw), ("gain_down", self.down_kw)):
            if np.shape(getattr(self, gain)) == power.shape[:1]:
                moves = power.any(axis=tuple(range(1, power.ndim)))
                object.__setattr__(self, gain, np.where(moves, getattr(self, gain), 0.0))

    @classmethod
    def of(
        cls,
        flexibility: Flexibility,
        *,
        end_value: ArrayLike = 0.0,
        loss_per_hour: ArrayLike = 0.0,
        start: Indices | None = None,
        unserved_price: float = 100.0,
        spread: Spread = map,
        parts: int = 1,
    ) -> Bands:
        """The rows of a ``Flexibility``; without ``start`` every row is a group of its own."""
        m = len(flexibility.groups)
        return cls(
            hours=flexibility.grid.hours,
            start=np.arange(m + 1) if start is None else start,
            **{name: getattr(flexibility, name) for name in _PER_STEP},
            gain_up=flexibility.gain_up,
            gain_down=flexibility.gain_down,
            cost_up=flexibility.cost_up,
            cost_down=flexibility.cost_down,
            end_value=np.broadcast_to(np.asarray(end_value, dtype=np.float64), m),
            loss_per_hour=np.broadcast_to(np.asarray(loss_per_hour, dtype=np.float64), m),
            unserved_price=unserved_price,
            spread=spread,
            parts=parts,
        )

    def respond_rows(
        self,
        price: Money,
        *,
        p_lo_kw: Kw | None = None,
        p_hi_kw: Kw | None = None,
        rows: Indices | None = None,
    ) -> tuple[Kw, Money]:
        """Each row's best answer to prices of its own.

        Args:
            price: float64 (n, T) worth of a kWh injected, money/kWh, a line for each row asked.
            p_lo_kw: float64 (n, T) further lower bounds, an operating envelope; -inf for none. A bound
                that power alone cannot keep is kept as nearly as possible, the upper one first; one that
                would force energy out of an empty store or into a full one yields.
            p_hi_kw: float64 (n, T) further upper bounds; inf for none.
            rows: int64 (n,) which rows are asked; all by default.

        Returns:
            float64 (n, T) kW and (n,) own cost, NaN where a price is not finite.
        """
        return self._answered(price, _NONE, np.empty(0), (p_lo_kw, p_hi_kw), rows)[:2]

    def nearest(
        self,
        price: Money,
        target: Kw,
        pull: ArrayLike,
        *,
        p_lo_kw: Kw | None = None,
        p_hi_kw: Kw | None = None,
        rows: Indices | None = None,
    ) -> tuple[Kw, Money]:
        """Each row's least own cost - Σ price·hours·p + pull/2·Σ (p - target)².

        Args:
            price: float64 (n, T) worth of a kWh injected, money/kWh, a line for each row asked.
            target: float64 (n, T) kW.
            pull: money per kW² and step, > 0, one for all or (n,).
            p_lo_kw: as in ``respond_rows``.
            p_hi_kw: as in ``respond_rows``.
            rows: int64 (n,) which rows are asked; all by default.

        Returns:
            float64 (n, T) kW and (n,) own cost, the pull not counted.
        """
        n = len(price)
        each = np.ascontiguousarray(np.broadcast_to(np.asarray(pull, dtype=np.float64), n))
        target = np.ascontiguousarray(target, dtype=np.float64)
        return self._answered(price, target, each, (p_lo_kw, p_hi_kw), rows)[:2]

    def _answered(
        self,
        price: Money,
        target: Kw,
        pull: Array,
        bounds: tuple[Kw | None, Kw | None],
        rows: Indices | None,
    ) -> tuple[Kw, Money, Kwh]:
        """Schedules, own costs and missing energy."""
        n, shape = len(price), (len(price), len(self.hours))
        row = np.arange(n) if rows is None else np.ascontiguousarray(rows, dtype=np.int64)
        p_lo = p_hi = _NONE
        if any(bound is not None for bound in bounds):
            p_lo, p_hi = (
                np.full(shape, none) if bound is None else np.ascontiguousarray(bound, dtype=np.float64)
                for bound, none in zip(bounds, (-np.inf, np.inf), strict=True)
            )
        price = np.ascontiguousarray(price, dtype=np.float64)
        asked = Asked(row, np.arange(n), price, target, pull, p_lo, p_hi)
        p_kw, cost, missing = np.empty(shape), np.empty(n), np.empty(n)
        columns = self._columns()

        def part(some: tuple[int, int]) -> None:
            answer_rows(some, columns, asked, p_kw, cost, missing)

        over_groups(np.arange(n + 1), self.parts, self.spread, part)
        return p_kw, unanswered(price, cost), missing

    def _shapes(self, count: int) -> dict[str, tuple[int, ...]]:
        steps = len(self.hours)
        wanted: dict[str, tuple[int, ...]] = dict.fromkeys(_PER_ROW, (count,))
        wanted |= dict.fromkeys(("base_kw", "up_kw", "down_kw"), (count, steps))
        return wanted | dict.fromkeys(("x_lo_kwh", "x_hi_kwh"), (count, steps + 1))

    def _rules(self) -> Sequence[Rule]:
        finite = ("base_kw", "up_kw", "down_kw", "gain_up", "gain_down", "cost_up", "cost_down", "end_value")
        return (
            *((name, "must be finite", np.isfinite(getattr(self, name))) for name in finite),
            ("up_kw", "must be >= 0", ~(self.up_kw < 0.0)),
            ("down_kw", "must be >= 0", ~(self.down_kw < 0.0)),
            ("x_lo_kwh", "must be <= x_hi_kwh", self.x_lo_kwh <= self.x_hi_kwh),
            ("gain_up", "must not have the sign of gain_down", ~(self.gain_up * self.gain_down > 0.0)),
            ("loss_per_hour", "must lie in [0, 1)", (self.loss_per_hour >= 0) & (self.loss_per_hour < 1)),
        )

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules; exact (``epsilon`` 0), softness is not needed."""
        asked = (self._columns(), self._asked(question))
        return self._exact(question, lambda of, *into: sum_groups(of, self.start, *asked, *into))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every row's schedule to ``total`` (m, T), kW."""
        asked = (self._columns(), self._asked(question))
        self._over_groups(lambda of: add_groups(of, self.start, *asked, weight, total))

    def replay(self, p_kw: NDArray[np.float32]) -> tuple[Kwh, Money]:
        """Follow the true content under mixed schedules, and correct them in place.

        Up and down of the same step net out in a mix before anything is lost; where the content then leaves
        what the band allows, or will allow, the schedule is changed just so much.

        Args:
            p_kw: float32 (m, T), corrected in place.

        Returns:
            (m,) kWh corrected at the connection point, and (m,) own cost of what is left.
        """
        clipped, cost = np.zeros(self.members), np.zeros(self.members)
        replay_rows(self._columns(), p_kw, clipped, cost)
        return clipped, cost

    def corrected(self, clipped_kwh: Kwh) -> Mask:
        """(m,) which rows a replay changed by more than rounding."""
        most = np.maximum(self.up_kw, self.down_kw).max(axis=1, initial=0.0)
        changed: Mask = clipped_kwh > 1e-5 * most
        return changed

    def missing_kwh(self, *, p_lo_kw: Kw | None = None, p_hi_kw: Kw | None = None) -> Kwh:
        """(m,) by how much each row's band had to be widened; whatever the price, this cannot be served."""
        price = np.zeros((self.members, len(self.hours)))
        return self._answered(price, _NONE, np.empty(0), (p_lo_kw, p_hi_kw), None)[2]

    def _asked(self, question: Question) -> Asked:
        """The groups' question as one to all rows."""
        line = np.repeat(np.arange(self.groups), np.diff(self.start))
        price = np.ascontiguousarray(question.price)
        return Asked(np.arange(self.members), line, price, _NONE, np.empty(0), _NONE, _NONE)

    def _columns(self) -> Columns:
        per_step, per_row = (tuple(getattr(self, name) for name in names) for names in (_PER_STEP, _PER_ROW))
        return Columns._make((self.hours, *per_step, *per_row, self.unserved_price))
