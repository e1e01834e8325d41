"""Several adapters side by side: every resource is spoken to by one, each on a way of its own."""

from __future__ import annotations

from collections.abc import Collection
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Orders
from gridflock.ports import Field
from gridflock.runtime._way import Arrived, Way


class Ways:
    """One adapter for all, and others for the resources that they name.

    One caller at a time; ``speak`` may be called from any thread, and counts from the next orders on.

    An adapter that blocks or fails stops none of the others; what is wrong is told by its name.

    Args:
        field: speaks with everybody whom no other speaks with.
        patience_s: so long a tick waits for each.
    """

    def __init__(self, field: Field, patience_s: float) -> None:
        self._patience_s = patience_s
        self._ways = [Way(field, patience_s)]
        self._of: dict[str, int] = {}
        """Who speaks with whom: never changed, replaced as a whole, so that a tick goes by one of them."""
        self._sharing = Lock()
        self._split: tuple[tuple[str, ...], dict[str, int], NDArray[np.uint8]] | None = None

    @property
    def field(self) -> Field:
        """The one for all."""
        return self._ways[0].field

    @field.setter
    def field(self, field: Field) -> None:
        """Speak with other devices from now on."""
        self._ways[0].close()
        self._ways[0] = Way(field, self._patience_s)

    def join(self, name: str, field: Field, ids: Collection[str]) -> None:
        """Let an adapter speak with some resources from now on.

        Args:
            name: told with its troubles.
            field: the adapter.
            ids: identities of the resources, of which no other adapter has any.
        """
        with self._sharing:
            taken = sorted(set(ids) & self._of.keys())
            if taken:
                raise ValueError(f"{taken[0]!r} is spoken to by another adapter")
            self._ways.append(Way(field, self._patience_s, name))
            self._of = self._of | dict.fromkeys(ids, len(self._ways) - 1)

    def speak(self, name: str, ids: Collection[str]) -> None:
        """Let the adapter of that name speak with these resources from now on, as far as no other does.

        Args:
            name: as it joined.
            ids: identities of all that it is to speak with.
        """
        with self._sharing:
            at = next(k for k, way in enumerate(self._ways) if way.name == name)
            others = {each: k for each, k in self._of.items() if k != at}
            self._of = dict.fromkeys(ids, at) | others

    def listen(self, now_s: int) -> Arrived:
        """Everything that has arrived since the last call, adapter by adapter."""
        if len(self._ways) == 1:
            return self._ways[0].listen(now_s)
        heard = [way.listen(now_s) for way in self._ways]
        return Arrived(
            tuple(batch for each in heard for batch in each.readings),
            tuple(batch for each in heard for batch in each.outcomes),
            tuple(text for each in heard for text in each.troubles),
        )

    def send(self, orders: Orders, now_s: int) -> None:
        """Hand every order to who speaks with its resource."""
        if len(self._ways) == 1:
            self._ways[0].send(orders, now_s)
            return
        by = self._served(orders.ids)[orders.index]
        for k, way in enumerate(self._ways):
            mine = by == k
            if mine.any():
                way.send(orders.only(mine), now_s)

    def close(self) -> None:
        """Let go of the threads."""
        for way in self._ways:
            way.close()

    def _served(self, ids: tuple[str, ...]) -> NDArray[np.uint8]:
        """Which adapter speaks with each of a vocabulary; found once for each sharing."""
        of, split = self._of, self._split
        if split is None or split[0] is not ids or split[1] is not of:
            split = ids, of, np.array([of.get(name, 0) for name in ids], dtype=np.uint8)
            self._split = split
        return split[2]
