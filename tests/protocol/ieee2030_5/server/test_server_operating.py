"""What operators do with devices: PINs, who is kept out, whose programs are whose, what is noted."""

import importlib

import pytest

from gridflock.field.ieee2030_5.resources import EndDevice, FunctionSetAssignmentsList, Registration
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._devices import (
    Enrolment,
    deny,
    load,
    set_access,
    set_pin,
    set_resource,
)
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.server._rates import set_poll_rate, set_post_rate
from gridflock.model import Rejected

BY = By("operator", "a test")


def _device(utility, speaker):
    return utility.server.state.registry.of(speaker.lfdi)


def test_another_pin_shows_at_once_and_approves_nobody(make):
    """Who waits goes on waiting with its new PIN; one that is no PIN is refused by name."""
    utility = make(in_band_devices=True)
    client = utility.stranger(1)
    place = client.post("/edev", client.end_device()).location
    assert client.get(f"{place}/rg", Registration).pin == 111_115
    assert utility.act(set_pin, client.lfdi, 123_455, BY) is None
    assert client.get(f"{place}/rg", Registration).pin == 123_455
    assert _device(utility, client).access is Access.PENDING
    wrong = utility.act(set_pin, client.lfdi, 123_456, BY)
    assert isinstance(wrong, Rejected)
    assert wrong.field == "pin"
    assert utility.act(set_pin, "0" * 40, 123_455, BY).field == "lfdi"


def test_who_is_denied_is_remembered(utility):
    """Registered or not, once or twice, until it is readmitted; what is no identifier is refused."""
    client, stranger = utility.enrol(1), utility.stranger(2)
    for lfdi in (client.lfdi, stranger.lfdi, client.lfdi):
        assert utility.act(deny, lfdi, BY) is None
    assert set(utility.server.state.registry.denied) == {client.lfdi, stranger.lfdi}
    assert utility.relived().registry.denied == utility.server.state.registry.denied
    utility.act(deny, client.lfdi, BY, denied=False)
    assert set(utility.server.state.registry.denied) == {stranger.lfdi}
    assert utility.act(deny, "no LFDI", BY).field == "lfdi"


def test_programs_of_a_resource_go_with_it(utility):
    """A device that is another resource from now on, or none, follows nothing of what it was."""
    client = utility.enrol(1, resource="bat-1")
    program = utility.act(make_program, "resource bat-1", 10, BY)
    utility.act(assign, {client.lfdi: (Assignment("grid", (program.number,)),)}, BY)
    assert client.get("/edev/1/fsa", FunctionSetAssignmentsList).all == 1
    assert utility.act(set_resource, client.lfdi, "bat-2", BY) is None
    assert client.get("/edev/1/fsa", FunctionSetAssignmentsList).all == 0
    assert client.get("/edev/1", EndDevice).function_set_assignments_list_link.all == 0
    assert client.get(f"{program.path}/derc").status == 404


def test_what_is_done_is_noted_before_it_is_done(utility):
    """The note comes once and first; what it raises leaves all as it was; nothing done, nothing noted."""
    client, seen = utility.enrol(1), []

    def noted(turn, note):
        turn.note = note
        return set_access(turn, client.lfdi, Access.SUSPENDED, BY)

    def full():
        seen.append(_device(utility, client).access)
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        utility.act(noted, full)
    assert seen == [Access.ENABLED]
    assert _device(utility, client).access is Access.ENABLED
    utility.act(noted, lambda: seen.append("noted"))
    utility.act(noted, lambda: seen.append("again"))
    assert seen == [Access.ENABLED, "noted"]
    assert utility.act(set_post_rate, 0, BY).field == "seconds"


def test_a_site_is_asked_for_by_its_aggregator_alone(utility):
    """A poll rate of a site would hold for nobody: it is refused by the aggregator's name."""
    aggregator, site = utility.enrol(1, aggregator=True), utility.stranger(2)
    aggregator.post("/edev", aggregator.end_device(site.lfdi))
    wrong = utility.act(set_poll_rate, "DERProgramList", 60, BY, site.lfdi)
    assert (wrong.field, wrong.reason.endswith(aggregator.lfdi)) == ("poll_s", True)
    assert utility.act(set_poll_rate, "DERProgramList", 60, BY, aggregator.lfdi) is None
    assert utility.act(set_post_rate, 60, BY, site.lfdi) is None


def test_who_may_speak_is_judged_with_its_client(utility):
    """A device and a site speak while they and their client are enabled, and neither is denied."""
    aggregator, direct = utility.enrol(1, aggregator=True), utility.enrol(2)
    site = utility.act(load, Enrolment(utility.stranger(3).lfdi, owner=aggregator.lfdi), BY)

    def speak():
        registry = utility.server.state.registry
        return [registry.speaks(registry.of(each)) for each in (aggregator.lfdi, site.lfdi, direct.lfdi)]

    assert speak() == [True, True, True]
    utility.act(set_access, aggregator.lfdi, Access.SUSPENDED, BY)
    assert speak() == [False, False, True]
    utility.act(set_access, aggregator.lfdi, Access.ENABLED, BY)
    for lfdi, seen in (
        (aggregator.lfdi, [False, False, True]),
        (site.lfdi, [True, False, True]),
        (direct.lfdi, [True, True, False]),
    ):
        utility.act(deny, lfdi, BY)
        assert speak() == seen
        utility.act(deny, lfdi, BY, denied=False)
    utility.act(set_access, aggregator.lfdi, Access.REMOVED, BY)
    assert speak() == [False, False, True]


def test_who_reads_its_pin_again_and_again_has_stopped_when_it_first_did(utility):
    """The moment that counts is the first reading after the last step further."""
    client = utility.enrol(1, pin=111_115)
    client.get("/edev/1/rg")
    first_s = utility.now_s
    for _ in range(3):
        utility.wait(100)
        client.get("/edev/1/rg")
    contacts, state = utility.server.contacts, utility.server.state
    assert contacts.stopped_s(state, 1) == first_s
    client.get("/edev/1/fsa")
    assert contacts.stopped_s(state, 1) is None
    utility.wait(100)
    client.get("/edev/1/rg")
    assert contacts.stopped_s(state, 1) == utility.now_s


def test_a_registry_keeps_the_pins_that_devices_have(utility, tmp_path):
    """At a start the common PIN is for who has none; a file's rows go before; a stranger in it is named."""
    served = importlib.import_module("gridflock.runtime.devices._served")
    first, second, third = (utility.stranger(k).lfdi for k in (1, 2, 3))
    how = served.Serve(0, tmp_path, pin=111_115, pins={second: 123_455})
    assert utility.act(served._enrol, {"a": first, "b": second}, how) == []
    pins = {name: utility.server.state.registry.of(lfdi).pin for name, lfdi in (("a", first), ("b", second))}
    assert pins == {"a": 111_115, "b": 123_455}
    utility.act(set_pin, first, 222_220, BY)
    utility.act(set_pin, second, 111_115, BY)
    later = served.Serve(0, tmp_path, pin=123_455, pins={third: 123_455})
    told = utility.act(served._enrol, {"a": first, "b": second}, later)
    assert {(fault.field, fault.ids[-1]) for fault in told} == {("lfdi", third)}
    assert [utility.server.state.registry.of(lfdi).pin for lfdi in (first, second)] == [222_220, 111_115]


def test_a_start_undoes_nothing_that_operators_did(utility, tmp_path):
    """A PIN and a resource given since stay and are told; what is changed is told one by one."""
    served = importlib.import_module("gridflock.runtime.devices._served")
    first, second = (utility.stranger(k).lfdi for k in (1, 2))
    how = served.Serve(0, tmp_path, pin=111_115, pins={second: 123_455})
    registry = utility.server.state.registry
    utility.act(served._enrol, {"a": first, "b": second}, how)
    utility.act(set_pin, second, 222_220, BY)
    utility.act(set_resource, first, "c", BY)
    before = dict(registry.devices)
    told = utility.act(served._enrol, {"a": first, "b": second}, how)
    assert {(fault.field, fault.ids[-1]) for fault in told} == {("pin", second), ("resource", first)}
    assert registry.devices == before
    assert served._said(before, registry.devices, 7) == []
    mended = served.Serve(0, tmp_path, pin=111_115, pins={first: 123_455})
    assert utility.act(served._enrol, {"c": first, "b": second, "d": utility.stranger(3).lfdi}, mended) == []
    words = [entry.head["text"] for entry in served._said(before, registry.devices, 7)]
    assert words == [f"{first}: another PIN, of the file", "enrolled from the registry: 1"]
