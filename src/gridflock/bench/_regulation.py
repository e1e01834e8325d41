"""A fleet of on/off loads follows a regulation signal, and is scored as PJM scores it.

The loads live here: comfort bands that fill and empty, thermostats of their own, links that fail.
The priority stack only hears them once per step and orders by links that take their time.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing.switching import Stack, Tracker

STEP_S = 4
"""A new signal value, and new orders, every so often."""
DELAY_S = 2
"""Time an order takes."""
SCORED_EVERY_S = 10
WINDOW_S = 300
"""PJM looks for the best agreement within this delay, over windows of this length."""
SHORTEST_S = 180
"""Shortest time on and off of each load."""
OUTAGE_STEPS = 5.0
"""Mean length of an outage of a load's link."""
_CORRECTION = 0.05
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Score:
    """PJM's performance score (Manual 12, Balancing Operations), each part in [0, 1].

    Attributes:
        correlation: of signal and response, at the best delay, mean over the windows.
        delay: 1 at no delay, 0 at five minutes.
        precision: 1 less the mean absolute error, as a share of the mean absolute signal.
    """

    correlation: float
    delay: float
    precision: float

    @property
    def total(self) -> float:
        """The mean of the three."""
        return (self.correlation + self.delay + self.precision) / 3.0


@dataclass(frozen=True, slots=True)
class Regulation:
    """One run.

    Attributes:
        score: how the signal was followed.
        too_short: switchings that cut a minimum time short.
        switched: switchings by order.
        response: share of orders that arrived, as the tracker learnt it.
        worst_kw: largest miss at the end of a step.
        capacity_kw: the kW that a signal of 1 asks for.
        step_ms: processor time of the stack per step, least and median.
    """

    score: Score
    too_short: int
    switched: int
    response: float
    worst_kw: float
    capacity_kw: float
    step_ms: tuple[float, float]


def performance_score(signal: Float, response: Float, every_s: int) -> Score:
    """Score a response, sampled every 10 s.

    For each window of five minutes the delay is sought, from 0 to 5 min, at which correlation and
    delay score together are best; windows in which the signal rests say nothing.

    Args:
        signal: (k,) wanted, any unit.
        response: (k,) given, same unit.
        every_s: spacing of both, a divisor of 10.

    Raises:
        ValueError: no window in which the signal moves, with five minutes of response after it.
    """
    step = SCORED_EVERY_S // every_s
    wanted, given = signal[::step], response[::step]
    window = WINDOW_S // SCORED_EVERY_S
    delays = 1.0 - np.arange(window + 1) / window
    best: list[tuple[float, float]] = []
    for first in range(len(wanted) - 2 * window):
        reference = wanted[first : first + window]
        if np.ptp(reference) == 0.0:
            continue
        shifted = np.lib.stride_tricks.sliding_window_view(given[first : first + 2 * window], window)
        found = _correlation(reference, shifted)
        at = int(np.argmax(found + delays))
        best.append((max(float(found[at]), 0.0), float(delays[at])))
    if not best:
        raise ValueError("a score needs more than 10 min of a signal that moves")
    correlation, delay = np.mean(best, axis=0).tolist()
    error = float(np.abs(given - wanted).mean() / np.abs(wanted).mean())
    return Score(correlation, delay, max(0.0, 1.0 - error))


def _correlation(reference: Float, shifted: Float) -> Float:
    """Of one window with each of many, (m,); 0 where one does not move."""
    a = reference - reference.mean()
    b = shifted - shifted.mean(axis=1, keepdims=True)
    size = np.sqrt((a @ a) * (b * b).sum(axis=1))
    found: Float = np.divide(b @ a, size, out=np.zeros(len(b)), where=size > 0)
    return found


class _Loads:
    """The loads as they really are: nobody but this class knows all of it."""

    def __init__(self, n: int, rng: np.random.Generator, dropped: float) -> None:
        self.rng, self.dropped = rng, dropped
        self.p_on_kw = -rng.uniform(1.0, 6.0, n).astype(np.float32)
        # A band lasts 10 to 30 min while on, and as long again or longer while off.
        self.filling = (1.0 / rng.uniform(600.0, 1_800.0, n)).astype(np.float32)
        self.emptying = (self.filling * rng.uniform(0.6, 1.0, n)).astype(np.float32)
        duty = self.emptying / (self.filling + self.emptying)
        self.on = (rng.random(n) < duty).astype(np.uint8)
        self.full = rng.random(n).astype(np.float32)
        self.usual_kw = float(np.dot(duty, self.p_on_kw.astype(np.float64)))
        self.since_s = -rng.integers(0, 600, n).astype(np.int32)
        self.gone = rng.random(n) < dropped

    def lose_links(self) -> None:
        """Some links fail, some come back, a constant share being down."""
        back = 1.0 / OUTAGE_STEPS
        drawn = self.rng.random(len(self.gone), dtype=np.float32)
        self.gone = np.where(self.gone, drawn >= back, drawn < back * self.dropped / (1.0 - self.dropped))

    def live(self, now_s: int, span_s: int) -> float:
        """Pass some seconds, thermostats acting on their own; returns the sum in kW afterwards."""
        rates = self.filling, self.emptying
        total: float = _live(
            now_s, span_s, SHORTEST_S, *rates, self.p_on_kw, self.on, self.full, self.since_s
        )
        return total

    def obey(self, rows: NDArray[np.int32], state: NDArray[np.uint8], now_s: int) -> tuple[float, int]:
        """Whoever the orders reach switches, whatever its timer says.

        Returns:
            The sum in kW, and how many were switched within their minimum time.
        """
        reached = ~self.gone[rows] & (self.on[rows] != state)
        rows, state = rows[reached], state[reached]
        short = int((now_s - self.since_s[rows] < SHORTEST_S).sum())
        self.on[rows], self.since_s[rows] = state, now_s
        return float(np.dot(self.on, self.p_on_kw.astype(np.float64))), short


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _live(
    now: int,
    span: int,
    shortest: int,
    filling: NDArray[Any],
    emptying: NDArray[Any],
    p_on: NDArray[Any],
    on: NDArray[np.uint8],
    full: NDArray[Any],
    since: NDArray[np.int32],
) -> float:
    total = 0.0
    for i in range(len(on)):
        full[i] += np.float32(span) * (filling[i] if on[i] else -emptying[i])
        if now - since[i] >= shortest and ((full[i] <= 0.0 and not on[i]) or (full[i] >= 1.0 and on[i])):
            on[i] = 1 - on[i]
            since[i] = now
        total += np.float64(p_on[i]) * on[i]
    return total


def regulation(signal: Float, n: int, seed: int, share: float = 0.1, dropped: float = 0.05) -> Regulation:
    """Loads follow a signal, one value every 4 s, orders arriving 2 s late.

    Args:
        signal: (k,) in [-1, 1], positive where injection is wanted, that is less consumption.
        n: loads.
        seed: of the loads and their links.
        share: capacity offered, as a share of the loads' usual consumption.
        dropped: share of links that are down.
    """
    rng = np.random.default_rng(seed)
    loads = _Loads(n, rng, dropped)
    shortest = np.full(n, SHORTEST_S)
    locked = np.maximum(SHORTEST_S + loads.since_s, 0)
    stack = Stack.start(loads.p_on_kw, shortest, shortest, loads.on, 0, locked)
    capacity = -share * loads.usual_kw
    tracker = Tracker(limit_kw=_CORRECTION * -loads.usual_kw)
    wanted = loads.usual_kw + capacity * signal
    measured, short, switched = np.empty((len(signal), 2)), 0, 0
    spent: list[float] = []
    present, orders = loads.live(0, 0), None
    for k, target in enumerate(wanted.tolist()):
        now = k * STEP_S
        loads.lose_links()
        seen = np.where(loads.gone, -1, loads.on).astype(np.int8)
        if orders is not None:
            tracker = tracker.heard(float(wanted[k - 1]), present, orders.asked_kw, orders.arrived_kw)
        begun = time.process_time()
        orders = stack.step(target + tracker.correction_kw, loads.full, seen, now, tracker.response)
        spent.append(time.process_time() - begun)
        stack = orders.stack
        loads.live(now + DELAY_S, DELAY_S)
        measured[k, 0] = present
        present, too_soon = loads.obey(orders.switched, stack.on[orders.switched], now + DELAY_S)
        measured[k, 1] = present
        present = loads.live(now + STEP_S, STEP_S - DELAY_S)
        short, switched = short + too_soon, switched + len(orders.switched)
    given = (measured - loads.usual_kw).ravel()
    asked = np.repeat(capacity * signal, STEP_S // DELAY_S)
    return Regulation(
        performance_score(asked, given, DELAY_S),
        short,
        switched,
        tracker.response,
        float(np.abs(measured[:, 1] - wanted).max()),
        capacity,
        (1e3 * min(spent), 1e3 * float(np.median(spent))),
    )
