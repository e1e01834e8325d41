"""What every ``ports.Weather`` keeps, whatever it is told: the newest sound table, and faults by name."""

import importlib.util
import json
import socket
import ssl
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from gridflock.field.weather import QUANTITIES, FileWeather, HttpWeather, NoWeather, Service, service_from
from gridflock.model import Rejected, Weather
from gridflock.sim import Scenario, World
from gridflock.units import iso, unix_s

NOW_S = unix_s("2026-07-15T12:10:00Z")
ISSUED_S = unix_s("2026-07-15T12:00:00Z")
HOUR_S = 3600


def rows(hours=36, start_s=ISSUED_S, step_s=HOUR_S):
    """A sound table."""
    t_s = start_s + step_s * np.arange(hours)
    light = np.maximum(np.sin((t_s % 86_400 / HOUR_S - 12.0) / 24 * 2 * np.pi + np.pi / 6), 0.0)
    return {"t_s": t_s, "temp_c": 20.0 + 5.0 * light, "ghi_w_m2": 800.0 * light}


def csv(table, **more):
    """A table as lines."""
    named = {"t_s": table["t_s"], **{name: table[name] for name in table if name != "t_s"}, **more}
    lines = [",".join(named)]
    lines += [",".join(str(cell) for cell in row) for row in zip(*named.values(), strict=True)]
    return "\n".join(lines).encode()


class File:
    """One file."""

    def __init__(self, folder):
        self.path = folder / "weather.csv"
        self.port = FileWeather(self.path)

    def tell(self, body):
        """Deliver some bytes."""
        self.path.write_bytes(body)

    def close(self):
        """Nothing is held."""


class Folder(File):
    """A folder that somebody fills; a former table lies there already and is over."""

    def __init__(self, folder):
        super().__init__(folder)
        self.port = FileWeather(folder)


class _Answers(BaseHTTPRequestHandler):
    """Answers every request with what its server is set to."""

    def do_GET(self):
        """One answer."""
        server = self.server
        server.asked.append((self.path, dict(self.headers)))
        time.sleep(server.wait_s)
        self.send_response(server.status)
        self.end_headers()
        try:
            self.wfile.write(server.body)
        except OSError:
            return

    def log_message(self, *words):
        """Quiet."""


class Http:
    """A service on this machine."""

    scheme = "http"

    def __init__(self, folder):
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
        self.server.daemon_threads = True
        self.server.body, self.server.status, self.server.wait_s, self.server.asked = b"", 200, 0.0, []
        more = self.secured(folder)
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        self.url = f"{self.scheme}://127.0.0.1:{self.server.server_port}/v1/forecast?at={{lat}},{{lon}}"
        self.service = Service(self.url, form="csv", every_s=0, timeout_s=0.5, largest=100_000, **more)
        self.port = HttpWeather(self.service, 48.1, 11.5)

    def secured(self, folder):
        """Plain."""
        del folder
        return {}

    def tell(self, body):
        """Answer with some bytes from now on."""
        self.server.body = body

    def close(self):
        """Stop."""
        self.port.close()
        self.server.shutdown()
        self.server.server_close()


class Https(Http):
    """The same behind TLS, by a certificate of its own authority."""

    scheme = "https"

    def secured(self, folder):
        """Make authority and certificate, and listen by them."""
        chain, key = certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(chain, key)
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        return {"ca_file": str(chain)}


def certificate(folder):
    """A certificate of this machine that vouches for itself."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    here = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(here, critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    chain, secret = folder / "tls.pem", folder / "tls.key"
    chain.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    plain = serialization.NoEncryption()
    form = serialization.PrivateFormat.PKCS8
    secret.write_bytes(key.private_bytes(serialization.Encoding.PEM, form, plain))
    return chain, secret


@pytest.fixture(params=[File, Folder, Http, Https], ids=["file", "folder", "http", "https"])
def source(request, tmp_path, require):
    """Each implementation that takes deliveries, fresh."""
    if request.param is Https:
        require("cryptography", importlib.util.find_spec("cryptography"))
    made = request.param(tmp_path)
    yield made
    made.close()


def asked(source, now_s=NOW_S):
    """What a source says; whatever it is, it keeps the port's promises."""
    found, faults = source.port.newest(now_s)
    assert all(isinstance(fault, Rejected) and fault.count > 0 and fault.reason for fault in faults)
    if found is not None:
        kept(found, now_s)
    return found, {fault.field: fault for fault in faults}


def kept(found, now_s):
    """The port's promises of a table."""
    assert isinstance(found, Weather)
    assert found.kind == "issued"
    assert found.grid.end_s > now_s
    assert (np.diff(found.grid.edges_s) == np.diff(found.grid.edges_s)[0]).all()
    assert found.known_s.shape == (found.grid.n,)
    assert (found.known_s <= now_s).all()
    for name, column in found.columns.items():
        low, high = QUANTITIES[name]
        assert column.shape == (found.grid.n,)
        known = column[np.isfinite(column)]
        assert len(known)
        assert ((known >= low) & (known <= high)).all()


def test_a_sound_table_comes_as_it_is(source):
    """Columns and stamps of a sound delivery are those of the forecast, and nothing is wrong."""
    table = rows()
    source.tell(csv(table))
    found, faults = asked(source)
    assert not faults
    assert found.grid.starts_s.tolist() == table["t_s"].tolist()
    assert np.allclose(found.columns["temp_c"], table["temp_c"])
    assert np.allclose(found.columns["ghi_w_m2"], table["ghi_w_m2"])


def test_a_newer_issue_takes_the_place_of_the_last(source):
    """What was issued later is what is said, and a table of several issues gives the newest."""
    old, new = rows(), rows()
    new["temp_c"] = new["temp_c"] + 3.0
    both = {name: np.concatenate([new[name], old[name]]) for name in old}
    issued = np.repeat([ISSUED_S - 600, ISSUED_S - 7200], len(old["t_s"]))
    source.tell(csv(both, issued=[iso(int(t)) for t in issued]))
    found, _ = asked(source)
    assert np.allclose(found.columns["temp_c"], new["temp_c"])
    assert set(found.known_s.tolist()) == {ISSUED_S - 600}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", None),
        (b"\x00\xff\xfe not a table", None),
        (b"t_s,temp_c\n", None),
        (b"t_s,temp_c\n1,2\n", "stamps"),
        (b"temp_c,ghi_w_m2\n20,0\n21,0\n", "header"),
        (b"t_s,colour\n1784116800,3\n1784120400,4\n", "columns"),
        (csv(rows() | {"temp_c": np.full(36, np.nan), "ghi_w_m2": np.full(36, np.nan)}), "values"),
        (csv(rows() | {"temp_c": np.full(36, 293.0), "ghi_w_m2": np.full(36, 1e7)}), "values"),
        (csv(rows(start_s=ISSUED_S - 40 * 86_400)), "issue"),
        (csv(rows(), issued=[iso(NOW_S + 7 * HOUR_S)] * 36), "issue"),
        (csv(rows(hours=3000)), "stamps"),
        (csv(rows(step_s=7)), "stamps"),
        (csv(rows() | {"t_s": np.full(36, "soon")}), None),
    ],
    ids=[
        "empty", "bytes", "no-row", "one-row", "no-stamp", "wrong-columns", "nan", "kelvin", "late", "future",
        "huge", "tiny-steps", "no-moment",
    ],
)  # fmt: skip
def test_what_is_of_no_use_is_named(source, body, field):
    """A delivery that cannot be used gives no table, and a fault that says what is wrong."""
    source.tell(body)
    found, faults = asked(source)
    assert found is None
    assert faults
    assert field is None or field in faults


def test_part_of_a_delivery_is_used(source):
    """Holes, strange columns and impossible cells are named and left out; the rest is the forecast."""
    table = rows()
    table["temp_c"] = table["temp_c"].copy()
    table["temp_c"][3] = np.nan
    table["ghi_w_m2"] = table["ghi_w_m2"].copy()
    table["ghi_w_m2"][5] = 9e9
    order = np.random.default_rng(0).permutation(36)
    source.tell(csv({name: column[order] for name, column in table.items()}, moon=np.zeros(36)))
    found, faults = asked(source)
    assert {"column", "ghi_w_m2"} <= set(faults)
    assert np.flatnonzero(np.isnan(found.columns["temp_c"])).tolist() == [3]
    assert np.flatnonzero(np.isnan(found.columns["ghi_w_m2"])).tolist() == [5]
    assert np.allclose(found.columns["temp_c"][6:], table["temp_c"][6:])


def test_grib_tables_are_understood(source):
    """Kelvin, wind in components and radiation counted up come in our units; ``time`` is the issue then."""
    t_s = ISSUED_S + HOUR_S * np.arange(12)
    body = csv({
        "t_s": [iso(ISSUED_S)] * 12, "valid_time": [iso(int(t)) for t in t_s],
        "t2m": np.full(12, 293.15), "u10": np.full(12, 3.0), "v10": np.full(12, -4.0),
        "ssrd": 360_000.0 * np.arange(12), "tcc": np.full(12, 0.5), "number": np.zeros(12),
    }).replace(b"t_s,", b"time,", 1)  # fmt: skip
    source.tell(body)
    found, faults = asked(source)
    assert not faults
    assert set(found.known_s.tolist()) == {ISSUED_S}
    assert np.allclose(found.columns["temp_c"], 20.0)
    assert np.allclose(found.columns["wind_m_s"], 5.0)
    assert np.allclose(found.columns["ghi_w_m2"][:-1], 100.0)
    assert np.isnan(found.columns["ghi_w_m2"][-1])


def test_parquet_is_read(tmp_path):
    """A Parquet table says the same as lines."""
    import duckdb

    path = tmp_path / "weather.parquet"
    (tmp_path / "weather.txt").write_bytes(csv(rows()))
    copied = f"COPY (FROM read_csv('{tmp_path / 'weather.txt'}')) TO '{path}'"
    duckdb.sql(copied)
    found, faults = FileWeather(tmp_path).newest(NOW_S)
    kept(found, NOW_S)
    assert not faults
    assert np.allclose(found.columns["temp_c"], rows()["temp_c"])


def test_a_folder_gives_its_newest_issue(tmp_path):
    """Of the files of a folder the newest issue counts; a broken one beside it is named."""
    import os

    port = FileWeather(tmp_path)
    assert port.newest(NOW_S)[1][0].field == "path"
    for k, (name, warmer) in enumerate([("a.csv", 0.0), ("b.csv", 4.0)]):
        table = rows()
        table["temp_c"] = table["temp_c"] + warmer
        (tmp_path / name).write_bytes(csv(table, issued=[ISSUED_S - 7200 + 3600 * k] * 36))
        os.utime(tmp_path / name, (1_000 + k, 1_000 + k))
    (tmp_path / "c.csv").write_bytes(b"no table")
    found, faults = port.newest(NOW_S)
    assert np.allclose(found.columns["temp_c"], rows()["temp_c"] + 4.0)
    assert faults


@pytest.fixture
def service(tmp_path):
    """A service on this machine."""
    made = Http(tmp_path)
    yield made
    made.close()


def test_json_by_paths(service):
    """Arrays beside each other, or an object a row: paths say where; stamps without offset go by the zone."""
    table = rows()
    local = [datetime.fromtimestamp(int(t), UTC).strftime("%Y-%m-%dT%H:%M") for t in table["t_s"]]
    named = {
        "time": local,
        "temperature_2m": table["temp_c"].tolist(),
        "cloud_cover": [50] * 36,
        "note": ["x"] * 36,
    }
    service.tell(json.dumps({"hourly": named}).encode())
    port = HttpWeather(Service(service.url, every_s=0), 48.1, 11.5)
    found, faults = port.newest(NOW_S)
    port.close()
    assert np.allclose(found.columns["temp_c"], table["temp_c"])
    assert np.allclose(found.columns["cloud"], 0.5)
    assert "note" in {fault.field for fault in faults}
    series = [
        {"when": iso(int(t)), "at": {"warm": warm}}
        for t, warm in zip(table["t_s"], table["temp_c"], strict=True)
    ]
    service.tell(json.dumps({"meta": {"made": iso(ISSUED_S)}, "list": series}).encode())
    asked_by = Service(
        service.url, rows="list", stamps="when", columns={"temp_c": "at.warm"}, issued="meta.made", every_s=0
    )
    port = HttpWeather(asked_by, 48.1, 11.5)
    found, faults = port.newest(NOW_S)
    port.close()
    assert not faults
    assert set(found.known_s.tolist()) == {ISSUED_S}
    assert np.allclose(found.columns["temp_c"], table["temp_c"])


@pytest.mark.parametrize(
    ("status", "wait_s", "body", "said"),
    [
        (500, 0.0, b"", "500"),
        (302, 0.0, b"", "302"),
        (200, 1.2, csv(rows()), "Timeout"),
        (200, 0.0, b"x" * 200_000, "100000 bytes"),
        (200, 0.0, b"[" * 90_000, "JSON"),
        (200, 0.0, b'{"hourly": {"time": 3}}', "list"),
        (200, 0.0, b'{"hourly": {"time": [1], "temp_c": []}}', "0 values"),
        (200, 0.0, b'{"hourly": {}}', "time"),
    ],
)
def test_a_service_that_fails_is_left_alone_for_a_while(service, status, wait_s, body, said):
    """The last table stands, the fault has a name without the query; it is asked again after a back-off."""
    settings = Service(service.url + "&key=secret", every_s=0, timeout_s=0.5, largest=100_000)
    port = HttpWeather(settings, 48.1, 11.5)
    table = {"hourly": {"time": rows()["t_s"].tolist(), "temp_c": rows()["temp_c"].tolist()}}
    service.tell(json.dumps(table).encode())
    good, faults = port.newest(NOW_S)
    assert not faults
    service.server.status, service.server.wait_s = status, wait_s
    service.tell(body)
    found, faults = port.newest(NOW_S + 10)
    assert found is good
    assert said in faults[0].reason
    assert "secret" not in str(faults)
    many = len(service.server.asked)
    assert port.newest(NOW_S + 20)[1] == faults
    assert len(service.server.asked) == many
    service.server.status, service.server.wait_s = 200, 0.0
    service.tell(json.dumps(table).encode())
    found, faults = port.newest(NOW_S + 90)
    port.close()
    assert not faults
    assert found is not None
    assert found.known_s[0] == NOW_S + 90
    assert all("key=secret" in path and "48.1000,11.5000" in path for path, _ in service.server.asked)


def test_keys_come_from_the_environment(service, monkeypatch):
    """What stands for a variable is sent and never told; a variable that is not set is a fault."""
    service.tell(csv(rows()))
    key = "{env:GRIDFLOCK_TEST_KEY}"
    settings = Service(f"{service.url}&key={key}", form="csv", headers={"X-Key": key}, every_s=0)
    port = HttpWeather(settings, 48.1, 11.5)
    assert port.newest(NOW_S)[1][0].field == "environment"
    monkeypatch.setenv("GRIDFLOCK_TEST_KEY", "s3cret")
    found, faults = port.newest(NOW_S + 3600)
    port.close()
    assert not faults
    assert found is not None
    path, headers = service.server.asked[-1]
    assert "key=s3cret" in path
    assert headers["X-Key"] == "s3cret"


def test_a_certificate_of_nobody_is_refused(tmp_path, require):
    """TLS is verified: a server whose authority is not trusted gets no request."""
    require("cryptography", importlib.util.find_spec("cryptography"))
    made = Https(tmp_path)
    made.tell(csv(rows()))
    port = HttpWeather(Service(made.url, form="csv"), 48.1, 11.5)
    found, faults = port.newest(NOW_S)
    port.close()
    made.close()
    assert found is None
    assert faults[0].field == "connection"
    assert not made.server.asked


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "url"),
        ({"url": "http://weather.example/x"}, "url"),
        ({"url": 3}, "url"),
        ({"url": "https://weather.example", "colour": 1}, "colour"),
        ({"url": "https://weather.example", "form": "xml"}, "form"),
        ({"url": "https://weather.example", "columns": {"moon": "a"}}, "columns"),
        ({"url": "https://weather.example", "timezone": "Mars/Base"}, "timezone"),
        ({"url": "https://weather.example", "timeout_s": 0}, "timeout_s, largest, every_s"),
        ({"url": "https://weather.example", "every_s": True}, "every_s"),
    ],
)
def test_settings_of_a_service_are_judged(document, field):
    """Unknown names, values of another kind and a plain address are refused by name."""
    faults = service_from(document)
    assert field in {fault.field for fault in faults}


def test_settings_of_a_service_that_are_sound():
    """A sound document is a service."""
    document = {"url": "https://weather.example/{lat}/{lon}", "columns": {"temp_c": "a.b"}, "every_s": 60}
    assert service_from(document) == Service(**document)


def test_none_says_nothing():
    """Who has no weather is told none, and nothing is wrong with that."""
    assert NoWeather().newest(NOW_S) == (None, ())


def test_the_world_forecasts_its_weather():
    """The simulated service keeps the port's promises; the same issue says the same, a later one another."""
    world = World(Scenario(ders=150, seed=2))
    port = world.forecaster()
    first, faults = port.newest(world.start_s + HOUR_S)
    kept(first, world.start_s + HOUR_S)
    assert not faults
    again, _ = World(Scenario(ders=150, seed=2)).forecaster().newest(world.start_s + HOUR_S)
    assert all((again.columns[name] == column).all() for name, column in first.columns.items())
    later, _ = port.newest(world.start_s + 8 * HOUR_S)
    kept(later, world.start_s + 8 * HOUR_S)
    shift = int(later.grid.start_s - first.grid.start_s) // HOUR_S
    assert shift > 0
    assert (later.columns["temp_c"][: 60 - shift] != first.columns["temp_c"][shift:]).any()


def test_steps_far_in_the_future_are_refused(source):
    """A stamp of another century is named and left out; a table of nothing else is none."""
    table = rows()
    table["t_s"][-1] += 100 * 365 * 86_400
    source.tell(csv(table))
    found, faults = asked(source)
    assert found is not None
    assert found.grid.n == len(table["t_s"]) - 1
    assert set(faults) == {"stamps"}
    assert "at most 30" in faults["stamps"].reason
    source.tell(csv(rows(start_s=ISSUED_S + 100 * 365 * 86_400)))
    assert "stamps" in asked(source, NOW_S + 3_600)[1]


def test_headers_that_drip_are_cut_off():
    """A byte now and then keeps nobody waiting: the time of an answer counts from its request."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip():
            line, _ = server.accept()
            with line:
                line.recv(4_096)
                try:
                    for byte in b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200:
                        line.sendall(bytes([byte]))
                        time.sleep(0.1)
                except OSError:
                    return

        threading.Thread(target=drip, daemon=True).start()
        port = HttpWeather(Service(f"http://127.0.0.1:{server.getsockname()[1]}/", timeout_s=0.5), 48.1, 11.5)
        begun_s = time.monotonic()
        found, faults = port.newest(NOW_S)
        assert time.monotonic() - begun_s < 8.0
        assert found is None
        assert "late" in faults[0].reason
        port.close()
