"""Laws of the network file: what is read is what was written, or nothing is read at all."""

import dataclasses
import hashlib
import io
import json
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import initial, settle, solve
from gridflock.grid.build import FeederRejected, from_document
from gridflock.grid.change import LockTap, OpenSwitch, Outage, apply
from gridflock.record import RecordError, load_network, save_network
from gridflock.record._network_columns import COLUMNS, TEXTS
from gridflock.record._network_file import MARK, SEAL

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
DERIVED = {"wiring", "topology", "load_incidence", "load_powered", "load_alike", "factors"}
SCALARS = {"name", "latitude", "longitude", "timezone", "version"}
PARTS = ("branch_blocks", "shunt_blocks", "regulators", "capacitors")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bytes of the IEEE 123 network."""
    path = tmp_path_factory.mktemp("file") / "ieee123.gfnet"
    save_network(path, NETWORK)
    return path.read_bytes()


@pytest.fixture
def read(tmp_path):
    """Load a network from bytes."""

    def load(data):
        path = tmp_path / "feeder.gfnet"
        path.write_bytes(data)
        return load_network(path)

    return load


def values(network):
    """Every stored value of a network by its dotted name."""
    found = {}
    for field in dataclasses.fields(network):
        value = getattr(network, field.name)
        if field.name in PARTS:
            found |= {f"{field.name}.{f.name}": getattr(value, f.name) for f in dataclasses.fields(value)}
        elif field.name not in DERIVED:
            found[field.name] = value
    return found


def assert_same(one, two):
    """Equal value by value, types included."""
    first, second = values(one), values(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, np.ndarray):
            assert value.dtype == second[name].dtype, name
            assert np.array_equal(value, second[name], equal_nan=value.dtype.kind in "fc"), name
        else:
            assert value == second[name], name


def packed(entries, comment=None, compression=zipfile.ZIP_STORED):
    """A network file of given entries with a checksum that fits, as somebody with intent would make it."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a name twice
        archive.comment = comment or MARK + b"0" * 64
        for name, data in entries:
            archive.writestr(zipfile.ZipInfo(name), data, compress_type=compression)
    data = buffer.getvalue()
    return data if comment else data[:-64] + hashlib.sha256(data[:-SEAL]).hexdigest().encode()


def entries_of(data):
    """Names and bytes of an archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def array_of(entry):
    """The array of an entry."""
    return np.lib.format.read_array(io.BytesIO(entry))


def entry_of(array, allow_pickle=False):
    """An array as an entry."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=allow_pickle)
    return buffer.getvalue()


def test_every_column_of_a_network_is_stored():
    """The table of columns and texts names every field of a network that is not derived, and no other."""
    stored = {column.name for column in COLUMNS} | set(TEXTS) | SCALARS
    assert stored == set(values(NETWORK))


def test_a_network_comes_back_column_by_column(written, read):
    """All arrays and names are equal, and so is the flow, to the bit."""
    again = read(written)
    assert_same(NETWORK, again)
    nothing = np.zeros(NETWORK.n, dtype=complex)
    one, two = (solve(net, net.load_kva, nothing, initial(net)) for net in (NETWORK, again))
    assert np.array_equal(one.v, two.v)


def test_equal_networks_give_equal_bytes(written, tmp_path, read):
    """Written twice, or read and written again, or built anew: the same file."""
    for network in (read(written), from_document(DOCUMENT)):
        save_network(tmp_path / "again.gfnet", network)
        assert (tmp_path / "again.gfnet").read_bytes() == written


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_version_comes_back(tmp_path, data):
    """Loads of any law, open switches, outages and locked taps are kept, as are version and words."""
    document = {**DOCUMENT, "loads": data.draw(st.lists(st.sampled_from(DOCUMENT["loads"]), unique_by=id))}
    network = from_document(document)
    opened = data.draw(st.lists(st.sampled_from(network.branches), max_size=3))
    changes = [
        *map(OpenSwitch, opened),
        Outage(network.shunts[0]),
        LockTap("reg2a", data.draw(st.integers(-16, 16))),
    ]
    network = apply(network, *changes)
    save_network(tmp_path / "any.gfnet", network)
    again = load_network(tmp_path / "any.gfnet")
    assert_same(network, again)
    assert np.array_equal(network.topology.live, again.topology.live)
    assert again.changes == network.changes
    assert again.version == 1


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_an_altered_byte_refuses_the_file(written, read, data):
    """Whatever byte is another one, nothing is read."""
    place = data.draw(st.integers(0, len(written) - 1))
    altered = bytearray(written)
    altered[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(FeederRejected):
        read(bytes(altered))


@settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_truncated_or_longer_file_is_refused(written, read, data):
    """Any beginning of a file, the empty one included, and any file with something behind, is none."""
    length = data.draw(st.integers(0, len(written) - 1))
    for content in (written[:length], written + bytes(length % 100 + 1)):
        with pytest.raises(FeederRejected, match="checksum"):
            read(content)


def test_other_files_are_refused(read):
    """A text, a plain zip and an npz are told apart from a network file."""
    buffer = io.BytesIO()
    np.savez(buffer, v=np.ones(3))
    for content in (b"new circuit.x", packed([("a", b"b")], comment=b"hello"), buffer.getvalue()):
        with pytest.raises(FeederRejected, match="network file"):
            read(content)


def test_a_file_that_is_not_there_says_so(tmp_path):
    """What the operating system refuses is a RecordError that names the path."""
    with pytest.raises(RecordError, match="nowhere"):
        load_network(tmp_path / "nowhere.gfnet")
    with pytest.raises(RecordError):
        save_network(tmp_path / "no" / "folder.gfnet", NETWORK)


def test_a_failed_write_leaves_the_former_file(written, tmp_path, monkeypatch):
    """Where the new file cannot be put in place, the old one still stands and no rest is left."""
    path = tmp_path / "feeder.gfnet"
    path.write_bytes(written)

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gridflock.record._disk.put_in_place", refuse)
    with pytest.raises(RecordError):
        save_network(path, apply(NETWORK, OpenSwitch("sw-13-152")))
    assert path.read_bytes() == written
    assert [p.name for p in tmp_path.iterdir()] == ["feeder.gfnet"]


def changed(array, place, value):
    """A copy with one value replaced."""
    copy = array.copy()
    copy[place] = value
    return copy


HOSTILE = {
    "node_bus": lambda a: changed(a, 3, 10_000),
    "node_conductor": lambda a: changed(a, 0, 0),
    "v_base": lambda a: changed(a, 1, 0.0),
    "source_nodes": lambda a: changed(a, 0, -1),
    "source_v": lambda a: changed(a, 0, np.nan),
    "load_kva": lambda a: changed(a, 2, np.inf),
    "load_kind": lambda a: changed(a, 0, 9),
    "load_nodes": lambda a: changed(a, (0, 0), -2),
    "load_zip": lambda a: a[:, :, :2].copy(),
    "load_bus": lambda a: a.astype("<i8"),
    "branch_from": lambda a: a[:-1],
    "branch_blocks.start": lambda a: changed(a, 2, 1_000_000),
    "branch_blocks.node": lambda a: changed(a, 0, 9_999),
    "branch_blocks.end": lambda a: changed(a, 0, 7),
    "branch_blocks.y_start": lambda a: changed(a, 1, 1),
    "branch_blocks.y": lambda a: changed(a, 5, complex(0, np.nan)),
    "regulators.tap": lambda a: a.astype("<f8"),
    "regulators.conductor": lambda a: changed(a, 0, 60_000),
    "capacitors.mode": lambda a: changed(a, 0, 77),
    "capacitors.seen_start": lambda a: changed(a, 0, 1),
    "section_head": lambda a: changed(a, 0, -1),
    "bus_xy": np.asfortranarray,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_bad_column_is_named(written, read, name):
    """A fitting checksum and one column of another type, shape or range: refused, the column named."""
    entries = entries_of(written)
    entries[f"{name}.npy"] = entry_of(HOSTILE[name](array_of(entries[f"{name}.npy"])))
    with pytest.raises(FeederRejected) as refused:
        read(packed(entries.items()))
    assert name in {fault.field for fault in refused.value.rejected}


def fewer(name, array):
    """A column with its last row gone."""
    return {name: array(name)[:-1]}


DISAGREE = {
    "an element more conductors than there are": lambda a, n: {
        f"{n}.start": changed(a(f"{n}.start"), -1, 10_000)
    },
    "the last element has none": lambda a, n: {
        f"{n}.start": changed(a(f"{n}.start"), -2, a(f"{n}.start")[-1])
    },
    "a conductor belongs to nobody": lambda a, n: {
        f"{n}.start": a(f"{n}.start") - (np.arange(len(a(f"{n}.start"))) > 3)
    },
    "starts fall": lambda a, n: {f"{n}.start": changed(a(f"{n}.start"), 2, 0)},
    "a conductor shifts to its neighbour": lambda a, n: {
        f"{n}.start": changed(a(f"{n}.start"), 1, a(f"{n}.start")[1] + 1)
    },
    "a conductor is missing": lambda a, n: fewer(f"{n}.node", a) | fewer(f"{n}.end", a),
    "a value is missing": lambda a, n: fewer(f"{n}.y", a),
    "values shift to the neighbour": lambda a, n: {
        f"{n}.y_start": changed(a(f"{n}.y_start"), 1, a(f"{n}.y_start")[1] + 1)
    },
    "more values than said": lambda a, n: {f"{n}.y": np.append(a(f"{n}.y"), 0j)},
    "an element too few": lambda a, n: fewer(f"{n}.start", a) | fewer(f"{n}.y_start", a),
}


@pytest.mark.parametrize("name", ["branch_blocks", "shunt_blocks"])
@pytest.mark.parametrize("what", DISAGREE)
def test_starts_that_disagree_with_their_arrays_are_refused(written, read, name, what):
    """Where the blocks' starts and arrays do not fit each other, one of the block's columns is named."""
    entries = entries_of(written)
    altered = DISAGREE[what](lambda column: array_of(entries[f"{column}.npy"]), name)
    for column, array in altered.items():
        entries[f"{column}.npy"] = entry_of(array)
    with pytest.raises(FeederRejected) as refused:
        read(packed(entries.items()))
    assert any(fault.field.startswith(f"{name}.") for fault in refused.value.rejected)


WHOLE = [column for column in COLUMNS if np.dtype(column.dtype).kind in "iu"]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_rows_point_at_there_is_something(written, read, data):
    """Up to three whole numbers replaced: refused by column, or a network that is solved without an error."""
    entries = entries_of(written)
    for column in data.draw(st.lists(st.sampled_from(WHOLE), min_size=1, max_size=3)):
        array = array_of(entries[f"{column.name}.npy"])
        if array.size:
            place = data.draw(st.integers(0, array.size - 1))
            bounds = np.iinfo(array.dtype)
            values = st.one_of(
                st.sampled_from(array.ravel().tolist()),
                st.integers(-2, 12),
                st.integers(bounds.min, bounds.max),
            )
            array.ravel()[place] = np.clip(data.draw(values), bounds.min, bounds.max)
            entries[f"{column.name}.npy"] = entry_of(array)
    try:
        network = read(packed(entries.items()))
    except FeederRejected:
        return
    settle(network, network.load_kva, np.zeros(network.n, dtype=complex), initial(network))


def test_a_winding_held_up_by_stray_admittances_comes_back(tmp_path):
    """Every kind of shunt that a reader makes is one the file has."""
    kinds = np.array(NETWORK.shunt_kind)
    network = dataclasses.replace(NETWORK, shunt_kind=("stray", *kinds[1:].tolist()))
    save_network(tmp_path / "s.gfnet", network)
    assert_same(network, load_network(tmp_path / "s.gfnet"))


def test_every_bad_column_is_named_at_once(written, read):
    """Three columns out of range are three faults of one refusal."""
    entries = entries_of(written)
    names = ("v_base", "load_kva", "branch_blocks.node")
    for name in names:
        entries[f"{name}.npy"] = entry_of(HOSTILE[name](array_of(entries[f"{name}.npy"])))
    with pytest.raises(FeederRejected) as refused:
        read(packed(entries.items()))
    assert {fault.field for fault in refused.value.rejected} == set(names)


def test_an_array_that_declares_more_than_it_holds_is_refused(written, read):
    """A head that declares a terabyte reserves nothing: it is refused by its own bytes."""
    entries = entries_of(written)
    head = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (1 << 37,)}
    np.lib.format.write_array_header_1_0(head, shape)
    entries["v_base.npy"] = head.getvalue() + bytes(8)
    with pytest.raises(FeederRejected, match="v_base: 8 bytes for shape"):
        read(packed(entries.items()))


def test_nothing_is_unpickled_or_unpacked(written, read):
    """An object array and a compressed archive are refused."""
    entries = entries_of(written)
    with pytest.raises(FeederRejected, match="archive"):
        read(packed(entries.items(), compression=zipfile.ZIP_DEFLATED))
    entries["v_base.npy"] = entry_of(np.array([print, 1], dtype=object), allow_pickle=True)
    with pytest.raises(FeederRejected, match="v_base"):
        read(packed(entries.items()))


def test_a_missing_a_foreign_and_a_doubled_column_are_named(written, read):
    """The list of columns is exact."""
    entries = entries_of(written)
    without = {name: data for name, data in entries.items() if name != "load_v.npy"}
    with pytest.raises(FeederRejected, match="load_v: missing"):
        read(packed(without.items()))
    with pytest.raises(FeederRejected, match=r"\.\./x\.npy: no column"):
        read(packed([*entries.items(), ("../x.npy", b"")]))
    with pytest.raises(FeederRejected, match="twice"):
        read(packed([*entries.items(), ("load_v.npy", entries["load_v.npy"])]))


HEADERS = {
    "format": "another",
    "format_version": 2,
    "name": 5,
    "latitude": "north",
    "version": -1,
    "texts": {},
}


@pytest.mark.parametrize("field", HEADERS)
def test_a_bad_header_is_named(written, read, field):
    """Format, version and every field of the header are checked."""
    entries = entries_of(written)
    entries["header.json"] = json.dumps(
        {**json.loads(entries["header.json"]), field: HEADERS[field]}
    ).encode()
    with pytest.raises(FeederRejected) as refused:
        read(packed(entries.items()))
    named = {fault.field for fault in refused.value.rejected}
    assert named == set(TEXTS) if field == "texts" else field in named


@pytest.mark.parametrize("text", [b"", b"[" * 100_000, b"\xff", b"[]", b"null"])
def test_a_header_that_is_no_object_is_refused(written, read, text):
    """Empty, bottomless, no UTF-8, not an object."""
    entries = entries_of(written)
    entries["header.json"] = text
    with pytest.raises(FeederRejected):
        read(packed(entries.items()))


def test_names_are_checked(written, read):
    """A name twice, a kind that does not exist, a list of another length."""
    entries = entries_of(written)
    header = json.loads(entries["header.json"])
    texts = header["texts"]
    texts["buses"][1] = texts["buses"][0]
    texts["branch_kind"][0] = "rope"
    texts["sections"].append("one more")
    entries["header.json"] = json.dumps(header).encode()
    with pytest.raises(FeederRejected) as refused:
        read(packed(entries.items()))
    assert {"buses", "branch_kind", "section_titles"} <= {fault.field for fault in refused.value.rejected}


def test_a_network_that_cannot_be_solved_is_refused(written, read):
    """Columns that are each right and together singular are refused by node."""
    entries = entries_of(written)
    row = NETWORK.branches.index("xfm1")
    block = NETWORK.branch_blocks.block(row)
    y = NETWORK.branch_blocks.y.copy()
    start = NETWORK.branch_blocks.y_start
    y[start[row] : start[row + 1]] = (
        block - np.diag(block[:, :3].sum(axis=1) + block[:, 3:].sum(axis=1))
    ).ravel()
    entries["branch_blocks.y.npy"] = entry_of(y)
    with pytest.raises(FeederRejected, match="singular"):
        read(packed(entries.items()))
