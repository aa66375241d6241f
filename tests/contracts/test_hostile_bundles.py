"""Whoever owns the storage and the catalogue harms no site: a whole cluster says what is wrong."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.contracts.hostile_bundles import Case, Forger, all_cases
from tests.servers import wait_until
from tests.servers.cluster import Cluster
from tests.workers.engine.bundle.trees import describe
from tests.workers.stages.pipeline import make_sqlite_site

pytestmark = pytest.mark.slow

KINDS = ("in_place", "copy", "verify")
# Where something was made and removed again: a scratch file beside the live one, and copies.
OTHER_TIMES = {b"sites", b"sites/site/wp-content/database"}


@dataclass
class Arena:
    """A site, what lies beside it, and a catalogue that somebody else can write to."""

    cluster: Cluster
    folder: Path
    site: int
    backup: int
    bundle: Path
    forger: Forger
    before: dict[bytes, tuple[object, ...]] = field(default_factory=dict)
    rows: list[tuple[str, ...]] = field(default_factory=list)

    @property
    def live(self) -> Path:
        return self.folder / "sites" / "site" / "wp-content" / "database" / ".ht.sqlite"

    def look(self) -> None:
        """Remember what everything is now."""
        self.before, self.rows = self.now(), self.read()

    def now(self) -> dict[bytes, tuple[object, ...]]:
        found = describe(self.folder)
        return {path: value for path, value in found.items() if not path.startswith(b"store")}

    def read(self) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(f"file:{self.live}?mode=ro", uri=True)) as connection:
            return list(connection.execute("SELECT * FROM wp_options"))

    def plant(self, case: Case, *, notes_manifest: bool = False) -> int:
        """Store a bundle and a row of the catalogue that fits it; return the backup's id."""
        name = hashlib.sha256(case.name.encode()).hexdigest()[:12]
        planted = self.bundle.with_name(f"{name}.tar.zst")
        planted.write_bytes(case.data)
        with closing(sqlite3.connect(self.panel, timeout=30)) as panel, panel:
            panel.row_factory = sqlite3.Row
            [row] = panel.execute("SELECT * FROM backups_backup WHERE id = ?", (self.backup,))
            changes: dict[str, Any] = {
                "id": None,
                "job_id": None,
                "object_key": str(planted.relative_to(self.folder / "store")),
                "size_bytes": len(case.data) if case.size is None else case.size,
                "sha256": case.sha256 or hashlib.sha256(case.data).hexdigest(),
            }
            if not notes_manifest:
                # As of backups from before that was noted: else it would be all that is seen.
                changes["facts"] = json.dumps({})
            made = {**dict(row), **changes}
            names, marks = ", ".join(made), ", ".join("?" * len(made))
            insert = f"INSERT INTO backups_backup ({names}) VALUES ({marks})"
            return int(panel.execute(insert, list(made.values())).lastrowid or 0)

    @property
    def panel(self) -> str:
        return self.cluster.database_url.removeprefix("sqlite:///")

    def begin(self, kind: str, backup: int, **body: Any) -> str:
        address = f"/api/v1/backups/{backup}/verify"
        if kind != "verify":
            address = f"/api/v1/sites/{self.site}/restore"
            body = {"backup_id": backup, "target": kind, "checkpoint": False, **body}
        answer = self.cluster.post(address, body)
        assert answer.status == 202, answer
        return str(answer.body["job_id"])

    def ended(self, job_id: str) -> dict[str, Any]:
        job: dict[str, Any] = {}

        def is_over() -> bool:
            job.update(self.cluster.get(f"/api/v1/jobs/{job_id}").body)
            return bool(job["status"] != "running")

        wait_until(is_over, 120, f"job {job_id} ends")
        return job

    def assert_unharmed(self) -> None:
        spool = self.cluster.spool
        wait_until(lambda: not any(spool.glob("*-*-*-*-*")), 60, "nothing of a job is left")
        now = self.now()
        changed = {path for path in {*now, *self.before} if now.get(path) != self.before.get(path)}
        assert changed <= OTHER_TIMES
        assert all(now[path][:3] == self.before[path][:3] for path in changed)
        assert sorted(now) == sorted(self.before)
        assert self.read() == self.rows


@pytest.fixture(scope="module")
def arena(sqlite_cluster: Cluster) -> Iterator[Arena]:
    cluster = sqlite_cluster
    folder = cluster.directory / "arena"
    path = make_sqlite_site(folder / "sites" / "site")
    (folder / "outside").mkdir()
    (folder / "outside" / "secret").write_text("secret")
    (folder / "store").mkdir()
    store = {"type": "local", "config": {"path": str(folder / "store")}, "name": "arena"}
    assert cluster.post("/api/v1/storage/providers", {**store, "is_default": True}).status == 201
    added = cluster.post("/api/v1/sites/manual", {"path": str(path), "name": "arena.example.com"})
    site = int(added.body["id"])
    assert cluster.post(f"/api/v1/sites/{site}/backup/start").status == 202
    assert cluster.wait_for_end(site)["status"] == "completed"
    [backup] = cluster.get(f"/api/v1/sites/{site}/backups").body["backups"]
    pin = cluster.post(f"/api/v1/backups/{backup['id']}/pin", {"note": "for the copies of its row"})
    assert pin.status == 200, pin
    [bundle] = (folder / "store").rglob("*.tar.zst")
    forger = Forger(bundle, folder / "outside")
    yield Arena(cluster, folder, site, backup["id"], bundle, forger)


def assert_refused(job: dict[str, Any], case: Case) -> None:
    told = (case.name, job["kind"], job["error_code"], job["error"])
    assert job["status"] == "failed", told
    assert job["error_code"] in case.codes, told
    assert case.words in job["error"], told
    # What is wrong, in one sentence, and in the next what to do.
    assert job["error_message"] and job["error_hint"], told
    assert job["attempts"] == 0, told


def test_a_forged_bundle_is_restored_and_proven_when_nothing_in_it_lies(arena: Arena) -> None:
    """So what is refused below is refused for what it lies about."""
    backup = arena.plant(Case("honest", arena.forger.craft()))
    jobs = [arena.ended(arena.begin(kind, backup)) for kind in KINDS]
    assert [job["status"] for job in jobs] == ["completed"] * 3, [job["error"] for job in jobs]
    content = arena.folder / "sites" / "site" / "wp-content"
    assert (content / "good.php").read_text() == "hello"


def test_every_hostile_bundle_is_named_and_harms_nothing(arena: Arena) -> None:
    cases = all_cases(arena.forger)
    assert len({case.name for case in cases}) == len(cases)
    planted = [(case, arena.plant(case)) for case in cases]
    arena.look()
    # Copies and proofs leave the site to others, and wait in the queue together.
    begun = [
        (case, arena.begin(kind, backup, **_copy_of(kind, arena, backup)))
        for number, (case, backup) in enumerate(planted)
        if (kind := _turn_of(case, number)) != "in_place"
    ]
    for number, (case, backup) in enumerate(planted):
        if _turn_of(case, number) == "in_place" or case.is_of_files:
            assert_refused(arena.ended(arena.begin("in_place", backup)), case)
    for case, job_id in begun:
        assert_refused(arena.ended(job_id), case)
    arena.assert_unharmed()
    # And the worker goes on with the next.
    assert arena.ended(arena.begin("verify", arena.backup))["status"] == "completed"


def _turn_of(case: Case, number: int) -> str:
    """Return the kind of job that meets a bundle: all three open it with the same code."""
    kinds = case.only if not case.is_of_files else ("copy", "verify")
    return kinds[number % len(kinds)]


def _copy_of(kind: str, arena: Arena, backup: int) -> dict[str, Any]:
    path = arena.folder / "sites" / f"copy-{backup}"
    return {"target_path": str(path)} if kind == "copy" else {}


def test_a_part_is_refused_when_the_bundle_is_not_the_one_that_was_stored(arena: Arena) -> None:
    """Nobody reads all of it for one file, and its size is the right one."""
    case = Case("exchanged", arena.forger.craft(), sha256="0" * 64)
    backup = arena.plant(case, notes_manifest=True)
    arena.look()
    body = {"what": "files", "paths": ["wp-content/good.php"]}
    job = arena.ended(arena.begin("in_place", backup, **body))
    assert (job["error_code"], job["status"]) == ("bundle_damaged", "failed")
    assert "another manifest" in job["error"]
    for name in ("contents?path=wp-content", "file?path=wp-content/good.php", "tables"):
        answer = arena.cluster.get(f"/api/v1/backups/{backup}/{name}")
        assert answer.status in (409, 422), answer
        assert "another manifest" in answer.body["detail"]
    arena.assert_unharmed()
