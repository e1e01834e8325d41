"""Answers that take long, worked out once for all who ask, one after the other, within a budget of time.

Who only looks must not keep a core busy. One question is worked out at a time; its answer serves everybody
until it is of the past. What working out takes counts against the user, and against all users together; the
debt fades at a small share of the time that passes, and who has run into debt is told when to come again.
"""

from __future__ import annotations

import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Any, TypeVar, cast

from gridflock.runtime._access import LOCAL, Scope
from gridflock.runtime._requests import Busy
from gridflock.runtime._views import Fault

T = TypeVar("T")

_SHARE = 0.2
"""Part of one core that all questions together may take in the long run."""
_BURST_S, _BURST_OF_ONE_S = 40.0, 20.0
"""Seconds of work that may be owed: by all users, by one."""
_MOST_ANSWERS, _MOST_WAITING, _MOST_OF_ONE = 32, 8, 2
_ALL = ""


class WorkedOut:
    """The answers of one system. Thread-safe.

    Args:
        now_s: seconds of a clock that nobody sets.
        spent_s: processor seconds of the calling thread.
    """

    def __init__(
        self, now_s: Callable[[], float] = time.monotonic, spent_s: Callable[[], float] = time.thread_time
    ) -> None:
        self._now_s, self._spent_s = now_s, spent_s
        self._looking, self._turn = Lock(), Lock()
        self._answers: OrderedDict[Hashable, tuple[Hashable, Future[Any]]] = OrderedDict()
        self._waiting: Counter[str] = Counter()
        self._owed_s: dict[str, float] = {}
        self._faded_s = now_s()

    def ask(self, scope: Scope, question: Hashable, until: Hashable, work: Callable[[], T]) -> T:
        """The answer to a question: the one at hand, or worked out now.

        Args:
            scope: who asks; code in this process is not counted.
            question: what is asked.
            until: an answer worked out under another value is of the past.
            work: works it out.

        Raises:
            Busy: too many wait, or too much was worked out lately.
        """
        user = scope.user
        with self._looking:
            known = self._answers.get(question)
            mine = known is None or known[0] != until
            if scope is not LOCAL:
                self._admit(user, mine=mine, done=known is not None and known[1].done())
            answer: Future[Any] = Future() if mine or known is None else known[1]
            if mine:
                self._answers[question] = until, answer
                self._answers.move_to_end(question)
                while len(self._answers) > _MOST_ANSWERS:
                    self._answers.popitem(last=False)
            self._waiting[user] += 1
        try:
            if mine:
                self._work(user if scope is not LOCAL else "", question, answer, work)
            return cast("T", answer.result())
        finally:
            with self._looking:
                self._waiting[user] -= 1
                self._waiting += Counter()

    def _admit(self, user: str, *, mine: bool, done: bool) -> None:
        """Refuse who would wait in a crowd, or who owes too much."""
        if done and not mine:
            return
        if self._waiting[user] >= _MOST_OF_ONE or self._waiting.total() >= _MOST_WAITING:
            raise _busy("questions that wait for their answers", 1.0)
        if mine:
            self._fade()
            for who, most in ((user, _BURST_OF_ONE_S), (_ALL, _BURST_S)):
                over = self._owed_s.get(who, 0.0) - most
                if over > 0.0:
                    raise _busy("processor time for questions", over / _SHARE)

    def _work(self, user: str, question: Hashable, answer: Future[Any], work: Callable[[], Any]) -> None:
        with self._turn:
            begun = self._spent_s()
            try:
                answer.set_result(work())
            except BaseException as error:  # noqa: BLE001 - it is raised for all who wait, this one too
                answer.set_exception(error)
                with self._looking:
                    if self._answers.get(question, (None, None))[1] is answer:
                        del self._answers[question]
            finally:
                took = self._spent_s() - begun
                with self._looking:
                    self._fade()
                    for who in {user, _ALL} if user else set[str]():
                        self._owed_s[who] = self._owed_s.get(who, 0.0) + took

    def _fade(self) -> None:
        """Let debts fade with the time that has passed."""
        now_s = self._now_s()
        less, self._faded_s = _SHARE * (now_s - self._faded_s), now_s
        self._owed_s = {who: owed - less for who, owed in self._owed_s.items() if owed > less}


def _busy(what: str, later_s: float) -> Busy:
    wait_s = max(1, round(later_s + 0.5))
    return Busy(
        (Fault("busy", f"a bounded share of {what}", f"too much lately; again in {wait_s} s"),), wait_s
    )
