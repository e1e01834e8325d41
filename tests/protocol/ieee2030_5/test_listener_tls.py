"""Who gets in: certificates over a real TLS socket."""

import asyncio
import datetime as dt
import socket
import ssl
import time

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509.oid import NameOID

from gridflock.field.ieee2030_5 import identity
from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5._limits import Limits
from gridflock.field.ieee2030_5._listen import Security
from gridflock.field.ieee2030_5._tls import CIPHERS, client_context, server_context
from gridflock.field.ieee2030_5.identity._files import write_pair
from gridflock.field.ieee2030_5.identity._sign import (
    Signer,
    authority_certificate,
    device_certificate,
    new_key,
    root_certificate,
)
from gridflock.field.ieee2030_5.identity._words import DEVICE_GENERIC, Rule

METER = identity.HardwareName("1.3.6.1.4.1.40732.99.1", b"odd")


@pytest.fixture
def signer(network):
    """The network's lowest authority for devices, with its key."""
    place = network.authority.folder / "authority"
    key = load_pem_private_key((place / "mica.key").read_bytes(), None)
    return Signer(x509.load_pem_x509_certificate((place / "mica.pem").read_bytes()), key)


@pytest.fixture
def odd(network, tmp_path):
    """``odd(key, certificate, trust)``: a client's context with a certificate made for the purpose."""

    def _made(key, certificate, trust=network.trust):
        write_pair(tmp_path / "key.pem", key, tmp_path / "chain.pem", [certificate])
        return client_context(tmp_path / "chain.pem", tmp_path / "key.pem", trust)

    return _made


async def _alert(dial, context):
    """The TLS alert a client gets for its certificate."""
    with pytest.raises(ssl.SSLError) as caught:  # noqa: PT012 - in which of the two it comes is the library's
        client = await dial(context=context)
        await client.get("/dcap")
    return caught.value.reason


def _leaf(signer, key, *, days=(-2, 30), hash_=None, subject=""):
    now = dt.datetime.now(dt.UTC)
    names = [x509.NameAttribute(NameOID.COMMON_NAME, subject)] if subject else []
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name(names))
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + dt.timedelta(days=days[0]))
        .not_valid_after(now + dt.timedelta(days=days[1]))
        .sign(signer.key, hash_ or hashes.SHA256())
    )


def test_the_mandated_suite(serving):
    """A device gets TLS 1.2 with the mandated cipher suite, and is known by its certificate's LFDI."""

    async def _run():
        async with serving(lambda r: Answer(200, f"{r.caller.lfdi} {r.caller.sfdi}".encode())) as (_, dial):
            client = await dial("device-1")
            tls = client.writer.get_extra_info("ssl_object")
            assert (tls.cipher()[0], tls.version()) == ("ECDHE-ECDSA-AES128-CCM8", "TLSv1.2")
            return (await client.get("/dcap"))[2].decode()

    lfdi, sfdi = asyncio.run(_run()).split()
    assert identity.sfdi_of(lfdi) == int(sfdi)


@pytest.mark.parametrize("name", ["device-1", "aggregator"])
def test_devices_and_aggregators_are_told_apart(serving, network, name):
    """The caller is who the certificate says: a device without subject, an aggregator with its name."""
    seen = []

    async def _run():
        async with serving(lambda r: seen.append(r.caller) or Answer(204)) as (_, dial):
            await (await dial(name)).get("/dcap")

    asyncio.run(_run())
    assert seen[0].lfdi == network.people[name].lfdi
    assert seen[0].subject == ("CN=aggregator" if name == "aggregator" else "")


def test_gcm_serves_clients_without_ccm(serving, as_client):
    """A client whose library leaves CCM8 out of its defaults gets the second suite."""

    async def _run():
        context = as_client("device-1")
        context.set_ciphers("ECDHE-ECDSA-AES128-GCM-SHA256")
        async with serving() as (_, dial):
            client = await dial(context=context)
            return client.writer.get_extra_info("ssl_object").cipher()[0]

    assert asyncio.run(_run()) == "ECDHE-ECDSA-AES128-GCM-SHA256"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_1, ssl.TLSVersion.TLSv1_3])
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_other_versions_get_an_alert(serving, as_client, version):
    """Neither TLS 1.1 nor 1.3 is spoken."""

    async def _run():
        context = as_client("device-1")
        context.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
        context.maximum_version = version
        context.minimum_version = version
        context.set_ciphers(CIPHERS + ":ALL")
        async with serving() as (listener, dial):
            with pytest.raises((ssl.SSLError, ConnectionError)):
                await dial(context=context)
            return listener.counts

    assert "tls: UNSUPPORTED_PROTOCOL" in asyncio.run(_run())


def test_no_certificate_gets_an_alert(serving, network):
    """Whoever shows no certificate is not spoken to."""

    async def _run():
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=b"".join(network.trust.authorities))
        context.maximum_version = ssl.TLSVersion.TLSv1_2
        async with serving() as (listener, dial):
            reason = await _alert(dial, context)
            return reason, listener.counts

    reason, counts = asyncio.run(_run())
    assert "HANDSHAKE_FAILURE" in reason
    assert counts["tls: PEER_DID_NOT_RETURN_A_CERTIFICATE"] == 1
    assert "requests" not in counts


def test_unknown_authorities_get_an_alert(serving, network, odd):
    """A chain that leads to nobody we trust ends in an alert, and is counted."""
    root_key, key = new_key(), new_key()
    root = root_certificate(root_key, "elsewhere", 1, network.now_s)
    leaf = device_certificate(
        Signer(root, root_key), key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=True
    )

    async def _run():
        async with serving() as (listener, dial):
            return await _alert(dial, odd(key, leaf)), listener.counts

    reason, counts = asyncio.run(_run())
    assert "UNKNOWN_CA" in reason
    assert counts["tls: certificate: unknown authority"] == 1


def test_expired_certificates_get_an_alert(serving, signer, odd):
    """A certificate past its end is refused in the handshake."""
    key = new_key()

    async def _run():
        async with serving() as (listener, dial):
            return await _alert(dial, odd(key, _leaf(signer, key, days=(-9, -1)))), listener.counts

    reason, counts = asyncio.run(_run())
    assert "CERTIFICATE_EXPIRED" in reason
    assert counts["tls: certificate: expired"] == 1


def test_wrong_curves_get_an_alert(serving, signer, odd):
    """A key on another curve than P-256 is refused in the handshake."""
    key = ec.generate_private_key(ec.SECP384R1())
    leaf = _leaf(signer, key)

    async def _run():
        async with serving() as (listener, dial):
            return await _alert(dial, odd(key, leaf)), listener.counts

    reason, counts = asyncio.run(_run())
    assert "ILLEGAL_PARAMETER" in reason
    assert counts["tls: WRONG_CURVE"] == 1


def test_wrong_hashes_get_an_alert(serving, signer, odd):
    """A certificate signed with another hash than SHA-256 is refused."""
    key = new_key()

    async def _run():
        async with serving() as (listener, dial):
            reason = await _alert(dial, odd(key, _leaf(signer, key, hash_=hashes.SHA512())))
            return reason, listener.counts

    reason, counts = asyncio.run(_run())
    assert "UNSUPPORTED_CERTIFICATE" in reason
    assert counts["certificate: signature"] == 1


def test_wrong_policies_get_an_alert(serving, signer, odd):
    """A sound chain whose leaf says nothing of what it is for is refused, and the rule is counted."""
    key = new_key()

    async def _run():
        async with serving() as (listener, dial):
            return await _alert(dial, odd(key, _leaf(signer, key, subject="pump"))), listener.counts

    reason, counts = asyncio.run(_run())
    assert "BAD_CERTIFICATE" in reason
    assert counts["certificate: service_policy"] == 1


def test_a_leaf_under_the_wrong_branch_gets_an_alert(serving, network, odd):
    """A device's leaf issued by the authority for services finds no policy that leads to the root."""
    key = new_key()
    place = network.authority.folder / "authority"
    services_key = load_pem_private_key((place / "services.key").read_bytes(), None)
    services = Signer(x509.load_pem_x509_certificate((place / "services.pem").read_bytes()), services_key)
    leaf = device_certificate(services, key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=False)

    async def _run():
        async with serving() as (listener, dial):
            return await _alert(dial, odd(key, leaf)), listener.counts

    reason, counts = asyncio.run(_run())
    assert "BAD_CERTIFICATE" in reason
    assert counts["certificate: policy_path"] == 1


def test_a_chain_of_five_gets_an_alert(serving, network, tmp_path):
    """A chain longer than four is refused, though every signature in it is right."""
    middle_key, key = new_key(), new_key()
    long_root_key, first_key, second_key = new_key(), new_key(), new_key()
    root = root_certificate(long_root_key, "long root", 3, network.now_s)
    above, chain = Signer(root, long_root_key), []
    for name, below, its_key in (("one", 2, first_key), ("two", 1, second_key), ("three", 0, middle_key)):
        made = authority_certificate(
            above, its_key.public_key(), name, below, network.now_s, devices=True, tests=True
        )
        chain.insert(0, made)
        above = Signer(made, its_key)
    leaf = device_certificate(above, key.public_key(), METER, DEVICE_GENERIC, network.now_s, tests=True)
    write_pair(tmp_path / "key.pem", key, tmp_path / "chain.pem", [leaf, *chain])
    write_pair(tmp_path / "r.key", long_root_key, tmp_path / "r.pem", [root])
    trust = identity.trust_from((tmp_path / "r.pem").read_bytes(), network.now_s, tests=True)
    both = identity.Trust((*network.trust.authorities, *trust.authorities), tests=True)
    utility = network.people["utility"]
    security = Security(server_context(utility.chain, utility.key, both), both)
    context = client_context(tmp_path / "chain.pem", tmp_path / "key.pem", network.trust)

    async def _run():
        async with serving(security=security) as (listener, dial):
            return await _alert(dial, context), listener.counts

    assert asyncio.run(_run())[1]["certificate: length"] == 1


def test_tolerated_rules_let_a_device_in(serving, signer, network, odd):
    """What the operator tolerates is not asked; whoever breaks nothing else is served."""
    key = new_key()
    trust = identity.Trust(network.trust.authorities, tests=True, tolerated=frozenset(Rule) - {Rule.CURVE})
    utility = network.people["utility"]
    security = Security(server_context(utility.chain, utility.key, trust), trust)

    async def _run():
        async with serving(security=security) as (_, dial):
            return (await (await dial(context=odd(key, _leaf(signer, key)))).get("/dcap"))[0]

    assert asyncio.run(_run()) == 200


def test_a_leaf_alone_is_enough(serving, network, tmp_path):
    """A device may send its leaf without its issuers: the server holds them."""
    device = network.people["device-1"]
    leaf = x509.load_pem_x509_certificates(device.chain.read_bytes())[0]
    (tmp_path / "leaf.pem").write_bytes(identity._files.pem([leaf]))
    context = client_context(tmp_path / "leaf.pem", device.key, network.trust)

    async def _run():
        async with serving() as (_, dial):
            return (await (await dial(context=context)).get("/dcap"))[0]

    assert asyncio.run(_run()) == 200


def test_the_revoked_hear_403(serving):
    """A revoked certificate has a sound chain: its holder hears 403 at every request, the server nothing."""
    heard = []

    async def _run():
        async with serving(lambda r: heard.append(r) or Answer(200)) as (listener, dial):
            client = await dial("revoked")
            answers = [await client.get("/dcap") for _ in range(2)]
            return answers, listener.counts

    answers, counts = asyncio.run(_run())
    assert [status for status, _, _ in answers] == [403, 403]
    assert b"reasonCode" in answers[0][2]
    assert counts["refused: revoked"] == 2
    assert not heard


def test_a_list_counts_on_standing_connections(serving, network, security):
    """Denied in the middle of a connection: the next request hears 403; let in again: it is served."""

    async def _run():
        async with serving() as (listener, dial):
            client = await dial("device-1")
            first = (await client.get("/dcap"))[0]
            listener.deny(identity.Denied(lfdis=frozenset({network.people["device-1"].lfdi})))
            second = (await client.get("/dcap"))[0]
            listener.deny(security.denied)
            return first, second, (await client.get("/dcap"))[0]

    assert asyncio.run(_run()) == (200, 403, 200)


def test_the_suspended_hear_403(serving, network):
    """Who may speak is asked at every request; others are not touched."""
    suspended = set()

    async def _run():
        async with serving(allowed=lambda caller: caller.lfdi not in suspended) as (listener, dial):
            one, two = await dial("device-1"), await dial("device-2")
            statuses = [(await one.get("/dcap"))[0]]
            suspended.add(network.people["device-1"].lfdi)
            statuses += [(await one.get("/dcap"))[0], (await two.get("/dcap"))[0]]
            suspended.clear()
            return [*statuses, (await one.get("/dcap"))[0]], listener.counts

    statuses, counts = asyncio.run(_run())
    assert statuses == [200, 403, 200, 200]
    assert counts["refused: suspended"] == 1


def _resumed(port, context, session):
    """Connect with a session; whether it was resumed, the session now, and what came back."""
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost", session=session) as client,
    ):
        client.sendall(b"GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        data = b""
        while piece := client.recv(4096):
            data += piece
        return client.session_reused, client.session, data


def test_sessions_resume_with_the_same_identity(serving, as_client, network):
    """A resumed connection is the same caller's, is counted, and a renewed trust ends its tickets."""

    async def _run():
        async with serving(lambda r: Answer(200, r.caller.lfdi.encode())) as (listener, _):
            context = as_client("device-2")
            session, seen = None, []
            for _ in range(2):
                reused, session, data = await asyncio.to_thread(_resumed, listener.port, context, session)
                seen.append((reused, data.rpartition(b"\r\n")[2].decode()))
            utility = network.people["utility"]
            fresh = server_context(utility.chain, utility.key, network.trust)
            listener.renew(Security(fresh, network.trust))
            reused, _, _ = await asyncio.to_thread(_resumed, listener.port, context, session)
            return seen, reused, listener.counts

    seen, after, counts = asyncio.run(_run())
    lfdi = network.people["device-2"].lfdi
    assert seen == [(False, lfdi), (True, lfdi)]
    assert not after
    assert (counts["handshakes full"], counts["handshakes resumed"]) == (2, 1)


def test_standing_connections_stay_while_the_authorities_do(serving, network):
    """A new server certificate ends no connection; other authorities end them all."""

    async def _run():
        async with serving() as (listener, dial):
            client = await dial()
            await client.get("/x")
            utility = network.people["utility"]
            context = server_context(utility.chain, utility.key, network.trust)
            listener.renew(Security(context, network.trust))
            stays = (await client.get("/x"))[0]
            fewer = identity.Trust(network.trust.authorities[:1], tests=True)
            listener.renew(Security(context, fewer))
            return stays, await client.over()

    assert asyncio.run(_run()) == (200, True)


def test_a_client_that_says_nothing_is_let_go(serving):
    """A handshake that does not come ends after its time, and takes nobody else's."""

    async def _run():
        limits = Limits(handshake_s=0.2)
        async with serving(limits=limits) as (listener, dial):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            assert (await (await dial()).get("/dcap"))[0] == 200
            assert await asyncio.wait_for(reader.read(), 4) == b""
            writer.close()
            return listener.counts

    assert asyncio.run(_run())["timeout: handshake"] == 1


def test_plain_http_is_no_handshake(serving):
    """A request in the clear is answered by nobody."""

    async def _run():
        async with serving() as (listener, _):
            reader, writer = await asyncio.open_connection("127.0.0.1", listener.port)
            writer.write(b"GET /dcap HTTP/1.1\r\nHost: localhost\r\n\r\n")
            data = await asyncio.wait_for(reader.read(), 4)
            writer.close()
            return data, listener.counts

    data, counts = asyncio.run(_run())
    assert b"HTTP" not in data
    assert counts["tls: HTTP_REQUEST"] == 1


def test_a_client_replaces_its_idle_connections(serving, network):
    """A device that lost its link comes back before its old connections are noticed: the oldest goes."""

    async def _run():
        async with serving(limits=Limits(per_client=2)) as (listener, dial):
            lost = [await dial(), await dial()]
            for client in lost:
                await client.get("/dcap")
                await asyncio.sleep(0.01)
            fresh = await dial()
            answered = [(await client.get("/dcap"))[0] for client in (fresh, lost[1])]
            return await lost[0].over(), answered, dict(listener.clients), listener.counts

    ended, answered, clients, counts = asyncio.run(_run())
    assert ended
    assert answered == [200, 200]
    assert clients == {network.people["device-1"].lfdi: 2}
    assert counts["connections replaced"] == 1


def test_expiry_is_asked_at_every_request(serving, monkeypatch):
    """A certificate that ends while its connection stands hears 403."""
    import gridflock.field.ieee2030_5._listen as listen

    async def _run():
        async with serving() as (_, dial):
            client = await dial("aggregator")
            first = (await client.get("/dcap"))[0]
            later = time.time() + 60 * 86_400
            monkeypatch.setattr(listen.time, "time", lambda: later)
            return first, (await client.get("/dcap"))[0]

    assert asyncio.run(_run()) == (200, 403)
