"""What the stories of the console share: a demo in a process of its own, and a real browser."""

import re
import shutil
import socket
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest

_ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def demo():
    """A context in which a demo runs in a folder; it gives its console's address."""

    @contextmanager
    def running(folder, ders=400):
        port = _free_port()
        command = [sys.executable, "-c", "from gridflock.console import main; main()"]
        command += ["demo", "--port", str(port), "--data", str(folder), "--ders", str(ders), "--speed", "20"]
        log = folder / "demo.log"
        with (
            log.open("w") as out,
            subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT) as process,
        ):
            try:
                for _ in range(1_200):
                    found = re.search(r"http://127\.0\.0\.1:\d+/#token=\S+", log.read_text())
                    if found and " pu" in log.read_text():
                        break
                    assert process.poll() is None, log.read_text()
                    time.sleep(0.1)
                else:
                    pytest.fail(f"no address after 120 s: {log.read_text()}")
                yield found.group()
            finally:
                process.terminate()
                process.wait(30)

    return running


@pytest.fixture(scope="module")
def browser(require):
    """A Chromium; closed with the module, because other tests need the thread's event loop for themselves."""
    require("a Chromium browser", _CHROMIUM)
    from playwright.sync_api import sync_playwright

    with sync_playwright() as tools:
        found = tools.chromium.launch(executable_path=_CHROMIUM, args=list(_ARGUMENTS))
        yield found
        found.close()
