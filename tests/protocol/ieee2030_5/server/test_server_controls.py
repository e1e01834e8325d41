"""Programs and controls: what devices find, and how time, newer controls and operators change it."""

import asyncio
from dataclasses import fields, replace

import numpy as np
import pytest

from gridflock.field.ieee2030_5.device import Client, Identity, Reply
from gridflock.field.ieee2030_5.events import MODES
from gridflock.field.ieee2030_5.identity import sfdi_of
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    CurveData,
    DefaultDERControl,
    DERCapability,
    DERControl,
    DERControlBase,
    DERControlList,
    DERCurve,
    DERCurveList,
    DERCurveType,
    DERProgramList,
    DERSettings,
    DERStatus,
    EventState,
    FixedVar,
    FreqDroopType,
    FunctionSetAssignmentsList,
    Link,
    PowerFactorWithExcitation,
    Profile,
    ReactivePower,
)
from gridflock.field.ieee2030_5.server import Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._effective import effective
from gridflock.field.ieee2030_5.server._programs import (
    make_curve,
    make_program,
    remove_program,
    set_default,
    set_primacy,
)
from gridflock.model import Rejected

BY = By("operator", "a test")
HALF, NONE, ALL = (DERControlBase(op_mod_max_lim_w=percent) for percent in (5_000, 0, 10_000))
CURVE = DERCurve(
    mrid="00",
    creation_time=0,
    curve_type=DERCurveType.VOLT_VAR,
    x_multiplier=0,
    y_multiplier=0,
    y_ref_type=3,
    curve_data=(CurveData(xvalue=90, yvalue=44), CurveData(xvalue=110, yvalue=-44)),
)


def _program(utility, name="feeder", primacy=5):
    return utility.act(make_program, name, primacy, BY)


def _follow(utility, client, *programs):
    held = (Assignment("grid", tuple(each.number for each in programs)),)
    assert utility.act(assign, {client.lfdi: held}, BY) == ()


def _order(utility, program, base=HALF, start=0, duration=600, **more):
    """A control that starts ``start`` seconds from now."""
    wanted = Wanted(base, utility.now_s + start, duration, **more)
    return utility.act(make_control, program.number, wanted, BY)


def _listed(client, program, which="derc", **query):
    return client.get(f"{program.path}/{which}", DERControlList, **{"l": 100, **query}).der_control


def _states(client, program):
    return [
        (each.mrid, EventState(each.event_status.current_status).name) for each in _listed(client, program)
    ]


@pytest.fixture
def street(utility):
    """A device that follows one program."""
    client, program = utility.enrol(1), _program(utility)
    _follow(utility, client, program)
    return utility, client, program


def test_a_control_is_found_by_links_and_wants_responses(street):
    """From the device over its assignment and program to the control; ``replyTo`` and 03 stand in it."""
    utility, client, program = street
    made = _order(utility, program)
    (held,) = client.get("/edev/1/fsa", FunctionSetAssignmentsList, l=9).function_set_assignments
    (found,) = client.get(held.der_program_list_link.href, DERProgramList, l=9).der_program
    assert (found.mrid, found.primacy) == (program.mrid, 5)
    (control,) = client.get(found.der_control_list_link.href, DERControlList, l=9).der_control
    assert control == made == client.get(control.href, DERControl)
    assert (control.reply_to, control.response_required) == ("/rsps/1/rsp", 3)
    assert control.mrid.endswith(f"{utility.server.policy.pen:08X}")


def test_statuses_change_on_time_without_a_request(street):
    """Scheduled, active from its start, gone at its end; one whose start has passed is active at once."""
    utility, client, program = street
    later = _order(utility, program, start=100, duration=200)
    begun = _order(utility, program, start=-50, duration=100, base=DERControlBase(op_mod_connect=True))
    assert begun.event_status.current_status == EventState.ACTIVE
    assert _states(client, program) == [(begun.mrid, "ACTIVE"), (later.mrid, "SCHEDULED")]
    assert [each.mrid for each in _listed(client, program, "actderc")] == [begun.mrid]
    utility.wait(99)
    assert _states(client, program) == [(later.mrid, "SCHEDULED")]
    utility.wait(1)
    assert _states(client, program) == [(later.mrid, "ACTIVE")]
    assert _listed(client, program)[0].event_status.date_time == utility.now_s
    utility.wait(200)
    assert _states(client, program) == []
    assert client.get(later.href).status == 404


def test_an_answer_never_shows_the_status_of_a_moment_that_has_passed(street):
    """Even if the server has slept over the transition, whoever asks sees where the control stands now."""
    utility, client, program = street
    made = _order(utility, program, start=100, duration=200)
    utility.now_s += 150
    (seen,) = _listed(client, program)
    assert seen.event_status.current_status == EventState.ACTIVE
    assert seen.event_status.date_time == made.interval.start


def test_an_early_random_start_is_active_at_the_earliest_start(street):
    """A start that devices may move ten minutes ahead: active ten minutes ahead, listed to the last end."""
    utility, client, program = street
    _order(utility, program, start=1_000, duration=100, randomize_start=-600, randomize_duration=300)
    utility.wait(399)
    assert _states(client, program)[0][1] == "SCHEDULED"
    utility.wait(1)
    assert _states(client, program)[0][1] == "ACTIVE"
    utility.wait(999)
    assert len(_states(client, program)) == 1
    utility.wait(1)
    assert _states(client, program) == []


def test_a_newer_control_of_the_same_modes_supersedes_at_its_earliest_start(street):
    """Until then the older one is potentially superseded, with the moment; then it is, and stays listed."""
    utility, client, program = street
    old = _order(utility, program, duration=1_000)
    new = _order(utility, program, base=NONE, start=500, duration=100, randomize_start=-100)
    status = next(each for each in _listed(client, program) if each.mrid == old.mrid).event_status
    assert (status.potentially_superseded, status.potentially_superseded_time) == (True, utility.now_s + 400)
    utility.wait(400)
    assert _states(client, program) == [(old.mrid, "SUPERSEDED"), (new.mrid, "ACTIVE")]
    assert _listed(client, program)[0].event_status.date_time == utility.now_s
    utility.wait(300)
    assert _states(client, program) == [(old.mrid, "SUPERSEDED")]


def test_a_partial_overlap_only_marks(street):
    """Of two modes one is taken by the newer control: potentially superseded, and active all the same."""
    utility, client, program = street
    both = DERControlBase(op_mod_max_lim_w=5_000, op_mod_connect=True)
    old = _order(utility, program, base=both, duration=1_000)
    _order(utility, program, base=NONE, start=100, duration=100)
    utility.wait(150)
    status = next(each for each in _listed(client, program) if each.mrid == old.mrid).event_status
    assert (status.current_status, status.potentially_superseded) == (EventState.ACTIVE, True)


def test_a_cancelled_control_stays_listed_to_its_end(street):
    """Status 2, or 3 with randomisation; what a cancelled one was to replace goes on unmarked."""
    utility, client, program = street
    old = _order(utility, program, duration=1_000)
    new = _order(utility, program, base=NONE, start=500, duration=100)
    utility.wait(10)
    assert utility.act(cancel, new.mrid, BY).event_status.current_status == EventState.CANCELLED
    status = next(each for each in _listed(client, program) if each.mrid == old.mrid).event_status
    assert (status.current_status, status.potentially_superseded) == (EventState.ACTIVE, False)
    utility.act(cancel, old.mrid, BY, randomise=True)
    assert dict(_states(client, program)) == {old.mrid: "CANCELLED_RANDOMISED", new.mrid: "CANCELLED"}
    utility.wait(980)
    assert _states(client, program) == [(old.mrid, "CANCELLED_RANDOMISED")]
    assert isinstance(utility.act(cancel, old.mrid, BY), Rejected)


def test_every_mode_is_served_in_every_profile(make):
    """All modes of the base, one control each, and all at once; each profile sees those it has."""
    utility = make()
    program = _program(utility)
    curve = utility.act(make_curve, program.number, CURVE, BY)
    power = ActivePower(multiplier=1, value=4_000)
    factor = PowerFactorWithExcitation(displacement=95, excitation=True, multiplier=-2)
    values = {
        "op_mod_connect": True, "op_mod_energize": False, "op_mod_fixed_w": -2_500, "op_mod_max_lim_w": 5_000,
        "op_mod_fixed_pf_absorb_w": factor, "op_mod_fixed_pf_inject_w": factor,
        "op_mod_fixed_var": FixedVar(ref_type=1, value=3_000), "op_mod_target_w": power,
        "op_mod_target_var": ReactivePower(multiplier=0, value=-900), "op_mod_imp_lim_w": power,
        "op_mod_exp_lim_w": power, "op_mod_gen_lim_w": power, "op_mod_load_lim_w": power,
        "op_mod_storage_target_w": power,
        "op_mod_freq_droop": FreqDroopType(dbof=30, dbuf=30, kof=40, kuf=40, open_loop_tms=500),
    }  # fmt: skip
    values |= dict.fromkeys(set(MODES) - values.keys(), Link(href=curve.href))
    assert set(values) == {each.name for each in fields(DERControlBase)} - {"ramp_tms"}
    for mode, value in values.items():
        made = _order(utility, program, base=DERControlBase(**{mode: value}))
        assert isinstance(made, DERControl), made
    _order(utility, program, base=DERControlBase(**values, ramp_tms=6_000))
    for number, profile in enumerate(Profile):
        client = utility.enrol(number + 1, profile)
        _follow(utility, client, program)
        whole = next(
            each.der_control_base
            for each in _listed(client, program)
            if each.der_control_base.ramp_tms is not None
        )
        seen = {mode for mode in MODES if getattr(whole, mode) is not None}
        assert len(seen) == (25, 29, 30)[number]
        assert all(getattr(whole, mode) == values[mode] for mode in seen)


def test_defaults_are_set_changed_and_withdrawn(street):
    """Limits, gradient and entering service; a change shows at once, a withdrawn one is not there."""
    utility, client, program = street
    wanted = DefaultDERControl(mrid="00", der_control_base=HALF, set_grad_w=27, set_es_delay=30_000)
    utility.act(set_default, program.number, wanted, BY)
    (shown,) = client.get("/edev/1/fsa/1/derp", DERProgramList, l=9).der_program
    found = client.get(shown.default_der_control_link.href, DefaultDERControl)
    assert (found.der_control_base, found.set_grad_w, found.set_es_delay) == (HALF, 27, 30_000)
    utility.act(set_default, program.number, replace(wanted, der_control_base=NONE), BY)
    assert client.get(shown.default_der_control_link.href, DefaultDERControl).der_control_base == NONE
    utility.act(set_default, program.number, None, BY)
    assert client.get(f"{program.path}/dderc").status == 404
    (shown,) = client.get("/edev/1/fsa/1/derp", DERProgramList, l=9).der_program
    assert shown.default_der_control_link is None


def test_the_one_that_wins_stands_first(street):
    """Programs by primacy; a new primacy changes the order of every list they stand in."""
    utility, client, first = street
    other = _program(utility, "transformer", 2)
    _follow(utility, client, first, other)
    order = [each.primacy for each in client.get("/edev/1/fsa/1/derp", DERProgramList, l=9).der_program]
    assert order == [2, 5]
    utility.act(set_primacy, first.number, 1, BY)
    order = [each.mrid for each in client.get("/edev/1/fsa/1/derp", DERProgramList, l=9).der_program]
    assert order == [first.mrid, other.mrid]


def test_who_does_not_follow_a_program_does_not_see_it(street):
    """Nor its controls, default or curves: 404 to read, 403 to write, and 405 to write one's own."""
    utility, client, program = street
    made = _order(utility, program)
    stranger = utility.enrol(2)
    for path in (
        program.path,
        f"{program.path}/derc",
        made.href,
        f"{program.path}/dderc",
        f"{program.path}/dc",
    ):
        assert stranger.get(path).status == 404
        assert stranger.put(path, made).status == 403
        assert client.put(path, made).status == 405
    _follow(utility, client)
    assert client.get(made.href).status == 404


def test_what_cannot_be_is_refused_by_name(street):
    """No modes, a foreign curve, no end, no start in reach, over already, a name twice, a wild primacy."""
    utility, client, program = street
    other = _program(utility, "other")
    curve = utility.act(make_curve, other.number, CURVE, BY)
    assert len(client.get(f"{program.path}/dc", DERCurveList, l=9).der_curve) == 0

    def refused(what, field):
        assert isinstance(what, Rejected), what
        assert what.field == field

    refused(_order(utility, program, base=DERControlBase(ramp_tms=5)), "modes")
    refused(
        _order(utility, program, base=DERControlBase(op_mod_volt_var=Link(href=curve.href))),
        "op_mod_volt_var",
    )
    refused(_order(utility, program, duration=0), "duration_s")
    refused(_order(utility, program, duration=8 * 86_400), "duration_s")
    refused(_order(utility, program, start=-600, duration=600), "start_s")
    refused(_order(utility, program, start=400 * 86_400), "start_s")
    refused(_order(utility, program, randomize_start=4_000), "randomize")
    refused(utility.act(make_program, "feeder", 3, BY), "name")
    refused(utility.act(make_program, "x", 256, BY), "primacy")
    refused(utility.act(remove_program, program.number, BY), "devices")
    assert _listed(client, program) == ()


def test_days_of_service_leave_nothing_behind(street):
    """72 hours of five-minute controls, every tenth cancelled: lists, journal's state and heap stay small."""
    utility, client, program = street
    sizes = []
    for k in range(72 * 12):
        made = _order(utility, program, start=300, duration=300)
        if k % 10 == 0:
            utility.act(cancel, made.mrid, BY)
        utility.wait(300)
        offered = utility.server.state.offered
        sizes.append((len(offered.controls[program.number]), len(offered.by_mrid), len(offered.due)))
        assert len(_listed(client, program)) <= 3
    assert max(sizes[100:]) <= max(sizes[:100])
    assert len(utility.server.state.offered.ended) <= 290


class _Straight:
    """A line to the server without a network; every answer's bytes are the server's own."""

    def __init__(self, speaker):
        self._speaker = speaker

    async def ask(self, method, path, body=b""):
        where, _, query = path.partition("?")
        told = dict(each.split("=") for each in query.split("&")) if query else {}
        answer = self._speaker.ask(method, where, body, **told)
        return Reply(answer.status, answer.body, answer.location, answer.retry_s)


class _Obeys:
    """A device that remembers what it was under."""

    def __init__(self):
        self.now = None

    def capability(self):
        return DERCapability(modes_supported=0, rtg_max_w=ActivePower(multiplier=0, value=5_000), type=4)

    def settings(self, now_s):
        most = ActivePower(multiplier=0, value=5_000)
        return DERSettings(set_grad_w=100, set_max_w=most, updated_time=now_s)

    def status(self, now_s):
        return DERStatus(reading_time=now_s)

    def availability(self, _now_s):
        return None

    def power(self, _now_s):
        return None

    def places(self):
        return []

    def readings(self, _now_s):
        return []

    def log(self, _now_s):
        return []

    def obey(self, standing, _now_s):
        self.now = standing
        return frozenset()

    def waits(self):
        return False


def test_who_is_lost_goes_on_with_what_was_cancelled_since(utility):
    """It has not heard of the cancellation: expected of it is the control to its end, until it is back."""
    program = _program(utility, "p", 5)
    client = utility.enrol(1)
    _follow(utility, client, program)
    control = _order(utility, program, base=HALF, duration=20_000)
    client.get("/edev")
    utility.wait(5_000)
    utility.act(cancel, control.mrid, BY)
    state = utility.server.state
    device = state.registry.of(client.lfdi)
    found = [effective(state, device, utility.now_s + s).base for s in (0, 14_999, 15_000)]
    assert [each.op_mod_max_lim_w for each in found] == [HALF.op_mod_max_lim_w] * 2 + [None]
    client.get("/edev")
    utility.wait(1)
    assert effective(state, device, utility.now_s).base.op_mod_max_lim_w is None


@pytest.mark.parametrize("seed", range(3))
def test_the_predicted_winner_is_what_a_client_finds(make, seed):
    """What the server says of each device at every poll is what the device's own client does.

    Three programs, random controls that come and are cancelled, random starts, two devices.
    """
    rng = np.random.default_rng(seed)
    utility = make(poll_s=60)
    programs = [_program(utility, f"p{k}", primacy) for k, primacy in enumerate((5, 2, 9))]
    utility.act(set_default, programs[0].number, DefaultDERControl(mrid="00", der_control_base=ALL), BY)
    speakers = [utility.enrol(k) for k in (1, 2)]
    plants = [_Obeys() for _ in speakers]
    clients = [
        Client(_Straight(speaker), Identity(speaker.lfdi, sfdi_of(speaker.lfdi)), plant=plant)
        for speaker, plant in zip(speakers, plants, strict=True)
    ]
    for speaker in speakers:
        _follow(utility, speaker, *programs)
    made, differ = [], 0
    bases = (
        HALF,
        NONE,
        DERControlBase(op_mod_connect=False),
        DERControlBase(op_mod_max_lim_w=1, op_mod_connect=True),
    )
    for _ in range(150):
        if rng.random() < 0.4:
            control = _order(
                utility, programs[rng.integers(3)], base=bases[rng.integers(4)],
                start=int(rng.integers(-60, 900)), duration=int(rng.integers(61, 1_200)),
                randomize_start=int(rng.integers(-120, 120)),
            )  # fmt: skip
            made.append(control)
        if made and rng.random() < 0.1:
            utility.act(cancel, made[rng.integers(len(made))].mrid, BY)
        utility.wait(60)
        for speaker, client, plant in zip(speakers, clients, plants, strict=True):
            client.stale()
            asyncio.run(client.visit(utility.now_s))
            device = utility.server.state.registry.of(speaker.lfdi)
            expected = effective(utility.server.state, device, utility.now_s)
            assert plant.now.base == expected.base
            assert {m: c and c.mrid for m, c in plant.now.by_mode.items()} == {
                m: c and c.mrid for m, c in expected.by_mode.items()
            }
        differ += plants[0].now.base != plants[1].now.base
    assert differ, "random starts differ between devices now and then"
