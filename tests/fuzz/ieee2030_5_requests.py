"""Random requests of random clients to the IEEE 2030.5 server; the one argument is how many.

``make fuzz`` makes 100,000 of them. Half are broken somewhere: method, address, query or body. Whatever is
asked, no answer is a 5xx or breaks its schema, none holds anything of another client, nothing of another's
changes, and the journal of it all, read again, gives the state it ended in.
"""

import importlib
import os
import sys
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "protocol" / "ieee2030_5" / "server"))
world_of = importlib.import_module("clients_world")

SHARED = os.environ.get("GRIDFLOCK_SHARED", str(HERE.parents[2] / "shared"))
OF_ONE_WORLD = 10_000
MOST = 100_000


def main(most):
    """Ask, and say what was answered."""
    schemas = world_of.schemas_of(SHARED)
    statuses = Counter()
    for seed in range(-(-most // OF_ONE_WORLD)):
        utility = world_of.Utility(schemas, in_band_devices=True, approve_at_once=seed % 2 == 1)
        world = world_of.World(utility, seed)
        for _ in range(min(OF_ONE_WORLD, most - sum(statuses.values()))):
            statuses[world.step(hostile=0.5)] += 1
        assert utility.relived() == utility.server.state, seed
    judged = "judged by the schemas" if schemas else "not judged by the schemas, which are not at hand"
    sys.stdout.write(f"{sum(statuses.values())} requests, {judged}: {dict(sorted(statuses.items()))}\n")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else MOST)
