"""Prices of energy at the head that somebody publishes, and what is expected of those that are not out yet.

What is published stands in for the tariff in every plan from the next tick on, for import and for export. Of
later hours the plan takes what the class ``price`` of ``forecast.learned`` expects, learnt anew with every
publication from what was known at its moment; from less than three weeks habits tell. From less than two
days of the last week nobody tells, nor a day after the last published hour: the tariff holds, and from the
end of what is published on an alarm says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast import Site
from gridflock.forecast.learned import SETTINGS, Trained, train
from gridflock.model import Entry, Forecast, History, Json
from gridflock.ports import Record
from gridflock.runtime._kept import KeptBroken, from_bytes, to_bytes
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, Money, Seconds, TimeGrid, iso

KIND = "prices"
"""Kind of ledger entries that keep what was published."""
PRICE = "price"
"""Name of the one series."""
WORDS = ("tariff", "published", "expected")
"""By what a step's price is told."""
TARIFF, PUBLISHED, EXPECTED = range(3)
LOST = "prices lost"
_LEAST_HOURS, _LATELY_S = 48, 7 * DAY_S
"""So many hours of the last week must have been published."""
_OLD_S = DAY_S
"""So long after the last published hour nothing is expected any more."""
_WEEK_DAYS = 7
_ISSUE_EVERY_S = 7 * HOUR_S
"""Moments of issue that are learnt from; of all hours of the day in turn."""
_PER_HOUR = HOUR_S // QUARTER_S
_SMALL = replace(SETTINGS[PRICE], members=("ridge", "trees"), warm_days=14, refit_days=14, trees=60, leaves=7)
"""Learnt in a second and a half, within the first plan after a publication."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Published:
    """One publication.

    Attributes:
        start_s: of its first quarter-hour.
        price: (T,) of quarter-hours in a row, money per kWh.
        known_s: (T,) when each was out, to learn from; never after it was heard here.
        seq: its ledger entry; 0 before it has one.
    """

    start_s: int
    price: Money
    known_s: Seconds
    seq: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Market:
    """What is known of prices between two ticks: quarter-hours from a moment on.

    Attributes:
        seq: ledger entry of the publication that was heard last.
        start_s: of the first quarter-hour: a full hour.
        price: (T,) money per kWh, NaN where nothing is published.
        known_s: (T,) when each was out; -1 where nothing is.
        told_s: when the last one was heard; nothing later is learnt from.
    """

    seq: int = 0
    start_s: int = 0
    price: Money = field(default_factory=lambda: np.empty(0))
    known_s: Seconds = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    told_s: int = 0

    def heard(self, told: Sequence[Published], now_s: int, keep_s: int) -> Market:
        """With further publications; the newest holds. Of the past so much is kept."""
        found = self
        for one in told:
            found = _with(found, one, now_s, now_s - keep_s)
        # Day by day: what was learnt is of these prices, and would be learnt anew with every hour that goes.
        old = found.start_s < now_s - keep_s - DAY_S
        return _without(found, now_s - keep_s) if old and len(found.price) else found

    def troubles(self, now_s: int) -> tuple[str, ...]:
        """That nothing is published of the present any more, in words."""
        known = np.flatnonzero(np.isfinite(self.price))
        until_s = self.start_s + QUARTER_S * (int(known[-1]) + 1) if len(known) else 0
        if not 0 < until_s <= now_s:
            return ()
        rest = "the tariff holds" if until_s <= now_s - _OLD_S else "plans go by what is expected"
        return (f"{LOST}: published until {iso(until_s)}; {rest}",)

    @property
    def end_s(self) -> int:
        """End of the last quarter-hour that is published."""
        return self.start_s + QUARTER_S * len(self.price)


@dataclass(frozen=True, slots=True, eq=False)
class Priced:
    """Prices over a plan's T steps.

    Attributes:
        by: (T,) place in ``WORDS`` of what each step's price comes from.
        price: (T,) money per kWh: the mean that is expected; NaN where the tariff holds.
        said: nine quantiles of each step, all alike where it is published; NaN where the tariff holds.
    """

    by: NDArray[np.uint8]
    price: Money
    said: Forecast


def entry_of(told: Published, author: str, now_s: int) -> Entry:
    """What the ledger keeps of a publication before a tick hears of it."""
    until = iso(told.start_s + QUARTER_S * len(told.price))
    low, high = float(told.price.min()), float(told.price.max())
    head: dict[str, Json] = {
        "text": f"prices of {author}: {low:g} to {high:g} per kWh, {iso(told.start_s)} to {until}",
        "author": author,
    }
    return Entry(KIND, now_s, head, {"told": np.frombuffer(to_bytes(told), dtype=np.uint8)})


def told_since(record: Record, seq: int) -> tuple[Published, ...]:
    """What was published after an entry; what another version wrote is left out."""
    told: list[Published] = []
    for entry in record.entries(seq, {KIND}):
        with suppress(KeptBroken, KeyError):
            found = from_bytes(entry.columns["told"].tobytes())
            if isinstance(found, Published):
                told.append(replace(found, seq=entry.seq))
    return tuple(told)


def priced_over(market: Market, grid: TimeGrid, site: Site, learn_days: int, now_s: int) -> Priced | None:
    """Prices over a plan's steps: what is published, then what is expected; None where nobody publishes any.

    Args:
        market: what is known.
        grid: of the plan, from the beginning of a quarter-hour on.
        site: whose local time and holidays prices go by.
        learn_days: from so many days of prices on they are learnt from; 0: never.
        now_s: the moment.
    """
    if not len(market.price):
        return None
    n = (grid.end_s - grid.start_s) // QUARTER_S
    at = (grid.start_s - market.start_s) // QUARTER_S + np.arange(n)
    inside = (at >= 0) & (at < len(market.price))
    out = np.where(inside, market.price[np.where(inside, at, 0)], np.nan)
    known = np.isfinite(out)
    beyond = np.full((9, n), np.nan)
    if not known.all():
        seen = _expected(market, grid.end_s, site, learn_days, now_s)
        if seen is not None:
            place = (grid.start_s + QUARTER_S * np.arange(n) - seen.grid.start_s) // HOUR_S
            beyond = np.asarray(seen.value_kw, dtype=np.float64)[0][:, np.clip(place, 0, seen.grid.n - 1)]
    nine = np.where(known, out, beyond)
    first = (grid.starts_s - grid.start_s) // QUARTER_S
    many = np.diff(np.append(first, n))
    said = np.add.reduceat(nine, first, axis=1) / many
    whole = np.logical_and.reduceat(known, first)
    price = np.where(whole, said[4], said.mean(axis=0))
    by = np.where(whole, PUBLISHED, np.where(np.isfinite(price), EXPECTED, TARIFF)).astype(np.uint8)
    levels = np.round(np.arange(0.1, 0.95, 0.1), 1)
    return Priced(by, price, Forecast(grid, (PRICE,), levels, said[None], now_s))


def _with(market: Market, told: Published, now_s: int, from_s: int) -> Market:
    """One publication laid over what is known; hours before a moment go."""
    first_s = told.start_s - told.start_s % HOUR_S
    start_s = min(market.start_s, first_s) if len(market.price) else first_s
    end_s = max(market.end_s, told.start_s + QUARTER_S * len(told.price))
    n = -(-(end_s - start_s) // HOUR_S) * _PER_HOUR
    price, known = np.full(n, np.nan), np.full(n, -1, dtype=np.int64)
    for of, of_s in ((market, market.start_s), (told, told.start_s)):
        place = (of_s - start_s) // QUARTER_S
        price[place : place + len(of.price)] = of.price
        known[place : place + len(of.price)] = np.minimum(of.known_s, now_s)
    return _without(Market(told.seq, start_s, price, known, now_s), from_s)


def _without(market: Market, from_s: int) -> Market:
    """Without the hours before a moment."""
    gone = min(max(0, (from_s - market.start_s) // HOUR_S) * _PER_HOUR, len(market.price))
    start_s = market.start_s + gone * QUARTER_S
    return replace(market, start_s=start_s, price=market.price[gone:], known_s=market.known_s[gone:])


def _expected(market: Market, end_s: int, site: Site, learn_days: int, now_s: int) -> Forecast | None:
    """Nine quantiles of every hour from now on; None where too little is known."""
    leads = -(-(end_s - now_s) // HOUR_S) + 1
    hours = _hours(market, now_s)
    edges_s, known = hours.grid.edges_s, np.isfinite(hours.value_kw[0])
    lately = known & (edges_s[:-1] >= now_s - _LATELY_S) & (edges_s[1:] <= now_s)
    if lately.sum() < _LEAST_HOURS or edges_s[1:][known].max() <= now_s - _OLD_S:
        return None
    return _model(market, site, learn_days, leads).forecast(hours, None, site, now_s)


def _hours(market: Market, now_s: int) -> History:
    """Means of hours with the moments they were out, to the present one at least."""
    n = max(len(market.price) // _PER_HOUR, (now_s - market.start_s) // HOUR_S)
    more = n * _PER_HOUR - len(market.price)
    price = np.concatenate([market.price, np.full(more, np.nan)]).reshape(n, _PER_HOUR).mean(axis=1)
    known = np.concatenate([market.known_s, np.full(more, -1)]).reshape(n, _PER_HOUR).max(axis=1)
    grid = TimeGrid.uniform(market.start_s, HOUR_S, n)
    known = np.where(np.isfinite(price), known, grid.edges_s[1:])
    return History(grid, (PRICE,), price[None], known[None].astype(np.int64))


@lru_cache(maxsize=4)
def _model(market: Market, site: Site, learn_days: int, leads: int) -> Trained:
    """What was learnt when the last publication was heard: the same whoever asks, and whenever."""
    hours, now_s = _hours(market, market.told_s), market.told_s
    days = np.isfinite(hours.value_kw).sum() * HOUR_S / DAY_S
    enough = learn_days > 0 and days >= learn_days
    first_s = hours.grid.start_s + _WEEK_DAYS * DAY_S if enough else now_s
    issues = np.arange(first_s, now_s, _ISSUE_EVERY_S, dtype=np.int64)
    return train(hours, None, site, issues, np.arange(leads, dtype=np.int64), _SMALL, now_s)
