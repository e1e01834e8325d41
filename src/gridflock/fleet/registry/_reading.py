"""Registry tables become columns; every broken rule becomes a ``Rejected``, never an exception."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._cells import (
    MISSING,
    Broken,
    Distinct,
    Judged,
    is_empty,
    judged_codes,
    judged_floats,
    judged_numbers,
    judged_texts,
)
from gridflock.fleet.registry._faults import Faults, shown
from gridflock.fleet.registry._rows import (
    DTYPES,
    IDENTITY_NAMES,
    TEXTS,
    Block,
    Registry,
    assembled,
    joined,
    texts_of,
)
from gridflock.model import Rejected
from gridflock.schema import IDENTITIES, REGISTRY, Attribute
from gridflock.units import PHASES, Mask, phase_letters, phase_mask

Row = Mapping[str, object]
KNOWN = frozenset(entry.name for entry in REGISTRY + IDENTITIES)
"""Names that a column of a registry table may have."""
_MOST_COLUMNS = 200
_JOINED = 100
_NUMERIC = ("f4", "i8", "u1")
_UNKNOWN_RULE = "unknown column; the attribute table has no such field"
_TWIN_RULE = "is a duplicate; the first row of that id is kept"
_NO_BUS = -1
_BUS_RULE = "is not a bus of the feeder"
_PHASE_RULE = "names a phase that is not at the bus"


class Reader:
    """Reads a table part by part; what it holds are the good rows as columns, and a bounded report."""

    def __init__(self, places: Mapping[str, int] | None) -> None:
        """Start with nothing read.

        Args:
            places: mask of the phases present at each bus; None = buses are not checked.
        """
        self._places = places
        self._faults = Faults()
        self._blocks: list[Block] = []
        self._fresh: list[Block] = []
        self._words: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._bus_masks = np.empty(0, dtype=np.int16)

    @property
    def faults(self) -> Faults:
        """Broken rules so far; a reader of files adds those of rows that are no cells at all."""
        return self._faults

    def add(self, columns: Mapping[str, NDArray[Any]], numbers: NDArray[np.int64]) -> None:
        """Read some rows.

        Args:
            columns: cells by column name, each (n,): numbers, texts or any objects; empty text, None,
                NaN where absence is allowed, and masked cells mean the attribute's default.
            numbers: int64 (n,) number of each row in the reports, ascending.
        """
        part = _Part(columns, numbers, self._faults, self._words)
        part.check_columns()
        for entry in REGISTRY:
            part.read(entry)
        for entry in IDENTITIES:
            if entry.name in columns:
                part.read(entry)
        if self._places is not None:
            part.check_places(self._masks_of_buses(self._places))
        self._fresh.append(part.block())
        if len(self._fresh) == _JOINED:
            self._join()

    def add_rows(self, rows: Sequence[Row], numbers: NDArray[np.int64]) -> None:
        """As ``add``, of rows given as mappings; what a row does not name is empty."""
        columns: dict[str, NDArray[Any]] = {}
        for name in dict.fromkeys(name for row in rows for name in row):
            if name in KNOWN or len(columns) < _MOST_COLUMNS:
                columns[name] = objects([row.get(name) for row in rows])
            else:  # nobody's table: of its many names the last ones are told together
                others = columns.setdefault("(others)", objects([None] * len(rows)))
                others[[row.get(name) is not None for row in rows]] = name
        self.add(columns, numbers)

    def _join(self) -> None:
        """Join the newest blocks: the memory of many small arrays serves the next ones."""
        if self._fresh:
            self._blocks.append(joined(self._fresh))
            self._fresh = []

    def _masks_of_buses(self, places: Mapping[str, int]) -> NDArray[np.int16]:
        """Phases of each bus of the vocabulary, looked up when it first appears; all of the empty one."""
        news = islice(self._words["bus"], len(self._bus_masks), None)
        masks = [places.get(word, _NO_BUS) if word else phase_mask(PHASES) for word in news]
        if masks:
            self._bus_masks = np.append(self._bus_masks, np.array(masks, dtype=np.int16))
        return self._bus_masks

    def done(self) -> tuple[Registry, tuple[Rejected, ...]]:
        """The good rows of everything read, and the faults in the order of the rows."""
        self._join()
        blocks, self._blocks = self._blocks, []
        ids = np.concatenate([block.ids for block in blocks]) if blocks else texts_of([])
        numbers = np.concatenate([block.numbers for block in blocks]) if blocks else np.empty(0, np.int64)
        by_id = np.argsort(ids, kind="stable")
        twin = _twins(ids, by_id)
        at = np.flatnonzero(twin)
        self._faults.add("id", _TWIN_RULE, numbers[at], ids[at].tolist())
        words = {name: list(place) for name, place in self._words.items()}
        return assembled(ids, by_id, blocks, words, ~twin), self._faults.report()


class _Part:
    """Some rows of a table on their way into columns."""

    def __init__(
        self,
        columns: Mapping[str, NDArray[Any]],
        numbers: NDArray[np.int64],
        faults: Faults,
        words: dict[str, dict[str, int]],
    ) -> None:
        self._columns = columns
        self._numbers = numbers
        self._faults = faults
        self._words = words
        self._bad = np.zeros(len(numbers), dtype=bool)
        self._ids: list[str] = []
        self._names = columns["id"].tolist() if "id" in columns else [None] * len(numbers)
        self._parsed: dict[str, NDArray[Any]] = {}
        self._identities: dict[str, list[str]] = {}

    def check_columns(self) -> None:
        """Rows with a cell in a column that does not exist are refused."""
        for name in sorted(self._columns.keys() - KNOWN, key=str):
            cells = self._columns[name].tolist()
            given = [k for k, cell in enumerate(cells) if not is_empty(cell)]
            self._break(np.array(given, dtype=np.intp), str(name), _UNKNOWN_RULE)

    def read(self, entry: Attribute) -> None:
        """Judge one column and keep its values."""
        column = self._columns.get(entry.name)
        if column is None:
            codes = np.zeros(len(self._numbers), dtype=np.int32)
            judged = _judged(entry, [None])
        elif entry.dtype in _NUMERIC and column.dtype.kind in "fiub":
            codes = np.arange(len(column), dtype=np.int32)
            judged = judged_floats(entry, column)
        elif entry.name == "id":
            codes = np.arange(len(column), dtype=np.int32)
            judged = judged_texts(column.tolist())
        else:
            distinct = Distinct.of(column)
            codes, judged = distinct.codes, _judged(entry, distinct.cells)
        self._tell(entry, codes, judged)
        self._keep(entry, codes, judged)

    def _tell(self, entry: Attribute, codes: NDArray[np.int32], judged: Judged) -> None:
        """Report the rows whose cell is broken, or empty where it must not be."""
        if entry.default is None and judged.absent.any():
            self._break(np.flatnonzero(judged.absent[codes]), entry.name, MISSING)
        rules: dict[str, list[int]] = {}
        for k, fault in judged.broken.items():
            rules.setdefault(fault.rule, []).append(k)
        for rule, cells in rules.items():
            faulty = np.zeros(len(judged.absent), dtype=bool)
            faulty[cells] = True
            at = np.flatnonzero(faulty[codes])
            self._break(at, entry.name, rule, _reasons(judged.broken, codes[at]))

    def _keep(self, entry: Attribute, codes: NDArray[np.int32], judged: Judged) -> None:
        """Values row by row, defaults filled in."""
        values: Any = judged.values
        if entry.name == "id":
            self._ids = [values[k] for k in codes.tolist()]
            return
        if entry.name in IDENTITY_NAMES:
            self._identities[entry.name] = [values[k] for k in codes.tolist()]
            return
        if entry.name in TEXTS:
            default = str(entry.default or "")
            place = self._words[entry.name]
            texts = values
            if judged.absent.any():
                texts = [
                    default if none else text
                    for text, none in zip(values, judged.absent.tolist(), strict=True)
                ]
            values = np.array([place.setdefault(text, len(place)) for text in texts], dtype=np.int32)
        elif judged.absent.any():
            values = np.where(judged.absent, _filler(entry), values)
        self._parsed[entry.name] = values.astype(DTYPES[entry.name])[codes]

    def check_places(self, masks: NDArray[np.int16]) -> None:
        """Buses must exist and have the phases that are connected; a faulty row is asked no more of.

        Args:
            masks: phases of each bus of the vocabulary; ``_NO_BUS`` where there is no such bus.
        """
        phases = self._parsed["phases"].astype(np.int16)
        bus = self._parsed["bus"]
        there = masks[bus]
        fits = (there != _NO_BUS) & (phases & ~there == 0)
        if fits.all():
            return
        words = list(self._words["bus"])
        unknown = np.flatnonzero(there == _NO_BUS)
        self._break(unknown, "bus", _BUS_RULE, lambda k: f"{shown(words[bus[unknown[k]]])} {_BUS_RULE}")
        lacking = np.flatnonzero((there != _NO_BUS) & ~fits)

        def lacks(k: int) -> str:
            row = lacking[k]
            asked, have = int(phases[row]), int(there[row])
            missing = phase_letters(asked & ~have)
            return f"phase {missing} is not at bus {shown(words[bus[row]])}, which has {phase_letters(have)}"

        self._break(lacking, "phases", _PHASE_RULE, lacks)

    def block(self) -> Block:
        """The rows without a fault."""
        good = np.flatnonzero(~self._bad)
        kept = good.tolist()
        return Block(
            numbers=self._numbers[good],
            ids=texts_of([self._ids[k] for k in kept]),
            columns={name: column[good] for name, column in self._parsed.items()},
            identities={name: texts_of([texts[k] for k in kept]) for name, texts in self._identities.items()},
        )

    def _break(
        self, at: NDArray[np.intp], field: str, rule: str, reason: Callable[[int], str] | None = None
    ) -> None:
        if len(at):
            self._bad[at] = True
            names = ["" if self._names[k] is None else str(self._names[k]).strip() for k in at.tolist()]
            self._faults.add(field, rule, self._numbers[at], names, reason)


def _judged(entry: Attribute, cells: list[object]) -> Judged:
    if entry.dtype == "str":
        return judged_texts(cells)
    return judged_numbers(entry, cells) if entry.dtype in _NUMERIC else judged_codes(entry, cells)


def _reasons(broken: Mapping[int, Broken], codes: NDArray[np.int32]) -> Callable[[int], str]:
    return lambda k: broken[int(codes[k])].reason


def _filler(entry: Attribute) -> float:
    """What an empty cell stands for, as a number."""
    if entry.default is None:
        return 0.0
    if isinstance(entry.default, float):
        return entry.default
    values: Any = judged_codes(entry, [entry.default]).values
    return float(values[0])


def _twins(ids: NDArray[Any], by_id: NDArray[np.intp]) -> Mask:
    """Rows whose identity an earlier row has; ``by_id`` keeps the order of equal ones."""
    twin = np.zeros(len(ids), dtype=bool)
    inorder = ids[by_id]
    twin[by_id[1:]] = inorder[1:] == inorder[:-1]
    return twin


def read_table(
    columns: Mapping[str, NDArray[Any]],
    places: Mapping[str, int] | None,
    first_row: int = 1,
    numbers: NDArray[np.int64] | None = None,
) -> tuple[Registry, tuple[Rejected, ...]]:
    """Check every attribute of every row of a table; keep the rows without a fault.

    Args:
        columns: cells by ``schema.REGISTRY`` or ``schema.IDENTITIES`` name, each (n,): numbers, texts or
            any objects; empty text, None, masked cells and, where absence is allowed, NaN mean the
            attribute's default. A column that is not given is empty.
        places: mask of the phases present at each bus; None = buses are not checked.
        first_row: number of the first row in the reports.
        numbers: int64 (n,) number of each row in the reports, ascending, instead of counting.

    Returns:
        The good rows, and the faults in the order of the rows: the first ``LISTED`` one by one with field,
        row, rule and value, the others counted by field and rule.

    Raises:
        ValueError: columns of unequal lengths.
    """
    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise ValueError(f"columns of unequal lengths: {sorted(lengths)}")
    n = lengths.pop() if lengths else 0
    reader = Reader(places)
    reader.add(columns, np.arange(first_row, first_row + n) if numbers is None else numbers)
    return reader.done()


def read_registry(
    rows: Iterable[Row], places: Mapping[str, int] | None, first_row: int = 1
) -> tuple[Registry, tuple[Rejected, ...]]:
    """Check every attribute of every row given as a mapping: ``read_table`` of the rows' columns.

    Args:
        rows: cells by column name, texts or numbers; empty means the attribute's default.
        places: mask of the phases present at each bus; None = buses are not checked.
        first_row: number of the first row in the reports.

    Returns:
        As ``read_table``.
    """
    kept = list(rows)
    reader = Reader(places)
    reader.add_rows(kept, np.arange(first_row, first_row + len(kept)))
    return reader.done()


def objects(cells: Sequence[object]) -> NDArray[Any]:
    """Cells as a column of objects, whatever they are."""
    column = np.empty(len(cells), dtype=object)
    column[:] = cells
    return column
