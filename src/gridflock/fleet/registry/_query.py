"""Queries over any attribute: a small language, parsed by hand, never evaluated as code.

    kind = ev_v1g and p_min_kw < -3 and feeder in (f1, f2) and not provider = acme
    id like 'ev-%' or within(52.1, 5.2, 3) and lat_deg is not missing

``or`` binds weakest, then ``and``, then ``not``. An attribute compares with ``=``, ``!=``, ``in (…)``,
``not in (…)``; numbers also with ``<``, ``<=``, ``>``, ``>=``, in the attribute's unit and sign; texts with
``like`` and ``not like`` (``%`` any run of characters, ``_`` one character); ``phases has b`` holds where
the phase is among them. ``is missing`` and ``is not missing`` ask for absence, and what is absent fulfils
no comparison of numbers. ``within(lat, lon, km)`` asks for a circle. Texts with blanks, signs or quotes
stand in quotes, single or double, where a doubled quote is one. Words of the language and names of codes
(kinds, families, customers, states) may be in capitals; texts are taken as written.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._conditions import (
    ORDER,
    Among,
    Both,
    Either,
    Like,
    Missing,
    Node,
    Not,
    OfCode,
    OfNumber,
    OfText,
    Table,
    Within,
)
from gridflock.model import Rejected
from gridflock.schema import CUSTOMER_CLASSES, REGISTRY, Enrolment, Family, Kind
from gridflock.units import Codes, Mask, Rows, phase_mask

_LONGEST = 20_000
_DEEPEST = 50
_TOKEN = re.compile(r"""\s*(?:('(?:[^']|'')*'|"(?:[^"]|"")*")|(<=|>=|!=|<>|==|[=<>(),])|([^\s()=<>!,'"]+))""")
_NUMBER = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?", re.ASCII)
_ENTRIES = {entry.name: entry for entry in REGISTRY}
_ALIAS = {"<>": "!=", "==": "="}
_CODES: Mapping[str, Mapping[str, int]] = {
    "kind": {kind.name.lower(): int(kind) for kind in Kind},
    "family": {family.name.lower(): int(family) for family in Family},
    "customer": {name: code for code, name in enumerate(CUSTOMER_CLASSES)},
    "enrolment": {state.name.lower(): int(state) for state in Enrolment},
}
_NAMES = (*_ENTRIES, "family")


class QueryRejected(Exception):  # noqa: N818 - bad input, told whole
    """The text is no query; ``rejected`` names the position (``row``, from 1) and what was expected."""

    def __init__(self, position: int, reason: str) -> None:
        super().__init__(f"query, character {position}: {reason}")
        self.rejected = Rejected("query", "text", (), reason, row=position)


class Held(Protocol):
    """Who has a registry's columns: a ``Registry``, a ``Fleet``."""

    ids: tuple[str, ...]
    columns: Mapping[str, NDArray[Any]]
    labels: Mapping[str, tuple[str, ...]]
    family: Codes


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed query.

    Attributes:
        text: as it was written.
        reads: names of the attributes it looks at.
    """

    text: str
    _root: Node = field(repr=False)

    @property
    def reads(self) -> frozenset[str]:
        """Names of the attributes it looks at."""
        return self._root.reads()

    def matches(
        self,
        columns: Mapping[str, NDArray[Any]],
        labels: Mapping[str, Sequence[str]],
        family: Codes,
        ids: Sequence[str],
    ) -> Mask:
        """Which rows fulfil it, bool (n,).

        Args:
            columns: registry columns by name, each (n,); texts as codes.
            labels: vocabulary of each coded text column.
            family: uint8 (n,) ``schema.Family``.
            ids: n identities.
        """
        return self._root.mask(Table(columns, labels, family, ids))


def select(held: Held, expression: str | Condition) -> Rows:
    """Rows that fulfil a query, int32, ascending.

    Raises:
        QueryRejected: the expression is none.
    """
    condition = parse(expression) if isinstance(expression, str) else expression
    found = condition.matches(held.columns, held.labels, held.family, held.ids)
    return np.flatnonzero(found).astype(np.int32)


def parse(text: str) -> Condition:
    """Read a query.

    Raises:
        QueryRejected: it is none; the position and what was expected there.
    """
    if len(text) > _LONGEST:
        raise QueryRejected(_LONGEST, f"longer than {_LONGEST} characters")
    return Condition(text, _Reader(_tokens(text)).whole())


@dataclass(frozen=True, slots=True)
class _Token:
    """A word, a quoted text or a sign.

    Attributes:
        kind: ``"quoted"``, ``"sign"``, ``"word"`` or ``"end"``.
        text: its value; of a sign the sign.
        at: position of its first character, from 1.
    """

    kind: str
    text: str
    at: int

    def is_word(self, *words: str) -> bool:
        """Whether it is one of these words of the language."""
        return self.kind == "word" and self.text.lower() in words

    def is_sign(self, *signs: str) -> bool:
        """Whether it is one of these signs."""
        return self.kind == "sign" and self.text in signs

    def __str__(self) -> str:
        return "the end" if self.kind == "end" else repr(self.text)


def _tokens(text: str) -> list[_Token]:
    found: list[_Token] = []
    place, end = 0, len(text.rstrip())
    while place < end:
        match = _TOKEN.match(text, place)
        if match is None:
            start = len(text) - len(text[place:].lstrip())
            mark = text[start]
            told = "a closing quote" if mark in "'\"" else "a word, a text in quotes or a sign of comparison"
            raise QueryRejected(start + 1, f"expected {told}, found {text[start : start + 20]!r}")
        quoted, sign, word = match.groups()
        at = match.start(match.lastindex or 0) + 1
        if quoted is not None:
            mark = quoted[0]
            found.append(_Token("quoted", quoted[1:-1].replace(mark * 2, mark), at))
        elif sign is not None:
            found.append(_Token("sign", _ALIAS.get(sign, sign), at))
        else:
            found.append(_Token("word", word, at))
        place = match.end()
    found.append(_Token("end", "", end + 1))
    return found


class _Reader:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._place = 0
        self._depth = 0

    @property
    def _next(self) -> _Token:
        return self._tokens[self._place]

    def _take(self) -> _Token:
        token = self._next
        self._place += token.kind != "end"
        return token

    def _expected(self, what: str, token: _Token | None = None) -> QueryRejected:
        found = token or self._next
        return QueryRejected(found.at, f"expected {what}, found {found}")

    def _sign(self, sign: str) -> None:
        if not self._next.is_sign(sign):
            raise self._expected(repr(sign))
        self._take()

    def whole(self) -> Node:
        """A condition and nothing after it."""
        root = self._either()
        if self._next.kind != "end":
            raise self._expected("'and', 'or' or the end")
        return root

    def _either(self) -> Node:
        parts = [self._both()]
        while self._next.is_word("or"):
            self._take()
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Either(tuple(parts))

    def _both(self) -> Node:
        parts = [self._part()]
        while self._next.is_word("and"):
            self._take()
            parts.append(self._part())
        return parts[0] if len(parts) == 1 else Both(tuple(parts))

    def _part(self) -> Node:
        turned = False
        while self._next.is_word("not"):
            self._take()
            turned = not turned
        part = self._grouped() if self._next.is_sign("(") else self._single()
        return Not(part) if turned else part

    def _grouped(self) -> Node:
        opened = self._take()
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QueryRejected(opened.at, f"parentheses are nested deeper than {_DEEPEST}")
        part = self._either()
        self._sign(")")
        self._depth -= 1
        return part

    def _single(self) -> Node:
        token = self._take()
        name = token.text.lower()
        if token.kind == "word" and name == "within" and self._next.is_sign("("):
            return self._within()
        if token.kind != "word" or name not in _NAMES:
            near = difflib.get_close_matches(name, _NAMES, 1) if token.kind == "word" else []
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise QueryRejected(token.at, f"expected an attribute, 'not' or '(', found {token}{hint}")
        return self._compared(name)

    def _within(self) -> Node:
        self._sign("(")
        lat_deg = self._number("a latitude from -90 to 90", -90.0, 90.0)
        self._sign(",")
        lon_deg = self._number("a longitude from -180 to 180", -180.0, 180.0)
        self._sign(",")
        km = self._number("a distance in km, 0 or more", 0.0, np.inf)
        self._sign(")")
        return Within(lat_deg, lon_deg, km)

    def _compared(self, name: str) -> Node:
        if self._next.is_word("is"):
            return self._absence(name)
        turned = self._next.is_word("not")
        if turned:
            self._take()
        token = self._take()
        part: Node
        if token.is_word("in"):
            part = self._listed(name)
        elif token.is_word("like") and _is_text(name):
            part = OfText(name, Like(self._word("a pattern").text))
        elif token.is_word("has") and name == "phases":
            wanted = self._code(name)
            part = OfCode(name, frozenset(code for code in range(8) if code & wanted == wanted))
        elif not turned and token.is_sign(*_signs(name)):
            part = self._ordered(name, token.text)
        else:
            raise self._expected(_comparisons(name, turned=turned), token)
        return Not(part) if turned else part

    def _absence(self, name: str) -> Node:
        start = self._take()
        turned = self._next.is_word("not")
        if turned:
            self._take()
        if not self._next.is_word("missing"):
            raise self._expected("'missing'")
        self._take()
        if name not in _ENTRIES or not _ENTRIES[name].may_be_absent:
            raise QueryRejected(start.at, f"{name} is never missing")
        return Not(Missing(name)) if turned else Missing(name)

    def _listed(self, name: str) -> Node:
        self._sign("(")
        parts = [self._ordered(name, "=")]
        while self._next.is_sign(","):
            self._take()
            parts.append(self._ordered(name, "="))
        if not self._next.is_sign(")"):
            raise self._expected("',' or ')'")
        self._take()
        return _joined(parts)

    def _ordered(self, name: str, order: str) -> Node:
        part: Node
        if _is_text(name):
            part = OfText(name, Among(frozenset({self._word("a text").text})))
        elif name in _CODES or name == "phases":
            part = OfCode(name, frozenset({self._code(name)}))
        else:
            return OfNumber(name, order, self._number("a number", -np.inf, np.inf))
        return Not(part) if order == "!=" else part

    def _word(self, what: str) -> _Token:
        token = self._take()
        if token.kind not in ("word", "quoted"):
            raise self._expected(what, token)
        return token

    def _number(self, what: str, low: float, high: float) -> float:
        token = self._take()
        if token.kind != "word" or not _NUMBER.fullmatch(token.text):
            raise self._expected(what, token)
        value = float(token.text)
        if not (low <= value <= high and np.isfinite(value)):
            raise self._expected(what, token)
        return value

    def _code(self, name: str) -> int:
        if name == "phases":
            token = self._word("some of a, b, c")
            try:
                return phase_mask(token.text)
            except ValueError:
                raise self._expected("some of a, b, c, each once", token) from None
        told = f"one of {', '.join(_CODES[name])}"
        token = self._word(told)
        code = _CODES[name].get(token.text.lower())
        if code is None:
            raise self._expected(told, token)
        return code


def _is_text(name: str) -> bool:
    return name in _ENTRIES and _ENTRIES[name].dtype == "str"


def _is_number(name: str) -> bool:
    return name in _ENTRIES and _ENTRIES[name].dtype in ("f4", "i8", "u1")


def _signs(name: str) -> tuple[str, ...]:
    return tuple(ORDER) if _is_number(name) else ("=", "!=")


def _comparisons(name: str, *, turned: bool) -> str:
    """What may stand after an attribute, in words."""
    words = [] if turned else [f"'{sign}'" for sign in _signs(name)]
    words.append("'in'")
    words += ["'like'"] if _is_text(name) else []
    words += ["'has'"] if name == "phases" else []
    words += ["'is missing'"] if not turned and name in _ENTRIES and _ENTRIES[name].may_be_absent else []
    return f"{', '.join(words[:-1])} or {words[-1]}" if len(words) > 1 else words[0]


def _joined(parts: Sequence[Node]) -> Node:
    """Alternatives of one attribute as one test, where it is a set."""
    match parts[0]:
        case OfText(name, Among()):
            texts = (
                part.test.wanted
                for part in parts
                if isinstance(part, OfText) and isinstance(part.test, Among)
            )
            return OfText(name, Among(frozenset().union(*texts)))
        case OfCode(name, _):
            return OfCode(
                name, frozenset().union(*(part.codes for part in parts if isinstance(part, OfCode)))
            )
        case _:
            return Either(tuple(parts))
