"""What feedback remembers, how it is tuned, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace

import numpy as np

from gridflock.dispatch.feedback._level import Levels, Past
from gridflock.dispatch.feedback._sight import Float, Sight
from gridflock.dispatch.feedback._together import Common
from gridflock.dispatch.feedback._watch import Mode, Trust, Watch
from gridflock.units import Kvar, Kw, Rows


@dataclass(frozen=True, slots=True)
class Tuning:
    """How feedback acts.

    Attributes:
        sigmas: standard deviations of a level's error that stay free beside a limit.
        reach_s: how long an order takes to be followed; the level is looked at so much later.
        release_s: what is held is given back in so long, once limits leave room.
        active: how readily a kW moves beside a kvar.
        doubt: error of the sensitivities, as a part of an effect.
        settle_s: how long a new row is only watched unless it is clearly beyond its limit.
        stale_s: an older reading says nothing.
        memory_s: orders are remembered for so long: the longest delay of a reading.
        trust: when the watchdog hands over to local policies, and takes back.
    """

    sigmas: float = 3.0
    reach_s: float = 2.0
    release_s: float = 20.0
    active: float = 0.03
    doubt: float = 0.3
    settle_s: float = 5.0
    stale_s: float = 10.0
    memory_s: float = 12.0
    trust: Trust = field(default_factory=Trust)


@dataclass(frozen=True, slots=True, eq=False)
class Feedback:
    """What one tick leaves to the next: nothing else is remembered.

    Attributes:
        names: m rows of the last ``Sight``.
        levels: of every quantity in sight.
        common: what its voltages do together.
        past: what resources did of late.
        price: (2m,) of each limit: from above, then from below.
        by_kw: (n,) correction of the last tick.
        by_kvar: (n,) the same.
        p_lo_kw: (n,) what each could do at the last tick.
        p_hi_kw: (n,) the same.
        reference: (m,) where a quantity with a ramp limit may start its next step from.
        watch: what the watchdog remembers.
        now_s: the last tick; -inf before the first.
    """

    names: tuple[str, ...]
    levels: Levels
    common: Common
    past: Past
    price: Float
    by_kw: Kw
    by_kvar: Kvar
    p_lo_kw: Kw
    p_hi_kw: Kw
    reference: Float
    watch: Watch
    now_s: float

    @classmethod
    def none(cls, n: int) -> Feedback:
        """Nothing seen yet of a feeder with n resources."""
        zero = np.zeros(n)
        return cls(
            names=(), levels=Levels.none(0), common=Common.none(0), past=Past.none(n),
            price=np.zeros(0), by_kw=zero, by_kvar=zero, p_lo_kw=zero, p_hi_kw=zero,
            reference=np.zeros(0), watch=Watch.none(), now_s=-np.inf,
        )  # fmt: skip

    def later(self, leapt_s: int) -> Feedback:
        """The same after a clock was set ahead: readings, orders and calm are as long ago as was lived."""
        if leapt_s == 0:
            return self
        levels = replace(
            self.levels, first_s=self.levels.first_s + leapt_s, seen_s=self.levels.seen_s + leapt_s
        )
        return replace(
            self,
            levels=levels,
            past=replace(self.past, at_s=self.past.at_s + leapt_s),
            watch=replace(self.watch, against_s=self.watch.against_s + leapt_s),
            now_s=self.now_s + leapt_s,
        )

    def fitted(self, sight: Sight) -> Feedback:
        """The same for the rows of a sight: what is known of a row follows its name; new rows start anew."""
        if self.names == sight.names:
            return self
        known = {name: row for row, name in enumerate(self.names)}
        old = np.array([known.get(name, -1) for name in sight.names], dtype=np.int64)
        stays, m = old >= 0, sight.m
        levels, reference, price = Levels.none(m), np.full(m, np.nan), np.zeros((2, m))
        mixed = {}
        for column in fields(Levels):
            fresh = getattr(levels, column.name).copy()
            fresh[stays] = getattr(self.levels, column.name)[old[stays]]
            mixed[column.name] = fresh
        slope = np.zeros(m)
        slope[stays] = self.common.slope[old[stays]]
        reference[stays] = self.reference[old[stays]]
        price[:, stays] = self.price.reshape(2, -1)[:, old[stays]]
        return replace(
            self, names=sight.names, levels=Levels(**mixed), common=replace(self.common, slope=slope),
            reference=reference, price=price.ravel(),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Correction:
    """What feedback makes of the targets of n resources, with m rows in sight.

    Attributes:
        p_kw: (n,) target; NaN where nobody asked and nothing is moved.
        q_kvar: (n,) the same; NaN where a resource has no reactive power.
        held: int32 (h,) resources whose target was moved.
        by: int32 (h,) row of ``Sight`` that moved each most.
        level: (m,) what each quantity is believed to be when orders are followed; NaN where not seen.
        slack: (m,) by how much each is expected to stay beyond its limit and margin.
        margin: (m,) room kept free beside its limits.
        state: for the next tick.
        mode: who has the feeder; while devices follow their own policies all targets are NaN.
        alarm: one sentence in the tick in which that changes, else empty.
        climbs: steps the solver took.
        exact: whether it came to its end.
    """

    p_kw: Kw
    q_kvar: Kvar
    held: Rows
    by: Rows
    level: Float
    slack: Float
    margin: Float
    state: Feedback
    mode: Mode
    alarm: str
    climbs: int
    exact: bool
