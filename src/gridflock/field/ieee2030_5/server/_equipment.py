"""DERs: ratings, settings, status and availability, and what devices say of themselves, with a history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    DER,
    Configuration,
    DERAvailability,
    DERCapability,
    DERList,
    DERSettings,
    DERStatus,
    DeviceInformation,
    DeviceStatus,
    Link,
    PowerStatus,
    Resource,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import LIMIT, NO_CONTENT, page, posted, single
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._routes import Handler, Route
from gridflock.field.ieee2030_5.server._state import State, Told
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused

CAPABILITY, SETTINGS, STATUS, AVAILABILITY = "dercap", "derg", "ders", "dera"
_OF_DER: dict[str, type[Resource]] = {
    CAPABILITY: DERCapability,
    SETTINGS: DERSettings,
    STATUS: DERStatus,
    AVAILABILITY: DERAvailability,
}
_OF_DEVICE: dict[str, type[Resource]] = {
    "di": DeviceInformation,
    "ds": DeviceStatus,
    "ps": PowerStatus,
    "cfg": Configuration,
}


@dataclass(frozen=True, slots=True)
class EquipmentTold(Change):
    """A device said something of itself, or of one of its DERs."""

    device: int
    der: int
    kind: str
    told: Told
    kept: int

    def __call__(self, state: State) -> None:
        rooms = state.equipment.told.setdefault(self.device, {})
        former = rooms.get((self.der, self.kind), ())
        rooms[self.der, self.kind] = (*former[-self.kept :], self.told)


@dataclass(frozen=True, slots=True)
class DerAdded(Change):
    """A device has one DER more."""

    device: int

    def __call__(self, state: State) -> None:
        state.equipment.ders[self.device] = state.equipment.ders.get(self.device, 1) + 1


CHANGES: tuple[type[Change], ...] = (EquipmentTold, DerAdded)


def history(state: State, device: int, der: int, kind: str) -> tuple[Told, ...]:
    """What was told of a DER, oldest first: ``kind`` is one of the constants above."""
    return state.equipment.told.get(device, {}).get((der, kind), ())


def der_list(ask: Ask, about: Device) -> Answer:
    """The DERs of a device; every device has one."""
    count = ask.state.equipment.ders.get(about.number, 1)
    rate_s = poll_s(ask.state, ask.policy, "DERList", ask.lfdi)
    head = DERList(href=f"{about.path}/der", poll_rate=rate_s)
    return page(ask, head, range(1, count + 1), lambda der: _der(about, der))


def add_der(ask: Ask, about: Device) -> Answer:
    """One DER more under the same device."""
    posted(ask, DER)
    count = ask.state.equipment.ders.get(about.number, 1)
    if count >= ask.policy.most_ders:
        raise Refused(403, "has as many DERs as it may have", LIMIT)
    ask.do(DerAdded(about.number))
    ask.touch(f"{about.path}/der")
    ask.touch(about.path)
    ask.touch("/edev", about.owner)
    return Answer(201, location=f"{about.path}/der/{count + 1}")


def der(ask: Ask, about: Device, number: str) -> Answer:
    """One DER, and where its parts stand."""
    which = _der_of(ask, about, number)
    return single(ask, f"{about.path}/der/{which}", lambda: _der(about, which))


def _der(about: Device, which: int) -> DER:
    path = f"{about.path}/der/{which}"
    return DER(
        href=path,
        der_availability_link=Link(href=f"{path}/{AVAILABILITY}"),
        der_capability_link=Link(href=f"{path}/{CAPABILITY}"),
        der_settings_link=Link(href=f"{path}/{SETTINGS}"),
        der_status_link=Link(href=f"{path}/{STATUS}"),
    )


def _der_of(ask: Ask, about: Device, number: str) -> int:
    count = ask.state.equipment.ders.get(about.number, 1)
    if number.isascii() and number.isdigit() and len(number) < 4 and 1 <= int(number) <= count:
        return int(number)
    raise Refused(404, "is no DER")


# ---- what is told ------------------------------------------------------------------------------------


def _show(kind: str) -> Callable[[Ask, str, Device, int], Answer]:
    def show(ask: Ask, path: str, about: Device, which: int) -> Answer:
        found = ask.state.equipment.latest(about.number, which, kind)
        if found is None:
            raise Refused(404, "was not told yet")
        return single(ask, path, lambda: replace(found, href=path))

    return show


def _tell(kind: str, of: type[Resource]) -> Callable[[Ask, str, Device, int], Answer]:
    def tell(ask: Ask, path: str, about: Device, which: int) -> Answer:
        sent = replace(posted(ask, of), href=None)
        if sent != ask.state.equipment.latest(about.number, which, kind):
            told = Told(ask.now_s, sent)
            ask.do(EquipmentTold(about.number, which, kind, told, ask.policy.kept_states))
            ask.touch(path)
        return NO_CONTENT

    return tell


def _on_der(act: Callable[[Ask, str, Device, int], Answer], kind: str) -> Handler:
    def handler(ask: Ask, about: Device, number: str) -> Answer:
        which = _der_of(ask, about, number)
        return act(ask, f"{about.path}/der/{which}/{kind}", about, which)

    return handler


def _on_device(act: Callable[[Ask, str, Device, int], Answer], kind: str) -> Handler:
    def handler(ask: Ask, about: Device) -> Answer:
        return act(ask, f"{about.path}/{kind}", about, 0)

    return handler


def _told_routes() -> tuple[Route, ...]:
    below = [
        Route(
            f"/edev/{{}}/der/{{}}/{kind}",
            Need.DEVICE,
            {"GET": _on_der(_show(kind), kind), "PUT": _on_der(_tell(kind, of), kind)},
        )
        for kind, of in _OF_DER.items()
    ]
    own = [
        Route(
            f"/edev/{{}}/{kind}",
            Need.DEVICE,
            {"GET": _on_device(_show(kind), kind), "PUT": _on_device(_tell(kind, of), kind)},
        )
        for kind, of in _OF_DEVICE.items()
    ]
    return (*below, *own)


ROUTES = (
    Route("/edev/{}/der", Need.DEVICE, {"GET": der_list, "POST": add_der}),
    Route("/edev/{}/der/{}", Need.DEVICE, {"GET": der}),
    *_told_routes(),
)
