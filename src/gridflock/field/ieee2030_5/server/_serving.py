"""The utility server: state and rules behind three verbs, with no I/O, no clock and no threads."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Concatenate, ParamSpec, TypeVar

from gridflock.field.ieee2030_5._http import Answer, Request
from gridflock.field.ieee2030_5.resources import ReasonCode
from gridflock.field.ieee2030_5.server import (
    _alarms,
    _assignments,
    _contact,
    _controls,
    _devices,
    _discovery,
    _equipment,
    _logs,
    _mirrors,
    _prices,
    _programs,
    _rates,
    _registering,
    _reservations,
    _responses,
    _subscriptions,
)
from gridflock.field.ieee2030_5.server._alarms import Alarm
from gridflock.field.ieee2030_5.server._contact import Contacts
from gridflock.field.ieee2030_5.server._ownership import admit
from gridflock.field.ieee2030_5.server._paging import refusal
from gridflock.field.ieee2030_5.server._policy import Policy
from gridflock.field.ieee2030_5.server._routes import NotAllowed, Routes
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._subscriptions import News
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Pages, Refused, Turn

_LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")

_ALL: list[Routes] = []
ROUTES = Routes(
    [
        *_discovery.ROUTES,
        *_devices.ROUTES,
        *_registering.ROUTES,
        *_equipment.ROUTES,
        *_mirrors.ROUTES,
        *_logs.ROUTES,
        *_assignments.ROUTES,
        *_programs.ROUTES,
        *_controls.ROUTES,
        *_responses.ROUTES,
        *_prices.ROUTES,
        *_reservations.ROUTES,
        *_subscriptions.addresses(_ALL),
    ]
)
_ALL.append(ROUTES)
"""Every address."""
CHANGES: dict[str, type[Change]] = {
    each.__name__: each
    for each in (
        *_alarms.CHANGES,
        *_rates.CHANGES,
        *_devices.CHANGES,
        *_registering.CHANGES,
        *_equipment.CHANGES,
        *_mirrors.CHANGES,
        *_logs.CHANGES,
        *_assignments.CHANGES,
        *_contact.CHANGES,
        *_programs.CHANGES,
        *_controls.CHANGES,
        *_responses.CHANGES,
        *_prices.CHANGES,
        *_reservations.CHANGES,
        *_subscriptions.CHANGES,
    )
}
"""Every class of change by the name it has in the journal."""
_TIMED = (_controls, _prices, _reservations)
"""Function sets that time changes."""


@dataclass(frozen=True, slots=True)
class Due:
    """What the passing of time brought.

    Attributes:
        alarms: for the operator.
        next_s: when time next changes something; None where nothing waits for it.
    """

    alarms: tuple[Alarm, ...]
    next_s: int | None


def _pass(turn: Turn) -> None:
    """What is due because time has passed."""
    for each in _TIMED:
        each.advance(turn)


class UtilityServer:
    """Answers requests, passes time, does what the operator says.

    Each verb returns with its result the changes that it made. They are in effect; who calls makes them
    durable before anybody is told, of many turns at once if need be.
    """

    def __init__(self, policy: Policy, state: State, now_s: int) -> None:
        """Go on from ``state``, as it was restored, or begin with an empty one."""
        self.policy = policy
        self.state = state
        self.contacts = Contacts(state, policy, now_s)
        self.refusals: Counter[tuple[int, str]] = Counter()
        """Refused requests by status and first part of the address; empty for addresses that are none."""
        self._pages = Pages()
        self._left: tuple[Change, ...] = ()
        """Made by a verb that raised, of which nobody has the journal's entry yet."""

    def answer(self, request: Request, now_s: int) -> tuple[Answer, tuple[Change, ...]]:
        """Answer one request; nothing in a request raises, and a fault of ours is a 500."""
        ask = Ask(
            state=self.state, policy=self.policy, now_s=now_s, pages=self._pages, changes=[], request=request
        )
        _pass(ask)  # nobody is shown a status of yesterday, however late the server wakes up
        try:
            given = self._given(ask)
        except Exception:  # noqa: BLE001 - our own mistake: what it has changed must be in the journal
            _LOG.exception("%s %s of %s ended in a fault of ours", request.method, request.path, ask.lfdi)
            given = self._refuse(ask, Refused(500, "a fault of ours", ReasonCode.FORMAT))
        _registering.contest(ask)
        self.contacts.heard(ask)
        return given, self._finish(ask)

    def advance(self, now_s: int) -> tuple[Due, tuple[Change, ...]]:
        """Everything that is due at ``now_s`` because time has passed."""
        turn = self._turn(now_s)
        _pass(turn)
        self.contacts.advance(turn)
        alarms, self.contacts.alarms = tuple(self.contacts.alarms), []
        changes = self._finish(turn)
        moments = [self.contacts.due_s(), *(each.next_s(self.state) for each in (*_TIMED, _subscriptions))]
        return Due(alarms, min((at for at in moments if at is not None), default=None)), changes

    def news(self, now_s: int, most: int, busy: frozenset[int] = frozenset()) -> list[News]:
        """Notifications to be posted now, those that wait longest first.

        Args:
            now_s: the moment.
            most: at most so many.
            busy: subscriptions that are being served.
        """
        return _subscriptions.due(self._turn(now_s), ROUTES, most, busy)

    def act(
        self, now_s: int, verb: Callable[Concatenate[Turn, P], T], *args: P.args, **kwargs: P.kwargs
    ) -> tuple[T, tuple[Change, ...]]:
        """Do one of the operator's verbs: ``act(now_s, load, enrolment, by)``.

        Raises:
            Exception: what the verb raises; what it changed before comes with the next turn's changes.
        """
        turn = self._turn(now_s)
        try:
            result = verb(turn, *args, **kwargs)
        except Exception:
            self._left = self._finish(turn)
            raise
        return result, self._finish(turn)

    def _turn(self, now_s: int) -> Turn:
        return Turn(state=self.state, policy=self.policy, now_s=now_s, pages=self._pages)

    def _finish(self, turn: Turn) -> tuple[Change, ...]:
        _subscriptions.notify(turn)
        left, self._left = self._left, ()
        return left + tuple(turn.changes)

    def _given(self, ask: Ask) -> Answer:
        passed = len(ask.changes)
        try:
            admit(ask)
            return ROUTES.answer(ask)
        except Refused as refused:
            assert len(ask.changes) == passed, "a refusal changes nothing"
            return self._refuse(ask, refused)

    def _refuse(self, ask: Ask, refused: Refused) -> Answer:
        request = ask.request
        self.refusals[refused.status, ROUTES.first(request.path)] += 1
        _LOG.info("%s %s of %s: %d, %s", request.method, request.path, ask.lfdi, refused.status, refused)
        answer = refusal(ask, refused)
        if isinstance(refused, NotAllowed):
            return Answer(answer.status, answer.body, allow=refused.allow)
        return answer
