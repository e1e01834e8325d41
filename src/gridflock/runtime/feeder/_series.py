"""A feeder through time, and what a person wants to see of it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from gridflock.field.opendss import Shapes
from gridflock.grid import Network, Shaped
from gridflock.grid.series import Series, Steps, in_lanes
from gridflock.runtime._registry import FileRejected, Rows, read_rows
from gridflock.runtime.feeder._read import FeederUnreadable
from gridflock.units import DAY_S

THREADS = 2
MOST_FAULTS = 50
Float = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Course:
    """A time series at a glance.

    Attributes:
        steps: how many.
        step_s: seconds between them.
        converged: how many have an answer.
        unsettled: steps whose controls still wished to move.
        tap_moves: positions moved over the series, by regulator.
        capacitor_switches: by capacitor.
        v_min_pu: lowest voltage of any step.
        v_max_pu: highest.
        nodes_below: nodes that are ever below 0.95 pu.
        nodes_above: ever above 1.05 pu.
        peak_import_kw: largest import at the head, positive.
        peak_export_kw: largest export, positive.
        worst_residual_kva: largest miss of Kirchhoff's law.
        shapes: what the loads followed, in words.
    """

    steps: int
    step_s: int
    converged: int
    unsettled: int
    tap_moves: dict[str, int]
    capacitor_switches: dict[str, int]
    v_min_pu: float
    v_max_pu: float
    nodes_below: int
    nodes_above: int
    peak_import_kw: float
    peak_export_kw: float
    worst_residual_kva: float
    shapes: str


def course(
    network: Network,
    shapes: Shapes | None,
    *,
    hours: float,
    step_s: int,
    load_scale: float,
    controls: bool,
    shape_file: Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Course, Series]:
    """Run a feeder through time.

    Args:
        network: the feeder.
        shapes: the file's own load shapes, where it has any.
        hours: how long.
        step_s: seconds between two steps.
        load_scale: multiplier of every load that follows one.
        controls: regulators and capacitors act.
        shape_file: CSV of multipliers, a line a step: one column for all loads, or a column per load id.
        progress: told how many steps stand, and of how many.

    Raises:
        FeederUnreadable: the shape file cannot be read or names an unknown load.
    """
    count = max(1, round(hours * 3600 / step_s))
    loads, words = _loads(network, shapes, count, step_s, load_scale, shape_file)
    steps = Steps(loads, start_s=0, step_s=step_s)
    with ThreadPoolExecutor(THREADS) as pool:
        found = in_lanes(network, steps, controls=controls, progress=progress, spread=pool.map, parts=THREADS)
    return _course(network, found, step_s, words), found


def _loads(
    network: Network, shapes: Shapes | None, count: int, step_s: int, scale: float, file: Path | None
) -> tuple[Shaped | NDArray[np.complex128], str]:
    base = np.where(network.load_scaled, scale, 1.0) * network.load_kva
    if file is not None:
        return _from_file(network, base, count, file), f"multipliers of {file.name}"
    if shapes is not None and (shapes.of_port >= 0).any():
        # The engine's first daily step stands one step after midnight.
        moments = (np.arange(count, dtype=np.float64) + 1.0) * step_s % DAY_S
        kva = shapes.kva(base, moments)
        return kva, f"the feeder's own load shapes ({len(shapes.shapes)})"
    flat = Shaped(base, np.zeros(len(base), dtype=np.int32), np.ones((1, count)))
    return flat, "none: every step at the written load (give --shape)"


def _from_file(network: Network, base: NDArray[np.complex128], count: int, file: Path) -> Shaped:
    try:
        rows = read_rows(file)
    except FileRejected as error:
        raise FeederUnreadable([f"{file}: {error}"]) from error
    if not rows:
        raise FeederUnreadable([f"{file}: no rows"])
    names = list(rows[0])
    table, faults = _numbers(rows, names, file)
    ports: dict[str, list[int]] = {}
    for k, name in enumerate(network.loads):
        ports.setdefault(name, []).append(k)
        if name.count(".") > 1:  # a phase of an OpenDSS element answers to the whole element's name
            ports.setdefault(name.rsplit(".", 1)[0], []).append(k)
    follows = np.full(len(base), 0 if len(names) == 1 else len(names), dtype=np.int32)
    follows[~network.load_scaled] = len(names)
    for j, name in enumerate(names if len(names) > 1 else []):
        if name in ports:
            follows[ports[name]] = j
        else:
            faults.append(f"{file}: column {name!r}: no such load in network {network.name}")
    if faults:
        raise FeederUnreadable(faults[:MOST_FAULTS])
    return Shaped(base, follows, table[:, np.arange(count) % len(rows)])


def _numbers(rows: Rows, names: list[str], file: Path) -> tuple[Float, list[str]]:
    """The columns as shapes (one more that stays at 1), and what is no number."""
    table = np.ones((len(names) + 1, len(rows)))
    faults = []
    for k, (number, row) in enumerate(zip(rows.numbers, rows, strict=True)):
        for j, name in enumerate(names):
            try:
                table[j, k] = float(str(row.get(name, "")))
            except ValueError:
                table[j, k] = np.nan
            if not np.isfinite(table[j, k]):
                faults.append(f"{file}: line {number}: {name}: expected a finite number")
    return table, faults


def _course(network: Network, found: Series, step_s: int, words: str) -> Course:
    moves = np.abs(np.diff(found.taps.astype(np.int64), axis=0)).sum(axis=0)
    switches = np.abs(np.diff(found.cap_on.astype(np.int64), axis=0)).sum(axis=0)
    good = found.converged
    head = found.head_kva.real[good]
    return Course(
        steps=len(good),
        step_s=step_s,
        converged=int(good.sum()),
        unsettled=int((~found.quiet).sum()),
        tap_moves=dict(zip(network.regulators.ids, moves.tolist(), strict=True)),
        capacitor_switches=dict(zip(network.capacitors.ids, switches.tolist(), strict=True)),
        v_min_pu=round(float(found.low_pu[good].min(initial=np.inf)), 6),
        v_max_pu=round(float(found.high_pu[good].max(initial=0.0)), 6),
        nodes_below=int((found.below > 0).sum()),
        nodes_above=int((found.above > 0).sum()),
        peak_import_kw=round(max(0.0, -float(head.min(initial=0.0))), 3),
        peak_export_kw=round(max(0.0, float(head.max(initial=0.0))), 3),
        worst_residual_kva=float(f"{found.residual_kva[good].max(initial=0.0):.3g}"),
        shapes=words,
    )
