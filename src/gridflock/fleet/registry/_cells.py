"""Cells of one column of a registry table become values; every distinct cell is judged once."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import NoneType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._faults import shown
from gridflock.schema import CUSTOMER_CLASSES, Attribute, Enrolment, Kind
from gridflock.units import Mask, phase_mask

LONGEST_TEXT = 200
"""Identities and labels are at most so long."""
NAMED: Mapping[str, Mapping[str, int]] = {
    "kind": {kind.name.lower(): int(kind) for kind in Kind},
    "customer": {name: code for code, name in enumerate(CUSTOMER_CLASSES)},
    "enrolment": {state.name.lower(): int(state) for state in Enrolment},
}
"""Codes by name of the attributes that are one of a few."""

MISSING = "is missing and has no default"
_TEXT_RULE = f"expected a text of at most {LONGEST_TEXT} printable characters"
_ENCODING_RULE = "is not valid UTF-8"
_PHASES_RULE = "expected some of a, b, c, each once"
_NUMBER_RULE = "is not a number"
_NAN_RULE = "is NaN; leave the field empty for its default"
_WHOLE_RULE = "is not a whole number"


class Broken(ValueError):  # noqa: N818 - bad input, kept as a value
    """A cell breaks a rule: the rule without the value, and in full."""

    def __init__(self, rule: str, reason: str = "") -> None:
        super().__init__(rule)
        self.rule = rule
        self.reason = reason or rule


@dataclass(frozen=True, slots=True, eq=False)
class Distinct:
    """A column as its distinct cells and, per row, which of them.

    Attributes:
        cells: distinct cells; two are one only where their types are, too.
        codes: int32 (n,) position in ``cells``.
    """

    cells: list[object]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, column: NDArray[Any]) -> Distinct:
        """The distinct cells in the order of their first row; masked ones are None."""
        cells: list[Any] = column.tolist()
        keys = cells
        # 1, 1.0 and True are one key, yet not one cell; a list is no key at all.
        if not {*map(type, cells)} <= {str, NoneType}:
            keys = [
                (type(cell), cell if isinstance(cell, str | int | float) else repr(cell)) for cell in cells
            ]
        place: dict[Any, int] = {}
        if keys is cells:
            place = dict(zip(dict.fromkeys(cells), range(len(cells)), strict=False))
            distinct: list[object] = list(place)
        else:
            distinct = []
            for key, cell in zip(keys, cells, strict=True):
                if key not in place:
                    place[key] = len(distinct)
                    distinct.append(cell)
        codes = np.fromiter(map(place.__getitem__, keys), dtype=np.int32, count=len(cells))
        return cls(distinct, codes)


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """Distinct cells of one column after judgement.

    Attributes:
        values: parsed value of each, a harmless stand-in where it is broken or absent.
        absent: where the cell is empty.
        broken: broken rule of each faulty cell, by position.
    """

    values: NDArray[Any] | list[str]
    absent: Mask
    broken: Mapping[int, Broken]


def judged_texts(cells: Sequence[object]) -> Judged:
    """Identities and labels: stripped, printable, at most ``LONGEST_TEXT`` characters."""
    if {*map(type, cells)} == {str}:
        texts: list[str] = list(map(str.strip, cells))  # type: ignore[arg-type]  # just checked
        if all(map(str.isprintable, texts)) and max(map(len, texts), default=0) <= LONGEST_TEXT:
            return Judged(texts, np.array([not text for text in texts], dtype=bool), {})
    return _one_by_one(cells, _text, "")


def judged_codes(entry: Attribute, cells: Sequence[object]) -> Judged:
    """Codes of kinds, customers, states or phases."""
    parse = _phases if entry.dtype == "phases" else _named(NAMED[entry.dtype])
    found = _one_by_one(cells, parse, 0)
    return Judged(np.array(found.values, dtype=np.uint8), found.absent, found.broken)


def judged_numbers(entry: Attribute, cells: Sequence[object]) -> Judged:
    """Numbers within the attribute's range, float64."""
    absent = np.zeros(len(cells), dtype=bool)
    broken: Mapping[int, Broken] = {}
    try:
        values = _floats(cells)
    except (TypeError, ValueError, OverflowError):
        loose = _one_by_one(cells, _number, 0.0)
        values, absent, broken = np.array(loose.values, dtype=np.float64), loose.absent, loose.broken
    if entry.may_be_absent:
        # A number that is none is absence; the text "nan" is neither.
        nan = np.flatnonzero(np.isnan(values)).tolist()
        absent[[k for k in nan if not isinstance(cells[k], str)]] = True
    spared = absent | _at(broken, len(cells))
    return Judged(values, absent, {**broken, **_out_of_range(entry, values, spared)})


def judged_floats(entry: Attribute, column: NDArray[Any]) -> Judged:
    """As ``judged_numbers``, of an array of numbers; masked cells are empty."""
    absent = np.ma.getmaskarray(column).copy()
    values = np.array(np.ma.getdata(column), dtype=np.float64)
    if entry.may_be_absent:
        absent |= np.isnan(values)
    return Judged(values, absent, _out_of_range(entry, values, absent))


def _out_of_range(entry: Attribute, values: NDArray[np.float64], spared: Mask) -> dict[int, Broken]:
    """Broken rules of numbers, but for those that are spared; broken values become a harmless 0."""
    broken: dict[int, Broken] = {}
    unit = f" {entry.unit}" if entry.unit else ""
    rule = f"is outside [{entry.low:g}, {entry.high:g}]{unit}"
    fits = (values >= entry.low) & (values <= entry.high)
    if entry.dtype in ("u1", "i8"):
        fits &= values == np.rint(values)
    for k in np.flatnonzero(~fits & ~spared).tolist():
        value = values[k]
        if np.isnan(value):
            broken[k] = Broken(_NAN_RULE)
        elif not entry.low <= value <= entry.high:
            broken[k] = Broken(rule, f"{value:g}{unit} {rule}")
        else:
            broken[k] = Broken(_WHOLE_RULE, f"{value:g} {_WHOLE_RULE}")
    values[~fits] = 0.0
    return broken


def _at(broken: Mapping[int, Broken], count: int) -> Mask:
    found = np.zeros(count, dtype=bool)
    found[list(broken)] = True
    return found


def is_empty(cell: object) -> bool:
    """Whether a cell says nothing: no cell, or a text without a letter."""
    return cell is None or (isinstance(cell, str) and not cell.strip())


def _floats(cells: Sequence[object]) -> NDArray[np.float64]:
    # Python reads 1_0 as ten; a registry does not.
    if any("_" in cell for cell in cells if isinstance(cell, str)):
        raise ValueError(_NUMBER_RULE)
    return np.fromiter(map(float, cells), dtype=np.float64, count=len(cells))  # type: ignore[arg-type]  # judged by float()


def _one_by_one(cells: Sequence[object], parse: Callable[[object], Any], stand_in: object) -> Judged:
    values: list[Any] = [stand_in] * len(cells)
    absent = np.zeros(len(cells), dtype=bool)
    broken: dict[int, Broken] = {}
    for k, cell in enumerate(cells):
        if is_empty(cell):
            absent[k] = True
            continue
        try:
            values[k] = parse(cell)
        except Broken as fault:
            broken[k] = fault
    return Judged(values, absent, broken)


def _text(cell: object) -> str:
    text = str(cell).strip() if isinstance(cell, str | int) and not isinstance(cell, bool) else ""
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise Broken(_ENCODING_RULE)
    if not text or len(text) > LONGEST_TEXT or not text.isprintable():
        raise Broken(_TEXT_RULE)
    return text


def _named(codes: Mapping[str, int]) -> Callable[[object], int]:
    def parse(cell: object) -> int:
        code = codes.get(str(cell).strip().lower())
        if code is None:
            rule = f"is unknown; expected one of {', '.join(codes)}"
            raise Broken(rule, f"{shown(cell)} {rule}")
        return code

    return parse


def _phases(cell: object) -> int:
    letters = str(cell).strip()
    try:
        return phase_mask(letters)
    except ValueError:
        raise Broken(_PHASES_RULE, f"phases {shown(letters)}: {_PHASES_RULE}") from None


def _number(cell: object) -> float:
    try:
        return float(_floats([cell])[0])
    except (TypeError, ValueError, OverflowError):
        raise Broken(_NUMBER_RULE, f"{shown(cell)} {_NUMBER_RULE}") from None
