"""Goals of a running system: read from files, and resolved to whom they name."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gridflock.fleet import Image
from gridflock.model import Entry, Json, Priority, Proposal, Rejected
from gridflock.plan import Members, Prices, Terms, planned
from gridflock.plan._terms import Band
from gridflock.plan.goals import Reached
from gridflock.plan.goals.stated import Sought, Stated, StatedGoal, read, sought
from gridflock.ports import Record
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.runtime._plan_views import GoalsView, GoalView
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._settings import Settings
from gridflock.runtime._system import RowsOf, System
from gridflock.runtime._views import Fault, number
from gridflock.schema import Kind
from gridflock.units import Kw, Rows, TimeGrid, iso

if TYPE_CHECKING:
    from gridflock.runtime._loop import Moment

CHANGE = "change"
"""Kind of entries that tell of settings."""
_LARGEST_BYTES = 1_048_576
_RULE = "as docs/goals.md says"
_FINER = 0.2
"""What a goal costs is a small difference: plans that tell it are made to this part of the usual gap."""


# ---- read --------------------------------------------------------------------------------------------


def read_goals(path: Path) -> Stated:
    """The goals of a JSON file, untrusted.

    Raises:
        RequestRejected: with every fault.
    """
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise _unread(path, f"larger than {_LARGEST_BYTES} bytes")
        text = path.read_text("utf-8-sig")
        document = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number)
    except OSError as error:
        raise _unread(path, f"cannot be read: {error.strerror}") from error
    except (ValueError, RecursionError) as error:
        raise _unread(path, f"not JSON: {error}") from error
    return stated(document)


def stated(document: object) -> Stated:
    """The goals of a document.

    Raises:
        RequestRejected: with every fault.
    """
    found, rejected = read(document)
    if rejected:
        raise RequestRejected(goal_faults(rejected))
    return found


def _unread(path: Path, reason: str) -> RequestRejected:
    return RequestRejected((Fault("goals", "a JSON file", f"{path}: {reason}"),))


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        message = f"{twice!r} is given twice in one object"
        raise ValueError(message)
    return found


def _no_number(text: str) -> float:
    message = f"{text} is no number"
    raise ValueError(message)


def goal_faults(rejected: Iterable[Rejected]) -> tuple[Fault, ...]:
    """What is wrong with goals as faults of a request."""
    return tuple(
        Fault(
            f"goal {fault.row}, {fault.field}" if fault.row else fault.field,
            _RULE,
            f"{', '.join(fault.ids)}: {fault.reason}" if fault.ids else fault.reason,
        )
        for fault in rejected
    )


def strangers(goals: Stated, system: System) -> tuple[Fault, ...]:
    """Names that are no group and no resource of a system."""
    lost = [name for name in goals.names if name not in system.rows_of]
    return tuple(Fault("members", "a group or resource", f"{name!r} is none") for name in lost)


# ---- kept --------------------------------------------------------------------------------------------


def with_goals(settings: Settings, record: Record, system: System, start_s: int) -> Settings:
    """Settings with the goals that hold at a start: those given, else those that the ledger has.

    Raises:
        RequestRejected: those given name nobody.
    """
    kept = remembered(record)
    if settings.goals is None:
        return settings if kept is None else replace(settings, goals=kept.goals, own_goals=kept.own_goals)
    faults = strangers(settings.goals, system)
    if faults:
        raise RequestRejected(faults)
    before = None if kept is None else kept.goals
    if before is not None and not before.author and before.document == settings.goals.document:
        return replace(settings, goals=before)
    return replace(settings, goals=settings.goals.called(start_s))


def remembered(record: Record) -> Settings | None:
    """The newest settings in the ledger."""
    newest: Entry | None = None
    for entry in record.entries(0, {CHANGE}):
        if "settings" in entry.columns:
            newest = entry
    if newest is None:
        return None
    try:
        settings = from_bytes(newest.columns["settings"].tobytes())
    except KeptBroken:
        return None  # of another version
    return settings if isinstance(settings, Settings) else None


def entry_of(settings: Settings, author: str, now_s: int) -> Entry:
    """What the ledger keeps where goals change: the settings that hold from the next tick on."""
    names: list[Json] = [] if settings.goals is None else [goal.name for goal in settings.goals.goals]
    told = ", ".join(str(name) for name in names[:10]) + (" …" if len(names) > 10 else "")
    head: dict[str, Json] = {
        "text": f"goals: {told or 'none'}",
        "author": author,
        "goals": names,
        "exact": True,
    }
    return Entry(CHANGE, now_s, head, {"settings": np.frombuffer(to_bytes(settings), dtype=np.uint8)})


# ---- planned -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A limit on one group's sum as the plan keeps it, for every tick until the next plan.

    Attributes:
        goal: whose limit.
        group: all of it, what takes no orders included.
        lo_kw: (T,) lowest injection: the limit, or the plan where that goes beyond it.
        hi_kw: (T,) highest.
    """

    goal: str
    group: str
    lo_kw: Kw
    hi_kw: Kw


def bounds_now(bounds: Iterable[Bound], grid: TimeGrid, now_s: int) -> tuple[Proposal, ...]:
    """The bounds of the present step as wishes that go before the plan's own.

    Args:
        bounds: of the plan in force.
        grid: its steps.
        now_s: the tick's moment.
    """
    k = grid.step_at(now_s)
    if k < 0:
        return ()
    return tuple(
        Proposal(
            id=f"goal:{bound.goal}",
            group=bound.group,
            priority=Priority.SCHEDULE,
            author="plan",
            why=f"goal {bound.goal}",
            start_s=now_s,
            until_s=int(grid.edges_s[k + 1]),
            p_lo_kw=float(bound.lo_kw[k]),
            p_hi_kw=float(bound.hi_kw[k]),
        )
        for bound in bounds
        if np.isfinite([bound.lo_kw[k], bound.hi_kw[k]]).any()
    )


@dataclass(frozen=True, slots=True, eq=False)
class Aim:
    """Goals in one plan, with what they are planned from.

    Attributes:
        goals: as stated.
        due: those that matter within the horizon.
        sought: joined to the plan's terms and members.
        members: who is planned, as without goals.
        fixed_kw: (T,) expected injection of everything that takes no orders.
        terms: the plan's own.
        sums: the devices that each name means.
        beside_kw: by goal, (T,) what flows beside the planned members it names.
        present_kw: by goal about changes, what flows now; NaN where that is not known.
        now_s: moment of planning, unix seconds.
        table: how far the plan got with each goal; empty before it is made.
        bounds: limits that every tick keeps as the plan does; empty before it is made.
    """

    goals: Stated
    due: tuple[StatedGoal, ...]
    sought: Sought
    members: Members
    fixed_kw: Kw
    terms: Terms
    sums: dict[str, tuple[str, ...]]
    beside_kw: dict[str, Kw]
    present_kw: dict[str, float]
    now_s: int
    table: tuple[Reached, ...] = ()
    bounds: tuple[Bound, ...] = ()

    @classmethod
    def of(
        cls,
        goals: Stated,
        system: System,
        image: Image,
        members: Members,
        rows: Rows,
        fixed_kw: Kw,
        terms: Terms,
    ) -> Aim | None:
        """The goals due; None where none are.

        Args:
            goals: as stated.
            system: whose groups and resources they name.
            image: the process image: who draws what now.
            members: who is planned.
            rows: (m,) their fleet rows, -1 for those expected.
            fixed_kw: (T,).
            terms: of the groups.
        """
        due = goals.due(members.flexibility.grid)
        if not due:
            return None
        sums = {
            name: _devices(name, system.rows_of, members, rows)
            for name in goals.names
            if name in system.rows_of
        }
        loads = _Loads.of(system, image)
        beside = {goal.name: loads.part(goal, system.rows_of) * fixed_kw for goal in due if goal.has_beside}
        now = {goal.name: _present(goal, system, image) for goal in due if goal.kind == "ramp limit"}
        aim = _sought(goals, due, members, fixed_kw, terms, image.now_s, sums, (beside, now))
        return cls(goals, due, aim, members, fixed_kw, terms, sums, beside, now, image.now_s)

    def judged(self, p_kw: Kw) -> Aim:
        """With how far the devices' powers ``p_kw`` (m, T) got."""
        return replace(self, table=self.sought.table(p_kw), bounds=tuple(self._bounds(p_kw)))

    def _bounds(self, p_kw: Kw) -> Iterator[Bound]:
        """Power limits on one whole group; what the plan does not keep, no tick can."""
        limits = {goal.name: goal for goal in self.due if goal.kind == "power limit" and _whole(goal)}
        for block in self.sought.own.blocks:
            goal = limits.get(block.name)
            if goal is not None and isinstance(block, Band):
                flow = block.flow.power_kw(self.sought.members.flexibility, p_kw)
                yield Bound(
                    goal.name, goal.names[0], np.minimum(block.lo_kw, flow), np.maximum(block.hi_kw, flow)
                )

    def costs(self, target: float, warm: Prices | None) -> Aim:
        """With what each goal costs: what the plan's own money would be less without it, goal by goal.

        Args:
            target: gap of plans, as a part of the whole cost.
            warm: prices to start from.
        """
        now = self._money(self.sought, target, warm)
        costs = {}
        for goal in self.due:
            others = tuple(other for other in self.due if other is not goal)
            flows = self.beside_kw, self.present_kw
            rest = _sought(
                self.goals, others, self.members, self.fixed_kw, self.terms, self.now_s, self.sums, flows
            )
            costs[goal.name] = now - self._money(rest, target, warm)
        return replace(
            self, table=tuple(replace(line, cost=costs.get(line.goal, line.cost)) for line in self.table)
        )

    def _money(self, of: Sought, target: float, warm: Prices | None) -> float:
        found = planned(of.members, self.fixed_kw, of.terms, self.now_s, target=_FINER * target, warm=warm)
        return self.sought.bill(found.p_kw, self.terms)


def _whole(goal: StatedGoal) -> bool:
    """Whether a goal is about the sum of one group and nothing beside it."""
    members = goal.values.get("members", ())
    shares = list(members.values()) if isinstance(members, dict) else [1.0] * len(members)
    return shares == [1.0] and "beside_kw" not in goal.values


def _sought(
    goals: Stated,
    due: Iterable[StatedGoal],
    members: Members,
    fixed_kw: Kw,
    terms: Terms,
    now_s: int,
    sums: dict[str, tuple[str, ...]],
    flows: tuple[dict[str, Kw], dict[str, float]],
) -> Sought:
    """The goals due, made for this horizon and joined to its terms; ``flows`` beside members, and now."""
    grid, (beside, now) = members.flexibility.grid, flows
    made = [
        goal.on(grid, beside.get(goal.name, 0.0), goals.called_s, now.get(goal.name, np.nan)) for goal in due
    ]
    return sought(made, goals.order, members, fixed_kw, terms, now_s, sums)


def _present(goal: StatedGoal, system: System, image: Image) -> float:
    """What flows now in the sum that a goal names, kW; NaN where nobody says."""
    members = goal.values.get("members", ())
    if not members:
        return float(system.places.head_kva(image).real.sum())
    weight = np.zeros(len(image.ids))
    for name in members:
        if name in system.rows_of:
            weight[system.rows_of[name]] = members[name] if isinstance(members, dict) else 1.0
    heard = np.isfinite(image.p_kw) & (weight > 0.0)
    return float(weight[heard] @ image.p_kw[heard]) if heard.any() else float("nan")


def _devices(name: str, rows_of: RowsOf, members: Members, rows: Rows) -> tuple[str, ...]:
    """The planned members of a group; those expected in a plan group where all of it is in there."""
    mine = rows_of[name]
    inside = np.isin(rows, mine) & (rows >= 0)
    for k in np.flatnonzero(rows < 0).tolist():
        group = members.names[int(members.group[k])]
        inside[k] = bool(np.isin(rows_of[group], mine).all())
    return tuple(members.flexibility.groups[k] for k in np.flatnonzero(inside).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class _Loads:
    """What meters of customers say now: each keeps its part of what is expected of all."""

    row: Rows
    p_kw: Kw

    @classmethod
    def of(cls, system: System, image: Image) -> _Loads:
        row = np.flatnonzero(system.fleet.columns["kind"] == Kind.LOAD).astype(np.int32)
        return cls(row, np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64)[row]))

    def part(self, goal: StatedGoal, rows_of: RowsOf) -> float:
        """Which part of all customers' demand is within the groups that a goal names."""
        members = goal.values.get("members", ())
        weight = np.zeros(len(self.row))
        for name in members:
            if name in rows_of:
                share = members[name] if isinstance(members, dict) else 1.0
                weight[np.isin(self.row, rows_of[name])] = share
        whole = float(self.p_kw.sum())
        return float(weight @ self.p_kw) / whole if abs(whole) > 1e-9 else 0.0


# ---- shown -------------------------------------------------------------------------------------------


def table(aim: Aim) -> list[GoalView]:
    """Each goal of a plan: asked, reached, price, cost."""
    return [
        GoalView(
            goal=line.goal,
            rank=line.rank + 1,
            state="due",
            asked=line.asked,
            reached=number(line.reached),
            unit=line.unit,
            price=number(line.price, 6),
            cost=number(line.cost, 3),
            facts={name: number(value) for name, value in line.facts.items()},
        )
        for line in aim.table
    ]


def view(goals: Stated | None, moment: Moment) -> GoalsView:
    """The goals of a system, with what the plan in force says of those it was made for."""
    goals, planned = goals or Stated(), moment.planned
    aim = None if planned is None else planned.aim
    known = aim is not None and aim.goals is goals
    lines = table(aim) if known and aim is not None else []
    told = {line.goal for line in lines}
    for goal in goals.goals:
        if goal.name not in told:
            state = "due" if planned is None else goal.state(planned.schedule.grid)
            waits = state if state != "due" else "left out" if known else "not yet planned"
            lines.append(GoalView(goal.name, 0, waits, _span(goal), None, "", None, None, {}))
    return GoalsView(
        plan_made_at="" if planned is None else iso(planned.schedule.made_at_s),
        stated_at=iso(int(goals.called_s)) if np.isfinite(goals.called_s) else "",
        goals=lines,
        rejected=list(goal_faults(aim.sought.rejected)) if known and aim is not None else [],
        document=dict(goals.document or {"goals": []}),
        author=goals.author,
        approved_until="",
        followed=_followed(goals, moment),
        waiting=[],
    )


def _followed(goals: Stated, moment: Moment) -> float | None:
    """How far the newest tick followed goals that one person stated."""
    told = () if moment.decision is None else moment.decision.followed
    return next((round(one.share, 4) for one in told if one.behind.id == goals.id), None)


def wrong_in_plan(goals: Stated, system: System, moment: Moment) -> tuple[Fault, ...]:
    """What of goals breaks a rule over the horizon of the plan in force; nothing where there is none."""
    planned = moment.planned
    if planned is None:
        return ()
    names = planned.members.flexibility.groups
    rows = np.array([system.fleet.row_of.get(name, -1) for name in names], dtype=np.int32)
    terms, fixed_kw = planned.terms, planned.fixed_kw
    members = planned.members if planned.aim is None else planned.aim.members
    aim = Aim.of(goals, system, moment.image, members, rows, fixed_kw, terms)
    return () if aim is None else goal_faults(aim.sought.rejected)


def _span(goal: StatedGoal) -> str:
    start = iso(int(goal.from_s)) if np.isfinite(goal.from_s) else "always"
    return f"{start} to {iso(int(goal.until_s)) if np.isfinite(goal.until_s) else 'the end'}"
