"""Who may: what every verb that changes something asks of its caller, and how a refusal is kept."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gridflock.model import Entry, Json
from gridflock.runtime import _show
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._seeing import Seeing
from gridflock.units import Rows


class Authority(Seeing):
    """A life whose verbs are only for those who hold what they touch."""

    def _authorise(self, scope: Scope, group: str, verb: str) -> None:
        """Check role and subtree; record a refusal before raising it."""
        with self._refusals(scope, group, verb):
            self._require(scope, group)

    def _require(self, scope: Scope, group: str) -> None:
        system, rows = self._loop.system, self._loop.system.rows_of.get(group)
        if rows is None or not scope.holds(rows, self._mine(scope)):
            scope.require_group(_show.lineage(system.groups, system.fleet.row_of, group))

    @contextmanager
    def _refusals(self, scope: Scope, group: str, verb: str) -> Iterator[None]:
        """Require an operator before all else; record what is refused for want of authority."""
        try:
            scope.require(Role.OPERATOR)
            yield
        except AccessDenied as refusal:
            head: dict[str, Json] = {
                "author": scope.user,
                "group": group,
                "verb": verb,
                "text": str(refusal),
            }
            self._record.append([Entry("refusal", self.moment.now_s, head)])
            self._collect_events()
            raise

    def _mine(self, scope: Scope, *, own: bool = False) -> list[Rows]:
        """Rows of the groups that a scope names; ``own``: of the system's own groups only."""
        rows_of, virtual = self._loop.system.rows_of, self._virtual
        named = [name for name in scope.groups if name in rows_of and not (own and name in virtual)]
        return [rows_of[name] for name in named]
