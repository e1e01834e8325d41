"""Responses: from whom they are taken, for what, how often, and who sees them."""

import pytest

from gridflock.field.ieee2030_5.resources import (
    DERControlBase,
    DERControlResponse,
    Error,
    ReasonCode,
    ResponseList,
    ResponseSetList,
    ResponseStatus,
)
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._devices import set_access
from gridflock.field.ieee2030_5.server._effective import unanswered
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.server._rates import set_poll_rate
from gridflock.field.ieee2030_5.wire import read

BY = By("operator", "a test")


def _saying(client, control, status, lfdi=None, at_s=None):
    return DERControlResponse(
        end_device_lfdi=lfdi or client.lfdi, status=status, subject=control.mrid, created_date_time=at_s
    )


@pytest.fixture
def asked(utility):
    """Two devices that follow a program with one control."""
    program = utility.act(make_program, "feeder", 5, BY)
    clients = [utility.enrol(k) for k in (1, 2)]
    held = {each.lfdi: (Assignment("grid", (program.number,)),) for each in clients}
    assert utility.act(assign, held, BY) == ()
    wanted = Wanted(DERControlBase(op_mod_max_lim_w=5_000), utility.now_s, 600)
    return utility, clients, utility.act(make_control, program.number, wanted, BY)


def test_responses_are_recorded_by_device_and_event(asked):
    """Each status of each device once, with the device's own time beside the time of arrival."""
    utility, (one, other), control = asked
    utility.wait(5)
    first = one.post(control.reply_to, _saying(one, control, ResponseStatus.RECEIVED, at_s=utility.now_s - 3))
    assert first.status == 201
    one.post(control.reply_to, _saying(one, control, ResponseStatus.STARTED))
    other.post(control.reply_to, _saying(other, control, ResponseStatus.RECEIVED))
    said = utility.server.state.responses
    assert [(each.device, each.status) for each in said.said.values()] == [(1, 1), (1, 2), (2, 1)]
    assert (said.said[1].created_s, said.said[1].arrived_s) == (utility.now_s - 3, utility.now_s)
    assert unanswered(utility.server.state, control.mrid, ResponseStatus.STARTED) == [2]


def test_a_repeated_response_changes_nothing(asked):
    """The same status of the same event stands where it stood; nobody fetches it twice."""
    utility, (one, _), control = asked
    at = [one.post(control.reply_to, _saying(one, control, 2)).location for _ in range(3)]
    assert len(set(at)) == 1
    assert utility.server.state.responses.waiting == [1]


def test_a_client_sees_its_own_responses_only(asked):
    """In the list and one by one; another's is not there."""
    _, (one, other), control = asked
    mine = one.post(control.reply_to, _saying(one, control, 1)).location
    assert [each.mrid for each in one.get("/rsps", ResponseSetList, l=9).response_set]
    assert one.get(control.reply_to, ResponseList, l=9).response[0].subject == control.mrid
    assert other.get(control.reply_to, ResponseList, l=9).all == 0
    assert other.get(mine).status == 404
    assert one.get(mine).status == 200


def test_each_client_reads_its_own_rate(asked):
    """The list of places is the same for all, how often to ask for it is not."""
    utility, (one, other), _ = asked
    utility.act(set_poll_rate, "ResponseSetList", 60, BY, one.lfdi)
    assert [each.get("/rsps", ResponseSetList).poll_rate for each in (one, other, one)] == [60, 300, 60]


@pytest.mark.parametrize("status", [0, 15, 99, 255])
def test_an_unknown_status_is_refused(asked, status):
    """400 and nothing stored."""
    utility, (one, _), control = asked
    answer = one.post(control.reply_to, _saying(one, control, status))
    assert answer.status == 400
    assert read(answer.body, Error, one.profile).reason_code == ReasonCode.VALUES
    assert utility.server.state.responses.said == {}


def test_an_unknown_event_and_a_foreign_device_are_refused(asked):
    """An event nobody knows or that the device does not follow: 400; somebody else's LFDI: 403."""
    utility, (one, other), control = asked
    stranger = utility.enrol(9)
    nothing = DERControlResponse(end_device_lfdi=one.lfdi, status=1, subject="AB")
    assert one.post(control.reply_to, nothing).status == 400
    assert stranger.post(control.reply_to, _saying(stranger, control, 1)).status == 400
    assert one.post(control.reply_to, _saying(one, control, 1, lfdi=other.lfdi)).status == 403
    assert utility.stranger(8).post(control.reply_to, _saying(one, control, 1)).status == 403
    assert one.post("/rsps/7/rsp", _saying(one, control, 1)).status == 404
    assert one.post(control.reply_to, b"<nonsense/>").status == 400
    assert utility.server.state.responses.said == {}


def test_an_aggregator_answers_for_its_sites(utility):
    """For each of its own that follows or followed it, not for itself nor for one that is suspended."""
    program = utility.act(make_program, "feeder", 5, BY)
    aggregator = utility.enrol(1, aggregator=True)
    site = utility.enrol(3, owner=aggregator.lfdi)
    utility.act(assign, {site.lfdi: (Assignment("grid", (program.number,)),)}, BY)
    wanted = Wanted(DERControlBase(op_mod_max_lim_w=5_000), utility.now_s, 600)
    control = utility.act(make_control, program.number, wanted, BY)
    assert aggregator.post(control.reply_to, _saying(site, control, 1)).status == 201
    assert aggregator.post(control.reply_to, _saying(aggregator, control, 1)).status == 400
    assert [each.device for each in utility.server.state.responses.said.values()] == [2]
    utility.act(set_access, site.lfdi, Access.SUSPENDED, BY)
    assert aggregator.post(control.reply_to, _saying(site, control, 2)).status == 403
    utility.act(set_access, site.lfdi, Access.ENABLED, BY)
    utility.act(assign, {site.lfdi: ()}, BY)
    assert aggregator.post(control.reply_to, _saying(site, control, 2)).status == 201


def test_responses_after_cancellation_and_after_the_end_are_kept(asked):
    """Cancelled, then over for an hour: what comes late is taken; a day later it is of an unknown event."""
    utility, (one, other), control = asked
    utility.act(cancel, control.mrid, BY)
    assert one.post(control.reply_to, _saying(one, control, ResponseStatus.CANCELLED)).status == 201
    utility.wait(4_200)
    assert one.get(control.href).status == 404
    assert other.post(control.reply_to, _saying(other, control, ResponseStatus.COMPLETED)).status == 201
    utility.wait(86_400)
    assert utility.server.state.responses.said == {}
    assert other.post(control.reply_to, _saying(other, control, ResponseStatus.CANCELLED)).status == 400
