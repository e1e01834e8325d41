"""Every change of a setting with the moment it holds from; the registry as it was at any moment.

An import is one ``Change``: the resources it added, whole, and for known ones each attribute that became
another, with the old and the new value. A change holds from its moment until the next later change of the
same attribute of the same resource; of two for one moment the one learnt later holds. So a change dated
before a later one is no contradiction: it fills the time between. Only what is dated before its resource
is known at all is refused.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.registry._merge import Merge, merge
from gridflock.fleet.registry._rows import DTYPES, IDENTITY_NAMES, TEXTS, Registry, ordered, sorted_codes
from gridflock.fleet.registry.enrolment import LEGAL
from gridflock.model import Rejected
from gridflock.schema import Enrolment
from gridflock.units import Codes, Mask, Rows, iso

_WORDS = frozenset((*TEXTS, *IDENTITY_NAMES))
_LISTED = 1_000
_LEGAL = np.array([[target in LEGAL[source] for target in Enrolment] for source in Enrolment])


@dataclass(frozen=True, slots=True, eq=False)
class Change:
    """What one import, or one person, changed.

    Attributes:
        valid_s: moment it holds from, unix seconds.
        known_s: moment it was learnt.
        author: who said so.
        source: where from: a file's name, a reason.
        added: new resources, whole.
        ids: vocabulary of the changed resources.
        attributes: vocabulary of the changed attributes.
        words: vocabulary of the texts below.
        resource: int32 (m,) position in ``ids``.
        attribute: uint8 (m,) position in ``attributes``.
        old: float64 (m,) value before, as known then; of a text its position in ``words``; NaN where
            absent.
        new: float64 (m,) value from ``valid_s`` on, in the same form.
    """

    valid_s: int
    known_s: int
    author: str
    source: str
    added: Registry
    ids: tuple[str, ...]
    attributes: tuple[str, ...]
    words: tuple[str, ...]
    resource: Rows
    attribute: Codes
    old: NDArray[np.float64]
    new: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Version:
    """One value that one attribute of one resource got.

    Attributes:
        valid_s: moment it holds from.
        known_s: moment it was learnt.
        author: who said so.
        source: where from.
        attribute: its name; ``id`` where the resource was added.
        old: value before; None where absent.
        new: value from then on.
    """

    valid_s: int
    known_s: int
    author: str
    source: str
    attribute: str
    old: float | str | None
    new: float | str | None


@dataclass(frozen=True, slots=True, eq=False)
class Versions:
    """All changes ever learnt, in the order they were learnt in.

    Attributes:
        changes: append-only.
    """

    changes: tuple[Change, ...] = ()

    def with_change(self, change: Change) -> Versions:
        """One more."""
        return Versions((*self.changes, change))

    def as_of(self, t_s: int, known_s: int | None = None) -> Registry:
        """The registry that holds at a moment.

        Args:
            t_s: the moment, unix seconds.
            known_s: only by what was learnt until then; None = by all that is known now.
        """
        chosen = [
            change
            for change in sorted(self.changes, key=lambda change: change.valid_s)
            if change.valid_s <= t_s and (known_s is None or change.known_s <= known_s)
        ]
        draft = _Draft([change.added for change in chosen if change.added.ids])
        for change in chosen:
            if len(change.resource):
                draft.take(change)
        return draft.registry()

    def change(
        self,
        news: Registry,
        valid_s: int,
        known_s: int,
        author: str,
        source: str = "",
        given: Collection[str] | None = None,
    ) -> tuple[Change, Merge, tuple[Rejected, ...]]:
        """What rows would change from a moment on, compared with what holds then.

        Args:
            news: checked rows.
            valid_s: moment they hold from.
            known_s: moment they were learnt.
            author: who says so.
            source: where from.
            given: attributes that the rows speak of; None = all.

        Returns:
            The change, which ``with_change`` adds; the registry of ``valid_s`` with it; and the rows
            that are refused: their resource is known from a later moment on only, or it would go into
            a state of enrolment that no legal move leads to.
        """
        later = {
            name: change.valid_s
            for change in self.changes
            if change.valid_s > valid_s
            for name in change.added.ids
        }
        early = (
            np.array([name in later for name in news.ids], dtype=bool)
            if later
            else np.zeros(len(news.ids), bool)
        )
        rejected = _too_early([news.ids[k] for k in np.flatnonzero(early).tolist()], later)
        before = self.as_of(valid_s)
        if early.any():
            news = chosen_rows(news, ~early)
        done = merge(before, news, given)
        barred, faults = _illegal_moves(before, done)
        if barred:
            news = chosen_rows(news, np.array([name not in barred for name in news.ids], dtype=bool))
            done = merge(before, news, given)
            rejected = (*rejected, *faults)
        return _change_of(before, done, valid_s, known_s, author, source), done, rejected

    def of(self, name: str) -> tuple[Version, ...]:
        """All versions of a resource, by the moment they hold from."""
        found: list[Version] = []
        for change in sorted(self.changes, key=lambda change: change.valid_s):
            if name in change.added.ids:
                found.append(
                    Version(change.valid_s, change.known_s, change.author, change.source, "id", None, name)
                )
            if name in change.ids:
                found += _versions_of(change, change.ids.index(name))
        return tuple(found)


def _too_early(names: Sequence[str], later: Mapping[str, int]) -> tuple[Rejected, ...]:
    rule = "holds from before the resource is known"
    told = [
        Rejected("resource", "valid_s", (name,), f"{rule}, which is from {iso(later[name])}")
        for name in names[:_LISTED]
    ]
    if len(names) > _LISTED:
        told.append(Rejected("resource", "valid_s", (), rule, count=len(names) - _LISTED))
    return tuple(told)


def _illegal_moves(before: Registry, done: Merge) -> tuple[frozenset[str], tuple[Rejected, ...]]:
    """Resources whose state of enrolment would change by no legal move."""
    rows = done.changed.get("enrolment", np.empty(0, np.int32))
    source = before.columns["enrolment"][done.before[rows]]
    target = done.registry.columns["enrolment"][rows]
    bad = rows[~_LEGAL[source, target]]
    told = []
    for row in bad[:_LISTED].tolist():
        was = Enrolment(before.columns["enrolment"][done.before[row]]).name.lower()
        now = Enrolment(done.registry.columns["enrolment"][row]).name.lower()
        reason = f"{was} -> {now} is no legal move"
        told.append(Rejected("resource", "enrolment", (done.registry.ids[row],), reason))
    if len(bad) > _LISTED:
        told.append(Rejected("resource", "enrolment", (), "is no legal move", count=len(bad) - _LISTED))
    return frozenset(done.registry.ids[row] for row in bad.tolist()), tuple(told)


def _versions_of(change: Change, resource: int) -> Iterator[Version]:
    for k in np.flatnonzero(change.resource == resource).tolist():
        name = change.attributes[change.attribute[k]]
        old, new = (_said(name, float(value[k]), change.words) for value in (change.old, change.new))
        yield Version(change.valid_s, change.known_s, change.author, change.source, name, old, new)


def _said(name: str, value: float, words: Sequence[str]) -> float | str | None:
    if name in _WORDS:
        return words[int(value)] or None
    return None if np.isnan(value) else value


def _change_of(before: Registry, done: Merge, valid_s: int, known_s: int, author: str, source: str) -> Change:
    """The difference that a merge made, in columns."""
    registry = done.registry
    touched = np.zeros(len(registry.ids), dtype=bool)
    for rows in done.changed.values():
        touched[rows] = True
    place = np.cumsum(touched) - 1
    words: dict[str, int] = {}
    parts: list[tuple[Rows, Codes, NDArray[np.float64], NDArray[np.float64]]] = []
    for name, rows in done.changed.items():
        old = _plain(before, name, done.before[rows], words)
        new = _plain(registry, name, rows, words)
        code = np.full(len(rows), len(parts), dtype=np.uint8)
        parts.append((place[rows].astype(np.int32), code, old, new))
    nothing: tuple[NDArray[Any], ...] = (
        np.empty(0, np.int32),
        np.empty(0, np.uint8),
        np.empty(0),
        np.empty(0),
    )
    resource, attribute, old, new = (
        np.concatenate([none, *(part[k] for part in parts)]) for k, none in enumerate(nothing)
    )
    return Change(
        valid_s,
        known_s,
        author,
        source,
        chosen_rows(registry, done.before < 0),
        tuple([registry.ids[k] for k in np.flatnonzero(touched).tolist()]),
        tuple(done.changed),
        tuple(words),
        resource,
        attribute,
        old,
        new,
    )


def _plain(registry: Registry, name: str, rows: Rows, words: dict[str, int]) -> NDArray[np.float64]:
    """Values of some rows; of texts their positions in a vocabulary that grows."""
    if name in TEXTS:
        turned = np.array(
            [words.setdefault(word, len(words)) for word in registry.labels[name]], dtype=np.float64
        )
        found: NDArray[np.float64] = turned[registry.columns[name][rows]]
        return found
    if name in IDENTITY_NAMES:
        texts = registry.identities.get(name)
        said = ["" if texts is None else texts[row] for row in rows.tolist()]
        return np.array([words.setdefault(text, len(words)) for text in said], dtype=np.float64)
    return registry.columns[name][rows].astype(np.float64)


def chosen_rows(registry: Registry, chosen: Mask) -> Registry:
    """Some rows of a registry, with the vocabularies of these rows only."""
    if chosen.all():
        return registry
    at = np.flatnonzero(chosen)
    columns: dict[str, NDArray[Any]] = {}
    labels: dict[str, tuple[str, ...]] = {}
    for name, column in registry.columns.items():
        columns[name] = column[at]
        if name in TEXTS:
            columns[name], labels[name] = sorted_codes(columns[name], registry.labels[name])
    kept = at.tolist()
    identities = {name: [texts[k] for k in kept] for name, texts in registry.identities.items()}
    return ordered([registry.ids[k] for k in kept], columns, labels, identities)[0]


class _Draft:
    """Resources on their way to a moment: their first values, changed one change after the other."""

    def __init__(self, added: Sequence[Registry]) -> None:
        self._ids = [name for registry in added for name in registry.ids]
        self._row_of = dict(zip(self._ids, range(len(self._ids)), strict=True))
        self._words: dict[str, dict[str, int]] = {name: {} for name in TEXTS}
        self._columns: dict[str, NDArray[Any]] = {}
        self._identities: dict[str, list[str]] = {}
        for name, dtype in DTYPES.items():
            parts = [self._codes(registry, name) for registry in added]
            self._columns[name] = np.concatenate(parts) if parts else np.empty(0, dtype)
        for name in IDENTITY_NAMES:
            if any(name in registry.identities for registry in added):
                texts = (registry.identities.get(name) or repeat("", len(registry.ids)) for registry in added)
                self._identities[name] = [text for part in texts for text in part]

    def _codes(self, registry: Registry, name: str) -> NDArray[Any]:
        """A column; of a text with codes into the draft's own vocabulary."""
        column = registry.columns[name]
        if name not in TEXTS:
            return column
        place = self._words[name]
        turned = np.array(
            [place.setdefault(word, len(place)) for word in registry.labels[name]], dtype=np.int32
        )
        codes: NDArray[np.int32] = turned[column]
        return codes

    def take(self, change: Change) -> None:
        """Put the change's new values in their places."""
        rows = np.array([self._row_of[name] for name in change.ids], dtype=np.int32)
        for code in np.unique(change.attribute).tolist():
            name = change.attributes[code]
            here = change.attribute == code
            at, new = rows[change.resource[here]], change.new[here]
            if name in IDENTITY_NAMES:
                texts = self._identities.setdefault(name, [""] * len(self._ids))
                for row, word in zip(at.tolist(), new.astype(np.int64).tolist(), strict=True):
                    texts[row] = change.words[word]
                continue
            if name in TEXTS:
                place = self._words[name]
                used = np.unique(new).astype(np.int64).tolist()
                turned = np.zeros(len(change.words), dtype=np.int32)
                turned[used] = [place.setdefault(change.words[word], len(place)) for word in used]
                new = turned[new.astype(np.int64)]
            column = self._columns[name]
            if not column.flags.writeable:
                column = self._columns[name] = column.copy()
            column[at] = new

    def registry(self) -> Registry:
        """The registry of these values."""
        labels: dict[str, tuple[str, ...]] = {}
        columns = dict(self._columns)
        for name in TEXTS:
            columns[name], labels[name] = sorted_codes(columns[name], list(self._words[name]))
        return ordered(self._ids, columns, labels, self._identities)[0]
