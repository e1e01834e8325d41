"""Ten thousand sequences of askers that want harm: no budget, step, mode or second person is got round.

They ask by proposals, and of the plan: by goals, prices and forced flows, whatever a plan makes of these.
"""

import math
from dataclasses import replace

import numpy as np
import pytest

from gridflock.dispatch.guard import (
    Approval,
    Asked,
    GroupLimit,
    GuardLimits,
    GuardState,
    Held,
    Mode,
    Rules,
    guard,
)
from gridflock.dispatch.guard._diverted import Behind, follow
from gridflock.fleet import Image
from gridflock.model import Outcomes, OutcomeStatus, Priority, Proposal
from gridflock.schema import Family, Kind

WORLDS, SEQUENCES, TICKS = 40, 250, 10
"""Many sequences share a pass: each has its feeder, its credentials and its limits."""
MANY = 8
"""Devices of a feeder: four batteries, two of sun, two vehicles."""
LOW = np.tile([-5.0, -5.0, -5.0, -5.0, 0.0, 0.0, -7.0, -7.0], SEQUENCES)
HIGH = np.tile([5.0, 5.0, 5.0, 5.0, 6.0, 6.0, 0.0, 0.0], SEQUENCES)
KIND = np.tile([Kind.BATTERY_HOME] * 4 + [Kind.PV_ROOFTOP] * 2 + [Kind.EV_V1G] * 2, SEQUENCES).astype(
    np.uint8
)
FAMILY = np.tile([Family.STORAGE] * 4 + [Family.RENEWABLE] * 2 + [Family.VEHICLE] * 2, SEQUENCES)
FAMILY = FAMILY.astype(np.uint8)
N = SEQUENCES * MANY
FEEDER = np.arange(N) // MANY
IDS = tuple(map(str, range(N)))
PLATES = {
    "p_min_kw": LOW.astype(np.float32),
    "p_max_kw": HIGH.astype(np.float32),
    "s_max_kva": np.full(N, 8.0, np.float32),
    "reach_s": np.zeros(N, np.float32),
}
NOW_S = 1_750_000_000
CREDENTIALS, EACH = 3, 3
"""Credentials of a sequence, and proposals of each; the program's own plan asks too."""
BUDGET_KW, APPROVAL_KW, WINDOW_S = 14.0, 5.0, 300
SLACK = 1e-3
CANARY_SHARE, CANARY_LEAST, CANARY_FROM = 0.25, 2, 4
"""In every fifth world whoever asks is tried out first."""
ASKING = 60
"""Sequences in which, in one tick, a credential makes something else of the plan than before."""
PARTS = {"f": range(8), "g": range(5), "h": range(3, 8)}
ROWS_OF = {
    f"{name}{s}": np.array([s * MANY + k for k in part], dtype=np.int32)
    for s in range(SEQUENCES)
    for name, part in PARTS.items()
}


def proposals_of(rng):
    """Of every sequence: one of the plan, and some of each credential, by whatever way it comes in."""
    ways = (Priority.OPERATOR, Priority.EVENT, Priority.MARKET, Priority.REGULATION)
    found = []
    for s in range(SEQUENCES):
        found.append(Proposal(f"plan:{s}", f"f{s}", Priority.SCHEDULE, "plan", "", NOW_S, NOW_S + 10**6))
        for c in range(CREDENTIALS):
            for k in range(EACH):
                way = ways[int(rng.integers(4))]
                name = f"s{s}-{c}-{k}"
                found.append(Proposal(name, f"f{s}", way, f"s{s}-{c}", "", NOW_S, NOW_S + 10**6))
    return tuple(found)


class Zigzag:
    """Which way what a part of every feeder does together goes, and when orders have turned it."""

    def __init__(self, name, unit):
        part = list(PARTS[name])
        size = {"kw": (HIGH - LOW)[part].sum(), "kvar": 2.0 * 8.0 * len(part)}[unit]
        self.inside, self.turn = np.isin(np.arange(N) % MANY, part), 0.05 * size + SLACK
        self.at, self.far, self.way = np.zeros(SEQUENCES), np.zeros(SEQUENCES), np.zeros(SEQUENCES)
        self.turned = []

    def move(self, now, rows, by, ordered):
        """Some rows move; by orders, or because these have ended."""
        mine = self.inside[rows]
        self.at += np.bincount(FEEDER[rows[mine]], by[mine], SEQUENCES)
        gone = self.at - self.far
        self.way = np.where((self.way == 0) & (np.abs(gone) > self.turn), np.sign(gone), self.way)
        turns = self.way * gone < -self.turn
        self.way[turns] *= -1.0
        self.far = np.where(self.way * gone > 0.0, self.at, self.far)
        self.turned.append((now, turns & ordered))

    def within(self, first):
        """How often orders have turned each since a moment."""
        return sum(turns.astype(int) for t, turns in self.turned if t > first)


class World:
    """Devices that do at once what the newest order says, and go back to their own when it ends.

    It keeps its own books: what moved on whose account, and what is held displaced.
    """

    def __init__(self, seed):
        self.rng, self.canary = np.random.default_rng(seed), seed % 5 == 1
        self.own = (LOW + self.rng.random(N) * (HIGH - LOW)).astype(np.float32).astype(float)
        self.p = self.own.copy()
        self.cmd, self.ends = np.full(N, np.nan), np.zeros(N, dtype=np.int64)
        self.q, self.q_cmd, self.q_side, self.q_turns = np.zeros(N), np.full(N, np.nan), np.zeros(N), []
        self.base, self.holder = np.full(N, np.nan), np.full(N, -1)
        self.side, self.turns = np.zeros(N), []
        self.proposals = proposals_of(self.rng)
        self.limits = self.limits_of()
        self.state, self.rules = GuardState.empty(N), Rules()
        self.now, self.before = NOW_S, None
        self.blind = not self.limits.groups and seed % 2 == 0
        self.seen, self.heard = self.p.copy(), np.full(N, NOW_S, dtype=np.int64)
        self.q_seen = self.q.copy()
        self.most = np.concatenate(
            [np.full(SEQUENCES * CREDENTIALS, BUDGET_KW), np.zeros(len(self.proposals) + SEQUENCES)]
        )
        self.book, self.gross = [], []
        self.diverts, self.on = np.zeros((SEQUENCES, MANY)), np.full(SEQUENCES, -1)
        self.shares = []
        self.tried = np.zeros((SEQUENCES * CREDENTIALS, MANY), dtype=bool)
        self.yes = np.zeros_like(self.tried)
        self.proven = np.zeros(SEQUENCES * CREDENTIALS, dtype=bool)
        self.verdicts = []
        self.swings = {(name, unit): Zigzag(name, unit) for name in PARTS for unit in ("kw", "kvar")}

    def limits_of(self):
        """Limits of every feeder and of two parts of it that overlap; some worlds have none."""
        rng, some = self.rng, self.rng.random() < 0.6
        groups = tuple(
            GroupLimit(
                f"{name}{s}",
                step_kw=float(rng.uniform(3, 15)),
                rate_kw_s=float(rng.choice([0.5, 2.0, np.inf])),
                share=float(rng.choice([0.4, 1.0])),
                moved_kw=float(rng.choice([20.0, np.inf])),
                step_kvar=float(rng.choice([2.0, 9.0, np.inf])),
                rate_kvar_s=float(rng.choice([0.3, 2.0, np.inf])),
                reversals=float(rng.choice([0, 1, 2, np.inf])),
            )
            for s in range(SEQUENCES)
            for name in PARTS
            if some and (name == "f" or s % 3 == 0)
        )
        return GuardLimits(
            step_kw=math.inf,
            groups=groups,
            window_s=WINDOW_S,
            budget_kw=BUDGET_KW,
            approval_kw=float(rng.choice([APPROVAL_KW, np.inf])),
            reversals=int(rng.choice([1, 3, 1_000])),
            canary_share=CANARY_SHARE if self.canary else 1.0,
            canary_least=CANARY_LEAST,
            canary_from=CANARY_FROM,
            trial_s=90,
            return_s=int(rng.choice([0, 100, 400])),
            take_back_s=int(rng.choice([0, 1, 100, 400])),
        )

    def image(self):
        """What is measured now; in some worlds many under orders are not heard."""
        told = (self.rng.random(N) < (0.7 if self.blind else 1.1)) | np.isnan(self.cmd)
        self.seen[told], self.q_seen[told], self.heard[told] = self.p[told], self.q[told], self.now
        none = np.full(N, np.nan, np.float32)
        return Image(
            ids=IDS, columns=PLATES, kind=KIND, family=FAMILY, now_s=self.now, heard_s=self.heard.copy(),
            p_kw=self.seen.astype(np.float32), q_kvar=self.q_seen.astype(np.float32), v_pu=none,
            p_avail_kw=self.own.astype(np.float32), e_kwh=none, e_target_kwh=none, depart_s=self.heard,
            ready=np.ones(N, np.uint8), locked_s=np.zeros(N),
        )  # fmt: skip

    # ---- what happens ------------------------------------------------------------------------

    def wanted(self, tick):
        """What is wanted: extremes, oscillation, creeping, absurd numbers, and ordinary ones."""
        rng = self.rng
        u = rng.random(N)
        way = rng.integers(0, 6, SEQUENCES)[FEEDER]
        extreme = np.where((tick + FEEDER) % 2 == 0, LOW, HIGH)
        wild = rng.choice([np.nan, np.inf, -np.inf, 1e30, 4_000.0, -4_000.0, 5.5, 9.0], N)
        creep = np.clip(np.where(np.isnan(self.cmd), self.p, self.cmd) * 1.019 + 0.04, LOW, HIGH)
        near = np.clip(self.p + rng.normal(0, 1, N), LOW, HIGH)
        ways = [
            extreme,
            np.where(u < 0.5, wild, extreme),
            creep,
            near,
            LOW + u * (HIGH - LOW),
            LOW + HIGH - extreme,
        ]
        return np.where(rng.random(N) < 0.05, np.nan, np.choose(way, ways)).astype(np.float32).astype(float)

    def asked(self, tick):
        """Candidates: everybody, some, or a trickle; a credential splits what it wants over its proposals."""
        rng, each = self.rng, 1 + CREDENTIALS * EACH
        part = rng.choice([0.08, 0.15, 0.5, 1.0, 1.0], SEQUENCES)[FEEDER]
        rows = np.flatnonzero(rng.random(N) < part).astype(np.int32)
        # Now and then one proposal, or one credential, wants it all.
        alone = rng.random(SEQUENCES)[FEEDER[rows]] < 0.4
        who = np.where(alone, 1 + tick % 3, rng.integers(0, each, len(rows)))
        source = np.where(rng.random(len(rows)) < 0.03, -1, FEEDER[rows] * each + who)
        p = self.wanted(tick)[rows]
        p[source < 0] = np.nan
        side = np.where((tick + rows) % 2 == 0, 1.0, -1.0)
        ways = [
            rng.choice([0.5, np.nan, 99.0, np.inf], len(rows)),
            8.0 * side,
            rng.uniform(-8.0, 8.0, len(rows)),
        ]
        q = np.choose(rng.integers(0, 3, SEQUENCES)[FEEDER[rows]], ways)
        q = (
            np.where((source < 0) | (np.isfinite(p) & (rng.random(len(rows)) < 0.5)), q, np.nan)
            .astype(np.float32)
            .astype(float)
        )
        ends = (self.now + rng.choice([1, 30, 300, 900], len(rows))).astype(np.int64)
        if rng.random() < 0.2:
            rows[1] = rows[0]
        return Asked(rows, p, q, ends, source, self.proposals, 1 + N * tick, "one")

    def people(self):
        """Modes change, second persons speak (and authors try to), now and then all go to default."""
        rng, each = self.rng, 1 + CREDENTIALS * EACH
        for s in rng.choice(SEQUENCES, 20, replace=False).tolist():
            self.rules = self.rules.with_mode(f"{rng.choice(list(PARTS))}{s}", Mode(int(rng.integers(0, 3))))
        for s in rng.choice(SEQUENCES, 40, replace=False).tolist():
            at = s * each + 1 + int(rng.integers(CREDENTIALS * EACH))
            wish, kw = self.proposals[at], float(rng.uniform(2, 30))
            by = wish.author if rng.random() < 0.5 else "second"
            self.rules = self.rules.with_approval(Approval(wish.id, wish.author, by, kw, self.now + 400))
            place = SEQUENCES * CREDENTIALS + at
            self.most[place] = max(self.most[place], 2 * kw)
        for s in rng.choice(SEQUENCES, 20, replace=False).tolist():
            author, kw = f"s{s}-0", float(rng.uniform(2, 30))
            by = author if rng.random() < 0.5 else "second"
            self.rules = self.rules.with_approval(Approval(f"goal{s}", author, by, kw, self.now + 400))
            if by != author:
                place = len(self.most) - SEQUENCES + s
                self.most[place] = max(self.most[place], 2 * kw)
        if rng.random() < 0.08:
            self.rules = self.rules.all_to_default("omar", "drill", self.now, self.now + 200)

    def plans(self, moved):
        """Credentials ask something else of the plan: what it would make of that is anything at all."""
        rng, rules, memory = self.rng, self.rules.at(self.now), self.state.memory
        for s in rng.choice(SEQUENCES, ASKING, replace=False).tolist():
            wants = rng.normal(0, rng.choice([0.5, 5.0, 500.0]), MANY) * (rng.random(MANY) < 0.7)
            steps, inside = rng.random(MANY) < 0.3, slice(s * MANY, (s + 1) * MANY)

            def course(share, wants=wants, steps=steps, inside=inside):
                by_kw = np.zeros(N, dtype=np.float32)
                by_kw[inside] = np.where(steps, wants * (share > 0.5), share * wants)
                return by_kw

            behind = Behind(f"s{s}-0", f"goal{s}", float(rng.choice([2.0, 40.0])))
            followed, memory = follow(course, behind, rules, self.limits, memory, math.inf, self.now)
            given = rules.approvals.get(behind.id)
            approved = given is not None and given.by != given.author
            account = len(self.most) - SEQUENCES + s if approved else s * CREDENTIALS
            now = course(followed.share)[inside].astype(float)
            before = self.diverts[s]
            if self.on[s] not in (-1, account):
                moved[self.on[s]] += np.abs(before).sum()
                before = np.zeros(MANY)
            moved[account] += np.abs(now - before).sum()
            self.diverts[s], self.on[s] = now, account
            assert followed.waits == (not approved and behind.kw > self.limits.approval_kw)
            assert not (followed.waits and now.any())
            self.shares.append(followed.share)
        self.state = replace(self.state, memory=memory)

    def account(self, source):
        """On whose account proposals move: an approval counts where two persons stand behind it."""
        each = 1 + CREDENTIALS * EACH
        found = (source // each) * CREDENTIALS + (source % each - 1) // EACH
        approved = [self.at[name] for name in self.rules.approvals if name in self.at]
        for at, wish in ((at, self.proposals[at]) for at in approved):
            given = self.rules.approvals[wish.id]
            if given.until_s > self.now and given.by != wish.author:
                found = np.where(source == at, SEQUENCES * CREDENTIALS + at, found)
        return np.where((source < 0) | (source % each == 0), -1, found)

    @property
    def at(self):
        """Place of every proposal."""
        if not hasattr(self, "_at"):
            self._at = {wish.id: k for k, wish in enumerate(self.proposals)}
        return self._at

    def let_go(self, rows, moved):
        """Devices of some rows are nobody's any more; their way back is on their holders' accounts."""
        mine = rows[self.holder[rows] >= 0]
        np.add.at(moved, self.holder[mine], np.abs(self.cmd[mine] - self.base[mine]))
        self.holder[rows], self.base[rows] = -1, np.nan

    def tick(self, tick):
        """Time passes, all ask, the guard judges, what it lets through happens; then the laws are checked."""
        rng, moved = self.rng, np.zeros(len(self.most))
        self.before, self.now = (self.now if tick else None), self.now + int(rng.choice([1, 4, 17, 60, 290]))
        over = np.flatnonzero(np.isfinite(self.cmd) & (self.ends <= self.now))
        self.let_go(over, moved)
        ended = np.flatnonzero(self.ends <= self.now)
        self.swing(over, self.own[over] - self.p[over], ended, -self.q[ended], ordered=False)
        self.cmd[over], self.p[over] = np.nan, self.own[over]
        self.q_cmd[ended], self.q[ended] = np.nan, 0.0
        self.people()
        self.plans(moved)
        asked = self.asked(tick)
        passed = guard(asked, self.image(), self.limits, self.rules, self.state, ROWS_OF)
        self.state = passed.state
        self.check_modes(asked, passed)
        self.check_canary(asked, passed)
        self.check_back(passed.revoke)
        self.let_go(passed.revoke, moved)
        back = passed.revoke[np.isfinite(self.cmd[passed.revoke])]
        quiet = passed.revoke
        self.swing(back, self.own[back] - self.p[back], quiet, -self.q[quiet], ordered=False)
        self.cmd[passed.revoke], self.p[passed.revoke] = np.nan, self.own[passed.revoke]
        self.q_cmd[passed.revoke], self.q[passed.revoke] = np.nan, 0.0
        keep = passed.keep
        rows, p = asked.rows[keep], asked.p_kw[keep]
        assert len(np.unique(rows)) == len(rows)
        self.check_numbers(rows, p, passed.q_kvar[keep])
        free = np.isnan(p)
        goes = np.where(free, np.where(np.isnan(self.cmd[rows]), self.p[rows], self.own[rows]), p)
        self.check_groups(rows, goes - self.p[rows])
        self.swing(rows, goes - self.p[rows], rows, self.kvar(rows, passed.q_kvar[keep]), ordered=True)
        self.check_swings()
        self.check_turns(rows, p)
        self.check_kept(asked, passed)
        self.check_reactive(rows, passed.q_kvar[keep])
        self.happen(rows, p, goes, self.account(asked.source[keep]), moved)
        self.ends[rows] = asked.expires_s[keep]
        self.check_accounts(moved)
        if tick % 3 == 0:
            self.answer(rows, 1 + N * tick)
            self.yes[self.author(asked.source[keep]), rows % MANY] = True
        return passed.why

    def happen(self, rows, p, goes, account, moved):
        """The devices follow."""
        mine = account >= 0
        np.add.at(moved, account[mine], np.abs(goes - self.p[rows])[mine])
        base = np.where(self.holder[rows] >= 0, self.base[rows], self.p[rows])
        self.let_go(rows[self.holder[rows] != account], moved)
        self.holder[rows], self.base[rows] = account, np.where(mine, base, np.nan)
        self.cmd[rows], self.p[rows] = p, goes

    def answer(self, rows, first_id):
        """Everybody who was asked says yes."""
        ids = np.arange(first_id, first_id + len(rows))
        yes = np.full(len(rows), OutcomeStatus.ACCEPTED, dtype=np.uint8)
        said = Outcomes((), rows, ids, yes, self.p[rows], np.full(len(rows), self.now))
        self.state = self.state.heard(rows.astype(np.int64), said, self.now)

    # ---- what must hold ----------------------------------------------------------------------

    def check_modes(self, asked, passed):
        """Nothing to who receives nothing or is only advised; while all go to default only revocations."""
        shut = np.zeros(N, dtype=bool)
        for name, mode in self.rules.modes.items():
            shut[ROWS_OF[name]] |= mode is not Mode.AUTOMATIC
        assert not shut[asked.rows[passed.keep]].any()
        assert not shut[passed.revoke].any()
        default = self.rules.default
        if default is not None and self.now < default.until_s:
            assert not passed.keep.any()
        else:
            assert len(passed.revoke) == 0

    def author(self, source):
        """Whose proposals they are; that of the plan, and of nobody, is the last one of all."""
        each = 1 + CREDENTIALS * EACH
        found = (source // each) * CREDENTIALS + (source % each - 1) // EACH
        return np.where((source < 0) | (source % each == 0), -1, found)

    def check_canary(self, asked, passed):
        """Who was not answered well yet has asked few in all, however few at a time."""
        if not self.canary:
            return
        number = {f"s{a // CREDENTIALS}-{a % CREDENTIALS}": a for a in range(SEQUENCES * CREDENTIALS)}
        for name, well in passed.trials.items():
            if name in number:
                at = number[name]
                assert not well or (self.tried[at] & self.yes[at]).sum() >= CANARY_LEAST / 2
                self.tried[at], self.yes[at], self.proven[at] = False, False, well
                self.verdicts.append(well)
        rows, p = asked.rows[passed.keep], asked.p_kw[passed.keep]
        whose = self.author(asked.source[passed.keep])
        new = (whose >= 0) & (np.isnan(self.cmd[rows]) | (np.abs(p - self.cmd[rows]) > 2e-3)) & np.isfinite(p)
        self.tried[whose[new], rows[new] % MANY] = True
        assert (self.tried.sum(axis=1)[~self.proven] < CANARY_FROM).all()

    def check_numbers(self, rows, p, q):
        """Every order is a number that its device can follow."""
        asks = np.isfinite(p)
        assert (asks | np.isfinite(q)).all()
        assert (p[asks] >= LOW[rows[asks]] - SLACK).all()
        assert (p[asks] <= HIGH[rows[asks]] + SLACK).all()
        assert not (np.abs(q) > 8.0 + SLACK).any()

    def check_groups(self, rows, kw):
        """Steps, speeds, shares and what moves in a window, of feeders and of parts that overlap."""
        last = np.where(np.isfinite(self.cmd[rows]), self.cmd[rows], np.inf)
        changed = ~(np.abs(self.p[rows] + kw - last) <= np.maximum(0.05, 0.02 * np.abs(last)) + 1e-4)
        net, gross, count = {}, {}, {}
        for name, part in PARTS.items():
            inside = np.isin(rows % MANY, list(part))
            at = FEEDER[rows[inside]]
            net[name] = np.bincount(at, kw[inside], SEQUENCES)
            gross[name] = np.bincount(at, np.abs(kw[inside]), SEQUENCES)
            count[name] = np.bincount(at, changed[inside], SEQUENCES)
        self.gross.append((self.now, gross))
        since_s = 1 if self.before is None else self.now - self.before
        recent = {name: sum(g[name] for t, g in self.gross if t > self.now - WINDOW_S) for name in PARTS}
        for limit in self.limits.groups:
            name, s = limit.group[0], int(limit.group[1:])
            assert abs(net[name][s]) <= min(limit.step_kw, limit.rate_kw_s * since_s) + SLACK
            assert count[name][s] <= math.ceil(limit.share * len(PARTS[name]))
            assert recent[name][s] <= limit.moved_kw + SLACK

    def check_back(self, rows):
        """What is taken back one by one keeps the steps and speeds of its groups."""
        if self.limits.take_back_s == 0:
            return
        since_s = 1 if self.before is None else self.now - self.before
        away = {"kw": self.own[rows] - self.p[rows], "kvar": -self.q[rows]}
        for unit, change in away.items():
            net = {
                name: np.bincount(FEEDER[rows[inside]], change[inside], SEQUENCES)
                for name, part in PARTS.items()
                for inside in [np.isin(rows % MANY, list(part))]
            }
            for limit in self.limits.groups:
                name, s = limit.group[0], int(limit.group[1:])
                most = getattr(limit, f"step_{unit}"), getattr(limit, f"rate_{unit}_s") * since_s
                assert abs(net[name][s]) <= min(most) + SLACK

    def kvar(self, rows, q):
        """How far orders move reactive power."""
        return np.where(np.isnan(q) & np.isnan(self.q_cmd[rows]), 0.0, np.nan_to_num(q) - self.q[rows])

    def swing(self, rows, kw, q_rows, kvar, *, ordered):
        """What moves together, goes into the books."""
        for name in PARTS:
            self.swings[name, "kw"].move(self.now, rows, kw, ordered)
            self.swings[name, "kvar"].move(self.now, q_rows, kvar, ordered)

    def check_swings(self):
        """No part of a feeder as a whole is turned by orders too often."""
        first = self.now - self.limits.reversal_s
        turned = {key: zigzag.within(first) for key, zigzag in self.swings.items()}
        for limit in self.limits.groups:
            name, s = limit.group[0], int(limit.group[1:])
            for unit in ("kw", "kvar"):
                assert turned[name, unit][s] <= limit.reversals

    def check_turns(self, rows, p):
        """No device changes its direction too often."""
        way = np.where(np.isfinite(p) & np.isfinite(self.cmd[rows]), p - self.cmd[rows], 0.0)
        way[np.abs(way) <= 0.05 * (HIGH - LOW)[rows] + 1e-4] = 0.0
        turned = rows[np.sign(way) * self.side[rows] < 0]
        self.side[rows[way != 0]] = np.sign(way[way != 0])
        self.turns.append((self.now, np.bincount(turned, minlength=N)))
        recent = sum(turns for t, turns in self.turns if t > self.now - self.limits.reversal_s)
        assert recent.max() <= self.limits.reversals

    def check_kept(self, asked, passed):
        """Reactive power is what is asked, or stays as it is in force where active power goes on alone."""
        rows, keep = asked.rows, passed.keep
        same = (passed.q_kvar == asked.q_kvar) | (np.isnan(passed.q_kvar) & np.isnan(asked.q_kvar))
        other = keep & ~same
        assert np.isfinite(asked.p_kw[other]).all()
        assert (passed.q_kvar[other] == self.q_cmd[rows[other]].astype(np.float32)).all()

    def check_reactive(self, rows, q):
        """Steps and speeds of reactive power, and how often it turns; then it happens.

        An order without it leaves it to the device, which gives none by itself.
        """
        goes, kvar = np.nan_to_num(q), self.kvar(rows, q)
        since_s = 1 if self.before is None else self.now - self.before
        net = {
            name: np.bincount(FEEDER[rows[inside]], kvar[inside], SEQUENCES)
            for name, part in PARTS.items()
            for inside in [np.isin(rows % MANY, list(part))]
        }
        for limit in self.limits.groups:
            name, s = limit.group[0], int(limit.group[1:])
            assert abs(net[name][s]) <= min(limit.step_kvar, limit.rate_kvar_s * since_s) + SLACK
        way = np.where(np.isfinite(self.q_cmd[rows]), goes - self.q_cmd[rows], 0.0)
        way[np.abs(way) <= 0.05 * 16.0 + 1e-4] = 0.0
        turned = rows[np.sign(way) * self.q_side[rows] < 0]
        self.q_side[rows[way != 0]] = np.sign(way[way != 0])
        self.q_turns.append((self.now, np.bincount(turned, minlength=N)))
        recent = sum(turns for t, turns in self.q_turns if t > self.now - self.limits.reversal_s)
        assert recent.max() <= self.limits.reversals
        self.q[rows] += kvar
        self.q_cmd[rows] = q

    def check_accounts(self, moved):
        """There and back, no account moves more than its budget in any window, whatever happens next."""
        self.book.append((self.now, moved))
        held = np.zeros(len(self.most))
        mine = self.holder >= 0
        np.add.at(held, self.holder[mine], np.abs(self.cmd - self.base)[mine])
        some = self.on >= 0
        np.add.at(held, self.on[some], np.abs(self.diverts[some]).sum(axis=1))
        recent = sum(kw for t, kw in self.book if t > self.now - WINDOW_S)
        assert (recent + held <= self.most + SLACK).all()
        if self.limits.approval_kw < math.inf:
            alone = held[: SEQUENCES * CREDENTIALS]
            assert alone.max() <= APPROVAL_KW + SLACK
            assert (held[SEQUENCES * CREDENTIALS :] <= self.most[SEQUENCES * CREDENTIALS :] / 2 + SLACK).all()


@pytest.mark.parametrize("first", range(0, WORLDS, 10))
def test_nobody_gets_round_the_guard(first):
    """Planner, accounts and markets ask for anything: budgets, limits, modes and approvals hold.

    And every reason to hold an order back has come up, while others went out; plans were followed to the end,
    on a part of the way, and not at all.
    """
    held, shares, verdicts = np.zeros(len(Held), dtype=int), [], []
    for seed in range(first, first + 10):
        world = World(seed)
        for tick in range(TICKS):
            held += np.bincount(world.tick(tick), minlength=len(Held))
        shares += world.shares
        verdicts += world.verdicts
    assert {0.0, 1.0} < set(shares)
    assert set(verdicts) == {True, False}
    never = {Held(code) for code in np.flatnonzero(held == 0).tolist()}
    assert never <= {Held.TAKES_NONE}
