"""The verbs of a second policy beside the one in force: set it up, look at the difference, take it away."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from gridflock.model import Entry, Json
from gridflock.record import RecordFull
from gridflock.runtime._access import Role, Scope
from gridflock.runtime._authority import Authority
from gridflock.runtime._deciding import Seen
from gridflock.runtime._difference import DifferenceView
from gridflock.runtime._heard import Heard
from gridflock.runtime._life import UnknownName
from gridflock.runtime._loop import Moment
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._shadow import Shadow
from gridflock.runtime._show import plain
from gridflock.runtime._views import Fault
from gridflock.units import HOUR_S, iso

KIND = "shadow"


@dataclass(frozen=True, slots=True)
class ShadowView:
    """The second policy.

    Attributes:
        on: whether there is one.
        since: from when.
        author: who set it up.
        failed: why it decides no more; empty while it does.
        difference: to the policy in force, since then.
    """

    on: bool
    since: str
    author: str
    failed: str
    difference: DifferenceView | None


@dataclass(slots=True)
class _Beside:
    """A shadow with whose it is."""

    shadow: Shadow
    author: str
    since_s: int
    told_s: int


class Comparing(Authority):
    """Verbs of a shadow; it sends nothing, and what it would have done is kept every hour."""

    _beside: _Beside | None = None

    def shadow(self, scope: Scope) -> ShadowView:
        """The policy that decides beside the one in force, and what it would have done differently."""
        scope.require(Role.VIEWER)
        with self._deciding:
            beside = self._beside
            if beside is None:
                return ShadowView(on=False, since="", author="", failed="", difference=None)
            return self._view(beside)

    def start_shadow(self, scope: Scope, changes: Mapping[str, Json]) -> ShadowView:
        """Let another policy decide beside the one in force, from the next tick on; it sends nothing.

        Args:
            scope: authority; operators over the whole system.
            changes: settings in which it differs, by name: ``{"policy.deadband_kw": 5.0, "plans": False}``.

        Raises:
            RequestRejected: unknown settings or values; also while there is a shadow already.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "start_shadow")
        with self._writing, self._deciding:
            if self._beside is not None:
                raise RequestRejected((Fault("shadow", "one at a time", "there is one: stop it first"),))
            now_s = self.moment.now_s
            shadow = Shadow(changes, self._loop)
            text = "a second policy decides beside the one in force: " + ", ".join(map(str, changes))
            self._keep("start", scope.user, text[:500], now_s, {"changes": dict(changes)})
            self._beside = _Beside(shadow, scope.user, now_s, now_s)
            self._loop.beside = self._look
            view = self._view(self._beside)
        self._collect_events()
        return view

    def stop_shadow(self, scope: Scope) -> ShadowView:
        """Take the second policy away; what was different is kept, and told for the last time.

        Raises:
            UnknownName: there is none.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "stop_shadow")
        with self._writing, self._deciding:
            beside = self._beside
            if beside is None:
                message = "no shadow decides"
                raise UnknownName(message)
            self._tell(beside, "stop", scope.user, self.moment.now_s)
            self._beside = self._loop.beside = None
            view = self._view(beside)
        self._collect_events()
        return view

    def tick(self) -> Moment:
        """Live through one fast tick at the clock's present moment."""
        if self._moment is None:
            self._go_on_comparing(self._clock.now_s())
        return super().tick()

    def _go_on_comparing(self, now_s: int) -> None:
        """Set up again the shadow that the ledger left on; it counts anew."""
        newest = None
        for entry in self._record.entries(0, {KIND}):
            newest = entry if entry.head["verb"] in {"start", "stop"} else newest
        if newest is None or newest.head["verb"] == "stop":
            return
        changes = newest.head["changes"]
        assert isinstance(changes, dict)
        with contextlib.suppress(RequestRejected):  # settings that this version does not have
            shadow = Shadow(changes, self._loop)
            self._beside = _Beside(shadow, str(newest.head["author"]), now_s, now_s)
            self._loop.beside = self._look

    def _look(self, heard: Heard, seen: Seen, moment: Moment) -> None:
        """Let it see a tick; its account is kept once an hour."""
        beside = self._beside
        assert beside is not None
        beside.shadow.look(heard, seen, moment)
        if moment.now_s // HOUR_S > beside.told_s // HOUR_S and not moment.halted:
            with contextlib.suppress(RecordFull):
                self._tell(beside, "difference", "gridflock", moment.now_s)
                beside.told_s = moment.now_s

    def _tell(self, beside: _Beside, verb: str, author: str, now_s: int) -> None:
        """Keep what was different so far."""
        view = beside.shadow.view()
        costs = next((figure for figure in view.figures if figure.figure == "cost"), None)
        text = f"shadow: {view.ticks} ticks"
        if costs is not None and costs.live is not None and costs.other is not None:
            text += f", {costs.other - costs.live:+.2f} in money"
        if beside.shadow.failed:
            text += f"; it failed: {beside.shadow.failed}"
        data = plain({"figures": view.figures, "kinds": view.kinds})
        self._keep(verb, author, text, now_s, {**data, "since_s": beside.since_s})

    def _keep(self, verb: str, author: str, text: str, now_s: int, data: Mapping[str, Json]) -> None:
        head: dict[str, Json] = {"verb": verb, "author": author, "text": text, **data}
        self._record.append([Entry(KIND, now_s, head)])

    def _view(self, beside: _Beside) -> ShadowView:
        return ShadowView(
            on=self._beside is beside,
            since=iso(beside.since_s),
            author=beside.author,
            failed=beside.shadow.failed,
            difference=beside.shadow.view(),
        )
