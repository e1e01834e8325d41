"""A system as client of a server above it over IEEE 2030.5: how it stands there, and who tells that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from gridflock.runtime._utility_views import EffectiveView


@dataclass(frozen=True, slots=True)
class AnswerView:
    """What an end device has answered above to a control.

    Attributes:
        control: its mRID.
        answer: in words: received, started, completed, superseded …
        at: when it came true, in the server's time.
        sent: ``"yes"``; ``"owed"`` until it has arrived; else how it was refused for good.
    """

    control: str
    answer: str
    at: str
    sent: str


@dataclass(frozen=True, slots=True)
class OfferedDeviceView:
    """One end device above, and the group or resource that stands behind it.

    Attributes:
        offered: id of the group or resource.
        lfdi: that it is known by above.
        state: how far its registration has come, in words.
        pin: ``"checked"``, ``"wrong"``, ``"not seen yet"``, or ``"not looked at"`` where none was given.
        last_contact: when the server last answered to something of it; empty before that.
        poll_s: how often it asks for its programs.
        post_s: how often it reports.
        effective: what it follows now, mode by mode, whether or not there is contact.
        waits: what it follows is not in force before a second person agrees to it.
        answers: to controls, newest first.
        owed: responses that have not arrived.
        readings_kept: readings that wait for contact.
        dropped: messages that the server refused for good.
        failures: visits in a row that brought nothing.
        troubles: what is wrong now, in words.
        next_try: when it speaks next.
    """

    offered: str
    lfdi: str
    state: str
    pin: str
    last_contact: str
    poll_s: int
    post_s: int
    effective: list[EffectiveView]
    waits: bool
    answers: list[AnswerView]
    owed: int
    readings_kept: int
    dropped: int
    failures: int
    troubles: list[str]
    next_try: str


@dataclass(frozen=True, slots=True)
class OfferedView:
    """How a system stands with a server above it.

    Attributes:
        server: host and port.
        lfdi: of the certificate that is spoken with.
        aggregator: its end devices are others than itself.
        last_contact: when the server last answered; empty before that.
        lost_since: from when it gives no answer; empty while it does.
        server_ahead_s: its clock less the system's, seconds.
        poll_s: kind of page to how often it is asked for, seconds.
        registered: end devices that are.
        failures: visits in a row that did not find all end devices.
        troubles: of the client as a whole, in words.
        next_try: when it asks for its end devices next.
        counts: handshakes, requests and failures since the start.
        devices: in the order in which they were offered.
    """

    server: str
    lfdi: str
    aggregator: bool
    last_contact: str
    lost_since: str
    server_ahead_s: int
    poll_s: dict[str, int]
    registered: int
    failures: int
    troubles: list[str]
    next_try: str
    counts: dict[str, int]
    devices: list[OfferedDeviceView]


class Offered(Protocol):
    """A client that speaks for the system. Any thread may ask it."""

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong and has been for a while, in words that begin with a cause and a colon."""
        ...

    def view(self) -> OfferedView:
        """How it stands, as of its last visit."""
        ...
