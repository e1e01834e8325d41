"""Examples of every resource, derived from its table, and the schemas that judge them."""

import re

import pytest
from hypothesis import strategies as st

from gridflock.field.ieee2030_5 import resources
from gridflock.field.ieee2030_5.resources import (
    Address,
    Bits,
    El,
    Error,
    Flag,
    Octets,
    Profile,
    Resource,
    Text,
    Whole,
    Words,
    namespace,
    table,
)

etree = pytest.importorskip("lxml.etree")

_LETTERS = st.characters(exclude_categories=("Cs", "Cn", "Cc"), include_characters="\t\n\r")
_PATH = r"/[a-zA-Z0-9/._~-]{0,20}(\?[a-z]=[0-9]{1,3}&[a-z]=1)?"
_FEW = 2


# ---- examples ----------------------------------------------------------------------------------------


def _simple(kind):
    match kind:
        case Whole(lo, hi):
            return st.integers(lo, hi)
        case Bits(octets):
            return st.integers(0, 256**octets - 1)
        case Octets(octets):
            return st.binary(min_size=1, max_size=octets).map(lambda each: each.hex().upper())
        case Text(most) | Words(most):
            # Words are cut where they could be as many octets as the schema admits characters.
            return st.text(_LETTERS, max_size=most if isinstance(kind, Text) else most // 5)
        case Address():
            return st.from_regex(_PATH, fullmatch=True)
        case Flag():
            return st.booleans()


def _derived(declared, profile):
    """Classes that may stand where this one is declared; of notifications no nested ones."""
    every = [each for each in vars(resources).values() if isinstance(each, type)]
    chosen = [
        each for each in every if issubclass(each, declared) and not issubclass(each, resources.Notification)
    ]
    return sorted((each for each in chosen if namespace(each, profile)), key=lambda each: each.__name__)


def _value(slot, profile, rules):
    if not isinstance(slot.kind, type):
        one = _simple(slot.kind)
    elif isinstance(slot.mark, El) and slot.mark.derived:
        one = st.sampled_from(_derived(slot.kind, profile)).flatmap(lambda of: _examples(of, profile, rules))
    else:
        one = _examples(slot.kind, profile, rules)
    if not slot.repeated:
        return one
    least = slot.mark.least
    return st.lists(one, min_size=least, max_size=max(least, _FEW)).map(tuple)


def _examples(of, profile, rules=None):
    rules = rules or {}
    needed, optional = {}, {}
    for slot in table(of):
        rule = rules.get((of.__name__, slot.mark.name), ...)
        if slot.mark.since <= profile and rule is not None:
            fixed = rule is not ... or slot.demanded(profile)
            (needed if fixed else optional)[slot.field] = (
                _value(slot, profile, rules) if rule is ... else rule
            )
    return st.fixed_dictionaries(needed, optional=optional).map(lambda fields: of(**fields))


@pytest.fixture(scope="session")
def examples_of():
    """From a class and a profile to a strategy of values a client of that profile can be sent.

    A third argument says otherwise for some fields: (class, element) -> a strategy, or None for the default.
    """
    return _examples


@pytest.fixture(scope="session")
def documents():
    """Every class that a document may be of, by name."""
    every = sorted(vars(resources).items())
    return {name: of for name, of in every if isinstance(of, type) and issubclass(of, Resource | Error)}


# ---- schemas -----------------------------------------------------------------------------------------

_NEW_ELEMENTS = """
<xs:element name="opModStorageTargetW" type="bs:ActivePower"/>
<xs:element name="vppModesSupported" type="bs:HexBinary8"/>
<xs:element name="vppModesEnabled" type="bs:HexBinary8"/>
<xs:element name="setMinWh" type="bs:WattHour"/>
<xs:element name="CombinedTimeTariffIntervalListLink" type="bs:ListLink"/>
<xs:element name="ConsumptionTariffIntervalListSummary" type="bs:ConsumptionTariffIntervalList"/>
"""
_NEW_MEMBERS = {
    "DERControlBase": '<xs:element ref="csipaus:opModStorageTargetW" minOccurs="0"/>',
    "DERSettings": (
        '<xs:element ref="csipaus:vppModesEnabled" minOccurs="0"/>'
        '<xs:element ref="csipaus:setMinWh" minOccurs="0"/>'
    ),
    "DERCapability": '<xs:element ref="csipaus:vppModesSupported" minOccurs="0"/>',
}
_NEW_TYPES = {
    "TariffProfile": (
        '<xs:sequence><xs:element ref="csipaus:CombinedTimeTariffIntervalListLink"/></xs:sequence>'
    ),
    "TimeTariffInterval": (
        '<xs:sequence><xs:element ref="csipaus:ConsumptionTariffIntervalListSummary"/>'
        '<xs:element name="RateComponentLink" type="RateComponentLink"/></xs:sequence>'
    ),
    "TimeTariffIntervalList": '<xs:attribute name="pollRate" type="UInt32"/>',
    "RateComponentList": '<xs:attribute name="subscribable" type="SubscribableType"/>',
}


def _later(folder, into):
    """The schema of CSIP-AUS 1.2 with what 1.3 adds, for which there is no schema of its own."""
    names = {f'"{Profile.CSIPAUS12.extension}"': f'"{Profile.CSIPAUS13.extension}"'}
    names['"sep.xsd"'] = f'"{(folder / "sep.xsd").resolve().as_uri()}"'
    texts = {name: (folder / name).read_text("utf-8") for name in ("csipaus-ext.xsd", "csipaus-core.xsd")}
    extension, core = (
        re.sub("|".join(names), lambda found: names[found[0]], each) for each in texts.values()
    )
    for name, members in _NEW_MEMBERS.items():
        whole = re.search(rf'<xs:complexType name="{name}">.*?</xs:sequence>', core, re.DOTALL)[0]
        core = core.replace(whole, whole.replace("</xs:sequence>", f"{members}</xs:sequence>"))
    types = "".join(
        f'<xs:complexType name="{name}"><xs:complexContent><xs:extension base="{name}">{content}'
        "</xs:extension></xs:complexContent></xs:complexType>"
        for name, content in _NEW_TYPES.items()
    )
    (into / "csipaus-ext.xsd").write_text(extension.replace("</xs:schema>", f"{_NEW_ELEMENTS}</xs:schema>"))
    (into / "csipaus-core.xsd").write_text(core.replace("</xs:redefine>", f"{types}</xs:redefine>"))
    return into / "csipaus-core.xsd"


@pytest.fixture(scope="session")
def schemas(require, shared, tmp_path_factory):
    """The schema of each profile."""
    folder = shared / "data" / "schemas" / "ieee2030_5"
    require("the schemas of IEEE 2030.5", folder.is_dir())
    files = {
        Profile.SEP2018: folder / "sep.xsd",
        Profile.CSIPAUS12: folder / "csipaus-core.xsd",
        Profile.CSIPAUS13: _later(folder, tmp_path_factory.mktemp("schema")),
    }
    return {profile: etree.XMLSchema(etree.parse(str(file))) for profile, file in files.items()}
