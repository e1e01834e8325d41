"""A flexibility set in a few numbers per step: powers, energies, and how long they last."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.fleet.flexible._blocks import Turns
from gridflock.fleet.flexible._chains import Chains
from gridflock.fleet.flexible._compiled import Array
from gridflock.fleet.flexible._vertex import best
from gridflock.units import HOUR_S, Kw, Kwh, Seconds, TimeGrid


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What a set allows, step by step; each number is reached by some trajectory of the set.

    The bounds of one step are not all reached together: only the set itself says what goes with what.

    Attributes:
        grid: T steps.
        p_lo_kw: (T,) least injection at each step.
        p_hi_kw: (T,) most injection.
        e_lo_kwh: (T,) least energy injected from the start through each step.
        e_hi_kwh: (T,) most energy injected.
        hold_lo_kw: (T,) least constant injection that each store keeps up from the start through each
            step, added up.
        hold_hi_kw: (T,) most constant injection, likewise.
        recovery_s: int64 (T,) time the slowest store then needs at full charging power to have back what
            it gave at ``hold_hi_kw`` through each step; -1 where it has no such power.
    """

    grid: TimeGrid
    p_lo_kw: Kw
    p_hi_kw: Kw
    e_lo_kwh: Kwh
    e_hi_kwh: Kwh
    hold_lo_kw: Kw
    hold_hi_kw: Kw
    recovery_s: Seconds

    def run_s(self, p_kw: float) -> int:
        """How long a constant injection can surely be kept up from the start, s."""
        kept = (self.hold_lo_kw <= p_kw) & (p_kw <= self.hold_hi_kw)
        steps = len(kept) if kept.all() else int(np.argmin(kept))
        return int(self.grid.edges_s[steps] - self.grid.edges_s[0])


def room_of(grid: TimeGrid, chains: Chains, turns: Turns) -> Room:
    """The bounds of stores by their energy, of on/off loads by their turns."""
    keep = np.exp(-chains.loss_per_h[:, None] * grid.hours)
    gain = np.where(chains.gain_h > 0.0, chains.gain_h, np.nan)
    after_most = (keep * chains.e_hi_kwh[:, :-1] - chains.e_lo_kwh[:, 1:]) / gain
    after_least = (keep * chains.e_lo_kwh[:, :-1] - chains.e_hi_kwh[:, 1:]) / gain
    p_hi = np.fmin(chains.p_hi_kw, after_most).sum(axis=0)
    p_lo = np.fmax(chains.p_lo_kw, after_least).sum(axis=0)
    low, high = _held(chains, keep)
    off = turns.power(np.zeros(turns.room_kw.shape))
    on = turns.power(turns.room_kw)
    least, most = _energies(grid, chains, turns)
    taken = (high * np.cumsum(chains.gain_h, axis=1)).clip(min=0.0)
    return Room(
        grid, p_lo + on, p_hi + off, least, most,
        low.sum(axis=0) + np.maximum.accumulate(on), high.sum(axis=0) + np.minimum.accumulate(off),
        _recovery(chains, grid, taken),
    )  # fmt: skip


def _energies(grid: TimeGrid, chains: Chains, turns: Turns) -> tuple[Kwh, Kwh]:
    """Least and most energy through each step, (T,) each.

    A store that keeps what it holds and has one gain for all steps tells it by its content; what
    stores nothing tells it by its power; the others are asked step by step.
    """
    rate = chains.gain_h / grid.hours
    straight = (rate == rate[:, :1]).all(axis=1) & (chains.loss_per_h == 0.0)
    stores, still = straight & (rate[:, 0] > 0.0), straight & (rate[:, 0] == 0.0)
    told, free = chains.some(stores), chains.some(still)
    per = rate[stores, :1]
    least = ((told.e_lo_kwh[:, :1] - told.e_hi_kwh[:, 1:]) / per).sum(axis=0)
    most = ((told.e_lo_kwh[:, :1] - told.e_lo_kwh[:, 1:]) / per).sum(axis=0)
    least += np.cumsum((free.p_lo_kw * grid.hours).sum(axis=0))
    most += np.cumsum((free.p_hi_kw * grid.hours).sum(axis=0))
    others = chains.some(~straight)
    schedule = np.empty(others.p_lo_kw.shape, dtype=np.float32)
    for t in range(grid.n):
        price = np.where(np.arange(grid.n) <= t, grid.hours, 0.0)
        most[t] += price @ (best(others, price, schedule) + turns.power(turns.best(price)))
        least[t] += price @ (best(others, -price, schedule) + turns.power(turns.best(-price)))
    return least, most


def _held(chains: Chains, keep: Array) -> tuple[Array, Array]:
    """(m, T) least and most constant power of each chain from the start through each step.

    The content after each step is linear in a constant power: what it would be at rest less the
    gains, faded. From any content inside its bounds the end can be reached.
    """
    rest, moved = chains.e_lo_kwh[:, 0], np.zeros(chains.n)
    low, high = np.full(chains.p_lo_kw.shape, -np.inf), np.full(chains.p_lo_kw.shape, np.inf)
    for t in range(keep.shape[1]):
        rest, moved = keep[:, t] * rest, keep[:, t] * moved + chains.gain_h[:, t]
        some = np.where(moved > 0.0, moved, np.nan)
        high[:, t] = np.fmin(chains.p_hi_kw[:, t], (rest - chains.e_lo_kwh[:, t + 1]) / some)
        low[:, t] = np.fmax(chains.p_lo_kw[:, t], (rest - chains.e_hi_kwh[:, t + 1]) / some)
    return np.maximum.accumulate(low, axis=1), np.minimum.accumulate(high, axis=1)


def _recovery(chains: Chains, grid: TimeGrid, taken_kwh: Kwh) -> Seconds:
    """(T,) slowest time to have energy back."""
    rate = (-chains.p_lo_kw * chains.gain_h / grid.hours).max(axis=1, initial=0.0)[:, None]
    used = (taken_kwh > 0.0) & (chains.gain_h > 0.0)
    need = np.where(used, taken_kwh / np.where(rate > 0.0, rate, np.nan), 0.0)
    slowest = np.where(np.isnan(need), np.inf, need).max(axis=0, initial=0.0)
    seconds = np.where(np.isinf(slowest), -1.0, np.ceil(slowest * HOUR_S))
    return seconds.astype(np.int64)
