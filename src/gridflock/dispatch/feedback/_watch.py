"""The watchdog: when feedback may not be trusted the feeder is left to its devices' own policies.

Four things speak against it: readings too old, a violation that grows in spite of it, a program without an
end, and quantities that answer orders the wrong way round, whatever regulators and capacitors do beside them.
Each is judged on values alone; one alarm tells of the hand-over and one of the return, which waits until
nothing has spoken against it for a while.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from gridflock.dispatch.feedback._level import Levels
from gridflock.dispatch.feedback._sight import Float, Quantity, Sight
from gridflock.units import Mask

REMEMBERS_S = 60.0
"""How orders were answered counts for so long."""
CLEAR = 100.0
"""Squared effect over noise from which a tick's answer counts in full."""
ANSWERS, WRONG = 2.0, -0.35
"""So many clear answers, on average below this part of what was expected, are answers the wrong way."""
NEAR = 0.7
"""Currents tell the sign of orders' effects from so much of their limit on."""
STEPS, ANSWER = 2.0, 1.5
"""So many steps at once are usual of a regulator or capacitor, and so large a part of what orders should do,
either way, of what they did: standard deviations."""
MOVED, CERTAIN = 0.5, 4.0
"""Part of a step from which one was made, and how many standard deviations that takes."""
GREW = 0.02
"""Of its unit: less of a growth from one tick to the next is none."""


class Mode(IntEnum):
    """Who has the feeder."""

    AT_WORK = 0
    """Feedback corrects the targets."""
    LOCAL = 1
    """Devices follow their own policies; feedback orders nothing."""


@dataclass(frozen=True, slots=True)
class Trust:
    """When feedback is not trusted any more, and when again.

    Attributes:
        blind: largest share of limits whose reading may be too old.
        growing: violations may grow in so many ticks in a row, less one.
        late: programs may come to no end in so many ticks in a row, less one.
        calm_s: nothing must have spoken against feedback for so long before it comes back.
    """

    blind: float = 0.5
    growing: int = 10
    late: int = 3
    calm_s: float = 60.0


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What the watchdog remembers.

    Attributes:
        mode: who has the feeder.
        worst: largest violation at the last tick, in units of its quantity; 0 without one.
        growing: ticks in a row in which it grew.
        late: ticks in a row without an end of the program.
        against_s: when something last spoke against feedback; -inf if never.
        asked: (3,) weight of clear answers, by ``Quantity``.
        answered: (3,) weighted answers, as parts of what was expected.
        version: of the sensitivities that were asked.
        wrong: whether they were answered the wrong way.
    """

    mode: Mode
    worst: float
    growing: int
    late: int
    against_s: float
    asked: Float
    answered: Float
    version: int
    wrong: bool

    @classmethod
    def none(cls) -> Watch:
        """Nothing seen yet."""
        return cls(Mode.AT_WORK, 0.0, 0, 0, -np.inf, np.zeros(3), np.zeros(3), -1, wrong=False)


def answers(watch: Watch, sight: Sight, before: Levels, by_orders: Float, fresh: Mask, dt_s: float) -> Watch:
    """The watch after comparing what orders did to each quantity with what they should have done.

    Args:
        watch: before.
        sight: with the new readings.
        before: levels at the readings before.
        by_orders: (m,) what orders should have done between the two readings.
        fresh: (m,) rows with a new reading.
        dt_s: since the last tick.
    """
    if watch.version != sight.effects.version:
        version = sight.effects.version
        watch = replace(watch, asked=np.zeros(3), answered=np.zeros(3), version=version, wrong=False)
    asked, answered = (x * np.exp(-dt_s / REMEMBERS_S) for x in (watch.asked, watch.answered))
    # A current far below its limit may turn round and grow again: its size says nothing of the sign.
    tells = (sight.quantity != Quantity.CURRENT) | (before.value > NEAR * sight.high)
    known = fresh & tells & np.isfinite(before.value) & (by_orders != 0.0)
    if known.any():
        dt = np.where(known, sight.at_s - before.seen_s, 0.0)
        done = sight.value - before.value - before.slope * dt
        sure = 1.0 / np.maximum(before.value_var + sight.noise**2 + sight.drift**2 * dt, 1e-24)
        for quantity in Quantity:
            rows = known & (sight.quantity == quantity)
            steps = _stepped(sight.effects.shifts[rows], sure[rows], by_orders[rows], done[rows])
            ours = _of_orders(steps, sure[rows], by_orders[rows])
            size = float(ours @ by_orders[rows])
            if size > 0.0:
                weight = min(1.0, size / CLEAR)
                part = float(ours @ done[rows]) / size
                asked[quantity] += weight
                answered[quantity] += weight * min(max(part, -2.0), 2.0)
    return replace(watch, asked=asked, answered=answered)


def _stepped(shifts: Float, sure: Float, by_orders: Float, done: Float) -> Float:
    """(r, k) what steps of those regulators and capacitors do that have acted between two readings.

    Least squares on what orders should have done and on a step of each, together, so that the sign of what
    orders really did decides nothing here. A step counts where it is the larger part of one, beyond noise.

    Args:
        shifts: (r, K) what a step of each does to each row.
        sure: (r,) one over the variance of each reading's change.
        by_orders: (r,) what orders should have done.
        done: (r,) what was seen.
    """
    columns = np.column_stack([by_orders, shifts])
    usual = np.concatenate([[ANSWER], np.full(shifts.shape[1], STEPS)])
    weighed = sure[:, None] * columns
    inverse = np.linalg.inv(columns.T @ weighed + np.diag(usual**-2.0))
    size = inverse @ (weighed.T @ done)
    moved = np.abs(size) > np.maximum(MOVED, CERTAIN * np.sqrt(np.diag(inverse)))
    found: Float = shifts[:, moved[1:]]
    return found


def _of_orders(steps: Float, sure: Float, by_orders: Float) -> Float:
    """(r,) weights of readings that tell of orders whatever the size of given steps (r, k) beside them."""
    ours = sure * by_orders
    if not steps.size:
        return ours
    weighed = sure[:, None] * steps
    inner = steps.T @ weighed + np.eye(steps.shape[1]) / STEPS**2
    found: Float = ours - weighed @ np.linalg.solve(inner, steps.T @ ours)
    return found


def judged(
    watch: Watch, sight: Sight, beyond: Float, seen: Mask, trust: Trust, now_s: float, *, exact: bool
) -> tuple[Watch, str]:
    """The watch after this tick, and the alarm there is to raise; empty if there is none.

    Args:
        watch: with this tick's ``answers``.
        sight: rows.
        beyond: (m,) how far each level is beyond its limit, in units of its quantity; NaN where not seen.
        seen: (m,) rows whose reading is recent enough.
        trust: when feedback is trusted.
        now_s: this tick.
        exact: whether the program came to its end.
    """
    limited = np.isfinite(sight.low) | np.isfinite(sight.high) | np.isfinite(sight.ramp)
    blind = float((limited & ~seen).sum()) > trust.blind * float(limited.sum())
    worst = max(0.0, float(np.nanmax(beyond, initial=0.0)))
    grows = worst > watch.worst + GREW and watch.worst > 0.0
    growing = watch.growing + 1 if grows else 0
    late = 0 if exact else watch.late + 1
    turned = (watch.asked >= ANSWERS) & (watch.answered < WRONG * watch.asked)
    wrong = watch.wrong or bool(turned.any())
    causes = (
        (blind, "most readings are too old"),
        (growing >= trust.growing, f"a violation has grown for {growing} ticks"),
        (late >= trust.late, f"no end of the program in {late} ticks"),
        (wrong, "quantities answer orders the wrong way round"),
    )
    against = next((words for holds, words in causes if holds), "")
    against_s = now_s if against else watch.against_s
    mode, alarm = watch.mode, ""
    if against and mode is Mode.AT_WORK:
        mode, alarm = Mode.LOCAL, f"feedback hands over to local policies: {against}"
    elif mode is Mode.LOCAL and now_s - against_s >= trust.calm_s:
        mode, alarm = Mode.AT_WORK, f"feedback is back at work after {trust.calm_s:g} s of calm"
    told = replace(
        watch, mode=mode, worst=worst, growing=growing, late=late, against_s=against_s, wrong=wrong
    )
    return told, alarm
