"""What a network file holds, column by column: type, shape, range. The file is read by this table.

A dimension is named after what it counts and bound by the first column or list of names that has it;
``x+1`` is one more than ``x``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FINITE, ABSENT, POSITIVE, NOT_NEGATIVE = "finite", "finite or absent", "above 0", "not below 0"
MOST = 50_000_000
"""Rows of any dimension; more is not believed."""


@dataclass(frozen=True, slots=True)
class Column:
    """One array.

    Attributes:
        name: attribute of ``Network``, of its parts after a dot.
        dtype: little-endian NumPy type.
        shape: dimensions by name, or fixed.
        rule: of floating and complex values: ``FINITE``, ``ABSENT`` (NaN allowed), ``POSITIVE``,
            ``NOT_NEGATIVE``; of whole numbers: the dimension they are rows of, or the largest value.
        low: smallest whole number: -1 where a row may be absent.
        bounds: first rows of groups: rises from 0 to the length of ``rule``.
    """

    name: str
    dtype: str
    shape: tuple[str | int, ...]
    rule: str | int = FINITE
    low: int = 0
    bounds: bool = False


TEXTS = {
    "buses": "buses",
    "sources": "sources",
    "loads": "ports",
    "branches": "branches",
    "branch_kind": "branches",
    "shunts": "shunts",
    "shunt_kind": "shunts",
    "regulators.ids": "regulators",
    "capacitors.ids": "capacitors",
    "sections": "sections",
    "section_titles": "sections",
    "notes": "notes",
    "changes": "changes",
}
"""Lists of texts and the dimension each counts."""
UNIQUE = ("buses", "sources", "loads", "branches", "shunts", "regulators.ids", "capacitors.ids", "sections")
CHOICES = {
    "branch_kind": frozenset({"line", "switch", "transformer", "regulator", "reactor"}),
    "shunt_kind": frozenset({"capacitor", "reactor", "stray"}),
}


def _floats(names: str, shape: str, rule: str = FINITE, within: str = "") -> list[Column]:
    return [Column(within + name, "<f8", (shape,), rule) for name in names.split()]


def _flags(names: str, shape: str, within: str = "") -> list[Column]:
    return [Column(within + name, "|b1", (shape,), 1) for name in names.split()]


def _blocks(name: str, elements: str) -> list[Column]:
    conductors, values = f"{elements} conductors", f"{elements} values"
    return [
        Column(f"{name}.start", "<i4", (f"{elements}+1",), conductors, bounds=True),
        Column(f"{name}.node", "<i4", (conductors,), "nodes", -1),
        Column(f"{name}.end", "|u1", (conductors,), 255),
        Column(f"{name}.y_start", "<i8", (f"{elements}+1",), values, bounds=True),
        Column(f"{name}.y", "<c16", (values,)),
    ]


COLUMNS: tuple[Column, ...] = (
    Column("bus_xy", "<f8", ("buses", 2), ABSENT),
    Column("node_bus", "<i4", ("nodes",), "buses"),
    Column("node_conductor", "|u1", ("nodes",), 255, 1),
    Column("v_base", "<f8", ("nodes",), POSITIVE),
    Column("source_of", "<i4", ("source conductors",), "sources"),
    Column("source_nodes", "<i4", ("source conductors",), "nodes"),
    Column("source_v", "<c16", ("source conductors",)),
    Column("source_y_own", "<c16", ("source conductors", "source conductors")),
    *_flags("source_out", "sources"),
    Column("load_kind", "|u1", ("ports",), 3),
    Column("load_bus", "<i4", ("ports",), "buses"),
    Column("load_nodes", "<i4", ("ports", 2), "nodes", -1),
    Column("load_kva", "<c16", ("ports",)),
    Column("load_zip", "<f8", ("ports", 2, 3)),
    Column("load_exponent", "<f8", ("ports", 2), ABSENT),
    *_floats("load_v", "ports", POSITIVE),
    Column("load_range", "<f8", ("ports", 3), NOT_NEGATIVE),
    Column("load_edge", "<f8", ("ports", 2)),
    *_flags("load_scaled", "ports"),
    Column("branch_from", "<i4", ("branches",), "buses"),
    Column("branch_to", "<i4", ("branches",), "buses"),
    *_flags("branch_closed branch_out", "branches"),
    *_blocks("branch_blocks", "branches"),
    *_floats("rating_a", "branches", ABSENT),
    *_blocks("shunt_blocks", "shunts"),
    *_flags("shunt_out", "shunts"),
    Column("regulators.branch", "<i4", ("regulators",), "branches"),
    Column("regulators.end", "|u1", ("regulators",), 255),
    Column("regulators.node", "<i4", ("regulators",), "nodes"),
    Column("regulators.node_to", "<i4", ("regulators",), "nodes", -1),
    Column("regulators.conductor", "<i4", ("regulators",), "branches conductors", -1),
    *_floats("v_set_v band_v r_v x_v step_pu", "regulators", within="regulators."),
    *_floats("pt_ratio ct_a base_v", "regulators", POSITIVE, "regulators."),
    *_floats("delay_s", "regulators", NOT_NEGATIVE, "regulators."),
    *(
        Column(f"regulators.{name}", "|i1", ("regulators",), 127, low)
        for name, low in (("tap", -128), ("tap_low", -128), ("tap_high", -128), ("most_taps", 0))
    ),
    Column("regulators.direction", "|i1", ("regulators",), 1, -1),
    *_flags("locked", "regulators", "regulators."),
    Column("capacitors.shunt", "<i4", ("capacitors",), "shunts"),
    *_flags("on", "capacitors", "capacitors."),
    Column("capacitors.mode", "|u1", ("capacitors",), 4),
    Column("capacitors.seen_start", "<i4", ("capacitors+1",), "seen nodes", bounds=True),
    Column("capacitors.seen_node", "<i4", ("seen nodes",), "nodes"),
    Column("capacitors.flow_start", "<i4", ("capacitors+1",), "seen conductors", bounds=True),
    Column("capacitors.flow_conductor", "<i4", ("seen conductors",), "branches conductors"),
    *_floats("on_at off_at v_low_v v_high_v", "capacitors", ABSENT, "capacitors."),
    *_floats("pt_ratio ct_ratio", "capacitors", POSITIVE, "capacitors."),
    *_floats("delay_s delay_off_s", "capacitors", NOT_NEGATIVE, "capacitors."),
    Column("section_head", "<i4", ("sections",), "buses"),
)


class Sizes:
    """Lengths of the dimensions, bound by whoever comes first."""

    def __init__(self) -> None:
        self._of: dict[str, int] = {}

    def fits(self, dimension: str | int, length: int) -> bool:
        """Whether a length agrees with what is known of its dimension; binds it where nothing is."""
        if isinstance(dimension, int):
            return length == dimension
        name, more, _ = dimension.partition("+")
        extra = 1 if more else 0
        return 0 <= length - extra <= MOST and self._of.setdefault(name, length - extra) == length - extra

    def __getitem__(self, dimension: str) -> int:
        return self._of[dimension]


def range_fault(column: Column, values: NDArray[np.generic], sizes: Sizes) -> str:
    """In words, what is wrong with the values of a column whose type and shape are right; else empty."""
    if values.size == 0:
        return ""
    if values.dtype.kind in "fc":
        return _number_fault(column, values)
    low = int(values.min())
    high = int(values.max())
    if column.bounds:
        steps = np.diff(values.astype(np.int64))
        good = values[0] == 0 and values[-1] == sizes[str(column.rule)] and not (steps < 0).any()
        return "" if good else f"does not rise from 0 to {sizes[str(column.rule)]}"
    most = column.rule if isinstance(column.rule, int) else sizes[column.rule] - 1
    if low < column.low or high > most:
        return f"{low if low < column.low else high} is not in {column.low}..{most}"
    return ""


def _number_fault(column: Column, values: NDArray[np.generic]) -> str:
    numbers = np.asarray(values)
    wrong = ~np.isfinite(numbers)
    if column.rule == ABSENT:
        wrong &= ~np.isnan(numbers)
    elif column.rule == POSITIVE:
        wrong |= numbers <= 0
    elif column.rule == NOT_NEGATIVE:
        wrong |= numbers < 0
    if not wrong.any():
        return ""
    place = int(np.flatnonzero(wrong.ravel())[0])
    return f"{numbers.ravel()[place]} at place {place} is not {column.rule}"
