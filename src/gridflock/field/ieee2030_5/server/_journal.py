"""Changes and state as plain JSON, and back: what the ledger keeps of the server, and how it lives again.

A dataclass becomes an object of its fields that differ from their defaults; by the type hints of its class
it is read back. Fields with ``init=False`` are indexes: not written, made anew.
"""

from __future__ import annotations

import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from types import NoneType, UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from gridflock.field.ieee2030_5 import resources
from gridflock.field.ieee2030_5._once import once
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Change, make
from gridflock.model import Entry, Json
from gridflock.ports import Record

_LOG = logging.getLogger(__name__)
KIND = "2030.5"
"""Kind of the entries in the ledger."""
_CLASS = ""
"""Key under which an object names its class where the hint alone does not."""
_MOST_CHANGES = 300_000
"""Without a snapshot between: some ten seconds of the next start."""
_Decode = Callable[[Any], Any]
_Encode = Callable[[Any], Any]


# ---- values ------------------------------------------------------------------------------------------


def plain(value: Any) -> Json:  # noqa: ANN401 any dataclass of the state, or a change
    """A dataclass as JSON that names its class."""
    return {_CLASS: type(value).__name__, **_object(value, type(value))}


def _object(value: Any, of: type[Any]) -> dict[str, Json]:  # noqa: ANN401 an instance of the class
    said: dict[str, Json] = {}
    for name, default, write in _written(of):
        inner = getattr(value, name)
        if inner != default:
            said[name] = write(inner)
    return said


@once
def _written(of: type[Any]) -> tuple[tuple[str, Any, _Encode], ...]:
    """Name, default and writer of each field that is written."""
    hints = get_type_hints(of)
    return tuple((each.name, _default(each), _writer(hints[each.name])) for each in fields(of) if each.init)


def _default(field: Any) -> Any:  # noqa: ANN401 a dataclass field and its default
    if field.default is not MISSING:
        return field.default
    return MISSING if field.default_factory is MISSING else field.default_factory()


@once
def _writer(hint: Any) -> _Encode:  # noqa: ANN401 a type hint
    """The function from a value of the hinted type to JSON."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None:
        if isinstance(hint, type) and issubclass(hint, Enum):
            return int
        return _object_writer(hint) if is_dataclass(hint) else _same
    if origin is Annotated:
        return _writer(parts[0])
    if origin in {Union, UnionType}:
        inner = _writer(next(part for part in parts if part is not NoneType))
        return lambda value: None if value is None else inner(value)
    return _container_writer(origin, parts)


def _container_writer(origin: Any, parts: tuple[Any, ...]) -> _Encode:  # noqa: ANN401 a class
    if origin is list or (origin is tuple and parts[-1] is Ellipsis):
        each = _writer(parts[0])
        return list if each is _same else lambda value: [each(item) for item in value]
    if origin is tuple:
        each_of = tuple(map(_writer, parts))
        if set(each_of) == {_same}:  # JSON has it as a list already
            return _same
        return lambda value: [write(item) for write, item in zip(each_of, value, strict=True)]
    assert origin is dict
    key, each = map(_writer, parts)
    if key is each is _same:
        return lambda value: list(value.items())
    return lambda value: [(key(k), each(v)) for k, v in value.items()]


def _object_writer(hint: Any) -> _Encode:  # noqa: ANN401 a class
    def write(value: Any) -> Json:  # noqa: ANN401 an instance of the class or of one derived from it
        return _object(value, hint) if type(value) is hint else plain(value)

    return write


def _same(value: Any) -> Any:  # noqa: ANN401 a number or a text
    return value


@once
def _reader(hint: Any) -> _Decode:  # noqa: ANN401 a type hint
    """The function from JSON to a value of the hinted type."""
    origin, parts = get_origin(hint), get_args(hint)
    if origin is None:
        if isinstance(hint, type) and issubclass(hint, Enum):
            return hint
        return _object_reader(hint) if is_dataclass(hint) else _same
    if origin is Annotated:
        return _reader(parts[0])
    if origin in {Union, UnionType}:
        inner = _reader(next(part for part in parts if part is not NoneType))
        return lambda said: None if said is None else inner(said)
    return _container_reader(origin, parts)


def _container_reader(origin: Any, parts: tuple[Any, ...]) -> _Decode:  # noqa: ANN401 a class
    if origin is list or (origin is tuple and parts[-1] is Ellipsis):
        each = _reader(parts[0])
        return lambda said: origin(each(item) for item in said)
    if origin is tuple:
        each_of = tuple(map(_reader, parts))
        if set(each_of) == {_same}:
            return tuple
        return lambda said: tuple(read(item) for read, item in zip(each_of, said, strict=True))
    assert origin is dict
    key, each = map(_reader, parts)
    if key is each is _same:
        return dict
    return lambda said: {key(k): each(v) for k, v in said}


def _object_reader(hint: Any) -> _Decode:  # noqa: ANN401 a class
    def read(said: dict[str, Any]) -> Any:  # noqa: ANN401 an object of some class
        of = getattr(resources, said[_CLASS]) if _CLASS in said else hint
        readers = _readers(of)
        return of(**{name: readers[name](inner) for name, inner in said.items() if name in readers})

    return read


@once
def _readers(of: type[Any]) -> dict[str, _Decode]:
    hints = get_type_hints(of, include_extras=False)
    return {each.name: _reader(hints[each.name]) for each in fields(of) if each.init}


# ---- the journal -------------------------------------------------------------------------------------


def entry(changes: Iterable[Change], now_s: int) -> Entry:
    """One entry for the ledger that holds these changes."""
    return Entry(KIND, now_s, {"changes": [plain(change) for change in changes]})


def changes_of(stored: Entry, kinds: Mapping[str, type[Change]]) -> list[Change]:
    """The changes an entry holds.

    Args:
        stored: of kind ``KIND``.
        kinds: every class of change by its name.
    """
    said: Any = stored.head["changes"]
    return [_reader(kinds[each[_CLASS]])({k: v for k, v in each.items() if k != _CLASS}) for each in said]


class Journal:
    """The server's memory in a record of its own: every change, and the whole state now and then."""

    def __init__(self, record: Record, kinds: Mapping[str, type[Change]], name: str = "state") -> None:
        """Read and write ``record``; ``kinds`` has every class of change by its name."""
        self._record = record
        self._kinds = kinds
        self._name = name
        self._since = 0
        self._made = 0

    def restore(self) -> State:
        """The state as of the last entry that was durable.

        Where a snapshot cannot be read, all entries are; where entries are lost that a snapshot has, it
        stands for them from now on.

        Raises:
            Exception: what the record raises.
        """
        after, state = self._stored()
        for each in self._record.entries(after, {KIND}):
            for change in changes_of(each, self._kinds):
                make(change, state)
                self._since += 1
        self._made = state.made
        if (last := self._record.append([])) < after:
            _LOG.error(
                "the journal ends at entry %d, what is known goes to %d: entries are lost", last, after
            )
            self.snapshot(state)
        return state

    def _stored(self) -> tuple[int, State]:
        """The entry up to which a state was stored, and that state; the beginning where none can be read."""
        stored = self._record.snapshot(self._name)
        if stored is None:
            return 0, State()
        try:
            said = json.loads(zlib.decompress(stored))
            return int(said["seq"]), _reader(State)(said["state"])
        except (zlib.error, ValueError, LookupError, TypeError, AttributeError):
            _LOG.exception("the snapshot is not readable; all entries are read")
            return 0, State()

    def write(self, changes: Sequence[Change], now_s: int) -> None:
        """Append the changes of one or many turns; durable on return.

        Raises:
            Exception: what the record raises; nothing is durable then. The changes are in effect all the
                same: they must be written with the next ones, in their order, or the journal has a hole.
        """
        self._record.append([entry(changes, now_s)])
        self._since += len(changes)
        self._made += len(changes)

    def due(self) -> bool:
        """Whether so much was written that a snapshot would shorten the next start."""
        return self._since >= _MOST_CHANGES

    def snapshot(self, state: State) -> bool:
        """Store the whole state, unless it is ahead of the journal: such changes would be made twice later.

        Returns:
            Whether it was stored; else a later call will do.

        Raises:
            Exception: what the record raises; the former snapshot still stands then.
        """
        if state.made != self._made:
            return False
        said = {"seq": self._record.append([]), "state": _object(state, State)}
        self._record.snapshot(self._name, zlib.compress(json.dumps(said, separators=(",", ":")).encode(), 1))
        self._since = 0
        return True
