"""The rig: what a tab complains of and what axe sees."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from tests.servers.browser import AXE, OpenTab

pytestmark = pytest.mark.slow
BAD = """<!doctype html><html lang="en"><title>Bad</title><link rel="icon" href="data:,">
<img src="missing.png"><button></button>
<script>console.warn("odd"); console.log("fine"); fetch("/known");
setTimeout(() => { throw new Error("broken"); });</script>"""
GOOD = (
    '<!doctype html><html lang="en"><title>Good</title><link rel="icon" href="data:,"><p>Good</p>'
)


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a good and a bad page are served, and nothing else."""
    (tmp_path / "bad.html").write_text(BAD)
    (tmp_path / "good.html").write_text(GOOD)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_tab_complains_of_what_nobody_expected(address: str, open_tab: OpenTab) -> None:
    tab = open_tab(address)
    tab.expect(404, "/known")
    with tab.page.expect_event("pageerror"), tab.page.expect_response("**/known"):
        tab.open("/bad.html")
    missing, broken, odd = sorted(tab.complaints)
    assert missing == f"404: GET {address}/missing.png"
    assert broken == "exception: broken"
    assert odd.startswith(f"warning: odd ({address}/bad.html")
    found = tab.violations()
    assert sorted(one.split(":")[0] for one in found) == [
        "/bad.html light button-name",
        "/bad.html light image-alt",
    ]
    tab.complaints.clear()
    assert tab.open("/good.html").inner_text("p") == "Good"
    assert tab.violations() == []


def test_lock_names_no_registry() -> None:
    assert '"resolved"' not in (AXE / "package-lock.json").read_text()
