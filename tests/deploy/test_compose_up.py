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


@contextlib.contextmanager
def plain_host(folder: Path, *files: str, **variables: str) -> Iterator[PlainHost]:
    """Yield a host with a fresh checkout's files in `folder`; nothing runs yet."""
    (folder / "deploy").mkdir(exist_ok=True)
    for name in files:
        (folder / name).write_bytes((ROOT / name).read_bytes())
    paths = (folder / name for name in files)
    # Short and open to the user that MariaDB runs as, which a test's own folder is not.
    with server_directory("compose") as directory:
        host = PlainHost(Composition.load(*paths, variables=variables), directory)
        try:
            yield host
        except BaseException as error:
            error.add_note(host.logs())
            raise
        finally:
            host.kill()


@contextlib.contextmanager
def panel_host(folder: Path, *files: str, **variables: str) -> Iterator[PlainHost]:
    """Yield the panel's host, its secrets made as the file's first lines say."""
    (folder / "sites").mkdir(parents=True)
    subprocess.run([ROOT / "deploy/make-secrets", "secrets"], cwd=folder, check=True)
    sites = str(folder / "sites")
    with plain_host(folder, "docker-compose.yml", *files, SITES=sites, **variables) as host:
        yield host


def up(host: PlainHost, workers: int = WORKERS) -> None:
    """Start what the panel's file has, with so many workers, and wait until all are healthy."""
    for name in ("panel", "coordinator"):
        host.up(name)
    if workers:
        host.up("worker", copies=workers)
    for name in {key.partition("-")[0] for key in host.daemons}:
        host.wait_until_healthy(name)


def add_admin(host: PlainHost) -> None:
    made = host.execute(
        *("panel", "env", f"DJANGO_SUPERUSER_PASSWORD={PASSWORD}", "python", "manage.py"),
        *("createsuperuser", "--noinput", "--email", EMAIL),
    )
    assert made.returncode == 0, made.stderr


def signed_in(host: PlainHost) -> Cluster:
    """Return a way to speak to the panel."""
    panel = Cluster(host.directory, "", "", port=host.ports["panel"])
    answer = panel.post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    assert answer.status == 200, answer
    panel.token = answer.body["access_token"]
    return panel


def add_site(panel: Cluster, path: Path, bundles: Path, node: str) -> int:
    """Add a new site and a folder as its storage; return the site's id."""
    storage = {"name": "here", "type": "local", "config": {"path": str(bundles)}}
    assert panel.post("/api/v1/storage/providers", {**storage, "is_default": True}).status == 201
    nodes = {one["name"]: one["id"] for one in panel.get("/api/v1/nodes/").body}
    site = {"path": str(make_sqlite_site(path)), "name": path.name, "node_id": nodes[node]}
    added = panel.post("/api/v1/sites/manual", site)
    assert added.status in (200, 201), added
    return int(added.body["id"])


def back_up(panel: Cluster, site: int, bundles: Path) -> None:
    assert panel.post(f"/api/v1/sites/{site}/backup/start").status == 202
    status = panel.wait_for_end(site)
    assert status["status"] == "completed", status
    [bundle] = bundles.rglob("*.tar.zst")
    listed = subprocess.run(["tar", "--zstd", "-tf", bundle], capture_output=True, text=True)
    assert "database.sql" in listed.stdout.splitlines()


def stop(host: PlainHost) -> None:
    """Stop everything, whoever depends on others first."""
    for key in reversed(list(host.daemons)):
        code, took = host.stop(key)
        assert code in CLEAN.get(key, {0}), f"{key} ended with {code} after {took:.1f} s"
    host.ended.clear()


def nobody_shows_a_secret(host: PlainHost) -> None:
    """Arguments are public, environments are inherited, and logs are copied to other hosts."""
    shown = {key: host.directory.joinpath(f"{key}.log").read_text() for key in host.daemons}
    for key, daemon in host.daemons.items():
        first = psutil.Process(daemon.pid)
        for process in (first, *first.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                shown[key] += f"{process.cmdline()} {process.environ()}"
    files = host.composition.services["worker"].secret_files
    for name, secret in ((name, file.read_text().strip()) for name, file in files.items()):
        assert [key for key, text in shown.items() if secret in text] == [], name


def test_a_backup_completes_and_all_end_in_good_order_when_compose_brings_them_up(
    tmp_path: Path,
) -> None:
    with panel_host(tmp_path / "panel") as host:
        up(host)
        add_admin(host)
        panel = signed_in(host)
        wait_until(
            lambda: [one["workers"] for one in panel.get("/api/v1/nodes/").body] == [WORKERS]
        )
        bundles = host.volume("bundles")
        site = add_site(panel, tmp_path / "panel/sites/shop", bundles, "local")
        back_up(panel, site, bundles)
        nobody_shows_a_secret(host)
        stop(host)
        # All of it once more, over the volumes of the first time: nothing is made twice or lost.
        up(host)
        assert signed_in(host).get(f"/api/v1/sites/{site}/backups").body["total"] == 1
        stop(host)


def test_another_host_joins_once_and_works_after_a_restart_without_a_token(tmp_path: Path) -> None:
    sites = tmp_path / "node/sites"
    sites.mkdir(parents=True)
    files = ("deploy/compose.open.yml",)
    with panel_host(tmp_path / "panel", *files, CLUSTER_ADDRESS="127.0.0.1") as host:
        up(host, workers=0)
        add_admin(host)
        panel = signed_in(host)
        invite = ("node", "token", "web-02", "--root", str(sites), "--quiet")
        token = host.execute("panel", "python", "manage.py", *invite)
        assert token.returncode == 0, token.stderr
        secret = tmp_path / "node/secrets/enrolment_token"
        secret.parent.mkdir()
        secret.write_text(token.stdout)
        variables = {"SITES": str(sites), "PANEL_URL": f"http://127.0.0.1:{panel.port}"}
        with plain_host(tmp_path / "node", "docker-compose.node.yml", **variables) as node:
            node.up("worker")
            node.wait_until_healthy("worker")
            secret.write_text("spent")
            stop(node)
            node.up("worker")
            node.wait_until_healthy("worker")
            bundles = tmp_path / "bundles"
            bundles.mkdir()
            back_up(panel, add_site(panel, sites / "shop", bundles, "web-02"), bundles)
            nobody_shows_a_secret(node)
            stop(node)
        stop(host)
