"""What the power flow is timed on, and our side of it alone.

The batch keeps base points from one call to the next, so a second call on the same scenarios would be
shorter than any first one: every repetition starts from a batch of its own.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import Batch, ControlState, Flows, Network, Shaped
from gridflock.grid.lanes import Lanes
from gridflock.units import Rows

SHAPES = 50
STEPS_PER_DAY = 96
YEAR_STEPS = 365 * STEPS_PER_DAY
TOLERANCE_PU = 1e-5
TRUTH_PU = 1e-9
BAND_PU = (0.95, 1.05)
REPEATS = 3
Float = NDArray[np.float64]


def daily_shapes(steps: int, level: float, seed: int) -> Float:
    """(50, steps) quarter-hours of load multipliers: a morning and an evening peak, days that differ.

    Args:
        steps: how many quarter-hours.
        level: mean multiplier.
        seed: of peak times, heights, days and the small noise between quarter-hours.
    """
    rng = np.random.default_rng(seed)
    hour = (np.arange(steps) % STEPS_PER_DAY) / 4.0
    day = np.arange(steps) // STEPS_PER_DAY
    peaks = rng.normal([7.5, 19.0], [1.0, 1.2], (SHAPES, 2))
    heights = rng.uniform([0.1, 0.4], [0.5, 0.9], (SHAPES, 2))
    shape = np.full((SHAPES, steps), 0.8)
    for k in range(2):
        apart = (hour[None, :] - peaks[:, k, None] + 12.0) % 24.0 - 12.0
        shape += heights[:, k, None] * np.exp(-0.5 * (apart / 2.0) ** 2)
    shape *= rng.normal(1.0, 0.06, (SHAPES, int(day[-1]) + 1))[:, day]
    shape *= rng.normal(1.0, 0.01, shape.shape)
    scaled: Float = shape * (level / shape.mean())
    return scaled


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One feeder at held controls and its daily steps.

    Attributes:
        network: the feeder.
        state: taps and capacitors.
        shape: (L,) the shape each port follows; ``SHAPES`` where it stays at 1.
        multipliers: (51, S) shapes, the last one at 1 throughout.
        level: mean load multiplier.
    """

    network: Network
    state: ControlState
    shape: Rows
    multipliers: Float
    level: float

    @property
    def loads(self) -> Shaped:
        """The scenarios."""
        return Shaped(self.network.load_kva, self.shape, self.multipliers)

    def batch(self, dtype: str | None = None, *, plain: bool = False) -> Batch:
        """A batch around the mean load that has solved nothing yet; in plain loops if asked for."""
        base = self.network.load_kva * np.where(self.shape == SHAPES, 1.0, self.level)
        made = Batch(self.network, self.state, base, dtype=dtype)
        if plain:
            frame = made.lanes.anchor.frame
            made.lanes = Lanes(frame.circuit, base, dtype=frame.dtype.name, plain=True)
        return made

    def truth(self) -> NDArray[np.float64]:
        """(S, n) voltage magnitudes of the float64 solution at 1e-9, pu."""
        found = self.batch("float64").solve(self.loads, tol=TRUTH_PU, v_pu=True).v_pu
        assert found is not None
        return np.asarray(found, dtype=np.float64)


@dataclass(frozen=True, slots=True)
class Spent:
    """Processor seconds of one side, the least of a few repetitions.

    Attributes:
        setup_s: of making the batch.
        solve_s: of its first answer, every node's magnitude written out.
    """

    setup_s: float
    solve_s: float


def spend(case: Case, room: NDArray[np.float64], *, plain: bool = False) -> Spent:
    """One repetition: a new batch and its first answer, into memory that is there."""
    begun = time.process_time()
    batch = case.batch(plain=plain)
    made = time.process_time()
    batch.solve(case.loads, tol=TOLERANCE_PU, v_pu=True, room=room)
    return Spent(made - begun, time.process_time() - made)


def least(spent: list[Spent]) -> Spent:
    """The least of each."""
    return Spent(min(one.setup_s for one in spent), min(one.solve_s for one in spent))


def year(case: Case, seed: int) -> dict[str, float | int]:
    """A year of quarter-hours on two threads, from the network at hand to every node's extremes.

    Returns:
        Seconds by the clock and of the processor, the best of a few repetitions, each with a batch of its
        own whose making counts; steps without an answer; and how far the nodes' extremes are from those
        of the float64 solution, pu.
    """
    steps = daily_shapes(YEAR_STEPS, case.level, seed)
    of_year = Case(case.network, case.state, case.shape, np.vstack([steps, np.ones(YEAR_STEPS)]), case.level)
    walls, works = [], []
    with ThreadPoolExecutor(2) as pool:

        def once(dtype: str | None = None, tol: float = TOLERANCE_PU) -> Flows:
            batch = of_year.batch(dtype)
            return batch.solve(of_year.loads, tol=tol, band=BAND_PU, spread=pool.map, parts=2)

        found = once()  # compiles what has not been
        for _ in range(REPEATS):
            begun, worked = time.perf_counter(), time.process_time()
            found = once()
            walls.append(time.perf_counter() - begun)
            works.append(time.process_time() - worked)
        exact = once("float64", TRUTH_PU)
    return {
        "year_s": round(min(walls), 3),
        "year_cpu_s": round(min(works), 3),
        "year_lanes_failed": int((~found.converged).sum()),
        "year_error_pu": float(f"{_extremes_apart(found, exact):.2e}"),
    }


def _extremes_apart(found: Flows, exact: Flows) -> float:
    """Largest difference of the nodes' extremes; NaN where a live node lacks one in one of the two."""
    apart = []
    for ours, theirs in (
        (found.node_low_pu, exact.node_low_pu),
        (found.node_high_pu, exact.node_high_pu),
    ):
        assert ours is not None
        assert theirs is not None
        watched = ~(np.isnan(ours) & np.isnan(theirs))
        apart.append(np.abs(ours[watched] - theirs[watched]).max(initial=0.0))
    return float(max(apart))


def shortest(action: Callable[[], object]) -> float:
    """Shortest of a few repetitions in processor time, s."""
    found = []
    for _ in range(REPEATS):
        begun = time.process_time()
        action()
        found.append(time.process_time() - begun)
    return min(found)
