"""The verbs of the guard: modes of feeders, second persons, and all to default."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from gridflock.dispatch import Decision, Rules
from gridflock.dispatch.guard import Approval, Held, Mode
from gridflock.model import Entry, Json, Proposal
from gridflock.runtime import _show
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._authority import Authority
from gridflock.runtime._book import from_head, to_head
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
from gridflock.runtime._requests import RequestRejected, wrong_words
from gridflock.runtime._rules import KIND
from gridflock.runtime._views import Fault, number
from gridflock.units import iso

_WHY_CHARS = 500
_LONGEST_MINUTES = 24 * 60.0
_MODES = tuple(mode.name.lower() for mode in Mode)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A proposal that waits for a second person.

    Attributes:
        proposal: as it was asked.
        kw: what it would displace.
        until_s: it waits so long.
    """

    proposal: Proposal
    kw: float
    until_s: int


class Guarding(Authority):
    """Verbs of what people set for the guard; each is recorded with author and reason."""

    @cached_property
    def _waiting(self) -> dict[str, Waiting]:
        """Proposals that wait, as the ledger has them."""
        return _still_waiting(self._record.entries(0, {KIND}))

    # ---- verbs ------------------------------------------------------------------------------

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
            waiting=[self._waits(one) for one in self._in_waiting(moment.now_s)],
            approvals=[
                ApprovalView(given.proposal, given.author, given.by, round(given.kw, 3), iso(given.until_s))
                for given in rules.approvals.values()
            ],
            budgets=self._budgets(rules, moment),
            trials=sorted(state.trials),
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
                ``"disabled"``: it receives nothing. Of several groups the strictest holds.
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
        text = f"{group}: {mode}"
        with self._writing:
            rules = self._rules.with_mode(group, Mode[mode.upper()])
            self._set(rules, scope, "set_mode", why, text, {"group": group, "mode": mode})
        return self.guard(scope)

    def approve(self, scope: Scope, proposal_id: str, *, why: str = "") -> GuardView:
        """Be the second person: a proposal that waits comes into force.

        Args:
            scope: authority; operators over its group, and never its author.
            proposal_id: which.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: it does not wait.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        with self._writing:
            waits = self._waiting_one(proposal_id)
            wish, now_s = waits.proposal, self.moment.now_s
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
            length_s = wish.until_s - wish.start_s
            wish = replace(wish, start_s=now_s, until_s=now_s + length_s)
            until_s = now_s + min(length_s, self._loop.settings.policy.guard.approval_s)
            given = Approval(wish.id, wish.author, scope.user, waits.kw, until_s)
            text = f"approved: {wish.id} of {wish.author}, {waits.kw:.0f} kW"
            head = to_head(wish) | {"text": _show.wish_text(wish)}
            also = [Entry("proposal", now_s, head)]
            more: dict[str, Json] = {"id": wish.id, "group": wish.group}
            self._set(self._rules.with_approval(given), scope, "approve", why, text, more, also)
            del self._waiting[wish.id]
            self._book.add(wish)
        return self.guard(scope)

    def refuse(self, scope: Scope, proposal_id: str, *, why: str = "") -> GuardView:
        """Send a proposal that waits away; its author may, too.

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

    def _let_wait(self, waits: Waiting) -> int:
        """Record a proposal that waits; its place in the ledger."""
        wish = waits.proposal
        head: dict[str, Json] = {"verb": "waits", "proposal": to_head(wish), "kw": waits.kw}
        head |= {"id": wish.id, "group": wish.group, "author": wish.author, "why": wish.why}
        head |= {"until_s": waits.until_s, "text": f"waits for a second person: {_show.wish_text(wish)}"}
        seq = self._record.append([Entry(KIND, self.moment.now_s, head)])
        for over in [one for one in self._waiting.values() if one.until_s <= self.moment.now_s]:
            del self._waiting[over.proposal.id]
        self._waiting[wish.id] = waits
        return seq

    def _in_waiting(self, now_s: int) -> list[Waiting]:
        return [one for one in self._waiting.values() if one.until_s > now_s]

    def _waiting_one(self, proposal_id: str) -> Waiting:
        waits = self._waiting.get(proposal_id)
        if waits is None or waits.until_s <= self.moment.now_s:
            raise UnknownName(f"no proposal {proposal_id!r} waits for a second person")
        return waits

    def _modes(self, rules: Rules) -> list[ModeView]:
        groups = self._loop.system.groups
        sections = [name for name in groups.ids if name.startswith("section/") and name.count("/") == 1]
        names = dict.fromkeys(["all", *sections, *sorted(rules.modes)])
        return [
            ModeView(
                name,
                groups.title(name) if name in groups else name,
                rules.modes.get(name, Mode.AUTOMATIC).name.lower(),
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
        for account, held in zip(memory.accounts, memory.held_kw.tolist(), strict=True):
            moved = memory.spent_kw(account, now_s, limits.window_s)
            if moved + held > 1e-3:
                most = approved.get(account, limits.budget_of(account, size_kw))
                found.append(BudgetView(account, round(moved, 3), round(held, 3), number(most, 3)))
        return found

    def _waits(self, one: Waiting) -> WaitingView:
        wish, limit = one.proposal, self._loop.settings.policy.guard.approval_kw
        return WaitingView(
            wish.id,
            wish.group,
            wish.author,
            wish.why,
            wish.p_kw,
            number(wish.p_lo_kw),
            number(wish.p_hi_kw),
            round(one.kw, 3),
            round(limit, 3),
            iso(one.until_s),
        )


def held_of(decision: Decision, wish: Proposal) -> dict[str, int]:
    """How many orders of a proposal the guard would hold, by reason."""
    passed, proposals = decision.passed, decision.targets.proposals
    place = [k for k, other in enumerate(proposals) if other.id == wish.id]
    why = passed.why[np.isin(passed.source, place)]
    many = np.bincount(why, minlength=len(Held))
    return {Held(k).name.lower(): int(many[k]) for k in range(1, len(Held)) if many[k]}


def _still_waiting(entries: Iterable[Entry]) -> dict[str, Waiting]:
    """Replay what waits from a ledger."""
    found: dict[str, Waiting] = {}
    for entry in entries:
        head: Mapping[str, Any] = entry.head
        if head.get("verb") == "waits":
            found[head["id"]] = Waiting(from_head(head["proposal"]), float(head["kw"]), int(head["until_s"]))
        elif head.get("verb") in ("approve", "refuse"):
            found.pop(head["id"], None)
    return found
