"""Which programs a device follows: its own, those of its groups, and by which of them it is bound first.

Every device has two programs of its own: one of orders, one of limits. A group has one, with a default that
may link to curves; the device finds it through the assignment that the group stands in. Groups come and go
while the server runs: a program of a group that nobody is in any more ends once its controls are over.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5.resources import (
    DefaultDERControl,
    DERControlBase,
    DERCurve,
    DERCurveType,
    Link,
)
from gridflock.field.ieee2030_5.server import Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._programs import (
    make_curve,
    make_program,
    remove_program,
    set_default,
    set_primacy,
)
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Rejected

_BY = By("grid", "groups and places of the fleet")
GRID, PRICES = "grid", "prices"
"""Assignments: of places in the grid, with a device's own programs; of what it pays."""
_OWN_PRIMACY, _LIMITS_PRIMACY = 10, 11
"""Below what the standard keeps for home systems, above those of groups. Orders keep to the limits."""
FIRST_PRIMACY, LAST_PRIMACY = 65, 191
"""What the standard leaves to users."""
AT_REST = DefaultDERControl(mrid="00", der_control_base=DERControlBase(op_mod_max_lim_w=10_000))
"""What holds while nothing is ordered, unless the operator says otherwise: the device's own behaviour."""
_GROUP = "group "


@dataclass(frozen=True, slots=True)
class Curve:
    """A curve over the voltage that the devices of a group follow by default.

    Attributes:
        kind: volt-var or volt-watt.
        v_pu: voltages of its points, ascending.
        y: there, as parts of the largest active power; injection positive.
    """

    kind: DERCurveType
    v_pu: tuple[float, ...]
    y: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Grouped:
    """A group as its devices see it.

    Attributes:
        name: of the group.
        members: resources, in any order.
        primacy: of its program; the lower wins.
        assignment: name of the set of programs that it stands in.
        default: what holds while nothing is ordered; None leaves that to the devices' own programs.
        curves: which the default names, in any order; at most one of a kind.
    """

    name: str
    members: tuple[str, ...]
    primacy: int = FIRST_PRIMACY
    assignment: str = GRID
    default: DefaultDERControl | None = AT_REST
    curves: tuple[Curve, ...] = ()


@dataclass(slots=True)
class Placing:
    """Programs and assignments as they are wanted; on the server's thread.

    Attributes:
        groups: the weightiest need not come first.
        default: of a device's own programs.
        tariffs: numbers of the tariffs that every device pays.
    """

    groups: tuple[Grouped, ...] = ()
    default: Callable[[State, Device], DefaultDERControl] = field(default=lambda _state, _device: AT_REST)
    tariffs: tuple[int, ...] = ()

    def place(self, turn: Turn, devices: Mapping[str, Device]) -> tuple[Rejected, ...]:
        """Give every device its programs; what is as wanted is left alone."""
        following: dict[str, dict[str, list[int]]] = {}
        for group in self.groups:
            number = self._grouped(turn, group)
            for name in group.members:
                following.setdefault(name, {}).setdefault(group.assignment, []).append(number)
        held: dict[str, Sequence[Assignment]] = {}
        for name, device in devices.items():
            default = self.default(turn.state, device)
            mine = [
                _program(turn, own(name), _OWN_PRIMACY, default),
                _program(turn, limits(name), _LIMITS_PRIMACY, default),
            ]
            sets = following.get(name, {})
            found = [Assignment(GRID, (*mine, *sets.pop(GRID, ())))]
            found += [Assignment(each, tuple(numbers)) for each, numbers in sets.items()]
            if self.tariffs:
                found.append(Assignment(PRICES, tariffs=self.tariffs))
            held[device.lfdi] = tuple(found)
        rejected = assign(turn, held, _BY)
        self._leave(turn)
        return rejected

    def begin(self, turn: Turn, devices: Mapping[str, Device]) -> tuple[Rejected, ...]:
        """Give who has none its own programs; everything else stays as it is, until more is wanted."""
        known = turn.state.offered.by_name
        held: dict[str, Sequence[Assignment]] = {}
        for name, device in devices.items():
            mine = tuple(
                _program(turn, program, primacy, None if program in known else AT_REST)
                for program, primacy in ((own(name), _OWN_PRIMACY), (limits(name), _LIMITS_PRIMACY))
            )
            sets = {each.name: each for each in turn.state.assignments.held.get(device.number, ())}
            grid = sets.get(GRID, Assignment(GRID))
            if not {*mine} <= {*grid.programs}:
                rest = tuple(number for number in grid.programs if number not in mine)
                sets[GRID] = replace(grid, programs=(*mine, *rest))
                held[device.lfdi] = tuple(sets.values())
        return assign(turn, held, _BY)

    def _grouped(self, turn: Turn, group: Grouped) -> int:
        default, number = group.default, _program(turn, _GROUP + group.name, group.primacy, None)
        base = DERControlBase() if default is None else default.der_control_base
        for curve in group.curves:
            link = Link(href=_curve(turn, number, curve))
            if curve.kind is DERCurveType.VOLT_WATT:
                base = replace(base, op_mod_volt_watt=link)
            else:
                base = replace(base, op_mod_volt_var=link)
        if default is not None or group.curves:
            _default(turn, number, replace(default or AT_REST, der_control_base=base))
        return number

    def _leave(self, turn: Turn) -> None:
        """Take programs out of groups that are no more, as far as nobody is under them."""
        wanted = {_GROUP + group.name for group in self.groups}
        for name, number in tuple(turn.state.offered.by_name.items()):
            if name.startswith(_GROUP) and name not in wanted:
                remove_program(turn, number, _BY)


def tariffs_of(state: State, devices: Mapping[str, Device]) -> tuple[int, ...]:
    """Tariffs that any of some devices pays."""
    found = {
        number
        for device in devices.values()
        for each in state.assignments.held.get(device.number, ())
        if each.name == PRICES
        for number in each.tariffs
    }
    return tuple(sorted(found))


def own(name: str) -> str:
    """Name of the program of a resource's orders."""
    return f"resource {name}"


def limits(name: str) -> str:
    """Name of the program of a resource's limits."""
    return f"limits {name}"


def _program(turn: Turn, name: str, primacy: int, default: DefaultDERControl | None) -> int:
    """The number of the program of that name, made where there is none, with this default if there is one."""
    number = turn.state.offered.by_name.get(name)
    if number is None:
        made = make_program(turn, name, primacy, _BY)
        assert not isinstance(made, Rejected), made
        number = made.number
    if turn.state.offered.programs[number].primacy != primacy:
        set_primacy(turn, number, primacy, _BY)
    if default is not None:
        _default(turn, number, default)
    return number


def _default(turn: Turn, number: int, default: DefaultDERControl) -> None:
    known = turn.state.offered.programs[number].default
    if known is not None:
        given = replace(
            default,
            href=known.href,
            subscribable=known.subscribable,
            mrid=known.mrid,
            version=known.version,
        )
        if given == known:
            return
    wrong = set_default(turn, number, default, _BY)
    assert not isinstance(wrong, Rejected), wrong


def _curve(turn: Turn, number: int, curve: Curve) -> str:
    """Address of the program's curve of these points, made where there is none."""
    wanted = _map.curve_of(curve.kind, curve.v_pu, curve.y)
    for known in turn.state.offered.curves.get(number, {}).values():
        if _points(known) == _points(wanted) and known.href is not None:
            return known.href
    made = make_curve(turn, number, wanted, _BY)
    assert not isinstance(made, Rejected), made
    assert made.href is not None
    return made.href


def _points(curve: DERCurve) -> tuple[object, ...]:
    scale = curve.x_multiplier, curve.y_multiplier, curve.y_ref_type
    return curve.curve_type, curve.curve_data, *scale
