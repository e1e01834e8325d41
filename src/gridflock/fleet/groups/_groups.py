"""Groups of resources and of groups: virtual DERs, many memberships, one sparse matrix."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from gridflock.fleet._columns import Fleet
from gridflock.fleet.registry import TEXTS
from gridflock.model import Rejected
from gridflock.schema import CUSTOMER_CLASSES, REGISTRY, Family, Kind
from gridflock.units import PHASES, Mask, Rows, phase_mask

ALL = "all"
ELSEWHERE = "other"
"""Section of the buses that the map of sections does not know."""
_NOBODY = np.zeros(0, dtype=np.int32)
_SHOWN = 20


@dataclass(frozen=True, slots=True, eq=False)
class _Group:
    title: str
    rows: Rows
    """All members, those of child groups included, each once, ascending."""


def _frozen(rows: NDArray[Any]) -> Rows:
    fixed: Rows = rows.astype(np.int32)
    fixed.flags.writeable = False
    return fixed


class Groups:
    """Nested, overlapping groups over the rows of one fleet.

    A group has resources and groups as members and any number of parents. Members are kept flat,
    each once, as one sparse (groups x rows) matrix, so that a shared device counts once.
    """

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._group: dict[str, _Group] = {}
        self._children: dict[str, list[str]] = {}
        self._parents: dict[str, list[str]] = {}
        self._taken = np.flatnonzero(fleet.columns["kind"] == Kind.FEEDER_HEAD).astype(np.int32)
        self._matrix: csr_array | None = None

    @classmethod
    def standard(
        cls, fleet: Fleet, section_of_bus: Mapping[str, str], section_titles: Mapping[str, str]
    ) -> Self:
        """The groups every fleet has; feeder heads belong to none.

        ``all`` above ``section/<s>`` above ``plan/<class>/<customer>/<s>`` (what takes orders; these
        never overlap), and above ``type/<kind>``, ``provider/<name>``, ``program/<name>`` (but
        ``none``), ``phase/<a|b|c>`` and ``demand``. Families and kinds in lower case.

        Args:
            fleet: whose rows.
            section_of_bus: section id of each bus; an unknown bus is in section ``other``.
            section_titles: words for the screen by section id.
        """
        groups = cls(fleet)
        kind, family = fleet.columns["kind"], fleet.family
        member = kind != Kind.FEEDER_HEAD
        groups._put(ALL, "All resources", (), np.flatnonzero(member))
        groups._put_sections(section_of_bus, section_titles, member)
        for code in np.unique(kind[member]):
            name = Kind(code).name.lower()
            groups._put(f"type/{name}", name.replace("_", " "), (ALL,), np.flatnonzero(kind == code))
        for column in ("provider", "program"):
            codes = fleet.columns[column]
            for code in np.unique(codes[member]):
                name = fleet.labels[column][code]
                if (column, name) != ("program", "none"):
                    rows = np.flatnonzero(member & (codes == code))
                    groups._put(f"{column}/{name}", f"{column} {name}", (ALL,), rows)
        for bit, letter in enumerate(PHASES):
            rows = np.flatnonzero(member & (fleet.columns["phases"] >> bit & 1 == 1))
            groups._put(f"phase/{letter}", f"Phase {letter}", (ALL,), rows)
        groups._put("demand", "Metered demand", (ALL,), np.flatnonzero(member & (family == Family.NONE)))
        return groups

    def _put_sections(
        self, section_of_bus: Mapping[str, str], titles: Mapping[str, str], member: Mask
    ) -> None:
        fleet = self._fleet
        sections = [section_of_bus.get(bus, ELSEWHERE) for bus in fleet.labels["bus"]]
        names = list(dict.fromkeys([*section_of_bus.values(), *sections]))
        code = {name: at for at, name in enumerate(names)}
        section = np.array([code[name] for name in sections], dtype=np.int32)[fleet.columns["bus"]]
        for at, name in enumerate(names):
            here = member & (section == at)
            title = titles.get(name, name)
            self._put(f"section/{name}", title, (ALL,), np.flatnonzero(here))
            self._put_plan_groups(name, title, here)

    def _put_plan_groups(self, section: str, title: str, here: Mask) -> None:
        """One group per class, customer class and section: alike in behaviour, tariff and place."""
        fleet = self._fleet
        wind = fleet.columns["kind"] == Kind.WIND
        for family in Family:
            mine = here & (fleet.family == family)
            if family is Family.NONE or not mine.any():
                continue
            parts = {family.name.lower(): mine}
            if family is Family.RENEWABLE:
                parts = {"sun": mine & ~wind, "wind": mine & wind}
            for word, rows in parts.items():
                for code, customer in enumerate(CUSTOMER_CLASSES):
                    own = np.flatnonzero(rows & (fleet.columns["customer"] == code))
                    if len(own):
                        name = f"plan/{word}/{customer}/{section}"
                        self._put(name, f"{title}: {customer} {word}", (f"section/{section}",), own)

    def _put(
        self, name: str, title: str, parents: Iterable[str], own: NDArray[Any], children: Iterable[str] = ()
    ) -> None:
        """Enter a group that has been checked, and let its members count in all above it."""
        self._group[name] = _Group(title, _frozen(own))
        self._children[name] = list(children)
        self._parents[name] = list(parents)
        for parent in self._parents[name]:
            self._children[parent].append(name)
            self._count_in(parent, self._group[name].rows)
        for child in self._children[name]:
            self._parents[child].append(name)
            self._count_in(name, self._group[child].rows)
        self._matrix = None

    def _count_in(self, name: str, rows: Rows) -> None:
        """Let rows count in a group, and in all above it that did not know them."""
        group = self._group[name]
        counted = np.zeros(len(self._fleet.ids), dtype=bool)
        counted[group.rows] = True
        if counted[rows].all():
            return
        counted[rows] = True
        self._group[name] = _Group(group.title, _frozen(np.flatnonzero(counted)))
        for parent in self._parents[name]:
            self._count_in(parent, rows)

    def add(
        self,
        name: str,
        title: str,
        members: Iterable[str] = (),
        *,
        parents: Sequence[str] = (),
        children: Sequence[str] = (),
        rule: Mapping[str, object] | None = None,
    ) -> tuple[Rejected, ...]:
        """A group of resources, of groups, by rule, or all of these.

        Args:
            name: new id.
            title: for the screen.
            members: resource ids.
            parents: groups it becomes part of.
            children: groups that become part of it.
            rule: attribute -> value, or -> a collection of values; all must hold. Texts for coded
                attributes (``{"kind": ["wind", "chp"], "phases": "a"}``), numbers for others.

        Returns:
            What is wrong; empty where the group now exists. A faulty group changes nothing.
        """
        members = tuple(members)
        rejected = [*self._wrong_name(name), *self._wrong_members(name, members)]
        rejected += self._wrong_groups(name, parents, children)
        chosen = np.ones(0, dtype=bool)
        if rule is not None:
            try:
                chosen = self._matching(rule)
            except ValueError as fault:
                rejected.append(Rejected("group", "rule", (name,), str(fault)))
        if rejected:
            return tuple(rejected)
        listed = np.array([self._fleet.row_of[member] for member in members], dtype=np.int32)
        own = np.union1d(listed, np.flatnonzero(chosen))
        self._put(name, title, tuple(dict.fromkeys(parents)), own, tuple(dict.fromkeys(children)))
        return ()

    def _wrong_name(self, name: str) -> list[Rejected]:
        if not name.strip() or not name.isprintable():
            return [Rejected("group", "id", (name,), "expected a printable text")]
        if name in self._group:
            return [Rejected("group", "id", (name,), "is a duplicate")]
        if name in self._fleet.row_of:
            return [Rejected("group", "id", (name,), "is the id of a resource")]
        return []

    def _wrong_members(self, name: str, members: Sequence[str]) -> list[Rejected]:
        found = []
        unknown = [member for member in members if member not in self._fleet.row_of]
        if unknown:
            reason = f"unknown resources in group {name!r}"
            found.append(Rejected("group", "members", tuple(unknown[:_SHOWN]), reason, count=len(unknown)))
        twice = [member for member, times in Counter(members).items() if times > 1]
        if twice:
            reason = f"listed more than once in group {name!r}"
            found.append(Rejected("group", "members", tuple(twice[:_SHOWN]), reason, count=len(twice)))
        heads = [m for m in members if self._fleet.row_of.get(m, -1) in self._taken]
        if heads:
            found.append(Rejected("group", "members", tuple(heads), "a feeder head belongs to no group"))
        return found

    def _wrong_groups(self, name: str, parents: Sequence[str], children: Sequence[str]) -> list[Rejected]:
        found = []
        for field, others in (("parents", parents), ("children", children)):
            unknown = tuple(other for other in others if other not in self._group)
            if unknown:
                found.append(Rejected("group", field, unknown, f"unknown groups in group {name!r}"))
        above = self._above(parents) | {name}
        cycle = tuple(child for child in children if child in above)
        if cycle:
            found.append(Rejected("group", "children", cycle, f"would stand above and below {name!r}"))
        return found

    def _above(self, names: Iterable[str]) -> set[str]:
        """The groups and everything over them."""
        seen: set[str] = set()
        open_ends = list(names)
        while open_ends:
            name = open_ends.pop()
            if name not in seen:
                seen.add(name)
                open_ends += self._parents.get(name, [])
        return seen

    def _matching(self, rule: Mapping[str, object]) -> Mask:
        """Rows for which every condition holds; feeder heads never match.

        Raises:
            ValueError: an unknown attribute or value.
        """
        fits: Mask = self._fleet.columns["kind"] != Kind.FEEDER_HEAD
        known = {entry.name for entry in REGISTRY} | {"family"}
        for name, wanted in rule.items():
            if name not in known - {"id"}:
                raise ValueError(f"no attribute {name!r} to match")
            column = self._fleet.family if name == "family" else self._fleet.columns[name]
            several = isinstance(wanted, Collection) and not isinstance(wanted, str | bytes)
            values = list(wanted) if several else [wanted]  # type: ignore[call-overload]  # see several
            fits = fits & np.isin(column, np.array([self._code(name, value) for value in values]))
        return fits

    def _code(self, name: str, value: object) -> float:
        text = str(value).strip()
        if name in TEXTS:
            labels = self._fleet.labels[name]
            # A label nobody has yet is no error: the group is empty until somebody has it.
            return labels.index(text) if text in labels else -1
        if name in ("kind", "family"):
            codes = {code.name.lower(): int(code) for code in (Kind if name == "kind" else Family)}
            if text.lower() not in codes:
                raise ValueError(f"no {name} {text!r}")
            return codes[text.lower()]
        if name == "phases":
            return phase_mask(text)
        if name == "customer":
            if text.lower() not in CUSTOMER_CLASSES:
                raise ValueError(f"no customer class {text!r}")
            return CUSTOMER_CLASSES.index(text.lower())
        try:
            return float(np.float32(text))
        except ValueError:
            raise ValueError(f"{name} {text!r} is not a number") from None

    @property
    def ids(self) -> tuple[str, ...]:
        """All groups; the row order of ``aggregate``."""
        return tuple(self._group)

    def __contains__(self, name: object) -> bool:
        return name in self._group

    def title(self, name: str) -> str:
        """Words for the screen. Raises ``KeyError`` for an unknown group, as all verbs here do."""
        return self._group[name].title

    def parents(self, name: str) -> tuple[str, ...]:
        """Groups it is directly part of."""
        return tuple(self._parents[name])

    def children(self, name: str) -> tuple[str, ...]:
        """Groups that are directly part of it."""
        return tuple(self._children[name])

    def rows(self, name: str) -> Rows:
        """All members, those of child groups included, each once, ascending."""
        return self._group[name].rows

    def of(self, resource: str) -> tuple[str, ...]:
        """All groups a resource counts in. Raises ``KeyError`` for an unknown resource."""
        column = self.matrix.T.tocsr()[[self._fleet.row_of[resource]]]
        names = self.ids
        return tuple(names[at] for at in np.sort(column.indices))

    @property
    def matrix(self) -> csr_array:
        """(G, n) membership, 1.0 where a row counts in a group."""
        if self._matrix is None:
            members = [group.rows for group in self._group.values()]
            ends = np.cumsum([0, *(len(rows) for rows in members)], dtype=np.int32)
            columns = np.concatenate([_NOBODY, *members])
            shape = (len(members), len(self._fleet.ids))
            self._matrix = csr_array((np.ones(len(columns)), columns, ends), shape=shape)
        return self._matrix

    def aggregate(self, values: NDArray[Any], how: Literal["sum", "mean"] = "sum") -> NDArray[np.float64]:
        """Sum or mean over the members of every group, absent values (NaN) left out.

        Args:
            values: (n,) or (k, n), one value per row of the fleet.
            how: ``"mean"`` is over the members with a value; NaN where none has one.

        Returns:
            float64 (G,) or (k, G) in the order of ``ids``.
        """
        columns = np.atleast_2d(np.asarray(values, dtype=np.float64))
        absent = np.isnan(columns)
        flat = np.ascontiguousarray(np.where(absent, 0.0, columns).T)
        sums: NDArray[np.float64] = (self.matrix @ flat).T
        if how == "mean":
            heard = (self.matrix @ np.ascontiguousarray((~absent).T.astype(np.float64))).T
            sums = np.divide(sums, heard, out=np.full_like(sums, np.nan), where=heard > 0)
        return sums if np.ndim(values) > 1 else sums[0]
