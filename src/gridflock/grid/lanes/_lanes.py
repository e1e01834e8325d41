"""Scenarios in, flows out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._anchor import Anchor, anchor, frame, solve_into
from gridflock.grid.lanes._answers import Answers
from gridflock.grid.lanes._asked import LaneFlows, Shaped, States, Wanted
from gridflock.grid.lanes._circuit import Circuit, Complex
from gridflock.grid.lanes._plan import WIDEST, Reals, aligned
from gridflock.grid.lanes._states import StateTable
from gridflock.units import Rows

GROUPS = 4
"""Base points made in one round, for lanes grouped by their total power."""
SMALLEST_GROUP = 16


class Lanes:
    """A network factored around one operating point; ``solve`` answers any number of scenarios around it.

    Attributes:
        anchor: the base point.
    """

    def __init__(
        self,
        circuit: Circuit,
        base_kva: Complex,
        *,
        dtype: str = "float32",
        tail: Rows | None = None,
        plain: bool = False,
    ) -> None:
        """Order, factor, pack and prove.

        Args:
            circuit: the network.
            base_kva: complex (P,) injections of the base point, house sign; the mean of what will be asked.
            dtype: "float32", 16 lanes, or "float64", 8 lanes: for ungrounded or very stiff networks.
            tail: (T,) nodes whose admittances differ between scenarios (regulators, capacitors).
            plain: use plain loops even where vectors work.
        """
        nodes = np.zeros(0, dtype=np.int32) if tail is None else np.asarray(tail, dtype=np.int32)
        shared = frame(circuit, dtype, nodes, plain=plain)
        self.anchor: Anchor = anchor(shared, np.asarray(base_kva, dtype=np.complex128))

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

    def solve(
        self, demand: Shaped | Complex, wanted: Wanted | None = None, states: States | None = None
    ) -> LaneFlows:
        """Solve every scenario; lanes that stay away are tried again around base points of their own.

        Args:
            demand: shaped, or complex (S, P) kVA in the house sign.
            wanted: tolerance, outputs and threads.
            states: control states, where the scenarios differ in them.

        Raises:
            ValueError: ``states`` change an admittance between tail nodes that nothing couples, or the room
                is too small, of another dtype or not aligned.
        """
        wanted, shared = wanted or Wanted(), self.anchor.frame
        if states is not None:
            states = States(states.of, shared.table(states))
        count = demand.shapes.shape[1] if isinstance(demand, Shaped) else len(demand)
        answers = Answers(len(shared.circuit.v_base), shared.dtype, count, wanted)
        solve_into(self.anchor, answers, np.arange(count), demand, wanted, states)
        for _ in range(wanted.rounds):
            for rows in _groups(demand, np.flatnonzero(~answers.converged)):
                self._solve_apart(answers, rows, demand, wanted, states)
        return answers.finished()

    def _solve_apart(
        self,
        answers: Answers,
        rows: NDArray[np.int64],
        demand: Shaped | Complex,
        wanted: Wanted,
        states: States | None,
    ) -> None:
        """Solve some scenarios around their mean, at the control state most of them share."""
        some, shared = _some(demand, rows), self.anchor.frame
        if states is not None:
            table, most = shared.table(states), int(np.bincount(states.of[rows]).argmax())
            states = States(states.of[rows], table.against(most))
            shared = shared.changed(table.change[most])
        mean = some.mean_kva() if isinstance(some, Shaped) else some.mean(axis=0)
        solve_into(anchor(shared, mean, self.anchor), answers, rows, some, wanted, states)


def _groups(demand: Shaped | Complex, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Scenarios that share a base point: neighbours by total active power."""
    some = _some(demand, rows)
    total = some.total_kw() if isinstance(some, Shaped) else some.real.sum(axis=1)
    rows, total = rows[np.isfinite(total)], total[np.isfinite(total)]
    count = min(GROUPS, max(1, len(rows) // SMALLEST_GROUP))
    parts = np.array_split(np.argsort(total, kind="stable"), count)
    return [np.sort(rows[part]) for part in parts if len(part)]


def _some(demand: Shaped | Complex, rows: NDArray[np.int64]) -> Shaped | Complex:
    return demand.some(rows) if isinstance(demand, Shaped) else demand[rows]
