"""Laws of IEEE 2030.5 events: who wins, when it begins and ends, and what is left when it is over."""

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.ieee2030_5.events import (
    Offer,
    earliest_start_s,
    gives_way,
    latest_end_s,
    modes,
    span_of,
    standing,
)
from gridflock.field.ieee2030_5.events._standing import span_among
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DefaultDERControl,
    DERControl,
    DERControlBase,
    EventState,
    EventStatus,
)

T0 = 1_750_000_000
LFDI = "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5"
VALUES = {"op_mod_max_lim_w": st.integers(0, 10_000), "op_mod_fixed_w": st.integers(-10_000, 10_000),
          "op_mod_connect": st.booleans(), "op_mod_energize": st.booleans()}  # fmt: skip
BASES = st.fixed_dictionaries({}, optional=VALUES).filter(bool).map(lambda told: DERControlBase(**told))
HOUR = st.integers(-3_600, 3_600) | st.none()
CALM = EventStatus(current_status=EventState.ACTIVE, date_time=T0, potentially_superseded=False)


@st.composite
def controls(draw, random=HOUR):
    """One control within some hours of ``T0``."""
    status = draw(st.sampled_from([EventState.SCHEDULED, EventState.ACTIVE] * 3 + list(EventState)))
    at = EventStatus(
        current_status=status, date_time=T0 + draw(st.integers(-3_600, 7_200)), potentially_superseded=False
    )
    return DERControl(
        mrid=f"{draw(st.integers(0, 2**40)):032X}",
        creation_time=T0 - draw(st.integers(0, 5)),
        event_status=at,
        interval=DateTimeInterval(
            start=T0 + draw(st.integers(-7_200, 7_200)), duration=draw(st.integers(0, 7_200))
        ),
        der_control_base=draw(BASES),
        randomize_start=draw(random),
        randomize_duration=draw(random),
        device_category=draw(st.none() | st.integers(1, 3)),
    )


DEFAULTS = st.none() | BASES.map(lambda base: DefaultDERControl(mrid="0A", der_control_base=base))
OFFERS = st.lists(
    st.builds(
        Offer,
        primacy=st.integers(0, 3),
        program=st.integers(0, 9).map(str),
        controls=st.lists(controls(), max_size=4, unique_by=lambda control: control.mrid),
        default=DEFAULTS,
    ),
    max_size=4,
    unique_by=lambda offer: offer.program,
)


@given(controls(), st.text("0123456789ABCDEF", min_size=40, max_size=40))
def test_chance_stays_within_what_the_event_states_and_never_changes(control, lfdi):
    """No device begins before the earliest start or holds past the latest end; drawn again it is the same."""
    span = span_of(control, lfdi)
    assert earliest_start_s(control) <= span.start_s <= span.end_s
    assert span.end_s <= max(latest_end_s(control), span.start_s)
    assert span_of(replace(control), lfdi) == span


@given(controls(), st.text("0123456789ABCDEF", min_size=40, max_size=40))
def test_what_is_cancelled_before_its_start_is_never_begun(control, lfdi):
    """Whether by chance or at once: a device whose start has not come leaves it alone."""
    start_s = span_of(replace(control, event_status=CALM), lfdi).start_s
    for state in (EventState.CANCELLED, EventState.CANCELLED_RANDOMISED):
        over = replace(CALM, current_status=state, date_time=start_s)
        assert span_of(replace(control, event_status=over), lfdi).end_s == start_s


@given(OFFERS, st.integers(-8_000, 16_000))
def test_each_mode_is_given_by_the_lowest_primacy_that_speaks_of_it(offers, after_s):
    """By exhaustive search: the control of least primacy that holds, newest first; else defaults alike."""
    now_s = T0 + after_s
    found = standing(offers, now_s, LFDI, categories=1)
    for mode in DERControlBase.__slots__:
        if mode == "ramp_tms":
            continue
        told = [
            (-offer.primacy, *_reversed(offer.program), control.creation_time, control.mrid, control)
            for offer in offers
            for control in offer.controls
            if span_among(control, offer.controls, LFDI).holds(now_s)
            and mode in modes(control.der_control_base)
            and (control.device_category is None or control.device_category & 1)
        ]
        if told:
            winner = max(told, key=lambda row: row[:-1])[-1]
            assert found.by_mode[mode] is winner
            assert getattr(found.base, mode) == getattr(winner.der_control_base, mode)
            continue
        defaults = [
            getattr(offer.default.der_control_base, mode)
            for offer in sorted(offers, key=lambda offer: (offer.primacy, offer.program))
            if offer.default is not None and mode in modes(offer.default.der_control_base)
        ]
        assert getattr(found.base, mode) == (defaults[0] if defaults else None)
        assert found.by_mode.get(mode) is None


def _reversed(program):
    return (-int(program),)


@given(OFFERS, st.integers(-8_000, 16_000), st.data())
def test_nothing_changes_before_the_moment_that_is_named(offers, after_s, data):
    """Between now and ``until_s`` a device has nothing to do; where none is named, never again."""
    now_s = T0 + after_s
    found = standing(offers, now_s, LFDI)
    last_s = found.until_s - 1 if found.until_s is not None else now_s + 100_000
    assert last_s >= now_s
    later = standing(offers, data.draw(st.integers(now_s, last_s)), LFDI)
    assert (later.base, later.by_mode, later.overtaken) == (found.base, found.by_mode, found.overtaken)


@settings(max_examples=50)
@given(st.lists(controls(st.none()), min_size=2, max_size=5, unique_by=lambda control: control.mrid))
def test_of_two_alike_that_overlap_exactly_one_gives_way(many):
    """Of two of one program with the same modes that may meet, the newer stays, the older is replaced."""
    for one in many:
        for other in many:
            if one is other:
                continue
            pair = [replace(each, event_status=CALM, device_category=None) for each in (one, other)]
            first, second = (gives_way(each, pair) for each in pair)
            same = modes(one.der_control_base) == modes(other.der_control_base)
            meets = earliest_start_s(one) < latest_end_s(other) and earliest_start_s(other) < latest_end_s(
                one
            )
            assert [first.superseded_s, second.superseded_s].count(None) == (1 if same and meets else 2)
            older = first if one.creation_time < other.creation_time else second
            if same and meets and one.creation_time != other.creation_time:
                assert older.superseded_s is not None


def _pair(chance_s, newer_status):
    """An hour at 1, and from 200 s an hour at 2 that devices begin by chance: the older is superseded."""
    older = DERControl(
        mrid="0A", creation_time=T0, interval=DateTimeInterval(start=T0, duration=3_600),
        event_status=replace(CALM, current_status=EventState.SUPERSEDED, date_time=T0 + 200),
        der_control_base=DERControlBase(op_mod_fixed_w=1),
    )  # fmt: skip
    newer = replace(
        older, mrid="0B", creation_time=T0 + 100, interval=DateTimeInterval(start=T0 + 200, duration=3_600),
        event_status=newer_status, der_control_base=DERControlBase(op_mod_fixed_w=2),
        randomize_start=chance_s,
    )  # fmt: skip
    return [older, newer]


@given(st.integers(0, 3_600), st.text("0123456789ABCDEF", min_size=40, max_size=40))
def test_no_device_is_under_nothing_between_a_control_and_what_replaces_it(chance_s, lfdi):
    """The older holds until the device's own start of the newer one, and never beside or after it."""
    pair = _pair(chance_s, CALM)
    begins_s = span_of(pair[1], lfdi).start_s
    for now_s in sorted({T0, T0 + 200, begins_s - 1, begins_s, begins_s + 1_800}):
        found = standing([Offer(5, "A", pair)], now_s, lfdi)
        expected = 2 if now_s >= begins_s else 1 if now_s < T0 + 3_600 else None
        assert found.base.op_mod_fixed_w == expected


def test_a_replacement_that_is_cancelled_before_it_begins_ends_both():
    """Cancelled at 300 s: who had not begun it is under the older one until then, and under nothing after."""
    pair = _pair(3_600, replace(CALM, current_status=EventState.CANCELLED, date_time=T0 + 300))
    late = next(
        lfdi for lfdi in map("{:040X}".format, range(99)) if span_of(pair[1], lfdi).start_s > T0 + 300
    )
    found = [
        standing([Offer(5, "A", pair)], T0 + s, late).base.op_mod_fixed_w for s in (250, 299, 300, 5_000)
    ]
    assert found == [1, 1, None, None]


def test_what_a_weightier_event_overtook_goes_on_when_it_is_over():
    """An hour at 50 %, inside it ten minutes at 0 % from a weightier program: 50, 0, 50, then the default."""

    def limit(mrid, start_s, duration_s, percent):
        return DERControl(
            mrid=mrid,
            creation_time=T0,
            event_status=CALM,
            interval=DateTimeInterval(start=start_s, duration=duration_s),
            der_control_base=DERControlBase(op_mod_max_lim_w=percent),
        )

    default = DefaultDERControl(mrid="0D", der_control_base=DERControlBase(op_mod_max_lim_w=10_000))
    offers = [
        Offer(5, "A", [limit("0A", T0, 3_600, 5_000)], default),
        Offer(2, "B", [limit("0B", T0 + 600, 600, 0)]),
    ]
    seen = [standing(offers, T0 + s, LFDI) for s in (0, 600, 1_199, 1_200, 3_599, 3_600)]
    assert [each.base.op_mod_max_lim_w for each in seen] == [5_000, 0, 0, 5_000, 5_000, 10_000]
    assert [sorted(each.overtaken) for each in seen] == [[], ["0A"], ["0A"], [], [], []]
    assert [each.until_s and each.until_s - T0 for each in seen] == [600, 1_200, 1_200, 3_600, 3_600, None]
