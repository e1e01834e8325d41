"""The state estimator against the power flow of the same readings, and against planted bad meters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gridflock.field import opendss
from gridflock.grid import ControlState, Flow, Network, initial, settle, solve
from gridflock.grid.build import assemble, from_document
from gridflock.grid.estimation import (
    Measurements,
    Pseudo,
    Quantity,
    StateEstimate,
    estimate_state,
    rated_kva,
)
from gridflock.sim import feeder_document

SPREAD = 0.5
"""Standard deviation of a load around its nominal power, and of its pseudo-measurement."""
P_NOISE, Q_NOISE, V_NOISE = 0.05, 0.10, 0.002
"""Standard deviations of a meter: shares of the reading, of the rated voltage for V."""
LEAST_KVA = 1e-3
"""Resolution of a meter: smallest standard deviation of P and Q."""
HIGH_V = 1.03
"""What a bad voltage is multiplied by."""
ROUNDS = 3
"""Solutions that turn metered powers into powers at rated voltage."""
EXACT_PU = 1e-7
"""Nodes surer than this, at the source, say nothing about calibration."""
REDUNDANT = 0.05
"""Least redundancy of a meter that is spoilt: the others predict its reading within 4.5 of its σ."""
Complex = NDArray[np.complex128]
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A true operating point and what the meters make of it.

    Attributes:
        truth: the flow to be found.
        pseudo: what is assumed of every port.
        metered: (L,) ports with a meter that reads P, Q and V.
        read_kva: complex (L,) what the meters say.
        readings: the same as measurements.
    """

    truth: Flow
    pseudo: Pseudo
    metered: NDArray[np.bool_]
    read_kva: Complex
    readings: Measurements


def trial(network: Network, state: ControlState, nominal_kva: Complex, missing: float, seed: int) -> Trial:
    """Draw loads around nominal, meters, and their noise.

    Args:
        network: the feeder.
        state: taps and capacitors.
        nominal_kva: complex (L,) expected loads at rated voltage, house sign.
        missing: share of ports without a meter.
        seed: of everything drawn.
    """
    rng = np.random.default_rng(seed)
    count = len(network.loads)
    factor = np.maximum(rng.normal(1.0, SPREAD, (2, count)), 0.05)
    drawn = nominal_kva.real * factor[0] + 1j * nominal_kva.imag * factor[1]
    truth = solve(network, drawn, np.zeros(network.n, dtype=np.complex128), state)
    metered = rng.random(count) >= missing
    s = truth.served_kva
    noise = rng.normal(0.0, [[P_NOISE], [Q_NOISE], [V_NOISE]], (3, count))
    p, q = s.real * (1.0 + noise[0]), s.imag * (1.0 + noise[1])
    across = np.abs(np.append(truth.v, 0.0)[network.load_nodes] @ np.array([1.0, -1.0]))
    rows = np.flatnonzero(metered).astype(np.int32)
    columns = (
        (Quantity.PORT_KW, p, np.maximum(P_NOISE * np.abs(p), LEAST_KVA)),
        (Quantity.PORT_KVAR, q, np.maximum(Q_NOISE * np.abs(q), LEAST_KVA)),
        (Quantity.PORT_VOLTAGE, across * (1.0 + noise[2]), V_NOISE * network.load_v),
    )
    parts = [Measurements.of(kind, rows, value[rows], sigma[rows], 0) for kind, value, sigma in columns]
    pseudo = Pseudo.shares(nominal_kva, SPREAD)
    return Trial(truth, pseudo, metered, p + 1j * q, Measurements.joined(parts))


def pseudo_flow(network: Network, state: ControlState, given: Trial) -> Flow:
    """The power flow without an estimator: read powers as read, nominal powers at all other ports.

    Read powers are actual ones: they are turned into powers at rated voltage at the flow's own
    voltages, a few times over. Voltage readings are not used.
    """
    nothing = np.zeros(network.n, dtype=np.complex128)
    nominal = given.pseudo.load_kva
    flow = solve(network, np.where(given.metered, given.read_kva, nominal), nothing, state)
    for _ in range(ROUNDS):
        rated = rated_kva(network, flow.v, given.read_kva)
        flow = solve(network, np.where(given.metered, rated, nominal), nothing, state, flow)
    return flow


def estimation(
    source: str,
    root: Path | None = None,
    runs: int = 200,
    level: float = 1.0,
    missing: float = 0.3,
    seed: int = 1,
) -> Mapping[str, float | int | str]:
    """Estimates of random states from random meters, one thread; then with one bad meter each.

    Per run the loads are drawn around nominal with a standard deviation of 50 %, P and Q apart;
    meters read with 5 % (P), 10 % (Q) and 0.2 % (V); ports without a meter have their nominal
    load as pseudo-measurement, σ 50 %. There is no measurement at the feeder head. Then, on meters
    that are redundant by the estimator's own account, one voltage is raised by 3 %, and in another
    estimate the sign of one active power is turned.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read.
        runs: how many states.
        level: nominal load multiplier.
        missing: share of ports without a meter.
        seed: of the first run; the following count on.

    Returns:
        Milliseconds of the first estimate (patterns made, kernels loaded) and of the later ones
        (median, of the clock and of the processor; uncertainty, observability and residual analysis
        included), root mean square errors
        of the voltage magnitudes of all nodes of estimate and pseudo-measurement flow, their ratio,
        root mean square of the errors over their standard deviations, how many bad meters were
        planted, named first of all readings, or at least their meter by another of its readings, and in
        how many runs without a bad meter a reading was named.

    Raises:
        FeederRejected: the file cannot be read.
        UnknownFeeder: no such packed feeder.
    """
    if Path(source).suffix.lower() == ".dss":
        network = assemble(opendss.read_dss(Path(source), root)[0])
    else:
        network = from_document(feeder_document(source))
    nominal = network.load_kva * np.where(network.load_scaled, level, 1.0)
    with threadpool_limits(1):
        _, state = settle(network, nominal, np.zeros(network.n, dtype=np.complex128), initial(network))
        tally = _Tally()
        for k in range(runs):
            given = trial(network, state, nominal, missing, seed + k)
            if given.truth.converged:
                _measure(network, state, given, np.random.default_rng([seed + k, 1]), tally)
    return {"feeder": network.name, "nodes": network.n, "ports": len(network.loads), **tally.figures()}


class _Tally:
    """What the runs add up to."""

    def __init__(self) -> None:
        self.spent: list[float] = []
        self.cpu: list[float] = []
        self.error: list[float] = []
        self.error_without: list[float] = []
        self.normalised: list[float] = []
        self.redundant: dict[str, list[float]] = {"voltage": [], "power": []}
        self.planted = {"voltage": 0, "power": 0}
        self.named = {"voltage": 0, "power": 0}
        self.metered = {"voltage": 0, "power": 0}
        self.false_alarms = 0
        self.failed = 0

    def figures(self) -> dict[str, float | int]:
        """Rounded for people."""

        def rms(values: list[float]) -> float:
            return float(np.sqrt(np.mean(values)))

        mine, other = rms(self.error), rms(self.error_without)
        figures: dict[str, float | int] = {
            "runs": len(self.error),
            "not_converged": self.failed,
            "first_ms": round(1e3 * self.spent[0], 1),
            "ms_per_estimate": round(1e3 * float(np.median(self.spent[1:] or self.spent)), 1),
            "cpu_ms_per_estimate": round(1e3 * float(np.median(self.cpu[1:] or self.cpu)), 1),
            "rms_error_pu": float(f"{mine:.3e}"),
            "pseudo_flow_rms_error_pu": float(f"{other:.3e}"),
            "ratio_vs_pseudo_flow": round(mine / other, 3),
            "worst_ratio_of_a_run": round(
                float(np.sqrt(np.max(np.array(self.error) / np.array(self.error_without)))), 3
            ),
            "normalised_error_rms": round(rms(self.normalised), 3),
            "false_alarms": self.false_alarms,
        }
        for kind, planted in self.planted.items():
            figures[f"redundant_{kind}_share"] = round(float(np.mean(self.redundant[kind])), 3)
            figures[f"bad_{kind}_planted"] = planted
            figures[f"bad_{kind}_named"] = self.named[kind]
            figures[f"bad_{kind}_meter_named"] = self.metered[kind]
        return figures


def _measure(
    network: Network, state: ControlState, given: Trial, rng: np.random.Generator, tally: _Tally
) -> None:
    def run(readings: Measurements) -> StateEstimate:
        return estimate_state(network, state, given.pseudo, readings, 0)

    begun, worked = time.perf_counter(), time.thread_time()
    found = run(given.readings)
    tally.spent.append(time.perf_counter() - begun)
    tally.cpu.append(time.thread_time() - worked)
    error = found.v_pu - given.truth.v_pu
    other = pseudo_flow(network, state, given).v_pu - given.truth.v_pu
    told = found.sigma_v_pu > EXACT_PU
    tally.error.append(float(np.mean(error**2)))
    tally.error_without.append(float(np.mean(other**2)))
    tally.normalised.append(float(np.mean((error[told] / found.sigma_v_pu[told]) ** 2)))
    tally.failed += not found.converged
    tally.false_alarms += bool(found.bad)
    for kind, quantity in (("voltage", Quantity.PORT_VOLTAGE), ("power", Quantity.PORT_KW)):
        rows = np.flatnonzero(given.readings.quantity == quantity)
        redundant = rows[found.redundancy[rows] >= REDUNDANT]
        tally.redundant[kind].append(len(redundant) / max(len(rows), 1))
        if not len(redundant):
            continue
        row = int(rng.choice(redundant))
        value = given.readings.value.copy()
        value[row] *= HIGH_V if kind == "voltage" else -1.0
        spoilt = run(replace(given.readings, value=value))
        tally.planted[kind] += 1
        if spoilt.bad:
            port = given.readings.row
            tally.named[kind] += spoilt.bad[0].row == row
            tally.metered[kind] += int(port[spoilt.bad[0].row] == port[row])
