"""Laws of the synthetic fleet that the measurements are made on."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.bench._million import NOON_S, million
from gridflock.fleet import Fleet
from gridflock.fleet.registry import TEXTS
from gridflock.schema import REGISTRY, TELEMETRY


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 400), st.integers(0, 2**16))
def test_a_drawn_fleet_is_what_reading_its_table_gives(n, seed):
    """The columns pass every rule of the registry file, and come out of it the same, bit by bit."""
    drawn = million(n, seed)
    table = {name: column.tolist() for name, column in drawn.table().items()}
    rows = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
    fleet, rejected = Fleet.from_rows(rows, drawn.places)
    assert rejected == ()
    assert fleet.ids == drawn.registry.ids
    assert set(fleet.columns) == set(drawn.registry.columns)
    for name, column in drawn.registry.columns.items():
        assert column.dtype == fleet.columns[name].dtype, name
        np.testing.assert_array_equal(column, fleet.columns[name], err_msg=name)
    assert {name: drawn.registry.labels[name] for name in TEXTS} == dict(fleet.labels)
    np.testing.assert_array_equal(fleet.family, drawn.registry.family)


@settings(deadline=None, max_examples=25)
@given(st.integers(1, 400), st.integers(0, 2**16))
def test_a_seed_is_a_fleet(n, seed):
    """The same size and seed give the same bytes; all readings are possible and taken in."""
    one, other = million(n, seed), million(n, seed)
    assert one.registry.ids == other.registry.ids
    for name, column in one.registry.columns.items():
        assert column.tobytes() == other.registry.columns[name].tobytes(), name
    for entry in TELEMETRY:
        assert one.telemetry[entry.name].tobytes() == other.telemetry[entry.name].tobytes(), entry.name
    fleet = one.fleet(None)
    assert fleet.ingest(one.readings(NOON_S), NOON_S) == ()
    part = one.readings(NOON_S, n // 2, seed=1)
    assert len(part.index) == n // 2
    assert sum(fault.count for fault in fleet.ingest(part, NOON_S)) == n // 2


def test_places_are_nested_in_the_proportions_of_a_utility():
    """200k premises, 20k transformers, 200 feeders and 10 substations per million, none of them empty."""
    drawn = million(100_000, 3)
    sizes = [200_000, 20_000, 200, 10, 1]
    for parents, size in zip(drawn.up, sizes, strict=True):
        assert (np.unique(parents) == np.arange(size // 10 or 1)).all()
    assert set(drawn.registry.columns) | {"id"} == {entry.name for entry in REGISTRY}
    np.testing.assert_array_equal(drawn.registry.columns["bus"], drawn.up[0])
    np.testing.assert_array_equal(drawn.registry.columns["transformer"], drawn.up[1][drawn.up[0]])


def test_identities_are_distinct_and_well_formed():
    """Each name is given once: 32 and 40 hexadecimal digits, and a serial number."""
    names = million(500, 1).identities()
    for name, digits in (("mrid", 32), ("lfdi", 40), ("serial", 10)):
        assert len(set(names[name].tolist())) == 500
        assert {len(text) for text in names[name].tolist()} == {digits}
