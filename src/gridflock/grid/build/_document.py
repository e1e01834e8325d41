"""Reading a feeder document: every fault is collected, none is raised half-way."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from gridflock.model import Rejected
from gridflock.units import PHASES

FORMAT = "gridflock feeder 1"
SMALLEST, LARGEST = 1e-30, 1e15
"""Sizes beyond which no number of a feeder can be, in any unit used."""


class FeederRejected(ValueError):  # noqa: N818 it carries `Rejected` values and is named after them
    """A feeder document that cannot become a network.

    Attributes:
        rejected: all faults found, each with element kind, field, element id and the broken rule.
    """

    def __init__(self, rejected: Sequence[Rejected]) -> None:
        self.rejected = tuple(rejected)
        lines = [f"{r.component} {', '.join(r.ids)}: {r.field}: {r.reason}" for r in self.rejected]
        super().__init__("\n".join([f"feeder refused, {len(lines)} faults", *lines]))


class Faults:
    """The list of faults that a reading fills."""

    def __init__(self) -> None:
        self.found: list[Rejected] = []

    def add(self, component: str, element: str, field: str, reason: str, row: int = 0) -> None:
        """Note one fault."""
        self.found.append(Rejected(component, field, (element,), reason, row))

    def stop_if_any(self) -> None:
        """End the reading if something was found.

        Raises:
            FeederRejected: with everything found so far.
        """
        if self.found:
            raise FeederRejected(self.found)


class Element:
    """One element of the document; a getter notes the fault and answers with a harmless value."""

    def __init__(self, faults: Faults, component: str, row: int, fields: Mapping[str, Any]) -> None:
        self._faults = faults
        self.component = component
        self.row = row
        self.fields = fields
        self.id = str(fields.get("id", f"#{row}"))

    def fault(self, field: str, reason: str) -> None:
        """Note a fault of this element."""
        self._faults.add(self.component, self.id, field, reason, self.row)

    def has(self, field: str) -> bool:
        """Whether an optional field is given."""
        return self.fields.get(field) is not None

    def text(self, field: str) -> str:
        """A text that is not empty."""
        value = self.fields.get(field)
        if isinstance(value, str) and value:
            return value
        self.fault(field, "missing" if value is None else f"expected a text, got {value!r}")
        return ""

    def choice(self, field: str, allowed: Sequence[str]) -> str:
        """One of some texts; the first where the field is at fault."""
        value = self.text(field)
        if value in allowed:
            return value
        if value:
            self.fault(field, f"{value!r} is none of {', '.join(allowed)}")
        return allowed[0]

    def flag(self, field: str) -> bool:
        """A truth value."""
        value = self.fields.get(field)
        if not isinstance(value, bool):
            self.fault(field, "missing" if value is None else f"expected true or false, got {value!r}")
        return value is True

    def number(self, field: str, low: float = -math.inf, *, above: float = -math.inf) -> float:
        """A finite number with ``low <= x`` and ``above < x``; 1 where the field is at fault."""
        value = self.fields.get(field)
        if value is None:
            self.fault(field, "missing")
        elif not _finite(value):
            self.fault(field, f"expected a finite number, got {str(value)[:40]!r}")
        elif value < low:
            self.fault(field, f"{value} is below {low}")
        elif value <= above:
            self.fault(field, f"{value} is not above {above}")
        else:
            return float(value)
        return 1.0

    def whole(self, field: str, low: int, high: int) -> int:
        """A whole number in ``[low, high]``; ``low`` where the field is at fault."""
        value = self.fields.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
            return value
        self.fault(field, "missing" if value is None else f"{value!r} is not a whole number in {low}..{high}")
        return low

    def bus(self, field: str, known: Mapping[str, int]) -> int:
        """Row of a bus; -1 where the field is at fault."""
        name = self.text(field)
        if name and name not in known:
            self.fault(field, f"unknown bus {name!r}")
        return known.get(name, -1)

    def phases(self, field: str) -> tuple[int, ...]:
        """Phase numbers 0, 1, 2 in the written order; empty where the field is at fault."""
        value = self.text(field)
        letters = tuple(PHASES.find(letter) for letter in value)
        if not value:
            return ()
        if -1 in letters or len(set(letters)) != len(letters):
            self.fault(field, f"bad phases {value!r}: expected some of a, b, c, each once")
            return ()
        return letters

    def numbers(self, field: str, count: int) -> list[float]:
        """``count`` finite numbers; ones where the field is at fault."""
        value = self.fields.get(field)
        if not isinstance(value, list | tuple) or len(value) != count or not all(map(_finite, value)):
            self.fault(field, "missing" if value is None else f"expected {count} finite numbers")
            return [1.0] * count
        return [float(v) for v in value]

    def matrix(self, field: str, size: int) -> list[list[float]]:
        """A symmetric matrix of finite numbers; the unit matrix where the field is at fault."""
        value = self.fields.get(field)
        unit = [[float(i == j) for j in range(size)] for i in range(size)]
        if not isinstance(value, list | tuple) or [_length(row) for row in value] != [size] * size:
            self.fault(field, "missing" if value is None else f"expected a {size} x {size} matrix")
            return unit
        if not all(_finite(v) for row in value for v in row):
            self.fault(field, "expected finite numbers")
            return unit
        if any(value[i][j] != value[j][i] for i in range(size) for j in range(i)):
            self.fault(field, "not symmetric")
            return unit
        return [[float(v) for v in row] for row in value]


def elements(faults: Faults, document: Mapping[str, Any], field: str, component: str) -> list[Element]:
    """The elements of one list of the document, with duplicate and missing ids noted."""
    value = document.get(field)
    if not isinstance(value, list | tuple):
        faults.add("feeder", component, field, "missing" if value is None else "expected a list")
        return []
    found: list[Element] = []
    seen: set[str] = set()
    for row, fields in enumerate(value, start=1):
        if not isinstance(fields, Mapping):
            faults.add(component, f"#{row}", field, "expected an object", row)
            continue
        element = Element(faults, component, row, fields)
        if not element.text("id"):
            continue
        if element.id in seen:
            element.fault("id", f"duplicate {element.id!r}")
        seen.add(element.id)
        found.append(element)
    return found


def _finite(value: object) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return value == 0 or SMALLEST <= abs(value) <= LARGEST


def _length(value: object) -> int:
    return len(value) if isinstance(value, list | tuple) else -1
