"""Who is heard of and who is not: kept in memory, but for first contact and loss."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5.server._alarms import Alarm
from gridflock.field.ieee2030_5.server._policy import Policy
from gridflock.field.ieee2030_5.server._rates import poll_s, post_s
from gridflock.field.ieee2030_5.server._registry import Access, Device
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Turn


@dataclass(frozen=True, slots=True)
class DeviceMet(Change):
    """A device is heard of for the first time, or again."""

    device: int
    at_s: int

    def __call__(self, state: State) -> None:
        state.registry.met.setdefault(self.device, self.at_s)
        state.registry.lost.pop(self.device, None)


@dataclass(frozen=True, slots=True)
class DeviceLost(Change):
    """Nothing was heard of a device for too long."""

    device: int
    since_s: int

    def __call__(self, state: State) -> None:
        state.registry.lost[self.device] = self.since_s


CHANGES: tuple[type[Change], ...] = (DeviceMet, DeviceLost)


@dataclass(slots=True)
class Contact:
    """A device's last requests.

    Attributes:
        heard_s: the last one of all.
        steps: part of its tree (``rg``, ``fsa``, ...) to the last request there.
        queued: it stands in the queue of those that may fall silent.
        asked: it has been heard of since the process began.
    """

    heard_s: int
    steps: dict[str, int] = field(default_factory=dict)
    queued: bool = False
    asked: bool = False


class Contacts:
    """Contact with every device since the process began; after a restart all have a full period again."""

    def __init__(self, state: State, policy: Policy, now_s: int) -> None:
        self._policy = policy
        self._queue: list[tuple[int, int]] = []
        self.of: dict[int, Contact] = {}
        """Device to its contact."""
        self.alarms: list[Alarm] = []
        """Not yet shown."""
        for number in state.registry.met:
            if number not in state.registry.lost:
                self._note(state, state.registry.devices[number], now_s)

    def heard(self, ask: Ask) -> None:
        """A request came from a registered client, perhaps about one of its devices."""
        if ask.device is None:
            return
        self._hear(ask, ask.device)
        about = ask.about
        if about is not None:
            if about is not ask.device:
                self._hear(ask, about)
            parts = ask.request.path.split("/", 4)
            if len(parts) > 3 and about.number in self.of:
                self._step(self.of[about.number].steps, parts[3], ask.now_s)

    def _step(self, steps: dict[str, int], part: str, now_s: int) -> None:
        """Who reads its registration again and again has stopped there when it did so first."""
        stays = part == "rg" and steps.get("fsa", -1) < steps.get("rg", -1)
        if not stays:
            steps[part] = now_s

    def _hear(self, ask: Ask, device: Device) -> None:
        registry, number = ask.state.registry, device.number
        if number not in registry.devices:
            self.of.pop(number, None)
            return
        if number not in registry.met or number in registry.lost:
            since_s = registry.lost.get(number)
            if since_s is not None:
                self.alarms.append(Alarm(device.lfdi, "back", since_s))
            ask.do(DeviceMet(number, ask.now_s))
        self._note(ask.state, device, ask.now_s)
        self.of[number].asked = True

    def _note(self, state: State, device: Device, now_s: int) -> None:
        contact = self.of.get(device.number)
        if contact is None:
            contact = self.of[device.number] = Contact(now_s)
        contact.heard_s = now_s
        if not contact.queued:
            contact.queued = True
            heapq.heappush(self._queue, (now_s + self._patience_s(state, device), device.number))

    def _patience_s(self, state: State, device: Device) -> int:
        """How long a device may be silent.

        An aggregator that is notified does not ask for each site: their posts are what is heard of them.
        """
        period_s = poll_s(state, self._policy, "DERProgramList", device.owner)
        if device.owner != device.lfdi:
            period_s = max(period_s, post_s(state, self._policy, device.lfdi, device.owner))
        return period_s * self._policy.lost_periods

    def due_s(self) -> int | None:
        """When somebody may have been silent for too long."""
        return self._queue[0][0] if self._queue else None

    def advance(self, turn: Turn) -> None:
        """Find who has been silent for too long."""
        registry = turn.state.registry
        while self._queue and self._queue[0][0] <= turn.now_s:
            _, number = heapq.heappop(self._queue)
            device, contact = registry.devices.get(number), self.of.get(number)
            if device is None or contact is None:  # it was deleted meanwhile
                self.of.pop(number, None)
                continue
            contact.queued = False
            if device.access in {Access.ENABLED, Access.PENDING}:
                due_s = contact.heard_s + self._patience_s(turn.state, device)
                if due_s > turn.now_s:
                    contact.queued = True
                    heapq.heappush(self._queue, (due_s, number))
                else:
                    turn.do(DeviceLost(number, contact.heard_s))
                    self.alarms.append(Alarm(device.lfdi, "lost", contact.heard_s))

    def stopped(self, state: State, number: int) -> bool:
        """Whether a device left at its registration: it read the PIN, or found none, and went no further."""
        return self.stopped_s(state, number) is not None

    def stopped_s(self, state: State, number: int) -> int | None:
        """When a device left at its registration; None where it did not, or has not come so far."""
        contact, device = self.of.get(number), state.registry.devices.get(number)
        if contact is None or device is None:
            return None
        gone_on_s = contact.steps.get("fsa", -1)
        asked_s = contact.steps.get("rg", contact.heard_s if device.pin < 0 and gone_on_s < 0 else None)
        return asked_s if asked_s is not None and gone_on_s < asked_s else None
