"""From an address and a method to the function that answers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.server._ownership import Need, target
from gridflock.field.ieee2030_5.server._paging import VALUES
from gridflock.field.ieee2030_5.server._turn import Ask, Refused

Handler = Callable[..., Answer]
"""``(ask, target, *rest)``: what the need resolved (left out where it names nothing), then other numbers."""
_MOST_PARTS = 8


@dataclass(frozen=True, slots=True)
class Route:
    """An address and what can be done with it.

    Attributes:
        pattern: ``/edev/{}/rg``; ``{}`` is a number, the first of them is what ``need`` names.
        need: what the caller must own.
        methods: handlers; HEAD is answered as GET.
    """

    pattern: str
    need: Need
    methods: Mapping[str, Handler]

    @property
    def allow(self) -> str:
        """For the header beside a 405."""
        return ", ".join(sorted({*self.methods, *({"HEAD"} if "GET" in self.methods else ())}))


@dataclass(slots=True)
class _Place:
    """A step in the tree of addresses."""

    route: Route | None = None
    named: dict[str, _Place] = field(default_factory=dict)
    any: _Place | None = None


class Routes:
    """All addresses, compiled into a tree."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._root = _Place()
        for route in routes:
            place = self._root
            for part in route.pattern.strip("/").split("/"):
                if part == "{}":
                    place.any = place.any or _Place()
                    place = place.any
                else:
                    place = place.named.setdefault(part, _Place())
            place.route = route

    def find(self, path: str) -> tuple[Route, list[str]] | None:
        """The route of a path and the texts that stand at its numbers."""
        place, numbers = self._root, []
        parts = path.split("/", _MOST_PARTS)
        for part in parts[1:]:
            named = place.named.get(part)
            if named is not None:
                place = named
            elif place.any is not None and part:
                place = place.any
                numbers.append(part)
            else:
                return None
        return None if place.route is None else (place.route, numbers)

    def first(self, path: str) -> str:
        """The first part of a path, if any address begins with it; else an empty text."""
        part = path.partition("/")[2].partition("/")[0]
        return part if part in self._root.named else ""

    def answer(self, ask: Ask) -> Answer:
        """The answer of the handler.

        Raises:
            Refused: nothing there, nothing of the caller's, or what the handler says.
        """
        found = self.find(ask.request.path)
        if found is None:
            raise Refused(404, "names nothing")
        route, numbers = found
        owned = target(ask, route.need, numbers[0] if numbers else None)
        method = "GET" if ask.request.method == "HEAD" else ask.request.method
        handler = route.methods.get(method)
        if handler is None:
            raise NotAllowed(route.allow)
        return handler(ask, *numbers) if owned is None else handler(ask, owned, *numbers[1:])


class NotAllowed(Refused):
    """There is something at the address, but not for this method."""

    def __init__(self, allow: str) -> None:
        """Answer 405 with the methods that are."""
        super().__init__(405, f"only {allow}", VALUES)
        self.allow = allow
