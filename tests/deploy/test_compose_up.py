"""`docker compose up` as plain processes: a backup through what the files say, word by word."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.deploy.composition import Composition
from tests.deploy.plain_host import PlainHost
from tests.servers import server_directory, wait_until
from tests.servers.cluster import EMAIL, PASSWORD, Cluster
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
WORKERS = 3
# uvicorn ends in good order and then by the signal it got, as a shell expects.
CLEAN = {"panel": {0, -signal.SIGTERM, 128 + signal.SIGTERM}}


@pytest.fixture
def host(tmp_path: Path) -> Iterator[PlainHost]:
    """A host with a fresh checkout's files, the secrets made as the file's first lines say."""
    (tmp_path / "docker-compose.yml").write_bytes((ROOT / "docker-compose.yml").read_bytes())
    subprocess.run([ROOT / "deploy/make-secrets", "secrets"], cwd=tmp_path, check=True)
    (tmp_path / "sites").mkdir()
    composition = Composition.load(
        tmp_path / "docker-compose.yml", variables={"SITES": str(tmp_path / "sites")}
    )
    # Short and open to the user that MariaDB runs as, which a test's own folder is not.
    with server_directory("compose") as directory:
        host = PlainHost(composition, directory)
        try:
            yield host
        except BaseException as error:
            error.add_note(host.logs())
            raise
        finally:
            host.kill()


def up(host: PlainHost) -> Cluster:
    """Start everything; return a way to speak to the panel."""
    for name in ("panel", "coordinator"):
        host.up(name)
    host.up("worker", copies=WORKERS)
    for name in host.composition.services:
        if name != "migrate":
            host.wait_until_healthy(name)
    return Cluster(host.directory, "", "", port=host.ports["panel"])


def sign_in(panel: Cluster) -> None:
    answer = panel.post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert answer.status == 200, answer
    panel.token = answer.body["access_token"]


def stop(host: PlainHost) -> None:
    """Stop everything, whoever depends on others first."""
    for key in reversed(list(host.daemons)):
        code, took = host.stop(key)
        assert code in CLEAN.get(key, {0}), f"{key} ended with {code} after {took:.1f} s"


def nobody_shows_a_secret(host: PlainHost) -> None:
    """Arguments are public, environments are inherited, and logs are copied to other hosts."""
    shown = {key: host.directory.joinpath(f"{key}.log").read_text() for key in host.daemons}
    for key, daemon in host.daemons.items():
        first = psutil.Process(daemon.pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                shown[key] += f"{process.cmdline()} {process.environ()}"
    for name, file in host.composition.services["mariadb"].secret_files.items():
        secret = file.read_text()
        assert [key for key, text in shown.items() if secret in text] == [], name


def test_a_backup_completes_and_all_end_in_good_order_when_compose_brings_them_up(
    host: PlainHost,
) -> None:
    panel = up(host)
    made = host.execute(
        *("panel", "env", f"DJANGO_SUPERUSER_PASSWORD={PASSWORD}", "python", "manage.py"),
        *("createsuperuser", "--noinput", "--email", EMAIL),
    )
    assert made.returncode == 0, made.stderr
    sign_in(panel)
    storage = {"path": str(host.volume("bundles"))}
    provider = {"name": "here", "type": "local", "is_default": True, "config": storage}
    assert panel.post("/api/v1/storage/providers", provider).status == 201
    path = make_sqlite_site(Path(host.composition.services["worker"].volumes["/sites"]) / "shop")
    added = panel.post("/api/v1/sites/manual", {"path": str(path), "name": "shop"})
    assert added.status in (200, 201), added

    wait_until(lambda: [one["workers"] for one in panel.get("/api/v1/nodes/").body] == [WORKERS])
    site = added.body["id"]
    assert panel.post(f"/api/v1/sites/{site}/backup/start").status == 202
    status = panel.wait_for_end(site)
    assert status["status"] == "completed", status
    [bundle] = host.volume("bundles").rglob("*.tar.zst")
    listed = subprocess.run(["tar", "--zstd", "-tf", bundle], capture_output=True, text=True)
    assert "database.sql" in listed.stdout.splitlines()

    nobody_shows_a_secret(host)
    stop(host)
    # All of it once more, over the volumes of the first time: nothing is made twice or lost.
    host.ended.clear()
    panel = up(host)
    sign_in(panel)
    assert panel.get(f"/api/v1/sites/{site}/backups").body["total"] == 1
    stop(host)
