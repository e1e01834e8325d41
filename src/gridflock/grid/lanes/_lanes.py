"""Scenarios in, flows out: one factored base point and the lanes solved around it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Circuit, Complex
from gridflock.grid.lanes._fit import classes
from gridflock.grid.lanes._kernel import Answer, Demand, Work, run
from gridflock.grid.lanes._plan import Packed, aligned, pack
from gridflock.grid.lanes._point import Pattern, Point, pattern, point
from gridflock.grid.lanes._simd import width
from gridflock.units import Mask, Pu, Rows

TOLERANCE_PU = 1e-5
MOST_ITERATIONS = 20
FIT_ACCURACY = {"float32": 1e-6, "float64": 1e-12}


@dataclass(frozen=True, slots=True, eq=False)
class LaneFlows:
    residual_kva: NDArray[np.float64]
    converged: Mask
    iterations: Rows
    low_pu: Pu
    high_pu: Pu
    v_pu: Any
    v: Any
    node_low_pu: Any
    node_high_pu: Any
    below: Any
    above: Any


class Lanes:
    def __init__(self, circuit: Circuit, base_kva: Complex, *, dtype: str = "float32", tail: Rows = np.zeros(0, np.int32)) -> None:
        self.circuit = circuit
        self.dtype = np.dtype(dtype)
        self.pattern = pattern(circuit, tail)
        self.base = point(circuit, self.pattern, base_kva)
        self.classes = classes(circuit.law, FIT_ACCURACY[dtype])
        self.packed = pack(circuit, self.base, self.classes, self.dtype)

    def solve(self, s0=None, shape_at=None, shapes=None, dense=None, *, tol=TOLERANCE_PU, most=MOST_ITERATIONS, v_pu=False, nodes=(), band=None, spread=map, parts=1):
        plan, port_row = self.packed
        T, W = self.dtype, width(self.dtype)
        scale = 1000.0 / self.circuit.port_v[port_row]**2
        P = len(port_row)
        power = np.empty((P, 2)); at = np.empty((P, 2), np.int32)
        if dense is None:
            power[:, 0] = s0.real[port_row]*scale; power[:, 1] = s0.imag[port_row]*scale
            at[:] = shape_at[port_row].reshape(P, -1)*W
            S = shapes.shape[1]; K = len(shapes)
            dens = np.zeros((0, 0))
        else:
            power[:] = scale[:, None]; at[:] = np.arange(2*P).reshape(P, 2)*W
            dens = np.ascontiguousarray(dense).view(np.float64); S = len(dens); K = 2*P; shapes = np.zeros((0, 0))
        demand = Demand(power.ravel().astype(T), at.ravel(), np.ascontiguousarray(shapes, dtype=T), dens, port_row)
        n = plan.sizes[0]; n16 = len(plan.node_at)
        mag = aligned(S*n16 if v_pu else 0, T)
        nodes = np.asarray(nodes, np.int32)
        chosen = np.empty((S, len(nodes)), complex)
        res = np.empty(S); it = np.empty(S, np.int32); ok = np.zeros(S, bool); lo = np.empty(S, T); hi = np.empty(S, T)
        blocks = -(-S//W)
        cuts = np.linspace(0, blocks, parts+1).astype(int)

        def part(k):
            work = Work(aligned((n+1)*2*W, T), aligned(P*4*W, T), aligned(K*W, T), aligned(W*W, T), aligned(3*W, T), np.zeros(2*W))
            work.state[n*2*W:] = 0
            ext = aligned(4*n16 if band else 0, T)
            if band:
                ext[:n16] = np.inf; ext[n16:] = 0
            a = Answer(res, it, ok, mag, lo, hi, ext, nodes, chosen, band or (0., 0.))
            run(plan, demand, work, a, (int(cuts[k]), int(cuts[k+1])), (float(tol), int(most)))
            return ext
        exts = list(spread(part, range(parts)))
        e = [None]*4
        if band:
            x = np.stack(exts).reshape(parts, 4, n16)[:, :, :n]
            e = [x[:, 0].min(0), x[:, 1].max(0), x[:, 2].sum(0), x[:, 3].sum(0)]
        return LaneFlows(res, ok, it, lo, hi, mag.reshape(S, n16)[:, :n] if v_pu else None, chosen + self.base.v[nodes], *e)
