"""Whose signatures count, checked before the first connection."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from gridflock.field.ieee2030_5.identity._judge import Standing, judge, judge_authority
from gridflock.field.ieee2030_5.identity._words import Rule
from gridflock.model import Rejected

_MOST_FOLLOWED = 8
"""Certificates from a leaf upwards, whatever a file holds."""


class CertificatesRejected(Exception):  # noqa: N818 - a refusal of input, like its siblings
    """Certificates that may not be used, every one with every rule it breaks.

    Attributes:
        faults: one for each rule broken.
    """

    def __init__(self, faults: Iterable[Rejected]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.ids[0]}: {fault.reason}" for fault in self.faults))


@dataclass(frozen=True, slots=True)
class Trust:
    """Authorities of a network; intermediate ones too, since a device may send its leaf alone.

    Attributes:
        authorities: DER of each.
        tests: whether certificates for tests are welcome.
        tolerated: rules not asked of leaves and their issuers.
    """

    authorities: tuple[bytes, ...]
    tests: bool = False
    tolerated: frozenset[Rule] = frozenset()

    def judge(self, chain: list[bytes], now_s: int) -> Standing:
        """``judge`` by this network's rules.

        Args:
            chain: DER of the leaf and its issuers, at least up to a trusted one; those above it are added.
            now_s: the present, Unix seconds.

        Raises:
            ValueError: the leaf is no certificate.
        """
        whole = [*chain, *_above(chain[-1], self.authorities)]
        return judge(whole, now_s, tests=self.tests, tolerated=self.tolerated)

    def chain_from(self, pem: bytes) -> list[bytes]:
        """A leaf and its issuers, of a file and of the trusted, as far as signatures lead.

        Args:
            pem: the leaf first, then any of its issuers.

        Returns:
            DER; the last one signed itself where the chain is whole.

        Raises:
            CertificatesRejected: no certificate in it.
        """
        found = [each.public_bytes(Encoding.DER) for each in _certificates(pem, "file")]
        return [found[0], *_above(found[0], (*found[1:], *self.authorities))]

    def knows(self, chain: list[bytes]) -> bool:
        """Whether a chain ends at a trusted authority."""
        return chain[-1] in self.authorities


def trust_from(pem: bytes, now_s: int, *, tests: bool = False, tolerated: Iterable[Rule] = ()) -> Trust:
    """Read and judge the authorities to be trusted.

    Args:
        pem: certificates one after the other.
        now_s: the present, Unix seconds.
        tests: certificates for tests are welcome.
        tolerated: rules not asked.

    Raises:
        CertificatesRejected: no certificate, or one that is no authority by the rules.
    """
    forgiven = frozenset(tolerated)
    found = _certificates(pem, "trust")
    ders = tuple(certificate.public_bytes(Encoding.DER) for certificate in found)
    faults = [
        Rejected(
            "certificate", broken.rule.name.lower(), (name.subject.rfc4514_string(),), broken.rule.value, k
        )
        for k, (name, der) in enumerate(zip(found, ders, strict=True), 1)
        for broken in judge_authority(der, now_s, tests=tests)
        if broken.rule not in forgiven
    ]
    if faults:
        raise CertificatesRejected(faults)
    return Trust(ders, tests, forgiven)


def _certificates(pem: bytes, what: str) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(pem)
    except ValueError as error:
        raise CertificatesRejected([Rejected("certificate", what, (what,), str(error))]) from error


@lru_cache(maxsize=256)
def _above(certificate: bytes, others: tuple[bytes, ...]) -> tuple[bytes, ...]:
    """Those of the others that lead from a certificate to one that signed itself, as far as they go."""
    known = [x509.load_der_x509_certificate(der) for der in others]
    chain = [x509.load_der_x509_certificate(certificate)]
    while len(chain) <= _MOST_FOLLOWED and not _issued_by(chain[-1], chain[-1]):
        issuer = next((other for other in known if _issued_by(chain[-1], other)), None)
        if issuer is None:
            break
        chain.append(issuer)
    return tuple(each.public_bytes(Encoding.DER) for each in chain[1:])


def _issued_by(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True
