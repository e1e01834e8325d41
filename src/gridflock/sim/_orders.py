"""What becomes of an order between the sender and the device: delay, loss, expiry, answer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike, NDArray

from gridflock.model import Orders, Outcomes, OutcomeStatus
from gridflock.sim._devices import Column, Columns
from gridflock.sim._people import People
from gridflock.sim._scenario import Draw, Scenario, draws
from gridflock.units import NEVER_S, Kvar, Kw, Mask, Rows, Seconds

_FLYING = {"row": np.int64, "order_id": np.int64, "p_kw": np.float64, "q_kvar": np.float64,
           "arrives_s": np.float64, "expires_s": np.int64, "issued_s": np.int64}  # fmt: skip
_ANSWER = {"row": np.int64, "order_id": np.int64, "status": np.uint8, "p_kw": np.float64,
           "time_s": np.int64}  # fmt: skip
_TOLERANCE = 0.02
"""An order is met within this share of the rating (and 0.05 kW)."""


def _empty(columns: Mapping[str, DTypeLike]) -> Columns:
    return {name: np.zeros(0, dtype) for name, dtype in columns.items()}


def _join(first: Columns, second: Columns) -> Columns:
    return {name: np.concatenate([first[name], second[name].astype(first[name].dtype)]) for name in first}


def _only(table: Columns, mask: Mask) -> Columns:
    return {name: column[mask] for name, column in table.items()}


class OrderBook:
    """Orders in flight, orders in force, and the answers on their way back.

    N DERs; ids beyond them (loads, feeder heads) refuse every order.
    """

    def __init__(self, scenario: Scenario, ids: tuple[str, ...], ders: int, folk: People) -> None:
        self._scenario = scenario
        self.ids = ids
        self._n = ders
        self._folk = folk
        self._vocabulary: tuple[str, ...] | None = None
        self._rows: Rows = np.zeros(0, np.int32)
        self._flying = _empty(_FLYING)
        self._answers = _empty(_ANSWER)
        self._seen: NDArray[np.int64] = np.full(len(ids), -1, np.int64)
        self._order_id: NDArray[np.int64] = np.full(ders, -1, np.int64)
        self._ask_kw: Kw = np.full(ders, np.nan)
        self._ask_kvar: Kvar = np.full(ders, np.nan)
        self._expires_s: Seconds = np.full(ders, NEVER_S, np.int64)
        self._new: Mask = np.zeros(ders, bool)
        self.unknown = 0
        """Orders to ids this world does not have; nobody answers them."""

    def send(self, orders: Orders) -> None:
        """Take a batch; a repeated ``order_id`` changes nothing."""
        row = self._resolve(orders.ids)[orders.index]
        _, first = np.unique(orders.order_id, return_index=True)
        fresh = np.zeros(len(row), bool)
        fresh[first] = True
        self.unknown += int(np.sum(row < 0))
        fresh &= row >= 0
        fresh &= np.asarray(orders.order_id) > self._seen[np.maximum(row, 0)]
        row, order_id = row[fresh].astype(np.int64), np.asarray(orders.order_id)[fresh]
        np.maximum.at(self._seen, row, order_id)
        issued = np.full(len(row), orders.issued_s, np.int64)
        delay_s, lost, wait_s = self._links(orders.issued_s)
        silent = np.concatenate([self._folk.silent(orders.issued_s), np.zeros(len(self.ids) - self._n, bool)])
        p_kw = np.asarray(orders.p_kw, np.float64)[fresh]
        q_kvar = np.full(len(row), np.nan)
        if orders.q_kvar is not None:
            q_kvar = np.asarray(orders.q_kvar, np.float64)[fresh]
        table: Columns = {
            "row": row,
            "order_id": order_id,
            "p_kw": p_kw,
            "q_kvar": q_kvar,
            "arrives_s": issued + delay_s[row],
            "expires_s": np.asarray(orders.expires_s)[fresh],
            "issued_s": issued,
        }
        dead = lost[row] | silent[row]
        self._answer(
            row[dead], order_id[dead], OutcomeStatus.UNREACHABLE, np.nan, issued[dead] + wait_s[row[dead]]
        )
        self._flying = _join(self._flying, _only(table, ~dead))

    def local(self, ids: tuple[str, ...], p_kw: Kw, q_kvar: Kvar, until_s: Seconds) -> None:
        """What devices' own controllers tell them: it takes force at once, and nobody is answered."""
        row = self._resolve(ids)
        here = (row >= 0) & (row < self._n)
        row = row[here]
        self._ask_kw[row], self._ask_kvar[row] = p_kw[here], q_kvar[here]
        self._expires_s[row] = until_s[here]

    def _resolve(self, ids: tuple[str, ...]) -> Rows:
        """World row of each id of a vocabulary, -1 for strangers; kept while the vocabulary is the same."""
        if ids is not self._vocabulary:
            place = {name: row for row, name in enumerate(self.ids)}
            self._rows = np.array([place.get(name, -1) for name in ids], dtype=np.int32)
            self._vocabulary = ids
        return self._rows

    def _links(self, issued_s: int) -> tuple[Column, Mask, Seconds]:
        """Delay s, loss, and time-out s of every link in the minute of sending."""
        scenario, n = self._scenario, len(self.ids)
        rng = draws(scenario.seed, Draw.ORDER, issued_s // 60)
        luck = rng.random(n)
        delay_s = np.minimum(0.4 + rng.exponential(1.5, n), 15.0)
        slow_s = rng.uniform(60.0, 180.0, n)
        late = (luck >= scenario.lost_share) & (luck < scenario.lost_share + scenario.late_share)
        return np.where(late, slow_s, delay_s), luck < scenario.lost_share, rng.integers(30, 61, n)

    def _answer(
        self,
        row: Column,
        order_id: Column,
        status: OutcomeStatus | Column,
        p_kw: float | Column,
        time_s: Column,
    ) -> None:
        n = len(row)
        if n:
            answer = {
                "row": row,
                "order_id": order_id,
                "status": np.broadcast_to(np.asarray(status, np.uint8), n),
                "p_kw": np.broadcast_to(np.asarray(p_kw, np.float64), n),
                "time_s": np.ceil(time_s),
            }
            self._answers = _join(self._answers, answer)

    def asked(self, middle_s: float) -> Kw:
        """What the devices are asked over the step around this moment: (N,), NaN for nothing.

        Arrived orders take force here; one that asks nothing takes the order in force back. An order holds
        for a step when the step's middle lies inside its life; the owner's refusal suspends it.
        """
        if len(self._flying["row"]):
            self._arrive(middle_s)
        over = self._expires_s <= middle_s
        self._ask_kw = np.where(over, np.nan, self._ask_kw)
        self._ask_kvar = np.where(over, np.nan, self._ask_kvar)
        return np.where(self._folk.willing(middle_s), self._ask_kw, np.nan)

    def asked_kvar(self, now_s: float) -> Kvar:
        """Reactive power asked and still in force: (N,), NaN for nothing."""
        return np.where(self._folk.willing(now_s), self._ask_kvar, np.nan)

    def _arrive(self, middle_s: float) -> None:
        here = self._flying["arrives_s"] <= middle_s
        table = _only(self._flying, here)
        self._flying = _only(self._flying, ~here)
        stranger = table["row"] >= self._n
        bad = stranger | np.isinf(table["p_kw"]) | np.isinf(table["q_kvar"])
        self._reply(_only(table, bad), OutcomeStatus.REFUSED)
        table = _only(table, ~bad)
        newest = np.full(self._n, -1, np.int64)
        np.maximum.at(newest, table["row"], table["order_id"])
        newest = np.maximum(newest, self._order_id)
        late = (table["expires_s"] <= np.maximum(table["arrives_s"], middle_s)) | (
            table["order_id"] < newest[table["row"]]
        )
        self._reply(_only(table, late), OutcomeStatus.EXPIRED)
        table = _only(table, ~late)
        row = table["row"]
        self._order_id[row] = table["order_id"]
        self._ask_kw[row] = table["p_kw"]
        self._ask_kvar[row] = table["q_kvar"]
        self._expires_s[row] = table["expires_s"]
        self._new[row] = True

    def _reply(self, table: Columns, status: OutcomeStatus) -> None:
        self._answer(table["row"], table["order_id"], status, np.nan, table["arrives_s"] + 1)

    def settle(self, now_s: int, p_kw: Kw, own_kw: Kw, rating_kw: Kw, ceiling: Mask) -> None:
        """Answer the orders that took force in the step that ends now.

        Accepted: the power is the one asked for. Refused: the device does what it would have
        done anyway, within a twentieth of what was asked of it. Partial: between. Where an order
        is a ceiling (``ceiling``: sun and wind), one above what is on offer is met by all there is.
        """
        row = np.flatnonzero(self._new)
        if not len(row):
            return
        self._new[:] = False
        ask, real, own = self._ask_kw[row], p_kw[row], own_kw[row]
        near = np.maximum(_TOLERANCE * rating_kw[row], 0.05)
        met = np.isnan(ask) | (np.abs(real - ask) <= near) | (ceiling[row] & (ask >= own))
        willing = self._folk.willing(now_s - 1)[row]
        moved = (real - own) * np.sign(ask - own) > 0.05 * np.abs(ask - own)
        status = np.where(
            met, OutcomeStatus.ACCEPTED, np.where(moved, OutcomeStatus.PARTIAL, OutcomeStatus.REFUSED)
        )
        status = np.where(willing, status, OutcomeStatus.REFUSED)
        self._answer(row, self._order_id[row], status.astype(np.uint8), real, np.full(len(row), now_s))

    def collect(self, now_s: int) -> Outcomes:
        """Answers that are back by now, each once."""
        back = self._answers["time_s"] <= now_s
        table = _only(self._answers, back)
        self._answers = _only(self._answers, ~back)
        return Outcomes(
            ids=self.ids,
            index=table["row"].astype(np.int32),
            order_id=table["order_id"],
            status=table["status"],
            p_kw=table["p_kw"],
            time_s=table["time_s"],
        )

    def state(self) -> Columns:
        """All that changes."""
        flying = {f"flying_{name}": column for name, column in self._flying.items()}
        answers = {f"answers_{name}": column for name, column in self._answers.items()}
        return {
            **flying, **answers, "seen": self._seen.copy(), "order_id": self._order_id.copy(),
            "ask_kw": self._ask_kw.copy(), "ask_kvar": self._ask_kvar.copy(),
            "expires_s": self._expires_s.copy(), "new": self._new.copy(),
            "unknown": np.array(self.unknown),
        }  # fmt: skip

    def resume(self, state: Columns) -> None:
        """Put a kept state back."""
        self._flying = {name: state[f"flying_{name}"] for name in _FLYING}
        self._answers = {name: state[f"answers_{name}"] for name in _ANSWER}
        self._seen, self._order_id = state["seen"], state["order_id"]
        self._ask_kw, self._ask_kvar = state["ask_kw"], state["ask_kvar"]
        self._expires_s, self._new = state["expires_s"], state["new"]
        self.unknown = int(state["unknown"])
