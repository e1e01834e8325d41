"""Sums over members, path by path, of what they can do from one moment on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.fleet.flexible import FlexibilitySet, Outlook, flexibility_set
from gridflock.forecast.flexibility._arriving import arriving
from gridflock.forecast.flexibility._futures import Futures, Part
from gridflock.forecast.flexibility._levels import Changes, changes
from gridflock.forecast.flexibility._states import charging, image_at, repeated
from gridflock.schema import Family
from gridflock.units import HOUR_S, Rows, TimeGrid

if TYPE_CHECKING:
    from gridflock.forecast.flexibility._ahead import Asked

Floats = NDArray[np.float64]

SAME = (Family.STORAGE, Family.VEHICLE)
"""Who does the same unasked in every path."""
_STORED = (Family.STORAGE, Family.VEHICLE, Family.THERMAL)
"""Who has to make good what was given."""
_TAIL_H = 12
"""How far beyond the longest run departures are looked at."""


@dataclass(slots=True, eq=False)
class Sums:
    """What G groups can do one way from a moment on, in K paths.

    Attributes:
        change_kw: (G, K, N, R, H) by notice, run and step, >= 0.
        owed_kwh: (G, K, R) energy to be made good at the meter.
        back_kw: (G, K, R) power at which that can be done after the run.
        running: (R, H) which steps belong to a run.
    """

    change_kw: Floats
    owed_kwh: Floats
    back_kw: Floats
    running: NDArray[np.bool_]

    @classmethod
    def none(cls, groups: int, paths: int, asked: Asked) -> Sums:
        """Nobody yet."""
        runs = run_steps(asked)
        shape = (groups, paths, len(asked.notices_s), len(runs), int(runs[-1]))
        owed = np.zeros((groups, paths, len(runs)))
        return cls(np.zeros(shape), owed, owed.copy(), np.arange(runs[-1]) < runs[:, None])

    def add(self, k: slice | int, change: Floats, owed: Floats, back: Floats) -> None:
        """Add sums of some members in some paths: (G, ..., N, R, H), (G, ..., R), (G, ..., R)."""
        self.change_kw[:, k] += change
        self.owed_kwh[:, k] += owed
        self.back_kw[:, k] += back


def moves(future: Futures, inside: NDArray[np.bool_], asked: Asked, start_s: int) -> tuple[Sums, Sums]:
    """What groups (G, n) can do from a moment on: up, and down."""
    leaves = future.leaves_s.max(axis=0)
    image = image_at(future.image, start_s, leaves)
    found = tuple(Sums.none(len(inside), future.count, asked) for _ in range(2))
    _stores(future, image, leaves, inside, asked, found)
    alike: dict[int, list[Part]] = {}
    for part in future.parts:
        if len(part.rows) and inside[:, part.rows].any():
            alike.setdefault(int(future.image.family[part.rows[0]]), []).append(part)
    for family, parts in alike.items():
        if family == Family.VEHICLE:
            for part in parts:
                _coming(future, part, inside, asked, start_s, found)
        elif family not in (*SAME, Family.NONE):
            _by_path(future, image, parts, inside, asked, found)
    return found[0], found[1]


def _stores(
    future: Futures,
    image: Image,
    leaves_s: Floats,
    inside: NDArray[np.bool_],
    asked: Asked,
    found: tuple[Sums, ...],
) -> None:
    """Stores and vehicles that are there: one model each for all paths, thinned by who answers and stays."""
    runs, inner = run_steps(asked), inner_grid(asked, image.now_s, tail=True)
    rows = np.flatnonzero(np.isin(image.family, SAME) & inside.any(axis=0)).astype(np.int32)
    end_s = image.now_s + np.array(asked.runs_s)
    for sums, up in zip(found, (True, False), strict=True):
        # Two-way stores whose later steps go one way go that way in the run.
        worth = np.where(np.arange(inner.n) < runs[-1], 1.0, 0.0) * (1.0 if up else -1.0)
        able = flexibility_set(image, rows, inner, Outlook(worth=worth))
        own = able.members.chains.rows
        can = changes(able, charging(image, own, inner.hours), runs, up=up)
        stay = future.leaves_s[:, own, None] >= np.minimum(end_s, leaves_s[own, None])
        weight = (future.answered[:, own, None] & stay).astype(np.float64)
        change = noticed(can.change_kw[..., : runs[-1]], image, own, asked)
        owed, back = _owed(can, image, own, runs)
        for g, member in enumerate(inside[:, own]):
            some = weight[:, member]
            total = np.einsum("kmr,mnrh->knrh", some, change[member], optimize=True)
            sums.change_kw[g] += total
            sums.owed_kwh[g] += np.einsum("kmr,mr->kr", some, owed[member])
            sums.back_kw[g] += np.einsum("kmr,mr->kr", some, back[member])


def _by_path(
    future: Futures,
    image: Image,
    parts: Sequence[Part],
    inside: NDArray[np.bool_],
    asked: Asked,
    found: tuple[Sums, ...],
) -> None:
    """Members of a family whose base differs from path to path: sun, processes, comfort loads, generators."""
    runs, inner = run_steps(asked), inner_grid(asked, image.now_s, tail=False)
    steps = future.steps_at(inner.starts_s)
    wanted = [inside[:, part.rows].any(axis=0) for part in parts]
    rows = np.concatenate([part.rows[some] for part, some in zip(parts, wanted, strict=True)])
    m, k = len(rows), future.count
    many = repeated(image, rows, k)
    each = [
        part.base_kw[:, None, steps] * future.share(part)[some, None]
        for part, some in zip(parts, wanted, strict=True)
    ]
    unasked = np.concatenate(each, axis=1).reshape(k * m, inner.n)
    able = flexibility_set(many, np.arange(k * m, dtype=np.int32), inner, Outlook(unasked_kw=unasked))
    chains, blocks = able.members.chains, able.members.blocks
    member = inside[:, rows].astype(np.float64)
    answered = future.answered[:, rows].astype(np.float64)
    for sums, up in zip(found, (True, False), strict=True):
        can = changes(able, unasked[chains.rows], runs, up=up)
        owed, back = _owed(can, many, chains.rows, runs)
        change = noticed(can.change_kw, many, chains.rows, asked)
        whole = _placed(chains.rows, k, m, change, owed, back)
        if up and blocks.n:
            whole[0][:] += _placed(blocks.rows, k, m, switched_off(able, many, asked))[0]
        sums.add(
            slice(None),
            *(np.einsum("gm,km,km...->gk...", member, answered, one, optimize=True) for one in whole),
        )


def _coming(
    future: Futures,
    part: Part,
    inside: NDArray[np.bool_],
    asked: Asked,
    start_s: int,
    found: tuple[Sums, ...],
) -> None:
    """Vehicles that come later can put their charging off; of each path as many answer as of those known."""
    runs, inner = run_steps(asked), inner_grid(asked, start_s, tail=False)
    edges = np.append(inner.edges_s, inner.edges_s[-1] + asked.step_s)
    drawn, idle = arriving(part.base_kw, future.grid, edges)
    answer = future.answered[:, part.rows].mean(axis=1)
    share = inside[:, part.rows].mean(axis=1)
    weight = share[:, None] * answer
    running = np.arange(inner.n) < runs[:, None]
    change = drawn[:, None, None, : inner.n] * running
    change = np.repeat(change, len(asked.notices_s), axis=1)
    owed = change[:, -1].sum(axis=-1) * asked.step_s / HOUR_S
    back = idle[:, runs]
    found[0].add(
        slice(None),
        weight[..., None, None, None] * change,
        weight[..., None] * owed,
        weight[..., None] * back,
    )


def switched_off(able: FlexibilitySet, image: Image, asked: Asked) -> Floats:
    """(b, N, R, H) what on/off loads give that are due to run: all of it once they may switch."""
    blocks = able.members.blocks
    runs = run_steps(asked)
    free = image.locked_s[blocks.rows, None] <= asked.step_s * np.arange(runs[-1])
    running = (np.arange(runs[-1]) < runs[:, None]).astype(np.float64)
    given = np.asarray((blocks.rated_kw[:, None] * free)[:, None] * running, dtype=np.float64)
    # A load that is locked at the start of a run cannot serve it.
    return noticed(given, image, blocks.rows, asked)


def _placed(rows: Rows, paths: int, members: int, *columns: Floats) -> tuple[Floats, ...]:
    """Columns of some of K·m rows as (K, m, ...), 0 for the others."""
    found = []
    for column in columns:
        whole = np.zeros((paths * members, *column.shape[1:]))
        whole[rows] = column
        found.append(whole.reshape(paths, members, *column.shape[1:]))
    return tuple(found)


def noticed(change_kw: Floats, image: Image, rows: Rows, asked: Asked) -> Floats:
    """(m, N, R, H) what comes of changes (m, R, H) when they are called so long before."""
    reach = image.columns["reach_s"][rows].astype(np.float64)
    ramp = image.columns["ramp_kw_s"][rows].astype(np.float64)
    left = np.array(asked.notices_s)[None] - reach[:, None]
    most = np.maximum(left, 0.0) * ramp[:, None]
    return np.asarray(np.minimum(change_kw[:, None], most[:, :, None, None]))


def _owed(can: Changes, image: Image, rows: Rows, runs: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """(m, R) energy at the meter that each has to make good, and the power for it after the run."""
    stored = np.isin(image.family[rows], _STORED)
    thermal = image.family[rows] == Family.THERMAL
    gain = np.where(thermal, 1.0, np.maximum(image.columns["eff_charge"][rows].astype(np.float64), 1e-6))
    owed = np.where(stored[:, None], can.moved_kwh / gain[:, None], 0.0)
    after = np.minimum(runs, can.back_kw.shape[1] - 1)
    return owed, np.where(owed > 0, can.back_kw[:, after], 0.0)


def run_steps(asked: Asked) -> NDArray[np.int64]:
    """(R,) steps of each run."""
    return np.array(asked.runs_s, dtype=np.int64) // asked.step_s


def inner_grid(asked: Asked, start_s: int, *, tail: bool) -> TimeGrid:
    """The longest run in its steps, and hours after it."""
    steps = start_s + asked.step_s * np.arange(run_steps(asked)[-1] + 1, dtype=np.int64)
    hours = steps[-1] + HOUR_S * np.arange(1, _TAIL_H + 1, dtype=np.int64)
    return TimeGrid(np.concatenate([steps, hours]) if tail else steps)
