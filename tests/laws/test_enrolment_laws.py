"""Laws of enrolment: legal moves only, programme rules, replacement, and no room without enrolment."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet import Fleet, capability
from gridflock.fleet.registry import Versions, read_registry
from gridflock.fleet.registry.enrolment import LEGAL, Act, Lives, ProgramRules, move, replace, unite
from gridflock.model import BoundSource, Readings
from gridflock.schema import QUANTITY, Enrolment, Kind

NOW_S = 1_760_000_000
ACT = Act(NOW_S, "mona", "because")
STATES = list(Enrolment)
seeds = st.integers(0, 2**32 - 1)


def row(name, state=Enrolment.ENROLLED, kind="battery_home", **more):
    """One battery as a registry row."""
    return {
        "id": name,
        "kind": kind,
        "bus": "b1",
        "phases": "a",
        "p_max_kw": 5,
        "p_min_kw": -5,
        "s_max_kva": 6,
        "e_max_kwh": 10,
        "enrolment": state.name.lower(),
        **more,
    }


def registry_of(*rows):
    """A registry of rows without a fault."""
    registry, rejected = read_registry(rows, None)
    assert rejected == ()
    return registry


def state_of(registry, name):
    """The state one resource is in."""
    return Enrolment(int(registry.columns["enrolment"][registry.ids.index(name)]))


def of(registry, column, name):
    """One resource's value of a column, text as text."""
    value = registry.columns[column][registry.ids.index(name)]
    return registry.labels[column][value] if column in registry.labels else value


@given(
    st.lists(st.sampled_from(STATES), min_size=1, max_size=30), st.lists(st.sampled_from(STATES), max_size=8)
)
def test_only_legal_moves_happen(states, targets):
    """Whatever is asked, every event is a legal move from where one was; the rest is refused."""
    registry = registry_of(*(row(f"r{k}", state) for k, state in enumerate(states)))
    lives, first = Lives(), registry
    for to in targets:
        before = registry.columns["enrolment"].copy()
        done = move(registry, registry.ids, to, ACT)
        legal = np.array([to in LEGAL[Enrolment(code)] for code in before])
        np.testing.assert_array_equal(done.registry.columns["enrolment"], np.where(legal, to, before))
        assert len(done.moves.ids) == legal.sum()
        assert sum(fault.count for fault in done.rejected) == (~legal & (before != to)).sum()
        assert move(done.registry, registry.ids, to, ACT).registry is done.registry
        registry, lives = done.registry, lives.after([done.moves])
    for name in registry.ids:
        here = state_of(first, name)
        for _, source, target in lives.of(name):
            assert source == here
            assert target in LEGAL[source]
            here = target
        assert here == state_of(registry, name)


def test_nobody_comes_back_from_retirement():
    """Every state but retired leads to retirement, and nothing leads out of it."""
    assert all(Enrolment.RETIRED in LEGAL[state] for state in STATES if state != Enrolment.RETIRED)
    assert LEGAL[Enrolment.RETIRED] == ()


def test_an_illegal_move_names_itself_and_the_legal_ones():
    """The refusal says which move, who, and where one may go instead; strangers are named, too."""
    registry = registry_of(row("a", Enrolment.APPLIED), row("z", Enrolment.RETIRED))
    done = move(registry, ["a", "z", "nobody"], Enrolment.ENROLLED, ACT)
    assert [(fault.field, fault.ids, fault.reason) for fault in done.rejected] == [
        ("id", ("nobody",), "unknown resource"),
        (
            "enrolment",
            ("a",),
            "applied -> enrolled is no legal move; legal are applied -> approved, applied -> retired",
        ),
        ("enrolment", ("z",), "retired -> enrolled is no legal move; nothing leads out of retired"),
    ]
    assert done.registry is registry


def test_a_programme_takes_whom_its_rules_allow():
    """Kind and size are judged from approval on, identities from commissioning on."""
    rules = [ProgramRules("plus", frozenset({Kind.BATTERY_HOME}), 4.0, 8.0, ("lfdi", "serial"))]
    registry = registry_of(
        row("good", Enrolment.APPLIED, program="plus", lfdi="A" * 40, serial="1"),
        row("nameless", Enrolment.APPLIED, program="plus", serial="2"),
        row("small", Enrolment.APPLIED, program="plus", p_max_kw=3, p_min_kw=-3),
        row("large", Enrolment.APPLIED, program="plus", p_min_kw=-9),
        row("sun", Enrolment.APPLIED, kind="pv_rooftop", program="plus", p_min_kw=0),
        row("other", Enrolment.APPLIED, kind="wind", program="open", p_min_kw=0),
    )
    ids = registry.ids
    done = move(registry, ids, Enrolment.APPROVED, ACT, rules)
    assert {(fault.field, fault.ids) for fault in done.rejected} == {
        ("kind", ("sun",)),
        ("p_max_kw", ("small",)),
        ("p_max_kw", ("large",)),
    }
    assert {*done.moves.ids} == {"good", "nameless", "other"}
    done = move(done.registry, done.moves.ids, Enrolment.COMMISSIONED, ACT, rules)
    assert [(fault.field, fault.ids, fault.reason) for fault in done.rejected] == [
        ("lfdi", ("nameless",), "programme 'plus' needs the lfdi")
    ]
    assert move(registry, ["sun"], Enrolment.RETIRED, ACT, rules).rejected == ()


@given(st.sampled_from(STATES), st.sampled_from(STATES))
def test_a_new_device_takes_over(old, new):
    """Place, contract and state pass to a commissioned device; the old one retires; else nothing changes."""
    registry = registry_of(
        row("old", old, bus="b7", phases="c", transformer="t7", program="plus", provider="acme", lat_deg=45),
        row("new", new, bus="depot", phases="a", e_max_kwh=13, serial="77"),
        row("else"),
    )
    done = replace(registry, {"old": "new"}, ACT)
    if old == Enrolment.RETIRED or new != Enrolment.COMMISSIONED:
        assert done.registry is registry
        assert done.links == done.moves == ()
        assert {fault.field for fault in done.rejected} == {"enrolment"}
        return
    told = [of(done.registry, name, "new") for name in ("bus", "transformer", "program", "provider")]
    assert told == ["b7", "t7", "plus", "acme"]
    assert [of(done.registry, name, "new") for name in ("phases", "lat_deg", "e_max_kwh")] == [4, 45, 13]
    assert of(done.registry, "bus", "old") == "b7"
    assert state_of(done.registry, "old") == Enrolment.RETIRED
    in_force = old in (Enrolment.ENROLLED, Enrolment.SUSPENDED)
    assert state_of(done.registry, "new") == (old if in_force else Enrolment.COMMISSIONED)
    assert "depot" not in done.registry.labels["bus"]
    lives = Lives().after(done.moves, done.links)
    assert lives.heir("old") == "new"
    assert lives.forebears("new") == ("old",)
    assert all(target in LEGAL[source] for name in ("old", "new") for _, source, target in lives.of(name))


def test_chains_of_devices_are_followed():
    """Whoever stood somewhere first leads to who stands there now, over devices and united records."""
    registry = registry_of(
        row("a"), row("b", Enrolment.COMMISSIONED), row("c", Enrolment.COMMISSIONED), row("twin")
    )
    lives = Lives()
    for pairs in ({"a": "b"}, {"b": "c"}):
        done = replace(registry, pairs, ACT)
        assert done.rejected == ()
        registry, lives = done.registry, lives.after(done.moves, done.links)
    done = unite(registry, "c", "twin", ACT)
    lives = lives.after(done.moves, done.links)
    assert [lives.heir(name) for name in ("a", "b", "twin", "c")] == ["c"] * 4
    assert lives.forebears("c") == ("twin", "b", "a")


def test_who_may_not_replace_is_named():
    """Other family, rules, strangers, one device in two pairs: each is refused, the rest done."""
    rules = [ProgramRules("plus", largest_kw=8.0)]
    ready = Enrolment.COMMISSIONED
    registry = registry_of(
        row("a1"),
        row("a2", ready, kind="wind"),
        row("b1", program="plus"),
        row("b2", ready, p_max_kw=20),
        row("c1"),
        row("c2", ready),
        row("d1"),
    )
    pairs = {"a1": "a2", "b1": "b2", "c1": "c2", "d1": "c2", "e1": "nobody"}
    done = replace(registry, pairs, ACT, rules)
    assert {(fault.field, fault.ids) for fault in done.rejected} == {
        ("kind", ("a2",)),
        ("p_max_kw", ("b2",)),
        ("id", ("c2",)),
        ("id", ("e1", "nobody")),
    }
    assert [(link.old, link.new) for link in done.links] == [("c1", "c2")]


def test_two_records_of_one_device_become_one():
    """The kept record is filled in from the other, which retires; contradictions are refused and named."""
    registry = registry_of(
        row("keep", serial="SN-1", make="acme"),
        row("gone", serial="sn1", lfdi="B" * 40, firmware="2.1", make="other", e_reserve_kwh=2),
        row("else", serial="9"),
        row("sun", kind="pv_rooftop", p_min_kw=0),
    )
    done = unite(registry, "keep", "gone", ACT)
    assert done.rejected == ()
    at = done.registry.ids.index("keep")
    assert {name: texts[at] for name, texts in done.registry.identities.items()} == {
        "serial": "SN-1",
        "lfdi": "B" * 40,
    }
    assert [of(done.registry, name, "keep") for name in ("firmware", "make", "e_reserve_kwh")] == [
        "2.1",
        "acme",
        2,
    ]
    assert state_of(done.registry, "gone") == Enrolment.RETIRED
    for keep, gone, field in (("keep", "else", "serial"), ("keep", "sun", "kind"), ("keep", "keep", "id")):
        refused = unite(registry, keep, gone, ACT)
        assert refused.registry is registry
        assert [fault.field for fault in refused.rejected] == [field]


def test_a_move_is_a_version():
    """The registry's versions keep a move as the change of an attribute, with author and reason."""
    registry = registry_of(row("a"), row("b"))
    added, _, _ = Versions().change(registry, NOW_S - 10, NOW_S - 10, "import")
    versions = Versions().with_change(added)
    done = move(registry, ["b"], Enrolment.SUSPENDED, ACT)
    change, _, rejected = versions.change(
        done.registry, ACT.time_s, ACT.time_s, ACT.author, ACT.why, ("enrolment",)
    )
    versions = versions.with_change(change)
    assert rejected == ()
    last = versions.of("b")[-1]
    assert (last.author, last.source, last.attribute) == ("mona", "because", "enrolment")
    assert (last.old, last.new) == (Enrolment.ENROLLED, Enrolment.SUSPENDED)
    assert state_of(versions.as_of(NOW_S - 1), "b") == Enrolment.ENROLLED
    assert state_of(versions.as_of(NOW_S), "b") == Enrolment.SUSPENDED


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(list(Kind)), st.sampled_from(STATES)), min_size=1, max_size=30), seeds
)
def test_who_is_not_enrolled_has_no_room(drawn, seed):
    """Outside enrolment both bounds are what the resource does now; enrolment changes nobody else's room."""
    rng = np.random.default_rng(seed)
    plate = {"bus": "b1", "phases": "a", "p_max_kw": 5, "p_min_kw": -5, "e_max_kwh": 10}
    told = ((0, 1, 1), *((QUANTITY[name], 0.0, 5.0) for name in ("p_kw", "e_kwh", "p_avail_kw")))
    images = []
    for states in ([state for _, state in drawn], [Enrolment.ENROLLED] * len(drawn)):
        rows = [
            {"id": f"r{k:02d}", "kind": kind.name, **plate, "enrolment": state.name}
            for k, ((kind, _), state) in enumerate(zip(drawn, states, strict=True))
        ]
        fleet, rejected = Fleet.from_rows(rows, {"b1": 7})
        assert rejected == ()
        images.append(fleet)
    n = len(drawn)
    quantity = np.repeat([QUANTITY["ready"], *(code for code, _, _ in told[1:])], n).astype(np.uint8)
    value = np.concatenate([np.ones(n), *(rng.uniform(low, high, n) for _, low, high in told[1:])])
    index = np.tile(np.arange(n), len(told)).astype(np.int32)
    quality = np.zeros(len(index), np.uint8)
    readings = Readings(images[0].ids, index, quantity, value, np.full(len(index), NOW_S), quality)
    for fleet in images:
        fleet.ingest(readings, NOW_S)
    assert images[0].ids == images[1].ids
    image = images[0].image(NOW_S)
    can, all_can = capability(image), capability(images[1].image(NOW_S))
    out = image.columns["enrolment"] != Enrolment.ENROLLED
    np.testing.assert_array_equal(can.p_lo_kw[out], can.p_hi_kw[out])
    assert (can.lo_source[out] == BoundSource.NOT_READY).all()
    assert (can.hi_source[out] == BoundSource.NOT_READY).all()
    for name in ("p_lo_kw", "p_hi_kw", "lo_source", "hi_source"):
        np.testing.assert_array_equal(getattr(can, name)[~out], getattr(all_can, name)[~out])
