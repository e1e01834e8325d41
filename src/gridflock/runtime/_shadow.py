"""A second policy beside the one in force: it sees the same ticks, decides, and sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import numpy as np

from gridflock.model import Json, Orders, Outcomes, OutcomeStatus
from gridflock.runtime._deciding import Deciding, Seen, Standing
from gridflock.runtime._difference import Difference, DifferenceView
from gridflock.runtime._heard import Heard
from gridflock.runtime._loop import Loop, Moment
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._settings import Settings
from gridflock.runtime._views import Fault
from gridflock.units import Kvar, Kw, Mask

_OF_THE_TICK = ("tick_s", "plan_s")
_MOST = 50
_MEMORY = 100
"""So many orders a resource are remembered until they are answered."""


class Shadow:
    """Another policy, fed by a loop's ticks.

    Args:
        changes: settings in which it differs, as ``changed`` takes them.
        loop: whose ticks it sees; it starts from that one's conversation and plan.
    """

    def __init__(self, changes: Mapping[str, Json], loop: Loop) -> None:
        self.changes = dict(changes)
        self.failed = ""
        """Why it decides no more; empty while it does."""
        self._loop = loop
        self._live = loop.settings
        self._deciding = self._of(loop.settings, loop.deciding.standing)
        self._difference = Difference(loop.system, loop.settings, self.changes)
        self._before = loop.response
        self._sent: Orders | None = None
        self._first_id = loop.response.next_id
        self._alike: dict[int, int] = {}
        """Its own order by the one of the policy in force that asked the same of the same resource."""

    def view(self) -> DifferenceView:
        """What was different so far."""
        return self._difference.view()

    def follow(self, loop: Loop) -> None:
        """Go on beside another loop over the same resources, from that one's conversation."""
        self._loop, self._live, self._before, self._sent = loop, loop.settings, loop.response, None
        self._first_id, self._alike = loop.response.next_id, {}
        self._deciding = self._of(loop.settings, loop.deciding.standing)

    def look(self, heard: Heard, seen: Seen, moment: Moment) -> None:
        """See one tick, after the policy in force has decided.

        Whatever goes wrong here ends the shadow and no tick.
        """
        if self.failed:
            return
        try:
            self._look(heard, seen, moment)
        except Exception as error:  # noqa: BLE001 - a shadow must never stop the system it stands beside
            self.failed = f"{type(error).__name__}: {error}"[:500]

    def _look(self, heard: Heard, seen: Seen, moment: Moment) -> None:
        loop, now_s = self._loop, moment.now_s
        if loop.settings != self._live:
            self._live = loop.settings
            self._deciding = self._of(loop.settings, self._deciding.standing)
        mine = self._deciding
        told = self._before, mine.standing.response
        before = told[0].later(heard.leapt_s).expired(now_s), told[1].later(heard.leapt_s).expired(now_s)
        mine.answered(self._answers(heard), now_s, heard.leapt_s)
        self._difference.count(seen, before)
        if self._plans_alike:
            planned = moment.planned if mine.plans else None
            mine.standing = replace(mine.standing, planned=planned)
        else:
            mine.replan(loop.system, seen)
        self._sent = None
        if mine.settings.managed:
            sighted = mine.look(loop.system, seen)
            decision = mine.decide(
                loop.system,
                seen.image,
                mine.envelopes(loop.system, seen),
                seen.agreement.beside(heard.wishes, seen.image, loop.system.fleet.row_of),
                heard.rules,
                heard.directive,
                sighted,
            )
            mine.taken(decision)
            self._sent = decision.orders
            self._difference.other.send(decision.orders.index)
        if moment.decision is not None:
            self._difference.live.send(moment.decision.orders.index)
            self._match(moment.decision.orders)
        self._before = loop.response

    @property
    def _plans_alike(self) -> bool:
        """Whether its plan is the one in force, or none."""
        mine = self._deciding.settings
        if not mine.plans or not mine.managed:
            return True
        return replace(mine, policy=self._live.policy) == self._live

    def _of(self, live: Settings, standing: Standing) -> Deciding:
        loop = self._loop
        settings = changed(live, self.changes)
        mine = Deciding(settings, loop.past, loop.system.network.timezone, standing.response)
        mine.standing = standing if settings.plans else replace(standing, planned=None)
        mine.planning.prices = loop.deciding.planning.prices
        return mine

    def _match(self, live: Orders) -> None:
        """Note which of its orders ask the same as those of the policy in force: these have real answers."""
        if self._sent is None:
            return
        mine = self._sent
        _, one, other = np.intersect1d(live.index, mine.index, assume_unique=True, return_indices=True)
        same = _equal(live.p_kw[one], mine.p_kw[other]) & _equal(_kvar(live)[one], _kvar(mine)[other])
        ids = live.order_id[one][same].tolist(), mine.order_id[other][same].tolist()
        self._alike.update(zip(*ids, strict=True))
        most = _MEMORY * len(live.ids) + _MEMORY
        while len(self._alike) > most:
            self._alike.pop(next(iter(self._alike)))

    def _answers(self, heard: Heard) -> Outcomes:
        """The real answers to what both asked, and a yes to all else, but from who says no to the other."""
        real, first = heard.outcomes, self._first_id
        ids = [k if k < first else self._alike.get(k, -1) for k in real.order_id.tolist()]
        order_id = np.array(ids, dtype=np.int64)
        told = order_id >= 0
        found = [(real.index[told], order_id[told], real.status[told], real.p_kw[told], real.time_s[told])]
        if self._sent is not None:
            orders, asked = self._sent, set(self._alike.values())
            alone = np.array([k not in asked for k in orders.order_id.tolist()], dtype=bool)
            rows = orders.index[alone]
            status = np.full(len(rows), OutcomeStatus.ACCEPTED, dtype=np.uint8)
            for code in (OutcomeStatus.REFUSED, OutcomeStatus.UNREACHABLE):
                status[np.isin(rows, real.index[real.status == code])] = code
            p_kw = np.where(status == OutcomeStatus.ACCEPTED, orders.p_kw[alone], np.nan).astype(np.float32)
            times = np.full(len(rows), heard.now_s, dtype=np.int64)
            found.append((rows, orders.order_id[alone], status, p_kw, times))
        return Outcomes(real.ids, *(np.concatenate(column) for column in zip(*found, strict=True)))


def _kvar(orders: Orders) -> Kvar:
    """Reactive power of a batch as a column."""
    return np.full(len(orders.index), np.nan) if orders.q_kvar is None else orders.q_kvar


def _equal(one: Kw, other: Kw) -> Mask:
    """Where two columns say the same, absence included."""
    same: Mask = (one == other) | (np.isnan(one) & np.isnan(other))
    return same


# ---- other settings ------------------------------------------------------------------------------


def changed(settings: Settings, changes: Mapping[str, Json]) -> Settings:
    """Settings with other values of some.

    Args:
        settings: to begin with.
        changes: by name; parts of parts with dots, such as ``"policy.deadband_kw"``, or as mappings.

    Raises:
        RequestRejected: unknown names, values of another type, and what no replay or shadow can change.
    """
    faults: list[Fault] = []
    found: Settings = _changed(settings, _spread(changes, faults), "", faults)
    if faults:
        raise RequestRejected(tuple(faults[:_MOST]))
    return found


def _spread(changes: Mapping[str, Json], faults: list[Fault]) -> dict[str, Any]:
    """Names with dots as mappings of mappings."""
    tree: dict[str, Any] = {}
    for name, value in changes.items():
        at, path = tree, name.split(".")
        for part in path[:-1]:
            at = at.setdefault(part, {})
            if not isinstance(at, dict):
                faults.append(Fault(name, "given once", "a part of it is given as a whole, too"))
                at = {}
        if isinstance(value, Mapping) and isinstance(at.get(path[-1]), dict):
            at[path[-1]] |= dict(value)
        else:
            at[path[-1]] = dict(value) if isinstance(value, Mapping) else value
    return tree


def _changed(part: Any, tree: Mapping[str, Any], path: str, faults: list[Fault]) -> Any:  # noqa: ANN401 - settings and their parts
    known = {item.name for item in fields(part)}
    news = {}
    for name, value in tree.items():
        full = f"{path}{name}"
        if name not in known or full in _OF_THE_TICK:
            rule = f"one of {', '.join(sorted(known - set(_OF_THE_TICK if not path else ())))}"
            faults.append(Fault(full, rule, f"{full!r} is not"))
            continue
        old = getattr(part, name)
        if is_dataclass(old):
            if isinstance(value, Mapping):
                news[name] = _changed(old, value, f"{full}.", faults)
            else:
                faults.append(Fault(full, "names below it, with values", f"{value!r} is not"))
        else:
            news[name] = _value(old, value, full, faults)
    try:
        return replace(part, **news)
    except (ValueError, TypeError) as error:
        faults.append(Fault(path.rstrip(".") or "settings", "values that go together", str(error)))
        return part


def _value(old: object, value: object, name: str, faults: list[Fault]) -> object:
    """A value of the type of the one it stands for."""
    if isinstance(old, bool) or isinstance(value, bool):
        fits = isinstance(old, bool) and isinstance(value, bool)
    elif isinstance(old, int):
        fits = isinstance(value, int) and value >= 0
    elif isinstance(old, float):
        fits = isinstance(value, int | float) and not np.isnan(value)
        value = float(value) if fits else value  # type: ignore[arg-type]  # a number then
    else:
        fits = isinstance(old, str) and isinstance(value, str)
    if not fits:
        faults.append(Fault(name, f"a value like {old!r}", f"{value!r} is not"))
        return old
    return value
