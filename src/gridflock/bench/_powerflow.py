"""The reference power flow against OpenDSS: the same steps of one feeder, one thread each."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
from threadpoolctl import threadpool_limits

from gridflock.field.opendss import Referee
from gridflock.grid import initial, solve
from gridflock.grid.build import from_document
from gridflock.sim import feeder_document


def powerflow(feeder: str, steps: int, seed: int) -> Mapping[str, float]:
    """Solve random load steps at fixed taps on both sides.

    Args:
        feeder: name of a packed feeder.
        steps: how many operating points.
        seed: of the load multipliers, uniform in 0.3..0.7 per load and step.

    Returns:
        Microseconds per flow on both sides, their ratio (above 1: ours is faster) and the largest
        voltage difference, pu. OpenDSS's time includes the transfer of its inputs by load shapes.

    Raises:
        OpenDssMissing: the rival is not installed.
        UnknownFeeder: no such feeder.
    """
    network = from_document(feeder_document(feeder))
    state = initial(network)
    factor = np.random.default_rng(seed).uniform(0.3, 0.7, (steps, len(network.loads)))
    load = factor * network.load_kva
    inject = np.zeros((steps, network.n), dtype=np.complex128)
    taps = np.broadcast_to(state.taps, (steps, len(state.taps)))
    caps = np.broadcast_to(state.cap_on, (steps, len(state.cap_on)))
    referee = Referee(network)
    with threadpool_limits(1):
        flow = solve(network, load[0], inject[0], state)
        begun = time.perf_counter()
        ours = np.empty((steps, network.n), dtype=np.complex128)
        for k in range(steps):
            flow = solve(network, load[k], inject[k], state, flow)
            ours[k] = flow.v
        mine = time.perf_counter() - begun
    begun = time.perf_counter()
    theirs = referee.solve_series(load, inject, taps, caps)
    other = time.perf_counter() - begun
    error = float(np.max(np.abs(np.abs(ours) - np.abs(theirs)) / network.v_base))
    return {
        "steps": steps,
        "us_per_flow": round(1e6 * mine / steps, 2),
        "opendss_us_per_flow": round(1e6 * other / steps, 2),
        "ratio_vs_opendss": round(other / mine, 3),
        "max_error_pu": float(f"{error:.2e}"),
    }
