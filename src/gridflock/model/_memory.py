"""What the ledger holds: entries of a JSON head and columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from numpy.typing import NDArray

Json = None | bool | int | float | str | list[Any] | dict[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One record of the chain, before or after it got its place.

    Attributes:
        kind: ``"tick"``, ``"proposal"``, ``"withdrawal"``, ``"outcomes"``, ``"change"`` …
        time_s: moment in the life of the system (virtual clock), unix seconds.
        head: small JSON object.
        columns: 1-D arrays by name, of any equal or unequal lengths.
        seq: place in the ledger, from 1; 0 before it is appended.
    """

    kind: str
    time_s: int
    head: Mapping[str, Json]
    columns: Mapping[str, NDArray[Any]] = field(default_factory=lambda: MappingProxyType({}))
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Result of walking the chain.

    Attributes:
        ok: every hash follows from the one before.
        entries: how many were walked.
        head: hex SHA-256 of the last good entry.
        broken_seq: first broken entry; 0 where none is.
        reason: in words.
    """

    ok: bool
    entries: int
    head: str
    broken_seq: int
    reason: str
