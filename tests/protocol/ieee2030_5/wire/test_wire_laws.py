"""Laws of reading and writing, over examples of every resource derived from its table."""

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gridflock.field.ieee2030_5 import resources, wire
from gridflock.field.ieee2030_5.resources import SEP, Error, Profile, ReasonCode, Resource, namespace, table
from gridflock.field.ieee2030_5.wire import Malformed

etree = pytest.importorskip("lxml.etree")

DOCUMENTS = sorted(
    name
    for name, each in vars(resources).items()
    if isinstance(each, type) and issubclass(each, Resource | Error)
)
LISTS = sorted(name for name in DOCUMENTS if name.endswith("List") and len(name) > len("SubscribableList"))
PHASES = (Phase.explicit, Phase.generate, Phase.shrink)
CHECKS = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]
FEW = settings(max_examples=9, phases=PHASES, suppress_health_check=CHECKS)
MANY = settings(max_examples=400, phases=PHASES, suppress_health_check=CHECKS)

TEXTS = (
    "",
    "0",
    "-1",
    "+7",
    "007",
    "1.5",
    "1e3",
    "1_0",
    "NaN",
    "true",
    "0A",
    "0a",
    "A",
    "\u0663",
    "9" * 30,
    "/a b",
)
ATTRIBUTES = (
    ("href", "/x"),
    ("href", ""),
    ("all", "-1"),
    ("all", "3"),
    ("subscribable", "9"),
    ("other", "1"),
)


def _drawn(data, examples_of, name=None):
    """A value of the class, or of any, and a profile that has it."""
    of = getattr(resources, name or data.draw(st.sampled_from(DOCUMENTS)))
    profile = data.draw(st.sampled_from([each for each in Profile if namespace(of, each)]))
    return data.draw(examples_of(of, profile)), profile


@pytest.mark.parametrize("name", DOCUMENTS)
@FEW
@given(data=st.data())
def test_what_is_written_is_valid_and_reads_back(examples_of, schemas, name, data):
    """Every resource, in each profile that has it: valid by the schema, read back equal, written the same."""
    value, profile = _drawn(data, examples_of, name)
    body = wire.write(value, profile)
    schemas[profile].assertValid(etree.fromstring(body))
    again = wire.read(body, type(value), profile)
    assert again == value
    assert wire.write(again, profile) == body


@pytest.mark.parametrize("name", LISTS)
@FEW
@given(data=st.data())
def test_a_joined_list_is_the_list_written_whole(examples_of, name, data):
    """Items rendered one by one and joined are the bytes of the list written at once."""
    value, profile = _drawn(data, examples_of, name)
    field = next(slot.field for slot in table(type(value)) if slot.repeated)
    items = getattr(value, field)
    head = _changed(value, **{field: (), "results": len(items)})
    joined = wire.listed(head, [wire.item(each, type(value), profile) for each in items], profile)
    whole = wire.write(_changed(head, **{field: items}), profile)
    assert etree.tostring(etree.fromstring(joined)) == etree.tostring(etree.fromstring(whole))


def _changed(value, **changes):
    fields = {slot.field: getattr(value, slot.field) for slot in table(type(value))}
    return type(value)(**(fields | changes))


@MANY
@given(data=st.data())
def test_a_spoilt_document_is_judged_as_the_schema_does(examples_of, schemas, data):
    """A document with one thing changed: what we take is valid once rewritten.

    What the schema takes and we do not breaks a tighter bound of ours, never a rule of form.
    """
    value, profile = _drawn(data, examples_of)
    tree = etree.fromstring(wire.write(value, profile))
    _spoil(data, tree)
    body = etree.tostring(tree, encoding="utf-8")
    found = wire.read(body, type(value), profile)
    if not isinstance(found, Malformed):
        assert schemas[profile].validate(etree.fromstring(wire.write(found, profile)))
    elif schemas[profile].validate(tree):
        assert found.code is ReasonCode.VALUES, found


def _spoil(data, tree):
    """Take away, double, rename, empty or refill one element, or add an attribute or element to it."""
    element = data.draw(st.sampled_from(list(tree.iter())))
    parent = element.getparent()
    ways = ["rename", "namespace", "refill", "attribute", "child", "blank"]
    match data.draw(st.sampled_from(ways if parent is None else [*ways, "remove", "double", "swap"])):
        case "remove":
            parent.remove(element)
        case "double":
            element.addnext(etree.fromstring(etree.tostring(element)))
        case "swap":
            parent.append(element)
        case "rename":
            element.tag = f"{{{SEP}}}{data.draw(st.sampled_from(['value', 'mRID', 'Resource', 'status']))}"
        case "namespace":
            element.tag = etree.QName("urn:other", etree.QName(element).localname)
        case "refill":
            element.text = data.draw(st.sampled_from(TEXTS))
        case "attribute":
            element.set(*data.draw(st.sampled_from(ATTRIBUTES)))
        case "child":
            element.append(etree.Element(f"{{{SEP}}}value"))
        case "blank":
            element.text = f" \n{element.text or ''}\t"
