"""From a tree to a resource: one reader for each class and profile, made once from its table.

A document is taken as its profile's schema has it, but for three allowances: the order of elements is not
judged, a posted list may leave out its counts, and an attribute of a simple element is ignored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

from gridflock.field.ieee2030_5 import resources
from gridflock.field.ieee2030_5._once import once
from gridflock.field.ieee2030_5.resources import (
    SEP,
    At,
    El,
    Profile,
    ReasonCode,
    Resource,
    Slot,
    namespace,
    table,
)
from gridflock.field.ieee2030_5.wire._malformed import Malformed, Wrong, shown
from gridflock.field.ieee2030_5.wire._parse import TRIAL, local, root_of, settled, stranger
from gridflock.field.ieee2030_5.wire._values import Decode, decoder

R = TypeVar("R")
Take = Callable[[Any], Any]
_XSI = "{http://www.w3.org/2001/XMLSchema-instance}"
_TYPE = f"{_XSI}type"
_MOST_ATTRIBUTES = 16
_SPARE = {f"{_XSI}schemaLocation", f"{_XSI}noNamespaceSchemaLocation"}
"""Attributes that are passed over, never followed."""
_DOCUMENTS: dict[str, type[Any]] = {
    name: each
    for name, each in vars(resources).items()
    if isinstance(each, type) and issubclass(each, (Resource, resources.Error))
}
"""Classes that a document, or the resource inside a notification, may be of."""


class _Other(NamedTuple):
    """An element that holds elements, or may be repeated."""

    field: str
    take: Take
    most: int
    """Repetitions; 0 for a field that is no list."""


def read(
    body: bytes, expected: type[R] | tuple[type[R], ...], profile: Profile, *, trial: bool = False
) -> R | Malformed:
    """The resource a body holds, or what is wrong with it; nothing in a body raises.

    Args:
        body: as received.
        expected: the class, or classes, it may be of; a class stands for those derived from it too.
        profile: what the sender speaks; elements of a later profile are refused.
        trial: elements of the storage trial's namespace are read as those of the profile that came of it.
    """
    try:
        root = root_of(body)
        if trial and TRIAL.encode() in body:
            settled(root)
    except Wrong as wrong:
        return wrong.malformed()
    try:
        return _document(root, expected, profile)
    except Wrong as wrong:
        wrong.path.append(local(root.tag))
        return wrong.malformed()


def _document(root: Any, expected: type[R] | tuple[type[R], ...], profile: Profile) -> R:  # noqa: ANN401 lxml carries no types
    declared = _roots(profile).get(root.tag)
    if declared is None:
        raise stranger(root)
    of = declared if root.get(_TYPE) is None else _named(root, declared, profile)
    if not issubclass(of, expected):
        raise Wrong("is not what is expected here")
    found: R = reader(of, profile)(root)
    return found


@once
def _roots(profile: Profile) -> Mapping[str, type[Any]]:
    """The classes a document of this profile may be of, by the tag of its root."""
    known = {name: namespace(of, profile) for name, of in _DOCUMENTS.items()}
    return {f"{{{space}}}{name}": _DOCUMENTS[name] for name, space in known.items() if space is not None}


def _named(element: Any, declared: type[Any], profile: Profile) -> type[Any]:  # noqa: ANN401 lxml carries no types
    """The class an element names by ``xsi:type``: the declared one, or one derived from it."""
    prefix, _, name = element.get(_TYPE).strip().rpartition(":")
    of = _DOCUMENTS.get(name) or _DOCUMENTS.get(name.removesuffix("Type"))
    said = element.nsmap.get(prefix or None)
    if of is None or not issubclass(of, declared) or said != namespace(of, profile):
        raise Wrong(f"cannot be of type {shown(element.get(_TYPE))}")
    return of


@once
def reader(of: type[Any], profile: Profile) -> Take:
    """The function from an element to a value of the class; it raises ``Wrong``."""
    slots = [slot for slot in table(of) if slot.mark.since <= profile]
    attributes = {slot.mark.name: (slot.field, _decoder(slot)) for slot in slots if isinstance(slot.mark, At)}
    elements = {_tag(slot, profile): slot for slot in slots if isinstance(slot.mark, El)}
    simple = {tag: (slot.field, _decoder(slot)) for tag, slot in elements.items() if _is_simple(slot)}
    others = {tag: _other(slot, profile) for tag, slot in elements.items() if not _is_simple(slot)}
    repeated = [slot.field for slot in slots if slot.repeated]
    demanded = {slot.field: slot.mark.name for slot in slots if slot.demanded(profile)}

    def instance(element: Any) -> Any:  # noqa: ANN401 lxml carries no types
        names = element.keys()
        values = _attributes(element, names, attributes, of) if names else {}
        if element.text is not None and not element.text.isspace():
            raise Wrong(f"holds the text {shown(element.text)}")
        _children(element, simple, others, values)
        for field in repeated:
            if field in values:
                values[field] = tuple(values[field])
        if not values.keys() >= demanded.keys():
            raise Wrong(f"has no {next(name for field, name in demanded.items() if field not in values)}")
        return of(**values)

    return instance


def _children(
    element: Any,  # noqa: ANN401 lxml carries no types
    simple: Mapping[str, tuple[str, Decode]],
    others: Mapping[str, _Other],
    values: dict[str, Any],
) -> None:
    child = None
    try:
        for child in element:
            known = simple.get(child.tag)
            if known is None:
                _put(child, others.get(child.tag), values)
            elif known[0] in values or len(child):
                _refuse(child)
            else:
                values[known[0]] = known[1](child.text)
    except Wrong as wrong:
        wrong.path.append(_step(child))
        raise


def _put(child: Any, known: _Other | None, values: dict[str, Any]) -> None:  # noqa: ANN401 lxml carries no types
    if known is None:
        raise Wrong("is not known here")
    field, take, most = known
    if most:
        _append(take(child), values.setdefault(field, []), most)
    elif field in values:
        raise Wrong("is there twice")
    else:
        values[field] = take(child)


def _refuse(child: Any) -> None:  # noqa: ANN401 lxml carries no types
    """A simple element that cannot stand."""
    raise Wrong("holds elements" if len(child) else "is there twice")


def _append(value: Any, values: list[Any], most: int) -> None:  # noqa: ANN401 of the list's class
    if len(values) == most:
        raise Wrong(f"is there more than {most} times", ReasonCode.LIMIT)
    values.append(value)


def _attributes(
    element: Any,  # noqa: ANN401 lxml carries no types
    names: Sequence[str],
    known: Mapping[str, tuple[str, Decode]],
    of: type[Any],
) -> dict[str, Any]:
    # The parser finds an attribute by going through all of them.
    if len(names) > _MOST_ATTRIBUTES:
        raise Wrong(f"has {len(names)} attributes", ReasonCode.LIMIT)
    values: dict[str, Any] = {}
    for name in names:
        text = element.get(name)
        try:
            if name in known:
                field, decode = known[name]
                values[field] = decode(text)
            else:
                _pass_over(name, text, of)
        except Wrong as wrong:
            wrong.path.append(f"@{local(name)}")
            raise
    return values


def _pass_over(name: str, text: str, of: type[Any]) -> None:
    """An attribute that is no field of the class: its type as expected, a schema's place, or wrong."""
    if name == _TYPE and text.strip().rpartition(":")[2] not in (of.__name__, f"{of.__name__}Type"):
        raise Wrong(f"is {shown(text)}, not {of.__name__}")
    if name != _TYPE and name not in _SPARE:
        raise Wrong("is not known here")


def _is_simple(slot: Slot) -> bool:
    return not slot.repeated and not isinstance(slot.kind, type)


def _other(slot: Slot, profile: Profile) -> _Other:
    mark, declared = slot.mark, slot.kind
    assert isinstance(mark, El)
    assert isinstance(declared, type), f"a list of simple elements: {slot.field}"
    nested = reader(declared, profile)

    def typed(child: Any) -> Any:  # noqa: ANN401 lxml carries no types
        if child.get(_TYPE) is None:
            return nested(child)
        return reader(_named(child, declared, profile), profile)(child)

    return _Other(slot.field, typed if mark.derived else nested, mark.most if slot.repeated else 0)


def _decoder(slot: Slot) -> Decode:
    assert not isinstance(slot.kind, type)
    return decoder(slot.kind)


def _tag(slot: Slot, profile: Profile) -> str:
    extension = isinstance(slot.mark, El) and slot.mark.aus
    return f"{{{profile.extension if extension else SEP}}}{slot.mark.name}"


def _step(child: Any) -> str:  # noqa: ANN401 lxml carries no types
    """An element's name, and its number from the second namesake on."""
    if not isinstance(child.tag, str):
        return "?"
    before = sum(1 for each in child.itersiblings(preceding=True) if each.tag == child.tag)
    return local(child.tag) if before == 0 else f"{local(child.tag)}[{before + 1}]"
