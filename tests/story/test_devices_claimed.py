"""An aggregator claims what is not its own, over TLS: the certificate goes before it, operators decide."""

import asyncio
import importlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from gridflock.runtime import LOCAL, RequestRejected

PATHS = ("", "/rg", "/fsa", "/lel", "/der", "/sub")


@pytest.fixture(scope="module")
def site(tmp_path_factory, require):
    """A site that asks for an operator's word, and an aggregator that is enrolled and has no site yet."""
    require("httptools", find_spec("httptools") is not None)
    sys.path.insert(0, str(Path(__file__).parent))
    world = importlib.import_module("operated_world")
    found = world.Site(tmp_path_factory.mktemp("claimed"), registration="ask")
    found.authority.issue_service("agg", ["localhost"], 30, int(time.time()) - 60)
    found.people = {entry.name: entry for entry in found.authority.issued}
    found.derms.enrol(LOCAL, found.lfdi("agg"), aggregator=True, why="contract")
    yield found
    found.close()


def _ask(site, name, method, path, lfdi=""):
    """Status and place of the answer to one request with somebody's certificate; an LFDI is registered."""

    async def do():
        wire = importlib.import_module("gridflock.field.ieee2030_5.wire")
        r = importlib.import_module("gridflock.field.ieee2030_5.resources")
        sfdi_of = importlib.import_module("gridflock.field.ieee2030_5.identity").sfdi_of
        device = r.EndDevice(lfdi=lfdi, sfdi=sfdi_of(lfdi), changed_time=0) if lfdi else None
        line = site.dial(name)
        try:
            body = b"" if device is None else wire.write(device, r.Profile.SEP2018)
            return await line.ask(method, path, body)
        finally:
            await line.close()

    reply = asyncio.run(do())
    return reply.status, reply.location, reply.body


def _registers(site, name, lfdi):
    return _ask(site, name, "POST", "/edev", lfdi)[:2]


def _reads_nothing(site, name, place, lfdi):
    """Nobody reads at or below a place, nor finds an identifier in a list, whose device it is not."""
    assert {_ask(site, name, "GET", place + tail)[0] for tail in PATHS} == {404}
    assert _ask(site, name, "DELETE", place)[0] == 403
    assert lfdi.encode() not in _ask(site, name, "GET", "/edev?l=99")[2]


def _told(site, what, lfdi):
    return [e for e in site.events("device") if e.data.get("what") == what and e.data.get("lfdi") == lfdi]


def _again(site):
    site.close()
    site.open()


def test_the_holder_takes_a_claimed_identifier(site):
    """Claimed by an aggregator, over a restart, it is the holder's as soon as it comes; the ledger tells."""
    lfdi, agg = site.lfdi("dev-0"), site.lfdi("agg")
    status, place = _registers(site, "agg", lfdi)
    assert status == 201
    _again(site)
    assert site.seen("dev-0").aggregator == agg
    with pytest.raises(RequestRejected, match=f"{agg} claims it"):
        site.derms.enrol(LOCAL, lfdi, resource=site.battery)
    _reads_nothing(site, "dev-0", place, lfdi)
    status, own = _registers(site, "dev-0", lfdi)
    assert (status, own == place) == (201, False)
    _again(site)
    site.live(2)
    assert (site.seen("dev-0").aggregator, site.seen("dev-0").access) == ("", "pending")
    _reads_nothing(site, "agg", own, lfdi)
    assert _ask(site, "agg", "GET", place)[0] == 404
    assert _registers(site, "agg", lfdi)[0] == 403
    assert agg in _told(site, "claim ended", lfdi)[0].text
    assert [agg in event.text for event in _told(site, "registered", lfdi)] == [False, True]
    site.derms.set_access(LOCAL, lfdi, access="enabled", resource=site.battery, why="known")
    assert _ask(site, "dev-0", "GET", f"{own}/fsa?l=9")[0] == 200


def test_an_approved_site_stays_its_aggregators_until_an_operator_says_otherwise(site):
    """The certificate is refused, in the ledger once and in the list; by the operator's word it is in."""
    lfdi, agg = site.lfdi("dev-1"), site.lfdi("agg")
    _, place = _registers(site, "agg", lfdi)
    site.derms.set_access(LOCAL, lfdi, access="enabled", why="contract")
    assert [_registers(site, "dev-1", lfdi)[0] for _ in range(2)] == [403, 403]
    _again(site)
    assert _registers(site, "dev-1", lfdi)[0] == 403
    site.live(2)
    assert len(_told(site, "contested", lfdi)) == 1
    assert f"{agg} was approved for it" in _told(site, "contested", lfdi)[0].text
    assert f"{agg} speaks for it" in site.seen("dev-1").trouble
    assert _ask(site, "agg", "GET", place)[0] == 200
    _reads_nothing(site, "dev-1", place, lfdi)
    site.derms.enrol(LOCAL, lfdi, aggregator=False, why="the customer has left that aggregator")
    assert (site.seen("dev-1").aggregator, site.seen("dev-1").trouble) == ("", "")
    assert site.derms.device(LOCAL, lfdi).pin == "111115"
    assert _ask(site, "agg", "GET", place)[0] == 404
    _, own = _registers(site, "dev-1", lfdi)
    assert _ask(site, "dev-1", "GET", own)[0] == 200
    _reads_nothing(site, "agg", own, lfdi)
    said = next(e for e in site.events("device") if e.data.get("verb") == "enrol" and lfdi in e.text)
    assert f"{agg} speaks for it no more" in said.text


def test_a_refused_claim_binds_its_aggregator_alone(site):
    """After a restart the aggregator is refused still, and the holder of the certificate is not."""
    lfdi = site.lfdi("dev-2")
    _, place = _registers(site, "agg", lfdi)
    site.derms.set_access(LOCAL, lfdi, access="removed", why="not its customer")
    _again(site)
    assert _registers(site, "agg", lfdi)[0] == 403
    assert _ask(site, "agg", "GET", place)[0] == 404
    status, own = _registers(site, "dev-2", lfdi)
    assert status == 201
    _reads_nothing(site, "agg", own, lfdi)
    site.live(1)
    assert "and was refused" in _told(site, "claim ended", lfdi)[0].text
