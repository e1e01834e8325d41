"""From a resource to bytes: one writer for each class and profile, made once from its table.

An element (``item``) can stand in any document of its profile: the root declares all namespaces but that of
``xsi:type``, which an element declares itself. So a control is rendered once and joined into every list.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from gridflock.field.ieee2030_5._once import once
from gridflock.field.ieee2030_5.resources import (
    SEP,
    At,
    El,
    Error,
    List,
    Profile,
    Resource,
    Slot,
    SubscribableList,
    namespace,
    table,
)
from gridflock.field.ieee2030_5.wire._values import Encode, encoder

Put = Callable[[Any, list[str]], None]
"""Appends the texts of one value."""
Document = Resource | Error
AnyList = List | SubscribableList
_PROLOG = '<?xml version="1.0" encoding="UTF-8"?>\n'
_PREFIX = "csipaus:"
_XSI = "http://www.w3.org/2001/XMLSchema-instance"


def write(of: Document, profile: Profile) -> bytes:
    """A document for a client of this profile; fields of later profiles are left out.

    Raises:
        ValueError: a value, or its absence, is not what the schema admits; the message names it.
    """
    out = [_PROLOG]
    _document(type(of), profile)(of, out)
    return "".join(out).encode()


def item(of: Resource, within: type[AnyList], profile: Profile) -> bytes:
    """One item of a list, to be joined into it by ``listed``.

    Raises:
        ValueError: as of ``write``.
    """
    out: list[str] = []
    _item(within, profile)(of, out)
    return "".join(out).encode()


def listed(head: AnyList, items: Sequence[bytes], profile: Profile) -> bytes:
    """A list of items that are rendered already; ``head`` has its attributes and no items.

    Raises:
        ValueError: as of ``write``, or ``head.results`` is not the number of items.
    """
    of = type(head)
    if head.results != len(items) or getattr(head, _items(of).field):
        raise ValueError(f"{of.__name__} says {head.results} items, has {len(items)}")
    name, namespaces = _root(of, profile)
    out = [_PROLOG, "<", name, namespaces]
    attributes = _attributes(of, profile)
    assert attributes is not None
    attributes(head, out)
    out.append(">")
    return b"".join(("".join(out).encode(), *items, f"</{name}>".encode()))


# ---- by class and profile ----------------------------------------------------------------------------


def _root(of: type[Any], profile: Profile) -> tuple[str, str]:
    """Name of a document's element, and the namespaces it declares."""
    namespaces = f' xmlns="{SEP}"'
    if profile.extension:
        namespaces += f' xmlns:{_PREFIX[:-1]}="{profile.extension}"'
    match namespace(of, profile):
        case None:
            raise ValueError(f"{of.__name__} is not known to {profile.name}")
        case standard if standard == SEP:
            return of.__name__, namespaces
        case _:
            return _PREFIX + of.__name__, namespaces


@once
def _document(of: type[Any], profile: Profile) -> Put:
    name, namespaces = _root(of, profile)
    return _element(name, of, profile, namespaces)


@once
def _item(within: type[AnyList], profile: Profile) -> Put:
    return _one(_items(within), profile)


@once
def _items(of: type[AnyList]) -> Slot:
    """The row of a list's table that holds its items."""
    return next(slot for slot in table(of) if slot.repeated)


@once
def _attributes(of: type[Any], profile: Profile) -> Put | None:
    """The writer of a class's attributes; None where it has none."""
    rows = []
    for slot in table(of):
        if isinstance(slot.mark, At) and slot.mark.since <= profile:
            shown = slot.mark.always or slot.required
            rows.append((slot.field, _encoder(slot, f' {slot.mark.name}="', '"'), slot.default, shown))
    if not rows:
        return None

    def put(value: Any, out: list[str]) -> None:  # noqa: ANN401 an instance of the class
        for field, encode, default, shown in rows:
            each = getattr(value, field)
            if shown or each != default:
                out.append(encode(each))

    return put


class _Row(NamedTuple):
    field: str
    encode: Encode | None
    """Of a simple element that is no list: its text, tags included."""
    put: Put
    demanded: bool
    unsaid: int | None


@once
def _element(name: str, of: type[Any], profile: Profile, extra: str = "") -> Put:
    """The writer of an element of this name with what its class holds."""
    opening, closing = f"<{name}{extra}", f"</{name}>"
    attributes = _attributes(of, profile)
    slots = [slot for slot in table(of) if isinstance(slot.mark, El) and slot.mark.since <= profile]
    rows = [_row(slot, profile) for slot in slots]
    fields = _getter([row.field for row in rows])

    def put(value: Any, out: list[str]) -> None:  # noqa: ANN401 an instance of the class
        out.append(opening)
        field = ""
        try:
            if attributes is not None:
                attributes(value, out)
            end = len(out)
            out.append(">")
            for each, row in zip(fields(value), rows):  # noqa: B905 the keyword would cost a tenth of a message
                if each is not None:
                    field, encode, put_field, _, _ = row
                    out.append(encode(each)) if encode is not None else put_field(each, out)
                elif row.demanded:
                    field = row.field
                    out.append(_unsaid(row))
        except (TypeError, ValueError) as error:
            raise ValueError(f"{of.__name__}.{field}: {error}") from None
        if len(out) > end + 1:
            out.append(closing)
        else:
            out[end] = "/>"

    return put


def _unsaid(row: _Row) -> str:
    """What to write of a required value that its author's profile does not have."""
    if row.encode is None or row.unsaid is None:
        raise ValueError("is missing")
    return row.encode(row.unsaid)


def _getter(fields: Sequence[str]) -> Callable[[Any], tuple[Any, ...]]:
    """All these fields of a value at once."""
    if len(fields) > 1:
        return attrgetter(*fields)
    return lambda value: tuple(getattr(value, field) for field in fields)


def _row(slot: Slot, profile: Profile) -> _Row:
    assert isinstance(slot.mark, El)
    encode = None
    if not slot.repeated and not isinstance(slot.kind, type):
        encode = _encoder(slot, f"<{_name(slot.mark)}>", f"</{_name(slot.mark)}>")
    put = _many(slot, profile) if slot.repeated else _one(slot, profile)
    return _Row(slot.field, encode, put, slot.demanded(profile), slot.mark.unsaid)


def _many(slot: Slot, profile: Profile) -> Put:
    assert isinstance(slot.mark, El)
    one, least, most = _one(slot, profile), slot.mark.least, slot.mark.most

    def put(values: Sequence[Any], out: list[str]) -> None:
        if not least <= len(values) <= most:
            raise ValueError(f"{len(values)} items, not {least} to {most}")
        for each in values:
            one(each, out)

    return put


def _one(slot: Slot, profile: Profile) -> Put:
    """The writer of one element of a slot."""
    assert isinstance(slot.mark, El)
    name = _name(slot.mark)
    if isinstance(slot.kind, type):
        return _typed(name, slot.kind, profile) if slot.mark.derived else _element(name, slot.kind, profile)
    encode = _encoder(slot, f"<{name}>", f"</{name}>")
    return lambda value, out: out.append(encode(value))


def _typed(name: str, declared: type[Any], profile: Profile) -> Put:
    def put(value: Any, out: list[str]) -> None:  # noqa: ANN401 of a class derived from the declared one
        of = type(value)
        # The profile's own types are not called what their elements are.
        kind = _root(of, profile)[0] + ("" if namespace(of, profile) == SEP else "Type")
        extra = "" if of is declared else f' xmlns:xsi="{_XSI}" xsi:type="{kind}"'
        _element(name, of, profile, extra)(value, out)

    return put


def _name(mark: El) -> str:
    return f"{_PREFIX}{mark.name}" if mark.aus else mark.name


def _encoder(slot: Slot, before: str, after: str) -> Encode:
    assert not isinstance(slot.kind, type)
    return encoder(slot.kind, before, after)
