"""Where a subscription's address leads: the one rule for taking it in and for posting to it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from urllib.parse import urlsplit

_MOST_URI = 2_048
_HTTPS, _HTTP = 443, 80


@dataclass(frozen=True, slots=True)
class Target:
    """Where a notification goes."""

    host: str
    port: int
    path: str
    secure: bool


def target_of(uri: str, domains: Collection[str], *, lab: bool = False) -> Target | str:
    """Where an address leads, or the rule it breaks.

    Args:
        uri: of a subscription.
        domains: registered for the client; a host is one of them, or below one.
        lab: plain HTTP is allowed.
    """
    try:
        parts = urlsplit(uri)
        host, port = (parts.hostname or "").rstrip("."), parts.port
    except ValueError:
        return "is no address"
    known = [domain.lower().rstrip(".") for domain in domains if domain]
    rules = {
        "is no address": len(uri) <= _MOST_URI
        and uri.isascii()
        and uri.isprintable()
        and not set(uri) & {" ", "\\"},
        "is not HTTPS": parts.scheme == "https" or (lab and parts.scheme == "http"),
        "has a user or a fragment": not (parts.username or parts.password or parts.fragment),
        "has no host or port": bool(host) and port != 0,
        "has a host that is not registered for the client": any(
            host == domain or host.endswith(f".{domain}") for domain in known
        ),
    }
    broken = [rule for rule, kept in rules.items() if not kept]
    if broken:
        return broken[0]
    secure = parts.scheme == "https"
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(host, port or (_HTTPS if secure else _HTTP), path, secure)
