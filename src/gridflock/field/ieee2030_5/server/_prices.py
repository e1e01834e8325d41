"""Pricing: tariffs, what each component of them costs and when, alone and combined."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import heappop

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    ConsumptionTariffInterval,
    ConsumptionTariffIntervalList,
    ConsumptionTariffIntervalListSummary,
    EventState,
    Link,
    ListLink,
    RateComponent,
    RateComponentList,
    ReadingType,
    ServiceKind,
    TariffProfile,
    TariffProfileList,
    TimeTariffInterval,
    TimeTariffIntervalList,
)
from gridflock.field.ieee2030_5.server._assignments import held_by
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import page, single
from gridflock.field.ieee2030_5.server._priced import Block, Component, Priced, Tariff
from gridflock.field.ieee2030_5.server._programs import index, short
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import By, Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._spell import Spell, spell
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.model import Rejected

REPLY_TO = "/rsps/2/rsp"
"""Where devices may answer to prices."""
_LONGEST_S = 366 * 86_400
_MOST_BLOCKS = 15
_HOUR_S = 3_600
_COUNTED = 12
"""Digits of an identifier in which prices are counted."""
_OF_TIME = By("time", "what was due")


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class TariffKept(Change):
    """A tariff is there, or is otherwise."""

    tariff: Tariff
    by: By

    def __call__(self, state: State) -> None:
        state.prices.keep(self.tariff)


@dataclass(frozen=True, slots=True)
class TariffGone(Change):
    """A tariff is taken out, which has no component any more."""

    number: int
    by: By

    def __call__(self, state: State) -> None:
        state.prices.forget(self.number)


@dataclass(frozen=True, slots=True)
class ComponentKept(Change):
    """A tariff has one component more."""

    component: Component
    by: By

    def __call__(self, state: State) -> None:
        state.prices.keep_component(self.component)


@dataclass(frozen=True, slots=True)
class ComponentGone(Change):
    """A component is taken out with its prices."""

    number: int
    by: By

    def __call__(self, state: State) -> None:
        for each in state.prices.priced.get(self.number, {}).values():
            state.responses.forget(each.mrid)
        state.prices.forget_component(self.number)


@dataclass(frozen=True, slots=True)
class PricedKept(Change):
    """Prices are there, or have come to another state."""

    priced: Priced
    by: By

    def __call__(self, state: State) -> None:
        state.prices.keep_priced(self.priced)


@dataclass(frozen=True, slots=True)
class PricedOver(Change):
    """Prices are over."""

    component: int
    number: int

    def __call__(self, state: State) -> None:
        state.responses.forget(state.prices.priced[self.component][self.number].mrid)
        state.prices.end(self.component, self.number)


CHANGES: tuple[type[Change], ...] = (
    TariffKept,
    TariffGone,
    ComponentKept,
    ComponentGone,
    PricedKept,
    PricedOver,
)


# ---- what clients see --------------------------------------------------------------------------------


def tariff_list(ask: Ask, about: Device, number: str) -> Answer:
    """The tariffs of one assignment, by ascending primacy, then by descending mRID."""
    found = held_by(ask, about, number)
    known = ask.state.prices.tariffs
    tariffs = [known[each] for each in found.tariffs if each in known]
    tariffs.sort(key=lambda each: each.mrid, reverse=True)
    tariffs.sort(key=lambda each: each.primacy)
    rate_s = poll_s(ask.state, ask.policy, "TariffProfileList", ask.lfdi)
    head = TariffProfileList(href=f"{about.path}/fsa/{found.number}/tp", subscribable=1, poll_rate=rate_s)
    return page(ask, head, tariffs, lambda each: _tariff(ask.state, each))


def tariff(ask: Ask, number: int) -> Answer:
    """One tariff."""
    found = _known(ask, number)
    return single(ask, found.path, lambda: _tariff(ask.state, found))


def _tariff(state: State, found: Tariff) -> TariffProfile:
    return TariffProfile(
        href=found.path,
        mrid=found.mrid,
        description=short(found.name),
        currency=found.currency,
        price_power_of_ten_multiplier=found.multiplier,
        primacy=found.primacy,
        rate_code=found.code or None,
        rate_component_list_link=ListLink(
            href=f"{found.path}/rc", all=len(state.prices.parts.get(found.number, ()))
        ),
        service_category_kind=ServiceKind.ELECTRICITY,
        combined_time_tariff_interval_list_link=ListLink(href=f"{found.path}/ctti"),
    )


def component_list(ask: Ask, number: int) -> Answer:
    """The components of a tariff, by descending mRID."""
    prices = ask.state.prices
    parts = [prices.components[each] for each in prices.parts.get(_known(ask, number).number, ())]
    parts.sort(key=lambda each: each.mrid, reverse=True)
    return page(ask, RateComponentList(href=f"/tp/{number}/rc", subscribable=1), parts, _component)


def component(ask: Ask, number: int, text: str) -> Answer:
    """One component."""
    found = _part(ask, number, text)
    return single(ask, found.path, lambda: _component(found))


def _component(found: Component) -> RateComponent:
    return RateComponent(
        href=found.path,
        mrid=found.mrid,
        description=short(found.name),
        active_time_tariff_interval_list_link=ListLink(href=f"{found.path}/acttti"),
        reading_type_link=Link(href=f"{found.path}/rt"),
        role_flags=found.role_flags,
        time_tariff_interval_list_link=ListLink(href=f"{found.path}/tti"),
    )


def reading_type(ask: Ask, number: int, text: str) -> Answer:
    """The quantity a component is paid for."""
    found = _part(ask, number, text)
    return single(ask, f"{found.path}/rt", lambda: replace(found.type, href=f"{found.path}/rt"))


def interval_list(ask: Ask, number: int, text: str) -> Answer:
    """When a component costs what, what is over left out."""
    found = _part(ask, number, text)
    return _intervals(ask, f"{found.path}/tti", _of(ask.state, [found.number]))


def active_list(ask: Ask, number: int, text: str) -> Answer:
    """What a component costs now."""
    found = _part(ask, number, text)
    held = [each for each in _of(ask.state, [found.number]) if each.spell.state is EventState.ACTIVE]
    return _intervals(ask, f"{found.path}/acttti", held)


def combined_list(ask: Ask, number: int) -> Answer:
    """When what costs what, of all components of a tariff."""
    parts = ask.state.prices.parts.get(_known(ask, number).number, ())
    return _intervals(ask, f"/tp/{number}/ctti", _of(ask.state, parts))


def interval(ask: Ask, number: int, text: str, of: str) -> Answer:
    """One interval of prices."""
    found, part = _priced(ask, number, text, of)
    return single(ask, f"{part.path}/tti/{found.number}", lambda: _interval(ask.state, found))


def block_list(ask: Ask, number: int, text: str, of: str) -> Answer:
    """The prices of one interval, block by block."""
    found, part = _priced(ask, number, text, of)
    head = ConsumptionTariffIntervalList(href=f"{part.path}/tti/{found.number}/cti")
    return page(ask, head, _blocks(part, found), lambda each: each)


def block(ask: Ask, number: int, text: str, of: str, which: str) -> Answer:
    """The price of one block."""
    found, part = _priced(ask, number, text, of)
    if not 1 <= index(which) <= len(found.blocks):
        raise Refused(404, "is no block")
    shown = _blocks(part, found)[index(which) - 1]
    return single(ask, f"{part.path}/tti/{found.number}/cti/{which}", lambda: shown)


def _of(state: State, components: Iterable[int]) -> list[Priced]:
    """By ascending start, then the newest first, then by descending mRID."""
    held = [each for part in components for each in state.prices.priced.get(part, {}).values()]
    held.sort(key=lambda each: (each.spell.created_s, each.mrid), reverse=True)
    held.sort(key=lambda each: each.spell.start_s)
    return held


def _intervals(ask: Ask, path: str, held: Sequence[Priced]) -> Answer:
    rate_s = poll_s(ask.state, ask.policy, "TimeTariffIntervalList", ask.lfdi)
    head = TimeTariffIntervalList(href=path, subscribable=1, poll_rate=rate_s)
    return page(
        ask,
        head,
        held,
        lambda each: _interval(ask.state, each),
        reader=ask.lfdi,
        time_of=lambda each: each.spell.start_s,
    )


def _interval(state: State, found: Priced) -> TimeTariffInterval:
    part = state.prices.components[found.component]
    blocks = _blocks(part, found)
    path = f"{part.path}/tti/{found.number}"
    return TimeTariffInterval(
        href=path,
        reply_to=REPLY_TO,
        mrid=found.mrid,
        creation_time=found.spell.created_s,
        event_status=found.spell.status,
        interval=found.spell.interval,
        randomize_start=found.spell.randomize_start or None,
        randomize_duration=found.spell.randomize_duration or None,
        consumption_tariff_interval_list_link=ListLink(href=f"{path}/cti", all=len(blocks)),
        tou_tier=found.tier,
        consumption_tariff_interval_list_summary=ConsumptionTariffIntervalListSummary(
            all=len(blocks), results=len(blocks), consumption_tariff_interval=blocks
        ),
        rate_component_link=Link(href=part.path),
    )


def _blocks(part: Component, found: Priced) -> tuple[ConsumptionTariffInterval, ...]:
    path = f"{part.path}/tti/{found.number}/cti"
    return tuple(
        ConsumptionTariffInterval(
            href=f"{path}/{place}", consumption_block=place, price=each.price, start_value=each.start_value
        )
        for place, each in enumerate(found.blocks, 1)
    )


def _known(ask: Ask, number: int) -> Tariff:
    found = ask.state.prices.tariffs.get(number)
    if found is None:
        raise Refused(404, "is no tariff")
    return found


def _part(ask: Ask, number: int, text: str) -> Component:
    found = ask.state.prices.components.get(index(text))
    if found is None or found.tariff != number:
        raise Refused(404, "is no component")
    return found


def _priced(ask: Ask, number: int, text: str, of: str) -> tuple[Priced, Component]:
    part = _part(ask, number, text)
    found = ask.state.prices.priced.get(part.number, {}).get(index(of))
    if found is None:
        raise Refused(404, "is no interval, or is over")
    return found, part


# ---- what operators do -------------------------------------------------------------------------------


def make_tariff(
    turn: Turn,
    name: str,
    by: By,
    *,
    primacy: int = 1,
    currency: int = 36,
    multiplier: int = -3,
    code: str = "",
) -> Tariff | Rejected:
    """A new tariff without components.

    Args:
        turn: of the operator.
        name: unique, not empty.
        by: who and why.
        primacy: 0 to 255; the lower wins.
        currency: ISO 4217 by number.
        multiplier: prices are times ten to it.
        code: the operator's own name of the rate.
    """
    prices = turn.state.prices
    if not name.strip() or any(each.name == name for each in prices.tariffs.values()):
        return Rejected("tariff", "name", (name,), "is empty or there already")
    if not (0 <= primacy <= 255 and 0 <= currency <= 999 and -9 <= multiplier <= 9):
        told = f"primacy {primacy}, currency {currency} or multiplier {multiplier} is out of range"
        return Rejected("tariff", "primacy", (name,), told)
    number = prices.next_tariff
    made = Tariff(number, turn.policy.mrid("tp", number), name, primacy, currency, multiplier, code)
    turn.do(TariffKept(made, by))
    return made


def remove_tariff(turn: Turn, number: int, by: By) -> Rejected | None:
    """Take a tariff out that has no component and that no device follows."""
    if number not in turn.state.prices.tariffs:
        return Rejected("tariff", "number", (str(number),), "is no tariff")
    if any(each[number] > 0 for each in turn.state.assignments.tariffs.values()):
        return Rejected("tariff", "devices", (str(number),), "is followed by devices")
    if turn.state.prices.parts.get(number):
        return Rejected("tariff", "components", (str(number),), "has components")
    turn.do(TariffGone(number, by))
    return None


def add_component(
    turn: Turn, tariff: int, name: str, kind: ReadingType, by: By, role_flags: int = 0
) -> Component | Rejected:
    """One component more of a tariff: what is paid for the quantity ``kind`` at a place of these roles."""
    prices = turn.state.prices
    if tariff not in prices.tariffs:
        return Rejected("tariff", "number", (str(tariff),), "is no tariff")
    number = prices.next_component
    made = Component(number, tariff, turn.policy.mrid("rc", number), name, kind, role_flags)
    turn.do(ComponentKept(made, by))
    _touch_tariff(turn, tariff)
    return made


def remove_component(turn: Turn, number: int, by: By) -> Rejected | None:
    """Take a component out with all its prices, also those that hold now."""
    found = turn.state.prices.components.get(number)
    if found is None:
        return Rejected("component", "number", (str(number),), "is no component")
    held = tuple(turn.state.prices.priced.get(number, ()))
    turn.do(ComponentGone(number, by))
    for each in held:
        _touch(turn, found, each)
    for path in (found.path, f"{found.path}/rt"):
        turn.touch(path)
    _touch_tariff(turn, found.tariff)
    return None


def set_price(
    turn: Turn,
    component: int,
    start_s: int,
    duration_s: int,
    blocks: Sequence[Block],
    by: By,
    *,
    tier: int = 0,
    randomize_start: int = 0,
    randomize_duration: int = 0,
) -> Priced | Rejected:
    """What a component costs for a time; older prices of it that meet this time give way from its start.

    Args:
        turn: of the operator.
        component: by number.
        start_s: UTC seconds.
        duration_s: at least one second.
        blocks: one for each block of consumption, by ascending start.
        by: who and why.
        tier: the time-of-use tier it stands for.
        randomize_start: seconds by which devices shift its start, -3600 to 3600.
        randomize_duration: the same of its duration.
    """
    found = turn.state.prices.components.get(component)
    if found is None:
        return Rejected("price", "component", (str(component),), "is no component")
    held = spell(turn.now_s, start_s, duration_s, randomize_start, randomize_duration)
    wrong = _wrong(turn, held, blocks)
    if wrong is not None:
        return wrong
    number = turn.state.prices.next_priced
    made = Priced(number, component, _mrid(turn, number), held, tier, tuple(blocks))
    turn.do(PricedKept(made, by))
    _touch(turn, found, number)
    _give_way(turn, component, by)
    return made


def _mrid(turn: Turn, number: int) -> str:
    """An identifier that grows: of two prices made in one second the later one is the newer."""
    return f"{number:0{_COUNTED}X}{turn.policy.mrid('tti', number)[_COUNTED:]}"


def _give_way(turn: Turn, component: int, by: By) -> None:
    """Let every price of a component give way to the newer ones that meet it, and to no other."""
    held = sorted(turn.state.prices.priced.get(component, {}).values(), key=lambda each: each.number)
    for place, each in enumerate(held):
        now = each.spell.giving([newer.spell for newer in held[place + 1 :]]).at(turn.now_s)
        if now != each.spell:
            turn.do(PricedKept(replace(each, spell=now), by))
            _touch(turn, turn.state.prices.components[component], each.number)


def _wrong(turn: Turn, held: Spell, blocks: Sequence[Block]) -> Rejected | None:
    starts = [each.start_value for each in blocks]
    if not 1 <= len(blocks) <= _MOST_BLOCKS or starts != sorted(set(starts)) or starts[0] < 0:
        return Rejected("price", "blocks", (), f"starts {starts} are not 1 to {_MOST_BLOCKS} ascending ones")
    if not 1 <= held.duration_s <= _LONGEST_S or held.end_s <= turn.now_s:
        told = f"{held.duration_s} s is too short, too long, or over already"
        return Rejected("price", "duration_s", (), told)
    bounds = (held.randomize_start, held.randomize_duration)
    if any(abs(each) > _HOUR_S for each in bounds):
        return Rejected("price", "randomize", (), f"{bounds} is not within {_HOUR_S} s")
    return None


def cancel_price(turn: Turn, mrid: str, by: By) -> Priced | Rejected:
    """Cancel the prices of an interval: it stays listed as cancelled until its end."""
    component = turn.state.prices.by_mrid.get(mrid)
    if component is None:
        return Rejected("price", "mrid", (mrid,), "is no interval of prices, or is over")
    held = turn.state.prices.priced[component].values()
    found = next(each for each in held if each.mrid == mrid)
    if not found.spell.is_open:
        return Rejected("price", "status", (mrid,), "is cancelled or superseded already")
    over = replace(found, spell=found.spell.cancelled(turn.now_s))
    turn.do(PricedKept(over, by))
    _touch(turn, turn.state.prices.components[component], found.number)
    _give_way(turn, component, by)
    return over


# ---- the passing of time -----------------------------------------------------------------------------


def advance(turn: Turn) -> None:
    """Prices that begin or are over."""
    prices = turn.state.prices
    while prices.due and prices.due[0][0] <= turn.now_s:
        _, number = heappop(prices.due)
        for each in tuple(prices.priced.get(number, {}).values()):
            now = each.spell.at(turn.now_s)
            if now.end_s <= turn.now_s:
                turn.do(PricedOver(number, each.number))
            elif now is not each.spell:
                turn.do(PricedKept(replace(each, spell=now), _OF_TIME))
            else:
                continue
            _touch(turn, prices.components[number], each.number)


def next_s(state: State) -> int | None:
    """When time next changes prices."""
    return state.prices.due[0][0] if state.prices.due else None


def _touch(turn: Turn, part: Component, number: int) -> None:
    path = part.path
    for each in (f"{path}/tti/{number}", f"{path}/tti", f"{path}/acttti", f"/tp/{part.tariff}/ctti"):
        turn.touch(each)


def _touch_tariff(turn: Turn, number: int) -> None:
    for each in (f"/tp/{number}", f"/tp/{number}/rc", f"/tp/{number}/ctti"):
        turn.touch(each)
    for device, held in turn.state.assignments.held.items():
        for each_held in held:
            if number in each_held.tariffs:
                turn.touch(f"/edev/{device}/fsa/{each_held.number}/tp")


ROUTES = (
    Route("/edev/{}/fsa/{}/tp", Need.DEVICE, {"GET": tariff_list}),
    Route("/tp/{}", Need.TARIFF, {"GET": tariff}),
    Route("/tp/{}/ctti", Need.TARIFF, {"GET": combined_list}),
    Route("/tp/{}/rc", Need.TARIFF, {"GET": component_list}),
    Route("/tp/{}/rc/{}", Need.TARIFF, {"GET": component}),
    Route("/tp/{}/rc/{}/rt", Need.TARIFF, {"GET": reading_type}),
    Route("/tp/{}/rc/{}/tti", Need.TARIFF, {"GET": interval_list}),
    Route("/tp/{}/rc/{}/acttti", Need.TARIFF, {"GET": active_list}),
    Route("/tp/{}/rc/{}/tti/{}", Need.TARIFF, {"GET": interval}),
    Route("/tp/{}/rc/{}/tti/{}/cti", Need.TARIFF, {"GET": block_list}),
    Route("/tp/{}/rc/{}/tti/{}/cti/{}", Need.TARIFF, {"GET": block}),
)
