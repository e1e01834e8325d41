"""The verbs of foresight: what is expected, how good forecasts were, and which limits may break."""

from __future__ import annotations

import numpy as np

from gridflock.forecast.card import standing
from gridflock.forecast.limits import Emerging
from gridflock.grid import LimitKind
from gridflock.model import Forecast
from gridflock.runtime._access import Role, Scope
from gridflock.runtime._expected import by_past_days
from gridflock.runtime._foresight_views import (
    CardView,
    DriftView,
    EmergingView,
    FaultView,
    HelperView,
    HiddenSunView,
    LimitView,
    MarksView,
    NearView,
)
from gridflock.runtime._lessons import APART, HABIT_DAYS, Lessons
from gridflock.runtime._life import Life, UnknownName
from gridflock.runtime._limits_ahead import Present, helpers, limits_ahead
from gridflock.runtime._loop import Moment
from gridflock.runtime._near_marks import NearMark
from gridflock.runtime._outlook import OutlookView, outlook_of, paths_of
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._planning import Planned
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault, number, numbers
from gridflock.units import DAY_S, Kw, iso

_FEWEST_PATHS, _MOST_PATHS = 20, 1_000
_MOST_CELLS = 40_000_000
"""Of paths × nodes × steps, which stand in memory at once: a third of a gigabyte."""
_SHOWN_HELPERS = 10
_SHOWN_FAULTS = 200


class Foreseeing(Life):
    """Reading verbs of forecasts and of the limits ahead."""

    _drawn: tuple[Forecast, Kw | None] | None = None
    """Joint paths of the forecast of the plan in force: the same for all groups that are looked at."""

    def card(self, scope: Scope, days: int = 21) -> CardView:
        """How good the forecasts of each series were by each method, who is champion, and what has changed.

        Args:
            scope: authority; viewers.
            days: over how many of the last marked days.

        Raises:
            RequestRejected: no day.
        """
        scope.require(Role.VIEWER)
        if days < 1:
            raise RequestRejected((Fault("days", "one at least", f"{days}"),))
        past, settings = self._loop.past, self._settings
        lessons = None if past.taught is None else past.taught[1]
        reaches_s = past.skies.reaches_s()
        return CardView(
            learnt_at="" if lessons is None else iso(lessons.made_s),
            known_days=past.steps * STEP_S // DAY_S,
            needed_days=settings.learn_days,
            weather_until=iso(reaches_s) if reaches_s else "",
            models={} if lessons is None else {m.subject: len(m.series) for m in lessons.models},
            failed=[] if lessons is None else list(lessons.failed),
            marks=[] if lessons is None else _marks(lessons, days),
            drift=[] if lessons is None else _drift(lessons),
            near=[_near(one) for one in self._loop.near.marks(days)],
            faults=[] if lessons is None else _faults(lessons),
            hidden=[] if lessons is None else _hidden(lessons, past, self._loop.system.fleet.ids),
            hidden_looked=0 if lessons is None or lessons.behind is None else lessons.behind.looked,
        )

    def outlook(self, scope: Scope, group: str = "all", days: int = 1) -> OutlookView:
        """What a group, or one resource, did and is expected to do unasked; ``all`` is the feeder's head.

        Args:
            scope: authority; viewers.
            group: group or resource id.
            days: so far back what was counted is told, 1 to 9.

        Raises:
            UnknownName: no such group or resource, or no forecast yet.
            RequestRejected: a number out of range.
        """
        scope.require(Role.VIEWER)
        if not 1 <= days <= HABIT_DAYS:
            raise RequestRejected((Fault("days", f"1 to {HABIT_DAYS}", f"{days}"),))
        system, seen = self._loop.system, self.moment.forecast
        if group not in system.rows_of or seen is None:
            message = "there is no forecast yet" if seen is None else f"no group or resource {group!r}"
            raise UnknownName(message)
        # A tick closes steps: the past is copied between two of them.
        with self._deciding:
            past = self._loop.past
            counted = past.whole()
        kept = self._drawn
        if kept is None or kept[0] is not seen:
            kept = self._drawn = seen, paths_of(past, seen)
        lessons = None if past.taught is None else past.taught[1]
        return outlook_of(system, lessons, counted, seen, kept[1], group, days)

    def emerging(self, scope: Scope, paths: int = 100, least: float = 0.02, most: int = 50) -> EmergingView:
        """Limits that may break under the plan in force: how likely, when, and who could prevent it.

        Args:
            scope: authority; viewers.
            paths: how many futures are drawn: 20 to 1000, fewer on large feeders.
            least: chance below which a limit is not listed.
            most: so many are listed.

        Raises:
            UnknownName: there is no plan yet.
            RequestRejected: numbers out of range.
            Busy: too much was asked lately.
        """
        scope.require(Role.VIEWER)
        planned = self.moment.planned
        steps = 1 if planned is None else planned.schedule.grid.n
        room = min(_MOST_PATHS, max(_FEWEST_PATHS, _MOST_CELLS // (self._loop.system.network.n * steps)))
        faults = [
            Fault(name, rule, str(value))
            for name, value, rule, fits in (
                ("paths", paths, f"{_FEWEST_PATHS} to {room}", _FEWEST_PATHS <= paths <= room),
                ("least", least, "0 to 1", 0.0 <= least <= 1.0),
                ("most", most, "one at least", most >= 1),
            )
            if not fits
        ]
        if faults:
            raise RequestRejected(tuple(faults))
        moment = self.moment
        if moment.planned is None:
            message = "there is no plan yet"
            raise UnknownName(message)
        planned = moment.planned
        schedule = planned.schedule
        found = self._worked_out.ask(
            scope, ("emerging", paths), schedule.made_at_s, lambda: self._ahead(moment, planned, paths)
        )
        likely = np.flatnonzero(found.chance >= least)
        return EmergingView(
            plan_made_at=iso(schedule.made_at_s),
            t=[iso(int(t)) for t in schedule.grid.edges_s],
            paths=paths,
            by="past days" if by_past_days(self._loop.past, moment.planned.forecast) else "each for itself",
            unsolved=round(found.unsolved, 6),
            limits=[_limit(found, row) for row in likely[:most].tolist()],
            found=len(likely),
        )

    def _ahead(self, moment: Moment, planned: Planned, paths: int) -> Emerging:
        """Every limit that breaks in any of the paths."""
        system, image = self._loop.system, moment.image
        heard = system.places.load_kva(image)
        present = Present(
            system, moment.flow, moment.state, np.where(np.isnan(heard), system.network.load_kva, heard),
            float(system.places.inject_kva(image).sum().real),
        )  # fmt: skip
        able = helpers(system, moment.able, image.p_kw, image.ready == 1)
        return limits_ahead(present, self._loop.past, planned, able, paths, 0.0)


def _marks(lessons: Lessons, days: int) -> list[MarksView]:
    return [
        MarksView(
            row.series, row.method, row.champion, row.days, number(row.mae_kw), number(row.nmae),
            number(row.pinball_kw), number(row.crps_kw), number(row.crps_ratio), number(row.coverage),
        )
        for row in standing(lessons.card, days)
        if row.days or row.method != APART
    ]  # fmt: skip


def _near(one: NearMark) -> NearView:
    told = (number(value, 4) for value in (one.crps_kw, one.crps_ratio, one.coverage, one.drift))
    return NearView(one.series, one.days, *told)


def _drift(lessons: Lessons) -> list[DriftView]:
    return [
        DriftView(one.series, one.rule, one.method, number(one.value), iso(one.since_s))
        for one in lessons.alarms()
    ]


def _hidden(lessons: Lessons, past: Past, ids: tuple[str, ...]) -> list[HiddenSunView]:
    """What was found behind meters, by name, as long as the registry is that of the look."""
    if lessons.behind is None or lessons.points is None:
        return []
    if not np.array_equal(lessons.points.rows, past.points.rows):
        return []
    return [
        HiddenSunView(
            ids[one.row],
            number(one.peak_kw, 2),
            number(one.expected_error),
            number(one.correlation),
            one.reason,
        )
        for one in lessons.behind.found
    ]


def _faults(lessons: Lessons) -> list[FaultView]:
    return [
        FaultView(
            one.series, str(one.rule), iso(one.from_s), iso(one.until_s), one.seen,
            str(one.repair) if one.safe else f"{one.repair} (left)",
        )
        for one in lessons.findings[:_SHOWN_FAULTS]
    ]  # fmt: skip


def _limit(found: Emerging, row: int) -> LimitView:
    return LimitView(
        kind=LimitKind(int(found.kind[row])).name.lower().replace("_", " "),
        element=found.element[row],
        chance=round(float(found.chance[row]), 4),
        start=iso(int(found.from_s[row])),
        excess=number(float(found.excess[row])),
        need_kw=number(float(found.need_kw[row]), 2),
        by_step=numbers(found.by_step[row], 4),
        helpers=[
            HelperView(one.resource, number(one.move_kw, 2), number(one.relief))
            for one in found.helpers[row][:_SHOWN_HELPERS]
        ],
    )
