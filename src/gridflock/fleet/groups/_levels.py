"""Levels: one group per value of something, each resource in at most one of them.

A level is two arrays and a vocabulary, however many groups it has: ``transformer/t123`` is found by its
name, but nothing is made for it before somebody asks.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._kernels import parents_of, sorted_by
from gridflock.fleet.registry import TEXTS
from gridflock.schema import CUSTOMER_CLASSES, Enrolment, Family, Kind
from gridflock.units import Mask, Rows

ELSEWHERE = "other"
"""Zone of the buses that a map does not know."""
_NAMES: Mapping[str, tuple[str, ...]] = {
    "kind": tuple(kind.name.lower() for kind in Kind),
    "family": tuple(family.name.lower() for family in Family),
    "customer": CUSTOMER_CLASSES,
    "enrolment": tuple(state.name.lower() for state in Enrolment),
}
"""Vocabularies of the attributes that are codes of the house."""
COUNTED_BY = (*TEXTS, *_NAMES)
"""Attributes that divide a fleet into levels."""
_NOBODY = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class Division:
    """Who is in which group of a level.

    Attributes:
        labels: K texts, the groups' names behind the level's.
        code: int32 (n,) which of them each row is in, -1 for none.
        titles: words for the screen, where they are not made of the label.
    """

    labels: tuple[str, ...]
    code: Rows
    titles: Mapping[str, str] = field(default_factory=dict)


class Source(Protocol):
    """Where the groups of a level come from, asked again whenever registry or topology have changed."""

    def divide(self, fleet: Fleet, levels: Mapping[str, Level]) -> Division:
        """The division of a fleet, levels that stand before it given."""
        ...


@dataclass(frozen=True, slots=True)
class ByAttribute:
    """One group per value of a coded attribute of the registry; ``left_out`` and empty texts make none."""

    name: str
    left_out: frozenset[str] = frozenset()

    def divide(self, fleet: Fleet, levels: Mapping[str, Level]) -> Division:
        """Values that somebody in a group has, in the order of the vocabulary."""
        del levels
        labels = fleet.labels[self.name] if self.name in TEXTS else _NAMES[self.name]
        column = fleet.family if self.name == "family" else fleet.columns[self.name]
        held = np.bincount(column[grouped(fleet)], minlength=len(labels)) > 0
        held &= np.array([bool(label) and label not in self.left_out for label in labels], dtype=bool)
        number = np.where(held, np.cumsum(held) - 1, -1).astype(np.int32)
        names = tuple(label for label, here in zip(labels, held.tolist(), strict=True) if here)
        titles = {} if self.name in TEXTS else {name: name.replace("_", " ") for name in names}
        code = np.where(grouped(fleet), number[column], np.int32(-1)).astype(np.int32)
        return Division(names, code, titles)


@dataclass(frozen=True, slots=True, eq=False)
class Zones:
    """One division of the buses of a network, as its topology gives it.

    Attributes:
        level: the level it makes: ``section``, ``source``, ``island`` …
        buses: B bus names.
        code: (B,) zone of each bus, -1 for none (a dead bus).
        names: of the zones.
        elsewhere: zone of buses that are not among ``buses``; empty for none.
    """

    level: str
    buses: tuple[str, ...]
    code: Rows
    names: tuple[str, ...]
    elsewhere: str = ""

    @classmethod
    def of_map(cls, level: str, zone_of_bus: Mapping[str, str], elsewhere: str = ELSEWHERE) -> Zones:
        """Zones of a plain map from bus to zone."""
        names = tuple(dict.fromkeys(zone_of_bus.values()))
        number = {name: at for at, name in enumerate(names)}
        code = np.array([number[zone] for zone in zone_of_bus.values()], dtype=np.int32)
        return cls(level, tuple(zone_of_bus), code, names, elsewhere)

    def inhabited(self) -> Zones:
        """Without the zones that have no bus, as where ``names`` are those of all branches."""
        held = np.bincount(self.code[self.code >= 0], minlength=len(self.names)) > 0
        place = np.append(np.where(held, np.cumsum(held) - 1, -1), -1).astype(np.int32)
        names = tuple(name for name, here in zip(self.names, held.tolist(), strict=True) if here)
        return Zones(self.level, self.buses, place[self.code], names, self.elsewhere)

    def of_buses(self, buses: Sequence[str]) -> tuple[Rows, tuple[str, ...]]:
        """Zone of each of these buses, and the zones' names, ``elsewhere`` last where it is needed."""
        if self.buses is buses:
            return self.code, self.names
        last = self.names.index(self.elsewhere) if self.elsewhere in self.names else len(self.names)
        unknown = last if self.elsewhere else -1
        zone = defaultdict(lambda: unknown, zip(self.buses, self.code.tolist(), strict=True))
        code = np.fromiter(map(zone.__getitem__, buses), np.int32, len(buses))
        beyond = bool((code == len(self.names)).any())
        return code, (*self.names, self.elsewhere) if beyond else self.names


@dataclass(frozen=True, slots=True, eq=False)
class ByBus:
    """One group per zone of the connection point."""

    zones: Zones
    titles: Mapping[str, str] = field(default_factory=dict)

    def divide(self, fleet: Fleet, levels: Mapping[str, Level]) -> Division:
        """All zones, empty ones, too."""
        del levels
        code, names = self.zones.of_buses(fleet.labels["bus"])
        mine = code[fleet.columns["bus"]] if len(code) else np.zeros(len(fleet.ids), dtype=np.int32)
        return Division(names, np.where(grouped(fleet), mine, -1).astype(np.int32), self.titles)


@dataclass(frozen=True, slots=True, eq=False)
class ByRow:
    """Groups of resources as they are given; who comes later is in none.

    Attributes:
        labels: K texts.
        code: (n,) group of each row of the fleet, -1 for none.
    """

    labels: tuple[str, ...]
    code: Rows

    def divide(self, fleet: Fleet, levels: Mapping[str, Level]) -> Division:
        """As given; feeder heads left out."""
        del levels
        return Division(self.labels, np.where(grouped(fleet), self.code, -1).astype(np.int32))

    def moved(self, before: Rows) -> ByRow:
        """The same for a fleet whose rows were rows ``before`` (-1: new) of the earlier one."""
        code = np.where(before >= 0, self.code[before], -1) if len(self.code) else np.full_like(before, -1)
        return ByRow(self.labels, code.astype(np.int32))


class Level:
    """Groups that share no resource, all of one kind; never changed once made.

    Args:
        name: before the slash of its groups' ids.
        division: who is where.
        source: what the division came from.
        parents: what its groups are part of: levels, each group then in one group of it, and groups.
        title: words for the screen with ``{}`` for the label.
    """

    def __init__(
        self, name: str, division: Division, source: Source, parents: tuple[str, ...] = (), title: str = "{}"
    ) -> None:
        self.name, self.source, self.parents = name, source, parents
        self.labels, self.code = division.labels, division.code
        self.titles, self._title = division.titles, title
        self.code.flags.writeable = False

    @property
    def pattern(self) -> str:
        """Words for the screen with ``{}`` for the label."""
        return self._title

    @cached_property
    def number(self) -> dict[str, int]:
        """Code of each label."""
        return {label: at for at, label in enumerate(self.labels)}

    @cached_property
    def _sorted(self) -> tuple[Rows, NDArray[np.int64]]:
        order, start = sorted_by(self.code, len(self.labels))
        order.flags.writeable = False
        return order, start

    @property
    def size(self) -> NDArray[np.int64]:
        """(K,) rows of each group."""
        return np.diff(self._sorted[1])

    @property
    def members(self) -> Rows:
        """All rows in a group of the level, ascending."""
        return np.flatnonzero(self.code >= 0).astype(np.int32)

    @property
    def ids(self) -> list[str]:
        """Names of all its groups."""
        return [f"{self.name}/{label}" for label in self.labels]

    def rows(self, at: int) -> Rows:
        """Rows of one group, ascending."""
        order, start = self._sorted
        return order[start[at] : start[at + 1]]

    def title(self, at: int) -> str:
        """Words for the screen of one group."""
        label = self.labels[at]
        return self.titles.get(label) or self._title.format(label)

    def within(self, coarse: Level) -> Rows:
        """(K,) group of another level that each group lies in, -1 where in none, -2 where in several."""
        found: Rows = parents_of(self.code, coarse.code, len(self.labels))[0]
        return found


def grouped(fleet: Fleet) -> Mask:
    """Who may be in groups: all but feeder heads."""
    may: Mask = fleet.columns["kind"] != Kind.FEEDER_HEAD
    return may
