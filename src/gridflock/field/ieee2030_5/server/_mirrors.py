"""Readings that clients post: usage points, their series, and every value once.

A series is known by its mRID within its usage point; a reading by its series and the start of its interval.
The same reading again changes nothing, another value for the same interval replaces the first and is handed
on as well. So that a post of any length may be repeated until it is answered, a series remembers its last
post whole, and of what came before so many intervals as the policy says, the latest to arrive. A series whose
type changes becomes a new one, so that values already in keep the type they came with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorUsagePoint,
    MirrorUsagePointList,
    Reading,
    ReadingType,
    Resource,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import LIMIT, NO_CONTENT, page, posted, single
from gridflock.field.ieee2030_5.server._rates import post_s
from gridflock.field.ieee2030_5.server._registry import Access
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import Mirror, Series, State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn

LIST = "/mup"
_FIELDS = 5
_MOST_WAITING = 4_000_000
"""Readings nobody fetched; more are put off, not dropped."""
_RETRY_S = 60


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class MirrorKept(Change):
    """A usage point is known, or known otherwise."""

    mirror: Mirror

    def __call__(self, state: State) -> None:
        state.metering.keep(self.mirror)


@dataclass(frozen=True, slots=True)
class MirrorGone(Change):
    """A usage point is taken out."""

    number: int

    def __call__(self, state: State) -> None:
        state.metering.forget(self.number)


@dataclass(frozen=True, slots=True)
class SeriesKept(Change):
    """A series begins, or begins again with another type."""

    series: Series

    def __call__(self, state: State) -> None:
        state.metering.keep_series(self.series)


@dataclass(frozen=True, slots=True)
class ReadingsHeard(Change):
    """Readings came in: five numbers each, series, start, duration, value, quality flags.

    Attributes:
        at_s: arrival.
        readings: of one new reading after the other.
        kept: intervals of a series that are remembered at least.
        again: series and start of one reading after the other that was in the post and is known.
    """

    at_s: int
    readings: tuple[int, ...]
    kept: int
    again: tuple[int, ...] = ()

    def __call__(self, state: State) -> None:
        metering, at_s = state.metering, self.at_s
        posted: dict[int, set[int]] = {}
        known = iter(self.again)
        for series, start in zip(known, known, strict=True):
            recent = metering.recent[series]
            recent[start] = recent.pop(start)
            posted.setdefault(series, set()).add(start)
        numbers = iter(self.readings)
        for series, start, duration, value, flags in zip(*[numbers] * _FIELDS, strict=True):
            metering.waiting.append((series, start, duration, value, flags, at_s))
            recent = metering.recent.setdefault(series, {})
            recent.pop(start, None)
            recent[start] = duration, value, flags
            posted.setdefault(series, set()).add(start)
        for series, starts in posted.items():
            recent = metering.recent[series]
            if (over := len(recent) - max(self.kept, len(starts)) - 1) > 0:
                newest = max(recent)  # stays beside the others: it is what the series shows
                for start in [each for each in islice(recent, over + 1) if each != newest][:over]:
                    del recent[start]


@dataclass(frozen=True, slots=True)
class ReadingsFetched(Change):
    """All readings up to this count since ever are safe elsewhere."""

    upto: int

    def __call__(self, state: State) -> None:
        state.metering.fetched(self.upto)


CHANGES: tuple[type[Change], ...] = (MirrorKept, MirrorGone, SeriesKept, ReadingsHeard, ReadingsFetched)


# ---- what clients see and do -------------------------------------------------------------------------


def mirror_list(ask: Ask) -> Answer:
    """The usage points of the caller; their rate is the one its own device reports by."""
    client, _ = ask.known()
    metering = ask.state.metering
    rate_s = post_s(ask.state, ask.policy, client.lfdi, client.lfdi)
    mirrors = [metering.mirrors[number] for number in metering.of_owner.get(client.lfdi, ())]
    head = MirrorUsagePointList(href=LIST, poll_rate=rate_s)
    return page(ask, head, mirrors, lambda each: _shown(ask, each), reader=client.lfdi)


def mirror(ask: Ask, about: Mirror) -> Answer:
    """One usage point with the types of its series."""
    return single(ask, about.path, lambda: _shown(ask, about))


def _shown(ask: Ask, about: Mirror) -> MirrorUsagePoint:
    metering = ask.state.metering
    series = metering.of_mirror[about.number].values()
    return MirrorUsagePoint(
        href=about.path,
        mrid=about.mrid,
        description=about.description or None,
        role_flags=about.role_flags,
        service_category_kind=about.service,
        status=about.status,
        device_lfdi=about.lfdi,
        mirror_meter_reading=tuple(_series_shown(about, metering.series[each]) for each in series),
        post_rate=post_s(ask.state, ask.policy, about.lfdi, about.owner),
    )


def _series_shown(about: Mirror, series: Series) -> MirrorMeterReading:
    return MirrorMeterReading(
        href=f"{about.path}/mr/{series.number}",
        mrid=series.mrid,
        description=series.description or None,
        reading_type=series.type,
    )


def one_series(ask: Ask, about: Mirror, number: str) -> Answer:
    """One series: its type, and its newest reading."""
    metering = ask.state.metering
    series = metering.series.get(int(number)) if number.isascii() and number.isdigit() else None
    if series is None or series.mirror != about.number:
        raise Refused(404, "is no series")
    shown = _series_shown(about, series)
    recent = metering.recent.get(series.number)
    if recent:
        start = max(recent)
        duration, value, flags = recent[start]
        period = DateTimeInterval(start=start, duration=duration)
        newest = Reading(value=value, time_period=period, quality_flags=flags or None)
        shown = replace(shown, last_update_time=start + duration, reading=newest)
    return single(ask, f"{about.path}/mr/{series.number}", lambda: shown)


def add_mirror(ask: Ask) -> Answer:
    """A usage point of one of the caller's devices; the same one again is the same one still."""
    client, _ = ask.known()
    sent = posted(ask, MirrorUsagePoint)
    device = ask.state.registry.of(sent.device_lfdi)
    if device is None or device.owner != client.lfdi or device.access in {Access.SUSPENDED, Access.REMOVED}:
        raise Refused(403, f"mirrors for {sent.device_lfdi}, which is not the caller's own")
    ask.about = device
    metering = ask.state.metering
    number = metering.by_mrid.get((client.lfdi, sent.device_lfdi, sent.mrid))
    if number is None and len(metering.of_device.get(device.number, ())) >= ask.policy.most_mirrors:
        raise Refused(403, "has as many usage points as it may have", LIMIT)
    about = Mirror(
        number=metering.next_mirror if number is None else number,
        device=device.number,
        owner=client.lfdi,
        lfdi=sent.device_lfdi,
        mrid=sent.mrid,
        role_flags=sent.role_flags,
        service=sent.service_category_kind,
        status=sent.status,
        description=sent.description or "",
    )
    _take(ask, about, sent.mirror_meter_reading)
    return Answer(201, location=about.path)


def replace_mirror(ask: Ask, about: Mirror) -> Answer:
    """The usage point as its client wants it now; whose it is, it cannot change."""
    sent = posted(ask, MirrorUsagePoint)
    if (sent.device_lfdi, sent.mrid) != (about.lfdi, about.mrid):
        raise Refused(400, "names another device or mRID than the usage point's")
    changed = replace(
        about,
        role_flags=sent.role_flags,
        service=sent.service_category_kind,
        status=sent.status,
        description=sent.description or "",
    )
    _take(ask, changed, sent.mirror_meter_reading)
    return NO_CONTENT


def delete_mirror(ask: Ask, about: Mirror) -> Answer:
    """The client gives a usage point up."""
    ask.do(MirrorGone(about.number))
    _touch(ask, about)
    return NO_CONTENT


def post_readings(ask: Ask, about: Mirror) -> Answer:
    """Readings of one series or of several."""
    expected: tuple[type[Resource], ...] = (MirrorMeterReading, MirrorMeterReadingList)
    sent = posted(ask, expected)
    if isinstance(sent, MirrorMeterReadingList):
        _take(ask, about, sent.mirror_meter_reading)
        return Answer(201, location=about.path)
    assert isinstance(sent, MirrorMeterReading)
    _take(ask, about, (sent,))
    series = ask.state.metering.of_mirror[about.number][sent.mrid]
    return Answer(201, location=f"{about.path}/mr/{series}")


# ---- taking readings in ------------------------------------------------------------------------------


def _take(ask: Ask, about: Mirror, posts: Iterable[MirrorMeterReading]) -> None:
    """Keep usage point, series and readings, or refuse all of them."""
    metering = ask.state.metering
    known = metering.of_mirror.get(about.number, {})
    begun: dict[str, Series] = {}
    number = metering.next_series
    for each in posts:
        series = begun.get(each.mrid) or metering.series.get(known.get(each.mrid, 0))
        if series is None and each.reading_type is None:
            raise Refused(400, f"series {each.mrid} has no type yet")
        if series is None or (each.reading_type is not None and each.reading_type != series.type):
            begun[each.mrid] = Series(
                number, about.number, each.mrid, each.reading_type, each.description or ""
            )
            number += 1
    if len(known.keys() | begun.keys()) > ask.policy.most_series:
        raise Refused(403, "has as many series as it may have", LIMIT)
    if len(metering.waiting) >= _MOST_WAITING:
        raise Refused(503, "readings are not fetched", LIMIT, _RETRY_S)
    if metering.mirrors.get(about.number) != about:
        ask.do(MirrorKept(about))
        _touch(ask, about)
    for series in begun.values():
        ask.do(SeriesKept(series))
        _touch(ask, about)
    readings, again = _sifted(ask, about, posts)
    if readings:
        ask.do(ReadingsHeard(ask.now_s, readings, ask.policy.kept_intervals, again))


def _sifted(
    ask: Ask, about: Mirror, posts: Iterable[MirrorMeterReading]
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The five numbers of each reading that was not known yet, and series and start of each that was.

    Of an interval that a post names twice the last word counts.
    """
    metering = ask.state.metering
    numbers = metering.of_mirror[about.number]
    told: dict[tuple[int, int], tuple[int, int, int]] = {}
    for each in posts:
        number = numbers[each.mrid]
        for start, *rest in _readings(each, metering.series[number].type, ask.now_s):
            told[number, start] = rest[0], rest[1], rest[2]
        ask.pages.drop(f"{about.path}/mr/{number}", "")
    news: list[int] = []
    again: list[int] = []
    for (number, start), said in told.items():
        if metering.recent.get(number, {}).get(start) == said:
            again += (number, start)
        else:
            news += (number, start, *said)
    return tuple(news), tuple(again)


def _readings(
    post: MirrorMeterReading, kind: ReadingType | None, now_s: int
) -> Iterator[tuple[int, int, int, int]]:
    """Start, duration, value and quality flags of each reading that has a value.

    A reading of a set that names no period of its own stands in the set at its place, by the interval of its
    type; a single one without a period is of the moment of the last update, or of its arrival.
    """
    one = post.reading
    if one is not None and one.value is not None:
        at_s = now_s if post.last_update_time is None else post.last_update_time
        yield _of(one, at_s, 0, one.value)
    step = 0 if kind is None or kind.interval_length is None else kind.interval_length
    for group in post.mirror_reading_set:
        period = group.time_period
        length = step or period.duration // max(1, len(group.reading))
        for place, each in enumerate(group.reading):
            if each.value is not None:
                yield _of(each, period.start + place * length, length, each.value)


def _of(reading: Reading, start: int, duration: int, value: int) -> tuple[int, int, int, int]:
    flags = reading.quality_flags or 0
    if reading.time_period is None:
        return start, duration, value, flags
    return reading.time_period.start, reading.time_period.duration, value, flags


def _touch(turn: Turn, about: Mirror) -> None:
    turn.touch(about.path)
    turn.touch(LIST, about.owner)


# ---- handing readings on -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class Waiting:
    """Readings as they came, in columns, in order of arrival; wire units, wire sign.

    Attributes:
        upto: count to give to ``fetched`` once they are safe elsewhere.
        series: by number; each of ``number`` is here.
        mirrors: their usage points by number, deleted or not.
        number: int64 (n,) series.
        start_s: int64 (n,) start of the interval.
        duration_s: int64 (n,) its length.
        value: int64 (n,) times ten to the multiplier of the series' type.
        quality: int64 (n,) bits of ``QualityFlags``.
        arrived_s: int64 (n,).
    """

    upto: int
    series: dict[int, Series]
    mirrors: dict[int, Mirror]
    number: NDArray[np.int64]
    start_s: NDArray[np.int64]
    duration_s: NDArray[np.int64]
    value: NDArray[np.int64]
    quality: NDArray[np.int64]
    arrived_s: NDArray[np.int64]


def waiting(turn: Turn) -> Waiting:
    """All readings that were not fetched yet; they stay until ``fetched`` is told, so that none is lost."""
    metering = turn.state.metering
    columns = np.array(metering.waiting, np.int64).reshape(-1, _FIELDS + 1).T
    numbers = np.unique(columns[0]).tolist()
    series = {each: metering.series.get(each) or metering.stale[each] for each in numbers}
    places = {each.mirror for each in series.values()}
    mirrors = {each: metering.mirrors.get(each) or metering.gone[each] for each in places}
    return Waiting(metering.taken + len(metering.waiting), series, mirrors, *columns)


def fetched(turn: Turn, upto: int) -> None:
    """The readings of a ``Waiting`` are safe elsewhere."""
    if upto > turn.state.metering.taken:
        turn.do(ReadingsFetched(upto))


ROUTES = (
    Route(LIST, Need.CLIENT, {"GET": mirror_list, "POST": add_mirror}),
    Route(
        "/mup/{}",
        Need.MIRROR,
        {"GET": mirror, "POST": post_readings, "PUT": replace_mirror, "DELETE": delete_mirror},
    ),
    Route("/mup/{}/mr/{}", Need.MIRROR, {"GET": one_series}),
)
