"""Lists and single resources as answers, rendered once and kept until touched."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeVar

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import Error, List, ReasonCode, Resource, SubscribableList
from gridflock.field.ieee2030_5.server._turn import FOREVER, Ask, Refused
from gridflock.field.ieee2030_5.wire import Malformed, item, listed, read, write

T = TypeVar("T")
R = TypeVar("R", bound=Resource)
AnyList = List | SubscribableList
_LONGEST = 20
"""Digits of a number in a query."""

NO_CONTENT = Answer(204)


class Window(NamedTuple):
    """Which part of a list is asked for: ``limit`` items from ``start`` of what is later than ``after_s``."""

    start: int = 0
    after_s: int | None = None
    limit: int = 1


def window(query: Mapping[str, str], most: int) -> Window:
    """What a query asks for; one item from the start where it says nothing.

    Raises:
        Refused: ``s``, ``a`` or ``l`` is no whole number, or is negative.
    """
    if not query:
        return Window(limit=min(1, most))
    start = _whole(query.get("s", "0"))
    limit = _whole(query.get("l", "1"))
    after = query.get("a")
    return Window(start, None if after is None else _whole(after), min(limit, most))


def _whole(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST):
        raise Refused(400, f"{text[:40]!r} in the query is no whole number")
    return int(text)


def page(
    ask: Ask,
    head: AnyList,
    items: Sequence[T],
    build: Callable[[T], Resource],
    *,
    reader: str = "",
    time_of: Callable[[T], int] | None = None,
    until_s: int = FOREVER,
) -> Answer:
    """One page of a list whose items are made by ``build``.

    Args:
        ask: the request.
        head: the list's own attributes; its ``href`` is the address it is kept under, without a query.
        items: all of them, in the order of the list.
        build: from one of them to the resource.
        reader: LFDI of the only client that sees this list so; empty where all do.
        time_of: the time ``a`` is compared with; a list without one ignores ``a``.
        until_s: when time alone changes the list.
    """
    within = type(head)

    def render(one: T) -> bytes:
        return item(build(one), within, ask.profile)

    return joined(ask, head, items, render, reader=reader, time_of=time_of, until_s=until_s)


def joined(
    ask: Ask,
    head: AnyList,
    items: Sequence[T],
    render: Callable[[T], bytes],
    *,
    reader: str = "",
    time_of: Callable[[T], int] | None = None,
    until_s: int = FOREVER,
) -> Answer:
    """One page of a list whose items are rendered by ``render``; the rest as of ``page``."""
    part = window(ask.request.query, ask.policy.most_page)
    assert head.href is not None

    def whole() -> tuple[bytes, int]:
        chosen = items
        if part.after_s is not None and time_of is not None:
            chosen = [each for each in items if time_of(each) > part.after_s]
        shown = [render(each) for each in chosen[part.start : part.start + part.limit]]
        return listed(replace(head, all=len(chosen), results=len(shown)), shown, ask.profile), until_s

    return Answer(200, ask.cached(head.href, reader, part, whole))


def single(ask: Ask, path: str, build: Callable[[], Resource], *, reader: str = "") -> Answer:
    """One resource, rendered once and kept until ``path`` is touched."""
    return Answer(200, ask.cached(path, reader, None, lambda: (write(build(), ask.profile), FOREVER)))


def posted(ask: Ask, expected: type[R] | tuple[type[R], ...]) -> R:
    """The resource in the body of a request, of an expected class.

    Raises:
        Refused: 400 with what is wrong with it.
    """
    found = read(ask.request.body, expected, ask.profile, trial=ask.policy.trial_storage)
    if isinstance(found, Malformed):
        raise Refused(400, f"{found.path}: {found.reason}", found.code)
    return found


def refusal(ask: Ask, refused: Refused) -> Answer:
    """The answer to a request that was refused."""
    error = Error(reason_code=refused.code, max_retry_duration=refused.retry_s or None)
    return Answer(refused.status, write(error, ask.profile), retry_s=refused.retry_s)


FORMAT = ReasonCode.FORMAT
VALUES = ReasonCode.VALUES
LIMIT = ReasonCode.LIMIT
