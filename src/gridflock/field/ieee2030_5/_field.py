"""Devices behind a utility server as a ``ports.Field``: readings in, orders out as controls, answers back.

Every enrolled resource has programs of its own, for orders and for limits, which weigh more than those of its
groups. What is wanted of the server beside orders, envelopes ahead, groups, prices, room for vehicles, is
handed over as one value (``want``) and taken up by the next reading, so that no tick waits for it.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5 import _combined, _map
from gridflock.field.ieee2030_5._granting import Given, Granting, Room, given
from gridflock.field.ieee2030_5._hearing import Hearing
from gridflock.field.ieee2030_5._limiting import Ahead, Held, Limiting
from gridflock.field.ieee2030_5._map import Able, Plate
from gridflock.field.ieee2030_5._ordering import Ordering
from gridflock.field.ieee2030_5._placing import (
    AT_REST,
    FIRST_PRIMACY,
    LAST_PRIMACY,
    Grouped,
    Placing,
    tariffs_of,
)
from gridflock.field.ieee2030_5._pricing import Prices, publish
from gridflock.field.ieee2030_5._utility import Utility
from gridflock.field.ieee2030_5.resources import DefaultDERControl
from gridflock.field.ieee2030_5.server._equipment import CAPABILITY, SETTINGS
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Orders, Outcomes, Readings, Rejected

_LOG = logging.getLogger(__name__)
_UNTOLD = "devices not told what is wanted"


@dataclass(frozen=True, slots=True, eq=False)
class Wants:
    """What a system wants its devices to know beside orders.

    Attributes:
        groups: which devices are in, and what holds there by default.
        limits: bounds ahead; None leaves those that stand.
        fallback: bounds that hold without contact; who is not named does as it would by itself.
        prices: of energy, as the tariff of all devices; None leaves those that stand.
        room: from which requests for energy are granted; None grants nothing.
        settings_hold: what devices say of their settings narrows what they are asked and what they offer;
            else it is only compared (``UtilityField.differs``).
    """

    groups: tuple[Grouped, ...] = ()
    limits: Ahead | None = None
    fallback: Mapping[str, Held] = field(default_factory=dict)
    prices: Prices | None = None
    room: Room | None = None
    settings_hold: bool = False


class UtilityField:
    """A utility server's devices, towards the system.

    Args:
        utility: the running server.
        plates: the resources that may be behind it, as the registry has them.
    """

    def __init__(self, utility: Utility, plates: Sequence[Plate]) -> None:
        self.utility = utility
        self.ids = tuple(plate.id for plate in plates)
        self._plates = {plate.id: plate for plate in plates}
        self._placing = Placing()
        self._limiting = Limiting(self._plates, self._able)
        self._ordering = Ordering(self._plates, self._able, self._bounds)
        self._hearing = Hearing(self._plates, self._set, self._usable_kwh)
        self._granting = Granting()
        self.present: frozenset[str] = frozenset()
        """Resources whose devices may speak, they and their clients, as of the last reading."""
        self.troubles: dict[str, str] = {}
        """Cause to why devices are not told what is wanted; a cause without a text is none."""
        self.granted: tuple[Given, ...] | None = None
        """What is granted and not over, as of the last reading; None before anything was wanted."""
        self.settings: Mapping[str, Mapping[str, float]] | None = None
        """Resource to attributes as its device is set, where settings hold; None before that is known."""
        self._wants: Wants | None = None
        self._done: tuple[Wants | None, tuple[object, ...]] = (None, ())
        self._short: tuple[Rejected, ...] = ()
        self._waiting: tuple[Rejected, ...] = ()
        utility.act(lambda turn: self._ordering.resume(turn.state, self._devices(turn.state)))

    # ---- the port ------------------------------------------------------------------------------------

    def read(self, now_s: int) -> Readings:
        """Readings and states that have arrived since the last call; those of that call are safe now."""
        del now_s
        return self.utility.act(self._read)

    def send(self, orders: Orders) -> None:
        """Make controls of orders; one that was taken in before changes nothing."""
        self.utility.act(lambda turn: self._ordering.send(turn, orders, self._devices(turn.state)))

    def outcomes(self, now_s: int) -> Outcomes:
        """Answers since the last call, and orders whose time went by without one."""
        del now_s
        return self.utility.act(self._ordering.answers)

    # ---- what the system wants -----------------------------------------------------------------------

    def want(self, wants: Wants) -> None:
        """Let devices know all this from the next reading on."""
        self._wants = wants

    def place(self, groups: Mapping[str, Sequence[str]], default: DefaultDERControl = AT_REST) -> None:
        """Give every enrolled resource its programs: its own, and those of its groups.

        What is wanted by ``want`` goes before these groups and this default. With neither, only what is
        missing is added: what devices followed before a restart they follow until something else is wanted.

        Args:
            groups: name of a group to its resources; the first named weigh most among groups.
            default: what holds in every program while nothing is ordered, and so without contact too.
        """
        begins = self._wants is None and not groups and default is AT_REST
        if self._wants is None and not begins:
            ranked = enumerate(groups.items())
            self._placing = Placing(
                tuple(
                    Grouped(name, tuple(members), min(FIRST_PRIMACY + rank, LAST_PRIMACY), default=default)
                    for rank, (name, members) in ranked
                ),
                lambda _state, _device: default,
            )
        work = self._placing.begin if begins else self._placing.place
        rejected = self.utility.say(lambda turn: work(turn, self._devices(turn.state)))
        if rejected:
            raise ValueError(f"{rejected[0].ids}: {rejected[0].reason}")

    @property
    def short(self) -> tuple[Rejected, ...]:
        """What devices cannot be told of all that is wanted of them, and why."""
        return (*self._ordering.unmet, *self._short, *self._waiting)

    def differs(self, tolerance: float = 0.02) -> tuple[Rejected, ...]:
        """Settings that devices tell and that are not what the registry says: for people to decide."""
        return self.utility.act(self._differs, tolerance)

    # ---- on the server's thread ----------------------------------------------------------------------

    def _devices(self, state: State) -> dict[str, Device]:
        return {
            each.resource: each
            for each in state.registry.devices.values()
            if each.resource in self._plates and state.registry.speaks(each)
        }

    def _able(self, state: State, device: Device) -> Able:
        return _map.able(
            _combined.capability(state, device.number),
            _combined.settings(state, device.number),
            state.registry.clients[device.owner].profile,
            self._plates[device.resource],
        )

    def _rated(self, state: State, device: Device) -> Mapping[str, float]:
        """What a device is set to, as attributes of the registry, where that counts."""
        if self._wants is None or not self._wants.settings_hold:
            return {}
        settings = _combined.settings(state, device.number)
        if settings is None:
            return {}
        return _map.rated(settings, _combined.capability(state, device.number))

    def _set(self, state: State, device: Device) -> tuple[float, float]:
        """Lowest and highest power, kW, that a device is set to, where that counts."""
        rated = self._rated(state, device)
        return rated.get("p_min_kw", -math.inf), rated.get("p_max_kw", math.inf)

    def _usable_kwh(self, state: State, device: Device) -> float:
        """What a device stores when it is full: by its settings where these count, never beyond its plate."""
        plate_kwh = self._plates[device.resource].e_max_kwh
        return min(plate_kwh, self._rated(state, device).get("e_max_kwh", plate_kwh))

    def _bounds(self, state: State, device: Device, start_s: int, end_s: int) -> tuple[float, float]:
        """Lowest and highest power, kW, that a device may be asked for over a time."""
        low, high = self._limiting.bounds(state, device, start_s, end_s)
        lowest, highest = self._set(state, device)
        return max(low, lowest), min(high, highest)

    def _read(self, turn: Turn) -> Readings:
        devices = self._devices(turn.state)
        self.present = frozenset(devices)
        readings = self._hearing.read(turn, devices)
        try:
            self._renew(turn, devices)
            if self._wants is not None and self._wants.room is not None:
                self._waiting = self._granting(turn, self._wants.room, devices)
            if self._wants is not None:
                self.granted = given(turn.state, devices)
            self.troubles[_UNTOLD] = ""
        except Exception as error:  # noqa: BLE001 - what devices are told must not keep what they say
            self.troubles[_UNTOLD] = f"{type(error).__name__}: {error}"
            _LOG.exception(_UNTOLD)
        return readings

    def _renew(self, turn: Turn, devices: Mapping[str, Device]) -> None:
        """Take up what is wanted, where that or what the devices say of themselves is new."""
        wants = self._wants
        if wants is None:
            return
        known = tuple((device, *_said(turn.state, device)) for device in devices.values())
        if self._done[0] is wants and self._done[1] == known:
            return
        set_to = {name: self._rated(turn.state, device) for name, device in devices.items()}
        self.settings = {name: rated for name, rated in set_to.items() if rated}
        self._limiting.fallback = wants.fallback
        if wants.prices is None:
            tariffs = self._placing.tariffs or tariffs_of(turn.state, devices)
        else:
            tariffs = publish(turn, wants.prices)
        self._placing = Placing(wants.groups, self._limiting.default, tariffs)
        short = list(self._placing.place(turn, devices))
        if wants.limits is not None:
            short += self._limiting.publish(turn, wants.limits, devices)
        self._ordering.hold(turn, devices)
        self._short, self._done = tuple(short), (wants, known)

    def _differs(self, turn: Turn, tolerance: float) -> tuple[Rejected, ...]:
        found = []
        for name, device in self._devices(turn.state).items():
            settings = _combined.settings(turn.state, device.number)
            if settings is None:
                continue
            rated = _map.rated(settings, _combined.capability(turn.state, device.number))
            plate = self._plates[name]
            for attribute, ours in (("p_max_kw", plate.p_max_kw), ("p_min_kw", plate.p_min_kw),
                                    ("e_max_kwh", plate.e_max_kwh)):  # fmt: skip
                theirs = rated.get(attribute)
                if theirs is not None and abs(theirs - ours) > tolerance * max(abs(ours), 1.0):
                    told = f"its settings say {theirs:g}, the registry {ours:g}"
                    found.append(Rejected("device", attribute, (name,), told))
        return tuple(found)


def _said(state: State, device: Device) -> tuple[object, ...]:
    """What a device has said of what it can do."""
    many = state.equipment.ders.get(device.number, 1)
    return tuple(
        state.equipment.latest(device.number, der, kind)
        for der in range(1, many + 1)
        for kind in (CAPABILITY, SETTINGS)
    )
