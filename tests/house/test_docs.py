"""The docs are executed: code runs, commands parse, paths and names exist, links lead somewhere."""

import contextlib
import importlib
import re
import shlex
from pathlib import Path

import pytest
import typer
from sybil import Sybil
from sybil.parsers.markdown import PythonCodeBlockParser

from gridflock.console._cli import app as commands

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(str(f.relative_to(ROOT)) for f in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXECUTED = [name for name in PAGES if "```python" in (ROOT / name).read_text("utf-8")]
CHECKED = [name for name in PAGES if name != "CHANGELOG.md"]
"""The changelog tells of the past, where names may have gone."""

STRICT = ("ARCHITECTURE.md", "CONVENTIONS.md", "docs/dev/README.md")
"""Here every path is one of the project."""

BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)#\s]+)(?:#[^)]*)?\)")
TREE_MARKS = re.compile(r"[│├└─\s]+")
IS_FILE = re.compile(r"[\w.{}*/-]*\w\.(?:py|md|toml|json|lock|html)|Makefile|LICENSE")
IS_FOLDER = re.compile(r"[\w./-]+/")
IS_NAME = re.compile(r"(?:gridflock\.)?([a-z_]+)((?:\.\w+)+)(?:\(.*\))?")
PLACES = ("", "src/gridflock", "tests", "docs")
"""Where a path in the docs may begin."""


def _code(text):
    """Every piece of code in a page: lines of its blocks, and its inline spans."""
    lines = [line.strip() for _, body in BLOCK.findall(text) for line in body.splitlines()]
    return lines + SPAN.findall(BLOCK.sub("", text))


def _spoken(text, program):
    """Calls of a program in a page, comments and prompts taken off."""
    calls = [re.sub(r"^\$ |^uv run ", "", piece).split("  #")[0].strip() for piece in _code(text)]
    return [call for call in calls if call.startswith(f"{program} ")]


def _parse(words):
    """Let the command line parse words without running them."""
    command, context = typer.main.get_command(commands), None
    while hasattr(command, "commands"):
        context = command.make_context(command.name, words[:1], parent=context)
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words, parent=context)


def _exists(path):
    return any((ROOT / place / path).exists() for place in PLACES)


def _ours(page, path):
    """Whether a path on a page means the project; others also draw data folders and what commands leave."""
    first = path.split("/")[0]
    return page in STRICT or (first != "out" and _exists(first) and "/" in path.rstrip("/"))


@pytest.mark.timeout(400)
@pytest.mark.parametrize("page", EXECUTED)
def test_python_examples_run(page, tmp_path, monkeypatch):
    """The Python blocks of a page run from top to bottom, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    for example in Sybil([PythonCodeBlockParser()]).parse(ROOT / page).examples():
        example.evaluate()


@pytest.mark.parametrize("page", PAGES)
def test_commands_parse(page):
    """Every ``gridflock …`` is a command with options that exist; every ``make …`` is a target."""
    text = (ROOT / page).read_text("utf-8")
    for call in _spoken(text, "gridflock"):
        words = shlex.split(call)[1:]
        if "…" not in words:
            _parse(words)
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert {call.split()[1] for call in _spoken(text, "make")} <= set(targets)


def test_make_calls_commands_that_exist():
    """What a target of the Makefile runs as ``gridflock …`` is a command."""
    called = set(re.findall(r"/gridflock (\w+)", (ROOT / "Makefile").read_text("utf-8")))
    assert called <= typer.main.get_command(commands).commands.keys()


@pytest.mark.parametrize("page", CHECKED)
def test_paths_exist(page):
    """Every file and folder that a page names in code is there."""
    text = (ROOT / page).read_text("utf-8")
    words = [word for piece in _code(text) for word in TREE_MARKS.sub(" ", piece).split()[:1]]
    named = {word for word in words if IS_FILE.fullmatch(word) or IS_FOLDER.fullmatch(word)}
    assert not {path for path in named if _ours(page, path) and not _exists(path)}


@pytest.mark.parametrize("page", CHECKED)
def test_names_resolve(page):
    """A dotted name whose first part is one of our packages is something one can import."""
    packages = {path.stem for path in (ROOT / "src/gridflock").iterdir() if not path.name.startswith("_")}
    lost = []
    for span in SPAN.findall(BLOCK.sub("", (ROOT / page).read_text("utf-8"))):
        found = IS_NAME.fullmatch(span)
        if found and found[1] in packages and not IS_FILE.fullmatch(span):
            path = f"gridflock.{found[1]}"
            thing = importlib.import_module(path)
            for part in found[2].split(".")[1:]:
                path = f"{path}.{part}"
                with contextlib.suppress(ModuleNotFoundError):  # a room of the package, or a name in it
                    importlib.import_module(path)
                thing = getattr(thing, part, None) or getattr(thing, "__dataclass_fields__", {}).get(part)
            lost += [] if thing else [span]
    assert not lost


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    """A relative link points at a file of the project."""
    links = LINK.findall((ROOT / page).read_text("utf-8"))
    here = (ROOT / page).parent
    assert not [link for link in links if "://" not in link and not (here / link).exists()]


def test_the_index_knows_every_page(pages):
    """Every page under docs is linked from docs/index.md."""
    linked = set(LINK.findall(pages["docs/index.md"]))
    assert (
        not {name for name in pages if name.startswith("docs/")}
        - {f"docs/{n}" for n in linked}
        - {"docs/index.md"}
    )


def test_the_architecture_names_every_package(pages):
    """Whoever adds a package or a test folder adds it to the story."""
    text = pages["ARCHITECTURE.md"]
    folders = [f.name for place in ("src/gridflock", "tests") for f in (ROOT / place).iterdir() if f.is_dir()]
    assert not [name for name in folders if not name.startswith("_") and f"{name}/" not in text]


def test_every_cited_law_exists(product, suite, pages):
    """``CONVENTIONS §n`` in code, tests and docs names a law, and the laws are numbered without gaps."""
    laws = [int(n) for n in re.findall(r"^## §(\d+) ", pages["CONVENTIONS.md"], re.MULTILINE)]
    assert laws == list(range(1, len(laws) + 1))
    texts = [m.text for m in product + suite] + list(pages.values())
    cited = {int(n) for text in texts for n in re.findall(r"CONVENTIONS §(\d+)", text)}
    assert cited <= set(laws)
