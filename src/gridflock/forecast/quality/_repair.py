"""A history with its faults mended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.quality._finding import Finding, Kind, Repair
from gridflock.model import History
from gridflock.units import Mask, Seconds, TimeGrid

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Repaired:
    """What became of a history.

    Attributes:
        history: the same grid and series, mended.
        kinds: what each series measures, where that was given; a series that is not what it was said
            to be is ``other``.
        done: findings that were acted on, in order.
        left: findings that were not: unsafe ones, and those that need nothing.
    """

    history: History
    kinds: Mapping[str, Kind]
    done: tuple[Finding, ...]
    left: tuple[Finding, ...]


def repaired(
    history: History,
    findings: Iterable[Finding],
    kinds: Mapping[str, Kind] | None = None,
    *,
    unsafe: bool = False,
) -> Repaired:
    """Mend what was found, in the order of the findings.

    Stretches are taken by the stamps of ``history``, so a shift of one stretch does not move the next.

    Args:
        history: as it was examined.
        findings: of this history; those of series it does not hold are left.
        kinds: what each series measures.
        unsafe: mend also what the evidence does not settle.
    """
    value = np.array(history.value_kw, dtype=np.float64)
    known_s = None if history.known_s is None else np.array(history.known_s)
    labels = dict(kinds or {})
    rows = {name: row for row, name in enumerate(history.series)}
    done: list[Finding] = []
    left: list[Finding] = []
    shifts: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.series not in rows or finding.repair is Repair.NONE or not (finding.safe or unsafe):
            left.append(finding)
            continue
        done.append(finding)
        if finding.repair is Repair.SHIFT:
            shifts.setdefault(finding.series, []).append(finding)
        elif finding.repair is Repair.RELABEL:
            labels[finding.series] = Kind.OTHER
        else:
            cells = value[rows[finding.series]]
            at = _steps(history.grid, finding)
            cells[at] = _mended(cells[at], finding)
    for name, moves in shifts.items():
        row = rows[name]
        from_step = _moved(history.grid, moves)
        value[row] = np.where(from_step >= 0, value[row][from_step], np.nan)
        if known_s is not None:
            known_s[row] = np.where(from_step >= 0, known_s[row][from_step], known_s[row])
    return Repaired(replace(history, value_kw=value, known_s=known_s), labels, tuple(done), tuple(left))


def _steps(grid: TimeGrid, finding: Finding) -> Mask:
    """(T,) steps of a finding."""
    return np.asarray((grid.starts_s >= finding.from_s) & (grid.starts_s < finding.until_s))


def _mended(cells: Floats, finding: Finding) -> Floats:
    """Values after a repair that moves nothing."""
    if finding.repair is Repair.NEGATE:
        return -cells
    if finding.repair is Repair.SCALE:
        return cells * finding.amount
    return np.full_like(cells, np.nan)


def _moved(grid: TimeGrid, moves: list[Finding]) -> Seconds:
    """(T,) the step each step's value comes from after shifts; -1 where none does.

    Where a moved stretch comes to lie on steps that stay, the moved one wins: it was found wrong, and
    what stood beside it is the hour that a clock showed twice.
    """
    step_s = int(grid.edges_s[1] - grid.edges_s[0])
    steps = np.arange(grid.n, dtype=np.int64)
    stays = np.ones(grid.n, dtype=bool)
    for move in moves:
        stays &= ~_steps(grid, move)
    found = np.where(stays, steps, -1)
    for move in moves:
        source = steps[_steps(grid, move)]
        target = source + round(move.amount / step_s)
        inside = (target >= 0) & (target < grid.n)
        found[target[inside]] = source[inside]
    return found
