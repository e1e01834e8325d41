"""The way to the devices: an adapter on a thread of its own, so that none can stop a tick.

What an adapter is asked is asked there, one thing after the other. A tick waits for the answer no longer than
its patience; while one is owed, nothing more is asked and no order is handed over, and the orders of that
time count as unreachable. What comes late is taken in by the next tick that finds it.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from gridflock.model import Orders, Outcomes, OutcomeStatus, Readings
from gridflock.ports import Field

BLOCKED = "devices blocked"
FAILED = "devices failed"
_TEXT = 300
_Job = tuple[Callable[..., Any], tuple[Any, ...], "Future[Any]"]


@dataclass(frozen=True, slots=True)
class Arrived:
    """What a way has brought.

    Attributes:
        readings: batches, in the order they came.
        outcomes: the same; orders that were not handed over among them, as unreachable.
        troubles: what is wrong with the way, in words that begin with ``BLOCKED`` or ``FAILED``.
    """

    readings: tuple[Readings, ...]
    outcomes: tuple[Outcomes, ...]
    troubles: tuple[str, ...]


class Way:
    """One adapter, spoken to from one tick to the next. One caller at a time.

    Args:
        field: the adapter.
        patience_s: so long a tick waits for what it asked.
        name: of the adapter, told with its troubles where there are several.
    """

    def __init__(self, field: Field, patience_s: float, name: str = "") -> None:
        self.field, self.name = field, name
        of = f" ({name})" if name else ""
        self._blocked, self._failing = f"{BLOCKED}{of}", f"{FAILED}{of}"
        self._patience_s = patience_s
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._thread: Thread | None = None
        self._owed: tuple[str, Future[Any]] | None = None
        self._lost: list[Outcomes] = []
        self._sent: Orders | None = None
        self._troubles: dict[str, str] = {}

    def listen(self, now_s: int) -> Arrived:
        """Everything that has arrived since the last call."""
        self._troubles = {}
        readings: list[Readings] = []
        outcomes, self._lost = self._lost, []
        self._collect(readings, outcomes, now_s)
        for verb, call in (("read", self.field.read), ("outcomes", self.field.outcomes)):
            if self._owed is None:
                self._ask(verb, call, now_s)
                self._collect(readings, outcomes, now_s, self._patience_s)
        return Arrived(tuple(readings), tuple(outcomes), tuple(self._troubles.values()))

    def send(self, orders: Orders, now_s: int) -> None:
        """Hand orders over; those that cannot be are unreachable in the next tick."""
        if self._owed is not None:
            self._lose(orders, now_s)
            return
        self._sent = orders
        self._ask("send", self.field.send, orders)
        self._collect([], self._lost, now_s, self._patience_s)

    def close(self) -> None:
        """Let go of the thread; one that is blocked ends with the process."""
        if self._thread is not None:
            self._jobs.put(None)

    def _ask(self, verb: str, call: Callable[..., Any], *words: object) -> None:
        if self._thread is None:
            self._thread = Thread(target=_work, args=(self._jobs,), name="gridflock-way", daemon=True)
            self._thread.start()
        answer: Future[Any] = Future()
        self._owed = verb, answer
        self._jobs.put((call, words, answer))

    def _collect(
        self, readings: list[Readings], outcomes: list[Outcomes], now_s: int, wait_s: float = 0.0
    ) -> None:
        """Take the answer that is owed, if it is there in time."""
        if self._owed is None:
            return
        verb, answer = self._owed
        try:
            found = answer.result(wait_s)
        except TimeoutError as error:
            if answer.done():  # it was the adapter's own
                self._failed(verb, error, outcomes, now_s)
            else:
                text = f"{self._blocked}: {verb} is not answered; orders count as unreachable"
                self._troubles[BLOCKED] = text
                if self._sent is not None:
                    # Whether they went is not known. Should they come to force, they expire.
                    self._lose(self._sent, now_s)
            return
        except Exception as error:  # noqa: BLE001 - whatever an adapter raises must not stop the ticks
            self._failed(verb, error, outcomes, now_s)
            return
        self._owed = self._sent = None
        if verb == "read":
            readings.append(found)
        elif verb == "outcomes":
            outcomes.append(found)

    def _failed(self, verb: str, error: BaseException, outcomes: list[Outcomes], now_s: int) -> None:
        self._troubles[FAILED] = f"{self._failing}: {verb}: {type(error).__name__}: {error}"[:_TEXT]
        if self._sent is not None:
            outcomes.append(_unreachable(self._sent, now_s))
        self._owed = self._sent = None

    def _lose(self, orders: Orders, now_s: int) -> None:
        self._lost.append(_unreachable(orders, now_s))
        self._sent = None


def _work(jobs: SimpleQueue[_Job | None]) -> None:
    """Do one thing after the other until there is none."""
    while (job := jobs.get()) is not None:
        call, words, answer = job
        try:
            answer.set_result(call(*words))
        except BaseException as error:  # noqa: BLE001 - handed to the tick, which tells of it
            answer.set_exception(error)
        del job, call, words, answer  # what was sent long ago must not be kept by a thread that waits


def _unreachable(orders: Orders, now_s: int) -> Outcomes:
    n = len(orders.index)
    return Outcomes(
        orders.ids,
        orders.index,
        orders.order_id,
        np.full(n, OutcomeStatus.UNREACHABLE, dtype=np.uint8),
        np.full(n, np.nan),
        np.full(n, now_s, dtype=np.int64),
    )
