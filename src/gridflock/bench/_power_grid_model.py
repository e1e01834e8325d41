"""The batched power flow against power-grid-model: the same admittances, scenarios and run.

A network that power-grid-model can hold is handed over exactly, element by element
(``_pgm_columns``); what it cannot hold is refused by name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gridflock.bench._case import REPEATS, SHAPES, TRUTH_PU, daily_shapes
from gridflock.bench._pgm_columns import FREQUENCY_HZ, Columns, as_columns
from gridflock.field import opendss
from gridflock.grid import Batch, Network, Shaped, initial, settle
from gridflock.grid.build import assemble, from_document
from gridflock.sim import feeder_document

Way = tuple[str, float]
"""How a side solves: method or precision of the lanes, and tolerance in pu."""
ACCURACY_PU = 1e-6
"""How near both sides must come to power-grid-model's own tight answer."""
REFEREE: Way = ("newton_raphson", 1e-9)
THEIR_WAYS: tuple[Way, ...] = (
    *(("iterative_current", tolerance) for tolerance in (1e-3, 1e-4, 1e-5, 1e-6, 1e-7, 1e-8)),
    *(("newton_raphson", tolerance) for tolerance in (1e-3, 1e-5, 1e-8)),
)
"""What power-grid-model is tried with: its two iterative methods; the linear ones are not exact."""
OUR_WAYS: tuple[Way, ...] = (
    *(("float32", tolerance) for tolerance in (1e-5, 1e-6)),
    *(("float64", tolerance) for tolerance in (1e-5, 1e-6, 1e-8)),
)
CONSTANT_PU = (0.51, 1.5)
"""Loads keep their power between these voltages: power-grid-model knows no limits."""
PROBED = 128
"""Scenarios on which every way is tried before the fastest accurate one is timed on all."""
MOST_ITERATIONS = 100
SEQUENTIAL = -1
"""power-grid-model's ``threading`` for one thread."""
Float = NDArray[np.float64]


class Rival:
    """A network in power-grid-model.

    Args:
        columns: the network as its input.

    Raises:
        ImportError: power-grid-model is not installed.
    """

    def __init__(self, columns: Columns) -> None:
        try:
            import power_grid_model  # noqa: PLC0415 - a development dependency that this subject alone needs
            from power_grid_model.errors import PowerGridBatchError  # noqa: PLC0415 - the same
        except ImportError as error:
            raise ImportError("power-grid-model is not installed: pip install power-grid-model") from error

        self._columns = columns
        data = {}
        for kind, table in columns.tables.items():
            data[kind] = power_grid_model.initialize_array("input", kind, len(table["id"]))
            for name, values in table.items():
                data[kind][name] = values
        self._model = power_grid_model.PowerGridModel(data, FREQUENCY_HZ)
        self._not_converged = PowerGridBatchError

    def scenarios(self, loads: Shaped) -> dict[str, NDArray[Any]]:
        """Columns of its batch update, (S, loads) and (S, loads, 3), W and var drawn."""
        identity = self._columns.tables["asym_load"]["id"].astype(np.int32)
        power = np.zeros((3 * len(identity), len(loads)), dtype=np.complex128)
        drawn = -1000.0 * loads.kva[:, None] * loads.multipliers[loads.shape]
        np.add.at(power, self._columns.load_place, drawn)
        by_load = power.T.reshape(len(loads), len(identity), 3)
        return {
            "id": np.tile(identity, (len(loads), 1)),
            "p_specified": np.ascontiguousarray(by_load.real),
            "q_specified": np.ascontiguousarray(by_load.imag),
        }

    def solve(self, update: Mapping[str, NDArray[Any]], way: Way) -> Float | None:
        """(S, buses, 3) voltage magnitudes, pu, by one thread; None where a scenario does not converge."""
        method, tolerance = way
        try:
            found = self._model.calculate_power_flow(
                symmetric=False,
                error_tolerance=tolerance,
                max_iterations=MOST_ITERATIONS,
                calculation_method=method,
                update_data={"asym_load": update},
                threading=SEQUENTIAL,
                output_component_types={"node": ["u_pu"]},
            )
        except self._not_converged:
            return None
        v_pu: Float = found["node"]["u_pu"]
        return v_pu

    def in_our_order(self, v_pu: Float) -> Float:
        """The same as (S, n) in the order of our nodes."""
        return v_pu.reshape(len(v_pu), -1)[:, self._columns.node_place]


def against_power_grid_model(
    source: str, root: Path | None, scenarios: int, level: float, seed: int
) -> Mapping[str, float | int | str]:
    """Daily steps in order, 50 shared shapes, constant power, one thread each, both within 1e-6 pu.

    Both sides run at their fastest setting that comes within 1e-6 pu, at every node of every
    scenario, of power-grid-model's Newton-Raphson at 1e-9: its method and tolerance, our lanes'
    precision and tolerance. Times are of the processor, so that other programs on the machine charge
    neither side. Both write every node's voltage magnitude and nothing else; power-grid-model's
    update data and our batch are made beforehand. Each repetition of ours has a batch of its own, since
    one that has solved the same scenarios keeps base points for them.

    Args:
        source: an OpenDSS master, or the name of a packed feeder.
        root: folder outside which nothing is read.
        scenarios: daily steps.
        level: mean load multiplier.
        seed: of the shapes.

    Returns:
        Microseconds per flow of both, their ratio, the settings, the largest voltage error of both
        against the referee, and that of our float64 solution at 1e-9; whether the ratio counts, and why
        not.

    Raises:
        ArithmeticError: the rival does not solve these scenarios.
        FeederRejected: the file cannot be read, or power-grid-model cannot hold the feeder.
        ImportError: the rival is not installed.
        UnknownFeeder: no such packed feeder.
    """
    with threadpool_limits(1):
        if Path(source).suffix.lower() == ".dss":
            network = assemble(opendss.read_dss(Path(source), root, limits=CONSTANT_PU)[0])
        else:
            network = from_document({**feeder_document(source), "load_range_pu": CONSTANT_PU})
        return compare(network, scenarios, level, seed)


def compare(network: Network, scenarios: int, level: float, seed: int) -> Mapping[str, float | int | str]:
    """The same for a network at hand.

    Raises:
        ArithmeticError: the rival does not solve these scenarios.
        FeederRejected: power-grid-model cannot hold it.
        ImportError: the rival is not installed.
    """
    fixed = ~network.load_scaled
    base = network.load_kva * np.where(fixed, 1.0, level)
    _, state = settle(network, base, np.zeros(network.n, dtype=np.complex128), initial(network))
    rival = Rival(as_columns(network, state))
    shape = np.where(fixed, SHAPES, np.arange(len(fixed)) % SHAPES).astype(np.int32)
    multipliers = np.vstack([daily_shapes(scenarios, level, seed), np.ones(scenarios)])
    loads = Shaped(network.load_kva, shape, multipliers)
    update = rival.scenarios(loads)
    rooms = {dtype: Batch(network, state, base, dtype=dtype).room(scenarios) for dtype, _ in OUR_WAYS}

    def theirs(way: Way, count: int) -> Callable[[], Float | None]:
        some = {name: column[:count] for name, column in update.items()}
        return lambda: rival.solve(some, way)

    def ours(way: Way, count: int) -> Callable[[], NDArray[Any] | None]:
        dtype, tolerance = way
        batch = Batch(network, state, base, dtype=dtype)
        some = Shaped(loads.kva, loads.shape, loads.multipliers[:, :count])
        return lambda: batch.solve(some, tol=tolerance, v_pu=True, room=rooms[dtype]).v_pu

    referee = theirs(REFEREE, scenarios)()
    if referee is None:
        raise ArithmeticError("power-grid-model does not converge at these loads")
    truth = rival.in_our_order(referee)
    they = _fastest(theirs, THEIR_WAYS, truth, rival.in_our_order)
    we = _fastest(ours, OUR_WAYS, truth, np.asarray)
    exact = ours(("float64", TRUTH_PU), scenarios)()
    assert exact is not None
    why_not = _why_not(we.error_pu, they.error_pu)
    return {
        "feeder": network.name,
        "nodes": network.n,
        "scenarios": scenarios,
        "us_per_flow": round(1e6 * we.seconds / scenarios, 2),
        "pgm_us_per_flow": round(1e6 * they.seconds / scenarios, 2),
        "ratio_vs_pgm": round(they.seconds / we.seconds, 1),
        "dtype": we.way[0],
        "tolerance_pu": we.way[1],
        "method": they.way[0],
        "pgm_tolerance_pu": they.way[1],
        "max_error_pu": float(f"{we.error_pu:.2e}"),
        "pgm_max_error_pu": float(f"{they.error_pu:.2e}"),
        "float64_error_pu": float(f"{np.abs(exact - truth).max():.2e}"),
        "counts": not why_not,
        "why_not": why_not,
    }


def _why_not(ours_pu: float, theirs_pu: float) -> str:
    """Why a ratio does not count; empty where it does. What is NaN is within no limit."""
    errors = (("max_error_pu", ours_pu), ("pgm_max_error_pu", theirs_pu))
    return "; ".join(
        f"{name} {error:.2e} (rule: at most {ACCURACY_PU:g})"
        for name, error in errors
        if not error <= ACCURACY_PU
    )


@dataclass(frozen=True, slots=True)
class _Timed:
    """A way to solve, the processor time of all scenarios by it, and its largest error."""

    way: Way
    seconds: float
    error_pu: float


Ready = Callable[[Way, int], Callable[[], NDArray[Any] | None]]
"""A side made ready to solve the first so many scenarios in one way."""


def _fastest(
    ready: Ready,
    ways: Sequence[Way],
    truth: Float,
    ordered: Callable[[NDArray[Any]], Float],
) -> _Timed:
    """The fastest way within the accuracy, by few scenarios and then by all; else the most accurate one."""
    probed = min(PROBED, len(truth))
    tried = [(*_measured(ready, way, truth[:probed], ordered, 2), way) for way in ways]
    tried.sort(key=lambda found: (found[1] > ACCURACY_PU, found[0]))
    best = None
    for _, _, way in tried:
        seconds, error = _measured(ready, way, truth, ordered, REPEATS)
        found = _Timed(way, seconds, error)
        if error <= ACCURACY_PU:
            return found
        if best is None or error < best.error_pu:
            best = found
    assert best is not None
    return best


def _measured(
    ready: Ready,
    way: Way,
    truth: Float,
    ordered: Callable[[NDArray[Any]], Float],
    repeats: int,
) -> tuple[float, float]:
    """Shortest processor time of a few runs, s, and the largest error, pu; infinite without convergence."""
    spent = []
    error = np.inf
    for _ in range(repeats):
        run = ready(way, len(truth))
        begun = time.process_time()
        found = run()
        spent.append(time.process_time() - begun)
        if found is not None:
            error = float(np.abs(ordered(found) - truth).max())
    return min(spent), error
