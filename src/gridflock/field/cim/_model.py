"""The things of a file, related: what refers to what, and values read with their faults noted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from gridflock.field.cim._xml import NAMED, Limits, Raw, things
from gridflock.grid.build import Parts

LEAST, MOST = 1e-30, 1e15
"""Nothing on a feeder is smaller, but 0, or larger, in any unit used."""


class Model:
    """Everything a file describes.

    Args:
        path: the file.
        limits: how large it may be.
        parts: where what is wrong is noted.
    """

    def __init__(self, path: Path, limits: Limits, parts: Parts) -> None:
        self.file = path.name
        self.faults = parts.faults
        self.by_id = {raw.id: Thing(self, raw) for raw in things(path, limits, parts)}
        self._kinds: dict[str, list[Thing]] = {}
        for thing in self.by_id.values():
            self._kinds.setdefault(thing.kind, []).append(thing)
        self._inverse: dict[str, dict[str, list[Thing]]] = {}
        self._names: dict[str, dict[str, int]] = {}

    @property
    def kinds(self) -> Mapping[str, Sequence[Thing]]:
        """Things by class name."""
        return self._kinds

    def of(self, *kinds: str) -> list[Thing]:
        """Things of some classes, in the order of the file."""
        return [thing for kind in kinds for thing in self._kinds.get(kind, ())]

    def referring(self, prop: str, thing: Thing) -> list[Thing]:
        """Things whose property ``prop`` points at ``thing``."""
        if prop not in self._inverse:
            index: dict[str, list[Thing]] = {}
            for other in self.by_id.values():
                for target in other.values.get(prop, ()):
                    index.setdefault(target, []).append(other)
            self._inverse[prop] = index
        return self._inverse[prop].get(thing.id, [])

    def is_unique(self, thing: Thing) -> bool:
        """Whether no other thing of its class has its name."""
        if thing.kind not in self._names:
            count: dict[str, int] = {}
            for other in self.of(thing.kind):
                count[other.name.lower()] = count.get(other.name.lower(), 0) + 1
            self._names[thing.kind] = count
        return bool(thing.name) and self._names[thing.kind][thing.name.lower()] == 1


class Thing:
    """One thing; a getter notes the fault and answers with a harmless value."""

    __slots__ = ("id", "kind", "line", "model", "values")

    def __init__(self, model: Model, raw: Raw) -> None:
        self.model = model
        self.kind, self.id, self.line, self.values = raw.kind, raw.id, raw.line, raw.values

    @property
    def name(self) -> str:
        """``IdentifiedObject.name``; empty without."""
        return self.text(NAMED)

    @property
    def title(self) -> str:
        """Name, or identifier where no name tells it from others of its class."""
        if self.model.is_unique(self):
            return self.name
        return f"{self.name}-{self.id}" if self.name else self.id

    @property
    def key(self) -> str:
        """Class and title: the id of what is made of it."""
        return f"{self.kind}.{self.title}"

    @property
    def where(self) -> str:
        """``file:line``."""
        return f"{self.model.file}:{self.line}"

    def fault(self, prop: str, reason: str) -> None:
        """Note a fault of this thing."""
        named = f"{self.name} ({self.id})" if self.name else self.id
        self.model.faults.add(self.kind, named, prop, f"{reason} ({self.where})", self.line)

    def has(self, prop: str) -> bool:
        """Whether a property is given."""
        return bool(self.values.get(prop))

    def text(self, prop: str) -> str:
        """Text, reference or enumeration value as written; empty without."""
        return (self.values.get(prop) or [""])[0]

    def number(self, prop: str, default: float | None = None, *, above: float = -math.inf) -> float:
        """A finite number; without a default the property must be there. 1 where it is at fault."""
        text = self.text(prop)
        if not text and default is not None:
            return default
        try:
            value = float(text)
        except ValueError:
            self.fault(prop, f"expected a number, got {text!r}" if text else "missing")
            return 1.0
        if not (value == 0.0 or LEAST <= abs(value) <= MOST):
            self.fault(prop, f"{text} is no number that can be")
            return 1.0
        if value <= above:
            self.fault(prop, f"{text} is not above {above}")
            return 1.0
        return value

    def whole(self, prop: str, default: int | None = None) -> int:
        """A whole number, ``3`` or ``3.0``."""
        value = self.number(prop, None if default is None else float(default))
        if value != int(value):
            self.fault(prop, f"{value} is not a whole number")
        return int(value)

    def flag(self, prop: str, *, default: bool) -> bool:
        """A truth value."""
        text = self.text(prop).lower()
        if text not in {"", "true", "false"}:
            self.fault(prop, f"expected true or false, got {text!r}")
        return text == "true" if text else default

    def one_of(self, prop: str, allowed: Iterable[str], default: str) -> str:
        """An enumeration value out of some."""
        value = self.text(prop)
        if not value:
            return default
        if value not in allowed:
            self.fault(prop, f"{value} cannot be represented")
            return default
        return value

    def ref(self, prop: str) -> Thing | None:
        """The thing a property points at; a dangling reference is a fault."""
        target = self.text(prop)
        if not target:
            return None
        thing = self.model.by_id.get(target)
        if thing is None:
            self.fault(prop, f"refers to {target}, which is not in the file")
        return thing

    def need(self, prop: str) -> Thing | None:
        """The same where the property must be there."""
        if not self.has(prop):
            self.fault(prop, "missing")
        return self.ref(prop)

    def referring(self, prop: str) -> list[Thing]:
        """Things whose property ``prop`` points here."""
        return self.model.referring(prop, self)
