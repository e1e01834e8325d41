"""Broken limits of one operating point, row by row."""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.grid import Flow
from gridflock.grid.limits import Limits, violations


@dataclass(frozen=True, slots=True)
class BrokenLimit:
    """One broken limit.

    Attributes:
        kind: which limit.
        element: bus or branch.
        phase: letter; empty where the element as a whole is meant.
        value: in the unit of the kind (pu, A, kW, share).
        limit: the same unit.
        margin: negative: by how much it is broken.
    """

    kind: str
    element: str
    phase: str
    value: float
    limit: float
    margin: float


def broken_limits(flow: Flow, limits: Limits | None = None) -> list[BrokenLimit]:
    """Every broken limit of a converged flow, worst first within a kind."""
    found = violations(flow.network, flow, limits=limits or Limits())
    rows = zip(found.kinds(), found.element, found.letters(), strict=True)
    numbers = zip(found.value.tolist(), found.limit.tolist(), found.margin.tolist(), strict=True)
    return [
        BrokenLimit(kind.name.lower(), element, phase, *(float(f"{x:.6g}") for x in number))
        for (kind, element, phase), number in zip(rows, numbers, strict=True)
    ]
