"""What people have set: modes of feeders, second persons' words, the kill switch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from gridflock.dispatch.guard._held import Mode
from gridflock.fleet import Image
from gridflock.model import BoundSource, Capability, Json
from gridflock.units import Codes, Rows


@dataclass(frozen=True, slots=True)
class Approval:
    """A second person's word for a proposal that moves more than one person may.

    Attributes:
        proposal: its id.
        author: who asked.
        by: who approved; never the author.
        kw: displacement that was approved, kW.
        until_s: it counts until then.
    """

    proposal: str
    author: str
    by: str
    kw: float
    until_s: int

    @property
    def account(self) -> str:
        """What it moves is counted here and not against its author."""
        return f"approved:{self.proposal}"


@dataclass(frozen=True, slots=True)
class Loosening:
    """One person wants a feeder or group to take part in more; a second one lets it.

    Attributes:
        group: which.
        mode: what it would take part in.
        by: who wants it.
        until_s: it is forgotten then.
    """

    group: str
    mode: Mode
    by: str
    until_s: int


@dataclass(frozen=True, slots=True)
class AllToDefault:
    """The kill switch while it is on: nothing goes out but revocations.

    Attributes:
        author: who pressed it.
        why: in words.
        since_s: from when.
        until_s: it ends then by itself.
        ending: who wants it ended before; two end it.
        late_s: by so much it lasts longer than was said, because clocks were set ahead.
    """

    author: str
    why: str
    since_s: int
    until_s: int
    ending: frozenset[str] = frozenset()
    late_s: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """What people have set and the guard obeys; a value that a tick hears like the wishes.

    Attributes:
        modes: of feeders and groups that are not automatic.
        approvals: by proposal id.
        default: the kill switch; None = off.
        loosenings: by group, modes that one person wants loosened.
    """

    modes: Mapping[str, Mode] = field(default_factory=dict)
    approvals: Mapping[str, Approval] = field(default_factory=dict)
    default: AllToDefault | None = None
    loosenings: Mapping[str, Loosening] = field(default_factory=dict)

    def said(self) -> dict[str, Json]:
        """The same as JSON, as a ledger keeps it."""
        said: dict[str, Json] = {
            "modes": {group: mode.name for group, mode in sorted(self.modes.items())},
            "approvals": [asdict(given) for _, given in sorted(self.approvals.items())],
        }
        if self.default is not None:
            said["default"] = asdict(self.default) | {"ending": sorted(self.default.ending)}
        if self.loosenings:
            wanted = [one for _, one in sorted(self.loosenings.items())]
            said["loosenings"] = [asdict(one) | {"mode": one.mode.name} for one in wanted]
        return said

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Rules:
        """The inverse of ``said``.

        Raises:
            KeyError: a field is missing, or a mode has no such name.
        """
        default = said.get("default")
        given = [Approval(**one) for one in said.get("approvals", ())]
        wanted = [Loosening(**{**one, "mode": Mode[one["mode"]]}) for one in said.get("loosenings", ())]
        return cls(
            {group: Mode[name] for group, name in said.get("modes", {}).items()},
            {one.proposal: one for one in given},
            None if default is None else AllToDefault(**{**default, "ending": frozenset(default["ending"])}),
            {one.group: one for one in wanted},
        )

    def with_mode(self, group: str, mode: Mode) -> Rules:
        """A feeder or group takes part in so much from now on."""
        modes = {name: held for name, held in self.modes.items() if name != group}
        if mode is not Mode.AUTOMATIC:
            modes[group] = mode
        wanted = {name: one for name, one in self.loosenings.items() if name != group}
        return replace(self, modes=modes, loosenings=wanted)

    def loosened(self, group: str, mode: Mode, by: str, until_s: int) -> Rules:
        """One person wants a feeder or group to take part in more; with the second it does.

        What is stricter than now, or as strict, holds at once.
        """
        if mode >= self.modes.get(group, Mode.AUTOMATIC):
            return self.with_mode(group, mode)
        wanted = self.loosenings.get(group)
        if wanted is not None and wanted.mode is mode and wanted.by != by:
            return self.with_mode(group, mode)
        asked = wanted if wanted is not None and wanted.mode is mode else Loosening(group, mode, by, until_s)
        return replace(self, loosenings={**self.loosenings, group: asked})

    def approval_of(self, proposal: str, author: str) -> Approval | None:
        """A second person's word for what an author asked; None where there is none, or it is their own."""
        given = self.approvals.get(proposal)
        if given is None or given.author != author or given.by == author:
            return None
        return given

    def with_approval(self, approval: Approval) -> Rules:
        """A second person's word."""
        return replace(self, approvals={**self.approvals, approval.proposal: approval})

    def all_to_default(self, author: str, why: str, since_s: int, until_s: int) -> Rules:
        """Press the kill switch; pressed again it lasts at least as long, and two must end it anew."""
        late_s = 0
        if self.default is not None:
            since_s, until_s = self.default.since_s, max(until_s, self.default.until_s)
            late_s = self.default.late_s
        return replace(self, default=AllToDefault(author, why, since_s, until_s, late_s=late_s))

    def late(self, since_s: int, late_s: int) -> Rules:
        """The kill switch of a moment lasts so much longer in all: what nobody lived does not end it."""
        on = self.default
        if on is None or on.since_s != since_s or on.late_s >= late_s:
            return self
        return replace(self, default=replace(on, until_s=on.until_s + late_s - on.late_s, late_s=late_s))

    def end_default(self, by: str) -> Rules:
        """One person wants it ended; with the second it is."""
        if self.default is None:
            return self
        ending = self.default.ending | {by}
        return replace(self, default=None if len(ending) > 1 else replace(self.default, ending=ending))

    def at(self, now_s: int) -> Rules:
        """What has ended by now is over."""
        rules = self
        if rules.default is not None and rules.default.until_s <= now_s:
            rules = replace(rules, default=None)
        if any(given.until_s <= now_s for given in rules.approvals.values()):
            left = {name: given for name, given in rules.approvals.items() if given.until_s > now_s}
            rules = replace(rules, approvals=left)
        if any(wanted.until_s <= now_s for wanted in rules.loosenings.values()):
            going = {name: one for name, one in rules.loosenings.items() if one.until_s > now_s}
            rules = replace(rules, loosenings=going)
        return rules

    def mode_of(self, n: int, rows_of: Mapping[str, Rows]) -> Codes:
        """uint8 (n,) ``Mode`` of every row, the strictest of its groups; a group that is gone holds all."""
        mode = np.zeros(n, dtype=np.uint8)
        for group, held in self.modes.items():
            rows = rows_of[group] if group in rows_of else slice(None)
            mode[rows] = np.maximum(mode[rows], held)
        return mode

    def narrowed(self, capability: Capability, image: Image, rows_of: Mapping[str, Rows]) -> Capability:
        """Capability without those that receive nothing: they are counted with what they do."""
        rules = self.at(image.now_s)
        if rules.default is None and Mode.DISABLED not in rules.modes.values():
            return capability
        out = rules.mode_of(image.n, rows_of) == Mode.DISABLED
        if rules.default is not None:
            out[:] = True
        present = np.clip(
            np.nan_to_num(image.p_kw.astype(np.float64)), capability.p_lo_kw, capability.p_hi_kw
        )
        source = np.uint8(BoundSource.NOT_READY)
        return Capability(
            np.where(out, present, capability.p_lo_kw),
            np.where(out, present, capability.p_hi_kw),
            np.where(out, source, capability.lo_source).astype(np.uint8),
            np.where(out, source, capability.hi_source).astype(np.uint8),
        )
