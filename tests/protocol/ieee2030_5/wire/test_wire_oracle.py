"""A second opinion, and the only independent one on CSIP-AUS 1.3: the models of ``envoy-schema``."""

import importlib
import pkgutil
import types
import typing
from enum import IntEnum

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gridflock.field.ieee2030_5 import resources, wire
from gridflock.field.ieee2030_5.resources import Profile, Text, Words, table

envoy = pytest.importorskip("envoy_schema.server.schema")
FEW = settings(
    max_examples=5,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def _models():
    """Its models by the name of their element; of several those that a server answers with."""
    found = {}
    for package in ("sep2", "csip_aus"):
        folder = importlib.import_module(f"{envoy.__name__}.{package}")
        for each in pkgutil.iter_modules(folder.__path__):
            module = importlib.import_module(f"{folder.__name__}.{each.name}")
            for name, model in vars(module).items():
                tag = getattr(model, "__xml_tag__", None) or name
                if getattr(model, "__module__", "") == module.__name__ and hasattr(model, "from_xml_tree"):
                    found[tag] = model if not name.endswith("Request") else found.get(tag, model)
    return found


MODELS = _models()
NAMES = sorted(
    name
    for name in MODELS
    if issubclass(getattr(resources, name, int), resources.Resource | resources.Error)
    and not name.startswith("Notification")
)


def _codes(annotation):
    """The codes of an enumeration, alone or optional; None of anything else."""
    optional = typing.get_origin(annotation) in {typing.Union, types.UnionType}
    for part in typing.get_args(annotation) if optional else (annotation,):
        if isinstance(part, type) and issubclass(part, IntEnum):
            return st.sampled_from([int(each) for each in part])
    return None


def _plain(name):
    """A field's or element's name as far as both agree on it: letters, no plural."""
    name = RENAMED.get(name, name)
    return name.replace("_", "").lower().removesuffix("s")


RENAMED = {"primacyType": "primacy", "id": "connectionPointId"}
FILLED = {
    # Where these are absent, the oracle puts something of its own.
    ("Reading", "consumptionBlock"): st.integers(0, 16),
    ("Reading", "qualityFlags"): st.integers(0, 127),
    ("Reading", "touTier"): st.integers(0, 15),
    ("EndDevice", "enabled"): st.booleans(),
    ("DeviceCapability", "href"): st.just("/dcap"),
    # These it demands.
    ("Time", "href"): st.just("/tm"),
    ("UsagePoint", "deviceLFDI"): st.just("0A" * 20),
    ("Subscription", "notificationURI"): st.just("https://client.example/sub"),
    ("TimeTariffInterval", "ConsumptionTariffIntervalListLink"): st.just(
        resources.ListLink(href="/cti", all=1)
    ),
    # It knows this list by a link without a count.
    **{(name, "IPInterfaceListLink"): None for name in ("AbstractDevice", "EndDevice")},
    ("EndDevice", "FlowReservationRequestListLink"): None,
    ("EndDevice", "FlowReservationResponseListLink"): None,
}
WORDS = st.text("abc é<&", min_size=1, max_size=6)
"""An empty text is none to the oracle."""


def _rule(slot, field):
    """What the oracle does not know is left away; its enumerations bound our codes."""
    if field is None:
        return None
    rule = WORDS if isinstance(slot.kind, Text | Words) else _codes(field.annotation)
    if rule is None:
        return ...
    return rule if slot.required or slot.default is not None else st.none() | rule


def _rules():
    rules = {}
    for name, model in MODELS.items():
        fields = {_plain(key): field for key, field in model.model_fields.items()}
        for slot in table(getattr(resources, name)) if hasattr(resources, name) else ():
            rules[name, slot.mark.name] = _rule(slot, fields.get(_plain(slot.mark.name)))
    return rules | FILLED


RULES = _rules()


@pytest.mark.parametrize("name", NAMES)
@FEW
@given(data=st.data())
def test_the_oracle_reads_what_we_write_and_writes_what_we_read(examples_of, name, data):
    """Ours into its model, its model back into ours: nothing is lost or changed on the way."""
    of = getattr(resources, name)
    value = data.draw(examples_of(of, Profile.CSIPAUS13, RULES))
    theirs = MODELS[name].from_xml(wire.write(value, Profile.CSIPAUS13))
    again = wire.read(theirs.to_xml(exclude_none=True), of, Profile.CSIPAUS13)
    assert again == value


@FEW
@given(data=st.data())
def test_the_oracle_sees_what_a_notification_carries(examples_of, data):
    """The resource inside is of the type it says, with all its controls, whole."""
    controls = data.draw(examples_of(resources.DERControlList, Profile.CSIPAUS13, RULES))
    told = resources.Notification(
        subscribed_resource="/derp/1/derc",
        resource=controls,
        status=resources.NotificationStatus.DEFAULT,
        subscription_uri="/edev/1/sub/1",
    )
    theirs = MODELS["Notification"].from_xml(wire.write(told, Profile.CSIPAUS13))
    assert theirs.resource.type == "DERControlList"
    assert [each.mRID for each in theirs.resource.DERControl or ()] == [
        each.mrid for each in controls.der_control
    ]
    assert wire.read(theirs.to_xml(exclude_none=True), resources.Notification, Profile.CSIPAUS13) == told
