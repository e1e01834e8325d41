"""Limits of the guard as people write them: a TOML file or a document, with every fault by name."""

from __future__ import annotations

import tomllib
from collections.abc import Collection, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gridflock.dispatch import Policy
from gridflock.dispatch.guard import GroupLimit, GuardLimits
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault

ENGINEERED = GuardLimits(
    budget_kw=5_000.0,
    budget_share=0.05,
    approval_kw=1_000.0,
    reversals=60,
    canary_share=0.01,
    canary_kw=500.0,
)
"""What a running system holds to unless its owner says otherwise."""


def guarded_policy() -> Policy:
    """How orders are made unless the owner says otherwise."""
    return Policy(guard=ENGINEERED)


def read_limits(path: Path) -> GuardLimits:
    """Limits of a TOML file; what it does not name is as in ``ENGINEERED``.

    Raises:
        RequestRejected: with every fault.
    """
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = Fault("guard", "a TOML file of limits", f"{path} cannot be read: {error}")
        raise RequestRejected((fault,)) from error
    return limits_of(document)


def limits_of(document: Mapping[str, Any]) -> GuardLimits:
    """Limits of a document: fields of ``GuardLimits``, and ``groups`` as a list of tables.

    Raises:
        RequestRejected: with every fault.
    """
    known = {item.name for item in fields(GuardLimits)}
    faults = _unknown(document, known, "")
    tables = document.get("groups", [])
    groups = []
    if isinstance(tables, list) and all(isinstance(table, Mapping) for table in tables):
        for table in tables:
            mine = {item.name for item in fields(GroupLimit)}
            name = str(table.get("group", "?"))
            faults += _unknown(table, mine, f"groups.{name}.")
            if not isinstance(table.get("group"), str):
                faults.append(Fault("groups.group", "the id of a feeder or group", "a table without it"))
            groups.append(GroupLimit(**{k: v for k, v in table.items() if k in mine} | {"group": name}))
    else:
        faults.append(Fault("groups", "a list of tables", f"{tables!r} is not"))
    budgets = document.get("budgets", {})
    if not isinstance(budgets, Mapping):
        faults.append(Fault("budgets", "a table of kW by credential", f"{budgets!r} is not"))
        budgets = {}
    told = {k: v for k, v in document.items() if k in known - {"groups", "budgets"}}
    plain = {item.name: getattr(ENGINEERED, item.name) for item in fields(GuardLimits)} | told
    limits = GuardLimits(**{**plain, "groups": tuple(groups), "budgets": dict(budgets)})
    faults += _faults(limits, None)
    if faults:
        raise RequestRejected(tuple(faults))
    return limits


def wrong_limits(limits: GuardLimits, groups: Collection[str]) -> None:
    """Refuse limits that cannot be kept.

    Raises:
        RequestRejected: with every fault; a feeder or group that does not exist is one.
    """
    faults = _faults(limits, groups)
    if faults:
        raise RequestRejected(tuple(faults))


def _faults(limits: GuardLimits, groups: Collection[str] | None) -> list[Fault]:
    return [
        Fault(
            ".".join(("groups" if "group" in wrong.component else "guard", *wrong.ids, wrong.field)),
            "a limit that can be kept",
            wrong.reason,
        )
        for wrong in limits.faults(groups)
    ]


def _unknown(table: Mapping[str, Any], known: Collection[str], place: str) -> list[Fault]:
    return [
        Fault(f"{place}{name}", f"one of {', '.join(sorted(known))}", "no such limit")
        for name in table
        if name not in known
    ]
