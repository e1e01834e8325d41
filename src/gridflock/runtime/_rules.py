"""What the ledger keeps of the guard: what people have set, and what it let through and held."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.dispatch import Decision
from gridflock.dispatch.guard import Rules
from gridflock.model import Entry, Json
from gridflock.units import iso

KIND = "guard"
"""Kind of every entry that tells of the guard."""


def last_rules(entries: Iterable[Entry], now_s: int) -> Rules:
    """What people have set, as the newest entry tells it, without what has ended since."""
    said: Mapping[str, Any] = {}
    for entry in entries:
        told = entry.head.get("rules")
        if isinstance(told, Mapping):
            said = told
    return Rules.of(said).at(now_s)


def guard_said(decision: Decision) -> tuple[dict[str, NDArray[Any]], dict[str, Json]]:
    """What the entry of a tick tells of the guard: columns beside those of orders, and the head's words."""
    passed = decision.passed
    start_kw = np.zeros(len(decision.orders.index)) if len(passed.revoke) else passed.start_kw[passed.keep]
    head: dict[str, Json] = {"held_kw": round(passed.held_kw, 3)}
    held = {reason.name.lower(): count for reason, count in passed.counts().items()}
    if held:
        head["held"] = held
    if any(passed.accounts):
        head["accounts"] = list(passed.accounts)
    if decision.followed:
        head["followed"] = [
            {
                "author": one.behind.author,
                "id": one.behind.id,
                "account": one.account,
                "share": one.share,
                "held_kw": one.held_kw,
                "moved_kw": one.moved_kw,
                "waits": one.waits,
            }
            for one in decision.followed
        ]
    if passed.moved:
        head["moved_kw"] = dict(passed.moved)
    if passed.state.swings:
        head["swings"] = {
            group: [[one.way, one.back, one.turned_s] for one in both]
            for group, both in passed.state.swings.items()
        }
    if len(passed.revoke):
        head["revoked"] = len(passed.revoke)
    return {"start_kw": start_kw.astype(np.float32)}, head


def leap_entries(rules: Rules, leapt_s: int, now_s: int) -> list[Entry]:
    """A clock that was set ahead and is believed, and what that does not end; none where it was not set."""
    if leapt_s == 0:
        return []
    text = f"the clock was set ahead by {leapt_s} s, which count for no limit and no budget"
    head: dict[str, Json] = {"verb": "leapt", "leapt_s": leapt_s}
    if rules.default is not None:
        text += f"; all to default lasts until {iso(rules.default.until_s)}"
        head["rules"] = rules.said()
    return [Entry(KIND, now_s, head | {"text": text})]


def trial_entries(trials: Mapping[str, bool], now_s: int) -> list[Entry]:
    """Of authors whose first orders were tried out on a few: whether the rest may follow."""
    entries = []
    for author, well in sorted(trials.items()):
        text = (
            "was answered well: the rest may follow" if well else "was not answered well: nothing new for now"
        )
        head: dict[str, Json] = {"verb": "trial", "author": author, "well": well}
        entries.append(Entry(KIND, now_s, head | {"text": f"trial of {author} {text}"}))
    return entries
