"""Random band stores of every kind, and their questions as one program for a referee.

The program is written down from the definition alone: up, down and content of every step as columns, the
store's balance and the shared time as rows. Rows do not touch each other, so one solve referees them all.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.plan.devices import Bands

KINDS = (
    "battery",
    "vehicle",
    "two-way vehicle",
    "comfort",
    "heat tank",
    "lossy tank",
    "gaining store",
    "sun",
    "shed",
    "half store",
)


def _powers(rng, n, steps, kind):
    """Base, up and down (n, T): half and no power in some steps."""
    up, down = (rng.uniform(1.0, 7.0, (n, 1)) * rng.choice([1.0, 1.0, 0.5, 0.0], (n, steps)) for _ in "ud")
    base = np.zeros((n, steps))
    if kind in ("vehicle", "sun"):
        up = np.zeros((n, steps))
    if kind in ("heat tank", "sun"):
        base = rng.uniform(0.0, 5.0, (n, steps))
        down = base.copy()
    if kind in ("comfort", "shed"):
        base = -rng.uniform(0.0, 5.0, (n, steps))
        up = np.minimum(-base, up)
    if kind == "shed":
        down = np.zeros((n, steps))
    return base, up, down


def _gains(rng, n, kind):
    """Of up and of down (n,)."""
    if kind == "battery":
        perfect = rng.random(n) < 0.2
        up = np.where(perfect, -1.0, -1.0 / rng.uniform(0.8, 1.0, n))
        return up, np.where(perfect, 1.0, rng.uniform(0.8, 1.0, n))
    span = {
        "vehicle": ((-1.2, -1.0), (0.8, 1.0)),
        "two-way vehicle": ((-1.2, -1.0), (0.8, 1.0)),
        "comfort": ((-1.0, -1.0), (1.0, 1.0)),
        "heat tank": ((1.0, 1.0), (-1.0, -1.0)),
        "lossy tank": ((0.7, 1.2), (-1.2, -0.7)),
        "gaining store": ((-0.95, -0.7), (0.95, 1.2)),
        "sun": ((0.0, 0.0), (0.0, 0.0)),
        "shed": ((-1.0, -1.0), (0.0, 0.0)),
        "half store": ((0.0, 0.0), (0.8, 1.0)),
    }[kind]
    return rng.uniform(*span[0], n), rng.uniform(*span[1], n)


def _band(rng, kind, hours, size, down, gain_down):
    """Contents allowed at the edges (n, T + 1); a departure takes power and asks for energy."""
    n, steps = down.shape
    if kind == "sun":
        return np.zeros((n, steps + 1)), np.full((n, steps + 1), rng.choice([0.0, np.inf]))
    full = size * rng.random((n, 1))
    lo = -full * rng.choice([1.0, 1.0, 0.5], (n, steps + 1))
    hi = (size - full) * rng.choice([1.0, 1.0, 0.5], (n, steps + 1))
    if kind == "shed":
        hi[:] = np.inf
    if "vehicle" in kind:
        leaves = rng.integers(1, steps + 1, (n, 1))
        down *= np.arange(steps) < leaves
        reach = (down * hours).sum(axis=1, keepdims=True) * gain_down[:, None]
        # A few needs lie beyond what can be reached.
        need = np.minimum(reach * rng.uniform(0.0, 1.05, (n, 1)), size - full if "two" in kind else np.inf)
        lo = np.where(np.arange(steps + 1) >= leaves, need, -full if "two" in kind else 0.0)
        hi = np.repeat(size - full if "two" in kind else need, steps + 1, axis=1)
    return lo, hi


def bands(rng, n, steps, kind, *, lossy=True, odd=False):
    """``n`` random rows, a group each; ``odd`` ones have bands that cannot be kept."""
    hours = rng.choice([0.25, 0.5, 1.0], steps)
    base, up, down = _powers(rng, n, steps, kind)
    gain_up, gain_down = _gains(rng, n, kind)
    size = rng.uniform(2.0, 20.0, (n, 1))
    lo, hi = _band(rng, kind, hours, size, down, gain_down)
    if kind == "two-way vehicle":
        up *= down > 0.0
    if odd:
        asks = rng.random((n, steps + 1)) < 0.1
        lo = np.where(asks, rng.uniform(-1.0, 2.0, (n, steps + 1)) * size, lo)
        hi = np.maximum(lo, hi)
    cost = rng.uniform(0.0, 0.05, (2, n)) * (rng.random(n) < 0.8)
    return Bands(
        hours=hours,
        start=np.arange(n + 1),
        base_kw=base,
        up_kw=up,
        down_kw=down,
        x_lo_kwh=lo,
        x_hi_kwh=hi,
        gain_up=gain_up,
        gain_down=gain_down,
        cost_up=cost[0],
        cost_down=cost[1],
        end_value=rng.uniform(-0.05, 0.3, n) * (rng.random(n) < 0.7),
        loss_per_hour=rng.uniform(0.0, 0.1, n) * (rng.random(n) < 0.5) * lossy,
    )


def envelope(rng, of):
    """Further bounds (n, T) in a fifth of the steps, some of them beyond what power can keep."""
    shape = of.base_kw.shape
    room = rng.uniform(-1.0, 5.0, (2, *shape))
    some = rng.random((2, *shape)) < 0.2
    lo = np.where(some[0], of.base_kw - room[0], -np.inf)
    return lo, np.maximum(np.where(some[1], of.base_kw + room[1], np.inf), lo)


def reachable(of, lo, hi):
    """Bounds of power and contents to keep (n, T), and the most that is missing (n,), as defined."""
    kept, lo, hi = (1.0 - of.loss_per_hour[:, None]) ** of.hours, lo.copy(), hi.copy()
    low, high, missing = np.zeros(of.members), np.zeros(of.members), np.zeros(of.members)
    x_lo, x_hi = np.empty_like(lo), np.empty_like(lo)
    for t in range(lo.shape[1]):
        low, high = kept[:, t] * low, kept[:, t] * high
        want_lo, want_hi = of.x_lo_kwh[:, t + 1], of.x_hi_kwh[:, t + 1]
        for bound, each in ((lo, of.gain_up), (hi, -of.gain_down)):
            # What is forced must be there, or have its place.
            gain = each * of.hours[t]
            forced = bound[:, t] * (bound[:, t] > 0.0 if bound is lo else bound[:, t] < 0.0)
            room = np.where(gain * forced < 0.0, high - want_lo, want_hi - low)
            most = np.divide(
                np.maximum(room, 0.0), np.abs(gain), out=np.full_like(room, np.inf), where=gain != 0
            )
            bound[:, t] -= forced - np.clip(forced, -most, most)
        ends = [np.where(q > 0.0, of.gain_up, -of.gain_down) * q for q in (lo[:, t], hi[:, t])]
        ends.append(np.where(lo[:, t] * hi[:, t] < 0.0, 0.0, ends[0]))
        low, high = low + np.min(ends, axis=0) * of.hours[t], high + np.max(ends, axis=0) * of.hours[t]
        missing = np.maximum(missing, np.maximum(want_lo - high, low - want_hi))
        low, high = np.clip(want_lo, low, high), np.clip(want_hi, low, high)
        x_lo[:, t], x_hi[:, t] = low, high
    return lo, hi, x_lo, x_hi, missing


@dataclass
class Program:
    """min c·z + const, A_eq z = 0, A z <= b, lo <= z <= hi over z = (up, down, content), each (n·T,)."""

    c: np.ndarray
    const: np.ndarray
    a_eq: sparse.csc_matrix
    a: sparse.csc_matrix
    b: np.ndarray
    lo: np.ndarray
    hi: np.ndarray


def program(of, price, p_lo=None, p_hi=None):
    """The rows' questions at prices (n, T), inside further bounds."""
    n, steps = price.shape
    lo, hi = -of.down_kw, of.up_kw
    if p_lo is not None:
        lo, hi = (np.clip(bound - of.base_kw, -of.down_kw, of.up_kw) for bound in (p_lo, p_hi))
    lo, hi, x_lo, x_hi, missing = reachable(of, lo, hi)
    up, down = np.maximum(hi, 0.0), np.maximum(-lo, 0.0)
    value = np.zeros((n, steps))
    value[:, -1] = -of.end_value
    c = np.stack(
        [(of.cost_up[:, None] - price) * of.hours, (of.cost_down[:, None] + price) * of.hours, value]
    )
    kept = (1.0 - of.loss_per_hour[:, None]) ** of.hours
    kept[:, 0] = 0.0
    eye = sparse.identity(n * steps)
    by = [sparse.diags_array((gain[:, None] * of.hours).ravel()) for gain in (of.gain_up, of.gain_down)]
    earlier = sparse.diags_array(kept.ravel()[1:], offsets=-1)
    a_eq = sparse.hstack([-by[0], -by[1], eye - earlier], format="csc")
    both = (up > 0.0) & (down > 0.0)
    share = [np.divide(1.0, most, out=np.zeros((n, steps)), where=both).ravel() for most in (up, down)]
    none = sparse.csc_matrix((n * steps, n * steps))
    a = sparse.bmat(
        [
            [sparse.diags_array(share[0]), sparse.diags_array(share[1]), none],
            [eye, -eye, none],
            [-eye, eye, none],
        ],
        format="csc",
    )
    b = np.concatenate([np.ones(n * steps), hi.ravel(), -lo.ravel()])
    zero = np.zeros((n, steps))
    const = of.unserved_price * missing - (price * of.hours * of.base_kw).sum(axis=1)
    low, high = np.stack([zero, zero, x_lo]), np.stack([up, down, x_hi])
    return Program(c.ravel(), const, a_eq, a, b, low.ravel(), high.ravel())


def net_cost(of, price, p_kw, cost):
    """(n,) own cost less the worth of the energy."""
    return cost - (price * of.hours * p_kw).sum(axis=1)
