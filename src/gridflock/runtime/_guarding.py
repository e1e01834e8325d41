"""The verbs of the guard: modes of feeders, second persons, and all to default."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import cached_property

import numpy as np

from gridflock.dispatch import Decision, Rules
from gridflock.dispatch.guard import Approval, Held, Mode
from gridflock.fleet import Groups
from gridflock.model import Entry, Json, Proposal
from gridflock.plan.goals.stated import Stated
from gridflock.runtime import _show
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._allowed import id_of
from gridflock.runtime._authority import Authority
from gridflock.runtime._behind import goals_kw, own_and_asked
from gridflock.runtime._book import to_head
from gridflock.runtime._goals import entry_of as entry_of_goals
from gridflock.runtime._goals import strangers
from gridflock.runtime._guard_views import (
    ApprovalView,
    BudgetView,
    DefaultView,
    GuardView,
    ModeView,
    WaitingView,
)
from gridflock.runtime._life import UnknownName
from gridflock.runtime._loop import Moment
from gridflock.runtime._plan_views import GoalsView
from gridflock.runtime._requests import RequestRejected, wrong_words
from gridflock.runtime._rules import KIND
from gridflock.runtime._settings import Settings
from gridflock.runtime._views import Fault, number
from gridflock.runtime._waiting import (
    Waiting,
    still_waiting,
    waiting_above,
    waiting_goals,
    with_waiting,
)
from gridflock.units import iso

_WHY_CHARS = 500
_LONGEST_MINUTES = 24 * 60.0
_MODES = tuple(mode.name.lower() for mode in Mode)


class Guarding(Authority):
    """Verbs of what people set for the guard; each is recorded with author and reason."""

    @cached_property
    def _waiting(self) -> dict[str, Waiting]:
        """What waits for a second person, as the ledger has it."""
        return still_waiting(self._record.entries(0, {KIND}))

    # ---- verbs ------------------------------------------------------------------------------

    def goals(self, scope: Scope) -> GoalsView:
        """What is wanted of the plans, how far the plan in force got with each goal, and what waits."""
        scope.require(Role.VIEWER)
        moment, settings = self.moment, self._loop.settings
        waiting, limit_kw = self._in_waiting(moment.now_s), settings.policy.guard.approval_kw
        stated = settings.goals or Stated()
        given = self._rules.approval_of(stated.id, stated.author)
        return replace(
            super().goals(scope),
            approved_until="" if given is None else iso(given.until_s),
            waiting=[one.view(limit_kw) for one in waiting if one.goals is not None],
        )

    def guard(self, scope: Scope) -> GuardView:
        """The guard at a glance: modes, what waits for a second person, budgets, the kill switch."""
        scope.require(Role.VIEWER)
        moment, limits = self.moment, self._loop.settings.policy.guard
        rules, state = self._loop.rules.at(moment.now_s), self._loop.deciding.standing.guarded
        decision = moment.decision
        held = {} if decision is None else decision.passed.counts()
        return GuardView(
            modes=self._modes(rules),
            default=self._default(rules, moment),
            waiting=self._all_waiting(moment.now_s),
            approvals=[
                ApprovalView(given.proposal, given.author, given.by, round(given.kw, 3), iso(given.until_s))
                for given in rules.approvals.values()
            ],
            budgets=self._budgets(rules, moment),
            trials=sorted(name for name, one in state.trials.items() if one.on(moment.now_s)),
            held={reason.name.lower(): count for reason, count in held.items()},
            window_s=limits.window_s,
            step_kw=number(limits.step_kw, 3),
            approval_kw=number(limits.approval_kw, 3),
        )

    def set_mode(self, scope: Scope, group: str, *, mode: str, why: str = "") -> GuardView:
        """Say what a feeder or group takes part in.

        Args:
            scope: authority; operators over the group.
            group: feeder section, any other group, or a resource.
            mode: ``"automatic"``; ``"advisory"``: orders are decided and shown but not sent;
                ``"disabled"``: it receives nothing. Of several groups the strictest holds. What is less
                strict than before holds when a second person says so, too.
            why: in words, kept in the ledger.

        Raises:
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, group, "set_mode")
        faults = wrong_words("why", why, _WHY_CHARS)
        if group not in self._loop.system.rows_of:
            faults.append(Fault("group", "must exist", f"no group or resource {group!r}"))
        if mode not in _MODES:
            faults.append(Fault("mode", f"one of {', '.join(_MODES)}", f"{mode!r} is not"))
        if faults:
            raise RequestRejected(tuple(faults))
        wanted, limits = Mode[mode.upper()], self._loop.settings.policy.guard
        with self._writing:
            rules = self._rules.with_mode(group, wanted)
            if limits.outside(scope.user) and limits.approval_kw < math.inf:
                until_s = self.moment.now_s + limits.waiting_s
                rules = self._rules.loosened(group, wanted, scope.user, until_s)
            text = f"{group}: {mode}"
            if group in rules.loosenings:
                text += " wanted, one more person is needed"
            self._set(rules, scope, "set_mode", why, text, {"group": group, "mode": mode})
        return self.guard(scope)

    def approve(self, scope: Scope, proposal_id: str, *, why: str = "") -> GuardView:
        """Be the second person: a proposal that waits comes into force, or goals that wait.

        Said again of goals that are in force, or of what a system above asks, it prolongs the approval.

        Args:
            scope: authority; operators over its group, and never its author.
            proposal_id: which.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: it does not wait.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        with self._writing, self._deciding:
            waits = self._approvable(proposal_id)
            wish = waits.proposal
            with self._refusals(scope, wish.group, "approve"):
                self._require(scope, wish.group)
                if scope.user == wish.author:
                    raise AccessDenied(
                        f"user {scope.user!r} asked for {wish.id!r}: another person must approve"
                    )
            self._sound_words(why)
            if wish.group not in self._loop.system.rows_of:
                reason = f"group {wish.group!r} does not exist any more"
                raise RequestRejected((Fault("group", "must exist", reason),))
            self._let_come(waits, scope, why)
            self._waiting.pop(wish.id, None)
        return self.guard(scope)

    def refuse(self, scope: Scope, proposal_id: str, *, why: str = "") -> GuardView:
        """Send a proposal, or goals, that wait away; their author may, too.

        Args:
            scope: authority; operators over its group.
            proposal_id: which.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: it does not wait.
            AccessDenied: recorded as a refusal.
        """
        with self._writing:
            wish = self._waiting_one(proposal_id).proposal
            self._authorise(scope, wish.group, "refuse")
            self._sound_words(why)
            text = f"refused: {wish.id} of {wish.author}"
            self._set(self._rules, scope, "refuse", why, text, {"id": wish.id, "group": wish.group})
            del self._waiting[wish.id]
        return self.guard(scope)

    def all_to_default(self, scope: Scope, *, minutes: float = 60.0, why: str = "") -> GuardView:
        """Kill switch: every order in force is taken back, and nothing else is sent.

        It ends when two persons say so, or after ``minutes``.

        Args:
            scope: authority; operators over everything.
            minutes: how long at most.
            why: in words, kept in the ledger.

        Raises:
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "all_to_default")
        faults = wrong_words("why", why, _WHY_CHARS)
        if not 0 < minutes <= _LONGEST_MINUTES:
            faults.append(Fault("minutes", f"above 0, at most {_LONGEST_MINUTES:.0f}", f"{minutes:g} is not"))
        if faults:
            raise RequestRejected(tuple(faults))
        with self._writing:
            now_s = self.moment.now_s
            until_s = now_s + max(1, round(minutes * 60))
            rules = self._rules.all_to_default(scope.user, why, now_s, until_s)
            text = f"all to default, at most until {iso(until_s)}"
            self._set(rules, scope, "all_to_default", why, text, {"minutes": minutes})
        return self.guard(scope)

    def end_default(self, scope: Scope, *, why: str = "") -> GuardView:
        """Say that orders may be sent again; with a second person it is so.

        Args:
            scope: authority; operators over everything.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: the switch is off.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "end_default")
        self._sound_words(why)
        with self._writing:
            before = self._rules
            if before.default is None:
                raise UnknownName("all to default is not on")
            rules = before.end_default(scope.user)
            done = "ended" if rules.default is None else "to be ended, one more person is needed"
            self._set(rules, scope, "end_default", why, f"all to default: {done}", {})
        return self.guard(scope)

    # ---- inside -----------------------------------------------------------------------------

    @property
    def _rules(self) -> Rules:
        """What people have set, without what has ended."""
        now_s = self.moment.now_s  # before the rules: what a tick meanwhile made last longer is not over
        return self._loop.rules.at(now_s)

    def _set(
        self,
        rules: Rules,
        scope: Scope,
        verb: str,
        why: str,
        text: str,
        more: Mapping[str, Json],
        also: Iterable[Entry] = (),
    ) -> None:
        """Let other rules hold from the next tick on: recorded, then published as one reference."""
        head: dict[str, Json] = {"verb": verb, "author": scope.user, "why": why, **more}
        head |= {"text": f"{text} ({why})" if why else text, "rules": rules.said()}
        self._record.append([Entry(KIND, self.moment.now_s, head), *also])
        self._loop.rules = rules
        self._collect_events()

    def _moded(self, group: str) -> tuple[Fault, ...]:
        """What keeps a group from being deleted: with it, what it receives would change unseen."""
        mode = self._rules.modes.get(group)
        limits = [limit.group for limit in self._loop.settings.policy.guard.groups]
        if mode is None and group not in limits:
            return ()
        reason = "it has limits of its own" if mode is None else f"it is {mode.name.lower()}"
        return (Fault("group", "automatic and without limits of the guard", reason),)

    def _new_id(self, user: str) -> str:
        with self._changed:
            self._proposed += 1
            return f"{user}-{self.moment.seq}-{self._proposed}"

    def _freed(self, before: Groups, after: Groups) -> tuple[Fault, ...]:
        """What keeps groups from being changed: with their members, who may be moved would change unseen."""
        guard, modes = self._loop.settings.policy.guard, self._rules.modes
        watched = dict.fromkeys((*modes, *(limit.group for limit in guard.groups)))
        left = [
            name
            for name in watched
            if name in before and name in after and len(np.setdiff1d(before.rows(name), after.rows(name)))
        ]
        rule = "members of a group that is not automatic, or has limits of the guard, stay"
        return tuple(Fault("group", rule, f"members would leave {name!r}") for name in left)

    def _sound_words(self, why: str) -> None:
        faults = wrong_words("why", why, _WHY_CHARS)
        if faults:
            raise RequestRejected(tuple(faults))

    def _must_wait(self, wish: Proposal, decision: Decision, moment: Moment) -> Waiting | None:
        """A proposal that would displace more than one person may; None where it may go at once."""
        limits = self._loop.settings.policy.guard
        if not limits.external(wish) or limits.approval_kw == math.inf:
            return None
        if self._rules.default is not None or Mode.DISABLED in self._rules.modes.values():
            # Who receives nothing now may be asked while the wish lasts: what it would come to then counts.
            with self._deciding:
                decision, _ = self._loop.rehearse(moment, [wish], Rules())
        targets, standing = decision.targets, self._loop.deciding.standing
        present = np.nan_to_num(moment.image.p_kw.astype(np.float64))
        mine = np.isin(targets.source, [k for k, p in enumerate(targets.proposals) if p.id == wish.id])
        moved = float(np.abs(targets.p_kw - present)[mine].sum())
        held = float(standing.guarded.memory.held_by([wish.author])[0])
        if held + moved <= limits.approval_kw:
            return None
        return Waiting(wish, moved, moment.now_s + limits.waiting_s)

    def _let_come(self, waits: Waiting, scope: Scope, why: str) -> None:
        """What a second person agrees to is recorded and holds: as long as it was asked, at most."""
        wish, now_s, limits = waits.proposal, self.moment.now_s, self._loop.settings.policy.guard
        length_s, settings = limits.goals_s, self._loop.settings
        also = []
        if waits.wish:
            lasts_s = wish.until_s - wish.start_s
            length_s, wish = (
                min(lasts_s, limits.approval_s),
                replace(wish, start_s=now_s, until_s=now_s + lasts_s),
            )
            also = [Entry("proposal", now_s, to_head(wish) | {"text": _show.wish_text(wish)})]
        elif waits.goals is not None and waits.goals.id != (settings.goals or Stated()).id:
            settings = self._with_goals(waits.goals.called(now_s))
            also = [entry_of_goals(settings, wish.author, now_s)]
        given = Approval(wish.id, wish.author, scope.user, waits.kw, now_s + length_s)
        text = f"approved: {wish.id} of {wish.author}, {waits.kw:.0f} kW"
        more: dict[str, Json] = {"id": wish.id, "group": wish.group}
        self._set(self._rules.with_approval(given), scope, "approve", why, text, more, also)
        if waits.wish:
            self._book.add(wish)
        if settings is not self._loop.settings:
            self._obey(settings)

    def _behind(self, goals: Stated, user: str) -> Stated:
        """Goals as somebody states them; without anybody where they are the owner's anyway.

        Where goals of somebody else are in force, what they move is given back: that counts, too.
        """
        settings, system = self._loop.settings, self._loop.system
        own, theirs = own_and_asked(settings)
        if not settings.policy.guard.outside(user):
            return goals
        kw = goals_kw(goals, own, system)
        if theirs is not None and theirs[0].author != user:
            kw = max(kw, goals_kw(goals, theirs[1], system))
        elif _same(goals, own):
            return own
        return replace(goals, author=user, id=self._new_id(user), moves_kw=kw)

    def _needs_second(self, goals: Stated) -> bool:
        """Whether goals could displace more than one person may, with what their author displaces already."""
        limits = self._loop.settings.policy.guard
        if not limits.outside(goals.author):
            return False
        memory, before = self._loop.deciding.standing.guarded.memory, self._loop.settings.goals or Stated()
        held = float(memory.held_by([goals.author])[0])
        given_back = memory.diverted.get(before.id)
        if given_back is not None and given_back.account == goals.author:
            held -= float(np.abs(given_back.by_kw).sum(dtype=np.float64))
        return held + goals.moves_kw > limits.approval_kw

    def _with_goals(self, goals: Stated) -> Settings:
        """The settings with other goals.

        Raises:
            RequestRejected: they name somebody who is not there any more.
        """
        faults = strangers(goals, self._loop.system)
        if faults:
            raise RequestRejected(faults)
        own, _ = own_and_asked(self._loop.settings)
        if _same(goals, own):
            goals = own
        outside = self._loop.settings.policy.guard.outside(goals.author)
        return replace(self._loop.settings, goals=goals, own_goals=own if outside else None)

    def _obey(self, settings: Settings) -> None:
        self._loop.obey(settings)
        self._settings = settings

    def _let_wait(self, waits: Waiting) -> int:
        """Record what waits; its place in the ledger."""
        now_s = self.moment.now_s
        seq = self._record.append([waits.entry(now_s)])
        kept = with_waiting(self._waiting, waits, now_s)
        self._waiting.clear()
        self._waiting.update(kept)
        return seq

    def _in_waiting(self, now_s: int) -> list[Waiting]:
        return [one for one in self._waiting.values() if one.until_s > now_s]

    def _waiting_one(self, proposal_id: str) -> Waiting:
        waits = self._waiting.get(proposal_id)
        if waits is None or waits.until_s <= self.moment.now_s:
            raise UnknownName(f"no proposal {proposal_id!r} waits for a second person")
        return waits

    def _approvable(self, proposal_id: str) -> Waiting:
        """What waits, or is in force by an approval that another one prolongs."""
        goals, rules = self._loop.settings.goals or Stated(), self._rules
        waits, until_s = self._waiting.get(proposal_id), self.moment.now_s
        if (waits is None or waits.until_s <= until_s) and proposal_id:
            if proposal_id == goals.id:
                return waiting_goals(goals, until_s)
            given = rules.approvals.get(proposal_id)
            if given is not None and proposal_id == id_of(given.author):
                return waiting_above(given.author, self._loop.settings.policy.head_group, given.kw, until_s)
        return self._waiting_one(proposal_id)

    def _all_waiting(self, now_s: int) -> list[WaitingView]:
        limit_kw = self._loop.settings.policy.guard.approval_kw
        return [one.view(limit_kw) for one in self._in_waiting(now_s)]

    def _modes(self, rules: Rules) -> list[ModeView]:
        groups = self._loop.system.groups
        sections = [name for name in groups.ids if name.startswith("section/") and name.count("/") == 1]
        names = dict.fromkeys(["all", *sections, *sorted(rules.modes)])
        return [
            ModeView(
                name,
                groups.title(name) if name in groups else name,
                rules.modes.get(name, Mode.AUTOMATIC).name.lower(),
                _wanted(rules, name),
            )
            for name in names
        ]

    def _default(self, rules: Rules, moment: Moment) -> DefaultView | None:
        on = rules.default
        if on is None:
            return None
        memory = self._loop.deciding.standing.guarded.memory
        open_ = int((memory.expires_s > moment.now_s).sum())
        return DefaultView(on.author, on.why, iso(on.since_s), iso(on.until_s), sorted(on.ending), open_)

    def _budgets(self, rules: Rules, moment: Moment) -> list[BudgetView]:
        limits, now_s = self._loop.settings.policy.guard, moment.now_s
        memory = self._loop.deciding.standing.guarded.memory
        approved = {given.account: 2.0 * given.kw for given in rules.approvals.values()}
        size_kw = limits.fleet_kw(moment.image)
        found = []
        for account in memory.movers:
            moved = memory.spent_kw(account, now_s, limits.window_s)
            held = float(memory.held_by([account])[0])
            if moved + held > 1e-3:
                most = approved.get(account, limits.budget_of(account, size_kw))
                found.append(BudgetView(account, round(moved, 3), round(held, 3), number(most, 3)))
        return found


def _wanted(rules: Rules, group: str) -> str:
    """What one person wants a group to take part in, beyond what it does."""
    wanted = rules.loosenings.get(group)
    return "" if wanted is None else f"{wanted.mode.name.lower()} by {wanted.by}, one more person is needed"


def held_of(decision: Decision, wish: Proposal) -> dict[str, int]:
    """How many orders of a proposal the guard would hold, by reason."""
    passed, proposals = decision.passed, decision.targets.proposals
    place = [k for k, other in enumerate(proposals) if other.id == wish.id]
    why = passed.why[np.isin(passed.source, place)]
    many = np.bincount(why, minlength=len(Held))
    return {Held(k).name.lower(): int(many[k]) for k in range(1, len(Held)) if many[k]}


def _same(goals: Stated, others: Stated) -> bool:
    """Whether both want the same, whoever states it."""
    return (goals.goals, goals.order) == (others.goals, others.order)
