"""What groups could have done, kept day by day, so that bands of flexibility are set right by it.

Four times a day it is written down what is said of some moments of the next hours. When such a moment has
come, what devices say then is kept, and once its longest run is over, with what all did meanwhile, it is
counted what each group could have delivered. Only how far that lay from what was said is kept for long, in
widths of the band.

Who would have answered is nobody's knowledge where nobody was asked: it is drawn by what is known of each at
that moment, seeded by it. What comfort loads draw under orders counts as if it were unasked. A group of which
too much was silent is left out of a moment: silence is no power of 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, cast
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Response
from gridflock.fleet import Image
from gridflock.forecast.flexibility import (
    Asked,
    Chances,
    FlexibilityAhead,
    Way,
    came,
    flexibility_ahead,
    missed,
    recalibrated,
)
from gridflock.forecast.flexibility._answers import answers
from gridflock.forecast.flexibility._states import repeated
from gridflock.model import Forecast
from gridflock.runtime._metered import QUIET_S
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._paths_ahead import paths_ahead
from gridflock.runtime._system import System
from gridflock.schema import Family
from gridflock.units import DAY_S, HOUR_S, Rows

Floats = NDArray[np.float64]

ENOUGH_DAYS = 5
"""Days of what groups could have done from which bands are set right by it."""
_KEPT_DAYS = 14
_EVERY_S = 6 * HOUR_S
_LEADS_S = (HOUR_S, 3 * HOUR_S, 6 * HOUR_S, 12 * HOUR_S)
_ASKED = Asked(notices_s=(900,))
_STEPS = _ASKED.runs_s[-1] // STEP_S
_FEWEST_MEMBERS, _MOST_GROUPS, _MOST_MEMBERS = 5, 24, 2_000
_HEARD_OF_ROW, _HEARD_OF_GROUP = 0.5, 0.9
"""Share of a run's quarter-hours in which a member must be heard, and of a group's size to be known."""
_OFFERED = (Family.RENEWABLE, Family.GENERATOR, Family.SHED)
_OF_IMAGE = (
    "heard_s", "p_kw", "q_kvar", "v_pu", "p_avail_kw", "e_kwh", "e_target_kwh", "depart_s", "ready",
    "locked_s",
)  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class _Said:
    """What was said of G groups of some members from one moment on: (2, 3, G, R) ways, quantiles, runs."""

    start_s: int
    known_at_s: int
    groups: tuple[str, ...]
    members: tuple[int, ...]
    change_kw: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class _Then:
    """What the members said at such a moment, and who would have answered (m,)."""

    start_s: int
    columns: Mapping[str, NDArray[Any]]
    answered: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class _Misses:
    """One group's misses, oldest first: (k,) moments, (k, 2, R) widths; ``members`` tells whose they are."""

    members: int
    start_s: NDArray[np.int64]
    missed: NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class CouldHave:
    """What is kept between two ticks; each tick makes the next one.

    Attributes:
        rows: (m,) members of the groups that are looked at, ascending.
        said_s: moment of what was said last; 0 before the first tick.
        said: of moments whose truth is not counted yet.
        then: what members said at those that have come.
        quarter_kw: (m, up to a run) means of the last closed quarter-hours, ending at ``closed_s``.
        closed_s: end of the last closed quarter-hour.
        sum_kw: (m,) sums of the open one.
        heard: (m,) how many values these are of.
        misses: by group.
        failed: what went wrong in counting last; empty where nothing did.
    """

    rows: Rows = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    said_s: int = 0
    said: tuple[_Said, ...] = ()
    then: tuple[_Then, ...] = ()
    quarter_kw: NDArray[np.float32] = field(default_factory=lambda: np.empty((0, 0), dtype=np.float32))
    closed_s: int = 0
    sum_kw: Floats = field(default_factory=lambda: np.empty(0))
    heard: NDArray[np.int32] = field(default_factory=lambda: np.empty(0, dtype=np.int32))
    misses: Mapping[str, _Misses] = field(default_factory=dict)
    failed: str = ""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What went wrong, in words."""
        return (self.failed,) if self.failed else ()

    def days(self, system: System, group: str) -> int:
        """How many days stand behind a group's misses."""
        return len(np.unique(self._of(system, group) // DAY_S))

    def set_right(self, system: System, said: FlexibilityAhead) -> FlexibilityAhead:
        """What is said of a group, moved to where what it could have done lay, if enough days are known."""
        days = self.days(system, said.group)
        if days < ENOUGH_DAYS:
            return said
        return recalibrated(said, self.misses[said.group].missed.astype(np.float64), days)

    def _of(self, system: System, group: str) -> NDArray[np.int64]:
        """Moments of a group's misses; none where other members had them."""
        known = self.misses.get(group)
        if known is None or known.members != _members(system.rows_of[group]):
            return np.empty(0, dtype=np.int64)
        return known.start_s

    def after(
        self, system: System, past: Past, image: Image, seen: Forecast | None, response: Response
    ) -> CouldHave:
        """The next one, after a tick.

        Args:
            system: fleet and groups.
            past: ranks of past days.
            image: of the tick.
            seen: the forecast of the plan in force.
            response: what is known of who answers.
        """
        groups = looked_at(system)
        rows = np.unique(np.concatenate([np.empty(0, np.int32), *groups.values()])).astype(np.int32)
        found = self if np.array_equal(rows, self.rows) else CouldHave(rows, misses=self.misses)
        if not len(rows):
            return found
        found = _heard(found, image)
        try:
            found = _counted(_come(found, image, response), system, image, groups)
            if seen is not None:
                found = _say(found, system, past, image, seen, response, groups)
        except Exception as error:  # noqa: BLE001 - a mistake of ours in counting must not stop the ticks
            text = f"what groups could have done: {type(error).__name__}: {error}"[:200]
            return replace(found, said=(), then=(), said_s=image.now_s, failed=text)
        return found


def _heard(of: CouldHave, image: Image) -> CouldHave:
    """What all do, added to the open quarter-hour; the one before is closed."""
    found, start_s = of, image.now_s - image.now_s % STEP_S
    if start_s > of.closed_s:
        found = _closed(of, start_s)
    # Where one does not say what is on offer, what it gives stands in; what is stale says nothing.
    offered = np.isin(image.family, _OFFERED) & np.isfinite(image.p_avail_kw)
    power = np.where(offered, image.p_avail_kw, image.p_kw)[of.rows].astype(np.float64)
    known = np.isfinite(power) & ~image.silent(QUIET_S)[of.rows]
    return replace(found, sum_kw=found.sum_kw + np.where(known, power, 0.0), heard=found.heard + known)


def _closed(of: CouldHave, start_s: int) -> CouldHave:
    """The open quarter-hour closed, where it ends as the next begins; else all begins anew."""
    m = len(of.rows)
    empty = replace(of, closed_s=start_s, sum_kw=np.zeros(m), heard=np.zeros(m, dtype=np.int32))
    if not len(of.heard) or start_s - of.closed_s != STEP_S:
        return replace(empty, quarter_kw=np.empty((m, 0), dtype=np.float32))
    mean = np.where(of.heard > 0, of.sum_kw / np.maximum(of.heard, 1), np.nan)
    longer = np.concatenate([of.quarter_kw, mean[:, None].astype(np.float32)], axis=1)
    return replace(empty, quarter_kw=longer[:, -_STEPS:])


def _come(of: CouldHave, image: Image, response: Response) -> CouldHave:
    """What members say now, kept where something was said of this moment."""
    now_s, rows = image.now_s, of.rows
    held = {then.start_s for then in of.then}
    due = {said.start_s for said in of.said if 0 <= now_s - said.start_s < STEP_S} - held
    if not due:
        return of
    chances = _chances(response, now_s)
    answered = np.ones(image.n, dtype=bool) if chances is None else answers(chances, 1, now_s)[0]
    columns = {name: getattr(image, name)[rows] for name in _OF_IMAGE}
    return replace(of, then=(*of.then, _Then(due.pop(), columns, answered[rows])))


def _counted(of: CouldHave, system: System, image: Image, groups: Mapping[str, Rows]) -> CouldHave:
    """Moments whose longest run is over: the truth counted, and how far it lay from what was said."""
    over = {said.start_s for said in of.said if said.start_s + _ASKED.runs_s[-1] <= of.closed_s}
    if not over:
        return of
    misses = dict(of.misses)
    for then in of.then:
        if then.start_s + _ASKED.runs_s[-1] != of.closed_s or of.quarter_kw.shape[1] < _STEPS:
            continue
        part = replace(repeated(image, of.rows, 1), now_s=then.start_s, **cast("Any", then.columns))
        unasked, known = _unasked(of, part)
        own = _known_groups(of, part, known, groups)
        if not own:
            continue
        truth = came(part, unasked, own, _ASKED, then.answered & known)
        for said in of.said:
            if said.start_s == then.start_s:
                _add(misses, system, said, dict(zip(own, truth.swapaxes(0, 1), strict=True)))
    return replace(
        of,
        misses={name: one for name, one in misses.items() if name in system.groups},
        said=tuple(said for said in of.said if said.start_s not in over),
        then=tuple(then for then in of.then if then.start_s not in over),
    )


def _unasked(of: CouldHave, part: Image) -> tuple[Floats, NDArray[np.bool_]]:
    """What members did in the last run (m, H), and (m,) of whom it is known: the others are at 0.

    A quarter-hour in which one was silent is like the mean of those in which it was heard.
    """
    power = of.quarter_kw.astype(np.float64)
    heard = np.isfinite(power)
    known = (heard.mean(axis=1) >= _HEARD_OF_ROW) & ~part.silent(QUIET_S)
    mean = np.where(heard, power, 0.0).sum(axis=1) / np.maximum(heard.sum(axis=1), 1)
    return np.where(known[:, None], np.where(heard, power, mean[:, None]), 0.0), known


def _known_groups(
    of: CouldHave, part: Image, known: NDArray[np.bool_], groups: Mapping[str, Rows]
) -> dict[str, Rows]:
    """Places in ``of.rows`` of the groups of which enough is known."""
    columns = part.columns
    size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"]).astype(np.float64)
    size = np.where(size > 0, size, 1.0)
    own = {name: np.searchsorted(of.rows, rows).astype(np.int32) for name, rows in groups.items()}
    return {
        name: rows
        for name, rows in own.items()
        if size[rows][known[rows]].sum() >= _HEARD_OF_GROUP * size[rows].sum()
    }


def _say(
    of: CouldHave,
    system: System,
    past: Past,
    image: Image,
    seen: Forecast,
    response: Response,
    groups: Mapping[str, Rows],
) -> CouldHave:
    """What is said now of later moments, where it is time again."""
    now_s = image.now_s
    if not of.said_s or now_s // _EVERY_S == of.said_s // _EVERY_S:
        return of if of.said_s else replace(of, said_s=now_s)
    starts = now_s - now_s % STEP_S + np.array(_LEADS_S, dtype=np.int64)
    starts = starts[starts + _ASKED.runs_s[-1] <= seen.grid.end_s]
    if not len(starts) or now_s - seen.known_at_s >= STEP_S:
        return replace(of, said_s=now_s)
    future = paths_ahead(system, past, seen, image, _chances(response, now_s), of.rows)
    told = flexibility_ahead(future, groups, _ASKED, starts)
    change = np.stack([[of.up.change_kw[:, 0], of.down.change_kw[:, 0]] for of in told], axis=2)
    members = tuple(_members(rows) for rows in groups.values())
    new = [
        _Said(start_s, now_s, tuple(groups), members, change[..., k].astype(np.float32))
        for k, start_s in enumerate(starts.tolist())
    ]
    return replace(of, said_s=now_s, said=(*of.said, *new), failed="")


@lru_cache(maxsize=2)
def looked_at(system: System) -> dict[str, Rows]:
    """Groups whose flexibility is looked at afterwards: the fleet, its sections and its types, then others.

    With five members or more, while together they have two thousand at most: counting is part of a tick.
    """
    names = system.groups.ids
    first = [name for name in names if name == "all"]
    first += [name for name in names if name.startswith(("section/", "type/"))]
    first += [name for name in names if name not in first and not name.startswith(("plan/", "site/"))]
    found: dict[str, Rows] = {}
    inside: set[int] = set()
    for name in first:
        rows = system.rows_of[name]
        if len(rows) < _FEWEST_MEMBERS or len(found) == _MOST_GROUPS:
            continue
        wider = inside | set(rows.tolist())
        if len(wider) <= _MOST_MEMBERS:
            found[name], inside = rows, wider
    return found


def _add(misses: dict[str, _Misses], system: System, said: _Said, truth: Mapping[str, Floats]) -> None:
    """Enter the misses of one saying, group by group; the oldest days go."""
    for g, (name, members) in enumerate(zip(said.groups, said.members, strict=True)):
        if name not in truth or members != _members(system.rows_of[name]):
            continue
        sides = [
            Way(of[:, None, g, :, None], np.empty(0), np.empty(0)) for of in said.change_kw.astype(float)
        ]
        starts = np.array([said.start_s], dtype=np.int64)
        whole = FlexibilityAhead(name, starts, _ASKED, sides[0], sides[1], said.known_at_s)
        off = missed(whole, 0, truth[name])[None].astype(np.float32)
        known = misses.get(name)
        if known is not None and known.members == members:
            recent = known.start_s > said.start_s - _KEPT_DAYS * DAY_S
            starts = np.append(known.start_s[recent], starts)
            off = np.concatenate([known.missed[recent], off])
        misses[name] = _Misses(members, starts, off)


def _chances(response: Response, now_s: int) -> Chances | None:
    """Who answers; None: all."""
    return None if response.health is None else Chances.of(response.health, now_s)


def _members(rows: Rows) -> int:
    """By which other members are told."""
    return crc32(np.ascontiguousarray(rows, dtype=np.int32).tobytes())
