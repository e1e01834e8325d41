"""Object identifiers that IEEE 2030.5 writes into certificates, and the rules it has for them."""

from __future__ import annotations

from enum import Enum

HARDWARE_MODULE_NAME = "1.3.6.1.5.5.7.8.4"
"""Type of the alternative name by which a device's leaf says its hardware (RFC 4108)."""

_ARC = "1.3.6.1.4.1.40732"
DEVICE_GENERIC = f"{_ARC}.1.1"
DEVICE_MOBILE = f"{_ARC}.1.2"
DEVICE_POST_MANUFACTURE = f"{_ARC}.1.3"
DEVICE_TYPES = frozenset({DEVICE_GENERIC, DEVICE_MOBILE, DEVICE_POST_MANUFACTURE})
"""One of them stands in every device's leaf."""

TEST = f"{_ARC}.2.1"
SELF_SIGNED = f"{_ARC}.2.2"
COMMERCIAL = f"{_ARC}.2.3"
BULK = f"{_ARC}.2.4"
POLICIES = frozenset({TEST, SELF_SIGNED, COMMERCIAL, BULK})
ANY_POLICY = "2.5.29.32.0"


class Role(Enum):
    """What a leaf certificate is for."""

    DEVICE = "device"
    SERVICE = "service"
    """An aggregator or a utility's server."""


class Rule(Enum):
    """What a certificate must keep; the value says it in words."""

    READABLE = "every extension can be read"
    VERSION = "it is an X.509 certificate of version 3"
    CURVE = "the key is on the curve P-256"
    SIGNATURE = "it is signed with ecdsa-with-SHA256"
    DATES = "the present is between its dates"
    LENGTH = "a chain has at most four certificates"
    CA = "an issuer has a critical basicConstraints with CA true"
    CA_USAGE = "an issuer has a critical keyUsage with keyCertSign and cRLSign"
    CA_POLICIES = "an issuer has critical certificate policies"
    LEAF = "a leaf is no CA and signs no certificates"
    DEVICE_USAGE = "a device's leaf has a critical keyUsage with digitalSignature and keyAgreement"
    DEVICE_SUBJECT = "a device's leaf has an empty subject"
    DEVICE_HARDWARE = "a device's leaf has a critical alternative name of the type hardwareModuleName"
    DEVICE_PURPOSE = "a device's leaf has no extended key usage"
    DEVICE_TYPE = "a device's leaf has a policy that is a device type"
    SERVICE_USAGE = "a service's leaf has a keyUsage with digitalSignature"
    SERVICE_SUBJECT = "a service's leaf has a common name"
    SERVICE_DNS = "a service's leaf has a DNS name in an alternative name that is not critical"
    SERVICE_PURPOSE = "a service's leaf has the extended key usages clientAuth and serverAuth"
    SERVICE_POLICY = "a service's leaf has a policy of IEEE 2030.5"
    POLICY_PATH = "every issuer allows a policy that the leaf has"
    TEST_POLICY = "a test certificate is used in tests only"
    SELF_SIGNED = "a leaf has an issuer other than itself"
