"""The registry file becomes columns; every broken rule becomes a ``Rejected``, never an exception."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected
from gridflock.schema import CUSTOMER_CLASSES, FAMILY, REGISTRY, Attribute, Enrolment, Kind
from gridflock.units import Codes, phase_letters, phase_mask

TEXTS = tuple(entry.name for entry in REGISTRY if entry.dtype == "str" and entry.name != "id")
"""Text columns that are held as codes into a sorted vocabulary."""
_KINDS = {kind.name.lower(): int(kind) for kind in Kind}
_ENROLMENTS = {state.name.lower(): int(state) for state in Enrolment}
_CUSTOMERS = {name: code for code, name in enumerate(CUSTOMER_CLASSES)}
_NUMPY = {"f4": np.float32, "i8": np.int64, "u1": np.uint8}
_LONGEST_TEXT = 200

Row = Mapping[str, object]


@dataclass(frozen=True, slots=True, eq=False)
class Registry:
    """Nameplates of a fleet, sorted by kind, then bus, then id.

    Attributes:
        ids: n outside identities.
        columns: registry columns by name, each (n,), read-only; texts as int32 codes.
        labels: vocabulary of each coded text column, sorted.
        family: uint8 (n,) ``schema.Family``, never falling along the rows.
    """

    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    labels: Mapping[str, tuple[str, ...]]
    family: Codes


class _Faults:
    """Broken rules by position, one per field and row."""

    def __init__(self, names: Sequence[str], first_row: int) -> None:
        self._names = names
        self._first_row = first_row
        self._found: list[tuple[int, Rejected]] = []
        self.bad = np.zeros(len(names), dtype=bool)

    def add(self, at: int, field: str, reason: str) -> None:
        """Row number ``at`` broke a rule."""
        ids = (self._names[at],) if self._names[at] else ()
        self._found.append((at, Rejected("resource", field, ids, reason, row=at + self._first_row)))
        self.bad[at] = True

    def report(self) -> tuple[Rejected, ...]:
        """All faults in the order of the rows."""
        return tuple(fault for _, fault in sorted(self._found, key=lambda item: item[0]))


def _absent(cell: object, default: object) -> bool:
    if isinstance(cell, float) and isinstance(default, float):
        return math.isnan(cell) and math.isnan(default)
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _text(cell: object) -> str:
    """The text of an identity or label.

    Raises:
        ValueError: neither text nor a whole number, too long, or not printable.
    """
    text = str(cell).strip() if isinstance(cell, str | int) and not isinstance(cell, bool) else ""
    if not text or len(text) > _LONGEST_TEXT or not text.isprintable():
        raise ValueError(f"expected a text of at most {_LONGEST_TEXT} printable characters")
    return text


def _named(codes: Mapping[str, int]) -> Callable[[object], int]:
    def parse(cell: object) -> int:
        code = codes.get(str(cell).strip().lower())
        if code is None:
            raise ValueError(f"{cell!r} is unknown; expected one of {', '.join(codes)}")
        return code

    return parse


def _number(entry: Attribute) -> Callable[[object], float]:
    def parse(cell: object) -> float:
        try:
            value = float(cell)  # type: ignore[arg-type]  # whatever the file held; float() judges it
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{cell!r} is not a number") from None
        if value != value:  # noqa: PLR0124  # the definition of NaN
            raise ValueError("is NaN; leave the field empty for its default")
        if not entry.low <= value <= entry.high:
            unit = f" {entry.unit}" if entry.unit else ""
            raise ValueError(f"{value:g}{unit} is outside [{entry.low:g}, {entry.high:g}]{unit}")
        if entry.dtype in ("u1", "i8") and not value.is_integer():
            raise ValueError(f"{value:g} is not a whole number")
        return value

    return parse


def _parser(entry: Attribute) -> Callable[[object], Any]:
    if entry.dtype == "kind":
        return _named(_KINDS)
    if entry.dtype == "customer":
        return _named(_CUSTOMERS)
    if entry.dtype == "enrolment":
        return _named(_ENROLMENTS)
    if entry.dtype == "phases":
        return lambda cell: phase_mask(str(cell).strip())
    return _text if entry.dtype == "str" else _number(entry)


def _column(entry: Attribute, rows: Sequence[Row], faults: _Faults) -> list[Any]:
    """Parsed cells of one column; a faulty cell holds a harmless stand-in, its row is marked bad.

    Equal cells are parsed once: a registry repeats its nameplates thousands of times.
    """
    parse = _parser(entry)
    seen: dict[tuple[type, object], tuple[Any, str]] = {}
    stand_in: Any = "" if entry.dtype == "str" else 0
    default = stand_in if entry.default is None else entry.default
    if not (entry.default is None or entry.may_be_absent):
        default = parse(entry.default)
    parsed: list[Any] = []
    for at, row in enumerate(rows):
        cell = row.get(entry.name)
        if _absent(cell, default):
            if entry.default is None:
                faults.add(at, entry.name, "is missing and has no default")
            parsed.append(default)
            continue
        key = (type(cell), cell if isinstance(cell, str | int | float) else repr(cell))
        known = seen.get(key)
        if known is None:
            try:
                known = (parse(cell), "")
            except ValueError as fault:
                known = (stand_in, str(fault))
            seen[key] = known
        value, reason = known
        if reason:
            faults.add(at, entry.name, reason)
        parsed.append(value)
    return parsed


def _shapes(rows: Iterable[Row], first_row: int) -> tuple[list[Row], _Faults]:
    """Rows as a list, with unknown columns marked."""
    kept = list(rows)
    names = [str(row.get("id") or "").strip()[:_LONGEST_TEXT] for row in kept]
    faults = _Faults(names, first_row)
    known = {entry.name for entry in REGISTRY}
    for at, row in enumerate(kept):
        if not row.keys() <= known:
            for name in sorted(row.keys() - known, key=str):
                faults.add(at, str(name), "unknown column; the attribute table has no such field")
    return kept, faults


def _check_places(columns: Mapping[str, list[Any]], places: Mapping[str, int], faults: _Faults) -> None:
    for at, (bus, phases) in enumerate(zip(columns["bus"], columns["phases"], strict=True)):
        if not bus:
            continue
        if bus not in places:
            faults.add(at, "bus", f"{bus!r} is not a bus of the feeder")
        elif phases & ~places[bus]:
            missing = phase_letters(phases & ~places[bus])
            reason = f"phase {missing} is not at bus {bus!r}, which has {phase_letters(places[bus])}"
            faults.add(at, "phases", reason)


def _check_twins(ids: Sequence[str], faults: _Faults) -> None:
    first: dict[str, int] = {}
    for at, name in enumerate(ids):
        if faults.bad[at]:
            continue
        if name in first:
            faults.add(at, "id", "is a duplicate; the first row of that id is kept")
        else:
            first[name] = at


def _coded(texts: Sequence[str]) -> tuple[tuple[str, ...], NDArray[np.int32]]:
    vocabulary = tuple(sorted(set(texts)))
    code = {text: at for at, text in enumerate(vocabulary)}
    return vocabulary, np.fromiter((code[text] for text in texts), dtype=np.int32, count=len(texts))


def read_registry(
    rows: Iterable[Row], places: Mapping[str, int], first_row: int = 1
) -> tuple[Registry, tuple[Rejected, ...]]:
    """Check every attribute of every row; keep the rows without a fault.

    Args:
        rows: cells by column name, texts or numbers; empty means the attribute's default.
        places: mask of the phases present at each bus.
        first_row: number of the first row in the reports.

    Returns:
        The good rows, and every fault in the order of the rows.
    """
    table, faults = _shapes(rows, first_row)
    parsed = {entry.name: _column(entry, table, faults) for entry in REGISTRY}
    _check_places(parsed, places, faults)
    _check_twins(parsed["id"], faults)
    good = np.flatnonzero(~faults.bad).tolist()
    cells = {name: [column[at] for at in good] for name, column in parsed.items()}
    return _assembled(cells), faults.report()


def _assembled(cells: Mapping[str, Sequence[Any]]) -> Registry:
    """Sort checked rows, code their texts and give each column its type."""
    order = sorted(
        range(len(cells["id"])), key=lambda at: (cells["kind"][at], cells["bus"][at], cells["id"][at])
    )
    columns: dict[str, NDArray[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for entry in REGISTRY:
        ordered = [cells[entry.name][at] for at in order]
        if entry.name in TEXTS:
            labels[entry.name], columns[entry.name] = _coded(ordered)
        elif entry.name != "id":
            columns[entry.name] = np.array(ordered, dtype=_NUMPY.get(entry.dtype, np.uint8))
    family = np.array([FAMILY[Kind(k)] for k in range(len(Kind))], dtype=np.uint8)[columns["kind"]]
    for array in (*columns.values(), family):
        array.flags.writeable = False
    ids = tuple(cells["id"][at] for at in order)
    return Registry(ids, MappingProxyType(columns), MappingProxyType(labels), family)


def _cells(registry: Registry) -> dict[str, list[Any]]:
    """The columns as plain cells, texts as texts."""
    cells: dict[str, list[Any]] = {"id": list(registry.ids)}
    for name, column in registry.columns.items():
        values = column.tolist()
        if name in TEXTS:
            values = [registry.labels[name][code] for code in values]
        elif column.dtype.kind == "f" and np.isnan(column).any():
            # NaN differs from itself; None does not.
            values = [None if math.isnan(value) else value for value in values]
        cells[name] = values
    return cells


def merged(old: Registry, new: Registry) -> tuple[Registry, int]:
    """The old registry with the new rows in the place of those of the same id.

    Returns:
        The joint registry and how many rows are new or differ; with none, the old one itself.
    """
    before, after = _cells(old), _cells(new)
    names = list(after)
    known = dict(zip(before["id"], zip(*(before[name] for name in names), strict=True), strict=True))
    rows = dict(zip(after["id"], zip(*after.values(), strict=True), strict=True))
    changed = sum(known.get(name) != row for name, row in rows.items())
    if not changed:
        return old, 0
    joint = list(zip(*(known | rows).values(), strict=True))
    return _assembled(dict(zip(names, joint, strict=True))), changed
