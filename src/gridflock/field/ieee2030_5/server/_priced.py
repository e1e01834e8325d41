"""Tariffs with their components and prices, as the state keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field
from heapq import heappush

from gridflock.field.ieee2030_5.resources import ReadingType
from gridflock.field.ieee2030_5.server._spell import Spell


@dataclass(frozen=True, slots=True)
class Tariff:
    """What some devices pay.

    Attributes:
        number: its place in addresses, never given twice.
        mrid: its identifier.
        name: unique among tariffs.
        primacy: the lower wins.
        currency: ISO 4217, by number.
        multiplier: prices are times ten to it.
        code: the operator's own name of the rate.
    """

    number: int
    mrid: str
    name: str
    primacy: int
    currency: int
    multiplier: int
    code: str = ""

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/tp/{self.number}"


@dataclass(frozen=True, slots=True)
class Component:
    """What one quantity costs: energy taken, energy given, ..."""

    number: int
    tariff: int
    mrid: str
    name: str
    type: ReadingType
    role_flags: int

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/tp/{self.tariff}/rc/{self.number}"


@dataclass(frozen=True, slots=True)
class Block:
    """From a consumption of ``start_value`` on, the unit costs ``price``."""

    start_value: int
    price: int


@dataclass(frozen=True, slots=True)
class Priced:
    """The prices of one component for a time."""

    number: int
    component: int
    mrid: str
    spell: Spell
    tier: int
    blocks: tuple[Block, ...]


@dataclass(slots=True)
class Prices:
    """Tariffs, components, and prices that are not over.

    Attributes:
        tariffs: by number.
        components: by number.
        priced: component to number to its prices for a time.
        next_tariff: number of the next tariff.
        next_component: of the next component.
        next_priced: of the next prices.
        parts: tariff to its components.
        by_mrid: prices to their component.
        due: moments at which prices begin or end, a heap of (moment, component).
    """

    tariffs: dict[int, Tariff] = field(default_factory=dict)
    components: dict[int, Component] = field(default_factory=dict)
    priced: dict[int, dict[int, Priced]] = field(default_factory=dict)
    next_tariff: int = 1
    next_component: int = 1
    next_priced: int = 1
    parts: dict[int, dict[int, None]] = field(init=False, compare=False, default_factory=dict)
    by_mrid: dict[str, int] = field(init=False, compare=False, default_factory=dict)
    due: list[tuple[int, int]] = field(init=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        for component in self.components.values():
            self.parts.setdefault(component.tariff, {})[component.number] = None
        for held in self.priced.values():
            for each in held.values():
                self._index(each)

    def keep(self, tariff: Tariff) -> None:
        """Put in a tariff."""
        self.tariffs[tariff.number] = tariff
        self.next_tariff = max(self.next_tariff, tariff.number + 1)

    def forget(self, number: int) -> None:
        """Take a tariff out."""
        self.tariffs.pop(number, None)
        self.parts.pop(number, None)

    def keep_component(self, component: Component) -> None:
        """Put in a component."""
        self.components[component.number] = component
        self.next_component = max(self.next_component, component.number + 1)
        self.parts.setdefault(component.tariff, {})[component.number] = None

    def forget_component(self, number: int) -> None:
        """Take a component out with its prices."""
        component = self.components.pop(number)
        for each in self.priced.pop(number, {}).values():
            del self.by_mrid[each.mrid]
        self.parts[component.tariff].pop(number, None)

    def keep_priced(self, priced: Priced) -> None:
        """Put in prices, or a new state of them."""
        self.priced.setdefault(priced.component, {})[priced.number] = priced
        self.next_priced = max(self.next_priced, priced.number + 1)
        self._index(priced)

    def end(self, component: int, number: int) -> None:
        """Prices are over and are listed no more."""
        del self.by_mrid[self.priced[component].pop(number).mrid]

    def tariff_of(self, mrid: str) -> int | None:
        """The tariff that prices belong to; None for a stranger."""
        component = self.by_mrid.get(mrid)
        return None if component is None else self.components[component].tariff

    def _index(self, priced: Priced) -> None:
        self.by_mrid[priced.mrid] = priced.component
        heappush(self.due, (priced.spell.next_s, priced.component))
