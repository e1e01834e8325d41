"""A client of a server above as its own operators see it. Looked at on the client's thread."""

from __future__ import annotations

from collections.abc import Mapping

from gridflock.field.ieee2030_5.device import Client, Site, State
from gridflock.field.ieee2030_5.resources import DERControlResponse, ResponseStatus
from gridflock.runtime._offered_port import AnswerView, OfferedDeviceView, OfferedView
from gridflock.runtime.devices._shown import in_words
from gridflock.units import iso


def seen(
    client: Client, lfdis: Mapping[str, str], server: str, counts: Mapping[str, int], now_s: int
) -> OfferedView:
    """How a client stands.

    Args:
        client: with its end devices.
        lfdis: from what is offered to its identifier above.
        server: host and port.
        counts: of its connection.
        now_s: the client's own clock.
    """
    session = client.session
    return OfferedView(
        server=server,
        lfdi=client.identity.lfdi,
        aggregator=client.identity.lfdi not in client.sites,
        last_contact=_at(session.heard_s),
        lost_since=_at(session.silent_s),
        server_ahead_s=session.ahead_s,
        poll_s=client.rates(),
        registered=sum(site.state is State.REGISTERED for site in client.sites.values()),
        failures=client.missed,
        troubles=client.troubles(),
        next_try=iso(max(client.talks_s(), now_s)),
        counts=dict(counts),
        devices=[_device(name, client.sites[lfdi], client, now_s) for name, lfdi in lfdis.items()],
    )


def _device(name: str, site: Site, client: Client, now_s: int) -> OfferedDeviceView:
    responses, reports, standing = site.responses, site.reports, site.standing
    talks_s = site.talks_s()
    owed = [_answer(each.response, "owed") for each in responses.owed]
    gone = [_answer(each.response, each.refused or "yes") for each in responses.gone]
    return OfferedDeviceView(
        offered=name,
        lfdi=site.identity.lfdi,
        state=site.state.value,
        pin=_pin(site),
        last_contact=_at(site.heard_s),
        poll_s=site.programs.rate_s(),
        post_s=reports.rate_s,
        effective=[] if standing is None else in_words(standing),
        waits=site.plant.waits(),
        answers=[*gone, *owed][::-1][:_NEWEST],
        owed=len(responses.owed),
        readings_kept=reports.kept,
        dropped=reports.dropped,
        failures=site.missed,
        troubles=site.troubles(),
        next_try=iso(max(client.talks_s() if talks_s is None else talks_s, now_s)),
    )


_NEWEST = 20
_PINS = {State.REGISTERED: "checked", State.WRONG_PIN: "wrong", State.UNKNOWN: "not seen yet"}


def _pin(site: Site) -> str:
    return "not looked at" if site.identity.pin is None else _PINS[site.state]


def _answer(response: DERControlResponse, sent: str) -> AnswerView:
    assert response.status is not None, "it is our own"
    answer = ResponseStatus(response.status).name.lower().replace("_", " ")
    return AnswerView(response.subject, answer, _at(response.created_date_time), sent)


def _at(moment_s: int | None) -> str:
    return "" if moment_s is None else iso(moment_s)
