"""Subscriptions: who may make them, what they are told, and that nothing owed is lost or told twice."""

import pytest

from gridflock.field.ieee2030_5.resources import (
    Condition,
    DefaultDERControl,
    DERControlBase,
    DERControlList,
    EndDeviceList,
    Error,
    Notification,
    NotificationStatus,
    ReasonCode,
    Subscription,
    SubscriptionList,
)
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._devices import set_access
from gridflock.field.ieee2030_5.server._programs import make_program, set_default, set_primacy
from gridflock.field.ieee2030_5.server._rates import set_poll_rate
from gridflock.field.ieee2030_5.server._subscriptions import told
from gridflock.field.ieee2030_5.wire import read

BY = By("operator", "a test")
HALF = DERControlBase(op_mod_max_lim_w=5_000)
URI = "https://agg.example/notify/1"


def _wish(path, **more):
    return Subscription(
        **{
            "subscribed_resource": path,
            "encoding": 0,
            "level": "+S1",
            "limit": 10,
            "notification_uri": URI,
            **more,
        }
    )


@pytest.fixture
def told_of(utility):
    """An aggregator with hosts of its own whose device follows a program."""
    program = utility.act(make_program, "feeder", 5, BY)
    client = utility.enrol(1, aggregator=True, hosts=("agg.example",))
    utility.act(assign, {client.lfdi: (Assignment("grid", (program.number,)),)}, BY)
    return utility, client, program


def _posted(utility, client):
    """Post all that is due; the notifications, judged and read."""
    found = []
    for news in utility.server.news(utility.now_s, 99):
        utility.judge(news.body, client.profile)
        note = read(news.body, Notification, client.profile)
        assert isinstance(note, Notification), note
        found.append((news, note))
        utility.act(told, news, arrived=True)
    return found


def _order(utility, program, **more):
    return utility.act(
        make_control, program.number, Wanted(HALF, utility.now_s + more.pop("start", 0), 600, **more), BY
    )


def test_a_subscription_is_made_read_changed_and_deleted(told_of):
    """POST, GET, PUT, DELETE; the same one twice is one; a query in the subscribed resource is ignored."""
    _, client, program = told_of
    made = client.post("/edev/1/sub", _wish(f"{program.path}/derc?s=0&l=5"))
    assert (made.status, client.post("/edev/1/sub", _wish(f"{program.path}/derc")).location) == (
        201,
        made.location,
    )
    found = client.get(made.location, Subscription)
    assert (found.subscribed_resource, found.notification_uri, found.limit) == (
        f"{program.path}/derc",
        URI,
        10,
    )
    assert client.put(made.location, _wish("/edev/1/fsa", limit=0)).status == 204
    assert (
        client.get("/edev/1/sub", SubscriptionList, l=9).subscription[0].subscribed_resource == "/edev/1/fsa"
    )
    assert client.delete(made.location).status == 204
    assert client.get(made.location).status == 404
    assert client.get("/edev/1/sub", SubscriptionList, l=9).all == 0


@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"encoding": 1}, ReasonCode.VALUES),
        ({"condition": Condition(attribute_identifier=0, lower_threshold=0, upper_threshold=9)},
         ReasonCode.CONDITIONAL_SUBSCRIPTION),
        ({"notification_uri": "http://agg.example/x"}, ReasonCode.VALUES),
        ({"notification_uri": "https://other.example/x"}, ReasonCode.VALUES),
        ({"notification_uri": "https://127.0.0.1/x"}, ReasonCode.VALUES),
        ({"notification_uri": "https://agg.example.evil/x"}, ReasonCode.VALUES),
        ({"notification_uri": "https://agg.example@evil.example/x"}, ReasonCode.VALUES),
        ({"notification_uri": "https://agg.example:99999/x"}, ReasonCode.VALUES),
        ({"path": "/edev/7"}, ReasonCode.VALUES),
        ({"path": "/tm"}, ReasonCode.VALUES),
        ({"path": "/nothing"}, ReasonCode.VALUES),
        ({"path": "http://["}, ReasonCode.VALUES),
        ({"path": "//[x/edev"}, ReasonCode.VALUES),
    ],
)  # fmt: skip
def test_what_is_not_served_is_refused(told_of, wrong, code):
    """EXI, conditions, plain HTTP, hosts not registered or disguised, what is no address, is not there."""
    utility, client, program = told_of
    utility.enrol(2)
    answer = client.post("/edev/1/sub", _wish(**{"path": f"{program.path}/derc", **wrong}))
    assert answer.status == 400
    assert read(answer.body, Error, client.profile).reason_code == code
    assert utility.server.state.subscribed.wishes == {}


def test_a_new_control_its_start_and_its_end_are_told_without_a_request(told_of):
    """Once for each, with the list as it is then; between them nothing."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    made = _order(utility, program, start=100)
    ((_, note),) = _posted(utility, client)
    assert (note.status, note.subscription_uri) == (NotificationStatus.DEFAULT, "/edev/1/sub/1")
    assert isinstance(note.resource, DERControlList)
    assert [each.mrid for each in note.resource.der_control] == [made.mrid]
    utility.wait(99)
    assert _posted(utility, client) == []
    utility.wait(1)
    ((_, note),) = _posted(utility, client)
    assert note.resource.der_control[0].event_status.current_status == 1
    utility.wait(600)
    ((_, note),) = _posted(utility, client)
    assert note.resource.der_control == ()


def test_every_kind_of_change_reaches_its_subscribers(told_of):
    """Devices, assignments, programs, controls, default; poll rates of lists too."""
    utility, client, program = told_of
    paths = ("/edev", "/edev/1/fsa", "/edev/1/fsa/1/derp", f"{program.path}/derc", f"{program.path}/actderc")
    for path in paths:
        assert client.post("/edev/1/sub", _wish(path)).status == 201, path
    utility.act(set_default, program.number, DefaultDERControl(mrid="00", der_control_base=HALF), BY)
    assert client.post("/edev/1/sub", _wish(f"{program.path}/dderc")).status == 201
    _posted(utility, client)

    def told_now():
        return {note.subscribed_resource for _, note in _posted(utility, client)}

    made = _order(utility, program)
    assert told_now() == {f"{program.path}/derc", f"{program.path}/actderc"}
    utility.act(cancel, made.mrid, BY)
    assert told_now() == {f"{program.path}/derc", f"{program.path}/actderc"}
    utility.act(
        set_default, program.number, DefaultDERControl(mrid="00", der_control_base=HALF, set_grad_w=9), BY
    )
    assert f"{program.path}/dderc" in told_now()
    utility.act(set_primacy, program.number, 1, BY)
    assert told_now() == {"/edev/1/fsa/1/derp"}
    other = utility.act(make_program, "other", 5, BY)
    utility.act(assign, {client.lfdi: (Assignment("grid", (program.number, other.number)),)}, BY)
    assert {"/edev/1/fsa", "/edev/1/fsa/1/derp"} <= told_now()
    utility.act(set_poll_rate, "EndDeviceList", 60, BY)
    assert told_now() == {"/edev"}
    utility.act(set_poll_rate, "DERProgramList", 60, BY)
    assert told_now() == {"/edev/1/fsa/1/derp"}


def test_limit_zero_is_told_the_bare_fact(told_of):
    """Without the resource."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc", limit=0))
    _order(utility, program)
    ((_, note),) = _posted(utility, client)
    assert (note.resource, note.status) == (None, NotificationStatus.DEFAULT)


def test_a_limit_bounds_the_items(told_of):
    """Of five controls the first two, with the count of all."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc", limit=2))
    for k in range(5):
        _order(utility, program, start=1_000 * k)
    ((_, note),) = _posted(utility, client)
    assert (note.resource.all, note.resource.results, len(note.resource.der_control)) == (5, 2, 2)


def test_changes_of_one_resource_are_told_once_and_newest(told_of):
    """Ten changes before the poster comes: one notification; one more while it posts: one more."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    for k in range(10):
        _order(utility, program, start=1_000 * k)
    (news,) = utility.server.news(utility.now_s, 99)
    _order(utility, program, start=20_000)
    assert utility.server.news(utility.now_s, 99, frozenset({news.number})) == []
    utility.act(told, news, arrived=True)
    ((_, note),) = _posted(utility, client)
    assert note.resource.all == 11
    assert utility.server.news(utility.now_s, 99) == []


def test_the_same_subscription_again_still_owes_its_news(told_of):
    """Posted or put anew before the notification went out: it goes out all the same."""
    utility, client, program = told_of
    wish = _wish(f"{program.path}/derc")
    at = client.post("/edev/1/sub", wish).location
    _order(utility, program)
    assert client.post("/edev/1/sub", wish).location == at
    assert client.put(at, wish).status == 204
    ((_, note),) = _posted(utility, client)
    assert isinstance(note.resource, DERControlList)


def test_what_does_not_arrive_is_tried_again_later_and_given_up_in_the_end(told_of):
    """Waits grow; success in between forgets the failures; after the last try the operator is told."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    _order(utility, program)
    waits = []
    for _ in range(4):
        (news,) = utility.server.news(utility.now_s, 99)
        assert not utility.act(told, news, arrived=False)
        due_s = utility.server.state.subscribed.owed[1].due_s
        waits.append(due_s - utility.now_s)
        assert utility.server.news(due_s - 1, 99) == []
        utility.wait(waits[-1])
    assert waits == sorted(waits)
    assert len(_posted(utility, client)) == 1
    _order(utility, program, start=50_000)
    for _ in range(12):
        (news,) = utility.server.news(utility.now_s, 99)
        ended = utility.act(told, news, arrived=False)
        utility.wait(4_000)
    assert ended
    _order(utility, program, start=90_000)
    assert utility.server.news(utility.now_s, 99) == []
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    _order(utility, program, start=91_000)
    assert len(_posted(utility, client)) == 1


def test_a_refusal_for_good_ends_the_service_at_once(told_of):
    """Where trying again would change nothing, nobody tries again, and the operator is told."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    _order(utility, program)
    (news,) = utility.server.news(utility.now_s, 99)
    assert utility.act(told, news, arrived=False, final=True)
    assert list(utility.server.state.subscribed.dead) == [1]
    assert utility.server.state.subscribed.owed == {}


@pytest.mark.parametrize(
    "uri", ["https://agg.example/n#x", "https://me:it@agg.example/n", "https://agg.example:0/n"]
)
def test_an_address_that_nothing_is_posted_to_is_not_taken_in(told_of, uri):
    """What the poster would refuse is 400 when it is subscribed with."""
    _, client, program = told_of
    assert client.post("/edev/1/sub", _wish(f"{program.path}/derc", notification_uri=uri)).status == 400


def test_a_resource_that_is_gone_ends_the_subscription(told_of):
    """Status 4 is told, and with its arrival the subscription is over."""
    utility, client, _ = told_of
    client.post("/edev/1/sub", _wish("/edev/1/fsa/1/derp"))
    utility.act(assign, {client.lfdi: ()}, BY)
    ((news, note),) = _posted(utility, client)
    assert (note.status, note.resource, news.last) == (NotificationStatus.DELETED, None, True)
    assert client.get("/edev/1/sub/1").status == 404


def test_nobody_is_told_of_what_is_not_theirs(told_of):
    """A second aggregator's registrations notify the second; the first hears nothing of them."""
    utility, client, _ = told_of
    other = utility.enrol(2, aggregator=True, hosts=("agg.example",))
    for each, device in ((client, 1), (other, 2)):
        assert each.post(f"/edev/{device}/sub", _wish("/edev")).status == 201
    site = other.end_device(utility.stranger(77).lfdi)
    assert other.post("/edev", site).status == 201
    ((news, note),) = _posted(utility, other)
    assert news.number == 2
    assert isinstance(note.resource, EndDeviceList)
    assert {each.lfdi for each in note.resource.end_device} == {other.lfdi, site.lfdi}


def test_a_suspended_client_is_told_when_it_is_restored(told_of):
    """Meanwhile its news are kept and nothing is posted."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    utility.act(set_access, client.lfdi, Access.SUSPENDED, BY)
    _order(utility, program)
    assert utility.server.news(utility.now_s, 99) == []
    utility.act(set_access, client.lfdi, Access.ENABLED, BY)
    assert f"{program.path}/derc" in {note.subscribed_resource for _, note in _posted(utility, client)}


def test_a_suspended_site_ends_no_subscription_of_its_aggregator(told_of):
    """What is known of it stays: nothing is told of it meanwhile, and once it is restored its state is."""
    utility, client, _ = told_of
    site = client.post("/edev", client.end_device(utility.stranger(77).lfdi)).location
    lfdi = utility.stranger(77).lfdi
    utility.act(set_access, lfdi, Access.ENABLED, BY)
    for path in (site, f"{site}/fsa"):
        assert client.post("/edev/1/sub", _wish(path)).status == 201
    utility.act(set_access, lfdi, Access.SUSPENDED, BY)
    assert utility.server.news(utility.now_s, 99) == []
    assert client.get("/edev/1/sub", SubscriptionList, l=9).all == 2
    utility.act(set_access, lfdi, Access.ENABLED, BY)
    ((_, note),) = _posted(utility, client)
    assert (note.subscribed_resource, note.status) == (site, NotificationStatus.DEFAULT)
    assert note.resource.enabled is True


def test_who_gives_up_a_site_is_told_that_all_below_it_is_gone(told_of):
    """Each subscription to it, or to what is below it, ends with status 4; others go on."""
    utility, client, _ = told_of
    places = [client.post("/edev", client.end_device(utility.stranger(k).lfdi)).location for k in (77, 78)]
    for path in (places[0], f"{places[0]}/fsa", f"{places[0]}/lel", f"{places[1]}/fsa", "/edev"):
        assert client.post("/edev/1/sub", _wish(path)).status == 201
    assert client.delete(places[0]).status == 204
    posted = _posted(utility, client)
    gone = {note.subscribed_resource for news, note in posted if news.last}
    assert gone == {places[0], f"{places[0]}/fsa", f"{places[0]}/lel"}
    assert client.get("/edev/1/sub", SubscriptionList, l=9).all == 2


def test_after_a_restart_exactly_what_was_owed_is_owed(told_of):
    """The journal's state owes the notification that had not arrived, and not the one that had."""
    utility, client, program = told_of
    client.post("/edev/1/sub", _wish(f"{program.path}/derc"))
    client.post("/edev/1/sub", _wish(f"{program.path}/actderc"))
    _order(utility, program)
    first, second = utility.server.news(utility.now_s, 99)
    utility.act(told, first, arrived=True)
    assert set(utility.relived().subscribed.owed) == {second.number}
