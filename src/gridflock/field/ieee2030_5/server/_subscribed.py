"""Who wants to be told of what, and what is still to be told, as the state keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Wish:
    """A subscription.

    Attributes:
        number: its place in addresses, never given twice.
        device: number of the device it stands under.
        owner: LFDI of the client.
        path: of the resource it is about, without a query.
        uri: where notifications go.
        level: as posted.
        limit: items of a list that are wanted; 0 = only that it changed.
    """

    number: int
    device: int
    owner: str
    path: str
    uri: str
    level: str
    limit: int

    @property
    def at(self) -> str:
        """Where it stands."""
        return f"/edev/{self.device}/sub/{self.number}"


@dataclass(frozen=True, slots=True)
class Owed:
    """A notification that has not arrived yet.

    Attributes:
        version: grows with every change; a newer one takes the older one's place.
        since_s: when the oldest change that is untold was made.
        tries: posts of it that failed.
        due_s: not to be tried before.
    """

    version: int
    since_s: int
    tries: int = 0
    due_s: int = 0


@dataclass(slots=True)
class Subscribed:
    """Subscriptions by number, and what is owed to them.

    Attributes:
        wishes: by number.
        owed: subscription to its notification; one at most, for what a client wants is the newest.
        next_number: of the next subscription.
        next_version: of the next change.
        dead: subscriptions that could not be served, to the moment that was given up.
        of_path: resource to its subscriptions.
        of_device: device to its subscriptions.
        of_tree: the first two parts of a path to the subscriptions at it and below.
    """

    wishes: dict[int, Wish] = field(default_factory=dict)
    owed: dict[int, Owed] = field(default_factory=dict)
    next_number: int = 1
    next_version: int = 1
    dead: dict[int, int] = field(default_factory=dict)
    of_path: dict[str, dict[int, None]] = field(init=False, compare=False, default_factory=dict)
    of_device: dict[int, dict[int, None]] = field(init=False, compare=False, default_factory=dict)
    of_tree: dict[str, dict[int, None]] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for wish in self.wishes.values():
            self._index(wish)

    def keep(self, wish: Wish) -> None:
        """Put in a subscription, or a new state of it, which is served again and owes what it owed."""
        owed = self.owed.get(wish.number)
        self.drop(wish.number)
        if owed is not None:
            self.owed[wish.number] = owed
        self.wishes[wish.number] = wish
        self.next_number = max(self.next_number, wish.number + 1)
        self._index(wish)

    def drop(self, number: int) -> None:
        """Take one out with what is owed to it."""
        wish = self.wishes.pop(number, None)
        if wish is None:
            return
        self.owed.pop(number, None)
        self.dead.pop(number, None)
        for index, key in self._places(wish):
            del index[key][number]
            if not index[key]:
                del index[key]

    def owe(self, number: int, now_s: int) -> None:
        """There is news for a subscription."""
        before = self.owed.get(number)
        since_s = now_s if before is None else before.since_s
        kept = (0, now_s) if before is None else (before.tries, before.due_s)
        self.owed[number] = Owed(self.next_version, since_s, *kept)
        self.next_version += 1

    def forget_device(self, device: int) -> None:
        """Take out all subscriptions under a device."""
        for number in list(self.of_device.get(device, ())):
            self.drop(number)

    def _index(self, wish: Wish) -> None:
        for index, key in self._places(wish):
            index.setdefault(key, {})[wish.number] = None

    def _places(self, wish: Wish) -> tuple[tuple[dict[Any, dict[int, None]], object], ...]:
        tree = "/".join(wish.path.split("/", 3)[:3])
        return (self.of_path, wish.path), (self.of_device, wish.device), (self.of_tree, tree)

    def below(self, path: str) -> list[str]:
        """Paths below one of two parts that somebody wants to be told of."""
        found = {self.wishes[number].path for number in self.of_tree.get(path, ())}
        return sorted(found - {path})
