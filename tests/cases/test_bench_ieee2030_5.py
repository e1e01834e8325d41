"""``gridflock bench 2030.5``: what is told, and when figures do not count."""

import json
from importlib.util import find_spec

import pytest
from typer.testing import CliRunner

from gridflock.bench import _ieee2030_5
from gridflock.console._cli import app

PROMISED = {
    "dercontrol_list_10_ms", "dercontrol_list_100_ms", "mirror_reading_ms", "mirror_reading_alone_ms",
    "ratio_vs_pydantic", "full_handshakes_per_s", "resumed_handshakes_per_s", "core_share", "devices",
    "connections", "requests_per_s", "posted", "journaled", "counts", "why_not", "first_handshakes_per_s",
    "full_at_once_handshakes_per_s", "openssl_alone_handshakes_per_s", "chain_of_3",
}  # fmt: skip
FIGURES = {
    "dercontrol_list_10_ms": 0.1, "dercontrol_list_100_ms": 0.3, "mirror_reading_ms": 0.2, "core_share": 0.3,
    "full_handshakes_per_s": 900, "posted": 100, "journaled": 100,
}  # fmt: skip


@pytest.mark.slow
def test_a_short_run_tells_all_figures(monkeypatch, require):
    """A few devices for two seconds: every figure is there, the rival is slower, and nothing is lost."""
    require("envoy_schema", find_spec("envoy_schema") is not None)
    small_ones = {"CONNECTIONS": 10, "_REQUESTS": 64, "_ROUNDS": 1, "_HANDSHAKES": 10, "_CHAINS": (3,)}
    for name, small in small_ones.items():
        monkeypatch.setattr(_ieee2030_5, name, small)
    asked = ["bench", "2030.5", "--devices", "60", "--seconds", "2", "--json"]
    answer = CliRunner().invoke(app, asked)
    found = json.loads(answer.stdout)
    assert found.keys() >= PROMISED
    assert found["chain_of_3"]["full_handshakes_per_s"] > 0
    assert found["posted"] == found["journaled"] == 2
    assert found["ratio_vs_pydantic"]["dercontrol_list_100_ms"] > 1.0
    assert answer.exit_code == (0 if found["counts"] else 2)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("journaled", 99, "100 readings posted, 99 in the journal"),
        ("core_share", 0.41, "core_share 0.41 (bar 0.4)"),
        ("full_handshakes_per_s", 799, "full_handshakes_per_s 799 (bar 800)"),
    ],
)
def test_a_missed_bar_or_a_lost_reading_does_not_count(name, value, why):
    """Each is told by its figure and its bar; without any of them all counts."""
    assert _ieee2030_5._judged(FIGURES) == {"counts": True, "why_not": ""}
    assert _ieee2030_5._judged(FIGURES | {name: value}) == {"counts": False, "why_not": why}
