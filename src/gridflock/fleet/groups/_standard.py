"""The groups that every fleet has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from gridflock.fleet._columns import Fleet
from gridflock.fleet.groups._levels import ByAttribute, ByBus, Division, Level, Source, Zones, grouped
from gridflock.fleet.groups._rules import Rule
from gridflock.schema import CUSTOMER_CLASSES, Family, Kind
from gridflock.units import PHASES

ALL = "all"
_SECTION = "section"
_WORDS = ("sun", "wind", *(family.name.lower() for family in Family if family != Family.RENEWABLE))
"""Words of the plan groups' classes, in their order: renewables are two."""


@dataclass(frozen=True, slots=True)
class PlanClasses:
    """What takes orders, by class, customer class and section: alike in behaviour, tariff and place."""

    def divide(self, fleet: Fleet, levels: Mapping[str, Level]) -> Division:
        """Groups that have members, section by section."""
        section = levels[_SECTION]
        word = np.where(fleet.family == Family.RENEWABLE, 0, fleet.family.astype(np.int64) + 1)
        word = np.where(fleet.columns["kind"] == Kind.WIND, 1, word)
        customers = len(CUSTOMER_CLASSES)
        key = (section.code.astype(np.int64) * len(_WORDS) + word) * customers + fleet.columns["customer"]
        takes = grouped(fleet) & (fleet.family != Family.NONE) & (section.code >= 0)
        held = np.bincount(key[takes], minlength=len(section.labels) * len(_WORDS) * customers) > 0
        number = np.cumsum(held) - 1
        labels, titles = [], {}
        for at in np.flatnonzero(held).tolist():
            rest, customer = divmod(at, customers)
            where, what = divmod(rest, len(_WORDS))
            label = f"{_WORDS[what]}/{CUSTOMER_CLASSES[customer]}/{section.labels[where]}"
            labels.append(label)
            titles[label] = f"{section.title(where)}: {CUSTOMER_CLASSES[customer]} {_WORDS[what]}"
        code = np.full(len(fleet.ids), -1, dtype=np.int32)
        code[takes] = number[key[takes]]
        return Division(tuple(labels), code, titles)


def standard_levels(
    section_of_bus: Mapping[str, str], section_titles: Mapping[str, str]
) -> Iterator[tuple[str, Source, tuple[str, ...], str]]:
    """Levels by name: source, parents, words for the screen."""
    zones = Zones.of_map(_SECTION, section_of_bus)
    yield _SECTION, ByBus(zones, section_titles), (ALL,), "{}"
    yield "plan", PlanClasses(), (_SECTION,), "{}"
    yield "type", ByAttribute("kind"), (ALL,), "{}"
    yield "provider", ByAttribute("provider"), (ALL,), "provider {}"
    yield "program", ByAttribute("program", frozenset({"none"})), (ALL,), "program {}"


def standard_rules() -> Iterator[tuple[str, str, Rule]]:
    """Rule groups below ``all`` by id: words for the screen, rule."""
    for letter in PHASES:
        yield f"phase/{letter}", f"Phase {letter}", Rule(f"phases has {letter}")
    yield "demand", "Metered demand", Rule("family = none")
