"""Who may touch what: the one place that decides it, from the certificate's LFDI, on every request.

A client owns its own device and, if it is an aggregator, its sites: their trees, the usage points it mirrors,
and the programs and tariffs its devices are assigned to. What is not its own is not there for it to read
(404), and is refused to it to write (403). A suspended client is refused everything, a removed one is unknown
and may not come back by itself; a suspended site is refused while the rest of its aggregator goes on. Where
an operator has refused an aggregator's claim, the holder of the certificate is a stranger like any other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import Enum, auto
from typing import Any

from gridflock.field.ieee2030_5.server._registry import Access, Device
from gridflock.field.ieee2030_5.server._state import Mirror
from gridflock.field.ieee2030_5.server._turn import Ask, Refused

_LONGEST = 12
"""Digits of a number in an address."""
_NONE: Counter[int] = Counter()


class Need(Enum):
    """What the first number of an address names, and so what the caller must own."""

    ANYONE = auto()
    """Nothing: whoever holds a certificate of a trusted chain."""
    CALLER = auto()
    """Nothing; the method decides, a client that is not registered may ask."""
    CLIENT = auto()
    """Nothing, but the caller must be registered."""
    DEVICE = auto()
    MIRROR = auto()
    PROGRAM = auto()
    TARIFF = auto()


def admit(ask: Ask) -> None:
    """Find out who asks.

    Raises:
        Refused: the client is suspended, or removed and wants to write.
    """
    registry = ask.state.registry
    client = registry.clients.get(ask.lfdi)
    device = registry.of(ask.lfdi)
    if device is None:
        return
    if device.access is Access.SUSPENDED:
        raise Refused(403, "is suspended")
    if device.access is Access.REMOVED:
        if ask.writes and not device.claim:
            raise Refused(403, "was removed")
        return
    if client is None or device.owner != ask.lfdi:
        return  # an aggregator's site speaks through that
    ask.client, ask.device = client, device


def target(ask: Ask, need: Need, text: str | None) -> Any:  # noqa: ANN401 what the need names
    """What an address names, if the caller owns it.

    Args:
        ask: whose client and device are known.
        need: of the route.
        text: the first number of the address; None where it has none.

    Returns:
        A ``Device``, a ``Mirror``, or the number of a program or tariff; None where nothing is named.

    Raises:
        Refused: 404 or 403.
    """
    if need is Need.ANYONE or need is Need.CALLER:
        return None
    if ask.client is None:
        raise Refused(403 if ask.writes else 404, "is not registered")
    if text is None or need is Need.CLIENT:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise Refused(404, "names nothing")
    return _OWNED[need](ask, int(text))


def foreign(ask: Ask) -> Refused:
    """What is said of somebody else's."""
    return Refused(403, "is not the caller's own") if ask.writes else Refused(404, "is not the caller's own")


def _device(ask: Ask, number: int) -> Device:
    device = ask.state.registry.devices.get(number)
    if device is None:
        raise Refused(404, "is no device")
    if device.owner != ask.lfdi or device.access is Access.REMOVED:
        raise foreign(ask)
    if device.access is Access.SUSPENDED:
        raise Refused(403, "is suspended")
    ask.about = device
    return device


def _mirror(ask: Ask, number: int) -> Mirror:
    mirror = ask.state.metering.mirrors.get(number)
    if mirror is None:
        raise Refused(404, "is no usage point")
    if mirror.owner != ask.lfdi:
        raise foreign(ask)
    _device(ask, mirror.device)
    return mirror


def _program(ask: Ask, number: int) -> int:
    if ask.state.assignments.programs.get(ask.lfdi, _NONE)[number] > 0:
        return number
    raise foreign(ask)


def _tariff(ask: Ask, number: int) -> int:
    if ask.state.assignments.tariffs.get(ask.lfdi, _NONE)[number] > 0:
        return number
    raise foreign(ask)


_OWNED: dict[Need, Callable[[Ask, int], Any]] = {
    Need.DEVICE: _device,
    Need.MIRROR: _mirror,
    Need.PROGRAM: _program,
    Need.TARIFF: _tariff,
}
