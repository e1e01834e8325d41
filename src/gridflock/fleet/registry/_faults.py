"""Broken rules of a table: the first listed one by one, the rest counted by field and rule."""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Rejected

LISTED = 10_000
"""So many faults of one reading are told in full; further ones are only counted."""
_COUNTERS = 1_000
_LONGEST = 200
_SURROGATE = re.compile("[\ud800-\udfff]")

Rows = NDArray[np.intp]


class Faults:
    """Collects broken rules; its memory does not grow with the number of rows."""

    def __init__(self) -> None:
        self._listed: list[tuple[int, Rejected]] = []
        self._counts: dict[tuple[str, str], int] = {}
        self._unlisted: dict[tuple[str, str], int] = {}

    def add(
        self,
        field: str,
        rule: str,
        numbers: NDArray[np.int64],
        names: list[str],
        reason: Callable[[int], str] | None = None,
    ) -> None:
        """Rows broke a rule of a field.

        Args:
            field: the attribute at fault.
            rule: in words, without the value: by it the rest is counted.
            numbers: of the rows in the input, ascending, one per fault.
            names: their identities, ``""`` where there is none.
            reason: the rule with the k-th value; default the rule alone.
        """
        told = min(len(numbers), LISTED - len(self._listed))
        for k in range(told):
            ids = (printable(names[k]),) if names[k] else ()
            text = rule if reason is None else reason(k)
            number = int(numbers[k])
            self._listed.append((number, Rejected("resource", printable(field), ids, text, row=number)))
        key = (printable(field), rule)
        if key not in self._counts and len(self._counts) >= _COUNTERS:
            key = ("(others)", rule)
        for counts, count in ((self._counts, len(numbers)), (self._unlisted, len(numbers) - told)):
            if count:
                counts[key] = counts.get(key, 0) + count

    def by_rule(self) -> dict[tuple[str, str], int]:
        """How many faults each field and rule has, the most frequent first."""
        return dict(sorted(self._counts.items(), key=lambda item: (-item[1], item[0])))

    def report(self) -> tuple[Rejected, ...]:
        """Listed faults in the order of the rows, then the counts of the others, the largest first."""
        listed = [fault for _, fault in sorted(self._listed, key=lambda item: item[0])]
        rest = [
            Rejected("resource", field, (), rule, count=self._unlisted[field, rule])
            for field, rule in self.by_rule()
            if (field, rule) in self._unlisted
        ]
        return (*listed, *rest)


def printable(text: str) -> str:
    r"""A text as reports may show it: cut, and bytes that were no UTF-8 as ``\xNN``."""
    return _SURROGATE.sub(_byte, text[:_LONGEST])


def shown(cell: object) -> str:
    """A cell as reports show it, cut where it is long."""
    text = repr(cell[:_LONGEST] if isinstance(cell, str | bytes) else cell)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _byte(match: re.Match[str]) -> str:
    code = ord(match[0])
    # What a reader could not decode stands as U+DC00 + byte (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
