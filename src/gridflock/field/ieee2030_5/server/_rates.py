"""How often clients ask and report.

Rates are commands: a change shows in the next answer and notifies at once.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.field.ieee2030_5.server._policy import Policy
from gridflock.field.ieee2030_5.server._registry import By
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Change, Turn
from gridflock.model import Rejected

PATHS = {
    "Time": "/tm",
    "DeviceCapability": "/dcap",
    "EndDeviceList": "/edev",
    "Registration": "/edev/{}/rg",
    "FunctionSetAssignmentsList": "/edev/{}/fsa",
    "DERProgramList": "",
    "DERList": "/edev/{}/der",
    "LogEventList": "/edev/{}/lel",
    "SubscriptionList": "/edev/{}/sub",
    "ResponseSetList": "/rsps",
    "TariffProfileList": "",
    "TimeTariffIntervalList": "",
    "FlowReservationRequestList": "/edev/{}/frq",
    "FlowReservationResponseList": "/edev/{}/frp",
}
"""What has a poll rate, and where it stands: once, or below each device.

Those without an address here hang on assignments or on tariffs.
"""
_FASTEST_S, _SLOWEST_S = 1, 86_400
_LISTS = 16
"""Requests a device makes in one of its periods, generously."""


@dataclass(frozen=True, slots=True)
class PollRateSet(Change):
    """A kind of resource is to be asked for every ``seconds``, by all clients or by one."""

    kind: str
    seconds: int
    by: By
    lfdi: str = ""

    def __call__(self, state: State) -> None:
        state.rates.poll.setdefault(self.lfdi, {})[self.kind] = self.seconds


@dataclass(frozen=True, slots=True)
class PostRateSet(Change):
    """Readings and status are to be reported every ``seconds``, by all devices, one client's or one."""

    seconds: int
    by: By
    lfdi: str = ""

    def __call__(self, state: State) -> None:
        state.rates.post[self.lfdi] = self.seconds


CHANGES: tuple[type[Change], ...] = (PollRateSet, PostRateSet)


def poll_s(state: State, policy: Policy, kind: str, lfdi: str) -> int:
    """Seconds between two requests of a client for a kind of resource."""
    poll = state.rates.poll
    if lfdi in poll and kind in poll[lfdi]:
        return poll[lfdi][kind]
    return poll[""].get(kind, policy.poll_s) if "" in poll else policy.poll_s


def post_s(state: State, policy: Policy, lfdi: str, owner: str) -> int:
    """Seconds between two reports of a device: its own rate, its owner's, everybody's, the policy's."""
    post = state.rates.post
    return post.get(lfdi) or post.get(owner) or post.get("") or policy.post_s


def quota(state: State, policy: Policy, lfdi: str) -> tuple[float, int]:
    """What a client may ask: what its own rates make it ask for all of its devices, with headroom.

    Returns:
        Requests per second in the long run, and requests at once.
    """
    period_s = min(poll_s(state, policy, "DERProgramList", lfdi), post_s(state, policy, lfdi, lfdi))
    most = policy.headroom * _LISTS * max(1, len(state.registry.listed(lfdi)))
    return most / period_s, max(_LISTS, int(most))


def set_poll_rate(turn: Turn, kind: str, seconds: int, by: By, lfdi: str = "") -> Rejected | None:
    """Set how often a kind of resource is asked for.

    Args:
        turn: of the operator.
        kind: a name in ``PATHS``.
        seconds: 1 to 86,400.
        by: who and why.
        lfdi: of one client, not of a site behind one; empty for all.
    """
    if kind not in PATHS:
        return Rejected("rate", "kind", (kind,), "has no poll rate")
    wrong = _wrong(turn, seconds, lfdi)
    known = turn.state.registry.of(lfdi)
    if wrong is None and known is not None and known.owner != lfdi:
        reason = f"does not ask itself: set the poll rate of its aggregator {known.owner}"
        return Rejected("rate", "poll_s", (lfdi,), reason)
    if wrong is None:
        turn.do(PollRateSet(kind, seconds, by, lfdi))
        _touch(turn, kind, lfdi)
    return wrong


def set_post_rate(turn: Turn, seconds: int, by: By, lfdi: str = "") -> Rejected | None:
    """Set how often readings and status are reported: by all devices, by those of a client, or by one.

    Args:
        turn: of the operator.
        seconds: 1 to 86,400.
        by: who and why.
        lfdi: of a device or of an aggregator; empty for all.
    """
    wrong = _wrong(turn, seconds, lfdi)
    if wrong is not None:
        return wrong
    turn.do(PostRateSet(seconds, by, lfdi))
    registry, metering = turn.state.registry, turn.state.metering
    for device in registry.devices.values():
        if lfdi in {"", device.lfdi, device.owner}:
            turn.touch(device.path)
            turn.touch("/edev", device.owner)
            turn.touch("/mup", device.owner)
    for mirror in metering.mirrors.values():
        if lfdi in {"", mirror.lfdi, mirror.owner}:
            turn.touch(mirror.path)
    return None


def _wrong(turn: Turn, seconds: int, lfdi: str) -> Rejected | None:
    if not _FASTEST_S <= seconds <= _SLOWEST_S:
        return Rejected(
            "rate", "seconds", (str(seconds),), f"is not from {_FASTEST_S} to {_SLOWEST_S} seconds"
        )
    if lfdi and turn.state.registry.of(lfdi) is None:
        return Rejected("rate", "lfdi", (lfdi,), "is not registered")
    return None


def _touch(turn: Turn, kind: str, lfdi: str) -> None:
    """All places that show a rate."""
    path = PATHS[kind]
    if path and "{}" not in path:
        turn.touch(path, lfdi)
        return
    if kind == "TimeTariffIntervalList":
        for component in turn.state.prices.components.values():
            for place in (
                f"{component.path}/tti",
                f"{component.path}/acttti",
                f"/tp/{component.tariff}/ctti",
            ):
                turn.touch(place, lfdi)
        return
    for device in turn.state.registry.devices.values():
        if lfdi in {"", device.owner}:
            if path:
                turn.touch(path.format(device.number))
            for held in turn.state.assignments.held.get(device.number, ()):
                turn.touch(f"{device.path}/fsa/{held.number}/{'tp' if 'Tariff' in kind else 'derp'}")
