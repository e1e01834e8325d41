"""Laws of reading OpenDSS text: nothing unchecked reaches the engine, nothing outside the root is read."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.opendss import _files
from gridflock.field.opendss._text import MOST_NESTED, read_script
from gridflock.field.opendss._tokens import Token, tokens
from gridflock.field.opendss._vocabulary import CLASSES, OPTIONS, VERBS, Fate, resolve
from gridflock.grid.build import FeederRejected

PASSED = {verb for verb, fate in VERBS.items() if fate is Fate.PASSED} | {"set"}
WORD = st.text("abcxyz019._-%", min_size=1, max_size=8)
RAW = st.one_of(
    WORD,
    WORD.map(lambda t: f'"{t} {t}"'),
    WORD.map(lambda t: f"'{t},{t}'"),
    WORD.map(lambda t: f"({t} | {t})"),
    WORD.map(lambda t: f"[{t}=1 {t}]"),
    WORD.map(lambda t: f"{{{t}! {t}}}"),
)


def _script(folder, text, name="m.dss", **files):
    for file, content in {name: text, **files}.items():
        (folder / file).write_text(content)
    return read_script(folder / name)


def _refused(folder, text, **files):
    with pytest.raises(FeederRejected) as caught:
        _script(folder, text, **files)
    return caught.value.rejected


def _texts(script):
    return [command.text for command in script.commands]


@given(
    st.lists(
        st.tuples(st.one_of(st.just(""), st.from_regex(r"[a-z%]{1,6}", fullmatch=True)), RAW), max_size=8
    )
)
def test_words_written_anew_read_the_same(pairs):
    """Cutting a line and writing it anew from its words changes nothing more when done again."""
    words = [Token(name, raw) for name, raw in pairs]
    line = " ".join(map(str, words))
    once = list(tokens(line))
    assert once == words
    assert list(tokens(" ".join(map(str, once)))) == once


@given(RAW, st.sampled_from(["!", " !", "//", " // "]), st.text(max_size=20).filter(lambda t: "\n" not in t))
def test_comment_ends_a_line(raw, mark, comment):
    """Whatever stands behind ``!`` or ``//`` outside quotes is no word."""
    assert list(tokens(f"kw={raw}{mark}{comment}")) == [Token("kw", raw)]


@settings(max_examples=300)
@given(st.lists(st.text("abcdeklmnoprstuvwxyz ~?=.,!/()[]{}\"'\t01", max_size=60), max_size=5))
def test_only_allowed_verbs_are_passed_on(tmp_path_factory, rows):
    """Whatever a file says, the engine gets commands from the allow-list only, one per line."""
    folder = tmp_path_factory.mktemp("feeder")
    try:
        script = _script(folder, "\n".join(rows))
    except FeederRejected:
        return
    for text in _texts(script):
        assert text.split(" ", 1)[0] in PASSED
        assert "\n" not in text
        assert "\r" not in text


@given(st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=14))
def test_a_word_is_known_or_refused(word):
    """A verb or option is taken only where it is one of the table, in full or cut short unambiguously."""
    for table in (VERBS, OPTIONS):
        found = resolve(word, table)
        if found is None:
            assert word not in table
        else:
            assert found == word or (found.startswith(word) and sum(n.startswith(word) for n in table) == 1)


@pytest.mark.parametrize("verb", sorted(v for v, fate in VERBS.items() if fate is Fate.TOLD))
def test_reports_are_told_not_passed(tmp_path, verb):
    """Verbs that report, draw or write are left out and told, with their place."""
    script = _script(tmp_path, f"new circuit.c\n{verb} something /tmp/x\n")
    assert _texts(script) == ["new circuit.c"]
    assert any(verb in note and "m.dss:2" in note for note in script.notes)


@pytest.mark.parametrize(
    "line",
    [
        "doscmd rm x",
        "var @x=1",
        "allocateloads",
        "makeposseq",
        "reduce default",
        "distribute kw=100",
        "cvrtloadshapes type=dbl",
        "set datapath=/tmp",
        "set cktmodel=positive",
        "set year=3",
        "set loadmodel=admittance",
        "new isource.i bus1=a",
        "new indmach012.i bus1=a",
        "new nonsense.i bus1=a",
        "new generator.g bus1=a model=6 usermodel=evil.so",
        "new generator.g bus1=a userm=evil.so",
        'new generator.g bus1=a "usermodel"=evil.so',
        "new generator.g bus1=a shaftm=evil.so",
        "new generator.g 3 a 1 2 3 4 5 6 7 evil.so",
        "new generator.g balanced=no evil.so",
        "new storage.s dynadll=evil.so",
        "new pvsystem.p usermodel=evil.so",
        "new capcontrol.c usermodel=evil.so",
        "generator.g.usermodel=evil.so",
        "batchedit generator..* usermodel=evil.so",
        "new loadshape.l npts=3 action=dblsave",
        "new loadshape.l npts=3 csvf=../x.csv",
        "new loadshape.l 3 1 (1 2 3)",
        "new loadshape.l npts=99999999999",
        "new line.l phases=100000",
        "new load.l 100000 a",
        "new line.l a b code 3 100000",
        "new line.l length=3 -1",
        "new capacitor.l bus1=a b 0",
        "new load.l phases=(100000 1 *)",
        "new line.l seasons=1000000000",
        "new transformer.t wind=2000",
        "batchedit load..(a+)+$ kw=1",
        "new swtcontrol.s switchedobj=line.a state=open",
        "new fuse.f monitoredobj=line.a state=[open open open]",
        "new recloser.r monitoredobj=line.a state=open",
        "new load.l bus1=b.-1 kw=1",
        "new line.l s.1 b.-2",
        "new circuit.a\nnew circuit.b",
        "kw=5",
    ],
)
def test_what_could_harm_or_deceive_is_refused(tmp_path, line):
    """Programs, libraries, files written, memory reserved, other models: refused with file and line."""
    rejected = _refused(tmp_path, line + "\n")
    assert all(re.search(r"m\.dss:\d+", r.reason) for r in rejected)


@pytest.mark.parametrize(
    "line",
    [
        "redirect ../secret.dss",
        "redirect {up}/secret.dss",
        "redirect link.dss",
        "compile ..\\secret.dss",
        "buscoords ../secret.dss",
        "new loadshape.l npts=2 mult=(file=../secret.dss)",
        "new loadshape.l npts=2 csvfile=../secret.dss",
        "new loadshape.l npts=2 mult=(sngfile={up}/secret.dss)",
        "new load.l zipv=(file=../secret.dss)",
        "set voltagebases=(file=../secret.dss)",
        'new loadshape.l npts=2 mult=["file"=../secret.dss]',
        "new loadshape.l npts=2 mult=[{{file}}=../secret.dss]".replace("{{", "{").replace("}}", "}"),
        "new loadshape.l npts=2 mult=['sngfile'=../secret.dss]",
        'new loadshape.l npts=2 mult=(["file"=../secret.dss])',
    ],
)
def test_nothing_outside_the_root_is_read(tmp_path, line):
    """A path out of the root, plain, absolute, or through a link, is refused; the file stays unread."""
    (tmp_path / "secret.dss").write_text("new circuit.secret\n")
    folder = tmp_path / "feeder"
    folder.mkdir()
    (folder / "link.dss").symlink_to(tmp_path / "secret.dss")
    rejected = _refused(folder, line.replace("{up}", str(tmp_path)))
    assert len(rejected) == 1
    assert "circuit.secret" not in rejected[0].reason


def test_a_wider_root_lets_a_feeder_read_its_neighbours(tmp_path):
    """With the collection's folder as root a redirect upwards is followed; without, --root is named."""
    (tmp_path / "Codes.DSS").write_text("new linecode.x\n")
    folder = tmp_path / "feeder"
    folder.mkdir()
    (folder / "m.dss").write_text("new circuit.c\nredirect ../codes.dss\n")
    script = read_script(folder / "m.dss", tmp_path)
    assert _texts(script) == ["new circuit.c", "new linecode.x"]
    assert script.places["linecode.x"] == "Codes.DSS:1"
    with pytest.raises(FeederRejected, match="--root"):
        read_script(folder / "m.dss")


def test_files_are_relative_to_the_file_that_names_them(tmp_path):
    """A redirect is relative to its own file's folder; after ``compile`` that folder stays."""
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "a.dss").write_text("new loadshape.a npts=2 mult=(file=x.csv)\n")
    (tmp_path / "sub" / "b.dss").write_text("new load.b bus1=s\n")
    (tmp_path / "sub" / "x.csv").write_text("1\n2\n")
    script = _script(tmp_path, "redirect sub\\A.dss\ncompile (sub/a.dss)\nredirect b.dss\n")
    path = (tmp_path / "sub" / "x.csv").resolve()
    assert _texts(script)[0] == f'new loadshape.a npts=2 mult=[file="{path}"]'
    assert script.commands[-1].where == "sub/b.dss:1"


def test_limits_hold(tmp_path, monkeypatch):
    """Nesting, size, and binary content are bounded."""
    assert "nested" in _refused(tmp_path, "redirect m.dss")[0].reason
    assert MOST_NESTED < 100
    assert "binary" in _refused(tmp_path, "new circuit.c\0\1x y\n")[0].reason
    monkeypatch.setattr(_files, "MOST_BYTES", 10)
    assert "larger" in _refused(tmp_path, "new circuit.c basekv=12")[0].reason


def test_missing_file_names_the_line(tmp_path):
    """A file that is not there is told with the line that wants it."""
    rejected = _refused(tmp_path, "new circuit.c\nredirect lines.dss\n")
    assert "missing file 'lines.dss'" in rejected[0].reason
    assert "m.dss:2" in rejected[0].reason


def test_continued_lines_follow_their_element(tmp_path):
    """``~`` goes on with the last element, and is left out with it."""
    script = _script(
        tmp_path,
        "new circuit.c\n~ pu=1.05\nnew monitor.m\n~ element=line.a\nmore mode=1\n"
        "new line.a\n  ~ length=(2 3 *)\n",
    )
    assert _texts(script) == ["new circuit.c", "~ pu=1.05", "new line.a", "~ length=(2 3 *)"]
    assert [c.element for c in script.commands] == ["circuit.c"] * 2 + ["line.a"] * 2


def test_blocks_of_comment_and_short_words(tmp_path):
    """Block comments are skipped, verbs and options may be cut short, quoted names are names."""
    script = _script(
        tmp_path,
        '/* new circuit.no\nnew line.no\n*/\nNew "Circuit.Yes"\nSet VoltageB=[12.47, 0.4] maxiter=9\ncalcv\n'
        "Transformer.t.wdg=2 Tap=1.05\nSOLVE mode=daily loadmult=1.1\nset mode=snap\n",
    )
    assert _texts(script) == [
        "new circuit.yes",
        "set voltagebases=[12.47, 0.4]",
        "calcvoltagebases",
        "edit transformer.t wdg=2 tap=1.05",
        "set loadmult=1.1",
    ]


def test_clear_forgets_what_was_before(tmp_path):
    """After ``clear`` places, coordinates and notes are those of the new circuit."""
    (tmp_path / "xy.csv").write_text("a, 1, 2\nb 3 4\nheader, x, y\n")
    script = _script(
        tmp_path, "new circuit.a\nbuscoords xy.csv\nshow taps\nclear\nnew circuit.b\nsetbusxy bus=q x=5 y=6\n"
    )
    assert script.places == {"circuit.b": "m.dss:5", "vsource.source": "m.dss:5"}
    assert script.coordinates == {"q": (5.0, 6.0)}
    assert script.notes == []


def test_classes_left_out_are_told_once_with_a_count(tmp_path):
    """Meters, recorders and protection are counted in the notes."""
    told = sorted(c for c, fate in CLASSES.items() if fate is Fate.TOLD)
    script = _script(tmp_path, "".join(f"new {c}.x\nnew {c}.y\n" for c in told))
    assert _texts(script) == []
    assert len(script.notes) == len(told)
    assert all("2 times" in note for note in script.notes)
