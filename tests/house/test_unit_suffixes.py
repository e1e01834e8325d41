"""CONVENTIONS §2: the unit is the name's suffix. The annotation and the name must say the same."""

import ast

from gridflock.schema import REGISTRY, TELEMETRY

SUFFIX = {
    "Kw": "_kw",
    "Kvar": "_kvar",
    "Kwh": "_kwh",
    "Volt": "_v",
    "Ampere": "_a",
    "Pu": "_pu",
    "Seconds": "_s",
}
"""Alias of ``gridflock.units`` -> suffix."""

SCHEMA_SUFFIX = {
    "kW": "_kw",
    "kvar": "_kvar",
    "kVA": "_kva",
    "kWh": "_kwh",
    "kW/s": "_kw_s",
    "money/kWh": "_kwh",
    "pu": "_pu",
    "s": "_s",
    "deg": "_deg",
}
"""Unit of ``gridflock.schema`` -> suffix; a price is named after what it is paid for."""

OTHERWISE_NAMED: dict[str, str] = {}
"""``path:Class.field`` -> why its name does not end in its unit."""


def _annotated(module):
    """Name, alias and place of every field and parameter whose annotation is a unit."""
    for owner, node in module.definitions():
        if isinstance(node, ast.ClassDef):
            pairs = [(s.target.id, s.annotation, True) for s in node.body if isinstance(s, ast.AnnAssign)]
        else:
            arguments = node.args.posonlyargs + node.args.args + node.args.kwonlyargs
            pairs = [(a.arg, a.annotation, False) for a in arguments]
        for name, annotation, is_field in pairs:
            alias = getattr(annotation, "id", "")
            if alias in SUFFIX:
                yield f"{module.name}:{owner}.{name}", name, alias, is_field


def _said(name):
    """The unit suffix a name carries, the longest first; empty where it carries none."""
    suffixes = sorted(SUFFIX.values(), key=len, reverse=True)
    return next((suffix for suffix in suffixes if name.endswith(suffix)), "")


def test_every_field_in_a_unit_ends_with_its_suffix(product):
    """A dataclass field annotated with a unit is named after it; the listed exceptions are still there."""
    odd = {
        place
        for module in product
        for place, name, alias, is_field in _annotated(module)
        if is_field and not name.endswith(SUFFIX[alias])
    }
    assert odd == OTHERWISE_NAMED.keys()


def test_no_name_says_another_unit_than_its_annotation(product):
    """A parameter may leave the suffix away where the function is about one quantity, never lie."""
    lies = [
        f"{place}: {alias}"
        for module in product
        for place, name, alias, _ in _annotated(module)
        if _said(name) not in {"", SUFFIX[alias]}
    ]
    assert not lies


def test_attribute_names_end_with_their_unit():
    """Every column of the attribute table is named after its unit, and no unitless one looks as if."""
    wrong = [
        (entry.name, entry.unit)
        for entry in REGISTRY + TELEMETRY
        if (entry.unit and not entry.name.endswith(SCHEMA_SUFFIX[entry.unit]))
        or (not entry.unit and _said(entry.name))
    ]
    assert not wrong
