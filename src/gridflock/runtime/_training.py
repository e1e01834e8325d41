"""The daily learning: when it is due, where it runs, and how what it leaves comes into a tick.

It runs on a thread of its own, on values that later ticks do not change; these are kept, so that a life
that is stopped meanwhile learns the same once it goes on. What was learnt is a snapshot named by its digest,
stored before the tick of the hand-over names it: so that tick is lived again with the same models, whoever
trained them. Where learning fails, the lessons before stay in force.
"""

from __future__ import annotations

import contextlib
import hashlib
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Thread
from zoneinfo import ZoneInfo

from gridflock.forecast import Site
from gridflock.model import History, Weather
from gridflock.ports import Record
from gridflock.record import RecordFull
from gridflock.runtime._heard import Heard
from gridflock.runtime._kept import KeptBroken, fields_from_bytes, from_bytes, to_bytes
from gridflock.runtime._known import Known
from gridflock.runtime._lessons import Lessons, learn
from gridflock.runtime._past import STEP_S, Past, lessons_named
from gridflock.runtime._points import Points
from gridflock.runtime._settings import Settings
from gridflock.units import DAY_S, HOUR_S, iso

FAILED = "learning failed"
LOST = "weather lost"
OUT_OF_SCALE = "data out of scale"
_TEXT = 300
_NAMED = 5
_DIGITS = 32
_BEGUN = "learning"
"""Snapshot of what is being learnt from."""


class LessonsLost(ValueError):  # noqa: N818 - what is wrong with a folder, told whole
    """What was learnt is named, but is not there, or not what its name says."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """What is learnt from, in values that later ticks do not change.

    Attributes:
        begun_s: when.
        history: quarter-hours.
        measured: the same as it was counted.
        archive: what was expected of the weather.
        before: name of the lessons of the day before; empty for none.
        site: where the feeder stands.
        solar: series whose shape is the sun's.
        leads: how many quarter-hours ahead plans look.
        points: connection points, hour by hour.
    """

    begun_s: int
    history: History
    measured: History
    archive: Weather | None
    before: str
    site: Site
    solar: frozenset[str]
    leads: int
    points: Points | None = None

    def learnt(self, before: Lessons | None) -> bytes:
        """The lessons, as bytes."""
        words = self.history, self.measured, self.archive, before, self.site, self.solar, self.leads
        return to_bytes(learn(*words, self.begun_s, self.points))


class Training:
    """Learns once a local day from what a past holds. One caller at a time.

    Args:
        site: of the feeder.
    """

    def __init__(self, site: Site) -> None:
        self._site, self._zone = site, ZoneInfo(site.timezone)
        self.waits = True
        """Whether the tick of the hand-over waits where learning is not over; else a later one has it."""
        self._looked = False
        self._tried_day, self._begun_s = 0, 0
        self._owed: Future[bytes] | None = None
        self._troubles: tuple[str, ...] = ()

    def listen(
        self, past: Past, record: Record, settings: Settings, now_s: int
    ) -> tuple[str, tuple[str, ...]]:
        """The name of new lessons, stored, where there are any; and what is wrong, while it is."""
        if not self._looked:
            self._looked = True
            self._go_on(past, record, now_s)
        if self._owed is None and self._is_due(past, settings, now_s):
            lesson = self._lesson(past, settings, now_s)
            # On a full disk a life that is stopped meanwhile learns anew.
            with contextlib.suppress(RecordFull):
                record.snapshot(_BEGUN, to_bytes(lesson))
            self._begin(lesson, None if past.taught is None else past.taught[1])
        if self._owed is None or now_s < self._begun_s + settings.learn_within_s:
            return "", self._troubles
        if not (self.waits or self._owed.done()):
            return "", self._troubles
        owed, self._owed = self._owed, None
        try:
            data = owed.result()
            name = f"lessons_{hashlib.sha256(data).hexdigest()[:_DIGITS]}"
            record.snapshot(name, data)
        except RecordFull as full:
            self._troubles = (f"{FAILED}: {full}"[:_TEXT],)
            return "", self._troubles
        except Exception as error:  # noqa: BLE001 - a mistake of ours in learning must not stop the ticks
            self._troubles = (f"{FAILED}: {type(error).__name__}: {error}"[:_TEXT],)
            return "", self._troubles
        self._troubles = ()
        return name, ()

    def _is_due(self, past: Past, settings: Settings, now_s: int) -> bool:
        """Whether a local day has begun since the last lessons, and enough is known."""
        today = self._day(now_s)
        if not settings.learn_days or today == self._tried_day:
            return False
        if past.taught is not None and self._day(past.taught[1].made_s) == today:
            return False
        return past.steps * STEP_S >= settings.learn_days * DAY_S

    def _day(self, now_s: int) -> int:
        return datetime.fromtimestamp(now_s, tz=UTC).astimezone(self._zone).toordinal()

    def _lesson(self, past: Past, settings: Settings, now_s: int) -> Lesson:
        leads = settings.fine_steps + settings.coarse_steps * HOUR_S // STEP_S
        before = "" if past.taught is None else past.taught[0]
        return Lesson(
            now_s, past.whole(), past.measured(), past.skies.archive, before, self._site, past.solar, leads,
            past.points,
        )  # fmt: skip

    def _begin(self, lesson: Lesson, before: Lessons | None) -> None:
        self._tried_day, self._begun_s, self._owed = self._day(lesson.begun_s), lesson.begun_s, Future()
        words = lesson, before, self._owed
        Thread(target=_work, args=words, name="gridflock-learning", daemon=True).start()

    def _go_on(self, past: Past, record: Record, now_s: int) -> None:
        """Learn again what a life before was learning today when it was stopped."""
        data = record.snapshot(_BEGUN)
        if data is None:
            return
        try:
            lesson = from_bytes(data)
        except KeptBroken:
            return
        name, before = ("", None) if past.taught is None else past.taught
        if not isinstance(lesson, Lesson) or (lesson.before, lesson.history.series) != (name, past.series):
            return
        if lesson.begun_s <= now_s and self._day(lesson.begun_s) == self._day(now_s):
            self._begin(lesson, before)


def _work(lesson: Lesson, before: Lessons | None, answer: Future[bytes]) -> None:
    try:
        answer.set_result(lesson.learnt(before))
    except BaseException as error:  # noqa: BLE001 - handed to the tick, which tells of it
        answer.set_exception(error)


def take_in(past: Past, record: Record, heard: Heard) -> None:
    """Let a past know what a tick has heard of the weather, and what was learnt.

    Raises:
        LessonsLost: they are not there.
    """
    past.hear(heard.sky, heard.now_s)
    if heard.lessons:
        found = lessons_of(record, heard.lessons)
        if found is None:
            raise LessonsLost(f"no snapshot {heard.lessons} of what was learnt")
        past.be_taught(heard.lessons, found)


def remember(past: Past, record: Record, known: Known) -> None:
    """Let a past know what one had learnt.

    Raises:
        LessonsLost: they are not there.
    """
    found = lessons_of(record, known.lessons) if known.lessons else None
    if known.lessons and found is None:
        raise LessonsLost(f"no snapshot {known.lessons} of what was learnt")
    if found is not None:
        past.be_taught(known.lessons, found)


def told_of(past: Past, now_s: int) -> tuple[str, ...]:
    """What is wrong with the forecasts: weather that is lost, faults of data, series that have changed."""
    found: list[str] = []
    if 0 < past.skies.reaches_s() <= now_s + HOUR_S:
        found.append(f"{LOST}: the newest forecast ends {iso(past.skies.reaches_s())}; forecasts go without")
    if wild := past.wild():
        found.append(f"{OUT_OF_SCALE}: {_named(wild)}; taken as not heard until the data are looked through")
    if past.taught is None:
        return tuple(found)
    lessons = past.taught[1]
    if lessons.failed:
        found.append(f"{FAILED}: {'; '.join(lessons.failed)}; the model before stays"[:_TEXT])
    faults: dict[str, list[str]] = {}
    for fault in lessons.findings:
        faults.setdefault(f"data {fault.rule}", []).append(fault.series)
    for alarm in lessons.alarms():
        faults.setdefault(f"forecast {alarm.rule}", []).append(f"{alarm.series} ({alarm.value:.2f})")
    for cause, many in sorted(faults.items()):
        found.append(f"{cause}: {_named(tuple(dict.fromkeys(many)))}"[:_TEXT])
    return tuple(found)


def _named(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"


def lessons_of(record: Record, name: str) -> Lessons | None:
    """Lessons that were stored; None where they are not there, or not those of that name."""
    data = record.snapshot(name)
    if data is None or not name.endswith(hashlib.sha256(data).hexdigest()[:_DIGITS]):
        return None
    try:
        found = from_bytes(data)
    except KeptBroken:
        return None
    return found if isinstance(found, Lessons) else None


def revived(past: Past, record: Record, stored: bytes) -> bool:
    """Let a past be what its snapshot says; False where it is of other series or sites.

    Where the lessons that belong to it cannot be read any more, the history in them is taken, and all of it
    is learnt anew: ``past.told`` says so.
    """
    name = lessons_named(stored)
    lessons = lessons_of(record, name) if name else None
    if lessons is not None:
        past.be_taught(name, lessons)
        return past.restore(stored)
    if not name:
        return past.restore(stored)
    history = _history_of(record, name)
    if history is None or not past.restore(stored, history=history):
        past.told = f"what was learnt ({name}) is lost, with the history in it: the days before are told anew"
        return False
    days = past.steps * STEP_S // DAY_S
    past.told = f"what was learnt ({name}) is of another version: learnt anew from {days} days of history"
    return True


def _history_of(record: Record, name: str) -> History | None:
    """The history in lessons of another version; None where it cannot be read either."""
    data = record.snapshot(name)
    if data is None or not name.endswith(hashlib.sha256(data).hexdigest()[:_DIGITS]):
        return None
    try:
        found = fields_from_bytes(data).get("history")
    except KeptBroken:
        return None
    return found if isinstance(found, History) else None
