"""A utility server without sockets, clients that speak to it, and two judges over all that is said.

Every body that leaves is valid by the schema of the client's profile (where the schemas are at hand), and at
the end of every test the journal of all that happened, read again, gives the very state it ended in.
"""

import importlib
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("clients_world")
ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(scope="session")
def schemas():
    """From a profile to its schema; empty where the schemas are not at hand (one test says so)."""
    return world.schemas_of(os.environ.get("GRIDFLOCK_SHARED", str(ROOT.parent / "shared")))


@pytest.fixture
def make(schemas):
    """``make(**policy)``: a server; at the end its journal must tell its state."""
    made = []

    def _make(**policy):
        made.append(world.Utility(schemas, **policy))
        return made[-1]

    yield _make
    for each in made:
        assert each.relived() == each.server.state


@pytest.fixture
def utility(make):
    """A server with nothing special."""
    return make()
