"""What a tick leaves in the record: its chained entry, and rows of history."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Decision
from gridflock.fleet import Image
from gridflock.grid import Flow
from gridflock.model import Entry, Json, Orders, Outcomes, Rejected
from gridflock.runtime._rules import guard_said
from gridflock.units import Kvar

Columns = dict[str, NDArray[np.generic]]


def tick_entry(
    tick: int,
    image: Image,
    flow: Flow,
    decision: Decision | None,
    outcomes: Sequence[Outcomes],
    rejected: Sequence[Rejected],
    next_id: int,
) -> Entry:
    """The tick as one chained record of columns.

    Args:
        tick: its number.
        image: what the resources said.
        flow: the estimate.
        decision: what was ordered; None while watching only.
        outcomes: answers since the last recorded tick.
        rejected: readings that were refused.
        next_id: the next order's id where nothing was decided.
    """
    columns: Columns = {
        "outcome_order_id": np.concatenate([o.order_id for o in outcomes]),
        "outcome_status": np.concatenate([o.status for o in outcomes]),
        "outcome_p_kw": np.concatenate([np.asarray(o.p_kw, dtype=np.float32) for o in outcomes]),
    }
    head: dict[str, Json] = {
        "tick": tick,
        "head_kw": round(float(flow.head_kva.real.sum()), 3),
        "refused_readings": sum(r.count for r in rejected),
        "next_order_id": next_id,
    }
    if decision is not None:
        orders = decision.orders
        columns |= {
            "order_id": orders.order_id,
            "row": orders.index,
            "p_kw": orders.p_kw,
            "q_kvar": _reactive(orders),
            "expires_s": orders.expires_s,
            "source": orders.source,
        }
        head["sources"] = list(orders.sources)
        head["next_order_id"] = decision.response.next_id
        more, said = guard_said(decision)
        columns |= more
        head |= said
        head["shortfall_kw"] = {
            g.proposal.id: round(g.shortfall_kw, 3) for g in decision.grants if abs(g.shortfall_kw) > 1e-3
        }
    return Entry("tick", image.now_s, head, columns)


def feeder_row(now_s: int, flow: Flow, broken: int) -> Columns:
    """The feeder at one moment; ``broken``: how many limits."""
    return {
        "t_s": np.array([now_s]),
        "head_kw": np.array([float(flow.head_kva.real.sum())]),
        "head_kvar": np.array([float(flow.head_kva.imag.sum())]),
        "losses_kw": np.array([flow.losses_kw]),
        "v_min_pu": np.array([float(np.nanmin(flow.v_pu))]),
        "v_max_pu": np.array([float(np.nanmax(flow.v_pu))]),
        "violations": np.array([broken]),
    }


def resource_rows(image: Image) -> Columns:
    """One row per resource, ``row`` as in the ledger's orders; absent values stay absent."""
    return {
        "t_s": np.full(image.n, image.now_s),
        "row": np.arange(image.n),
        "p_kw": image.p_kw,
        "q_kvar": image.q_kvar,
        "v_pu": image.v_pu,
        "e_kwh": image.e_kwh,
    }


def _reactive(orders: Orders) -> Kvar:
    """Reactive power of a batch as a column."""
    return np.full(len(orders.index), np.nan, dtype=np.float32) if orders.q_kvar is None else orders.q_kvar
