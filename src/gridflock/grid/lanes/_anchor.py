"""Base points: found, factored, packed, and proved before they answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridflock.grid.lanes import _plain
from gridflock.grid.lanes._answers import Answers
from gridflock.grid.lanes._asked import Wanted
from gridflock.grid.lanes._circuit import Circuit, Complex
from gridflock.grid.lanes._fit import classes
from gridflock.grid.lanes._frame import Anchor, Frame
from gridflock.grid.lanes._plan import layout, pack
from gridflock.grid.lanes._point import Point, pattern, point
from gridflock.grid.lanes._proof import packed_error
from gridflock.grid.lanes._run import Group, solve_into
from gridflock.grid.lanes._simd import width, works
from gridflock.grid.lanes._tail import elimination
from gridflock.units import Rows

FIT_ACCURACY = {"float32": 1e-6, "float64": 1e-12}
PROOF_SWINGS = (0.3, 0.1, 0.03)
"""The proof lane's injections differ from the base point's by this share, up and down in turn; by less where
so many ports cross their limits that no lane gets there."""
RIGHT_SIDES = 4
"""Random right sides that the first base point's packed factors are checked on."""
FEWER = 2
"""The same for the others, packed by the same code."""


def frame(circuit: Circuit, dtype: str, tail: Rows, like: Frame | None, *, plain: bool) -> Frame:
    """Order the eliminations, fit the load laws and lay the numbers out, once per network.

    ``like`` is a frame of the same network and tail in another precision: the order is the same.
    """
    laws = classes(circuit.law, FIT_ACCURACY[dtype])
    shape = pattern(circuit, tail) if like is None else like.pattern
    plain, kind = plain or not works(), np.dtype(dtype)
    placed = layout(circuit, shape.order, laws, kind, _plain.LANES if plain else width(kind))
    return Frame(circuit, kind, tail, plain, shape, laws, elimination(shape.order, tail), placed)


def anchor(shared: Frame, base_kva: Complex, like: Anchor | None = None) -> Anchor:
    """Find a base point from nothing, unless one ``like`` it is there already; factor, pack and prove it."""
    still = np.zeros(len(shared.steps.place), dtype=np.complex128)
    with np.errstate(all="ignore"):
        found = point(shared.circuit, shared.pattern, base_kva) if like is None else like.base
        made = _packed(shared, still, found, RIGHT_SIDES)
        made = made if like is None else replace(made, truths=like.truths)
        return replace(made, proof_pu=_prove(made) if made.base.solved else np.inf)


def anchor_near(near: Anchor, base_kva: Complex, change: Complex) -> Anchor:
    """Another base point, found from one that there is: its factors are checked, the network is proved.

    Args:
        near: where the search begins.
        base_kva: complex (P,) injections.
        change: complex (E,) its control state against the circuit's, S.
    """
    shared = near.frame
    if (change != near.change).any():
        shared = shared.changed(change - near.change)
    with np.errstate(all="ignore"):
        base = point(shared.circuit, shared.pattern, base_kva, near=near.base if near.base.solved else None)
        if not base.solved:
            base = point(shared.circuit, shared.pattern, base_kva)
        return replace(_packed(shared, change, base, FEWER), proof_pu=near.proof_pu)


def _packed(shared: Frame, change: Complex, base: Point, right_sides: int) -> Anchor:
    packed = pack(shared.circuit, base, shared.layout, shared.dtype)
    error = packed_error(packed.plan, base, shared.width, right_sides) if base.solved else np.inf
    return Anchor(shared, change, base, packed, error, np.inf, {})


def _prove(made: Anchor) -> float:
    return next((error for swing in PROOF_SWINGS if np.isfinite(error := _error_at(made, swing))), np.inf)


def _error_at(made: Anchor, swing: float) -> float:
    """Largest error of one lane so far from the base point, pu; infinite where nobody arrives."""
    shared, base = made.frame, made.base.s_kva
    scale = np.abs(base) + 0.1 * (np.abs(base).mean() if base.any() else 0.1)
    asked = base + swing * scale * np.where(np.arange(len(base)) % 2, 1.0, -0.5)
    if swing not in made.truths:
        truth = point(shared.circuit, shared.pattern, asked, near=made.base)
        made.truths[swing] = np.abs(truth.v) if truth.solved else np.full(len(truth.v), np.nan)
    wanted = Wanted(v_pu=True)
    answers = Answers(len(shared.circuit.v_base), shared.dtype, 1, wanted)
    group = Group(replace(made, proof_pu=0.0), np.zeros(1, dtype=np.int64))
    solve_into(answers, [group], asked[None], wanted)
    error = float(np.abs(made.truths[swing] / shared.circuit.v_base - answers.v_pu[0]).max(initial=0.0))
    return error if answers.converged[0] and np.isfinite(error) else np.inf
