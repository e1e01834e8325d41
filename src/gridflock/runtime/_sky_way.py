"""The way to the weather: a source on a thread of its own, asked once a slow period; none can stop a tick."""

from __future__ import annotations

from concurrent.futures import Future
from threading import Thread

from gridflock.forecast import Site
from gridflock.model import Rejected, Weather
from gridflock.ports import Weather as Source
from gridflock.runtime._skies import sound

LATE = "weather late"
FAILED = "weather failed"
REFUSED = "weather refused"
_MOST_PERIODS = 4
"""An answer owed for longer is given up: the source is asked anew."""
_TEXT = 300
_Answer = tuple[Weather | None, tuple[Rejected, ...]]


class SkyWay:
    """One source of weather. One caller at a time.

    Args:
        source: the adapter; None: nobody is asked.
        site: where the weather is to be.
        every_s: so often it is asked.
        patience_s: so long a tick waits for the answer; what comes later is taken by a later tick.
    """

    def __init__(self, source: Source | None, site: Site, every_s: int, patience_s: float) -> None:
        self._source, self._site = source, site
        self._every_s, self._patience_s = every_s, patience_s
        self._asked_s: int | None = None
        self._owed: Future[_Answer] | None = None
        self._troubles: tuple[str, ...] = ()

    def listen(self, now_s: int, last: Weather | None) -> tuple[Weather | None, tuple[str, ...]]:
        """A forecast that differs from the last, in hours; and what is wrong, while it is."""
        if self._source is None:
            return None, ()
        wait_s, period = 0.0, now_s // self._every_s
        if self._asked_s is not None and period - self._asked_s // self._every_s >= _MOST_PERIODS:
            self._owed = None
        if self._owed is None and (self._asked_s is None or self._asked_s // self._every_s != period):
            self._asked_s, wait_s = now_s, self._patience_s
            self._owed = Future()
            words = (self._source, now_s, self._owed)
            Thread(target=_ask, args=words, name="gridflock-weather", daemon=True).start()
        return self._collected(wait_s, last), self._troubles

    def _collected(self, wait_s: float, last: Weather | None) -> Weather | None:
        """The answer, if it is there in time and says something else than the last."""
        if self._owed is None:
            return None
        try:
            told, faults = self._owed.result(wait_s)
            found = None if told is None else sound(told, self._site)
        except TimeoutError as error:
            if not self._owed.done():
                self._troubles = (f"{LATE}: no answer yet",)
                return None
            self._failed(error)
            return None
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises must not stop the ticks
            self._failed(error)
            return None
        self._owed = None
        if isinstance(found, Rejected):
            faults, found = (*faults, found), None
        wrong = "; ".join(f"{fault.field}: {fault.reason}" for fault in faults)
        self._troubles = (f"{REFUSED}: {wrong}"[:_TEXT],) if faults else ()
        return None if found is None or (last is not None and _alike(found, last)) else found

    def _failed(self, error: Exception) -> None:
        self._owed = None
        self._troubles = (f"{FAILED}: {type(error).__name__}: {error}"[:_TEXT],)


def _ask(source: Source, now_s: int, answer: Future[_Answer]) -> None:
    try:
        answer.set_result(source.newest(now_s))
    except BaseException as error:  # noqa: BLE001 - handed to the tick, which tells of it
        answer.set_exception(error)


def _alike(one: Weather, other: Weather) -> bool:
    """Whether two forecasts say the same."""
    if (
        one.columns.keys() != other.columns.keys()
        or one.grid.edges_s.tobytes() != other.grid.edges_s.tobytes()
    ):
        return False
    return all(one.columns[name].tobytes() == other.columns[name].tobytes() for name in one.columns)
