"""Candidate orders, and how far each would move its resource."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Priority, Proposal
from gridflock.units import Codes, Kvar, Kw, Mask, Rows, Seconds

_GRID = int(Priority.ENVELOPE)
"""Reactive orders without a wish weigh like the grid's limits."""
Places = NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Candidate orders, k of them.

    Attributes:
        rows: int32 (k,) resources.
        p_kw: (k,) ordered injection; NaN where only reactive power is asked.
        q_kvar: (k,) ordered reactive injection; NaN where none is asked.
        expires_s: (k,) when each would end.
        source: (k,) position in ``proposals``; -1 for the grid's reactive orders.
        proposals: whose wishes they are.
        next_id: id of the first order that goes out.
        policy: mark of the policy that made them; another one is tried out first.
    """

    rows: Rows
    p_kw: Kw
    q_kvar: Kvar
    expires_s: Seconds
    source: NDArray[np.integer]
    proposals: tuple[Proposal, ...]
    next_id: int = 1
    policy: str = ""


@dataclass(frozen=True, eq=False)
class Moves:
    """How far each candidate would move its resource, k of them.

    Attributes:
        rows: resources.
        source: position of its proposal; -1 where it has none.
        move_kw: signed change of injection.
        extra_kw: what it adds to its credential's account.
        repeats: whether it repeats the order in force.
        move_kvar: signed change of reactive injection.
    """

    rows: Rows
    source: NDArray[np.integer]
    move_kw: Kw
    extra_kw: Kw
    repeats: Mask
    move_kvar: Kvar
    _key: Codes

    @classmethod
    def of(cls, asked: Asked, kw: Kw, extra_kw: Kw, repeats: Mask, kvar: Kvar) -> Moves:
        """From what each candidate is by itself."""
        weight = np.array([*(wish.priority for wish in asked.proposals), _GRID], dtype=np.uint8)
        key = weight[asked.source] + np.where(repeats, np.uint8(0), np.uint8(len(Priority)))
        return cls(asked.rows, asked.source, kw, extra_kw, repeats, kvar, key)

    @cached_property
    def turn(self) -> Places:
        """(k,) places, those that go first in front: repeats, then by weight, then by row."""
        return np.argsort(self._key, kind="stable")

    @property
    def away_kw(self) -> Kw:
        """(k,) how much further each takes its resource from where it came from."""
        gone: Kw = self.extra_kw - np.abs(self.move_kw)
        return gone
