"""What is to be made, and what is to end, so that what was told becomes what is wanted.

What is wanted comes as runs, one after the other. What has been told already and still says the same is left
as it is. What is told anew comes before what ends, and what has not changed is carried on only when half of
what is known ahead has gone by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

V = TypeVar("V")


@dataclass(frozen=True, slots=True)
class Run(Generic[V]):
    """From ``start_s`` to before ``end_s`` one value holds."""

    start_s: int
    end_s: int
    value: V


@dataclass(frozen=True, slots=True)
class Renewal(Generic[V]):
    """What has to be done.

    Attributes:
        missing: runs to be made.
        wrong: positions among what was told that are to end.
    """

    missing: tuple[Run[V], ...] = ()
    wrong: tuple[int, ...] = ()


def runs(edges_s: Sequence[int], values: Sequence[V], now_s: int) -> list[Run[V]]:
    """Steps from now on, equal neighbours as one.

    Args:
        edges_s: T + 1 ascending moments.
        values: T.
        now_s: what is before is over.
    """
    found = list[Run[V]]()
    for start_s, end_s, value in zip(edges_s[:-1], edges_s[1:], values, strict=True):
        since_s = max(start_s, now_s)
        if since_s >= end_s:
            continue
        if found and found[-1].value == value and found[-1].end_s == since_s:
            found[-1] = replace(found[-1], end_s=end_s)
        else:
            found.append(Run(since_s, end_s, value))
    return found


def renewal(
    wanted: Sequence[Run[V]], told: Sequence[Run[V]], now_s: int, yields: Callable[[V, V], bool]
) -> Renewal[V]:
    """What has to be done, if anything.

    Args:
        wanted: from now on, in order, without gaps.
        told: what holds already, each as long as it is what holds.
        now_s: the moment.
        yields: whether what was told gives way by itself to something newer of this value.
    """
    covered, wrong, changed = list[tuple[int, int]](), list[int](), False
    for place, one in enumerate(told):
        since_s = max(one.start_s, now_s)
        if since_s >= one.end_s:
            continue
        agrees_s = _agrees(replace(one, start_s=since_s), wanted, yields)
        changed |= agrees_s < one.end_s
        if agrees_s > since_s:
            covered.append((since_s, agrees_s))
        else:
            wrong.append(place)
    missing = _gaps(wanted, sorted(covered))
    if not missing and not wrong:
        return Renewal()
    if not changed and missing[0].start_s - now_s >= (wanted[-1].end_s - now_s) // 2:
        return Renewal()
    return Renewal(tuple(missing), tuple(wrong))


def _agrees(told: Run[V], wanted: Sequence[Run[V]], yields: Callable[[V, V], bool]) -> int:
    """Up to when what was told says what is wanted."""
    for run in wanted:
        if run.end_s <= told.start_s or run.start_s >= told.end_s or run.value == told.value:
            continue
        return max(run.start_s, told.start_s) if yields(told.value, run.value) else told.start_s
    return told.end_s


def _gaps(wanted: Sequence[Run[V]], covered: Sequence[tuple[int, int]]) -> list[Run[V]]:
    """What of the runs is not covered."""
    found = list[Run[V]]()
    for run in wanted:
        at_s = run.start_s
        for since_s, until_s in covered:
            if until_s <= at_s or since_s >= run.end_s:
                continue
            if since_s > at_s:
                found.append(replace(run, start_s=at_s, end_s=since_s))
            at_s = max(at_s, until_s)
        if at_s < run.end_s:
            found.append(replace(run, start_s=at_s))
    return found
