"""Why a resource or a group did what it did, now or at any moment the ledger remembers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Entry
from gridflock.plan import Explained, Grounds, explain, unpacked
from gridflock.ports import Record
from gridflock.runtime._life import UnknownName
from gridflock.runtime._market import EXPECTED, PUBLISHED, WORDS
from gridflock.runtime._plan_views import ExplanationView, GroupReasonView, OrderView, PartView, RefusedView
from gridflock.runtime._reserved import Granted
from gridflock.runtime._system import System
from gridflock.runtime._views import number
from gridflock.schema import Family
from gridflock.units import TimeGrid, iso

_NAMED = 5
"""So many reservations and settings are told one by one."""
_GROUPS = 12
"""Of a group that holds many plan groups, those with the largest set-points are explained."""


@dataclass(frozen=True, slots=True, eq=False)
class Told:
    """A plan as the ledger tells it.

    Attributes:
        made_at_s: when, unix seconds.
        before: place in the ledger of the plan before it: orders older than that have run out.
        grounds: what its numbers rest on; None where all rested at base.
        moved_kw: by row and step of the grounds, kW by which the feeder's own limits moved a set-point.
        priced: sentences on published and expected prices; none where the tariff held throughout.
        granted: energy that devices were granted, and that it holds for them.
        settings: fleet row to lowest and highest power, kW, to which it holds who is set to less than the
            registry says.
    """

    made_at_s: int
    before: int
    grounds: Grounds | None
    moved_kw: Mapping[tuple[int, int], float]
    priced: tuple[str, ...] = ()
    granted: tuple[Granted, ...] = ()
    settings: Mapping[int, tuple[float, float]] = field(default_factory=dict)


def told_at(record: Record, at_s: int) -> Told:
    """The plan that was in force at a moment.

    Raises:
        UnknownName: none was.
    """
    found: Entry | None = None
    before = 0
    for entry in record.entries(0, {"plan"}):
        if entry.time_s > at_s:
            break
        before = 0 if found is None else found.seq
        found = entry
    if found is None:
        message = f"no plan was in force at {iso(at_s)}"
        raise UnknownName(message)
    grounds = unpacked(dict(found.head), dict(found.columns)) if "why_edges_s" in found.columns else None
    columns = found.columns
    moved: dict[tuple[int, int], float] = {}
    if "moved_kw" in columns:
        cells = zip(columns["moved_row"].tolist(), columns["moved_step"].tolist(), strict=True)
        moved = dict(zip(cells, columns["moved_kw"].tolist(), strict=True))
    return Told(
        found.time_s, before, grounds, moved, tuple(_priced(found, at_s)), _granted(found), _settings(found)
    )


def _granted(plan: Entry) -> tuple[Granted, ...]:
    said: Any = plan.head.get("granted", ())
    return tuple(Granted(**one) for one in said)


def _settings(plan: Entry) -> dict[int, tuple[float, float]]:
    columns = plan.columns
    if "set_row" not in columns:
        return {}
    bounds = zip(columns["set_lo_kw"].tolist(), columns["set_hi_kw"].tolist(), strict=True)
    return dict(zip(columns["set_row"].tolist(), bounds, strict=True))


def _priced(plan: Entry, at_s: int) -> Iterator[str]:
    """What the plan took a kWh at the head to cost, where somebody publishes prices."""
    by: Any = plan.head.get("price_by")
    if not by:
        return
    edges, said = plan.columns["edges_s"], plan.columns["price_said"].reshape(-1, len(by))
    step = min(max(int(np.searchsorted(edges, at_s, side="right")) - 1, 0), len(by) - 1)
    if by[step] == WORDS[PUBLISHED]:
        yield f"A kWh at the head costs {said[4, step]:.4g} then, as published."
    elif by[step] == WORDS[EXPECTED]:
        yield f"A kWh at the head is expected to cost {_between(said[:, step : step + 1])} then."
    guessed = [k for k, one in enumerate(by) if one == WORDS[EXPECTED]]
    if guessed:
        first, last = (iso(int(edges[k])) for k in (guessed[0], guessed[-1] + 1))
        yield (
            f"No prices are published for {first} to {last}: the plan goes by what they are expected to be, "
            f"{_between(said[:, guessed])} per kWh."
        )


def _between(said: NDArray[np.floating]) -> str:
    """The mean over some steps, and the range of their bands."""
    return f"{said.mean():.4g} on average (80 % bands from {said[0].min():.4g} to {said[-1].max():.4g})"


def explanation(record: Record, system: System, name: str, at_s: int) -> ExplanationView:
    """Why a resource or group was to do what it was to do.

    Raises:
        UnknownName: no such resource or group, or no plan at that moment.
    """
    told = told_at(record, at_s)
    row = system.fleet.row_of.get(name, -1) if name not in system.groups else -1
    order = None if row < 0 else _order(record, told.before, row, at_s)
    groups = [] if told.grounds is None else list(_reasons(told, told.grounds, system, name, at_s))
    return ExplanationView(
        id=name,
        time=iso(at_s),
        plan_made_at=iso(told.made_at_s),
        order=order,
        groups=groups,
        text=" ".join(
            (
                *_sentences(system, name, row, order, groups, told),
                *_agreed(system, name, told, at_s),
                *told.priced,
                *_asked(record, told, at_s),
            )
        ),
    )


def _agreed(system: System, name: str, told: Told, at_s: int) -> Iterator[str]:
    """Reservations and settings that leave the plan no choice, or less, with some of what is asked about."""
    mine = set(system.rows_of[name].tolist())
    held = [one for one in told.granted if system.fleet.row_of.get(one.resource, -1) in mine]
    held = [one for one in held if one.start_s <= at_s < one.end_s]
    for one in held[:_NAMED]:
        yield (
            f"A reservation holds {one.resource} at {one.rate_kw:.2f} kW from {iso(one.start_s)} to "
            f"{iso(one.end_s)}: {abs(one.e_kwh):.2f} kWh are granted to it."
        )
    if len(held) > _NAMED:
        yield f"So do reservations {len(held) - _NAMED} others."
    bound = sorted(mine & told.settings.keys())
    if len(bound) > _NAMED:
        yield f"Settings of {len(bound)} devices leave less than the registry says."
        return
    for row in bound:
        low, high = told.settings[row]
        yield (
            f"{system.fleet.ids[row]} is set by its device to {low:.2f} to {high:.2f} kW, less than the "
            "registry says."
        )


def _reasons(told: Told, grounds: Grounds, system: System, name: str, at_s: int) -> Iterator[GroupReasonView]:
    """Each plan group that holds members of what is asked about, the largest first."""
    flexibility, mine = grounds.flexibility, system.rows_of[name]
    step = flexibility.grid.step_at(at_s)
    if step < 0:
        return
    known = [
        g
        for g, group in enumerate(flexibility.groups)
        if group in system.rows_of and np.isin(system.rows_of[group], mine, assume_unique=True).any()
    ]
    largest = sorted(known, key=lambda g: -abs(float(grounds.p_kw[g, step])))[:_GROUPS]
    for g in largest:
        found = explain(grounds, flexibility.groups[g], step)
        yield _view(found, flexibility.grid, told.moved_kw.get((g, step), 0.0))


def _view(found: Explained, grid: TimeGrid, moved_kw: float) -> GroupReasonView:
    def refused(side: str) -> RefusedView:
        of = found.more if side == "more" else found.less
        makes_up = iso(int(grid.edges_s[of.step])) if of.step >= 0 else ""
        return RefusedView(round(of.by_kw, 3), number(of.costs, 5), makes_up, of.why)

    return GroupReasonView(
        group=found.group,
        p_kw=number(found.p_kw, 3),
        unasked_kw=number(found.base_kw, 3),
        at_tariff_alone_kw=number(found.alone_kw, 3),
        price=number(found.price, 6),
        parts=[PartView(part.name, round(part.price, 6)) for part in found.parts],
        bounds=list(found.bounds),
        worth_in_store=number(found.worth, 6),
        worth_of=[PartView(part.name, round(part.price, 6)) for part in found.worth_of],
        holds_from=number(found.holds[0], 5),
        holds_to=number(found.holds[1], 5),
        more=refused("more"),
        less=refused("less"),
        moved_in_ac_kw=round(moved_kw, 3),
        text=found.text + _moved_words(found, moved_kw),
    )


def _moved_words(found: Explained, moved_kw: float) -> str:
    if not moved_kw:
        return ""
    was = found.p_kw - moved_kw
    return f" At these prices it would do {was:.1f} kW; limits inside the feeder, looked at in AC, moved it."


def _order(record: Record, after: int, row: int, at_s: int) -> OrderView | None:
    """The last order to a row that was in force at a moment."""
    found: OrderView | None = None
    for entry in record.entries(after, {"tick"}):
        if entry.time_s > at_s:
            break
        columns = entry.columns
        at = np.flatnonzero(columns["row"] == row) if "row" in columns else np.empty(0, dtype=np.int64)
        if len(at):
            k = int(at[-1])
            expires_s = int(columns["expires_s"][k])
            found = None if expires_s <= at_s else _order_in(entry, k, expires_s)
    return found


def _order_in(entry: Entry, k: int, expires_s: int) -> OrderView:
    """The k-th order of a tick."""
    columns, sources = entry.columns, entry.head.get("sources")
    named = sources if isinstance(sources, list) else []
    source = int(columns["source"][k])
    return OrderView(
        id=int(columns["order_id"][k]),
        p_kw=number(float(columns["p_kw"][k]), 3),
        q_kvar=number(float(columns["q_kvar"][k]), 3),
        since=iso(entry.time_s),
        expires=iso(expires_s),
        source=str(named[source]) if 0 <= source < len(named) else "reactive power alone",
    )


def _asked(record: Record, told: Told, at_s: int) -> Iterator[str]:
    """How far the newest tick followed what outside credentials asked of the plan."""
    followed: Any = ()
    for entry in record.entries(told.before, {"tick"}):
        if entry.time_s > at_s:
            break
        followed = entry.head.get("followed", ())
    for one in followed:
        asks = f"What {one['author']} asks of the plan"
        if one["waits"]:
            yield f"{asks} is not followed: another person has to approve {one['id']}."
        elif one["share"] < 1.0:
            yield f"{asks} is followed to {one['share']:.0%}: that is the budget of {one['account']}."
        else:
            yield f"{asks} is followed."


def _sentences(
    system: System,
    name: str,
    row: int,
    order: OrderView | None,
    groups: list[GroupReasonView],
    told: Told,
) -> Iterator[str]:
    if row >= 0 and system.fleet.family[row] == Family.NONE:
        yield f"{name} takes no orders: it is measured, and does what its customer does."
        return
    if order is not None:
        power = "its own active power" if order.p_kw is None else f"{order.p_kw:.2f} kW"
        yield f"{name} was under order {order.id}: {power}, from {order.source}, until {order.expires}."
    elif row >= 0:
        yield f"{name} was under no order: it did what it does by itself."
    elif not groups and told.grounds is not None:
        yield f"Nothing in {name} takes part in the plan."
    if told.grounds is None:
        yield "The plan had no answer: all groups rested at their base."
    for group in groups:
        yield group.text
