"""How much of the listener one client, and all of them together, may take."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of the listener.

    Attributes:
        handshake_s: of silence until a certificate has been judged.
        head_s: from the first octet of a request to the end of its header.
        body_s: from there to the end of the body.
        idle_s: between two requests; above the usual poll rate, so that a connection serves many polls.
        stall_s: while the client takes none of its answers.
        head_bytes: request line and header.
        target_bytes: path and query.
        fields: of the header.
        body_bytes: where the path has no bound of its own.
        pipelined: requests waiting on one connection; more stay in the network.
        connections: of all clients.
        per_client: connections of one client; a further one ends the one that has been idle longest.
        per_s: requests of one client in the long run, at least.
        burst: requests of one client at once, at least.
    """

    handshake_s: float = 10.0
    head_s: float = 10.0
    body_s: float = 60.0
    idle_s: float = 960.0
    stall_s: float = 60.0
    head_bytes: int = 16_384
    target_bytes: int = 2_048
    fields: int = 64
    body_bytes: int = 65_536
    pipelined: int = 32
    connections: int = 20_000
    per_client: int = 4
    per_s: float = 5.0
    burst: int = 200


_ASK_S = 5.0
BATCH_BYTES = 1_048_576
"""Of a body that carries a batch of readings."""


@dataclass(slots=True)
class _Bucket:
    """Requests that may still be made, at a moment; one more every ``1 / per_s`` seconds."""

    per_s: float
    burst: int
    connections: int
    left: float
    at_s: float
    own: bool
    """Set for this client; else gone once it is full."""
    ask_s: float
    """When to ask again what it may."""


class Quotas:
    """What each client may ask, as leaky buckets.

    Args:
        limits: what every client may.
        quota: LFDI to requests per second and at once, where that is more: of one who speaks for many. Asked
            again every few seconds, so that it follows the rates that clients are told.
    """

    def __init__(self, limits: Limits, quota: Callable[[str], tuple[float, int]] | None = None) -> None:
        self._limits = limits
        self._quota = quota
        self._of: dict[str, _Bucket] = {}

    def set(self, lfdi: str, per_s: float, burst: int, connections: int, now_s: float) -> None:
        """Bounds of one client's own, from now on; a fuller bucket is cut to its new size.

        Raises:
            ValueError: a bound that lets nothing through.
        """
        if not (per_s > 0.0 and burst >= 1 and connections >= 1):
            raise ValueError(f"{lfdi}: {per_s}/s, {burst} at once, {connections} connections: none may be 0")
        old = self._of.get(lfdi)
        left = float(burst) if old is None else min(old.left, burst)
        self._of[lfdi] = _Bucket(per_s, burst, connections, left, now_s, own=True, ask_s=math.inf)

    def connections(self, lfdi: str) -> int:
        """How many connections a client may have."""
        bucket = self._of.get(lfdi)
        return self._limits.per_client if bucket is None else bucket.connections

    def wait_s(self, lfdi: str, now_s: float) -> int:
        """Take one request; 0 if there was one, else the whole seconds until there will be."""
        bucket = self._of.get(lfdi)
        if bucket is None:
            per_s, burst = self._may(lfdi)
            bucket = self._of[lfdi] = _Bucket(
                per_s, burst, self._limits.per_client, burst, now_s, own=False, ask_s=now_s + _ASK_S
            )
        elif now_s > bucket.ask_s:
            bucket.per_s, bucket.burst = self._may(lfdi)
            bucket.ask_s = now_s + _ASK_S
        bucket.left = min(bucket.burst, bucket.left + (now_s - bucket.at_s) * bucket.per_s)
        bucket.at_s = now_s
        if bucket.left >= 1.0:
            bucket.left -= 1.0
            return 0
        return max(1, math.ceil((1.0 - bucket.left) / bucket.per_s))

    def _may(self, lfdi: str) -> tuple[float, int]:
        per_s, burst = (0.0, 0) if self._quota is None else self._quota(lfdi)
        return max(per_s, self._limits.per_s), max(burst, self._limits.burst)

    def forget(self, now_s: float) -> None:
        """Let go of clients that have been quiet long enough to be like new."""
        full = [
            lfdi
            for lfdi, bucket in self._of.items()
            if not bucket.own and bucket.left + (now_s - bucket.at_s) * bucket.per_s >= bucket.burst
        ]
        for lfdi in full:
            del self._of[lfdi]
