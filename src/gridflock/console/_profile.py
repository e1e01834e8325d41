"""Flows and series as rows and as plots."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from gridflock.grid import Flow
from gridflock.grid.series import Series
from gridflock.units import PHASES

COLOURS = ("#c0392b", "#27ae60", "#2471a3")


def rows(flow: Flow) -> Iterator[tuple[str, str, float, float, float]]:
    """Bus, phase, pu, volt and degrees of every node."""
    network = flow.network
    for node in range(network.n):
        bus, phase = network.node_name(node).rsplit(".", 1)
        v = complex(flow.v[node])
        degrees = float(np.angle(v, deg=True))
        yield bus, phase, round(float(flow.v_pu[node]), 6), round(abs(v), 3), round(degrees, 4)


def draw(flow: Flow, target: Path) -> None:
    """Voltage over the way from the source, by phase, with the limits of ANSI C84.1 range A.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    network = flow.network
    steps = _steps(flow)
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for phase, colour in enumerate(COLOURS):
        own = (network.node_phase == phase) & network.topology.live
        axes.plot(steps[network.node_bus[own]], flow.v_pu[own], ".", ms=3, color=colour, label=PHASES[phase])
    for limit in (0.95, 1.05):
        axes.axhline(limit, lw=0.8, ls="--", color="#888888")
    axes.set_xlabel("buses from the source")
    axes.set_ylabel("voltage, pu")
    axes.set_title(f"{network.name}: {abs(flow.head_kva.sum().real):.0f} kW at the head")
    axes.legend(title="phase", frameon=False)
    figure.savefig(target, dpi=140)


def series_rows(steps: Series, step_s: int) -> Iterator[tuple[object, ...]]:
    """Step, second, whether solved, head power, extreme voltages, control rounds, positions."""
    for k in range(len(steps.converged)):
        head = complex(steps.head_kva[k])
        numbers = (head.real, head.imag, float(steps.low_pu[k]), float(steps.high_pu[k]))
        rounded = (round(x, 6) for x in numbers)
        positions = (*steps.taps[k].tolist(), *(int(on) for on in steps.cap_on[k]))
        yield k, k * step_s, bool(steps.converged[k]), *rounded, int(steps.rounds[k]), *positions


def draw_series(steps: Series, step_s: int, target: Path) -> None:
    """Head power and extreme voltages over time.

    Raises:
        OSError: the file cannot be written.
        ValueError: a format that matplotlib does not know.
    """
    hours = np.arange(len(steps.converged)) * step_s / 3600.0
    figure = Figure(figsize=(9, 5.5), layout="constrained")
    power, voltage, tap = figure.subplots(3, 1, sharex=True)
    power.plot(hours, -steps.head_kva.real, color=COLOURS[2])
    power.set_ylabel("import, kW")
    voltage.fill_between(hours, steps.low_pu, steps.high_pu, alpha=0.4, color=COLOURS[1])
    for limit in (0.95, 1.05):
        voltage.axhline(limit, lw=0.8, ls="--", color="#888888")
    voltage.set_ylabel("voltage, pu")
    tap.step(hours, steps.taps, where="post", lw=0.9)
    tap.set_ylabel("taps")
    tap.set_xlabel("hour")
    figure.savefig(target, dpi=140)


def _steps(flow: Flow) -> NDArray[np.int64]:
    """(nb,) number of branches between each bus and its source."""
    topology = flow.network.topology
    steps = np.zeros(len(flow.network.buses), dtype=np.int64)
    for bus in topology.bus_order.tolist():
        above = topology.bus_parent[bus]
        if above >= 0:
            steps[bus] = steps[above] + 1
    return steps
