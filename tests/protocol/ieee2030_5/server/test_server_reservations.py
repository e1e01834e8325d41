"""Flow reservation: what vehicles and stores ask for, and what they are granted."""

import pytest

from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    DateTimeInterval,
    EndDevice,
    EventState,
    FlowReservationRequest,
    FlowReservationRequestList,
    FlowReservationResponse,
    FlowReservationResponseList,
    FlowReservationResponseResponse,
    RequestStatus,
    SignedRealEnergy,
)
from gridflock.field.ieee2030_5.server import By
from gridflock.field.ieee2030_5.server._reservations import cancel_grant, grant, open_reservations
from gridflock.field.ieee2030_5.server._reserved import Grant

BY = By("operator", "a test")
HOUR = 3_600
ENERGY = SignedRealEnergy(multiplier=3, value=-20)
POWER = ActivePower(multiplier=3, value=-7)


@pytest.fixture
def utility(make):
    """A server that takes reservations."""
    return make(reservations=True, most_reservations=3)


def _asking(utility, name="A", start=HOUR, hours=8, status=0):
    return FlowReservationRequest(
        mrid=name * 32,
        creation_time=utility.now_s,
        duration_requested=3 * HOUR,
        energy_requested=ENERGY,
        interval_requested=DateTimeInterval(start=utility.now_s + start, duration=hours * HOUR),
        power_requested=POWER,
        request_status=RequestStatus(date_time=utility.now_s, request_status=status),
    )


@pytest.fixture
def car(utility):
    """A device that asks for energy within eight hours from the next one."""
    client = utility.enrol(1)
    assert client.post("/edev/1/frq", _asking(utility)).location == "/edev/1/frq/1"
    return client


def _grant(utility, start=HOUR, hours=3):
    (wanted,) = utility.act(open_reservations)
    return utility.act(grant, wanted, utility.now_s + start, hours * HOUR, ENERGY, POWER, BY)


def test_a_reservation_is_asked_for_and_granted(utility, car):
    """By links: the request is listed, the grant appears beside it, with what was granted and to what."""
    device = car.get("/edev/1", EndDevice)
    asked = car.get(device.flow_reservation_request_list_link.href, FlowReservationRequestList, l=9)
    assert asked.flow_reservation_request[0].energy_requested == ENERGY
    link = device.flow_reservation_response_list_link.href
    assert car.get(link, FlowReservationResponseList, l=9).all == 0
    made = _grant(utility)
    given = car.get(link, FlowReservationResponseList, l=9).flow_reservation_response[0]
    assert (given.subject, given.mrid, given.power_available) == ("A" * 32, made.mrid, POWER)
    assert given.event_status.current_status == EventState.SCHEDULED
    assert car.get(given.href, FlowReservationResponse) == given
    assert utility.act(open_reservations) == ()


def test_the_same_request_again_is_the_same(utility, car):
    """Repeated it creates nothing; under the same mRID it may ask otherwise, at the same place."""
    entries = len(utility.journal)
    assert car.post("/edev/1/frq", _asking(utility)).location == "/edev/1/frq/1"
    assert len(utility.journal) == entries
    assert car.post("/edev/1/frq", _asking(utility, hours=4)).location == "/edev/1/frq/1"
    shown = car.get("/edev/1/frq/1", FlowReservationRequest)
    assert shown.interval_requested.duration == 4 * HOUR


def test_a_cancelled_request_takes_its_grant_along(utility, car):
    """When the car leaves, what it was granted is cancelled and stays listed so until its end."""
    made = _grant(utility)
    assert car.put("/edev/1/frq/1", _asking(utility, status=1)).status == 204
    given = car.get(f"/edev/1/frp/{made.number}", FlowReservationResponse)
    assert given.event_status.current_status == EventState.CANCELLED
    assert utility.act(open_reservations) == ()
    assert utility.act(cancel_grant, made.mrid, BY).field == "status"


def test_grants_begin_and_end_on_time(utility, car):
    """Scheduled, active at the start, gone at the end; the request is gone when its interval is."""
    made = _grant(utility)

    def states():
        page = car.get("/edev/1/frp", FlowReservationResponseList, l=9)
        return [each.event_status.current_status for each in page.flow_reservation_response]

    assert states() == [0]
    utility.wait(HOUR)
    assert states() == [1]
    assert utility.wait(0).next_s is not None
    utility.wait(3 * HOUR)
    assert states() == []
    assert utility.act(cancel_grant, made.mrid, BY).field == "mrid"
    utility.wait(5 * HOUR)
    assert car.get("/edev/1/frq", FlowReservationRequestList, l=9).all == 0
    reserved = utility.server.state.reserved
    assert (reserved.by_mrid, reserved.due) == ({}, [])


@pytest.mark.usefixtures("car")
def test_a_grant_is_taken_back(utility):
    """An operator may cancel; what was asked for is open again then."""
    made = _grant(utility)
    assert isinstance(utility.act(cancel_grant, made.mrid, BY), Grant)
    assert len(utility.act(open_reservations)) == 1
    assert utility.act(cancel_grant, "AB" * 16, BY).field == "mrid"


def test_grants_keep_within_what_was_asked_for(utility, car):
    """Outside the interval, empty, or for a request that is no more: rejected by name."""
    (wanted,) = utility.act(open_reservations)
    for start, hours in ((0, 1), (HOUR, 9), (HOUR, 0)):
        assert _grant(utility, start, hours).field == "start_s"
    car.put("/edev/1/frq/1", _asking(utility, status=1))
    wrong = utility.act(grant, wanted, utility.now_s + HOUR, HOUR, ENERGY, POWER, BY)
    assert wrong.field == "subject"


def test_requests_are_judged(utility, car):
    """What is past, of an unknown status, of another mRID or beyond the bound is refused."""
    assert car.post("/edev/1/frq", _asking(utility, "B", start=-9 * HOUR)).status == 400
    assert car.post("/edev/1/frq", _asking(utility, "B", status=7)).status == 400
    assert car.put("/edev/1/frq/1", _asking(utility, "B")).status == 400
    assert car.put("/edev/1/frq/9", _asking(utility, "B")).status == 404
    assert [car.post("/edev/1/frq", _asking(utility, name)).status for name in "BCD"] == [201, 201, 403]


def test_reservations_are_the_devices_own(utility, car):
    """Nobody reads, makes or changes another's; answers are taken from the one who was granted."""
    other = utility.enrol(2)
    made = _grant(utility)
    assert other.get("/edev/1/frq").status == other.get("/edev/1/frp/1").status == 404
    assert other.post("/edev/1/frq", _asking(utility)).status == 403
    assert other.put("/edev/1/frq/1", _asking(utility, status=1)).status == 403
    for client, status in ((car, 201), (other, 400)):
        said = FlowReservationResponseResponse(end_device_lfdi=client.lfdi, status=1, subject=made.mrid)
        assert client.post("/rsps/3/rsp", said).status == status


def test_without_reservations_there_is_no_link(make):
    """Where the policy takes none, devices are not shown where to ask."""
    client = make().enrol(1)
    assert client.get("/edev/1", EndDevice).flow_reservation_request_list_link is None
