"""Public holidays by rule, and the days that people join to them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Days = NDArray[np.int64]
Floats = NDArray[np.float64]

_EPOCH = date(1970, 1, 1)
_MON, _THU, _SAT, _SUN = 0, 3, 5, 6
_EVE, _LAST = 24, 31
"""Of December."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """When a country rests.

    Attributes:
        fixed: (month, day).
        easter: days after Easter Sunday.
        nth: (month, n, weekday): the n-th such weekday, -1 the last.
        moved: a holiday of a weekend is held on the next day that is none ("after"), on the nearest
            workday ("near"), or not at all ("").
    """

    fixed: tuple[tuple[int, int], ...]
    easter: tuple[int, ...] = ()
    nth: tuple[tuple[int, int, int], ...] = ()
    moved: str = ""


_GERMANY = ((1, 1), (5, 1), (10, 3), (12, 25), (12, 26))
_RULES = {
    "GB": _Rules(
        ((1, 1), (12, 25), (12, 26)), (-2, 1), ((5, 1, _MON), (5, -1, _MON), (8, -1, _MON)), "after"
    ),
    "US": _Rules(
        ((1, 1), (7, 4), (12, 25)),
        (),
        ((1, 3, _MON), (2, 3, _MON), (5, -1, _MON), (9, 1, _MON), (11, 4, _THU)),
        "near",
    ),
    "DE": _Rules(_GERMANY, (-2, 1, 39, 50)),
    "DE-NI": _Rules((*_GERMANY, (10, 31)), (-2, 1, 39, 50)),
    "NL": _Rules(((1, 1), (4, 27), (12, 25), (12, 26)), (-2, 0, 1, 39, 49, 50)),
}
"""National holidays (and of parts of a country where data need them) of the decade around 2020.

Only those on which most places of work rest: in the United States neither Columbus Day nor Veterans Day.
"""

COUNTRIES = tuple(_RULES)
"""Codes with holidays; a part of a country that is not among them takes the whole's."""


def rest(country: str, days: Days) -> tuple[Floats, Floats]:
    """Which local days are holidays, and which are taken off with one.

    Args:
        country: ISO 3166 code, as of ``Site``; one without rules has no holidays.
        days: (N,) local day numbers since 1970.

    Returns:
        (N,) 1 on a holiday; (N,) 1 on a workday between a holiday and a weekend, on 24 and on 31 December,
        three quarters between these, a half on each other day next to a holiday.
    """
    unique, where = np.unique(days, return_inverse=True)
    found = np.array([_day(country, int(day)) for day in unique], dtype=np.float64).reshape(-1, 2)
    return found[where, 0].reshape(days.shape), found[where, 1].reshape(days.shape)


@lru_cache(maxsize=65_536)
def _day(country: str, number: int) -> tuple[float, float]:
    day = _EPOCH + timedelta(days=number)
    one = timedelta(days=1)
    if _free(country, day):
        return 1.0, 0.0
    before, after = _free(country, day - one), _free(country, day + one)
    weekend = {"before": (day - one).weekday() == _SUN, "after": (day + one).weekday() == _SAT}
    if (before and weekend["after"]) or (after and weekend["before"]):
        return 0.0, 1.0
    if _rules(country) and day.month == 12 and day.day >= _EVE:
        return 0.0, 1.0 if day.day in (_EVE, _LAST) else 0.75
    return 0.0, 0.5 if before or after else 0.0


def _free(country: str, day: date) -> bool:
    return day in _year(country, day.year)


def _rules(country: str) -> _Rules | None:
    return _RULES.get(country) or _RULES.get(country.split("-", maxsplit=1)[0])


@lru_cache(maxsize=1_024)
def _year(country: str, year: int) -> frozenset[date]:
    """The holidays of a year."""
    rules = _rules(country)
    if rules is None:
        return frozenset()
    sunday = easter(year)
    found = {sunday + timedelta(days=k) for k in rules.easter}
    found |= {_weekday(year, *which) for which in rules.nth}
    for month, day in rules.fixed:
        held = date(year, month, day)
        found.add(held)
        if held.weekday() >= _SAT and rules.moved:
            found.add(_moved(held, rules.moved, found))
    return frozenset(found)


def _moved(held: date, how: str, taken: set[date]) -> date:
    if how == "near":
        return held + timedelta(days=-1 if held.weekday() == _SAT else 1)
    while held.weekday() >= _SAT or held in taken:
        held += timedelta(days=1)
    return held


def _weekday(year: int, month: int, nth: int, weekday: int) -> date:
    if nth < 0:
        last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
        return last - timedelta(days=(last.weekday() - weekday) % 7)
    first = date(year, month, 1)
    return first + timedelta(days=(weekday - first.weekday()) % 7 + 7 * (nth - 1))


def easter(year: int) -> date:
    """Easter Sunday of the Gregorian calendar (Meeus, Jones and Butcher)."""
    golden = year % 19
    century, rest_of = divmod(year, 100)
    leap, part = divmod(century, 4)
    moon = (19 * golden + century - leap - (century - (century + 8) // 25 + 1) // 3 + 15) % 30
    four, last = divmod(rest_of, 4)
    week = (32 + 2 * part + 2 * four - moon - last) % 7
    late = (golden + 11 * moon + 22 * week) // 451
    month, day = divmod(moon + week - 7 * late + 114, 31)
    return date(year, month, day + 1)
