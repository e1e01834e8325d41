"""What a smart inverter does at its voltage: the curves of IEEE 1547-2018, column-wise.

Reactive power by one of four modes (clauses 5.3.2 to 5.3.5), active power held back by volt-watt
(5.4.2), both inside the capability of table 7 and the apparent-power rating; where the two
conflict, reactive power goes first unless said otherwise. Steady state: response times are the
business of whoever simulates them. Everything is positive for injection; curve points are per unit
of the rated values the standard names (reactive power of the apparent-power rating, active power
of the active-power rating).
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Codes, Mask, Rows

Float = NDArray[np.float64]

REQUIRED_INJECT = 0.44
"""Reactive power either category must be able to inject, of the apparent-power rating (table 7)."""
REQUIRED_ABSORB = (0.25, 0.44)
"""What category A and B must be able to absorb."""
NO_REACTIVE_BELOW = 0.05
"""Of rated active power: below, the standard asks for no reactive power."""
FULL_REACTIVE_FROM = 0.20
"""From here on all of it; between the two it asks for a proportional part."""
BISECTIONS = 48
"""Halvings that bring a power limit below 1e-14 of the rating."""


class ReactiveMode(IntEnum):
    """Which function sets reactive power; exactly one does (clause 5.3.1)."""

    UNITY = 0
    POWER_FACTOR = 1
    VOLT_VAR = 2
    WATT_VAR = 3
    CONSTANT = 4


class Priority(IntEnum):
    """Who yields where the apparent-power rating is too small for both."""

    REACTIVE = 0
    ACTIVE = 1


class Category(IntEnum):
    """Normal operating performance category (clause 1.4)."""

    A = 0
    B = 1


@dataclass(frozen=True, slots=True, eq=False)
class Curves:
    """Ratings and settings, one row per inverter. D inverters.

    Attributes:
        s_kva: (D,) apparent-power rating.
        p_kw: (D,) active-power rating at unity power factor, injecting.
        p_charge_kw: (D,) the same, absorbing; 0 for pure generation.
        q_inject_kvar: (D,) largest reactive injection.
        q_absorb_kvar: (D,) largest reactive absorption, positive.
        steady: (D,) gives all its reactive power at any active power, as storage and inverters with
            a night mode do; the others follow the proportional range of clause 5.2.
        category: (D,) ``Category``.
        mode: (D,) ``ReactiveMode``.
        priority: (D,) ``Priority``. With ``ACTIVE`` reactive power yields down to what table 7
            requires, not further.
        power_factor: (D,) magnitude in (0, 1].
        absorbing: (D,) the power factor draws reactive power while active power is injected.
        q_pu: (D,) set reactive power.
        vv_v_pu: (D, 4) voltages of the volt-var curve, ascending.
        vv_q_pu: (D, 4) its reactive powers.
        wv_p_pu: (D, 6) active powers of the watt-var curve, ascending from full charge to full discharge.
        wv_q_pu: (D, 6) its reactive powers.
        volt_watt: (D,) whether volt-watt is enabled.
        vw_v_pu: (D, 2) voltages of the volt-watt curve, ascending.
        vw_p_pu: (D, 2) its active powers; a negative one is of the charging rating.
    """

    s_kva: Float
    p_kw: Float
    p_charge_kw: Float
    q_inject_kvar: Float
    q_absorb_kvar: Float
    steady: Mask
    category: Codes
    mode: Codes
    priority: Codes
    power_factor: Float
    absorbing: Mask
    q_pu: Float
    vv_v_pu: Float
    vv_q_pu: Float
    wv_p_pu: Float
    wv_q_pu: Float
    volt_watt: Mask
    vw_v_pu: Float
    vw_p_pu: Float

    @property
    def n(self) -> int:
        """How many inverters."""
        return len(self.s_kva)

    def rows(self, chosen: Rows | Mask) -> Curves:
        """The settings of chosen rows."""
        return Curves(*(getattr(self, column.name)[chosen] for column in fields(self)))

    @classmethod
    def defaults(
        cls,
        s_kva: Float,
        category: Category = Category.B,
        mode: ReactiveMode = ReactiveMode.UNITY,
        p_charge_kw: Float | float = 0.0,
    ) -> Curves:
        """The standard's default settings (tables 7, 8, 9 and 10, volt-watt off).

        Args:
            s_kva: (D,) apparent-power ratings; the active-power rating is the same.
            category: of all rows.
            mode: of all rows.
            p_charge_kw: charging ratings; where there is one the inverter is storage.
        """
        s_kva = np.atleast_1d(np.asarray(s_kva, dtype=np.float64))
        n = len(s_kva)
        charge = np.broadcast_to(np.asarray(p_charge_kw, dtype=np.float64), (n,)).copy()
        stores = charge > 0
        own = REQUIRED_ABSORB[category]
        vv_v = (0.90, 1.0, 1.0, 1.10) if category is Category.A else (0.92, 0.98, 1.02, 1.08)
        return cls(
            s_kva=s_kva,
            p_kw=s_kva.copy(),
            p_charge_kw=charge,
            q_inject_kvar=REQUIRED_INJECT * s_kva,
            q_absorb_kvar=own * s_kva,
            steady=stores,
            category=np.full(n, category, dtype=np.uint8),
            mode=np.full(n, mode, dtype=np.uint8),
            priority=np.full(n, Priority.REACTIVE, dtype=np.uint8),
            power_factor=np.ones(n),
            absorbing=np.ones(n, dtype=np.bool_),
            q_pu=np.zeros(n),
            vv_v_pu=np.tile(vv_v, (n, 1)),
            vv_q_pu=np.tile((own, 0.0, 0.0, -own), (n, 1)),
            wv_p_pu=np.tile((-1.0, -0.5, -0.2, 0.2, 0.5, 1.0), (n, 1)),
            wv_q_pu=np.tile((REQUIRED_INJECT, 0.0, 0.0, 0.0, 0.0, -own), (n, 1)),
            volt_watt=np.zeros(n, dtype=np.bool_),
            vw_v_pu=np.tile((1.06, 1.10), (n, 1)),
            vw_p_pu=np.stack([np.ones(n), np.where(stores, 0.0, 0.2)], axis=1),
        )


def faults(curves: Curves) -> list[tuple[int, str, str]]:
    """What is wrong with settings, as (row, column, rule); empty where all is well."""
    c = curves
    finite = [~np.isfinite(np.asarray(getattr(c, f.name), dtype=np.float64)) for f in fields(c)]
    checks: list[tuple[str, str, Mask]] = [
        (f.name, "is not a finite number", np.asarray(bad.reshape(c.n, -1).any(axis=1)))
        for f, bad in zip(fields(c), finite, strict=True)
    ]
    checks += [
        ("s_kva", "is not above 0", ~(c.s_kva > 0)),
        ("p_kw", "lies outside 0..s_kva", ~((c.p_kw > 0) & (c.p_kw <= c.s_kva))),
        ("p_charge_kw", "lies outside 0..s_kva", ~((c.p_charge_kw >= 0) & (c.p_charge_kw <= c.s_kva))),
        ("q_inject_kvar", "lies outside 0..s_kva", ~((c.q_inject_kvar >= 0) & (c.q_inject_kvar <= c.s_kva))),
        ("q_absorb_kvar", "lies outside 0..s_kva", ~((c.q_absorb_kvar >= 0) & (c.q_absorb_kvar <= c.s_kva))),
        ("power_factor", "lies outside 0..1", ~((c.power_factor > 0) & (c.power_factor <= 1))),
        ("vv_v_pu", "do not ascend, or jump", _unordered(c.vv_v_pu, c.vv_q_pu)),
        ("wv_p_pu", "do not ascend, or jump", _unordered(c.wv_p_pu, c.wv_q_pu)),
        ("vw_v_pu", "do not ascend", ~(np.diff(c.vw_v_pu, axis=1)[:, 0] > 0)),
        ("wv_q_pu", "leave the rating and come back into it with more active power", _returning(c)),
    ]
    return [(int(row), column, rule) for column, rule, bad in checks for row in np.flatnonzero(bad)]


def _unordered(x: Float, y: Float) -> Mask:
    width = np.diff(x, axis=1)
    jumps = (width == 0) & (np.diff(y, axis=1) != 0)
    bad: Mask = (~(width >= 0) | jumps).any(axis=1)
    return bad


def watt_var_points(c: Curves) -> tuple[Float, Float]:
    """(D, 7) active and reactive powers of the watt-var curve in parts of the rating, with one at zero."""
    charge = np.where(c.p_charge_kw > 0, c.p_charge_kw, c.p_kw)
    scale = np.where(c.wv_p_pu < 0, charge[:, None], c.p_kw[:, None]) / c.s_kva[:, None]
    zero = np.zeros((c.n, 1))
    at_zero = along(zero[:, 0], c.wv_p_pu, c.wv_q_pu)[:, None]
    x, y = np.hstack([c.wv_p_pu * scale, zero]), np.hstack([c.wv_q_pu, at_zero])
    order = np.argsort(x, axis=1, kind="stable")
    return np.take_along_axis(x, order, axis=1), np.take_along_axis(y, order, axis=1)


def _returning(c: Curves) -> Mask:
    """(D,) whether the rating holds the watt-var curve again beyond a point at which it does not.

    Between two points of the curve the apparent power is convex: it is largest at one of them, and
    smallest where the line between them is nearest to zero.
    """
    returns = np.zeros(c.n, dtype=np.bool_)
    points, values = watt_var_points(c)
    with np.errstate(all="ignore"):
        for sign in (1.0, -1.0):
            x = np.sort(np.clip(sign * points, 0.0, 1.0), axis=1)
            x = np.hstack([np.zeros((c.n, 1)), x, np.ones((c.n, 1))])
            y = np.stack([along(sign * x[:, k], points, values) for k in range(x.shape[1])], axis=1)
            over = x**2 + y**2 > 1.0
            slope = np.nan_to_num(np.diff(y, axis=1) / np.diff(x, axis=1), posinf=0.0, neginf=0.0)
            nearest = slope * (slope * x[:, :-1] - y[:, :-1]) / (1.0 + slope**2)
            nearest = np.clip(nearest, x[:, :-1], x[:, 1:])
            least = nearest**2 + (y[:, :-1] + slope * (nearest - x[:, :-1])) ** 2
            left = np.logical_or.accumulate(over[:, :-1], axis=1)
            returns |= (left & (least < 1.0)).any(axis=1)
    found: Mask = returns & (c.mode == ReactiveMode.WATT_VAR)
    return found


def along(x: Float, x_points: Float, y_points: Float) -> Float:
    """Piecewise-linear curves, one per column, flat beyond their ends.

    Args:
        x: (..., D) where to read them.
        x_points: (D, k) ascending.
        y_points: (D, k).

    Returns:
        (..., D).
    """
    width = np.diff(x_points, axis=1)
    rise = np.diff(y_points, axis=1)
    slope = np.divide(rise, width, out=np.zeros_like(rise), where=width > 0)
    y = np.broadcast_to(y_points[:, 0], x.shape).copy()
    for k in range(width.shape[1]):
        y += slope[:, k] * (np.clip(x, x_points[:, k], x_points[:, k + 1]) - x_points[:, k])
    return y


def respond(curves: Curves, p_kw: Float, v_pu: Float) -> tuple[Float, Float]:
    """Active and reactive power of inverters at a voltage, settled.

    Args:
        curves: settings.
        p_kw: (..., D) active power available or wanted, house sign.
        v_pu: (..., D) the voltage each one acts on (1547: the mean of its phases).

    Returns:
        Active power (..., D) kW and reactive power (..., D) kvar, house sign.
    """
    shape = np.broadcast_shapes(np.shape(p_kw), np.shape(v_pu), (curves.n,))
    v = np.broadcast_to(v_pu, shape)
    p = _volt_watt(curves, np.broadcast_to(p_kw, shape).astype(np.float64), v)
    q = np.zeros(shape)
    out_p = np.clip(p, -curves.s_kva, curves.s_kva)
    for mode, answer in _ANSWERS.items():
        own = np.flatnonzero(curves.mode == mode)
        if len(own) == curves.n:
            return answer(curves, p, v)
        if len(own):
            out_p[..., own], q[..., own] = answer(curves.rows(own.astype(np.int32)), p[..., own], v[..., own])
    return out_p, q


def _volt_watt(c: Curves, p: Float, v: Float) -> Float:
    """Active power under its rating and the volt-watt curve."""
    p = np.clip(p, -np.where(c.p_charge_kw > 0, c.p_charge_kw, np.inf), c.p_kw)
    if not c.volt_watt.any():
        return p
    points = c.vw_p_pu * np.where(c.vw_p_pu < 0, c.p_charge_kw[:, None], c.p_kw[:, None])
    limit = np.where(c.volt_watt, along(v, c.vw_v_pu, points), np.inf)
    limited: Float = np.minimum(p, limit)
    return limited


def capability(c: Curves, p: Float) -> tuple[Float, Float]:
    """Largest reactive injection and absorption (..., D) kvar at an active power (clause 5.2)."""
    share = np.abs(p) / c.p_kw
    part = np.where(share < NO_REACTIVE_BELOW, 0.0, np.minimum(share / FULL_REACTIVE_FROM, 1.0))
    part = np.where(c.steady, 1.0, part)
    return part * c.q_inject_kvar, part * c.q_absorb_kvar


def _within(c: Curves, p: Float, q: Float) -> Float:
    inject, absorb = capability(c, p)
    return np.clip(q, -absorb, inject)


def _beside(c: Curves, q: Float) -> Float:
    """Active power the rating leaves beside a reactive power."""
    left: Float = np.sqrt(np.maximum(c.s_kva**2 - q**2, 0.0))
    return left


def _by_priority(c: Curves, p: Float, q: Float) -> tuple[Float, Float]:
    """Wanted powers brought inside capability and rating: volt-var and constant reactive power."""
    q = _within(c, p, q)
    over = p**2 + q**2 > c.s_kva**2
    least = np.clip(q, -np.take(REQUIRED_ABSORB, c.category) * c.s_kva, REQUIRED_INJECT * c.s_kva)
    yielding = np.where(np.abs(q) > _beside(c, p), np.sign(q) * _beside(c, p), q)
    yielding = np.where(np.abs(yielding) < np.abs(least), least, yielding)
    q = np.where(over & (c.priority == Priority.ACTIVE), yielding, q)
    return np.where(over, np.sign(p) * np.minimum(np.abs(p), _beside(c, q)), p), q


def _volt_var(c: Curves, p: Float, v: Float) -> tuple[Float, Float]:
    return _by_priority(c, p, along(v, c.vv_v_pu, c.vv_q_pu) * c.s_kva)


def _constant(c: Curves, p: Float, v: Float) -> tuple[Float, Float]:
    return _by_priority(c, p, np.broadcast_to(c.q_pu * c.s_kva, v.shape))


def _power_factor(c: Curves, p: Float, v: Float) -> tuple[Float, Float]:
    """Both powers shrink together at the rating; beyond its reactive capability it keeps active power."""
    del v
    ratio = np.sqrt(1.0 - c.power_factor**2) / c.power_factor * np.where(c.absorbing, -1.0, 1.0)
    q = p * ratio
    size = np.hypot(p, q)
    shrink = np.minimum(1.0, c.s_kva / np.maximum(size, 1e-300))
    most = np.where(q > 0, c.q_inject_kvar, c.q_absorb_kvar)
    beyond = np.abs(q * shrink) > most
    kept = np.sign(p) * np.minimum(np.abs(p), _beside(c, most))
    p_out = np.where(beyond, kept, p * shrink)
    return p_out, _within(c, p_out, q * shrink)


def _watt_var(c: Curves, p: Float, v: Float) -> tuple[Float, Float]:
    """Reactive power follows active power; at the rating both walk down the curve."""
    del v
    q = _watt_var_at(c, p)
    over = p**2 + q**2 > c.s_kva**2
    p_out = np.where(over, _curve_meets_rating(c, p), p) if over.any() else p
    q = np.where(over, _watt_var_at(c, p_out), q)
    return p_out, _within(c, p, q)


def _watt_var_at(c: Curves, p: Float) -> Float:
    share = np.where(p >= 0, p / c.p_kw, p / np.where(c.p_charge_kw > 0, c.p_charge_kw, c.p_kw))
    return along(share, c.wv_p_pu, c.wv_q_pu) * c.s_kva


def _curve_meets_rating(c: Curves, p: Float) -> Float:
    """The largest active power towards ``p`` whose watt-var point the rating holds, by bisection."""
    low, high = np.zeros_like(p), p.copy()
    for _ in range(BISECTIONS):
        middle = 0.5 * (low + high)
        holds = middle**2 + _watt_var_at(c, middle) ** 2 <= c.s_kva**2
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return low


def _unity(c: Curves, p: Float, v: Float) -> tuple[Float, Float]:
    return np.clip(p, -c.s_kva, c.s_kva), np.zeros_like(v)


_ANSWERS = {
    ReactiveMode.UNITY: _unity,
    ReactiveMode.POWER_FACTOR: _power_factor,
    ReactiveMode.VOLT_VAR: _volt_var,
    ReactiveMode.WATT_VAR: _watt_var,
    ReactiveMode.CONSTANT: _constant,
}
