"""What crosses the border to the devices: readings in, orders out, outcomes back.

All three are columns. Identity is dictionary-encoded: ``ids`` is a vocabulary that its maker
keeps alive and passes again unchanged, so that the receiver resolves it to rows only once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from gridflock.units import Codes, Kvar, Kw, Mask, Rows, Seconds


class Quality(IntEnum):
    """Trust in one reading."""

    GOOD = 0
    SUSPECT = 1
    SUBSTITUTED = 2


class OutcomeStatus(IntEnum):
    """What the world said to an order: the closed union of CONVENTIONS §10."""

    ACCEPTED = 0
    PARTIAL = 1
    REFUSED = 2
    EXPIRED = 3
    UNREACHABLE = 4


@dataclass(frozen=True, slots=True)
class Rejected:
    """Bad input as a value: counted, shown, never raised (CONVENTIONS §10).

    Attributes:
        component: what was refused: ``"resource"``, ``"reading"``, ``"proposal"``, ``"feeder"`` …
        field: the attribute at fault.
        ids: which ones, at most a screenful.
        reason: the rule that was broken, in words, with the value.
        row: line or position in the input, counted from 1; 0 where there is none.
        count: how many cases this stands for.
    """

    component: str
    field: str
    ids: tuple[str, ...]
    reason: str
    row: int = 0
    count: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Readings:
    """A batch of measured values, house sign and units.

    Attributes:
        ids: vocabulary of outside identities.
        index: (n,) position in ``ids``.
        quantity: (n,) ``schema.QUANTITY`` code.
        value: float64 (n,).
        time_s: (n,) moment of measurement, unix seconds.
        quality: (n,) ``Quality`` code.
    """

    ids: tuple[str, ...]
    index: Rows
    quantity: Codes
    value: NDArray[np.float64]
    time_s: Seconds
    quality: Codes


@dataclass(frozen=True, slots=True, eq=False)
class Orders:
    """A batch of orders to resources. Past ``expires_s`` a device is on its own default again.

    One that leaves both active and reactive power to the device takes the order in force back.

    Attributes:
        ids: vocabulary: the fleet's ids, row by row.
        index: (n,) row of the resource in ``ids``.
        order_id: int64 (n,), unique over the life of a ledger, increasing.
        p_kw: (n,) ordered active power, injection positive; NaN = leave it at the device's own default.
        expires_s: (n,) end of validity, unix seconds.
        source: (n,) position in ``sources``: whose wish it was; -1 where only reactive power is
            ordered, for the grid's voltages.
        sources: proposal ids.
        issued_s: moment of the order.
        q_kvar: (n,) ordered reactive power, injection positive; NaN = leave it at the device's own
            default. None = no reactive orders in this batch.
    """

    ids: tuple[str, ...]
    index: Rows
    order_id: NDArray[np.int64]
    p_kw: Kw
    expires_s: Seconds
    source: NDArray[np.int16]
    sources: tuple[str, ...]
    issued_s: int
    q_kvar: Kvar | None = None

    def only(self, mine: Mask) -> Orders:
        """Some of them; ``mine`` is (n,)."""
        return replace(
            self,
            index=self.index[mine],
            order_id=self.order_id[mine],
            p_kw=self.p_kw[mine],
            expires_s=self.expires_s[mine],
            source=self.source[mine],
            q_kvar=None if self.q_kvar is None else self.q_kvar[mine],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Outcomes:
    """What became of orders.

    Attributes:
        ids: vocabulary of outside identities.
        index: (n,) position in ``ids``.
        order_id: int64 (n,) the order answered.
        status: (n,) ``OutcomeStatus`` code.
        p_kw: (n,) power the device settled at; NaN where it did not answer.
        time_s: (n,) moment of the answer.
    """

    ids: tuple[str, ...]
    index: Rows
    order_id: NDArray[np.int64]
    status: Codes
    p_kw: Kw
    time_s: Seconds
