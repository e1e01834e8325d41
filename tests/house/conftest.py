"""The house as the tests read it: every source file parsed once, and the tracked files."""

import ast
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


@dataclass(frozen=True)
class Module:
    """A parsed Python file.

    Attributes:
        name: path from the project root.
        text: source.
        tree: syntax tree.
    """

    name: str
    text: str
    tree: ast.Module

    def definitions(self):
        """Every function and class with its qualified name, nested ones included."""

        def below(node, prefix):
            for child in ast.iter_child_nodes(node):
                if isinstance(child, _DEFINITIONS):
                    yield f"{prefix}{child.name}", child
                    yield from below(child, f"{prefix}{child.name}.")
                else:
                    yield from below(child, prefix)

        return list(below(self.tree, ""))


def _parsed(folder):
    files = sorted((ROOT / folder).rglob("*.py"))
    texts = {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in files}
    return [Module(name, text, ast.parse(text, name)) for name, text in texts.items()]


@pytest.fixture(scope="session")
def root():
    """The project root."""
    return ROOT


@pytest.fixture(scope="session")
def product():
    """Every module under ``src``."""
    return _parsed("src")


@pytest.fixture(scope="session")
def suite():
    """Every module under ``tests``."""
    return _parsed("tests")


@pytest.fixture(scope="session")
def pages():
    """Every Markdown page of the project by its path from the root."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    return {str(file.relative_to(ROOT)): file.read_text("utf-8") for file in sorted(files)}


@pytest.fixture(scope="session")
def tracked(require):
    """Paths of all files under version control, from the project root."""
    require("a git checkout", (ROOT / ".git").exists())
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
