"""Prices of a system as a tariff that its devices pay: energy taken and energy given, step by step.

Prices that stay the same make nothing new; a newer price takes the place of an older one from its start.
Where devices shift starts by chance, neighbours meet and the newer of them wins, whichever comes first:
so all from the first change on is told anew, in order, and what holds is judged by the starts as written.
A tariff's currency is for good: in another one prices are another tariff.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.field.ieee2030_5._map import price_of, priced_energy
from gridflock.field.ieee2030_5._renewal import Run, renewal, runs
from gridflock.field.ieee2030_5.resources import EventState
from gridflock.field.ieee2030_5.server import By
from gridflock.field.ieee2030_5.server._priced import Block, Component, Priced, Tariff
from gridflock.field.ieee2030_5.server._prices import add_component, cancel_price, make_tariff, set_price
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Rejected
from gridflock.units import Money, Seconds

_BY = By("market", "prices of the plan")
_TAKEN, _GIVEN = "energy taken", "energy given"
_MULTIPLIER = -5
"""Prices are told in hundred-thousandths of the currency for a kWh."""


@dataclass(frozen=True, slots=True, eq=False)
class Prices:
    """What energy costs in T steps to come.

    Attributes:
        name: of the tariff.
        edges_s: int64 (T + 1,) ascending.
        import_price: (T,) money per kWh drawn.
        export_price: (T,) money per kWh delivered, which the customer is paid.
        currency: ISO 4217, by number.
        randomize_s: devices shift each start by chance, up to so many seconds, -3600 to 3600.
    """

    name: str
    edges_s: Seconds
    import_price: Money
    export_price: Money
    currency: int = 978
    randomize_s: int = 0


def publish(turn: Turn, prices: Prices) -> tuple[int, ...]:
    """Let the tariff of that name cost this from now on; its number."""
    tariff = _tariff(turn, prices)
    for name, each, given in ((_TAKEN, prices.import_price, False), (_GIVEN, prices.export_price, True)):
        component = _component(turn, tariff, name, given=given)
        values = [price_of(price, _MULTIPLIER, given=given) for price in np.asarray(each).tolist()]
        wanted = runs(prices.edges_s.tolist(), values, turn.now_s)
        if wanted:
            _renew(turn, component, wanted, prices.randomize_s)
    return (tariff.number,)


def _renew(turn: Turn, component: Component, wanted: Sequence[Run[int]], randomize_s: int) -> None:
    held = list(turn.state.prices.priced.get(component.number, {}).values())
    told = [_told(each, held) for each in held]
    todo = renewal(wanted, told, turn.now_s, lambda _one, _other: True)
    missing: Sequence[Run[int]] = todo.missing
    if missing and randomize_s:
        first_s = missing[0].start_s
        missing = [replace(run, start_s=max(run.start_s, first_s)) for run in wanted if run.end_s > first_s]
    for run in missing:
        made = set_price(
            turn, component.number, run.start_s, run.end_s - run.start_s, (Block(0, run.value),), _BY,
            randomize_start=randomize_s,
        )  # fmt: skip
        assert not isinstance(made, Rejected), made
    for place in todo.wrong:
        cancel_price(turn, held[place].mrid, _BY)


def _told(priced: Priced, others: Sequence[Priced]) -> Run[int]:
    """As long as it is what holds, had nobody shifted anything."""
    held, price = priced.spell, priced.blocks[0].price
    if held.state is EventState.CANCELLED:
        return Run(held.start_s, held.start_s, price)
    end_s = held.start_s + held.duration_s
    if held.gives_s < 0:
        return Run(held.start_s, end_s, price)
    newer = [
        max(each.spell.start_s, held.start_s)
        for each in others
        if each.number > priced.number
        and each.spell.state is not EventState.CANCELLED
        and max(each.spell.earliest_s, held.earliest_s) == held.gives_s
    ]
    return Run(held.start_s, min(end_s, min(newer, default=held.gives_s)), price)


def _tariff(turn: Turn, prices: Prices) -> Tariff:
    names = prices.name, f"{prices.name} {prices.currency:03d}"
    known = {each.name: each for each in turn.state.prices.tariffs.values() if each.name in names}
    for each in known.values():
        if each.currency == prices.currency:
            return each
    name = next((each for each in names if each not in known), names[1])
    made = make_tariff(turn, name, _BY, currency=prices.currency, multiplier=_MULTIPLIER)
    assert not isinstance(made, Rejected), made
    return made


def _component(turn: Turn, tariff: Tariff, name: str, *, given: bool) -> Component:
    state = turn.state.prices
    for number in state.parts.get(tariff.number, ()):
        if state.components[number].name == name:
            return state.components[number]
    made = add_component(turn, tariff.number, name, priced_energy(given=given), _BY)
    assert not isinstance(made, Rejected), made
    return made
