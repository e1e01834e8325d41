"""Two libraries' TLS against each other, over memory: what each says, the other hears."""

import gc
import time
import weakref
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from OpenSSL import SSL

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._listen import Listener
from gridflock.field.ieee2030_5._sides import Broken, Called, Calling
from gridflock.field.ieee2030_5._tls import CIPHERS, client_context, server_context
from gridflock.field.ieee2030_5.identity._files import pem, write_pair
from gridflock.field.ieee2030_5.identity._sign import (
    Signer,
    authority_certificate,
    device_certificate,
    new_key,
)
from gridflock.field.ieee2030_5.identity._words import DEVICE_GENERIC

METER = identity.HardwareName("1.3.6.1.4.1.40732.99.1", b"odd")


@pytest.fixture
def utility(network):
    """A server's context in the network."""
    people = network.people["utility"]
    return server_context(people.chain, people.key, network.trust)


@pytest.fixture
def mica(network):
    """The network's lowest authority for devices, with its key."""
    place = network.authority.folder / "authority"
    key = load_pem_private_key((place / "mica.key").read_bytes(), None)
    return Signer(x509.load_pem_x509_certificate((place / "mica.pem").read_bytes()), key)


def _met(server, client, session=None):
    """Both sides after a handshake."""
    called, calling = Called(server), Calling(client, "localhost", session)
    while not calling.shake():
        called.take(calling.give())
        called.shake()
        calling.take(called.give())
    rest = calling.give()  # of a resumed handshake the caller says the last word
    if rest:
        called.take(rest)
        called.shake()
    return called, calling


def _refused(server, client):
    """Why the called side ends the handshake."""
    with pytest.raises(Broken) as caught:
        _met(server, client)
    return str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 16_384, 32_768, 200_000])
def test_every_octet_arrives(utility, as_client, size):
    """Texts of less and more than a record or a buffer arrive whole in both directions, in order."""
    called, calling = _met(utility, as_client("device-1"))
    said = bytes(range(256)) * (size // 256) + b"x" * (size % 256) + b"."
    for one, other in ((called, calling), (calling, called)):
        one.say(said)
        other.take(one.give())
        heard = b""
        while piece := other.hear():
            heard += piece
        assert piece is None
        assert heard == said


def test_an_end_is_told_from_silence(utility, as_client):
    """Nothing yet is None, and the end, once said, is empty, on both sides."""
    called, calling = _met(utility, as_client("device-1"))
    assert called.hear() is None
    calling.end()
    called.take(calling.give())
    assert called.hear() == b""
    called.end()
    calling.take(called.give())
    assert calling.hear() == b""


def test_a_resumed_session_is_the_same_peer(utility, as_client, network):
    """A full handshake shows a chain up to the trusted; a resumed one shows the same leaf and no chain."""
    client = as_client("device-1")
    called, calling = _met(utility, client)
    again, _ = _met(utility, client, calling.session)
    leaf = x509.load_pem_x509_certificate(network.people["device-1"].chain.read_bytes())
    assert (called.resumed, again.resumed) == (False, True)
    assert called.leaf() == again.leaf() == called.chain()[0]
    assert called.chain()[-1] in network.trust.authorities
    assert again.chain() == []
    assert identity.lfdi_of(called.leaf()) == network.people["device-1"].lfdi
    assert x509.load_der_x509_certificate(called.leaf()) == leaf
    assert calling.session.ticket_lifetime_hint == 86_400


@pytest.mark.parametrize("length", [2, 3, 4])
def test_chains_of_every_length(tmp_path, length):
    """Networks whose chains have two to four certificates are served; a client may know the root alone."""
    now_s = int(time.time()) - 60
    authority = identity.Authority.make(tmp_path / "pki", "Short", now_s, tests=True, length=length)
    authority.issue_devices([("meter", METER)], now_s)
    authority.issue_service("utility", ["localhost"], 30, now_s)
    trust = identity.trust_from((authority.folder / "trust.pem").read_bytes(), now_s, tests=True)
    root = identity.Trust(trust.authorities[:1], tests=True)
    at = authority.folder / "issued"
    server = server_context(at / "utility" / "chain.pem", at / "utility" / "key.pem", trust)
    client = client_context(at / "meter" / "chain.pem", at / "meter" / "key.pem", root)
    called, calling = _met(server, client)
    judged = trust.judge(called.chain(), now_s + 60)
    assert not judged.broken
    assert len(judged.marks) == len(calling.chain()) == length


def test_issuers_missing_in_a_servers_file_are_sent(network, tmp_path):
    """A server whose file holds its leaf alone shows the issuers that it trusts; the root is enough then."""
    people, device = network.people["utility"], network.people["device-1"]
    leaf = x509.load_pem_x509_certificates(people.chain.read_bytes())[0]
    (tmp_path / "leaf.pem").write_bytes(pem([leaf]))
    server = server_context(tmp_path / "leaf.pem", people.key, network.trust)
    root = identity.Trust(network.trust.authorities[:1], tests=True)
    _, calling = _met(server, client_context(device.chain, device.key, root))
    assert len(calling.chain()) == 4


def test_a_forged_signature_gets_an_alert(utility, network, as_client, mica, tmp_path):
    """A leaf that names a trusted issuer, which signed something else, is refused; others go on."""
    standing, _ = _met(utility, as_client("device-1"))
    key = new_key()
    leaf = device_certificate(mica, key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=True)
    forged = bytearray(leaf.public_bytes(Encoding.DER))
    forged[-1] ^= 1
    leaf = x509.load_der_x509_certificate(bytes(forged))
    write_pair(tmp_path / "key.pem", key, tmp_path / "chain.pem", [leaf])
    client = client_context(tmp_path / "chain.pem", tmp_path / "key.pem", network.trust)
    assert _refused(utility, client) == "certificate: signature"
    assert standing.hear() is None


def test_an_authority_below_the_lowest_gets_an_alert(utility, network, mica, tmp_path):
    """Where a trusted authority may have none below it, a chain through one is refused, though signed."""
    middle, key = new_key(), new_key()
    made = authority_certificate(
        mica, middle.public_key(), "below", 0, network.now_s, devices=True, tests=True
    )
    leaf = device_certificate(
        Signer(made, middle), key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=True
    )
    write_pair(tmp_path / "key.pem", key, tmp_path / "chain.pem", [leaf, made])
    client = client_context(tmp_path / "chain.pem", tmp_path / "key.pem", network.trust)
    assert _refused(utility, client) == "certificate: unknown authority"


def test_what_is_no_tls_gets_an_alert(utility):
    """Other octets are named in capitals, and what is to be said of them waits."""
    called = Called(utility)
    called.take(b"GET / HTTP/1.1\r\n\r\n")
    with pytest.raises(Broken, match=r"^HTTP_REQUEST$"):
        called.shake()
    called = Called(utility)
    called.take(b"\x16\x03\x03\x00\x05\x63\x00\x00\x01\x00")
    with pytest.raises(Broken, match=r"^[A-Z_]+$"):
        called.shake()
    assert called.give()[0] == 21


def test_a_record_that_was_changed_ends_it(utility, as_client):
    """One bit turned over on the way is noticed, on both sides."""
    for back in (False, True):
        one, other = _met(utility, as_client("device-1"))[:: -1 if back else 1]
        one.say(b"three kilowatts")
        said = bytearray(one.give())
        said[-1] ^= 1
        other.take(bytes(said))
        with pytest.raises(Broken):
            other.hear()


def test_nobody_begins_a_second_handshake(utility, network):
    """A client that asks for another handshake in the first one's connection is told no, or is cut off."""
    device = network.people["device-1"]
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_max_proto_version(SSL.TLS1_2_VERSION)
    context.set_cipher_list(CIPHERS.encode())
    context.use_certificate_chain_file(str(device.chain))
    context.use_privatekey_file(str(device.key))
    called, client = Called(utility), SSL.Connection(context)
    client.set_connect_state()

    def _turn():
        with pytest.raises(SSL.Error):
            client.do_handshake()
        called.take(client.bio_read(65_536))

    for _ in range(2):
        _turn()
        called.shake()
        client.bio_write(called.give())
    client.do_handshake()
    client.renegotiate()
    _turn()
    try:
        assert called.hear() is None
    except Broken:
        return
    answer = called.give()
    assert len(answer) < 100, "an alert, and no certificate"
    client.bio_write(answer)
    with pytest.raises(SSL.Error, match="no renegotiation"):
        client.do_handshake()


@pytest.mark.parametrize("wrong", ["missing", "empty", "other key"])
def test_a_server_without_its_certificate_does_not_start(network, tmp_path, wrong):
    """A file that is missing, holds nothing, or a key of another certificate is an error of the system's."""
    people, other = network.people["utility"], network.people["device-1"]
    chain = people.chain if wrong == "other key" else tmp_path / "chain.pem"
    if wrong == "empty":
        chain.write_bytes(b"")
    with pytest.raises(OSError, match=r"chain\.pem"):
        server_context(chain, other.key if wrong == "other key" else people.key, network.trust)


def test_a_connection_leaves_nothing(security):
    """What a connection held is free when it ends, and does not wait until memory is searched for rings."""
    listener = Listener(lambda request: Answer(200, request.path.encode()), security)
    conversation = listener._accept()
    conversation.connection_made(SimpleNamespace(abort=lambda: None))
    held = weakref.ref(conversation)
    gc.disable()
    try:
        conversation.connection_lost(None)
        del conversation
        assert held() is None
    finally:
        gc.enable()
