"""The IEEE 2030.5 server as its operators see it: values shared by Python, REST and the command line."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DeviceView:
    """An end device: one that speaks for itself, an aggregator's own, or a site behind one.

    Attributes:
        lfdi: long-form device identifier, 40 hexadecimal digits.
        sfdi: short form of it, with its check digit.
        resource: id of the resource of the fleet that it is; empty until it is joined to one.
        name: of its certificate's holder, for people.
        access: ``"pending"``, ``"enabled"``, ``"suspended"`` or ``"removed"``.
        denied: it is kept out at the connection, too.
        registered: ``"in band"`` where it registered itself, else ``"out of band"``.
        since: from when.
        aggregator: LFDI of the aggregator that speaks for it; its own where it is one; else empty.
        profile: what it is spoken to in.
        point: connection point; empty where it is not known.
        last_contact: its last request since the server began; empty before the first.
        lost_since: from when nothing was heard of it; empty while it is not lost.
        trouble: where its registration stopped, in words; empty where it went on.
        poll_s: how often it asks for its programs.
        post_s: how often it reports.
        control: modes that stand for it now with their values, in words; empty where none do.
        last_response: what it said last of an event, and when; empty where it said nothing.
    """

    lfdi: str
    sfdi: int
    resource: str
    name: str
    access: str
    denied: bool
    registered: str
    since: str
    aggregator: str
    profile: str
    point: str
    last_contact: str
    lost_since: str
    trouble: str
    poll_s: int
    post_s: int
    control: str
    last_response: str


@dataclass(frozen=True, slots=True)
class DevicePage:
    """A part of a long list.

    Attributes:
        total: how many there are in all.
        offset: how many were left out before these.
        devices: by the order in which they became known.
    """

    total: int
    offset: int
    devices: list[DeviceView]


@dataclass(frozen=True, slots=True)
class EffectiveView:
    """One mode that stands for a device.

    Attributes:
        mode: by its name in the standard.
        value: in words, with its unit.
        control: mRID of the control that sets it; empty where it is a default.
        until: end of that control; empty for a default.
    """

    mode: str
    value: str
    control: str
    until: str


@dataclass(frozen=True, slots=True)
class ResponseView:
    """What a device said of an event: mRID of that, its word, when it came in."""

    subject: str
    status: str
    at: str


@dataclass(frozen=True, slots=True)
class LogView:
    """What a device reports of itself: when by its own word, and what.

    Attributes:
        at: by its own word.
        function_set: by number.
        about: that function set's name; empty where the standard gives it none.
        code: scoped to the function set.
        details: in its own words.
    """

    at: str
    function_set: int
    about: str
    code: int
    details: str


@dataclass(frozen=True, slots=True)
class SubscriptionView:
    """Of what a device's client wants to be notified.

    Attributes:
        resource: address of it.
        uri: where notifications go; for who is no operator of the device, the host alone.
        owed_since: from when something is owed; empty where nothing is.
        tries: posts of it that failed.
        ended: when it was given up; empty while it is served.
    """

    resource: str
    uri: str
    owed_since: str
    tries: int
    ended: str


@dataclass(frozen=True, slots=True)
class DeviceDetail:
    """One device with all that is known of it.

    Attributes:
        device: as in the list.
        pin: of its registration, six digits; empty where there is none, or for who is no operator of it.
        hosts: that its client's notifications may be sent to.
        connections: of its certificate, standing now.
        sites: how many devices its client has in all, itself included.
        effective: what stands for it now, mode by mode.
        responses: what it said last of events, newest first.
        logs: what it reported last, newest first.
        subscriptions: below it.
    """

    device: DeviceView
    pin: str
    hosts: list[str]
    connections: int
    sites: int
    effective: list[EffectiveView]
    responses: list[ResponseView]
    logs: list[LogView]
    subscriptions: list[SubscriptionView]


@dataclass(frozen=True, slots=True)
class OwnRateView:
    """Rates of one client or device, where they are not those of all."""

    lfdi: str
    poll_s: dict[str, int]
    post_s: int | None


@dataclass(frozen=True, slots=True)
class RatesView:
    """How often clients are told to ask and to report.

    Attributes:
        poll_s: kind of resource to seconds, for all.
        post_s: seconds, for all.
        own: of those who have rates of their own.
    """

    poll_s: dict[str, int]
    post_s: int
    own: list[OwnRateView]


@dataclass(frozen=True, slots=True)
class UtilityView:
    """The server at a glance.

    Attributes:
        host: address that it listens on.
        port: TCP port.
        registration: what becomes of devices that register themselves: ``closed``, ``ask`` or ``open``.
        pending: devices that wait for an operator.
        enabled: devices that may speak.
        suspended: devices refused for a time.
        removed: devices refused for good.
        joined: resources of the fleet that it speaks with.
        lost: devices that are not heard of any more.
        stopped: devices that went no further than their registration: a wrong PIN, perhaps.
        not_notified: subscriptions given up.
        owed: notifications that have not arrived yet.
        points: connection points that may be named; 0 = any that is well written.
        hosts: that everybody's notifications may be sent to.
        denied: LFDIs kept out at the connection.
        revoked: certificates on the revocation lists in force.
        counts: connections, requests, refusals and notifications by cause since it began.
    """

    host: str
    port: int
    registration: str
    pending: int
    enabled: int
    suspended: int
    removed: int
    joined: int
    lost: int
    stopped: int
    not_notified: int
    owed: int
    points: int
    hosts: list[str]
    denied: list[str]
    revoked: int
    counts: dict[str, int]


@dataclass(frozen=True, slots=True)
class DifferenceView:
    """A setting that a device tells and that is not what the registry says.

    Attributes:
        resource: id of the resource.
        lfdi: of its device.
        attribute: of the registry.
        text: both values, in words.
    """

    resource: str
    lfdi: str
    attribute: str
    text: str
