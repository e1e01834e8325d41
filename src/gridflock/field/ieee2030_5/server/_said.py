"""What devices said of events, as the state keeps it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Said:
    """One response as it came in.

    Attributes:
        number: its place in addresses.
        place: number of its set.
        subject: mRID of the event.
        device: number of the device.
        status: one of ``ResponseStatus``.
        created_s: when the device made it, by its own word; -1 where it does not say.
        arrived_s: when it came in.
    """

    number: int
    place: str
    subject: str
    device: int
    status: int
    created_s: int
    arrived_s: int


@dataclass(slots=True)
class Responses:
    """All that was said of events of which late responses are still taken.

    Attributes:
        said: by number.
        next_number: of the next one.
        waiting: numbers that nobody has fetched yet, oldest first.
        of_subject: event to (device, status) to number.
        of_device: device to its numbers, in order.
    """

    said: dict[int, Said] = field(default_factory=dict)
    next_number: int = 1
    waiting: list[int] = field(default_factory=list)
    of_subject: dict[str, dict[tuple[int, int], int]] = field(init=False, compare=False, default_factory=dict)
    of_device: dict[int, dict[int, None]] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for each in self.said.values():
            self._index(each)

    def keep(self, said: Said) -> None:
        """Put in a response."""
        self.said[said.number] = said
        self.next_number = said.number + 1
        self.waiting.append(said.number)
        self._index(said)

    def forget(self, subject: str) -> None:
        """Forget what was said of an event."""
        for (device, _), number in self.of_subject.pop(subject, {}).items():
            del self.said[number]
            self.of_device[device].pop(number, None)

    def forget_device(self, device: int) -> None:
        """Forget what a device said."""
        for number in self.of_device.pop(device, {}):
            said = self.said.pop(number)
            self.of_subject[said.subject].pop((device, said.status), None)

    def _index(self, said: Said) -> None:
        self.of_subject.setdefault(said.subject, {})[said.device, said.status] = said.number
        self.of_device.setdefault(said.device, {})[said.number] = None
