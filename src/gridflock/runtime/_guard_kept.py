"""The guard's memory taken up from a ledger, where a life cannot go on bit by bit."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from gridflock.dispatch.guard import GuardLimits, GuardState
from gridflock.dispatch.guard._swings import Swing
from gridflock.fleet import Fleet
from gridflock.model import Entry, Orders
from gridflock.ports import Record

_LONGEST_S = 3_600
"""No order lives longer."""


def remembered(
    record: Record, ids: tuple[str, ...], fleet: Fleet, start_s: int, limits: GuardLimits
) -> GuardState:
    """What the guard knows as far as recorded orders tell it; authors are tried out anew.

    Args:
        record: ledger.
        ids: whom rows of its entries mean.
        fleet: whom rows mean now.
        start_s: the present.
        limits: how long is remembered.
    """
    state = GuardState.empty(len(fleet.ids))
    row = np.array([*(fleet.row_of.get(name, -1) for name in ids), -1], dtype=np.int32)
    plates = fleet.columns["p_min_kw"], fleet.columns["p_max_kw"], fleet.columns["s_max_kva"]
    first_s = start_s - max(limits.window_s, limits.reversal_s, _LONGEST_S)
    followed: Any = ()
    for entry in record.entries(0, {"tick"}):
        if entry.time_s <= first_s or "start_kw" not in entry.columns:
            continue
        orders, keep = _orders(entry, fleet.ids, row)
        head: dict[str, Any] = dict(entry.head)
        names = head.get("accounts", [""] * len(head.get("sources", ())))
        start_kw = entry.columns["start_kw"][keep]
        state = state.lived(orders, start_kw, names, plates, limits, head.get("moved_kw", {}))
        followed = head.get("followed", ())
        state = dataclasses.replace(state, swings=_swings(head.get("swings", {})))
        state = _booked(state, [(one["account"], one["moved_kw"]) for one in followed], entry.time_s)
    # Who was diverted by how much is not told: all that was counts as moved back.
    return _booked(state, [(one["account"], one["held_kw"]) for one in followed], start_s)


def _swings(told: Mapping[str, Any]) -> dict[str, tuple[Swing, Swing]]:
    """Which way groups went, as an entry tells it."""
    return {group: (Swing(*kw), Swing(*kvar)) for group, (kw, kvar) in told.items()}


def _booked(state: GuardState, moves: list[tuple[str, float]], t_s: int) -> GuardState:
    memory = state.memory
    for account, kw in moves:
        memory = memory.moved_by(account, kw, t_s)
    return dataclasses.replace(state, memory=memory)


def _orders(entry: Entry, ids: tuple[str, ...], row: np.ndarray) -> tuple[Orders, np.ndarray]:
    """The orders of an entry on the fleet's rows, and which of them are to somebody who is still there."""
    columns = entry.columns
    rows = row[columns["row"]]
    keep = rows >= 0
    told = Orders(
        ids=ids,
        index=rows[keep],
        order_id=columns["order_id"][keep],
        p_kw=columns["p_kw"][keep],
        q_kvar=columns["q_kvar"][keep],
        expires_s=columns["expires_s"][keep],
        source=columns["source"][keep],
        sources=(),
        issued_s=entry.time_s,
    )
    return dataclasses.replace(told, index=told.index.astype(np.int32)), keep
