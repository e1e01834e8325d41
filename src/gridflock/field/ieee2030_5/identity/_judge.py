"""Judging certificates by IEEE 2030.5's profile, which TLS libraries do not check.

OpenSSL proves signatures, dates and who issued whom. At the security level that the mandated cipher suite may
need it passes any curve and hash, and it does not look at policies, so that a chain of the wrong kind goes
unnoticed. Here every rule is a question to one certificate's facts, and all that are broken are named.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, SignatureAlgorithmOID

from gridflock.field.ieee2030_5.identity._hardware import HardwareName, hardware_name_from
from gridflock.field.ieee2030_5.identity._identifiers import lfdi_of, sfdi_of
from gridflock.field.ieee2030_5.identity._words import (
    ANY_POLICY,
    DEVICE_TYPES,
    HARDWARE_MODULE_NAME,
    POLICIES,
    TEST,
    Role,
    Rule,
)

LONGEST_CHAIN = 4
_Extension = TypeVar("_Extension", bound=x509.ExtensionType)


@dataclass(frozen=True, slots=True)
class Broken:
    """A rule that a certificate of a chain does not keep.

    Attributes:
        place: 0 is the leaf, 1 its issuer, and so on.
        rule: which one.
    """

    place: int
    rule: Rule

    def __str__(self) -> str:
        """In words."""
        who = "leaf" if self.place == 0 else f"issuer {self.place}"
        return f"{who}: not kept: {self.rule.value}"


@dataclass(frozen=True, slots=True)
class Standing:
    """What a chain says of the one who holds it, and what is wrong with it.

    Attributes:
        lfdi: long form device identifier of the leaf.
        sfdi: short form.
        subject: of the leaf, for people; empty for a device.
        role: device or service.
        hardware: what the device is, where the leaf says so.
        names: DNS names of the leaf.
        marks: of each certificate, leaf first, as a revocation list names it: issuer in DER, serial number.
        until_s: Unix seconds at which the first of them ends.
        broken: rules not kept; empty where all is well.
    """

    lfdi: str
    sfdi: int
    subject: str
    role: Role
    hardware: HardwareName | None
    names: tuple[str, ...]
    marks: tuple[tuple[bytes, int], ...]
    until_s: int
    broken: tuple[Broken, ...]


@dataclass(frozen=True, slots=True)
class _Facts:
    """What the rules ask of one certificate; beside an extension stands whether it is critical."""

    certificate: x509.Certificate
    mark: tuple[bytes, int]
    span_s: tuple[int, int]
    wrong: tuple[Rule, ...]
    """Rules of any certificate that it breaks at all times."""
    usage: tuple[x509.KeyUsage | None, bool] = (None, False)
    constraints: tuple[x509.BasicConstraints | None, bool] = (None, False)
    names: tuple[x509.SubjectAlternativeName | None, bool] = (None, False)
    policies: tuple[frozenset[str], bool] = (frozenset(), False)
    purposes: frozenset[x509.ObjectIdentifier] | None = None


def judge(
    chain: Sequence[bytes], now_s: int, *, tests: bool = False, tolerated: Iterable[Rule] = ()
) -> Standing:
    """Ask every rule of a chain that is already known to hang together.

    Args:
        chain: DER of the leaf, its issuer and so on; at least the leaf.
        now_s: the present, Unix seconds.
        tests: certificates that say they are for tests are welcome.
        tolerated: rules not asked, for devices that were built without them.

    Raises:
        ValueError: the leaf is no certificate.
    """
    leaf = _facts(x509.load_der_x509_certificate(chain[0]))
    above = [_issuer_facts(der) for der in chain[1:]]
    issuers = [facts for facts, _ in above]
    role, forgiven = _role(leaf), frozenset(tolerated)
    broken = [Broken(0, rule) for rule in (*_of_leaf(leaf, role), *_of_any(leaf, now_s, tests=tests))]
    broken += [
        Broken(k, rule)
        for k, (issuer, wrong) in enumerate(above, 1)
        for rule in (*wrong, *_of_any(issuer, now_s, tests=tests))
    ]
    broken += [Broken(k, Rule.POLICY_PATH) for k in _closed(leaf, issuers)]
    if len(chain) > LONGEST_CHAIN:
        broken.append(Broken(len(chain) - 1, Rule.LENGTH))
    lfdi = lfdi_of(chain[0])
    return Standing(
        lfdi,
        sfdi_of(lfdi),
        leaf.certificate.subject.rfc4514_string(),
        role,
        _hardware(leaf),
        _dns(leaf),
        tuple(facts.mark for facts in (leaf, *issuers)),
        min(facts.span_s[1] for facts in (leaf, *issuers)),
        tuple(each for each in broken if each.rule not in forgiven),
    )


def judge_authority(certificate: bytes, now_s: int, *, tests: bool = False) -> tuple[Broken, ...]:
    """Rules that a certificate to be trusted as an issuer does not keep; ``place`` is 1."""
    facts, wrong = _issuer_facts(certificate)
    return tuple(Broken(1, rule) for rule in (*wrong, *_of_any(facts, now_s, tests=tests)))


def _facts(certificate: x509.Certificate) -> _Facts:
    mark = (certificate.issuer.public_bytes(), certificate.serial_number)
    starts, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    span_s = (int(starts.timestamp()), int(ends.timestamp()))
    try:
        found = certificate.extensions
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return _Facts(certificate, mark, span_s, (Rule.READABLE, *_always_wrong(certificate)))
    policies, policies_critical = _extension(found, x509.CertificatePolicies)
    purposes, _ = _extension(found, x509.ExtendedKeyUsage)
    return _Facts(
        certificate,
        mark,
        span_s,
        tuple(_always_wrong(certificate)),
        usage=_extension(found, x509.KeyUsage),
        constraints=_extension(found, x509.BasicConstraints),
        names=_extension(found, x509.SubjectAlternativeName),
        policies=(frozenset(p.policy_identifier.dotted_string for p in policies or ()), policies_critical),
        purposes=None if purposes is None else frozenset(purposes),
    )


@lru_cache(maxsize=256)
def _issuer_facts(der: bytes) -> tuple[_Facts, tuple[Rule, ...]]:
    """Issuers are few and come with every chain: their facts, and the rules of issuers they break."""
    facts = _facts(x509.load_der_x509_certificate(der))
    return facts, tuple(_of_issuer(facts))


def _extension(found: x509.Extensions, kind: type[_Extension]) -> tuple[_Extension | None, bool]:
    try:
        extension = found.get_extension_for_class(kind)
    except x509.ExtensionNotFound:
        return None, False
    return extension.value, extension.critical


def _role(leaf: _Facts) -> Role:
    """A hardware name or an empty subject makes a device; whatever else is wrong is said by the rules."""
    device = not list(leaf.certificate.subject) or _other_name(leaf) is not None
    return Role.DEVICE if device else Role.SERVICE


def _other_name(leaf: _Facts) -> bytes | None:
    for name in leaf.names[0] or ():
        if isinstance(name, x509.OtherName) and name.type_id.dotted_string == HARDWARE_MODULE_NAME:
            return name.value
    return None


def _hardware(leaf: _Facts) -> HardwareName | None:
    der = _other_name(leaf)
    try:
        return None if der is None else hardware_name_from(der)
    except ValueError:
        return None


def _dns(leaf: _Facts) -> tuple[str, ...]:
    names = leaf.names[0]
    return () if names is None else tuple(names.get_values_for_type(x509.DNSName))


def _always_wrong(certificate: x509.Certificate) -> list[Rule]:
    try:
        key = certificate.public_key()
    except ValueError:  # a curve the library does not know
        key = None
    kept = {
        Rule.VERSION: certificate.version is x509.Version.v3,
        Rule.CURVE: isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1),
        Rule.SIGNATURE: certificate.signature_algorithm_oid == SignatureAlgorithmOID.ECDSA_WITH_SHA256,
    }
    return _not_kept(kept)


def _of_any(facts: _Facts, now_s: int, *, tests: bool) -> list[Rule]:
    kept = {
        Rule.DATES: facts.span_s[0] <= now_s <= facts.span_s[1],
        Rule.TEST_POLICY: tests or TEST not in facts.policies[0],
    }
    return [*facts.wrong, *_not_kept(kept)]


def _of_issuer(facts: _Facts) -> list[Rule]:
    (usage, usage_critical), (constraints, constraints_critical) = facts.usage, facts.constraints
    signs = usage is not None and usage.key_cert_sign and usage.crl_sign
    kept = {
        Rule.CA: constraints is not None and constraints.ca and constraints_critical,
        Rule.CA_USAGE: signs and usage_critical,
        Rule.CA_POLICIES: bool(facts.policies[0]) and facts.policies[1],
    }
    return _not_kept(kept)


def _of_leaf(leaf: _Facts, role: Role) -> list[Rule]:
    usage, constraints = leaf.usage[0], leaf.constraints[0]
    ca = constraints is not None and constraints.ca
    signs = usage is not None and usage.key_cert_sign
    kept = {
        Rule.LEAF: not ca and not signs,
        Rule.SELF_SIGNED: leaf.certificate.issuer != leaf.certificate.subject,
    }
    asked: Callable[[_Facts], dict[Rule, bool]] = _device_keeps if role is Role.DEVICE else _service_keeps
    return _not_kept(kept | asked(leaf))


def _device_keeps(leaf: _Facts) -> dict[Rule, bool]:
    usage, critical = leaf.usage
    agrees = usage is not None and usage.digital_signature and usage.key_agreement
    return {
        Rule.DEVICE_USAGE: agrees and critical,
        Rule.DEVICE_SUBJECT: not list(leaf.certificate.subject),
        Rule.DEVICE_HARDWARE: _hardware(leaf) is not None and leaf.names[1],
        Rule.DEVICE_PURPOSE: leaf.purposes is None,
        Rule.DEVICE_TYPE: bool(leaf.policies[0] & DEVICE_TYPES),
    }


def _service_keeps(leaf: _Facts) -> dict[Rule, bool]:
    usage = leaf.usage[0]
    both = {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    return {
        Rule.SERVICE_USAGE: usage is not None and usage.digital_signature,
        Rule.SERVICE_SUBJECT: bool(leaf.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)),
        Rule.SERVICE_DNS: bool(_dns(leaf)) and not leaf.names[1],
        Rule.SERVICE_PURPOSE: leaf.purposes is not None and both <= leaf.purposes,
        Rule.SERVICE_POLICY: bool(leaf.policies[0] & POLICIES),
    }


def _closed(leaf: _Facts, issuers: Sequence[_Facts]) -> list[int]:
    """Places at which no policy of the leaf is left; a leaf without any is named by other rules."""
    left = leaf.policies[0]
    for place, issuer in enumerate(issuers, 1):
        if ANY_POLICY not in issuer.policies[0]:
            if left and not left & issuer.policies[0]:
                return [place]
            left &= issuer.policies[0]
    return []


def _not_kept(kept: dict[Rule, bool]) -> list[Rule]:
    return [rule for rule, yes in kept.items() if not yes]
