"""The façade: every verb a person or program can use, each taking verified authority.

Python, REST, command line and console are thin skins over this class; a test keeps them equal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from gridflock.dispatch import Decision
from gridflock.fleet.claims import Claim, Held
from gridflock.grid import Flow, violations
from gridflock.model import Entry, Json, Priority, Proposal
from gridflock.runtime import _show
from gridflock.runtime._access import AccessDenied, Scope
from gridflock.runtime._book import to_head
from gridflock.runtime._comparing import Comparing
from gridflock.runtime._foreseeing import Foreseeing
from gridflock.runtime._goals import entry_of as entry_of_goals
from gridflock.runtime._goals import stated, strangers, wrong_in_plan
from gridflock.runtime._guarding import held_of
from gridflock.runtime._life import UnknownName
from gridflock.runtime._loop import Moment
from gridflock.runtime._offered import Offering
from gridflock.runtime._peer import Peering
from gridflock.runtime._plan_views import GoalsView
from gridflock.runtime._pricing import Pricing
from gridflock.runtime._requests import (
    ClaimWords,
    ProposalRejected,
    RequestRejected,
    Want,
    claim_faults,
    group_faults,
    promised,
    read_claim,
    resting,
    wrong_want,
)
from gridflock.runtime._system import RowsOf
from gridflock.runtime._typed import judged
from gridflock.runtime._utility_verbs import Serving
from gridflock.runtime._views import (
    ClaimAnswer,
    ClaimView,
    Fault,
    GroupAnswer,
    ProposalAnswer,
    ProposalView,
    number,
)
from gridflock.runtime._virtual import Alteration, Definition, Step, Terms
from gridflock.runtime._virtual_kept import entry_of
from gridflock.runtime._waiting import Waiting, waiting_goals
from gridflock.units import iso

_MOST_OPEN = 200
"""Proposals of one author in force: each costs every tick, and a stolen token can send many."""
_MOST_CLAIMS = 10_000


@judged
class Derms(Comparing, Peering, Pricing, Foreseeing, Serving, Offering):
    """One running system, and what people and programs can ask of it. Thread-safe."""

    # ---- verbs ------------------------------------------------------------------------------

    def propose(
        self,
        scope: Scope,
        group: str,
        *,
        p_kw: float | None = None,
        p_lo_kw: float | None = None,
        p_hi_kw: float | None = None,
        minutes: float = 60.0,
        why: str = "",
        dry_run: bool = False,
    ) -> ProposalAnswer:
        """Ask a group for an injection, or bound it; a dry run shows what would happen.

        Args:
            scope: authority; operators over the group.
            group: group or resource id.
            p_kw: wanted sum of the group, injection positive.
            p_lo_kw: lower bound of the sum.
            p_hi_kw: upper bound of the sum.
            minutes: how long; every proposal ends.
            why: in words, kept in the ledger.
            dry_run: decide on the present image, record and send nothing.

        Raises:
            ProposalRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, group, "propose")
        want, now_kw = Want(group, p_kw, p_lo_kw, p_hi_kw, minutes, why), self.moment.image.p_kw
        faults = wrong_want(want, self._loop.system, now_kw, self._settings.tick_s)
        faults += self._closed(scope.user)
        if faults:
            raise ProposalRejected(faults)
        # Of many previews only one at a time stands in a tick's way.
        with self._previewing, self._deciding:
            moment = self.moment
            start_s = moment.now_s
            proposal = Proposal(
                id=f"{scope.user}-{moment.seq}-0" if dry_run else self._new_id(scope.user),
                group=group,
                priority=Priority.OPERATOR,
                author=scope.user,
                why=why or "operator",
                start_s=start_s,
                until_s=start_s + round(minutes * 60),
                p_kw=p_kw,
                p_lo_kw=-np.inf if p_lo_kw is None else p_lo_kw,
                p_hi_kw=np.inf if p_hi_kw is None else p_hi_kw,
            )
            decision, after = self._loop.rehearse(moment, [proposal])
        waits = self._must_wait(proposal, decision, moment)
        answer = self._answer(proposal, decision, moment, after, waits)
        if dry_run:
            return answer
        head = to_head(proposal) | {"text": _show.wish_text(proposal), "given_kw": answer.given_kw}
        with self._writing:
            if group not in self._loop.system.rows_of:
                raise ProposalRejected((Fault("group", "must exist", f"group {group!r} was just deleted"),))
            if waits is not None:
                seq = self._let_wait(waits)
            else:
                seq = self._record.append([Entry("proposal", moment.now_s, head)])
                self._book.add(proposal)
        self._collect_events()
        return replace(answer, dry_run=False, seq=seq)

    def withdraw(self, scope: Scope, proposal_id: str) -> ProposalView:
        """Take a proposal back: undo.

        Raises:
            UnknownName: it is not in force.
            AccessDenied: recorded as a refusal.
        """
        found = next((p for p in self._book.open() if p.id == proposal_id), None)
        if found is None:
            message = f"no proposal {proposal_id!r} in force"
            raise UnknownName(message)
        self._authorise(scope, found.group, "withdraw")
        self._record.append([self._withdrawal(found, scope.user)])
        self._book.withdraw(proposal_id)
        self._collect_events()
        return _show.proposal(found)

    def pursue(self, scope: Scope, document: Mapping[str, Any]) -> GoalsView:
        """State the goals of the system anew, all of them; the next tick plans for them.

        Goals that could displace more than one person may wait for a second one (``waiting`` of the answer);
        until then those before hold. What an owner wants holds beside: it is followed where these are not.

        Args:
            scope: authority; operators over the whole system.
            document: ``goals`` and perhaps their ``order``; no goals take back those there are.

        Raises:
            RequestRejected: with every fault; the goals before still hold.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, "all", "pursue")
        goals, moment = stated(document).called(self.moment.now_s), self.moment
        faults = strangers(goals, self._loop.system) or wrong_in_plan(goals, self._loop.system, moment)
        if faults:
            raise RequestRejected(faults)
        with self._writing, self._deciding:
            goals = self._behind(goals, scope.user)
            if self._needs_second(goals):
                self._let_wait(waiting_goals(goals, moment.now_s + self._settings.policy.guard.waiting_s))
            else:
                settings = self._with_goals(goals)
                self._record.append([entry_of_goals(settings, scope.user, self.moment.now_s)])
                self._obey(settings)
        self._collect_events()
        return self.goals(scope)

    def define_group(
        self,
        scope: Scope,
        group: str,
        title: str = "",
        *,
        members: Sequence[str] = (),
        children: Sequence[str] = (),
        parents: Sequence[str] = (),
        rule: str = "",
        place: Mapping[str, Any] | None = None,
        inside: Sequence[str] = (),
        outside: Sequence[str] = (),
    ) -> GroupAnswer:
        """Make a virtual DER of resources, of groups, by rule, or all of these; proposable at once.

        Args:
            scope: authority; operators over all its members.
            group: its id.
            title: for the screen; no two groups have the same.
            members: resource ids.
            children: groups inside it.
            parents: groups that it becomes part of; not the system's own.
            rule: query over any attribute; who fulfils it is a member.
            place: GeoJSON polygon; of those by rule only who is in there.
            inside: of those by rule only who is in at least one of these groups.
            outside: of those by rule only who is in none of these groups.

        Raises:
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        with self._writing, self._refusals(scope, group, "define_group"):
            terms = Terms(rule, place, tuple(inside), tuple(outside))
            asked = Definition(group, title, tuple(members), tuple(children), tuple(parents), terms)
            step = self._virtual.define(asked, scope.user, self.moment.now_s)
            return self._regroup(scope, "define", group, step)

    def change_group(
        self,
        scope: Scope,
        group: str,
        *,
        version: str = "",
        title: str | None = None,
        join: Sequence[str] = (),
        leave: Sequence[str] = (),
        children: Sequence[str] | None = None,
        parents: Sequence[str] | None = None,
        rule: str | None = None,
        place: Mapping[str, Any] | None = None,
        inside: Sequence[str] | None = None,
        outside: Sequence[str] | None = None,
    ) -> GroupAnswer:
        """Change a virtual DER that was defined; what is not given stays.

        Args:
            scope: authority; operators over all members before and after.
            group: its id.
            version: the state that the author knows (``"1.0.0"``); another is refused. Empty = any.
            title: for the screen.
            join: resources that become members.
            leave: resources that are so no longer.
            children: all groups inside it from now on.
            parents: all groups it is part of from now on.
            rule: instead of the query it follows.
            place: instead of the polygon it follows.
            inside: instead of the groups its rule looks into.
            outside: instead of the groups its rule keeps out.

        Raises:
            UnknownName: no such group.
            RequestRejected: with every fault; also where a claim could not be served any more.
            AccessDenied: recorded as a refusal.
        """
        with self._writing, self._refusals(scope, group, "change_group"):
            self._known_group(group)
            ties = [None if names is None else tuple(names) for names in (children, parents, inside, outside)]
            asked = Alteration(
                group, version, title, tuple(join), tuple(leave), ties[0], ties[1], rule, place, *ties[2:]
            )
            step = self._virtual.change(asked, scope.user, self.moment.now_s)
            return self._regroup(scope, "change", group, step)

    def delete_group(
        self, scope: Scope, group: str, *, version: str = "", cascade: bool = False
    ) -> GroupAnswer:
        """Delete a virtual DER that was defined; its members and the groups inside it stay.

        Args:
            scope: authority; operators over all its members.
            group: its id.
            version: the state that the author knows; another is refused. Empty = any.
            cascade: also end the proposals on it and take it out of the groups it is part of; without,
                either is a reason to refuse. Claims on it must be released before.

        Raises:
            UnknownName: no such group.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        with self._writing, self._refusals(scope, group, "delete_group"):
            self._known_group(group)
            wishes = tuple(wish for wish in self._book.open() if wish.group == group)
            step = self._virtual.delete(group, version, scope.user, self.moment.now_s, cascade=cascade)
            faults = (*self._moded(group), *(() if cascade else resting(wishes)))
            return self._regroup(scope, "delete", group, step, faults, wishes)

    def claim(
        self,
        scope: Scope,
        group: str,
        *,
        kind: str,
        up_kw: float = 0.0,
        down_kw: float = 0.0,
        e_kwh: float = 0.0,
        start: str = "",
        minutes: float = 60.0,
        owner: str = "",
        priority: str = "market",
        service: str = "",
        why: str = "",
        displace: bool = False,
        replaces: str = "",
    ) -> ClaimAnswer:
        """Promise something of a group or resource, if it can be served beside all that is promised.

        Args:
            scope: authority; operators over the group.
            group: group or resource id.
            kind: what for: programme, offer, reserve, award, event, envelope, backup or limit.
            up_kw: power to inject more or draw less.
            down_kw: power to inject less or draw more.
            e_kwh: energy, in every day (UTC) that the time touches.
            start: ISO 8601; now where empty.
            minutes: how long.
            owner: to whom; the user where empty.
            priority: operator, event, market, schedule or regulation.
            service: name of the service; the kind where empty.
            why: in words, kept in the ledger.
            displace: claims of weaker priority give way, as far as the authority goes.
            replaces: id of a claim that goes if this one is held; operators over its group.

        Raises:
            RequestRejected: with every fault, or with the holders in its way.
            AccessDenied: recorded as a refusal.
        """
        self._authorise(scope, group, "claim")
        with self._writing:
            now_s = self.moment.now_s
            who, sizes = owner or scope.user, (up_kw, down_kw, e_kwh)
            words = ClaimWords(group, kind, who, start, minutes, *sizes, priority, service, why)
            if self._promises.count(now_s) >= _MOST_CLAIMS:
                raise RequestRejected((Fault("group", f"at most {_MOST_CLAIMS} claims", "release some"),))
            asked = read_claim(words, self._new_id(scope.user), now_s)
            self._may_end(scope, replaces, now_s)
            gives = partial(self._reaches, scope) if displace else None
            answer = self._promises.make(asked, now_s, scope.user, displace=gives, replaces=replaces)
            self._collect_events()
            if not answer.held:
                raise RequestRejected(claim_faults(answer))
            displaced = [_show.claim(self._promises[other.id]) for other in answer.displaced]
            return ClaimAnswer(_show.claim(self._promises[asked.id]), displaced)

    def release(self, scope: Scope, claim_id: str) -> ClaimView:
        """Give a claim up.

        Raises:
            UnknownName: it is not in force.
            AccessDenied: recorded as a refusal.
        """
        with self._writing:
            now_s = self.moment.now_s
            found = self._may_end(scope, claim_id, now_s)
            if found is None:
                message = f"no claim {claim_id!r} in force"
                raise UnknownName(message)
            self._promises.release(claim_id, now_s, scope.user)
            self._collect_events()
            return _show.claim(found)

    def _reaches(self, scope: Scope, claim: Claim) -> bool:
        """Whether a scope's authority extends to what a claim lies on."""
        try:
            self._require(scope, claim.on)
        except AccessDenied:
            return False
        return True

    def _may_end(self, scope: Scope, claim_id: str, now_s: int) -> Held | None:
        """A claim in force, None where there is none of that id, once its end is authorised."""
        found = next((life for life in self._promises.open(now_s) if life.claim.id == claim_id), None)
        if found is not None:
            self._authorise(scope, found.claim.on, "release")
        return found

    def _withdrawal(self, wish: Proposal, author: str) -> Entry:
        head = {"id": wish.id, "group": wish.group, "author": author, "text": f"withdrawn: {wish.id}"}
        return Entry("withdrawal", self.moment.now_s, head)

    def _regroup(
        self,
        scope: Scope,
        verb: str,
        group: str,
        step: Step,
        faults: tuple[Fault, ...] = (),
        ends: tuple[Proposal, ...] = (),
    ) -> GroupAnswer:
        """Let another state of the groups hold: judged, recorded, then published as one reference."""
        freed = self._freed(self._virtual.groups, step.after.groups)
        faults = (*group_faults(step.rejected), *faults, *freed)
        if faults:
            raise RequestRejected(faults)
        before, after, now_s = self._virtual, step.after, self.moment.now_s
        # Who may reach a group because it was defined so must not widen it: only the system's own count.
        mine = self._mine(scope, own=True)
        scope.require_members(before.touched(step, group), mine, empty=before.empty(step, group))
        broken = self._promises.follow(RowsOf(after.groups), now_s)
        if broken:
            raise RequestRejected(promised(broken))
        told = before if step.gone is not None else after
        rows, definition = told.groups.rows(group), _show.definition(told.definition(group))
        head: dict[str, Json] = {"group": group, "verb": verb, "author": scope.user}
        head["version"] = definition.version
        head["text"] = f"{verb}: {group}, version {definition.version}, {len(rows)} members"
        try:
            ended = [self._withdrawal(wish, scope.user) for wish in ends]
            seq = self._record.append([*ended, entry_of(step, head, now_s)])
        except BaseException:
            self._promises.follow(RowsOf(before.groups), now_s)
            raise
        for wish in ends:
            self._book.withdraw(wish.id)
        with self._deciding:
            self._loop.regroup(after.groups, seq)
        self._virtual = after
        self._collect_events()
        return GroupAnswer(definition, len(rows), [wish.id for wish in ends], seq)

    def _closed(self, author: str) -> tuple[Fault, ...]:
        """Why nothing more can be asked, whatever it is."""
        if self._over:
            return (Fault("group", "while the system lives", "the day is over: nothing is ordered"),)
        wishes = (*self._book.open(), *(one.proposal for one in self._in_waiting(self.moment.now_s)))
        mine = sum(wish.author == author for wish in wishes)
        if mine < _MOST_OPEN:
            return ()
        reason = f"{author!r} has {mine} in force; withdraw some"
        return (Fault("group", f"at most {_MOST_OPEN} proposals of one author", reason),)

    def _answer(
        self, proposal: Proposal, decision: Decision, moment: Moment, after: Flow, waits: Waiting | None
    ) -> ProposalAnswer:
        grant = next(g for g in decision.grants if g.proposal.id == proposal.id)
        network = self._loop.system.network
        return ProposalAnswer(
            proposal=_show.proposal(proposal),
            dry_run=True,
            seq=0,
            target_kw=number(grant.asked_kw, 3),
            given_kw=number(grant.given_kw, 3),
            shortfall_kw=number(grant.shortfall_kw, 3),
            causes={cause: round(kw, 3) for cause, kw in grant.causes.items()},
            by_family=_show.by_family(self._loop.system, moment, decision, proposal),
            members=_show.moves(self._loop.system, moment, decision, proposal),
            before=_show.glance(moment.flow, moment.violations),
            after=_show.glance(after, violations(network, after)),
            held=held_of(decision, proposal),
            waits=waits is not None,
            expires=iso(proposal.until_s),
            default="each device's own default when its order expires "
            f"({self._settings.policy.valid_s} s after the last renewal at most)",
        )
