"""Claims: whatever is accepted can be served, whatever is refused cannot, and the holders are named."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridflock.fleet.claims import Accounts, Claim, ClaimKind, Claims
from gridflock.fleet.claims._steps import Steps
from gridflock.model import Priority
from gridflock.units import TimeGrid

HOUR = 3_600
N = 6
GROUPS = {
    "all": (0, 1, 2, 3, 4, 5),
    "left": (0, 1, 2),
    "right": (3, 4, 5),
    "pair": (0, 1),
    "middle": (2, 3),
    "odd": (1, 3, 5),
    "most": (1, 2, 3, 4),
    "ends": (0, 5),
    "also-left": (0, 1, 2),
    "r0": (0,),
    "r3": (3,),
    "r5": (5,),
}
STACKABLE = (("a", "b"), ("b", "c"))
SIZES = ("up_kw", "down_kw", "e_kwh")


def rows_of(name):
    """Members."""
    return np.array(GROUPS[name], dtype=np.int32)


def ledger(kw, stackable=()):
    """An empty one on six resources whose energy is accounted per two hours."""
    column = np.array(kw, dtype=np.float32)
    return Claims(Accounts(column, column / 2, column * 2, 2 * HOUR), rows_of, stackable)


def active(claims, size, t_s):
    """Claims that hold a quantity at a moment, energy in all of its interval."""
    found = []
    for claim in claims:
        start, until = claim.start_s, claim.until_s
        if size == "e_kwh":
            start, until = start // (2 * HOUR) * 2 * HOUR, -(-until // (2 * HOUR)) * 2 * HOUR
        if start <= t_s < until and getattr(claim, size):
            found.append(claim)
    return found


def can_serve(claims, size, capacity):
    """Whether some claims can be served at once: every set of them against the union of its members."""
    for count in range(1, len(claims) + 1):
        for some in combinations(claims, count):
            union = sorted({row for claim in some for row in GROUPS[claim.on]})
            if sum(getattr(claim, size) for claim in some) > sum(capacity[row] for row in union) + 1e-6:
                return False
    return True


def can_stack(claims, size, capacity):
    """The same where services stack: which sets of claims a resource serves at once, as a linear program."""
    sets = [
        some
        for count in range(1, len(claims) + 1)
        for some in combinations(range(len(claims)), count)
        if all(
            (claims[i].sold, claims[j].sold) in STACKABLE or (claims[j].sold, claims[i].sold) in STACKABLE
            for i, j in combinations(some, 2)
        )
    ]
    if not claims:
        return True
    place = {(row, k): row * len(sets) + k for row in range(N) for k in range(len(sets))}
    at_most = np.zeros((N, len(place)))
    at_least = np.zeros((len(claims), len(place)))
    for (row, k), column in place.items():
        at_most[row, column] = 1
        for j in sets[k]:
            if row in GROUPS[claims[j].on]:
                at_least[j, column] = -1
    need = [-getattr(claim, size) + 1e-6 for claim in claims]
    found = linprog(
        np.zeros(len(place)), A_ub=np.vstack([at_most, at_least]), b_ub=[*capacity, *need], method="highs"
    )
    return found.status == 0


def servable(claims, book, test=can_serve):
    """Whether all claims can be served at every moment."""
    accounts = book.accounts
    columns = dict(zip(SIZES, (accounts.up_kw, accounts.down_kw, accounts.e_kwh), strict=True))
    return all(
        test(active(claims, size, t_s), size, [float(x) for x in columns[size]])
        for size in SIZES
        for t_s in range(0, 8 * HOUR, HOUR)
    )


def state(book):
    """Everything that later answers depend on."""
    bodies = book._bodies.all
    levels = {
        tuple(body.rows.tolist()): sorted((key, s.at, s.level) for key, s in body.own.items() if s.at)
        for body in bodies
        if any(s.at for s in body.own.values())
    }
    for body in bodies:
        whole = {}
        for other in (body, *body.below):
            for key, steps in other.own.items():
                whole.setdefault(key, Steps()).include(steps)
        for key in whole | body.within:
            derived, kept = whole.get(key, Steps()), body.within.get(key, Steps())
            assert (derived.at, derived.level) == (kept.at, kept.level)
    return levels, book.lives, sorted(book._slot)


@st.composite
def wishes(draw, most=7, services=("",)):
    """Some claims on overlapping groups over eight hours."""
    found = []
    for k in range(draw(st.integers(1, most))):
        start = draw(st.integers(0, 6))
        until = draw(st.integers(start + 1, 8))
        sizes = draw(
            st.sampled_from([(1, 0, 0), (2, 0, 0), (3, 0, 0), (5, 0, 0), (0, 1.5, 0), (0, 0, 4), (2, 1, 3)])
        )
        found.append(
            Claim(
                id=f"c{k}",
                owner=f"owner {k % 3}",
                kind=ClaimKind.AWARD,
                on=draw(st.sampled_from(sorted(GROUPS))),
                start_s=start * HOUR,
                until_s=until * HOUR,
                **dict(zip(SIZES, sizes, strict=True)),
                priority=draw(st.sampled_from([Priority.OPERATOR, Priority.EVENT, Priority.MARKET])),
                service=draw(st.sampled_from(services)),
            )
        )
    return found


capacities = st.lists(st.integers(0, 3), min_size=N, max_size=N)


@settings(max_examples=150)
@given(capacities, wishes())
def test_a_claim_is_held_exactly_if_all_can_be_served_beside_it(kw, asked):
    """No accepted claims exceed what the devices have, and none is refused that could be served."""
    book, held = ledger(kw), []
    for claim in asked:
        answer = book.add(claim, 0)
        assert answer.held == servable([*held, claim], book), (claim, answer)
        held += [claim] if answer.held else []
    assert len(book) == len(held)


@settings(max_examples=60)
@given(capacities, wishes(most=5, services=("a", "b", "c", "")))
def test_stackable_services_share_and_all_others_exclude_each_other(kw, asked):
    """With declared pairs a claim is held exactly if some mix of stackable sets serves all."""
    book, held = ledger(kw, STACKABLE), []
    for claim in asked:
        answer = book.add(claim, 0)
        assert answer.held == servable([*held, claim], book, can_stack), (claim, answer)
        held += [claim] if answer.held else []


@settings(max_examples=150)
@given(capacities, wishes())
def test_a_refusal_changes_nothing_and_names_a_smallest_set(kw, asked):
    """The holders together leave too little, and without any one of them it would be enough."""
    book = ledger(kw)
    for claim in asked:
        before = state(book)
        answer = book.add(claim, 0)
        if answer.held:
            continue
        assert state(book) == before
        refusal = answer.refusal
        columns = dict(zip(SIZES, (kw, np.array(kw) / 2, np.array(kw) * 2), strict=True))
        capacity = [float(x) for x in columns[refusal.quantity]]
        assert not can_serve([claim, *refusal.holders], refusal.quantity, capacity)
        for left_out in refusal.holders:
            rest = [other for other in refusal.holders if other is not left_out]
            assert can_serve([claim, *rest], refusal.quantity, capacity)
        assert all(
            set(refusal.holders) <= set(active(book.as_of(0), refusal.quantity, t_s))
            for t_s in range(refusal.start_s, refusal.until_s, HOUR)
        )


@settings(max_examples=100)
@given(capacities, wishes(), st.data())
def test_a_refused_claim_fits_once_its_only_blocker_is_gone(kw, asked, data):
    """Withdrawing the named holders one after the other makes room in the end, and each is in force."""
    book = ledger(kw)
    refused = [claim for claim in asked if not book.add(claim, 0).held]
    for claim in refused[:2]:
        answer = book.add(claim, 1)
        while not answer.held and answer.refusal.holders:
            gone = data.draw(st.sampled_from(answer.refusal.holders))
            assert book[gone.id].gone_s == -1
            assert book.withdraw(gone.id, 1) == ()
            answer = book.add(claim, 1)
        assert answer.held == servable([claim], book)


@settings(max_examples=100)
@given(capacities, wishes(), wishes(most=3))
def test_withdrawal_restores_exactly(kw, before, after):
    """Claims that come and go leave what is free as it was, to the watt."""
    book = ledger(kw)
    for claim in before:
        book.add(claim, 0)
    levels, _, slots = state(book)
    came = [Claim(**{**_fields(claim), "id": f"later {claim.id}"}) for claim in after]
    held = [claim for claim in came if book.add(claim, 1).held]
    for claim in held:
        assert book.withdraw(claim.id, 2) == ()
    assert state(book)[0] == levels
    assert state(book)[2] == slots


def _fields(claim):
    return {name: getattr(claim, name) for name in claim.__slots__}


@settings(max_examples=80)
@given(capacities, wishes(), st.randoms(use_true_random=False))
def test_the_order_of_claims_that_all_fit_is_irrelevant(kw, asked, random):
    """What fits together is accepted in any order, and leaves the same free."""
    book = ledger(kw)
    held = [claim for claim in asked if book.add(claim, 0).held]
    random.shuffle(held)
    again = ledger(kw)
    assert all(again.add(claim, 0).held for claim in held)
    assert state(again)[0] == state(book)[0]
    grid = TimeGrid.uniform(0, HOUR, 8)
    for name in GROUPS:
        one, other = book.free(name, grid), again.free(name, grid)
        assert all((getattr(one, size) == getattr(other, size)).all() for size in SIZES)


@settings(max_examples=80)
@given(capacities, wishes(), st.sampled_from(sorted(GROUPS)), st.sampled_from(["", "a", "b"]))
def test_what_is_free_is_the_largest_claim_that_is_held(kw, asked, on, service):
    """A claim of what is free fits in its step, and one watt more does not; rows and group agree."""
    for stackable in ((), STACKABLE):
        book = ledger(kw, stackable)
        for k, claim in enumerate(asked):
            book.add(Claim(**{**_fields(claim), "service": ("a", "b", "c", "")[k % 4]}), 0)
        free = book.free(on, TimeGrid.uniform(0, HOUR, 8), service)
        by_rows = book.free(rows_of(on)[::-1], TimeGrid.uniform(0, HOUR, 8), service)
        for size in SIZES:
            room = getattr(free, size)
            assert (room == getattr(by_rows, size)).all()
            for k in (0, 3, 6):
                one = Claim(
                    f"{size}{k}", "me", ClaimKind.OFFER, on, k * HOUR, (k + 1) * HOUR, service=service
                )
                more = Claim(**{**_fields(one), size: room[k] + 0.001})
                refusal = book.add(more, 0).refusal
                assert abs(refusal.free - room[k]) < 1e-9
                if room[k]:
                    assert book.add(Claim(**{**_fields(one), size: room[k]}), 0).held
                    assert book.withdraw(one.id, 0) == ()


@settings(max_examples=120)
@given(capacities, wishes())
def test_the_stronger_displaces_the_weaker_and_nobody_more_than_needed(kw, asked):
    """With ``displace`` only weaker claims go, each of them is told, and each had to go."""
    book, held = ledger(kw), {}
    for claim in asked:
        before = state(book)
        answer = book.add(claim, 0, displace=lambda _: True)
        if not answer.held:
            assert state(book) == before
            strong = [other for other in held.values() if other.priority <= claim.priority]
            assert not servable([*strong, claim], book)
            continue
        for gone in answer.displaced:
            assert gone.priority > claim.priority
            assert book[gone.id].how == f"displaced by {claim.id}"
            del held[gone.id]
        held[claim.id] = claim
        assert servable(list(held.values()), book)
        for gone in answer.displaced:
            assert not servable([*held.values(), gone], book)


@settings(max_examples=60)
@given(capacities, wishes(), wishes())
def test_lives_rebuild_the_same_ledger(kw, first, second):
    """A ledger restored from its lives leaves the same free, and as-of views stay what they were."""
    book = ledger(kw)
    for claim in first:
        book.add(claim, 10)
    book.withdraw(first[0].id, 20)
    known = book.as_of(10)
    for claim in second:
        book.add(Claim(**{**_fields(claim), "id": f"later {claim.id}"}), 30, displace=lambda _: True)
    again, broken = Claims.restored(book.accounts, rows_of, book.lives)
    assert broken == ()
    assert state(again)[0] == state(book)[0]
    assert again.lives == book.lives
    assert again.as_of(10) == known == book.as_of(10)


def test_random_overlaps_are_decided_exactly(monkeypatch):
    """Twelve random groups over six resources, hundreds of times: every answer and every holder is right."""
    draw = np.random.default_rng(5)
    answers = {True: 0, False: 0}
    for _ in range(400):
        for name in sorted(GROUPS):
            rows = draw.choice(N, draw.integers(1, N), replace=False)
            monkeypatch.setitem(GROUPS, name, tuple(sorted(rows.tolist())))
        kw, held = draw.integers(0, 6, N), []
        book = ledger(kw)
        for k in range(draw.integers(3, 11)):
            on, size = str(draw.choice(sorted(GROUPS))), float(draw.integers(1, 6))
            claim = Claim(f"c{k}", "me", ClaimKind.AWARD, on, 0, HOUR, up_kw=size)
            answer = book.add(claim, 0)
            answers[answer.held] += 1
            assert answer.held == can_serve([*held, claim], "up_kw", kw)
            if answer.held:
                held.append(claim)
                continue
            holders = answer.refusal.holders
            assert not can_serve([claim, *holders], "up_kw", kw)
            for out in holders:
                assert can_serve([claim, *(other for other in holders if other is not out)], "up_kw", kw)
    assert min(answers.values()) > 500
