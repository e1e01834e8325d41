"""Who may: named local users, tokens printed once, and authority as a narrowed type.

A façade verb takes a ``Scope``; a scope is only made here, from a token that was verified.
Tokens have 256 random bits and only their SHA-256 is stored, so a slow password hash would add
nothing (OWASP ASVS 2.9: keyed or plain digests suffice for high-entropy secrets).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np

from gridflock.units import Rows

_LOG = logging.getLogger(__name__)
_NAME = re.compile(r"[a-z][a-z0-9_.-]{1,39}")
_OURS = frozenset({"local", "gridflock", "plan", "grid", "feedback", "above"})
"""Authors that the ledger knows as code in this process, the system itself, and the one above it."""


class Role(IntEnum):
    """What a user may do, each including the ones before."""

    VIEWER = 0
    OPERATOR = 1
    ADMIN = 2


class AccessDenied(Exception):  # noqa: N818 - the field's word for it
    """The scope does not allow it. The refusal is recorded."""


@dataclass(frozen=True, slots=True)
class Scope:
    """Verified authority: who, what, and over which group subtrees.

    Attributes:
        user: name.
        role: what may be done.
        groups: ids of the groups whose subtrees may be touched; ``"all"`` is everything.
    """

    user: str
    role: Role
    groups: frozenset[str]

    def require(self, role: Role) -> None:
        """Refuse lesser roles.

        Raises:
            AccessDenied: the role is too low.
        """
        if self.role < role:
            message = f"user {self.user!r} is {self.role.name.lower()}; this needs {role.name.lower()}"
            raise AccessDenied(message)

    def require_group(self, lineage: frozenset[str]) -> None:
        """Refuse groups outside the scope.

        Args:
            lineage: the group's id and all its ancestors.

        Raises:
            AccessDenied: none of them is in the scope.
        """
        if "all" not in self.groups and not (self.groups & lineage):
            message = f"user {self.user!r} has no authority over this group"
            raise AccessDenied(message)

    def holds(self, rows: Rows, mine: Iterable[Rows]) -> bool:
        """Whether there are rows and all are among those that the scope's groups hold."""
        return len(rows) > 0 and not len(_beyond(rows, mine))

    def require_members(self, rows: Rows, mine: Iterable[Rows], *, empty: bool = False) -> None:
        """Refuse members outside the scope.

        Args:
            rows: of all members.
            mine: rows of the groups in the scope.
            empty: the group has none, now or then: nobody's but theirs who may touch everything.

        Raises:
            AccessDenied: some members are in none of them.
        """
        if empty and "all" not in self.groups:
            message = f"user {self.user!r} has no authority over a group without members"
            raise AccessDenied(message)
        lacking = 0 if "all" in self.groups else len(_beyond(rows, mine))
        if lacking:
            message = f"user {self.user!r} has no authority over {lacking} of its members"
            raise AccessDenied(message)


def _beyond(rows: Rows, mine: Iterable[Rows]) -> Rows:
    """Those that are in none of the others."""
    held = np.concatenate([np.empty(0, dtype=np.int32), *mine])
    left: Rows = np.setdiff1d(rows, held)
    return left


LOCAL = Scope("local", Role.ADMIN, frozenset({"all"}))
"""Authority of code in the same process: whoever can import us can already do everything."""


class Users:
    """The users of a data folder, in ``users.json`` (mode 0600, written atomically)."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "users.json"
        self._stamp: tuple[int, int, int] | None = None
        self._by_digest: dict[str, Scope] = {}

    def add(self, name: str, role: Role, groups: frozenset[str] = frozenset({"all"})) -> str:
        """Create a user, or give an existing one a new token.

        Returns:
            The token: shown once, never stored.

        Raises:
            ValueError: the name is not 2–40 of a–z, 0–9, ``_ . -``, beginning with a letter; it is
                the system's own; or ``users.json`` cannot be understood.
        """
        if not _NAME.fullmatch(name):
            message = f"name {name!r}: use 2 to 40 of a-z, 0-9, _ . - and begin with a letter"
            raise ValueError(message)
        if name in _OURS:
            message = f"name {name!r} is the system's own in the ledger; take another"
            raise ValueError(message)
        token = "gf_" + secrets.token_urlsafe(32)
        users = dict(self._read())
        users[name] = {"role": role.name, "groups": sorted(groups), "sha256": _digest(token)}
        self._write(users)
        return token

    def remove(self, name: str) -> bool:
        """Remove a user; False if there was none."""
        users = dict(self._read())
        found = users.pop(name, None) is not None
        if found:
            self._write(users)
        return found

    def names(self) -> dict[str, str]:
        """User -> role."""
        return {name: str(entry["role"]).lower() for name, entry in sorted(self._read().items())}

    def scope(self, token: str) -> Scope | None:
        """The scope of a token, or None. Re-reads the file when it has changed.

        While the file cannot be understood nobody is known.
        """
        self._refresh()
        wanted = _digest(token)
        found = None
        for digest, scope in self._by_digest.items():
            if hmac.compare_digest(digest, wanted):
                found = scope
        return found

    def _refresh(self) -> None:
        try:
            stat = self._path.stat()
        except FileNotFoundError:
            self._by_digest, self._stamp = {}, None
            return
        stamp = (stat.st_mtime_ns, stat.st_ino, stat.st_size)
        if stamp != self._stamp:
            try:
                users = self._read()
            except ValueError as error:
                _LOG.error("nobody is let in: %s", error)
                users = {}
            self._by_digest = {
                str(entry["sha256"]): Scope(
                    name, Role[str(entry["role"])], frozenset(map(str, entry["groups"]))
                )
                for name, entry in users.items()
            }
            self._stamp = stamp

    def _read(self) -> Mapping[str, Mapping[str, list[str] | str]]:
        """The file's users.

        Raises:
            ValueError: it was changed by hand into something else.
        """
        try:
            users: dict[str, Mapping[str, list[str] | str]] = json.loads(self._path.read_text("utf-8"))
            for entry in users.values():
                Role[str(entry["role"])], entry["sha256"], list(entry["groups"])
        except FileNotFoundError:
            return {}
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            message = f"{self._path} cannot be understood: {type(error).__name__}: {error}"
            raise ValueError(message) from error
        return users

    def _write(self, users: Mapping[str, Mapping[str, object]]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self._path.with_suffix(".tmp")
        # A file left by an earlier death may have any mode: never write tokens' digests into it.
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(users, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
