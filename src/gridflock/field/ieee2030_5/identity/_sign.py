"""Certificates as IEEE 2030.5 wants them, made and signed in memory."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from gridflock.field.ieee2030_5.identity._hardware import HardwareName, hardware_name_said
from gridflock.field.ieee2030_5.identity._words import (
    ANY_POLICY,
    BULK,
    COMMERCIAL,
    DEVICE_TYPES,
    HARDWARE_MODULE_NAME,
    TEST,
)

FOREVER = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
"""RFC 5280, 4.1.2.5: no end is known."""


@dataclass(frozen=True, slots=True)
class Signer:
    """An issuer with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_key() -> ec.EllipticCurvePrivateKey:
    """A key on P-256."""
    return ec.generate_private_key(ec.SECP256R1())


def root_certificate(key: ec.EllipticCurvePrivateKey, name: str, below: int, now_s: int) -> x509.Certificate:
    """Of an authority that answers to none, with at most ``below`` authorities under each other."""
    made = _blank(_called(name), _called(name), key.public_key(), now_s, FOREVER)
    return _authority(made, None, below, (ANY_POLICY,)).sign(key, hashes.SHA256())


def authority_certificate(
    signer: Signer,
    key: ec.EllipticCurvePublicKey,
    name: str,
    below: int,
    now_s: int,
    *,
    devices: bool,
    tests: bool,
) -> x509.Certificate:
    """Of an authority for devices, or for services, under another one."""
    made = _blank(_called(name), signer.certificate.subject, key, now_s, FOREVER)
    policies = _device_policies(DEVICE_TYPES, tests=tests) if devices else _service_policies(tests=tests)
    return _authority(made, signer, below, policies).sign(signer.key, hashes.SHA256())


def device_certificate(
    signer: Signer,
    key: ec.EllipticCurvePublicKey,
    hardware: HardwareName,
    kind: str,
    now_s: int,
    *,
    tests: bool,
) -> x509.Certificate:
    """Of a device: empty subject, its hardware as critical alternative name, no end.

    Args:
        signer: the lowest authority for devices.
        key: the device's public key.
        hardware: who made it, and its serial number.
        kind: one of ``DEVICE_TYPES``.
        now_s: from when on it is valid, Unix seconds.
        tests: it says that it is for tests.

    Raises:
        ValueError: a hardware name that cannot be written.
    """
    made = _blank(x509.Name([]), signer.certificate.subject, key, now_s, FOREVER)
    other = x509.OtherName(x509.ObjectIdentifier(HARDWARE_MODULE_NAME), hardware_name_said(hardware))
    made = (
        made.add_extension(x509.SubjectAlternativeName([other]), critical=True)
        .add_extension(_usage(leaf=True), critical=True)
        .add_extension(_policies(_device_policies((kind,), tests=tests)), critical=True)
        .add_extension(_known_by(signer), critical=False)
    )
    return made.sign(signer.key, hashes.SHA256())


def service_certificate(
    signer: Signer,
    key: ec.EllipticCurvePublicKey,
    name: str,
    hosts: Sequence[str],
    span_s: tuple[int, int],
    *,
    tests: bool,
) -> x509.Certificate:
    """Of an aggregator or a server: common name, hosts as alternative names, client and server.

    Args:
        signer: the lowest authority for services.
        key: the service's public key.
        name: common name.
        hosts: DNS names; a numerical address is written as one.
        span_s: first and last second, Unix time.
        tests: it says that it is for tests.
    """
    subject, until = _called(name), datetime.fromtimestamp(span_s[1], UTC)
    both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    made = (
        _blank(subject, signer.certificate.subject, key, span_s[0], until)
        .add_extension(x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False)
        .add_extension(x509.ExtendedKeyUsage(both), critical=False)
        .add_extension(_usage(leaf=True), critical=True)
        .add_extension(_policies(_service_policies(tests=tests)), critical=True)
        .add_extension(_known_by(signer), critical=False)
    )
    return made.sign(signer.key, hashes.SHA256())


def revocation_list(
    signer: Signer, revoked: Iterable[tuple[int, int]], number: int, now_s: int
) -> x509.CertificateRevocationList:
    """What an issuer has taken back.

    Args:
        signer: whose list it is.
        revoked: serial number and Unix second of each.
        number: higher than that of the list before.
        now_s: of the list, Unix seconds.
    """
    now = datetime.fromtimestamp(now_s, UTC)
    made = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(now)
        .next_update(FOREVER)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_known_by(signer), critical=False)
    )
    for serial, at_s in revoked:
        each = x509.RevokedCertificateBuilder(serial, datetime.fromtimestamp(at_s, UTC))
        made = made.add_revoked_certificate(each.build())
    return made.sign(signer.key, hashes.SHA256())


def _blank(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now_s: int, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(datetime.fromtimestamp(now_s, UTC))
        .not_valid_after(until)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority(
    made: x509.CertificateBuilder, signer: Signer | None, below: int, policies: Iterable[str]
) -> x509.CertificateBuilder:
    made = (
        made.add_extension(x509.BasicConstraints(ca=True, path_length=below), critical=True)
        .add_extension(_usage(leaf=False), critical=True)
        .add_extension(_policies(policies), critical=True)
    )
    return made if signer is None else made.add_extension(_known_by(signer), critical=False)


def _called(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _usage(*, leaf: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=leaf, key_agreement=leaf, key_cert_sign=not leaf, crl_sign=not leaf,
        content_commitment=False, key_encipherment=False, data_encipherment=False,
        encipher_only=False, decipher_only=False,
    )  # fmt: skip


def _policies(named: Iterable[str]) -> x509.CertificatePolicies:
    return x509.CertificatePolicies(
        [x509.PolicyInformation(x509.ObjectIdentifier(name), None) for name in sorted(named)]
    )


def _device_policies(kinds: Iterable[str], *, tests: bool) -> list[str]:
    return [*kinds, TEST if tests else BULK]


def _service_policies(*, tests: bool) -> list[str]:
    return [TEST if tests else COMMERCIAL]


def _known_by(signer: Signer) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.key.public_key())
