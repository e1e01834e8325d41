"""Every dependency says what it is for, and nothing is explained that is not used."""

import re
import tomllib

NAME = re.compile(r"[A-Za-z0-9_.-]+")


def _name(requirement):
    return NAME.match(requirement)[0].lower()


def _explained(page, heading):
    """Names at the head of the table rows below a heading."""
    section = page.split(f"## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `([\w.-]+)` \|", section, re.MULTILINE))


def test_every_dependency_is_explained(root, pages):
    """docs/dependencies.md has one line for each requirement of pyproject.toml, and no other."""
    declared = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    extras = declared["project"]["optional-dependencies"].values()
    groups = declared["dependency-groups"].values()
    wanted = {
        "Run time": {_name(r) for r in declared["project"]["dependencies"]},
        "Extras": {_name(r) for extra in extras for r in extra},
        "Development": {_name(r) for group in groups for r in group} - {"gridflock"},
        "Build": {_name(r) for r in declared["build-system"]["requires"]},
    }
    page = pages["docs/dependencies.md"]
    assert {heading: _explained(page, heading) for heading in wanted} == wanted


def test_every_extra_is_named(root, pages):
    """The name under which an extra is installed stands beside what it brings."""
    declared = tomllib.loads((root / "pyproject.toml").read_text("utf-8"))
    page = pages["docs/dependencies.md"]
    assert not [e for e in declared["project"]["optional-dependencies"] if f"gridflock[{e}]" not in page]
