"""Notifications of a running system over IEEE 2030.5: a subscriber of our own, over TLS, and restarts."""

import asyncio
import importlib
import sys
import threading
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

from gridflock.runtime import LOCAL

PLACE = "/ntfy"


class Subscriber:
    """A server of an aggregator's that takes notifications, or says that it is busy."""

    def __init__(self, site):
        listen = importlib.import_module("gridflock.field.ieee2030_5._listen")
        tls = importlib.import_module("gridflock.field.ieee2030_5._tls")
        self._answer = importlib.import_module("gridflock.field.ieee2030_5._http").Answer
        at = site.pki / "issued" / "agg"
        security = listen.Security(
            tls.server_context(at / "chain.pem", at / "key.pem", site.trust), site.trust
        )
        self.taken, self.refused, self.busy = [], 0, False
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        self.listener = self.call(self._listen(listen.Listener, security))
        self.uri = f"https://localhost:{self.port}{PLACE}"

    async def _listen(self, kind, security):
        listener = kind(self._take, security)
        self.port = await listener.start("127.0.0.1", 0)
        return listener

    def _take(self, request):
        if self.busy:
            self.refused += 1
            return self._answer(503)
        assert (request.method, request.path) == ("POST", PLACE)
        self.taken.append(request.body)
        return self._answer(201)

    def call(self, work):
        """Do something on its loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result()

    def close(self):
        """Listen no more."""
        self.call(self.listener.stop(0.2))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()


class Aggregator:
    """A client that looks for the controls of its own device and subscribes to their list."""

    def __init__(self, site, subscriber):
        self.site, self.subscriber = site, subscriber
        self.session = importlib.import_module("gridflock.field.ieee2030_5.device._session").Session
        self.resources = importlib.import_module("gridflock.field.ieee2030_5.resources")

    def subscribe(self, uri=""):
        """Where the subscription stands, and the list that it is about."""
        return self.subscriber.call(self._subscribe(uri or self.subscriber.uri))

    async def _subscribe(self, uri):
        r = self.resources
        line = self.site.dial("agg")
        session = self.session(line, r.Profile.SEP2018)
        _, devices = await session.fetch_all("/edev", r.EndDeviceList, "end_device")
        mine = devices[0]
        path = mine.function_set_assignments_list_link.href
        _, sets = await session.fetch_all(path, r.FunctionSetAssignmentsList, "function_set_assignments")
        _, programs = await session.fetch_all(
            sets[0].der_program_list_link.href, r.DERProgramList, "der_program"
        )
        controls = min(programs, key=lambda each: each.primacy).der_control_list_link.href
        wish = r.Subscription(
            subscribed_resource=controls, encoding=0, level="+S1", limit=50, notification_uri=uri
        )
        try:
            place = await session.send("POST", mine.subscription_list_link.href, wish)
        finally:
            await line.close()
        return place, controls


@pytest.fixture
def site(tmp_path, require):
    """A site whose aggregator is a resource of the fleet and may be notified on this machine."""
    require("httptools", find_spec("httptools") is not None)
    sys.path.insert(0, str(Path(__file__).parent))
    world = importlib.import_module("operated_world")
    found = world.Site(tmp_path, lab=True)
    found.authority.issue_service("agg", ["localhost"], 30, int(time.time()) - 60)
    found.people = {entry.name: entry for entry in found.authority.issued}
    hosts = ["localhost"]
    found.derms.enrol(
        LOCAL, found.lfdi("agg"), aggregator=True, resource=found.battery, hosts=hosts, why="contract"
    )
    found.live()
    yield found
    found.close()


@pytest.fixture
def subscriber(site):
    """The aggregator's own server."""
    found = Subscriber(site)
    yield found
    found.close()


def test_a_control_change_reaches_the_subscriber_once(site, subscriber):
    """Ordered, the list of controls comes with the new one; over restarts nothing is lost or doubled."""
    place, controls = Aggregator(site, subscriber).subscribe()
    site.derms.propose(LOCAL, site.battery, p_kw=1.0, minutes=600, why="a story")
    site.live()
    _until(lambda: subscriber.taken)
    news = _read(subscriber.taken[-1])
    assert (news.subscribed_resource, news.subscription_uri) == (controls, place)
    assert news.resource.der_control
    _until(lambda: site.derms.utility(LOCAL).owed == 0)
    seen = site.derms.device(LOCAL, site.lfdi("agg"))
    assert [(each.resource, each.uri, each.ended) for each in seen.subscriptions] == [
        (controls, subscriber.uri, "")
    ]

    subscriber.busy = True
    before = len(subscriber.taken)
    known = {each.mrid for each in news.resource.der_control}
    site.derms.withdraw(LOCAL, site.derms.proposals(LOCAL)[0].id)
    site.derms.propose(LOCAL, site.battery, p_kw=-1.0, minutes=600, why="the other way")
    site.live()
    _until(lambda: subscriber.refused)
    assert site.derms.utility(LOCAL).owed == 1
    site.close()
    subscriber.busy = False
    site.open()
    site.live(2)
    _until(lambda: len(subscriber.taken) > before)
    _until(lambda: site.derms.utility(LOCAL).owed == 0)
    told = _read(subscriber.taken[-1])
    assert {each.mrid for each in told.resource.der_control} - known
    site.close()
    site.open()
    time.sleep(1.5)  # the server looks for what it owes every second
    assert len(set(subscriber.taken)) == len(subscriber.taken)
    assert site.derms.utility(LOCAL).counts.get("notifications: delivered", 0) <= 1


def test_hosts_that_nobody_allows_are_not_subscribed_from(site, subscriber):
    """An address of another host is refused to the client; taken back later, its service ends and is told."""
    refused = importlib.import_module("gridflock.field.ieee2030_5.device._session").Refused
    aggregator = Aggregator(site, subscriber)
    with pytest.raises(refused) as told:
        aggregator.subscribe("https://elsewhere.example/ntfy")
    assert told.value.status == 400
    aggregator.subscribe()
    site.derms.enrol(LOCAL, site.lfdi("agg"), hosts=["agg.example"], why="moved")
    site.derms.propose(LOCAL, site.battery, p_kw=1.0, minutes=60, why="a story")
    site.live()
    _until(lambda: site.derms.utility(LOCAL).not_notified == 1)
    site.live(2)
    assert subscriber.taken == []
    assert any(event.data.get("what") == "not notified" for event in site.events("device"))
    assert any(event.data.get("cause") == "devices not notified" for event in site.events("alarm"))
    assert site.derms.device(LOCAL, site.lfdi("agg")).subscriptions[0].ended


def _read(body):
    wire = importlib.import_module("gridflock.field.ieee2030_5.wire")
    resources = importlib.import_module("gridflock.field.ieee2030_5.resources")
    found = wire.read(body, (resources.Notification,), resources.Profile.SEP2018)
    assert isinstance(found, resources.Notification), found
    return found


def _until(holds):
    end_s = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.05)
