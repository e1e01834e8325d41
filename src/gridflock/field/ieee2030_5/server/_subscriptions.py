"""Subscriptions and what follows from them: notifications, owed from the change on until they have arrived.

What changes is owed in the same turn and the same entry of the journal, so that no crash loses a notification
and none is made up. A subscription owes its newest state only. Whoever posts takes what is ``due``, posts,
and says what came of it (``told``). Arrived ends the debt if nothing newer has happened meanwhile; failed
puts it off, longer each time and by lot; too many failures end the subscription's service, and the operator
is told.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from urllib.parse import urlsplit

from gridflock.field.ieee2030_5._http import Answer, Caller, Request
from gridflock.field.ieee2030_5._target import target_of
from gridflock.field.ieee2030_5.resources import (
    Notification,
    NotificationStatus,
    ReasonCode,
    Resource,
    Subscription,
    SubscriptionList,
)
from gridflock.field.ieee2030_5.server._ownership import Need, admit
from gridflock.field.ieee2030_5.server._paging import LIMIT, NO_CONTENT, VALUES, page, posted, single
from gridflock.field.ieee2030_5.server._programs import index
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._routes import Route, Routes
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._subscribed import Owed, Wish
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.field.ieee2030_5.wire import Malformed, read, write

_MOST = 200
"""Subscriptions of one device."""
_MOST_TRIES = 12
_FIRST_WAIT_S, _LONGEST_WAIT_S = 5, 3_600
_XML = 0


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class WishKept(Change):
    """A subscription is there, or is otherwise."""

    wish: Wish

    def __call__(self, state: State) -> None:
        state.subscribed.keep(self.wish)


@dataclass(frozen=True, slots=True)
class WishGone(Change):
    """A subscription is over."""

    number: int

    def __call__(self, state: State) -> None:
        state.subscribed.drop(self.number)


@dataclass(frozen=True, slots=True)
class NewsOwed(Change):
    """Subscriptions have news."""

    numbers: tuple[int, ...]
    at_s: int

    def __call__(self, state: State) -> None:
        for number in self.numbers:
            state.subscribed.owe(number, self.at_s)


@dataclass(frozen=True, slots=True)
class NewsTold(Change):
    """A notification arrived, and nothing newer is owed."""

    number: int

    def __call__(self, state: State) -> None:
        state.subscribed.owed.pop(self.number, None)
        state.subscribed.dead.pop(self.number, None)


@dataclass(frozen=True, slots=True)
class NewsPutOff(Change):
    """A notification did not arrive."""

    number: int
    tries: int
    due_s: int

    def __call__(self, state: State) -> None:
        before = state.subscribed.owed[self.number]
        state.subscribed.owed[self.number] = Owed(before.version, before.since_s, self.tries, self.due_s)


@dataclass(frozen=True, slots=True)
class ServiceEnded(Change):
    """A subscription could not be served for so long that nobody tries any more, until it is made anew."""

    number: int
    at_s: int

    def __call__(self, state: State) -> None:
        state.subscribed.owed.pop(self.number, None)
        state.subscribed.dead[self.number] = self.at_s


CHANGES: tuple[type[Change], ...] = (WishKept, WishGone, NewsOwed, NewsTold, NewsPutOff, ServiceEnded)


# ---- what clients do ---------------------------------------------------------------------------------


def subscriptions(ask: Ask, about: Device) -> Answer:
    """What a device's client wants to be told of."""
    rate_s = poll_s(ask.state, ask.policy, "SubscriptionList", ask.lfdi)
    numbers = sorted(ask.state.subscribed.of_device.get(about.number, ()))
    head = SubscriptionList(href=f"{about.path}/sub", poll_rate=rate_s)
    return page(ask, head, numbers, lambda number: _shown(ask.state.subscribed.wishes[number]))


def subscription(ask: Ask, about: Device, text: str) -> Answer:
    """One of them."""
    found = _of(ask, about, text)
    return single(ask, found.at, lambda: _shown(found))


class Subscribing:
    """Handlers of subscriptions, which must know what stands at other addresses.

    Args:
        routes: all addresses; filled after this is made.
    """

    def __init__(self, routes: list[Routes]) -> None:
        self._routes = routes

    def subscribe(self, ask: Ask, about: Device) -> Answer:
        """Make a subscription; the same one again stands where it stood, and is served again."""
        wish = self._wanted(ask, about, ask.state.subscribed.next_number)
        known = ask.state.subscribed
        for number in known.of_device.get(about.number, ()):
            held = known.wishes[number]
            if (held.path, held.uri) == (wish.path, wish.uri):
                self._keep(ask, about, Wish(number, *_rest(wish)))
                return Answer(201, location=held.at)
        if len(known.of_device.get(about.number, ())) >= _MOST:
            raise Refused(403, "has as many subscriptions as it may have", LIMIT)
        self._keep(ask, about, wish)
        return Answer(201, location=wish.at)

    def change(self, ask: Ask, about: Device, text: str) -> Answer:
        """Another resource, address or limit from now on."""
        found = _of(ask, about, text)
        self._keep(ask, about, self._wanted(ask, about, found.number))
        return NO_CONTENT

    def cancel(self, ask: Ask, about: Device, text: str) -> Answer:
        """End a subscription."""
        found = _of(ask, about, text)
        ask.do(WishGone(found.number))
        ask.touch(f"{about.path}/sub")
        ask.touch(found.at)
        return NO_CONTENT

    def _keep(self, ask: Ask, about: Device, wish: Wish) -> None:
        ask.do(WishKept(wish))
        ask.touch(f"{about.path}/sub")
        ask.touch(wish.at)

    def _wanted(self, ask: Ask, about: Device, number: int) -> Wish:
        """The subscription in a request's body, judged."""
        sent = posted(ask, Subscription)
        if sent.condition is not None:
            raise Refused(400, "has a condition", ReasonCode.CONDITIONAL_SUBSCRIPTION)
        if sent.encoding != _XML:
            raise Refused(400, f"encoding {sent.encoding} is not XML")
        try:
            path = urlsplit(sent.subscribed_resource).path
        except ValueError:
            raise Refused(400, f"{sent.subscribed_resource[:80]!r} is no address") from None
        self._subscribable(ask, path)
        _allowed(ask, sent.notification_uri)
        return Wish(number, about.number, ask.lfdi, path, sent.notification_uri, sent.level, sent.limit)

    def _subscribable(self, ask: Ask, path: str) -> None:
        """It must be there for the caller to read, and change.

        Raises:
            Refused: 400 where it is not; it says no more, for what is not the caller's own is not there.
        """
        try:
            resource = shown(self._routes[0], ask, path, 1)
        except Refused as refused:
            raise Refused(400, f"{path} is nothing of the caller's: {refused}") from refused
        if not getattr(resource, "subscribable", 0):
            raise Refused(400, f"{path} cannot be subscribed to")


def _allowed(ask: Ask, uri: str) -> None:
    """Notifications go to hosts that the operator allows, for the client or for all, over HTTPS."""
    client, _ = ask.known()
    target = target_of(uri, (*client.hosts, *ask.policy.hosts))
    if isinstance(target, str):
        raise Refused(400, f"{uri[:80]!r} {target}")


def _of(ask: Ask, about: Device, text: str) -> Wish:
    found = ask.state.subscribed.wishes.get(index(text))
    if found is None or found.device != about.number:
        raise Refused(404, "is no subscription of the device")
    return found


def _rest(wish: Wish) -> tuple[int, str, str, str, str, int]:
    return wish.device, wish.owner, wish.path, wish.uri, wish.level, wish.limit


def _shown(wish: Wish) -> Subscription:
    return Subscription(
        href=wish.at,
        subscribed_resource=wish.path,
        encoding=_XML,
        level=wish.level,
        limit=wish.limit,
        notification_uri=wish.uri,
    )


# ---- what is owed ------------------------------------------------------------------------------------


def notify(turn: Turn) -> None:
    """Owe news to everybody who wants to be told of what this turn has touched."""
    known, news = turn.state.subscribed, set()
    for path, reader in turn.touched:
        for number in known.of_path.get(path, ()):
            if reader in {"", known.wishes[number].owner} and number not in known.dead:
                news.add(number)
    if news:
        turn.do(NewsOwed(tuple(sorted(news)), turn.now_s))


@dataclass(frozen=True, slots=True)
class News:
    """A notification to be posted.

    Attributes:
        number: of the subscription.
        version: of what it tells.
        uri: where it goes.
        body: what is posted.
        last: the resource is gone; when this has arrived, the subscription is over.
    """

    number: int
    version: int
    uri: str
    body: bytes
    last: bool


def due(turn: Turn, routes: Routes, most: int, busy: frozenset[int]) -> list[News]:
    """Notifications whose time has come, those that wait longest first.

    Args:
        turn: whose moment it is.
        routes: all addresses.
        most: at most so many.
        busy: subscriptions that are being served.
    """
    known = turn.state.subscribed
    ready = [
        (owed.since_s, number)
        for number, owed in known.owed.items()
        if owed.due_s <= turn.now_s and number not in busy
    ]
    found: list[News] = []
    for _, number in sorted(ready):
        if len(found) >= most:
            break
        try:
            ask = _as_client(turn, known.wishes[number])
            found.append(_due(ask, routes, known.wishes[number], known.owed[number].version))
        except Refused:  # suspended, it or its site: it hears of it when that is restored
            continue
    return found


def told(turn: Turn, of: News, *, arrived: bool, final: bool = False) -> bool:
    """Take in what came of a post.

    Args:
        turn: whose moment it is.
        of: what was posted.
        arrived: whether it did.
        final: it did not, and trying again would change nothing: the service ends at once.

    Returns:
        Whether the subscription's service has ended, of which the operator is to be told.
    """
    number = of.number
    owed = turn.state.subscribed.owed.get(number)
    if owed is None:
        return False
    if arrived:
        if of.last:
            turn.do(WishGone(number))
        elif owed.version == of.version:
            turn.do(NewsTold(number))
        elif owed.tries:
            turn.do(NewsPutOff(number, 0, turn.now_s))
        return False
    tries = owed.tries + 1
    if final or tries >= _MOST_TRIES:
        turn.do(ServiceEnded(number, turn.now_s))
        return True
    wait_s = min(_FIRST_WAIT_S << tries, _LONGEST_WAIT_S)
    turn.do(NewsPutOff(number, tries, turn.now_s + wait_s // 2 + _lot(number, tries, wait_s // 2)))
    return False


def next_s(state: State) -> int | None:
    """When the next notification may be posted."""
    return min((owed.due_s for owed in state.subscribed.owed.values()), default=None)


def _due(ask: Ask, routes: Routes, wish: Wish, version: int) -> News:
    """The notification as its client reads it: the resource as it is now, or that it is gone.

    Raises:
        Refused: the resource is there, and not for the client to read for a time.
    """
    resource: Resource | None = None
    status = NotificationStatus.DEFAULT
    try:
        resource = shown(routes, ask, wish.path, max(wish.limit, 1))
    except Refused as refused:
        if refused.status == 403:
            raise
        status = NotificationStatus.DELETED
    if not wish.limit:
        resource = None
    news = Notification(
        subscribed_resource=wish.path, resource=resource, status=status, subscription_uri=wish.at
    )
    last = status is NotificationStatus.DELETED
    return News(wish.number, version, wish.uri, write(news, ask.profile), last)


def _as_client(turn: Turn, wish: Wish) -> Ask:
    """A request as if the client made it."""
    caller = Caller(wish.owner, 0, "")
    request = Request("GET", wish.path, {}, "", "", b"", caller)
    ask = Ask(state=turn.state, policy=turn.policy, now_s=turn.now_s, pages=turn.pages, request=request)
    admit(ask)
    return ask


def shown(routes: Routes, ask: Ask, path: str, limit: int) -> Resource:
    """The resource that a client would read at an address.

    Raises:
        Refused: it would not.
    """
    request = Request("GET", path, {"l": str(limit)}, "", "", b"", ask.request.caller)
    looked = Ask(
        state=ask.state, policy=ask.policy, now_s=ask.now_s, pages=ask.pages, request=request,
        client=ask.client, device=ask.device,
    )  # fmt: skip
    answer = routes.answer(looked)
    found = read(answer.body, Resource, ask.profile)
    if isinstance(found, Malformed):
        raise Refused(400, f"{path} is not read: {found.reason}", VALUES)
    return found


def _lot(number: int, tries: int, most_s: int) -> int:
    drawn = blake2b(f"{number}/{tries}".encode(), digest_size=4).digest()
    return int.from_bytes(drawn, "big") % (most_s + 1)


def addresses(all_routes: list[Routes]) -> tuple[Route, ...]:
    """The addresses of subscriptions.

    Args:
        all_routes: will hold all addresses, these included, when the first request comes.
    """
    made = Subscribing(all_routes)
    return (
        Route("/edev/{}/sub", Need.DEVICE, {"GET": subscriptions, "POST": made.subscribe}),
        Route(
            "/edev/{}/sub/{}",
            Need.DEVICE,
            {"GET": subscription, "PUT": made.change, "DELETE": made.cancel},
        ),
    )
