"""From wishes that cannot all hold to the sets that stand against each other, and what each costs."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._check import misshapen, sound
from gridflock.plan._reason import span_text
from gridflock.plan._terms import Terms
from gridflock.plan.conflict._elastic import Elastic, Given
from gridflock.plan.conflict._wishes import Wish, wished
from gridflock.plan.direct import Floats, Indices
from gridflock.units import Kw, TimeGrid

_HOLDS_KWH = 1e-4
"""Wishes that give way by less than this together are taken to hold."""
_MATTERS_KWH, _MATTERS = 0.05, 1e-3
"""A conflict is told where its wishes have to give more than this together, and more than this part of the
energy the smallest of them speaks of."""
_TRIES = 4
"""So many sets are looked at for each conflict told, those too small to tell among them."""
_FIRM = 100.0
"""How much dearer than its own penalty a wish gives way that is to hold."""
_FIRMER = 1e4
"""The same where no money counts."""

_NO_ANSWER = "Whether more wishes clash was not found: the search had no optimum."


@dataclass(frozen=True, slots=True)
class Member:
    """One side of a conflict.

    Attributes:
        row: whose wish, as in a schedule's reasons.
        wish: the same with what is asked, in words with its times.
        first_step: first step of the schedule's grid that takes part.
        until_step: one past the last.
        gives_kwh: by how much it must give way, at the least, for all others of the set to hold.
        gives_kw: at its worst moment, spread as evenly as that allows; NaN for a wish about energy.
        costs: money the plan costs more (less where negative) if it alone of the set gives way, and
            no further than it must; penalties are not counted.
        saves: money saved if this wish had not been made at all; penalties are not counted.
    """

    row: str
    wish: str
    first_step: int
    until_step: int
    gives_kwh: float
    gives_kw: float
    costs: float
    saves: float


@dataclass(frozen=True, slots=True)
class Conflict:
    """Wishes that cannot all hold, while any of them left out lets the rest hold.

    Attributes:
        members: the wishes, in order of time.
        text: the conflict as sentences.
    """

    members: tuple[Member, ...]
    text: str


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """Contiguous cells of one wish."""

    wish: int
    cells: Indices


def conflicts(
    flexibility: Flexibility,
    fixed: Kw,
    terms: Terms,
    *,
    yielding: Collection[str] = (),
    timezone: str = "UTC",
    most: int = 8,
) -> tuple[Conflict, ...]:
    """Why not every wish can be kept: irreducible sets of wishes that clash, and what relaxing each costs.

    All money is left out and the wishes alone give way, as little as they can. Where the least is not
    zero, the wishes whose dual price is zero are left out (sensitivity filter), and of the rest, run by
    run of steps, whatever is not needed for the clash (deletion filter; both in Chinneck and Dravnieks,
    ORSA Journal on Computing 3(2), 1991). Irreducible, not proven smallest in number. What gave way in
    one conflict is let go before the next is looked for. A clash of no more than 0.05 kWh, or of 0.1 % of
    what its smallest wish speaks of, is not told. Groups that are sums of devices are taken as one store
    each: what is told then is a conflict of the sums.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) kW of everything that takes no orders.
        terms: what was asked.
        yielding: groups whose whole energy band is a wish (comfort) instead of physics.
        timezone: IANA name, for the times in words.
        most: how many conflicts are looked for.

    Returns:
        None where all wishes hold together, and none for input that cannot be planned at all. A last one
        without members says that the search found no optimum.
    """
    if misshapen(flexibility, fixed, terms):
        return ()
    given = sound(flexibility, fixed, terms)
    # Rows of goals come out of their own checks and are taken as they are.
    asked = replace(given.terms, blocks=terms.blocks)
    model, wishes = wished(given.flexibility, given.fixed_kw, asked, yielding)
    if not wishes:
        return ()
    search = _Search(Elastic(model, wishes, given.flexibility), given.flexibility.grid, asked, timezone)
    found = tuple(search.told(runs) for runs in search.sets(most))
    return found if search.answered else (*found, Conflict((), _NO_ANSWER))


class _Search:
    """The filters over one elastic problem."""

    def __init__(self, elastic: Elastic, grid: TimeGrid, terms: Terms, timezone: str) -> None:
        self._elastic, self._grid, self._terms, self._timezone = elastic, grid, terms, timezone
        self._as_made: Given | None = None
        self.answered = True

    def sets(self, most: int) -> Iterator[tuple[_Run, ...]]:
        """One irreducible set after the other."""
        elastic = self._elastic
        kept, told = np.ones(elastic.n), 0
        for _ in range(_TRIES * most):
            if told >= most:
                return
            given = elastic.least(kept)
            self.answered = given is not None
            if given is None or given.total <= _MATTERS_KWH:
                return
            runs = self._tight(self._runs(given))
            if not runs:
                return
            if self._matters(runs):
                told += 1
                yield runs
            cells = np.concatenate([run.cells for run in runs])
            gave = [run for run in runs if given.slack[run.cells].max() > 0.1 * _HOLDS_KWH / elastic.n]
            kept[np.concatenate([run.cells for run in gave]) if gave else cells] = 0.0

    def _matters(self, runs: tuple[_Run, ...]) -> bool:
        """Whether what has to give is more than small beside the wishes themselves."""
        given = self._clash(list(runs))
        smallest = min(self._speaks_of_kwh(run) for run in runs)
        return given is not None and given.total > max(_MATTERS_KWH, _MATTERS * smallest)

    def _speaks_of_kwh(self, run: _Run) -> float:
        """Energy that a wish asks for or allows over a run; 0 for a band, which asks for none."""
        wish, steps = self._elastic.wishes[run.wish], self._elastic.step[run.cells]
        if wish.verb == "band":
            return 0.0
        asked = np.abs(wish.asked[np.isin(wish.steps, steps)])
        return float(asked.max() if wish.energy else asked @ self._grid.hours[steps])

    def _tight(self, runs: list[_Run]) -> tuple[_Run, ...]:
        """An irreducible set of runs of which every cell takes part."""
        while True:
            settled = self._irreducible(runs)
            given = self._clash(list(settled))
            if given is None:
                return ()
            runs = self._runs(given)
            if len(runs) <= len(settled):
                return tuple(runs)

    def _irreducible(self, runs: list[_Run]) -> tuple[_Run, ...]:
        """Leave out one run after the other for as long as the rest still clashes."""
        settled: list[_Run] = []
        while runs:
            trial = settled + runs[1:]
            given = self._clash(trial)
            if given is None:
                settled.append(runs[0])
                runs = runs[1:]
            else:
                runs = [run for run in runs[1:] if given.touches[run.cells].any()]
        return tuple(settled)

    def _clash(self, runs: list[_Run]) -> Given | None:
        """What these runs alone give way by; None where they can hold together."""
        if not runs:
            return None
        weight = np.zeros(self._elastic.n)
        weight[np.concatenate([run.cells for run in runs])] = 1.0
        given = self._elastic.least(weight)
        return given if given is not None and given.total > _HOLDS_KWH else None

    def _runs(self, given: Given) -> list[_Run]:
        """The cells that take part, joined where steps follow each other."""
        elastic, runs = self._elastic, []
        for k in range(len(elastic.wishes)):
            cells = np.flatnonzero(given.touches & (elastic.of_wish == k))
            if cells.size:
                breaks = np.flatnonzero(np.diff(elastic.step[cells]) > 1) + 1
                runs += [_Run(k, part) for part in np.split(cells, breaks)]
        return runs

    def told(self, runs: tuple[_Run, ...]) -> Conflict:
        """A set with its costs, in words."""
        ordered = sorted(runs, key=lambda run: (int(self._elastic.step[run.cells[0]]), run.wish))
        members = tuple(self._member(run, ordered) for run in ordered)
        return Conflict(members, _sentences(members))

    def _member(self, run: _Run, runs: list[_Run]) -> Member:
        """What one run of a set has to give if it alone does, and what that costs or saves."""
        elastic, cells = self._elastic, run.cells
        if self._as_made is None:
            self._as_made = elastic.cheapest(elastic.penalty)
        firm = np.zeros(elastic.n)
        firm[np.concatenate([other.cells for other in runs])] = _FIRMER
        firm[cells] = 1.0
        least = elastic.least(firm, evenly=run.wish)
        alone = elastic.cheapest(self._if_alone(run, runs))
        without = elastic.penalty.copy()
        without[cells] = 0.0
        gone = elastic.cheapest(without)
        wish, steps = elastic.wishes[run.wish], elastic.step[cells]
        slack = least.slack[cells] if least else np.full(len(cells), np.nan)
        made = self._as_made.own if self._as_made else np.nan
        return Member(
            row=wish.name,
            wish=_worded(wish, steps, self._grid, self._timezone),
            first_step=int(steps[0]),
            until_step=int(steps[-1]) + 1,
            gives_kwh=float(slack.max() if wish.energy else slack @ self._grid.hours[steps]),
            gives_kw=float("nan") if wish.energy else float(slack.max()),
            costs=float(alone.own - made) if alone else float("nan"),
            saves=float(made - gone.own) if gone else float("nan"),
        )

    def _if_alone(self, run: _Run, runs: list[_Run]) -> Floats:
        """Penalties under which of a set only one run gives way."""
        elastic, penalty = self._elastic, self._elastic.penalty.copy()
        for other in runs:
            penalty[other.cells] *= _FIRM
        each = elastic.width[run.cells].sum() if elastic.wishes[run.wish].energy else 1
        penalty[run.cells] = self._terms.limit_penalty * elastic.unit[run.cells] / each
        return penalty


def _worded(wish: Wish, steps: Indices, grid: TimeGrid, timezone: str) -> str:
    """A wish with its numbers and times."""
    asked = wish.asked[np.isin(wish.steps, steps)]
    first, last = int(steps[0]), int(steps[-1])
    if wish.verb == "band":
        return f"{wish.name}, {span_text(grid, first, last, timezone)}"
    if wish.energy:
        by = span_text(grid, first, last, timezone, end_only=True)
        most = float(asked.max())
        return f"{wish.name}: " + (
            f"{most:.1f} kWh more by {by}" if most >= 0 else f"at most {-most:.1f} kWh less at {by}"
        )
    return f"{wish.name}: {wish.verb} {_range(asked)} kW, {span_text(grid, first, last, timezone)}"


def _range(values: Floats) -> str:
    """From the least to the most, kW or kWh."""
    low, high = float(values.min()), float(values.max())
    return f"{low:.1f}" if high - low < 0.05 else f"{low:.1f} to {high:.1f}"


def _gives(member: Member) -> str:
    """How much a member gives way, in words."""
    power = "" if np.isnan(member.gives_kw) else f", up to {member.gives_kw:.1f} kW"
    return f"{member.gives_kwh:.1f} kWh{power}"


def _money(costs: float) -> str:
    """What that costs, in words."""
    if np.isnan(costs):
        return "at a cost that was not found"
    if abs(costs) < 0.005:
        return "at no further cost"
    return f"and the plan costs {abs(costs):.2f} {'more' if costs > 0 else 'less'}"


def _sentences(members: tuple[Member, ...]) -> str:
    """The set, then what each of its ways out takes."""
    if len(members) == 1:
        only = members[0]
        return f"{only.wish} cannot hold, whatever the groups do. It has to give {_gives(only)}."
    wishes = "; ".join(member.wish for member in members)
    rows = [member.row for member in members]
    names = [m.row if rows.count(m.row) == 1 else m.wish for m in members]
    told = zip(names, members, strict=True)
    ways = " ".join(f"If «{name}» gives way: {_gives(m)}, {_money(m.costs)}." for name, m in told)
    return f"These cannot all hold: {wishes}. {ways}"
