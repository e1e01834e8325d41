"""Orders as controls, and what devices say of them as outcomes.

Orders are renewed often and a control cannot be changed: one that says the same as the control in force is
carried on by a further control from that one's end; one that says something else begins now and ends all
that stood or was to come, whatever modes that spoke of; one that leaves all to the device cancels it. What
stands is always read from the state, never remembered. Order ids stand in the controls' descriptions, so that
after a restart an answer still finds its order.

An order never goes beyond the limits that stand for its time. One that limits come to be tighter than is made
anew within them: orders are the weightier program, and a limit of the same mode would not be heard. Where a
device has no mode for the reactive power that is ordered beside active power, the order is met in part and
that is what its outcome says.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5._columns import Answers
from gridflock.field.ieee2030_5._map import Able, Plate
from gridflock.field.ieee2030_5._placing import own
from gridflock.field.ieee2030_5.events import latest_end_s
from gridflock.field.ieee2030_5.resources import DERControl, DERControlBase, EventState
from gridflock.field.ieee2030_5.server import By
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._responses import ResponsesTaken
from gridflock.field.ieee2030_5.server._said import Said
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Orders, Outcomes, OutcomeStatus, Rejected

BY = By("dispatch", "orders of a tick")
_ORDER, _PARTLY = "order ", " in part"
_CLOSE_KW = 0.005
"""Less does not make an order one that is met in part."""
_OPEN = (EventState.SCHEDULED, EventState.ACTIVE)


@dataclass(slots=True)
class _Asked:
    """Orders that one control stands for.

    Attributes:
        resource: our identity of it.
        orders: ids with the power ordered.
        end_s: when the control ends.
        partly: it says less than was ordered.
        status: what its device last said that tells how it went; None where it said nothing.
    """

    resource: str
    orders: dict[int, float]
    end_s: int
    partly: bool = False
    status: OutcomeStatus | None = None

    @property
    def outcome(self) -> OutcomeStatus | None:
        """What that means for the orders."""
        if self.partly and self.status is OutcomeStatus.ACCEPTED:
            return OutcomeStatus.PARTIAL
        return self.status


@dataclass(frozen=True, slots=True)
class _Order:
    """One order to one device, for a time."""

    number: int
    p_kw: float
    q_kvar: float
    expires_s: int


@dataclass(frozen=True, slots=True)
class _Ready:
    """An order as a control says it."""

    number: int
    p_kw: float
    expires_s: int
    base: DERControlBase
    partly: bool


class Ordering:
    """The conversation about orders; on the server's thread.

    Args:
        plates: the resources that may be ordered.
        able: what a device can be told now.
        bounds: lowest and highest power, kW, that limits leave a device over a time.
    """

    def __init__(
        self,
        plates: Mapping[str, Plate],
        able: Callable[[State, Device], Able],
        bounds: Callable[[State, Device, int, int], tuple[float, float]],
    ) -> None:
        self._plates, self._able, self._bounds = plates, able, bounds
        self._ids = tuple(plates)
        self._index = {name: at for at, name in enumerate(self._ids)}
        self._newest: dict[str, int] = dict.fromkeys(self._ids, -1)
        self._asked: dict[str, _Asked] = {}
        self._answers = Answers()
        self._handed = 0
        self._unmet: dict[str, Rejected] = {}

    @property
    def unmet(self) -> tuple[Rejected, ...]:
        """Devices that could not be told what was last ordered of them, or not all of it, and why."""
        return tuple(self._unmet[name] for name in sorted(self._unmet))

    def resume(self, state: State, devices: Mapping[str, Device]) -> None:
        """Know again what was ordered, from the controls that stand and what was said of them."""
        offered = state.offered
        for name in self._ids:
            number = offered.by_name.get(own(name))
            for control in offered.controls.get(-1 if number is None else number, {}).values():
                order_id, partly = _order_of(control)
                if order_id < 0:
                    continue
                self._newest[name] = max(self._newest[name], order_id)
                asked_kw = math.nan
                if name in devices:
                    can = self._able(state, devices[name])
                    plate = self._plates[name]
                    asked_kw, _ = _map.ordered_kw(control.der_control_base, plate.p_max_kw, plate, can)
                self._asked[control.mrid] = _Asked(name, {order_id: asked_kw}, latest_end_s(control), partly)
        for said in state.responses.said.values():
            asked = self._asked.get(said.subject)
            status = _map.outcome_of(said.status)
            if asked is not None and status is not None:
                asked.status = status

    def send(self, turn: Turn, orders: Orders, devices: Mapping[str, Device]) -> None:
        """Make controls of orders; one that was taken in before changes nothing."""
        q_kvar = np.full(len(orders.index), np.nan) if orders.q_kvar is None else orders.q_kvar
        for row, order_id, p_kw, kvar, expires_s in zip(
            orders.index.tolist(),
            orders.order_id.tolist(),
            np.asarray(orders.p_kw, dtype=float).tolist(),
            np.asarray(q_kvar, dtype=float).tolist(),
            orders.expires_s.tolist(),
            strict=True,
        ):
            name = orders.ids[row]
            if order_id <= self._newest.get(name, order_id):
                continue
            self._newest[name] = order_id
            device, program = devices.get(name), turn.state.offered.by_name.get(own(name))
            if device is None or program is None:
                if program is not None:  # what it replaces must not come back with the device
                    self._end(turn, program, None)
                self._tell(name, order_id, OutcomeStatus.UNREACHABLE, turn.now_s)
            else:
                self._one(turn, device, program, _Order(order_id, p_kw, kvar, expires_s))

    def hold(self, turn: Turn, devices: Mapping[str, Device]) -> None:
        """Cut what stands to the limits, where those have become tighter: it is met in part."""
        for name, device in devices.items():
            for control in _standing(turn, turn.state.offered.by_name.get(own(name), -1)):
                asked = self._asked.get(control.mrid)
                if asked is None or asked.end_s <= turn.now_s:
                    continue
                number = max(asked.orders)
                since_s, p_kw = max(control.interval.start, turn.now_s), asked.orders[number]
                low_kw, high_kw = self._bounds(turn.state, device, since_s, asked.end_s)
                cut_kw = min(max(p_kw, low_kw), high_kw)
                if math.isnan(p_kw) or abs(cut_kw - p_kw) <= _CLOSE_KW:
                    continue
                told = f"{p_kw:g} kW is beyond its limits: {cut_kw:g} kW"
                self._unmet[name] = Rejected("order", "p_kw", (name,), told)
                self._cut(turn, device, control, cut_kw)

    def _cut(self, turn: Turn, device: Device, control: DERControl, p_kw: float) -> None:
        """The same control at another power, from now or its start to its end; its orders go with it."""
        asked, known = self._asked.pop(control.mrid), control.der_control_base
        number, since_s = max(asked.orders), max(control.interval.start, turn.now_s)
        base = _map.control_of(p_kw, math.nan, self._plates[device.resource], self._able(turn.state, device))
        made: DERControl | Rejected | None = None
        if base is not None:
            base = replace(
                base, op_mod_target_var=known.op_mod_target_var, op_mod_fixed_var=known.op_mod_fixed_var
            )
            wanted = Wanted(base, since_s, asked.end_s - since_s, description=f"{_ORDER}{number}{_PARTLY}")
            made = make_control(turn, turn.state.offered.by_mrid[control.mrid][0], wanted, BY)
        cancel(turn, control.mrid, BY)
        if isinstance(made, DERControl):
            orders = dict.fromkeys(asked.orders, p_kw)
            self._asked[made.mrid] = _Asked(asked.resource, orders, asked.end_s, partly=True)
            return
        for order_id in asked.orders:
            self._tell(asked.resource, order_id, OutcomeStatus.REFUSED, turn.now_s)

    def answers(self, turn: Turn) -> Outcomes:
        """Answers since the last call, and orders whose time went by without one."""
        responses = turn.state.responses
        if self._handed:  # what was handed out before is recorded now
            turn.do(ResponsesTaken(self._handed))
        self._handed = len(responses.waiting)
        for number in responses.waiting:
            said = responses.said.get(number)
            if said is not None:
                self._answer(turn.state, said)
        over = [mrid for mrid, asked in self._asked.items() if asked.end_s <= turn.now_s]
        for mrid in over:
            asked = self._asked.pop(mrid)
            if asked.status is None:
                for order_id in asked.orders:
                    self._tell(asked.resource, order_id, OutcomeStatus.EXPIRED, asked.end_s)
        told, self._answers = self._answers, Answers()
        return told.outcomes(self._ids, self._index)

    def _one(self, turn: Turn, device: Device, program: int, order: _Order) -> None:
        """One order to a device that is there."""
        name, order_id = device.resource, order.number
        self._unmet.pop(name, None)
        if math.isnan(order.p_kw) and math.isnan(order.q_kvar):
            self._end(turn, program, None)
            self._tell(name, order_id, OutcomeStatus.ACCEPTED, turn.now_s, order.p_kw)
            return
        plate, can = self._plates[name], self._able(turn.state, device)
        low_kw, high_kw = self._bounds(turn.state, device, turn.now_s, order.expires_s)
        p_kw = order.p_kw if math.isnan(order.p_kw) else min(max(order.p_kw, low_kw), high_kw)
        base = _map.control_of(p_kw, order.q_kvar, plate, can)
        if base is None or order.expires_s <= turn.now_s:
            self._end(turn, program, None)  # what it replaces is no longer wanted
            refused = OutcomeStatus.REFUSED if base is None else OutcomeStatus.EXPIRED
            self._tell(name, order_id, refused, turn.now_s)
            if base is None:
                wanted = "q_kvar" if math.isnan(order.p_kw) else "p_kw"
                self._unmet[name] = Rejected("order", wanted, (name,), "it has no mode for that")
            return
        partly = abs(p_kw - order.p_kw) > _CLOSE_KW
        if partly:
            told = f"{order.p_kw:g} kW is beyond its limits: {p_kw:g} kW"
            self._unmet[name] = Rejected("order", "p_kw", (name,), told)
        if _map.lacks_q(base, order.q_kvar):
            told, partly = f"{order.q_kvar:g} kvar: it has no mode for reactive power", True
            self._unmet[name] = Rejected("order", "q_kvar", (name,), told)
        self._make(turn, device, program, _Ready(order_id, p_kw, order.expires_s, base, partly))

    def _make(self, turn: Turn, device: Device, program: int, ready: _Ready) -> None:
        """Let what stands be carried on, or be replaced by something else."""
        name, number = device.resource, ready.number
        start_s, same = turn.now_s, self._carried(turn, program, ready)
        if same is not None:
            asked = self._asked[same.mrid]
            if ready.expires_s <= asked.end_s:
                asked.orders[number] = ready.p_kw
                if asked.outcome is not None:
                    self._tell(name, number, asked.outcome, turn.now_s, ready.p_kw)
                return
            start_s = asked.end_s
        told = f"{_ORDER}{number}{_PARTLY if ready.partly else ''}"
        wanted = Wanted(ready.base, start_s, ready.expires_s - start_s, description=told)
        made = make_control(turn, program, wanted, BY)
        if isinstance(made, Rejected):
            self._tell(name, number, OutcomeStatus.REFUSED, turn.now_s)
            return
        self._asked[made.mrid] = _Asked(name, {number: ready.p_kw}, ready.expires_s, ready.partly)
        if same is None:
            self._end(turn, program, made.mrid)
        if turn.state.registry.lost.get(device.number) is not None:
            self._tell(name, number, OutcomeStatus.UNREACHABLE, turn.now_s)

    def _carried(self, turn: Turn, program: int, ready: _Ready) -> DERControl | None:
        """The last of the controls that stand, if all of them say just this and none was refused."""
        found = _standing(turn, program)
        if not found or any(control.der_control_base != ready.base for control in found):
            return None
        known = [self._asked[control.mrid] for control in found if control.mrid in self._asked]
        last = max(found, key=lambda control: control.interval.start)
        whole = {asked.status for asked in known} <= {None, OutcomeStatus.ACCEPTED}
        whole &= last.mrid in self._asked and all(asked.partly == ready.partly for asked in known)
        return last if whole and self._asked[last.mrid].end_s > turn.now_s else None

    def _end(self, turn: Turn, program: int, but: str | None) -> None:
        """Cancel all that stands for a resource, one control excepted."""
        for control in _standing(turn, program):
            if control.mrid != but:
                cancel(turn, control.mrid, BY)

    def _tell(
        self, name: str, order_id: int, status: OutcomeStatus, now_s: int, p_kw: float = math.nan
    ) -> None:
        self._answers.add(name, order_id, status, p_kw, now_s)

    def _answer(self, state: State, said: Said) -> None:
        asked = self._asked.get(said.subject)
        device = state.registry.devices.get(said.device)
        status = _map.outcome_of(said.status)
        if asked is None or device is None or device.resource != asked.resource or status is None:
            return
        asked.status = status
        for order_id, p_kw in asked.orders.items():
            self._tell(asked.resource, order_id, asked.outcome or status, said.arrived_s, p_kw)


def _standing(turn: Turn, program: int) -> list[DERControl]:
    """Controls of orders that are in force or to come."""
    return [
        control
        for control in turn.state.offered.controls.get(program, {}).values()
        if control.event_status.current_status in _OPEN and _order_of(control)[0] >= 0
    ]


def _order_of(control: DERControl) -> tuple[int, bool]:
    """The order a control was made for, -1 where it was made otherwise; whether it says less than that."""
    text = control.description or ""
    number = text.removeprefix(_ORDER).removesuffix(_PARTLY)
    known = text.startswith(_ORDER) and number.isdigit()
    return (int(number) if known else -1), known and text.endswith(_PARTLY)
