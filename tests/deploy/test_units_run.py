"""What runs is what the units say: each ExecStart= as a plain process, and a stop as systemd's.

The folders of an installation become those of this checkout and of this test, and ports free ones.
Database and broker are those of the Compose file, since units leave both to the distribution.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from tests.deploy.composition import Composition
from tests.deploy.plain_host import PlainHost
from tests.deploy.units import INSTALLED, ROOT, Unit, read_units
from tests.servers import Daemon, server_directory, wait_until
from tests.servers.cluster import EMAIL, PASSWORD, Cluster

pytestmark = pytest.mark.slow

SLOW_DUMP = """#!/bin/sh
case "$*" in *--version*|*--help*) ;; *) sleep 3 ;; esac
exec {program} "$@"
"""


@dataclass
class SystemdHost:
    """A host with the units installed, as far as plain processes can be it."""

    servers: PlainHost
    directory: Path
    units: dict[str, Unit] = field(default_factory=read_units)
    daemons: dict[str, Daemon] = field(default_factory=dict)

    @property
    def programs(self) -> Path:
        """What comes first in the PATH."""
        return self.directory / "programs"

    def rewritten(self, text: str) -> str:
        places = {
            f"{INSTALLED}/.venv/bin/python": sys.executable,
            INSTALLED: str(ROOT),
            "/etc/holdfast": str(self.directory / "etc"),
            "/var/lib/holdfast": str(self.directory / "lib"),
            "10.0.0.1": "127.0.0.1",
        }
        for place, ours in places.items():
            text = text.replace(place, ours)
        ports = {"3306": "mariadb", "6379": "redis", "8000": "panel"}
        for port, name in ports.items():
            text = text.replace(f":{port}", f":{self.servers.ports[name]}")
            text = text.replace(f"--port {port}", f"--port {self.servers.ports[name]}")
        return text

    def install(self) -> None:
        """Put the settings where the units look for them, other hosts let in."""
        for folder in ("etc/secrets", "lib", "programs"):
            (self.directory / folder).mkdir(parents=True)
        argv = [ROOT / "deploy/make-secrets", self.directory / "etc/secrets"]
        subprocess.run(argv, check=True)
        settings = (ROOT / "deploy/holdfast.env").read_text().replace("#HOLDFAST", "HOLDFAST")
        # No proxy ends HTTPS here: who comes by HTTP would only be sent there.
        assert "HOLDFAST_HTTPS_REDIRECT=true" in settings
        settings = settings.replace("HTTPS_REDIRECT=true", "HTTPS_REDIRECT=false")
        (self.directory / "etc/holdfast.env").write_text(self.rewritten(settings))

    def environment(self, unit: Unit) -> dict[str, str]:
        environment = {name: self.rewritten(text) for name, text in unit.environment.items()}
        for name in unit.all("Service.EnvironmentFile"):
            lines = Path(self.rewritten(name)).read_text().splitlines()
            environment |= dict(line.split("=", 1) for line in lines if not line.startswith("#"))
        path = f"{self.programs}:{self.servers.path}"
        return {**environment, "PATH": path, "HOME": str(self.directory)}

    def argv(self, unit: Unit, setting: str) -> list[str]:
        """Return a command of the unit so that it sees the unit's environment and nothing else."""
        words = self.rewritten("\0".join(unit.command(f"Service.{setting}")).replace("\0", "\1"))
        words = words.replace(
            "\1" + "--port\1" + "8000", f"\1--port\1{self.servers.ports['panel']}"
        )
        pairs = (f"{name}={value}" for name, value in self.environment(unit).items())
        return ["env", "-i", *pairs, *words.split("\1")]

    def run(self, name: str, setting: str = "ExecStart") -> int:
        """Run a command of a unit that ends by itself; return its exit code."""
        log = (self.directory / f"{name}-{setting}.log").open("ab")
        argv = self.argv(self.units[name], setting)
        return subprocess.run(argv, cwd=ROOT, stdout=log, stderr=log, timeout=120).returncode

    def start(self, name: str) -> Daemon:
        log = self.directory / f"{name}.log"
        daemon = Daemon(self.argv(self.units[name], "ExecStart"), log=log, cwd=ROOT)
        daemon.start(lambda: True)
        self.daemons[name] = daemon
        return daemon

    def manage(self, *arguments: str, given: str = "") -> str:
        """Run a management command as `deploy/manage` does; return what it says."""
        settings = {"HOLDFAST_SETTINGS": str(self.directory / "etc/holdfast.env")}
        script = (ROOT / "deploy/manage").read_text().replace(".venv/bin/python", sys.executable)
        placed = ROOT / "deploy/manage"
        done = subprocess.run(
            ["sh", "-c", script, str(placed), *arguments],
            env={"PATH": self.servers.path, "DJANGO_SUPERUSER_PASSWORD": PASSWORD, **settings},
            input=given,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def stop(self, name: str) -> int:
        """Do what systemd does for KillMode=control-group; return the main process's exit code.

        First ExecStop= to its end, if there is one, then TERM to every process of the unit.
        """
        unit, daemon = self.units[name], self.daemons.pop(name)
        processes = [psutil.Process(daemon.pid)]
        processes += processes[0].children(recursive=True)
        if unit.all("Service.ExecStop"):
            argv = [*self.argv(unit, "ExecStop")]
            argv.insert(2, f"MAINPID={daemon.pid}")
            with subprocess.Popen(argv) as stopping:
                # Its end is collected at once, as systemd does; else it would still seem to live.
                wait_until(
                    lambda: not daemon.alive and stopping.poll() is not None,
                    unit.stop_seconds,
                    f"ExecStop= of {name} ended",
                )
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGTERM)
        wait_until(lambda: not daemon.alive, unit.stop_seconds, f"{name} ended")
        code = daemon.exit_code
        assert code is not None
        daemon.kill()
        return code

    def logs(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text()[-6000:]}" for log in logs)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[SystemdHost]:
    """A host with its settings and its servers; nothing of ours runs yet."""
    (tmp_path / "docker-compose.yml").write_bytes((ROOT / "docker-compose.yml").read_bytes())
    composition = Composition.load(
        tmp_path / "docker-compose.yml", variables={"SITES": str(tmp_path / "sites")}
    )
    with server_directory("systemd") as directory:
        servers = PlainHost(composition, directory)
        host = SystemdHost(servers, tmp_path / "host")
        try:
            host.install()
            (tmp_path / "secrets").symlink_to(host.directory / "etc/secrets")
            for name in ("mariadb", "redis"):
                servers.up(name)
                servers.wait_until_healthy(name)
            yield host
        except BaseException as error:
            error.add_note(host.logs())
            raise
        finally:
            for daemon in host.daemons.values():
                daemon.kill()
            servers.kill()


def make_site(host: SystemdHost, folder: Path) -> Path:
    """Make a site whose database is in MariaDB, and its dump slow enough to be stopped in it."""
    socket = host.servers.volume("mariadb") / "s"
    secrets = host.directory / "etc/secrets"
    sql = (
        "CREATE DATABASE shop; CREATE TABLE shop.wp_options (option_name TEXT, option_value TEXT);"
        "INSERT INTO shop.wp_options VALUES ('siteurl', 'http://shop.example.com');"
        "GRANT ALL ON shop.* TO holdfast@'%';"
    )
    subprocess.run(
        ["mariadb", "--no-defaults", f"--socket={socket}", "--user=root", f"--execute={sql}"],
        env={**os.environ, "MYSQL_PWD": (secrets / "database_root_password").read_text()},
        check=True,
    )
    (folder / "wp-content").mkdir(parents=True)
    (folder / "wp-content/index.php").write_text("<?php\n")
    defined = {
        "DB_NAME": "shop",
        "DB_USER": "holdfast",
        "DB_PASSWORD": (secrets / "database_password").read_text(),
        "DB_HOST": f"127.0.0.1:{host.servers.ports['mariadb']}",
    }
    lines = (f"define( '{name}', '{value}' );\n" for name, value in defined.items())
    (folder / "wp-config.php").write_text(f"<?php\n{''.join(lines)}$table_prefix = 'wp_';\n")
    program = shutil.which("mariadb-dump")
    assert program, "mariadb-dump is not installed: run `make test`, which installs it"
    wrapper = host.programs / "mariadb-dump"
    wrapper.write_text(SLOW_DUMP.format(program=program))
    wrapper.chmod(0o755)
    return folder


def is_dumping(worker: Daemon) -> bool:
    found = psutil.Process(worker.pid).children(recursive=True)
    return any(one.name() == "sleep" for one in found if one.is_running())


def test_a_stop_of_the_worker_lets_a_stage_end_and_nothing_fails(
    host: SystemdHost, tmp_path: Path
) -> None:
    assert host.run("panel", "ExecStartPre") != 0, "the schema is not there yet"
    assert host.run("migrate") == 0
    assert host.run("panel", "ExecStartPre") == 0
    host.start("panel")
    host.start("coordinator")
    host.manage("createsuperuser", "--noinput", "--email", EMAIL)
    panel = Cluster(host.directory, "", "", port=host.servers.ports["panel"])
    wait_until(lambda: host.servers.is_healthy("panel"), 60, "the panel answers")
    answer = panel.post("/api/auth/login", {"email": EMAIL, "password": PASSWORD})
    panel.token = answer.body["access_token"]

    sites = tmp_path / "sites"
    token = host.manage("node", "token", "web-01", "--root", str(sites), "--quiet")
    site = make_site(host, sites / "shop")
    host.manage(
        *("node", "join", "--panel", f"http://127.0.0.1:{panel.port}", "--token", "-"),
        *("--file", str(host.directory / "etc/node.env")),
        given=token,
    )
    worker = host.start("worker")
    wait_until(lambda: panel.get("/api/v1/nodes/").body[0]["workers"] == 1, 60, "a worker")
    bundles = tmp_path / "bundles"
    bundles.mkdir()
    storage = {"name": "here", "type": "local", "config": {"path": str(bundles)}}
    assert panel.post("/api/v1/storage/providers", {**storage, "is_default": True}).status == 201
    added = panel.post("/api/v1/sites/manual", {"path": str(site), "name": "shop"})
    assert added.status in (200, 201), added
    started = panel.post(f"/api/v1/sites/{added.body['id']}/backup/start")
    assert started.status == 202, started

    wait_until(lambda: is_dumping(worker), 60, "a dump runs")
    assert host.stop("worker") == 0
    job = panel.get(f"/api/v1/sites/{added.body['id']}/backup/status").body
    assert {one["name"]: one["status"] for one in job["stages"]}["backup_db"] == "completed", job
    host.start("worker")
    assert panel.wait_for_end(added.body["id"])["status"] == "completed"
    log = panel.get(f"/api/v1/sites/{added.body['id']}/backup/logs").body
    assert [line for line in log["logs"] if line["level"] != "info"] == []
    assert {name: host.stop(name) for name in ("worker", "coordinator")} == {
        "worker": 0,
        "coordinator": 0,
    }
