"""Who is kept out although the chain is sound: revoked by an issuer, or denied by the operator."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from gridflock.field.ieee2030_5.identity._identifiers import is_lfdi
from gridflock.field.ieee2030_5.identity._judge import Standing

_WHOLE = re.compile(rb"-----BEGIN X509 CRL-----[A-Za-z0-9+/=\s]+-----END X509 CRL-----")


@dataclass(frozen=True, slots=True)
class Edition:
    """Which of an issuer's revocation lists was read.

    Attributes:
        issuer: in DER.
        name: of the issuer, for people.
        number: of the list; -1 where it says none (RFC 5280, 5.2.3).
        from_s: Unix seconds at which it was made.
        until_s: at which another was to follow; -1 where it does not say.
    """

    issuer: bytes
    name: str
    number: int
    from_s: int
    until_s: int

    def is_behind(self, other: Edition) -> bool:
        """Whether it is older than another of the same issuer."""
        return (self.number, self.from_s) < (other.number, other.from_s)


@dataclass(frozen=True, slots=True)
class Denied:
    """Revoked certificates and denied identifiers; a newer list is another value.

    Attributes:
        revoked: issuer in DER and serial number.
        lfdis: of those the operator keeps out by name.
        editions: the newest list of each issuer that was read.
    """

    revoked: frozenset[tuple[bytes, int]] = frozenset()
    lfdis: frozenset[str] = frozenset()
    editions: tuple[Edition, ...] = ()

    def why(self, standing: Standing) -> str:
        """``"revoked"``, ``"denied"`` or, for the rest, an empty text; asked at every request."""
        if standing.lfdi in self.lfdis:
            return "denied"
        if self.revoked and not self.revoked.isdisjoint(standing.marks):
            return "revoked"
        return ""

    def stale(self, now_s: int) -> tuple[str, ...]:
        """Issuers whose list was to be followed by another before now."""
        return tuple(each.name for each in self.editions if -1 < each.until_s < now_s)


def denied_from(
    lists: bytes, issuers: Iterable[bytes], lfdis: Iterable[str] = (), before: Denied | None = None
) -> Denied:
    """Read revocation lists; a file that lets somebody in again by being old or cut short is refused.

    Args:
        lists: any number of X.509 revocation lists in PEM, one after the other.
        issuers: DER of those whose lists are believed.
        lfdis: denied by the operator.
        before: what is in force: each trusted issuer that has a list there has one here, and none older.

    Raises:
        ValueError: a list that nobody known signed, that is cut short, missing or older than the one in
            force; or an identifier that is none.
    """
    known = [x509.load_der_x509_certificate(der) for der in issuers]
    revoked: set[tuple[bytes, int]] = set()
    newest: dict[bytes, Edition] = {}
    if b"-----" in _WHOLE.sub(b"", lists):
        raise ValueError("a revocation list that is cut short, or something else among them")
    for piece in _WHOLE.findall(lists):
        crl = x509.load_pem_x509_crl(piece)
        if not any(_signed(crl, issuer) for issuer in known):
            raise ValueError(f"revocation list of {crl.issuer.rfc4514_string()!r}: signed by no known issuer")
        issuer = crl.issuer.public_bytes()
        revoked.update((issuer, each.serial_number) for each in crl)
        edition = _edition(crl)
        if issuer not in newest or newest[issuer].is_behind(edition):
            newest[issuer] = edition
    names_of_known = {issuer.subject.public_bytes() for issuer in known}
    for old in () if before is None else before.editions:
        if old.issuer in names_of_known:
            _follows(newest.get(old.issuer), old)
    names = frozenset(lfdis)
    wrong = [lfdi for lfdi in names if not is_lfdi(lfdi)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is not 40 uppercase hexadecimal digits")
    return Denied(frozenset(revoked), names, tuple(newest.values()))


def _edition(crl: x509.CertificateRevocationList) -> Edition:
    try:
        number = crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
    except x509.ExtensionNotFound:
        number = -1
    until = crl.next_update_utc
    return Edition(
        crl.issuer.public_bytes(),
        crl.issuer.rfc4514_string(),
        number,
        int(crl.last_update_utc.timestamp()),
        -1 if until is None else int(until.timestamp()),
    )


def _follows(new: Edition | None, old: Edition) -> None:
    if new is None:
        raise ValueError(f"no revocation list of {old.name!r}, which has one in force")
    if new.is_behind(old):
        raise ValueError(f"revocation list of {old.name!r}: number {new.number}, older than {old.number}")


def _signed(crl: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if crl.issuer != issuer.subject or not isinstance(key, ec.EllipticCurvePublicKey):
        return False
    return crl.is_signature_valid(key)
