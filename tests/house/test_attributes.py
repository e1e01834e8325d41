"""docs/attributes.md is the attribute table, written out. Run this file to write it anew."""

import math
from pathlib import Path

from gridflock.schema import (
    CUSTOMER_CLASSES,
    FAMILY,
    IDENTITIES,
    REGISTRY,
    TELEMETRY,
    Enrolment,
    Family,
    Kind,
    attribute,
)

PAGE = Path(__file__).resolve().parents[2] / "docs/attributes.md"
HEAD = """# Attributes

Every column of every resource: the registry file's columns, what telemetry may bring, and the kinds.
Positive power is injection into the grid ([CONVENTIONS](../CONVENTIONS.md) §1); the unit is the suffix
of the name (§2). This page is written from `src/gridflock/schema.py` by
`tests/house/test_attributes.py`, which also checks that the two agree.
"""


def _range(entry):
    words = {"phases": "some of a, b, c", "kind": "[kinds](#kinds)", "customer": ", ".join(CUSTOMER_CLASSES)}
    words["enrolment"] = ", ".join(state.name.lower() for state in Enrolment)
    if entry.dtype in words:
        return words[entry.dtype]
    return f"{entry.low:.15g} … {entry.high:.15g}" if math.isfinite(entry.low) else ""


def _default(entry):
    if entry.may_be_absent:
        return "absent"
    if isinstance(entry.default, float):
        return f"{entry.default:.15g}"
    return entry.default or "must be given"


def _row(*cells):
    return "| " + " | ".join(cells) + " |\n"


def page():
    """The whole page."""
    text = HEAD + "\n## Registry\n\nNameplate and settings: constant until changed.\n\n"
    text += _row("name", "unit", "range", "default", "meaning", "named elsewhere") + "|---" * 6 + "|\n"
    for e in REGISTRY:
        text += _row(f"`{e.name}`", e.unit, _range(e), _default(e), e.meaning, e.clause)
    text += "\n## Identities\n\nNames with others, beside the id; columns of the registry file.\n\n"
    text += _row("name", "meaning", "named elsewhere") + "|---" * 3 + "|\n"
    for e in IDENTITIES:
        text += _row(f"`{e.name}`", e.meaning, e.clause)
    text += "\n## Telemetry\n\nReadings; an absent one is NaN, -1 for `depart_s`, 0 for `ready` (§3).\n\n"
    text += _row("name", "unit", "range", "meaning", "named elsewhere") + "|---" * 5 + "|\n"
    for e in TELEMETRY:
        text += _row(f"`{e.name}`", e.unit, _range(e), e.meaning, e.clause)
    text += "\n## Kinds\n\nThe family decides how the plan and the split treat a resource.\n\n"
    text += _row("kind", "family") + "|---" * 2 + "|\n"
    for kind in Kind:
        text += _row(f"`{kind.name.lower()}`", FAMILY[kind].name.lower())
    return text


def test_the_page_is_the_table():
    """docs/attributes.md is what the schema says, to the letter."""
    assert PAGE.read_text("utf-8") == page()


def test_every_kind_has_a_family_and_every_family_a_kind():
    """No kind falls out of the plan, no family is empty."""
    assert FAMILY.keys() == set(Kind)
    assert set(FAMILY.values()) == set(Family)


def test_attributes_are_found_by_name():
    """Names are unique, and a default lies inside its own range."""
    entries = REGISTRY + IDENTITIES + TELEMETRY
    assert all(attribute(entry.name) is entry for entry in entries)
    numbers = [
        entry for entry in entries if isinstance(entry.default, float) and not math.isnan(entry.default)
    ]
    assert all(entry.low <= entry.default <= entry.high for entry in numbers)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
