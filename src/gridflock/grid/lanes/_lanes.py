"""Scenarios in, flows out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._anchor import anchor, anchor_near, frame
from gridflock.grid.lanes._answers import Answers
from gridflock.grid.lanes._asked import TOLERANCE_PU, LaneFlows, Shaped, States, Wanted
from gridflock.grid.lanes._bands import Reach, bands, reach
from gridflock.grid.lanes._circuit import Circuit, Complex, Float
from gridflock.grid.lanes._frame import Anchor
from gridflock.grid.lanes._plan import WIDEST, Reals, aligned
from gridflock.grid.lanes._run import Group, solve_into
from gridflock.grid.lanes._states import StateTable
from gridflock.units import Rows

GROUPS = 4
"""Base points made in one round, for lanes grouped by their total power."""
SMALLEST_GROUP = 16
TIMES = 10.0
"""How often scenarios are expected to be solved that base points are prepared for."""
KEPT = 32
"""Base points of earlier batches that are kept for when the same batch comes again."""
Asked = Shaped | Complex


class Lanes:
    """A network factored around one operating point; ``solve`` answers any number of scenarios around it.

    Many scenarios are cut into bands of total power with base points of their own, as many as save more
    iterations than they cost. These follow from the batch alone, so the same batch has the same
    answer whatever was asked before, unless ``prepare`` has fixed them.

    Attributes:
        anchor: the base point.
        span: how iterations grow with the distance from it; None where nothing is known of that.
    """

    def __init__(
        self,
        circuit: Circuit,
        base_kva: Complex,
        *,
        dtype: str = "float32",
        tail: Rows | None = None,
        plain: bool = False,
        like: Lanes | None = None,
    ) -> None:
        """Order, factor, pack and prove.

        Args:
            circuit: the network.
            base_kva: complex (P,) injections of the base point, house sign; the mean of what will be asked.
            dtype: "float32", 16 lanes, or "float64", 8 lanes: for ungrounded or very stiff networks.
            tail: (T,) nodes whose admittances differ between scenarios (regulators, capacitors).
            plain: use plain loops even where vectors work.
            like: lanes of the same circuit, base point and tail in another precision, whose order and base
                point serve here too.
        """
        nodes = np.zeros(0, dtype=np.int32) if tail is None else np.asarray(tail, dtype=np.int32)
        known = None if like is None else like.anchor
        shared = frame(circuit, dtype, nodes, None if known is None else known.frame, plain=plain)
        base = np.asarray(base_kva, dtype=np.complex128)
        self.anchor: Anchor = anchor(shared, base, known)
        self.span: Reach | None = reach(circuit, self.anchor.base) if like is None else like.span
        self._prepared: list[Anchor] = []
        self._kept: dict[bytes, Anchor] = {}

    @property
    def ready(self) -> bool:
        """Whether the base point was found and its packed form proved; else every scenario is flagged."""
        return self.anchor.ready

    def room(self, scenarios: int) -> Reals:
        """Memory for every node voltage of so many scenarios, to hand to ``Wanted`` again and again."""
        shared = self.anchor.frame
        return aligned(scenarios * -(-len(shared.circuit.v_base) // WIDEST) * WIDEST, shared.dtype)

    def table(self) -> StateTable:
        """An empty table of control states, for ``States.delta_y``: their factors are kept in it."""
        return StateTable(self.anchor.frame.steps)

    def prepare(
        self, demand: Asked, states: States | None = None, *, tol: float = TOLERANCE_PU, times: float = TIMES
    ) -> int:
        """Make the base points for scenarios that are to come, in place of those made earlier.

        All later calls use these and make no others but for lanes that fail.

        Args:
            demand: what will be asked, in any order and any number of calls.
            states: where its control states are known, or guessed.
            tol: that will be asked.
            times: how often each scenario will be solved.

        Returns:
            How many base points there are.
        """
        total = _total_kw(demand)
        rows = np.flatnonzero(np.isfinite(total))
        cut = bands(total[rows], _anchor_kw(self.anchor), self.span, tol, times)
        states = self._tabled(states, len(total))
        found = [self._made(demand, rows[part], states) for part in cut]
        self._prepared = sorted((made for made in found if made.ready), key=_anchor_kw)
        return max(len(self._prepared), 1)

    def solve(self, demand: Asked, wanted: Wanted | None = None, states: States | None = None) -> LaneFlows:
        """Solve every scenario; lanes that stay away are tried again around base points of their own.

        Args:
            demand: shaped, or complex (S, P) kVA in the house sign.
            wanted: tolerance, outputs and threads.
            states: control states, where the scenarios differ in them.

        Raises:
            ValueError: ``states`` change an admittance between tail nodes that nothing couples, or the room
                is too small, of another dtype or not aligned.
        """
        wanted, shared, total = wanted or Wanted(), self.anchor.frame, _total_kw(demand)
        states = self._tabled(states, len(total))
        answers = Answers(len(shared.circuit.v_base), shared.dtype, len(total), wanted)
        solve_into(answers, self._grouped(demand, total, states, wanted.tol), demand, wanted, states)
        for _ in range(wanted.rounds):
            left = np.flatnonzero(~answers.converged & np.isfinite(total))
            parts = _split(total, left)
            groups = [Group(self._made(demand, rows, states, apart=True), rows) for rows in parts]
            solve_into(answers, groups, demand, wanted, states)
        return answers.finished()

    def _tabled(self, states: States | None, count: int) -> States | None:
        """States as rows of a table; the circuit's own where base points stand at others."""
        if states is None:
            if not any(made.change.any() for made in self._prepared):
                return None
            size = len(self.anchor.frame.tail)
            states = States(np.zeros(count, dtype=np.int32), np.zeros((1, size, size), dtype=np.complex128))
        if isinstance(states.delta_y, StateTable):
            return states
        table = self.table()
        table.add(states.delta_y)
        return States(np.asarray(states.of, dtype=np.int32), table)

    def _grouped(self, demand: Asked, total: Float, states: States | None, tol: float) -> list[Group]:
        """Scenarios with their base points; neighbours in total power side by side, as they stop together."""
        known = np.flatnonzero(np.isfinite(total))
        if self._prepared:
            levels = np.array([_anchor_kw(made) for made in self._prepared])
            own = np.searchsorted((levels[1:] + levels[:-1]) / 2.0, total)
            groups = [Group(made, np.flatnonzero(own == k)) for k, made in enumerate(self._prepared)]
        else:
            cut = bands(total[known], _anchor_kw(self.anchor), self.span, tol)
            groups = [Group(self._made(demand, known[part], states), known[part]) for part in cut]
            groups = groups or [Group(self.anchor, known)]
        return [Group(made, rows[np.argsort(total[rows], kind="stable")]) for made, rows in groups]

    def _made(
        self, demand: Asked, rows: NDArray[np.int64], states: States | None, *, apart: bool = False
    ) -> Anchor:
        """Base point at the mean of some scenarios and in the middle of their control states.

        Where they are ``apart``, lanes left over, it stands at the state that most of them share: of those
        at least none is far from it.
        """
        some = demand.some(rows) if isinstance(demand, Shaped) else demand[rows]
        mean = some.mean_kva() if isinstance(some, Shaped) else some.mean(axis=0)
        change = np.zeros_like(self.anchor.change)
        if states is not None:
            assert isinstance(states.delta_y, StateTable)
            table, own = states.delta_y, states.of[rows]
            change = table.change[np.bincount(own).argmax()] if apart else table.middle(own)
        key = mean.tobytes() + change.tobytes()
        if key not in self._kept:
            if len(self._kept) >= KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = anchor_near(self.anchor, mean, change)
        return self._kept[key]


def _anchor_kw(made: Anchor) -> float:
    return float(made.base.s_kva.real.sum())


def _total_kw(demand: Asked) -> Float:
    """(S,) sum of the active injections."""
    total: Float = demand.total_kw() if isinstance(demand, Shaped) else demand.real.sum(axis=1)
    return total


def _split(total: Float, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Scenarios that share a base point: neighbours by total active power."""
    count = min(GROUPS, max(1, len(rows) // SMALLEST_GROUP))
    parts = np.array_split(rows[np.argsort(total[rows], kind="stable")], count)
    return [part for part in parts if len(part)]
