"""Answers while they are being made, by one thread or several."""

from __future__ import annotations

from typing import Any

import numpy as np

from gridflock.grid.lanes._asked import LaneFlows, Wanted
from gridflock.grid.lanes._block import Answer
from gridflock.grid.lanes._plan import WIDEST, Reals, aligned
from gridflock.grid.lanes._simd import VECTOR_BYTES


class Answers:
    """Arrays of S scenarios over n nodes that the kernel writes into."""

    def __init__(self, n: int, dtype: np.dtype[Any], scenarios: int, wanted: Wanted) -> None:
        self.n = n
        self.stride = -(-self.n // WIDEST) * WIDEST
        self.dtype, self.band = dtype, wanted.band
        self.nodes = np.array(wanted.nodes, dtype=np.int32)
        kept = scenarios if wanted.v_pu else 0
        room = wanted.room
        if room is None:
            room = aligned(kept * self.stride, dtype)
        elif room.dtype != dtype or len(room) < kept * self.stride or room.ctypes.data % VECTOR_BYTES:
            raise ValueError("room is not from Lanes.room for so many scenarios")
        self.magnitude = room[: kept * self.stride]
        self.v_pu = self.magnitude.reshape(kept, self.stride)[:, : self.n]
        self.converged = np.zeros(scenarios, dtype=np.bool_)
        self.iterations = np.zeros(scenarios, dtype=np.int32)
        self.residual_kva = np.full(scenarios, np.nan)
        self.low_pu = np.full(scenarios, np.nan, dtype=dtype)
        self.high_pu = np.full(scenarios, np.nan, dtype=dtype)
        self.v = np.full((scenarios, len(self.nodes)), np.nan, dtype=np.complex128)
        self.extremes = self.new_extremes().reshape(4, -1)[:, : self.n]

    def new_extremes(self) -> Reals:
        """Extremes of nothing yet: lowest, highest, below, above."""
        kept = self.stride if self.band is not None else 0
        extremes = aligned(4 * kept, self.dtype)
        extremes[:kept], extremes[kept:] = np.inf, 0.0
        return extremes

    def answer(self, extremes: Reals) -> Answer:
        """Where the kernel writes."""
        return Answer(
            self.residual_kva,
            self.iterations,
            self.converged,
            self.magnitude,
            self.low_pu,
            self.high_pu,
            extremes,
            self.nodes,
            self.v,
            self.band or (0.0, np.inf),
        )

    def merge(self, extremes: Reals) -> None:
        """Take in what one part counted."""
        found = extremes.reshape(4, -1)[:, : self.n]
        low, high, below, above = self.extremes
        np.minimum(low, found[0], out=low)
        np.maximum(high, found[1], out=high)
        below += found[2]
        above += found[3]

    def finished(self) -> LaneFlows:
        """The answers, with no voltage where there is none."""
        lost = ~self.converged
        for values in (self.low_pu, self.high_pu, self.v):
            values[lost] = np.nan
        if len(self.v_pu):
            self.v_pu[lost] = np.nan
        low, high, below, above = self.extremes
        return LaneFlows(
            self.converged,
            self.iterations,
            self.residual_kva,
            self.low_pu,
            self.high_pu,
            self.v_pu,
            self.v,
            low,
            high,
            below.astype(np.int64),
            above.astype(np.int64),
        )
