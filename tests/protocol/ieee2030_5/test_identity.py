"""Identifiers, certificates and the small authority."""

import contextlib
import datetime as dt
import stat
from dataclasses import replace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5.identity._hardware import hardware_name_from, hardware_name_said
from gridflock.field.ieee2030_5.identity._identifiers import is_checked, with_check_digit
from gridflock.field.ieee2030_5.identity._sign import (
    Signer,
    authority_certificate,
    device_certificate,
    new_key,
    root_certificate,
)
from gridflock.field.ieee2030_5.identity._words import DEVICE_GENERIC, Role, Rule

NOW = 1_800_000_000
METER = identity.HardwareName("1.3.6.1.4.1.40732.99.1", b"SN-0001")
FINGERPRINT = "49AE4096A9874227D3D0C3D3AA048C855F56E274"


def _der(*certificates):
    return [certificate.public_bytes(Encoding.DER) for certificate in certificates]


def _chain(folder, name):
    pem = (folder / "issued" / name / "chain.pem").read_bytes()
    return _der(*x509.load_pem_x509_certificates(pem))


def _rules(standing):
    return {broken.rule for broken in standing.broken}


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """A test authority with chains of four, one device, one aggregator."""
    made = identity.Authority.make(tmp_path_factory.mktemp("pki") / "here", "North", NOW, tests=True)
    made.issue_devices([("pv-1", METER)], NOW)
    made.issue_service("aggregator", ["agg.example"], 365, NOW)
    return made


@pytest.fixture(scope="module")
def trust(authority):
    """What a server of that network trusts."""
    return identity.trust_from((authority.folder / "trust.pem").read_bytes(), NOW, tests=True)


def test_worked_example():
    """The worked example: 0x49AE4096A is 19778505066, its digits add up to 54, so the check digit is 6."""
    assert identity.sfdi_of(FINGERPRINT) == 197785050666
    assert int(FINGERPRINT[:9], 16) == 19778505066


def test_lfdi_is_the_head_of_the_hash():
    """An LFDI is 40 uppercase hexadecimal digits of the SHA-256 of the certificate's DER."""
    assert identity.lfdi_of(b"") == "E3B0C44298FC1C149AFBF4C8996FB92427AE41E4"
    assert not identity.is_lfdi(FINGERPRINT.lower())
    assert not identity.is_lfdi(FINGERPRINT[:-1])
    with pytest.raises(ValueError, match="40 uppercase"):
        identity.sfdi_of(FINGERPRINT.lower())


def test_pins():
    """111115 is a PIN, 012345 is none; leading zeros vanish and do no harm."""
    assert identity.is_pin(111115)
    assert not identity.is_pin(12345)
    assert identity.is_pin(55)  # 000055
    assert not identity.is_pin(-111115)
    assert not identity.is_pin(1111114)


@given(st.integers(0, 2**36 - 1))
def test_a_check_digit_checks(number):
    """The digit appended makes the sum a multiple of ten, and any other digit does not."""
    checked = with_check_digit(number)
    assert is_checked(checked)
    assert checked // 10 == number
    assert [is_checked(number * 10 + digit) for digit in range(10)].count(True) == 1


@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=8), st.binary(min_size=1, max_size=40))
def test_hardware_names_come_back(arcs, serial):
    """A hardware name written is the one read."""
    name = identity.HardwareName(".".join(map(str, (1, 3, *arcs))), serial)
    assert hardware_name_from(hardware_name_said(name)) == name


@given(st.binary(max_size=40))
def test_hostile_hardware_names(der):
    """Octets that are no hardware name are refused, never anything else."""
    with contextlib.suppress(ValueError):
        assert hardware_name_from(hardware_name_said(hardware_name_from(der))) == hardware_name_from(der)


@pytest.mark.parametrize("length", [2, 3, 4])
def test_issued_certificates_keep_every_rule(tmp_path, length):
    """What the authority issues is without fault at every allowed length of chain."""
    made = identity.Authority.make(tmp_path / "a", "North", NOW, tests=False, length=length)
    device = made.issue_devices([("pv", METER)], NOW)[0]
    service = made.issue_service("utility", ["utility.example", "127.0.0.1"], 30, NOW)
    trust = identity.trust_from((made.folder / "trust.pem").read_bytes(), NOW)
    root = _der(x509.load_pem_x509_certificate((made.folder / "authority/serca.pem").read_bytes()))
    for entry, role in ((device, Role.DEVICE), (service, Role.SERVICE)):
        chain = _chain(made.folder, entry.name) + root
        assert len(chain) == length
        found = trust.judge(chain, NOW)
        assert (found.broken, found.role, found.lfdi, found.sfdi) == ((), role, entry.lfdi, entry.sfdi)
    assert trust.judge(_chain(made.folder, "pv") + root, NOW).hardware == METER


def test_a_device_leaf_is_as_the_profile_wants(authority):
    """Empty subject, critical hardware name, critical usages, no extended usage, no end."""
    leaf = x509.load_pem_x509_certificate((authority.folder / "issued/pv-1/chain.pem").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    usage = leaf.extensions.get_extension_for_class(x509.KeyUsage)
    assert not list(leaf.subject)
    assert names.critical
    assert names.value.get_values_for_type(x509.OtherName)[0].type_id.dotted_string == "1.3.6.1.5.5.7.8.4"
    assert usage.critical
    assert (usage.value.digital_signature, usage.value.key_agreement) == (True, True)
    assert [usage.value.key_cert_sign, usage.value.key_encipherment, usage.value.content_commitment] == [
        False
    ] * 3
    with pytest.raises(x509.ExtensionNotFound):
        leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage)
    assert leaf.not_valid_after_utc.year == 9999
    assert isinstance(leaf.public_key().curve, ec.SECP256R1)
    assert leaf.signature_algorithm_oid.dotted_string == "1.2.840.10045.4.3.2"


def test_a_service_leaf_is_as_the_profile_wants(authority):
    """Common name, DNS name that is not critical, client and server usage."""
    leaf = x509.load_pem_x509_certificate((authority.folder / "issued/aggregator/chain.pem").read_bytes())
    names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    purposes = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert leaf.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == "aggregator"
    assert (names.critical, names.value.get_values_for_type(x509.DNSName)) == (False, ["agg.example"])
    assert set(purposes) == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}


def test_keys_are_for_their_owner(authority):
    """Every key has the mode 0600, and no certificate holds one."""
    keys = [*authority.folder.glob("authority/*.key"), *authority.folder.glob("issued/*/key.pem")]
    assert len(keys) >= 7
    assert {stat.S_IMODE(key.stat().st_mode) for key in keys} == {0o600}
    assert not [
        p for p in authority.folder.rglob("*.pem") if p.name != "key.pem" and b"KEY" in p.read_bytes()
    ]


def test_nothing_is_written_over(authority):
    """A name is issued once, a folder is made an authority once, and refusals write nothing."""
    before = {p: p.read_bytes() for p in authority.folder.rglob("*") if p.is_file()}
    with pytest.raises(identity.CertificatesRejected, match="was issued before"):
        authority.issue_devices([("pv-1", METER)], NOW)
    with pytest.raises(identity.CertificatesRejected, match="not an empty folder"):
        identity.Authority.make(authority.folder, "North", NOW, tests=True)
    assert {p: p.read_bytes() for p in authority.folder.rglob("*") if p.is_file()} == before


def test_every_broken_rule_is_named(tmp_path):
    """A refusal names all that is wrong, not the first."""
    made = identity.Authority.make(tmp_path / "a", "North", NOW, tests=True, length=2)
    with pytest.raises(identity.CertificatesRejected) as caught:
        made.issue_service("../x", ["not a host"], 0, NOW)
    assert {fault.field for fault in caught.value.faults} == {"name", "hosts", "days"}
    with pytest.raises(identity.CertificatesRejected) as caught:
        made.issue_devices([("ok", identity.HardwareName("1.3.x", b"1")), ("-", METER)], NOW, "fixed")
    assert {fault.field for fault in caught.value.faults} == {"name", "hardware", "kind"}
    with pytest.raises(identity.CertificatesRejected) as caught:
        identity.Authority.make(tmp_path / "b", "No rth", NOW, tests=True, length=5)
    assert {fault.field for fault in caught.value.faults} == {"name", "length"}
    assert not (tmp_path / "b").exists()


def test_rotate_and_revoke(tmp_path):
    """A rotated certificate has another identity; the old one is denied once it is revoked, and only it."""
    made = identity.Authority.make(tmp_path / "a", "North", NOW, tests=True)
    old = made.issue_devices([("pv", METER)], NOW)[0]
    new = made.rotate("pv", NOW + 10)
    again = made.rotate(new.lfdi, NOW + 11)
    assert (new.name, new.replaces, again.name) == ("pv.2", "pv", "pv.3")
    assert len({old.lfdi, new.lfdi, again.lfdi}) == 3
    made.revoke("pv", "key lost", NOW + 20)
    made.revoke("pv", "twice", NOW + 30)
    trust = identity.trust_from((made.folder / "trust.pem").read_bytes(), NOW, tests=True)
    denied = identity.denied_from((made.folder / "revoked.pem").read_bytes(), trust.authorities)
    assert denied.why(trust.judge(_chain(made.folder, "pv"), NOW)) == "revoked"
    assert denied.why(trust.judge(_chain(made.folder, "pv.2"), NOW)) == ""
    kept = identity.Authority(made.folder).issued
    assert [(e.revoked_s, e.reason) for e in kept] == [(NOW + 20, "key lost"), (-1, ""), (-1, "")]
    with pytest.raises(identity.CertificatesRejected, match="revoked"):
        made.rotate("pv", NOW)
    with pytest.raises(identity.CertificatesRejected, match="never issued"):
        made.revoke("other", "", NOW)


def test_a_revoked_authority_takes_its_devices_with_it(authority, trust):
    """Whose issuer is revoked is kept out, also where the chain that came ends below it."""
    standing = trust.judge(_chain(authority.folder, "pv-1")[:2], NOW)
    assert len(standing.marks) == 4
    for mark in standing.marks:
        assert identity.Denied(revoked=frozenset({mark})).why(standing) == "revoked"


def test_denied_by_the_operator(authority, trust):
    """An identifier on the deny-list is kept out; one that is no identifier is refused."""
    standing = trust.judge(_chain(authority.folder, "pv-1"), NOW)
    assert identity.denied_from(b"", trust.authorities, [standing.lfdi]).why(standing) == "denied"
    with pytest.raises(ValueError, match="hexadecimal"):
        identity.denied_from(b"", trust.authorities, ["abc"])


def test_a_foreign_revocation_list_is_not_believed(trust, tmp_path):
    """A list counts only with the signature of an authority that is trusted."""
    other = identity.Authority.make(tmp_path / "o", "North", NOW, tests=True)
    with pytest.raises(ValueError, match="no known issuer"):
        identity.denied_from((other.folder / "revoked.pem").read_bytes(), trust.authorities)


def test_a_test_authority_is_refused_in_production(authority):
    """Certificates that say they are for tests are not trusted where tests are not run."""
    with pytest.raises(identity.CertificatesRejected) as caught:
        identity.trust_from((authority.folder / "trust.pem").read_bytes(), NOW)
    assert {fault.field for fault in caught.value.faults} == {"test_policy"}


def test_leaves_are_no_authorities(authority):
    """A leaf among the trusted is refused with every rule it breaks as an issuer."""
    pem = (authority.folder / "issued/pv-1/chain.pem").read_bytes()
    with pytest.raises(identity.CertificatesRejected) as caught:
        identity.trust_from(pem, NOW, tests=True)
    assert {fault.field for fault in caught.value.faults} >= {"ca", "ca_usage"}
    with pytest.raises(identity.CertificatesRejected):
        identity.trust_from(b"nothing", NOW)


def _odd_leaf(key, *extensions, subject="", hash_=None):
    signer_key = new_key()
    name = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    made = (
        x509.CertificateBuilder()
        .subject_name(x509.Name(name))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "CA")]))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
        .not_valid_after(dt.datetime(2021, 1, 1, tzinfo=dt.UTC))
    )
    for extension, critical in extensions:
        made = made.add_extension(extension, critical=critical)
    return made.sign(signer_key, hash_ or hashes.SHA256())


def test_a_bare_leaf_breaks_what_it_lacks():
    """A certificate without extensions, on another curve, with another hash and out of date: all is named."""
    leaf = _odd_leaf(ec.generate_private_key(ec.SECP384R1()), hash_=hashes.SHA384())
    found = identity.Trust(()).judge(_der(leaf), NOW)
    assert _rules(found) == {
        Rule.CURVE, Rule.SIGNATURE, Rule.DATES, Rule.DEVICE_USAGE, Rule.DEVICE_HARDWARE, Rule.DEVICE_TYPE,
    }  # fmt: skip
    assert "leaf: not kept: the key is on the curve P-256" in map(str, found.broken)


def test_a_bare_service_breaks_what_it_lacks():
    """A named leaf is held to a service's rules; rules the operator tolerates are not named."""
    leaf = _odd_leaf(new_key(), (x509.BasicConstraints(ca=True, path_length=None), True), subject="agg")
    found = identity.Trust(()).judge(_der(leaf), NOW)
    asked = {Rule.LEAF, Rule.SERVICE_USAGE, Rule.SERVICE_DNS, Rule.SERVICE_PURPOSE, Rule.SERVICE_POLICY}
    assert _rules(found) == asked | {Rule.DATES}
    assert found.role is Role.SERVICE
    assert not identity.Trust((), tolerated=frozenset(Rule)).judge(_der(leaf), NOW).broken


def test_policies_must_reach_the_root():
    """A device's leaf under an authority for services, or under one without policies, is noticed."""
    root_key, middle_key, key = new_key(), new_key(), new_key()
    root = root_certificate(root_key, "root", 1, NOW)
    middle = authority_certificate(
        Signer(root, root_key), middle_key.public_key(), "services", 0, NOW, devices=False, tests=False
    )
    leaf = device_certificate(
        Signer(middle, middle_key), key.public_key(), METER, DEVICE_GENERIC, NOW, tests=False
    )
    found = identity.Trust(()).judge(_der(leaf, middle, root), NOW)
    assert [(broken.place, broken.rule) for broken in found.broken] == [(1, Rule.POLICY_PATH)]
    long = identity.Trust(()).judge(_der(leaf, middle, middle, middle, root), NOW)
    assert Rule.LENGTH in _rules(long)


def test_register_survives_a_second_opener(tmp_path):
    """Two openers of one folder do not lose each other's entries."""
    first = identity.Authority.make(tmp_path / "a", "North", NOW, tests=True, length=3)
    second = identity.Authority(first.folder)
    first.issue_devices([("a", METER)], NOW)
    second.issue_devices([("b", METER)], NOW)
    assert [e.name for e in identity.Authority(first.folder).issued] == ["a", "b"]
    with pytest.raises(identity.CertificatesRejected, match="holds no authority"):
        identity.Authority(tmp_path / "nothing")
    assert first.folder.stat().st_mode & 0o077 == 0


def test_lists_go_forward_only(tmp_path):
    """Lists that are empty, cut short, missing or older than those in force are refused."""
    made = identity.Authority.make(tmp_path / "a", "North", NOW, tests=True)
    made.issue_devices([("pv", METER)], NOW)
    at = made.folder / "revoked.pem"
    issuers = identity.trust_from((made.folder / "trust.pem").read_bytes(), NOW, tests=True).authorities
    old = at.read_bytes()
    made.revoke("pv", "key lost", NOW + 20)
    new = at.read_bytes()
    before = identity.denied_from(new, issuers, before=identity.denied_from(old, issuers))
    assert len(before.revoked) == 1
    assert identity.denied_from(new, issuers, before=before) == before
    first, _, rest = new.partition(b"-----END X509 CRL-----\n")
    for lists, why in (
        (old, "older"),
        (b"", "no revocation list"),
        (rest, "no revocation list"),
        (new[:-1], ""),
        (new[:-9], "cut short"),
        (first, "cut short"),
        (b"-----BEGIN X509 CR", "cut short"),
    ):
        if why:
            with pytest.raises(ValueError, match=why):
                identity.denied_from(lists, issuers, before=before)
        else:
            assert identity.denied_from(lists, issuers, before=before) == before
    with pytest.raises(ValueError, match="cut short"):
        identity.denied_from(new[:-9], issuers)
    assert identity.denied_from(b"", issuers[:0], before=before).revoked == frozenset()


def test_lists_that_were_to_be_followed_are_named(authority, trust):
    """A list tells until when another was to follow; those past that are named, and still believed."""
    denied = identity.denied_from((authority.folder / "revoked.pem").read_bytes(), trust.authorities)
    assert denied.editions
    assert denied.stale(NOW + 1_000) == ()
    late = replace(denied, editions=tuple(replace(each, until_s=NOW) for each in denied.editions))
    assert set(late.stale(NOW + 1)) == {each.name for each in denied.editions}
