"""Which limits bind, what they cost and by how much they gave way."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np

from gridflock.model import Flexibility, Reason
from gridflock.plan._terms import Share
from gridflock.plan.direct._model import Model, values_of
from gridflock.plan.direct._solve import Floats, Indices, Solution
from gridflock.units import TimeGrid, utc_offset_s

_FREE = 1e-6
"""Below this price (money per kWh) or slack (kW) a limit does not bind."""
HEAD = ("import limit of the feeder head", "export limit of the feeder head")


def reasons_of(model: Model, solution: Solution, flexibility: Flexibility) -> tuple[Reason, ...]:
    """Rows of the plan that cost something: what gave way first, then by price."""
    found = [
        *_head(model, solution, flexibility.grid.hours),
        *_peak(model, solution, flexibility.grid.hours),
        *_groups(model, solution, flexibility.grid.hours),
        *_goals(model, solution, flexibility.grid.hours),
        *_strained(model, solution, flexibility),
        *_kept_bands(model, solution, flexibility),
    ]
    return tuple(sorted(found, key=lambda r: (r.slack_kw <= _FREE, -abs(r.price), r.step, r.row)))


def span_text(grid: TimeGrid, first: int, last: int, timezone: str = "UTC", *, end_only: bool = False) -> str:
    """Steps ``first`` to ``last`` as times of day: ``"17:00–19:30"``; with the date on later days.

    Args:
        grid: whose steps.
        first: step.
        last: step, included.
        timezone: IANA name of the clock to speak of; ``" UTC"`` is added for UTC.
        end_only: only the moment the last step ends.
    """
    edges = np.array([grid.start_s, grid.edges_s[first], grid.edges_s[last + 1]], dtype=np.int64)
    today, start, end = (datetime.fromtimestamp(int(t), UTC) for t in edges + utc_offset_s(timezone, edges))
    suffix = " UTC" if timezone == "UTC" else ""
    if end_only:
        return f"{_moment(end, today)}{suffix}"
    return f"{_moment(start, today)}–{_moment(end, start)}{suffix}"


def _moment(moment: datetime, told: datetime) -> str:
    """Time of day, with the date where it is not the day already spoken of."""
    return f"{moment:%H:%M}" if moment.date() == told.date() else f"{moment:%Y-%m-%d %H:%M}"


def _rows(name: str, steps: Indices, price: Floats, slack: Floats) -> Iterator[Reason]:
    for k in np.flatnonzero((price > _FREE) | (slack > _FREE)):
        yield Reason(name, int(steps[k]), float(price[k]), max(float(slack[k]), 0.0))


def _head(model: Model, solution: Solution, hours: Floats) -> Iterator[Reason]:
    slack = values_of(model.beyond, solution)
    # A column at its upper bound has a reduced cost <= 0: what one more kW of limit would save.
    limited = model.beyond >= 0
    price = np.where(limited, np.maximum(-solution.reduced_cost[model.inside], 0.0), 0.0) / hours
    for side, name in enumerate(HEAD):
        yield from _rows(name, np.arange(len(hours)), price[side], slack[side])


def _peak(model: Model, solution: Solution, hours: Floats) -> Iterator[Reason]:
    if model.peak.size:
        price = solution.row_price[model.peak_rows] / hours
        yield from _rows("import peak (demand charge)", np.arange(len(hours)), price, np.zeros(len(hours)))


def _groups(model: Model, solution: Solution, hours: Floats) -> Iterator[Reason]:
    for block in model.group_rows:
        price = np.abs(solution.row_price[block.rows]) / hours[block.steps]
        under, over = values_of(block.under, solution), values_of(block.over, solution)
        name = f"{block.limit.source} (limit of {block.limit.group})"
        yield from _rows(name, block.steps, price, under + over)


def _goals(model: Model, solution: Solution, hours: Floats) -> Iterator[Reason]:
    for placed in model.blocks:
        price = np.abs(solution.row_price[placed.rows])
        if not isinstance(placed.block, Share):  # its one row is in kWh, all others are in kW
            price = price / hours[placed.steps]
        slack = values_of(placed.slack, solution).sum(axis=0)
        yield from _rows(placed.block.name, placed.steps, price, slack)


def _strained(model: Model, solution: Solution, flexibility: Flexibility) -> Iterator[Reason]:
    """Bands that no schedule of the group could keep; the slack is kWh over the step's hours."""
    if not model.strained.size:
        return
    hours = flexibility.grid.hours
    slack = values_of(model.band_slack, solution).sum(axis=0)
    price = np.abs(solution.row_price[model.band_rows])
    for m, g in enumerate(model.strained):
        name = f"energy band of {flexibility.groups[g]}"
        worst = np.where(slack[m] > _FREE, slack[m], 0.0)
        if worst.any():
            k = int(np.argmax(worst))
            yield Reason(name, k, float(price[m, k]), float(worst[k] / hours[k]))


def _kept_bands(model: Model, solution: Solution, flexibility: Flexibility) -> Iterator[Reason]:
    """Per store the one step where its band (full, empty, owed) costs most."""
    if not model.stores.size:
        return
    price = np.abs(solution.reduced_cost[model.level])
    steps = np.argmax(price, axis=1)
    for k, g in enumerate(model.stores):
        if price[k, steps[k]] > _FREE:
            yield Reason(f"energy band of {flexibility.groups[g]}", int(steps[k]), float(price[k, steps[k]]))
