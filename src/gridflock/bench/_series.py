"""Series with the feeder's controls and inverters acting, against OpenDSS in static control mode."""

from __future__ import annotations

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from gridflock.bench._case import shortest
from gridflock.bench._powerflow import SHAPES, STEPS_PER_DAY, YEAR_STEPS, daily_shapes
from gridflock.field import opendss
from gridflock.grid import ControlState, Network, Shaped, initial, settle
from gridflock.grid.build import assemble
from gridflock.grid.series import Category, Curves, ReactiveMode, Series, Steps, fitted, in_lanes
from gridflock.units import Mask, Rows

INVERTERS = 200
RATED_KVA = 5.0
JUDGED_STEPS = 96
"""A day: as much as OpenDSS's inverter loop lets one wait for."""
ROUNDS = 60
"""Control rounds ours may take; feeders that do not hunt need fewer than twenty."""
RIVAL_ROUNDS = 5000
"""The same for OpenDSS, whose inverters take a round for every part of the way; it does not slow it."""
USUAL_TOLERANCE = 1e-4
"""OpenDSS's own; its inverters' ones stay as they are."""
TIGHT_TOLERANCE = 1e-8
TIGHT_INVERTERS = "deltaq_factor=0.3 varchangetolerance=1e-6 voltagechangetolerance=1e-7"
"""Where OpenDSS finds what no tolerance decides: taps at its usual ones depend on them."""
REPEATS = 2
Float = NDArray[np.float64]


def series(
    source: str,
    root: Path | None = None,
    scenarios: int = 2048,
    level: float = 0.6,
    seed: int = 1,
) -> Mapping[str, float | int | str]:
    """Daily steps in order with regulators, capacitors and volt-var inverters deciding and acting.

    The same master, shapes and first positions on both sides, one thread each, processor time;
    OpenDSS in static control mode at its usual tolerances, with PVSystem and InvControl. Once with
    200 inverters and once without.

    Args:
        source: an OpenDSS master.
        root: folder outside which nothing is read.
        scenarios: daily steps of ours; OpenDSS solves the first 96 of them.
        level: mean load multiplier.
        seed: of the shapes.

    Returns:
        Microseconds per step of both and their ratio; the share of the steps both solved that end
        with the same taps and capacitors, OpenDSS at tight tolerances and at its usual ones; the
        seconds a year of quarter-hours takes on two threads, and its processor time; and all of
        these once more for the feeder without inverters.

    Raises:
        FeederRejected: the file cannot be read.
        OpenDssMissing: the rival is not installed.
    """
    with threadpool_limits(1):
        path = Path(source)
        parts, _ = opendss.read_dss(path, root)
        network = assemble(parts)
        found: dict[str, float | int | str] = {
            "feeder": network.name,
            "nodes": network.n,
            "regulators": len(network.regulators.ids),
            "capacitors": len(network.capacitors.ids),
            "steps": scenarios,
            "opendss_steps": min(JUDGED_STEPS, scenarios),
        }
        for inverters, suffix in ((INVERTERS, ""), (0, "_without_inverters")):
            found |= _measured(_Race(network, path, root, inverters, level, seed), scenarios, suffix)
        return found


@dataclass(frozen=True, slots=True)
class _Race:
    """One feeder, one number of inverters, both sides.

    Attributes:
        network: the feeder as the file has it.
        path: of the file.
        root: folder outside which nothing is read.
        inverters: how many act.
        level: mean load multiplier.
        seed: of the shapes.
    """

    network: Network
    path: Path
    root: Path | None
    inverters: int
    level: float
    seed: int

    def rival(self, steps: int, judged: int, inverters: str = "") -> opendss.Daily:
        """OpenDSS at the first of the steps with the same inverters, their control set as told besides."""
        multipliers = daily_shapes(steps, self.level, self.seed)[:, :judged]
        rival = opendss.Daily(self.path, self.root, multipliers)
        if self.inverters:
            rival.add(_as_commands(self.network, self._ports(), sun(steps, self.seed)[:judged]))
            if inverters:
                rival.add([f"edit invcontrol.gridflock {inverters}"])
        return rival

    def steps(self, shape: Rows, count: int) -> tuple[Network, Steps]:
        """Ours: the network with its inverters, and what happens to it."""
        network = self.network
        multipliers = np.vstack([daily_shapes(count, self.level, self.seed), np.ones(count)])
        if not self.inverters:
            return network, Steps(Shaped(network.load_kva, shape, multipliers), start_s=0)
        ports = self._ports()
        rated = np.full(len(ports), RATED_KVA)
        curves = Curves.defaults(rated, Category.B, ReactiveMode.VOLT_VAR)
        # OpenDSS's inverter gives reactive power by night, too.
        curves = replace(curves, steady=np.ones(len(ports), dtype=np.bool_))
        ids = tuple(f"pv{k}" for k in range(len(ports)))
        start = np.arange(len(ports) + 1, dtype=np.int32)
        nodes, volts = network.load_nodes[ports], network.load_v[ports]
        fit, inverters = fitted(network, ids, nodes, volts, start, curves)
        none = np.full(len(ports), len(multipliers) - 1, dtype=np.int32)
        loads = Shaped(fit.load_kva, np.append(shape, none).astype(np.int32), multipliers)
        p_kw = sun(count, self.seed)[:, None] * rated
        return fit, Steps(loads, inverters=inverters, p_kw=p_kw, start_s=0)

    def _ports(self) -> Rows:
        """The load ports inverters stand beside."""
        count = len(self.network.loads)
        return np.linspace(0, count - 1, min(self.inverters, count)).astype(np.int32)


def sun(steps: int, seed: int) -> Float:
    """(steps,) quarter-hours of sun, of the rating: days of different clearness, passing clouds."""
    rng = np.random.default_rng([seed, 1])
    hour = (np.arange(steps) % STEPS_PER_DAY) / 4.0
    day = np.arange(steps) // STEPS_PER_DAY
    clear = rng.uniform(0.4, 1.0, int(day[-1]) + 1)[day]
    shape: Float = np.clip(np.sin((hour - 6.0) * np.pi / 12.0), 0.0, None)
    return shape * clear * rng.uniform(0.7, 1.0, steps)


def _as_commands(network: Network, ports: Rows, shape: Float) -> list[str]:
    """The same inverters in OpenDSS's words."""
    values = " ".join(f"{value:.9g}" for value in shape)
    lines = [
        f"new loadshape.gridflock_sun npts={len(shape)} sinterval=900 mult=[{values}]",
        "new xycurve.gridflock_vv npts=6 xarray=[0.5 0.92 0.98 1.02 1.08 1.5] yarray=[1 1 0 0 -1 -1]",
    ]
    q_max = Curves.defaults(np.array([RATED_KVA])).q_inject_kvar[0]
    for k, port in enumerate(ports.tolist()):
        nodes = network.load_nodes[port]
        dots = ".".join(str(network.node_conductor[node]) for node in nodes[nodes >= 0].tolist())
        lines.append(
            f"new pvsystem.gridflock_{k} phases=1 bus1={network.buses[network.load_bus[port]]}.{dots} "
            f"kv={network.load_v[port] / 1000.0:.9g} kva={RATED_KVA} pmpp={RATED_KVA} irradiance=1 "
            f"daily=gridflock_sun pf=1 kvarmax={q_max:g} kvarmaxabs={q_max:g} "
            "%cutin=0 %cutout=0 varfollowinverter=no vminpu=0.5 vmaxpu=1.5"
        )
    lines.append("new invcontrol.gridflock mode=voltvar vvc_curve1=gridflock_vv refreactivepower=varmax")
    return lines


def _measured(race: _Race, scenarios: int, suffix: str) -> dict[str, float | int]:
    judged = min(JUDGED_STEPS, scenarios)
    rival = race.rival(scenarios, judged)
    shape = np.where(race.network.load_scaled, rival.shape_of(race.network, SHAPES), SHAPES).astype(np.int32)
    network, steps = race.steps(shape, scenarios)
    state = _first_positions(network, steps)
    begun = time.process_time()
    own = in_lanes(network, steps, state, rounds=ROUNDS)
    first_s = time.process_time() - begun
    ours = shortest(lambda: in_lanes(network, steps, state, rounds=ROUNDS))
    usual = [_judge(race.network, rival, state, USUAL_TOLERANCE) for _ in range(REPEATS)]
    theirs = min(taken for taken, *_ in usual)
    tight = _judge(race.network, race.rival(scenarios, judged, TIGHT_INVERTERS), state, TIGHT_TOLERANCE)
    year_s, year_cpu_s = _year(race, shape, state)
    found: dict[str, float | int] = {
        "inverters": steps.inverters.n if steps.inverters is not None else 0,
        "us_per_step": round(1e6 * ours / scenarios, 1),
        "opendss_us_per_step": round(1e6 * theirs / judged, 1),
        "ratio_vs_opendss": round(theirs / judged / (ours / scenarios), 1),
        "same_positions_share": _same(own, tight),
        "same_positions_share_usual": _same(own, usual[0]),
        "opendss_tight_us_per_step": round(1e6 * tight[0] / judged, 1),
        "moves": int(own.rounds.sum()),
        "distinct_positions": len(np.unique(own.taps, axis=0)),
        "failed": int((~own.converged).sum()),
        "unquiet": int((~own.quiet).sum()),
        "first_run_s": round(first_s, 2),
        "year_s": round(year_s, 2),
        "year_cpu_s": round(year_cpu_s, 2),
    }
    return {name + suffix: value for name, value in found.items()}


def _same(own: Series, judged: tuple[float, NDArray[np.int8], Mask]) -> float:
    """Share of the steps both solved that end at the same positions."""
    _, taps, closed = judged
    same = (own.taps[: len(taps)] == taps).all(axis=1) & (own.cap_on[: len(taps)] == closed).all(axis=1)
    return round(float(same.mean()), 4)


def _first_positions(network: Network, steps: Steps) -> ControlState:
    """Where the controls settle at mean load without sun: the start of both sides."""
    assert isinstance(steps.loads, Shaped)
    mean = steps.loads.kva * steps.loads.multipliers.mean(axis=1)[steps.loads.shape]
    _, state = settle(network, mean, np.zeros(network.n, dtype=np.complex128), initial(network))
    return state


def _judge(
    network: Network, rival: opendss.Daily, state: ControlState, tolerance: float
) -> tuple[float, NDArray[np.int8], Mask]:
    """Processor seconds OpenDSS takes, and where it ends after every step."""
    taps = np.zeros((rival.steps, len(network.regulators.ids)), dtype=np.int8)
    closed = np.zeros((rival.steps, len(network.capacitors.ids)), dtype=np.bool_)
    rival.begin(tolerance, RIVAL_ROUNDS)
    rival.hold(network, state)
    taken = 0.0
    for step in range(rival.steps):
        begun = time.process_time()
        rival.step()
        taken += time.process_time() - begun
        taps[step], closed[step] = rival.positions(network)
    return taken, taps, closed


def _year(race: _Race, shape: Rows, state: ControlState) -> tuple[float, float]:
    """Seconds for a year of quarter-hours on two threads, every node's voltage checked: wall, processor."""
    network, steps = race.steps(shape, YEAR_STEPS)
    with ThreadPoolExecutor(2) as pool:
        wall, cpu = time.perf_counter(), time.process_time()
        in_lanes(network, steps, state, rounds=ROUNDS, spread=pool.map, parts=2)
        return time.perf_counter() - wall, time.process_time() - cpu
