"""Coverage-guided fuzzing of what reads IEEE 2030.5 bodies; options are libFuzzer's.

``make fuzz`` runs it for ten minutes, ``make fuzz FOR=30`` for half a minute. A body is either ``Malformed``,
or it is a resource whose document reads back and is written the same; nothing else may happen, for any
profile. Of what it changes, one part is octets, the other elements of a well-formed document. What was found
new stays in ``out/fuzz`` and is where the next run begins.
"""

import copy
import random
import re
import sys
from pathlib import Path

import atheris
from lxml import etree

with atheris.instrument_imports(include=["gridflock.field.ieee2030_5"]):
    from gridflock.field.ieee2030_5 import resources, wire
    from gridflock.field.ieee2030_5.resources import Error, Profile, Resource, namespace, table

CORPUS = Path("out/fuzz/ieee2030_5")
MOST_OCTETS = 4_096
OCTETS = 0.4
PARSER = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False)
TEXTS = ("", "0", "-1", "10", "65536", "1_0", "0A", "A" * 41, "true", "/a", "DERControlList", "x" * 200, "é")
TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
ATTRIBUTES = ("href", "all", "results", "subscribable", "pollRate", TYPE, "other")
DOCUMENTS = [
    of for of in vars(resources).values() if isinstance(of, type) and issubclass(of, Resource | Error)
]


def _sample(of, profile, *, whole):
    """A value with only what it needs, or with all it may have."""
    fields = {}
    for slot in table(of):
        if slot.demanded(profile) or (whole and slot.mark.since <= profile):
            one = _sample_of(slot.kind, profile, whole=whole)
            fields[slot.field] = (one,) if slot.repeated else one
    return of(**fields)


def _sample_of(kind, profile, *, whole):
    if isinstance(kind, type):
        return _sample(kind, profile, whole=whole)
    match kind:
        case resources.Whole(lo, hi):
            return min(max(lo, 9), hi)
        case resources.Flag():
            return True
        case resources.Bits():
            return 1
        case resources.Octets(octets):
            return "0A" * octets
    return "/a"


def _seeds():
    for profile in Profile:
        for of in DOCUMENTS:
            if namespace(of, profile):
                for whole in (False, True):
                    yield wire.write(_sample(of, profile, whole=whole), profile)


def _begin():
    """Seeds and the words of the language, unless an earlier run left better ones."""
    (CORPUS / "bodies").mkdir(parents=True, exist_ok=True)
    words = set()
    for number, body in enumerate(_seeds()):
        (CORPUS / "bodies" / f"seed-{number}").write_bytes(body)
        words |= set(re.findall(rb"[\w:]+", body))
    lines = "".join(f'"{word.decode()}"\n' for word in sorted(words))
    (CORPUS / "words").write_text(lines)


def read_and_write(body):
    """What must hold of any bytes."""
    for profile in Profile:
        found = wire.read(body, (Resource, Error), profile)
        if isinstance(found, wire.Malformed):
            assert (found.path + found.reason).isascii()
            wire.write(found.error(), profile)
        else:
            written = wire.write(found, profile)
            assert wire.write(wire.read(written, type(found), profile), profile) == written


def change(body, most, seed):
    """Octets at random, or one element of a well-formed document: copied, renamed, emptied, refilled."""
    dice = random.Random(seed)
    try:
        tree = etree.fromstring(body, PARSER)
    except etree.XMLSyntaxError:
        tree = None
    if tree is None or dice.random() < OCTETS:
        return atheris.Mutate(body, most)
    places = list(tree.iter(etree.Element))
    one, other = dice.choice(places), dice.choice(places)
    match dice.randrange(6):
        case 0:
            other.append(copy.deepcopy(one))
        case 1:
            one.clear()
        case 2:
            return _renamed(tree, one, other)[:most] or atheris.Mutate(body, most)
        case 3:
            one.text = dice.choice(TEXTS)
        case 4:
            one.set(dice.choice(ATTRIBUTES), dice.choice(TEXTS))
        case _:
            one.text = other.text
    return etree.tostring(tree, encoding="utf-8")[:most]


def _renamed(tree, one, other):
    """The document with an element under another's name; nothing where that name cannot be set."""
    try:
        one.tag = other.tag
    except ValueError:
        return b""
    return etree.tostring(tree, encoding="utf-8")


if __name__ == "__main__":
    _begin()
    told = [
        f"-max_len={MOST_OCTETS}",
        f"-dict={CORPUS / 'words'}",
        "-timeout=10",
        f"-artifact_prefix={CORPUS}/",
    ]
    atheris.Setup(
        [sys.argv[0], *told, *sys.argv[1:], str(CORPUS / "bodies")], read_and_write, custom_mutator=change
    )
    atheris.Fuzz()
