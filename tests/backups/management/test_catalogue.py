"""`manage.py catalogue rebuild`: rows from bundles alone, and everything that may be odd there."""

from __future__ import annotations

import io
import json
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models.functions import Now

from backups import registry
from backups.actions import pausing, schedules
from backups.actions.found_bundles import parse_key, survey
from backups.models import AuditEntry, Backup, BackupStatus, Job, Node, Site, Storage
from backups.models.rules import MOST_COPIES
from backups.queries import node_of_backup, sites_due, why_waiting
from backups.queries.retention import retention_plan
from backups.registry import PIPELINES, open_bundle, open_store
from backups.states import JobKind
from tests.servers.age import KeyPair, make_key
from tests.servers.moto import S3Server
from tests.workers.factories import dispatched_job, make_site
from workers.engine.errors import EngineError
from workers.engine.stores.base import StoredObject
from workers.runner import run_stage
from workers.stages import create_bundle

pytestmark = pytest.mark.django_db(transaction=True)

SAME_OF_SITE = ("uuid", "name", "url", "wp_path", "wp_config_path", "db_engine", "db_name",
                "db_host", "db_port", "excludes", "time_zone", "newest_key_at", "backup_count",
                "storage_used_bytes")  # fmt: skip
SAME_OF_BACKUP = ("object_key", "size_bytes", "sha256", "status", "backup_type", "is_suspect",
                  "encrypted_to")  # fmt: skip


@pytest.fixture(autouse=True)
def spool(tmp_path: Path, settings: Any) -> None:
    settings.HOLDFAST_SPOOL_DIRECTORY = tmp_path / "spool"


def back_up(site: Site) -> Backup:
    job = dispatched_job(site)
    for stage in PIPELINES[JobKind.BACKUP]:
        assert run_stage(stage, job_id=str(job.pk), epoch=1, worker="worker@host"), stage
    return Backup.objects.get(job=job)


def lose_the_database() -> None:
    for model in (Backup, Job, Site, Storage, Node):
        model.objects.all().delete()


def add_storage(tmp_path: Path, name: str = "folder") -> Storage:
    config = {"path": str(tmp_path / "store")}
    return Storage.objects.create(name=name, type="local", config=config, is_default=True)


def rebuild(*arguments: str, code: int = 0) -> dict[str, Any]:
    written = io.StringIO()
    if code:
        with pytest.raises(SystemExit) as ended:
            call_command("catalogue", "rebuild", "--json", *arguments, stdout=written)
        assert ended.value.code == code
    else:
        call_command("catalogue", "rebuild", "--json", *arguments, stdout=written)
    said: dict[str, Any] = json.loads(written.getvalue())
    return said


def said_by(*arguments: str) -> str:
    written = io.StringIO()
    call_command("catalogue", "rebuild", *arguments, stdout=written)
    return written.getvalue()


def values(row: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def config_file(tmp_path: Path, said: object) -> str:
    file = tmp_path / "storage.json"
    file.write_text(said if isinstance(said, str) else json.dumps(said))
    return str(file)


def file_of(backup: Backup, tmp_path: Path) -> Path:
    return tmp_path / "store" / backup.object_key


@pytest.fixture
def site(tmp_path: Path) -> Site:
    made = make_site(tmp_path)
    changed = {"url": "https://example.com/blog", "excludes": ["*.log"], "db_name": "wordpress",
               "time_zone": "Europe/Berlin"}  # fmt: skip
    Site.objects.filter(pk=made.pk).update(**changed)
    return Site.objects.select_related("node").get(pk=made.pk)


def test_rows_are_as_before_when_all_of_them_were_lost(site: Site, tmp_path: Path) -> None:
    backups = [back_up(site), back_up(site)]
    other = make_site(tmp_path, "other.org")
    backups.append(back_up(other))
    sites = {one.uuid: one for one in Site.objects.all()}
    node = site.node
    lose_the_database()
    add_storage(tmp_path)
    (tmp_path / "store" / "notes.txt").write_text("somebody else's")
    said = rebuild()
    assert (len(said["nodes"]), len(said["sites"]), len(said["backups"])) == (1, 2, 3)
    assert (said["storages"][0]["foreign"], said["storages"][0]["left_out"]) == (1, [])
    assert said["notes"] == []

    again = Node.objects.get()
    assert (again.uuid, again.name, again.is_enabled, again.allowed_roots) == (
        node.uuid, "web-01", False, [],
    )  # fmt: skip
    for row in Site.objects.all():
        assert values(row, SAME_OF_SITE) == values(sites[row.uuid], SAME_OF_SITE)
        assert (row.node, row.schedule_frequency) == (again, "manual")
    rows = {row.object_key: row for row in Backup.objects.select_related("site", "storage")}
    assert len(rows) == 3
    for backup in backups:
        row = rows[backup.object_key]
        assert values(row, SAME_OF_BACKUP) == values(backup, SAME_OF_BACKUP)
        assert row.facts == backup.facts
        assert abs((row.created_at - backup.created_at).total_seconds()) < 60
        assert node_of_backup(row) == again
    entry = AuditEntry.objects.get(action="catalogue.rebuild")
    assert (entry.outcome, entry.source) == ("success", "command")


def test_nothing_is_added_twice_and_nothing_changed(site: Site, tmp_path: Path) -> None:
    backup, other = back_up(site), back_up(site)
    Site.objects.update(name="renamed", wp_path="/srv/elsewhere")
    Backup.objects.filter(pk=other.pk).delete()
    Backup.objects.update(is_suspect=True, sha256="f" * 64)
    before = Backup.objects.values().get()
    said = rebuild()
    assert said["backups"] == [other.object_key]
    assert (said["nodes"], said["sites"], said["storages"][0]["known"]) == ([], [], 1)
    assert Backup.objects.values().get(pk=backup.pk) == before
    row = Site.objects.get()
    assert (row.name, row.wp_path, row.backup_count) == ("renamed", "/srv/elsewhere", 2)
    assert row.retention_copies is None
    assert rebuild()["backups"] == []
    assert Backup.objects.count() == 2


def test_dry_run_says_the_same_and_writes_nothing(site: Site, tmp_path: Path) -> None:
    back_up(site)
    lose_the_database()
    said = {"name": "new", "type": "local", "config": {"path": str(tmp_path / "store")}}
    file = config_file(tmp_path, said)
    rehearsed = rebuild("--config", file, "--dry-run")
    models = (Node, Site, Backup, Storage)
    assert [model.objects.count() for model in models] == [0, 0, 0, 0]
    assert not AuditEntry.objects.filter(action="catalogue.rebuild").exists()
    done = rebuild("--config", file)
    assert {**rehearsed, "dry_run": False} == done
    assert [model.objects.count() for model in models] == [1, 1, 1, 1]
    assert AuditEntry.objects.filter(action="storage.add", outcome="success").count() == 1
    assert rebuild("--config", file)["backups"] == []


def test_retention_removes_nothing_of_a_rebuilt_site(site: Site, tmp_path: Path) -> None:
    """Its rules were lost: by the defaults most of what was just found would go."""
    for _ in range(9):
        back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    rebuild()
    plan = retention_plan(Site.objects.select_related("node").get())
    assert plan.policy.keep_last == MOST_COPIES
    assert (len(plan.kept), plan.going) == (9, [])


def test_schedule_and_rules_come_back_but_nothing_starts_and_nothing_goes(
    site: Site, tmp_path: Path
) -> None:
    schedules.set_schedule(
        site=site, frequency="cron", schedule_cron="30 2 * * 1-5", schedule_window_minutes=0
    )
    Site.objects.update(retention_copies=2, retention_weekly=4)
    for _ in range(4):
        back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild()
    kept = "It kept the last 2, and keeps all for now."
    assert said["notes"] == [f"{site.name}: {kept}"]
    again = Site.objects.select_related("node").get()
    assert (again.schedule_frequency, again.schedule_cron, again.time_zone) == (
        "cron", "30 2 * * 1-5", "Europe/Berlin",
    )  # fmt: skip
    assert (again.schedule_window_minutes, again.schedule_longest_gap) == (0, timedelta(days=3))
    assert (again.retention_copies, again.retention_weekly) == (MOST_COPIES, 4)
    assert retention_plan(again).going == []
    Node.objects.update(is_enabled=True)
    Site.objects.update(next_run_at=Now() - timedelta(minutes=1))
    assert why_waiting(again, datetime.now(UTC)) == (
        "The schedule is paused until resumed by catalogue rebuild: Made again from its bundles; "
        f"resume it once it is right. {kept}"
    )
    assert not sites_due().exists()
    pausing.resume(row=again)
    assert [one.pk for one in sites_due()] == [again.pk]


def test_settings_that_cannot_be_are_left_out_and_named(site: Site, tmp_path: Path) -> None:
    """Who may write to the storage says what a manifest holds."""
    Site.objects.update(
        schedule_frequency="weekly", schedule_days="9", schedule_time="late", retention_daily=0
    )
    Site.objects.update(retention_copies=20_000)
    back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    notes = rebuild()["notes"]
    assert f"{site.name}: its retention_copies cannot be as its bundle says." in notes
    assert any("its schedule cannot be as its bundle says: Give a time as HH" in n for n in notes)
    row = Site.objects.get()
    assert (row.schedule_frequency, row.schedule_time, row.next_run_at) == ("manual", "02:00", None)


@pytest.mark.parametrize("number", [float("inf"), float("nan"), 10**400, -1, [1], "x"])
def test_numbers_that_are_none_hold_nothing_up(
    number: Any, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We write no such manifest; whoever may write to the storage can."""
    read = registry.recorded_in

    def odd(*arguments: Any, **options: Any) -> Any:
        account: Any = read(*arguments, **options)
        account["settings"] |= {"retention_daily": number, "db_port": number}
        return account

    backup = back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    monkeypatch.setattr(registry, "recorded_in", odd)
    said = rebuild()
    assert said["backups"] == [backup.object_key]
    assert sum("cannot be as its bundle says" in note for note in said["notes"]) == 2
    row = Site.objects.get()
    assert (row.retention_daily, row.db_port, row.url) == (None, None, site.url)


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
def test_bundle_of_a_time_that_no_database_holds_is_left_out_and_named(
    moment: str, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = create_bundle.facts_of

    def odd(*arguments: Any) -> Any:
        facts, warnings = new(*arguments)
        return facts | {"sealed_at": moment}, warnings

    good = back_up(site)
    monkeypatch.setattr(create_bundle, "facts_of", odd)
    backup = back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild(code=1)
    assert said["backups"] == [good.object_key]
    assert [one["key"] for one in said["storages"][0]["left_out"]] == [backup.object_key]


def test_no_key_is_given_out_again(site: Site, tmp_path: Path) -> None:
    backup = back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    far = backup.object_key.rpartition("_")[0].rpartition("_")[0] + "_20990101_000000.tar.zst"
    shutil.copy(file_of(backup, tmp_path), tmp_path / "store" / far)
    rebuild("--checksums")
    assert Site.objects.get().newest_key_at == datetime(2099, 1, 1, tzinfo=UTC)
    assert Backup.objects.get(object_key=far).sha256 == backup.sha256


def test_bundles_that_cannot_be_right_are_left_out_and_named(site: Site, tmp_path: Path) -> None:
    good, damaged, moved, early, cut = (back_up(site) for _ in range(5))
    store = tmp_path / "store"
    data = bytearray(file_of(damaged, tmp_path).read_bytes())
    data[-100] ^= 1
    file_of(damaged, tmp_path).write_bytes(data)
    wrong = moved.object_key.replace(str(site.uuid), str(site.node.uuid))
    (store / wrong).parent.mkdir()
    for name in (moved.object_key, sidecar(moved.object_key)):
        target = wrong if name == moved.object_key else sidecar(wrong)
        (store / name).rename(store / target)
    stamp = f"{site.name}_20010101_000000.tar.zst"
    past = f"{site.node.uuid}/{site.uuid}/{stamp}"
    (store / early.object_key).rename(store / past)
    (store / sidecar(early.object_key)).rename(store / sidecar(past))
    (store / cut.object_key).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(2000))
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild("--checksums", code=1)
    assert said["backups"] == [good.object_key]
    reasons = {one["key"]: one["reason"] for one in said["storages"][0]["left_out"]}
    assert set(reasons) == {damaged.object_key, wrong, past, cut.object_key}
    assert f"is of the site '{site.uuid}'" in reasons[wrong]
    assert "began later" in reasons[past]
    assert Site.objects.get().storage_used_bytes == good.size_bytes


def sidecar(key: str) -> str:
    folder, _, name = key.rpartition("/")
    return f"{folder}/.holdfast-{name}.json"


def test_bundle_without_checksum_is_read_whole_only_when_asked(site: Site, tmp_path: Path) -> None:
    """As a copy by another tool is, which leaves hidden files behind."""
    backup = back_up(site)
    (tmp_path / "store" / sidecar(backup.object_key)).unlink()
    lose_the_database()
    add_storage(tmp_path)
    [left] = rebuild(code=1)["storages"][0]["left_out"]
    assert "No SHA-256 is kept with it" in left["reason"]
    assert not Site.objects.exists()
    rebuild("--checksums")
    assert Backup.objects.get().sha256 == backup.sha256


@pytest.fixture
def key(tmp_path: Path) -> KeyPair:
    return make_key(tmp_path / "key.txt")


@pytest.fixture
def encrypted(site: Site, key: KeyPair) -> Backup:
    Storage.objects.update(encryption_recipients=[key.recipient])
    return back_up(site)


def test_encrypted_bundle_is_read_with_the_key(
    encrypted: Backup, key: KeyPair, tmp_path: Path
) -> None:
    lose_the_database()
    add_storage(tmp_path)
    rebuild("--identity", str(key.file))
    row = Backup.objects.select_related("site").get()
    assert values(row, SAME_OF_BACKUP) == values(encrypted, SAME_OF_BACKUP)
    assert row.encrypted_to == [key.recipient]
    facts = {name: fact for name, fact in encrypted.facts.items() if name != "plain_sha256"}
    assert row.facts == facts and row.facts["plain_size"] > 0
    assert row.site.url == "https://example.com/blog"


def test_encrypted_bundle_gets_a_row_without_facts_when_no_key_opens_it(
    encrypted: Backup, tmp_path: Path
) -> None:
    site, node = encrypted.site, encrypted.site.node
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild("--identity", str(make_key(tmp_path / "other.txt").file))
    assert said["storages"][0]["without_manifest"] == [encrypted.object_key]
    row = Backup.objects.select_related("site__node").get()
    assert (row.sha256, row.size_bytes, row.facts, row.encrypted_to) == (
        encrypted.sha256, encrypted.size_bytes, {}, ["unknown"],
    )  # fmt: skip
    assert f"_{row.created_at:%Y%m%d_%H%M%S}." in row.object_key
    assert (row.site.name, row.site.uuid, row.site.wp_path) == (site.name, site.uuid, "")
    assert row.site.node.name == f"node-{str(node.uuid)[:8]}"
    assert any("set its path" in note for note in said["notes"])


def test_person_is_told_that_no_key_opens_it(encrypted: Backup, tmp_path: Path) -> None:
    lose_the_database()
    add_storage(tmp_path)
    text = said_by("--dry-run")
    assert "1 are encrypted and no key at hand opens them" in text
    assert "Would add 1 nodes, 1 sites, 1 backups" in text
    assert "manage.py node enable node-" in text and "make a storage" not in text
    Storage.objects.update(is_default=False)
    assert "Next: make a storage the default" in said_by("--dry-run")


def test_plain_bundle_is_not_taken_for_an_encrypted_one(
    encrypted: Backup, key: KeyPair, tmp_path: Path
) -> None:
    file_of(encrypted, tmp_path).write_bytes(b"\x28\xb5\x2f\xfd" + bytes(2000))
    lose_the_database()
    add_storage(tmp_path)
    identity = ("--checksums", "--identity", str(key.file))
    [left] = rebuild(*identity, code=1)["storages"][0]["left_out"]
    assert "encrypted" in left["reason"]
    assert not Backup.objects.exists()


def test_file_of_keys_that_others_may_read_is_refused(
    encrypted: Backup, key: KeyPair, tmp_path: Path
) -> None:
    key.file.chmod(0o644)
    lose_the_database()
    add_storage(tmp_path)
    with pytest.raises(CommandError, match="others"):
        rebuild("--identity", str(key.file))


def test_bundle_of_before_the_settings_were_recorded(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = create_bundle.facts_of

    def old(*arguments: Any) -> Any:
        facts, warnings = new(*arguments)
        del facts["suspicions"], facts["encrypted_to"], facts["site"]["settings"]
        return facts, warnings

    monkeypatch.setattr(create_bundle, "facts_of", old)
    backup = back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild()
    assert said["notes"] == [f"{site.name}: its bundles do not say where it lies; set its path."]
    row = Backup.objects.select_related("site__node").get()
    assert (row.facts, row.is_suspect) == (backup.facts, False)
    assert (row.site.wp_path, row.site.node.name) == ("", "web-01")


def test_manifest_holds_no_credentials(site: Site, tmp_path: Path) -> None:
    Site.objects.update(
        url="https://somebody:hunter22@example.com/a@b", db_user="hunter22", db_password="hunter22"
    )
    backup = back_up(site)
    store = open_store("local", {"path": str(tmp_path / "store")})
    manifest = b"".join(
        open_bundle(store.open(backup.object_key), None, is_encrypted=False).manifest()
    )
    assert b"hunter22" not in manifest
    assert b'"https://example.com/a@b"' in manifest


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("wp_path", "relative/path"),
        ("wp_path", "/srv/../etc"),
        ("url", "javascript:alert(1)"),
        ("db_engine", "oracle"),
        ("db_port", "many"),
        ("excludes", {"a": "b"}),
    ],
)
def test_settings_that_no_site_may_have_are_not_taken(
    name: str, value: object, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = create_bundle.facts_of

    def made_up(*arguments: Any) -> Any:
        facts, warnings = new(*arguments)
        facts["site"]["settings"][name] = value
        return facts, warnings

    monkeypatch.setattr(create_bundle, "facts_of", made_up)
    back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild()
    assert f"{site.name}: its {name} cannot be as its bundle says." in said["notes"]
    assert getattr(Site.objects.get(), name) in ("", None)


@pytest.mark.parametrize(
    "text",
    [
        "notes.txt",
        "{site}/{site}/example.com_20260102_030405.tar.gz",
        "{site}/{site}/example.com_20261302_030405.tar.zst",
        "{site}/{site}/../example.com_20260102_030405.tar.zst",
        "{upper}/{site}/example.com_20260102_030405.tar.zst",
        "{site}/{site}/-x_20260102_030405.tar.zst",
        "{site}/{site}/example.com_20260102_030405.tar.zst.age.part",
        "old/{site}/{site}/example.com_20260102_030405.tar.zst",
        "{broken}/{site}/example.com_20260102_030405.tar.zst",
    ],
)
def test_object_is_foreign_when_its_key_is_none_of_ours(text: str) -> None:
    site = "5c3aab52-76f3-4d1b-9d9d-0b2c8f2f6a11"
    key = text.format(site=site, upper=site.upper(), broken=site.replace("-", "a"))
    assert parse_key(key) is None
    good = parse_key(f"{site}/{site}/a_b_20260102_030405.tar.zst.age")
    assert good is not None and (good.site_name, good.is_encrypted) == ("a_b", True)


class Away:
    """A storage that lists its objects and then does not answer any more."""

    def __init__(self, answers: int) -> None:
        self.answers = answers

    def list(self) -> list[Any]:
        site = "5c3aab52-76f3-4d1b-9d9d-0b2c8f2f6a11"
        names = [f"{site}/{site}/a_20260102_0304{n:02}.tar.zst" for n in range(30)]
        return [StoredObject(key=name, size=1, modified_at=datetime.now(UTC)) for name in names]

    def stat(self, key: str) -> None:
        if int(key[-10:-8]) >= self.answers:
            raise EngineError("It is away", hint="Wait.")


def test_survey_ends_when_the_storage_is_away_and_not_before() -> None:
    def look(store: Away) -> Any:
        return survey(store, known=(), identity_file=None, compute_checksums=False)

    assert [one.reason for one in look(Away(26)).left_out][25:] == [
        "It vanished while the storage was looked through.",
        *["It is away. Wait."] * 4,
    ]
    with pytest.raises(EngineError, match="away"):
        look(Away(25))


def test_what_was_suspect_is_suspect_again(site: Site, tmp_path: Path) -> None:
    uploads = Path(site.wp_path) / "wp-content" / "uploads"
    uploads.mkdir()
    for number in range(20):
        (uploads / f"{number}.txt").write_text("x" * 1000)
    back_up(site)
    shutil.rmtree(uploads)
    second = back_up(site)
    assert second.is_suspect
    lose_the_database()
    add_storage(tmp_path)
    rebuild()
    assert Backup.objects.get(is_suspect=True).object_key == second.object_key


def test_node_that_joined_anew_gets_its_sites_back(site: Site, tmp_path: Path) -> None:
    back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    node = Node.objects.create(name="web-01", allowed_roots=[str(tmp_path)])
    said = rebuild()
    assert said["nodes"] == [] and f"is {node.uuid} now" in said["notes"][0]
    assert Site.objects.get().node == node
    assert node_of_backup(Backup.objects.get()) == node
    node.refresh_from_db()
    assert node.is_enabled


def test_site_that_was_moved_is_on_its_newest_node(site: Site, tmp_path: Path) -> None:
    first, old = back_up(site), site.node
    new = Node.objects.create(name="web-02", allowed_roots=[str(tmp_path)])
    Site.objects.update(node=new)
    second = back_up(Site.objects.get())
    lose_the_database()
    add_storage(tmp_path)
    assert len(rebuild()["nodes"]) == 2
    assert Site.objects.get().node.uuid == new.uuid
    made_on = {row.object_key: node_of_backup(row).uuid for row in Backup.objects.all()}
    assert made_on == {first.object_key: old.uuid, second.object_key: new.uuid}


def test_site_that_was_deleted_and_added_again_keeps_its_old_bundles_apart(
    site: Site, tmp_path: Path
) -> None:
    back_up(site)
    Backup.objects.all().delete()
    Job.objects.all().delete()
    path, node, storage = site.wp_path, site.node, site.storage
    site.delete()
    again = Site.objects.create(
        name="example.com", node=node, storage=storage, wp_path=path, db_engine="none"
    )
    Site.objects.update(newest_key_at=datetime(2050, 1, 1, tzinfo=UTC))
    back_up(again)
    lose_the_database()
    add_storage(tmp_path)
    said = rebuild()
    assert len(said["sites"]) == 2 and len(said["notes"]) == 1
    paths = {row.uuid: row.wp_path for row in Site.objects.all()}
    assert paths[again.uuid] == path
    assert list(paths.values()).count("") == 1


def test_object_of_a_job_that_goes_on_is_left_to_it(site: Site, tmp_path: Path) -> None:
    """Stored, and its row not written yet; or failed after that, to be retried or cleaned up."""
    back_up(site)
    job = dispatched_job(site)
    for stage in PIPELINES[JobKind.BACKUP][:4]:
        assert run_stage(stage, job_id=str(job.pk), epoch=1, worker="worker@host"), stage
    said = rebuild()
    assert said["backups"] == [] and "1 bundles are a job's" in said["notes"][0]
    assert run_stage("cleanup", job_id=str(job.pk), epoch=1, worker="worker@host")
    assert rebuild()["storages"][0]["known"] == 2
    assert Backup.objects.filter(status=BackupStatus.SUCCESS).count() == 2


def test_bundle_in_two_storages_gets_one_row(site: Site, tmp_path: Path) -> None:
    back_up(site)
    lose_the_database()
    add_storage(tmp_path)
    shutil.copytree(tmp_path / "store", tmp_path / "mirror")
    config = {"path": str(tmp_path / "mirror")}
    Storage.objects.create(name="mirror", type="local", config=config)
    said = rebuild()
    assert [one["known"] for one in said["storages"]] == [0, 1]
    assert Backup.objects.get().storage.name == "folder"


def test_bundles_of_a_bucket_come_back(site: Site, tmp_path: Path, moto_s3: S3Server) -> None:
    config = moto_s3.config(prefix=tmp_path.name)
    Storage.objects.update(type="s3", config=config)
    backup = back_up(site)
    lose_the_database()
    said = {"name": "bucket", "type": "s3", "config": config, "is_default": True}
    text = said_by("--config", config_file(tmp_path, said))
    assert "bucket: 1 new bundles, 0 known, 0 left out, 0 other objects" in text
    row = Backup.objects.select_related("storage").get()
    assert values(row, SAME_OF_BACKUP) == values(backup, SAME_OF_BACKUP)
    assert row.storage.secrets["secret_access_key"] == moto_s3.secret_access_key
    assert "secret_access_key" not in row.storage.config


def test_empty_folder_may_be_another_host_s(db: None, tmp_path: Path) -> None:
    add_storage(tmp_path)
    (tmp_path / "store").mkdir()
    assert "only on its own host" in said_by()


def test_storage_that_is_away_holds_no_other_up(site: Site, tmp_path: Path) -> None:
    back_up(site)
    lose_the_database()
    config = {"path": str(tmp_path / "elsewhere")}
    Storage.objects.create(name="another host's", type="local", config=config)
    add_storage(tmp_path)
    said = rebuild(code=1)
    assert "does not exist" in said["storages"][0]["problem"]
    assert (said["storages"][1]["problem"], len(said["backups"])) == ("", 1)
    with pytest.raises(CommandError, match="does not exist"):
        rebuild("--storage", "another host's")


def test_storage_of_a_file_is_added_only_if_there_are_bundles(site: Site, tmp_path: Path) -> None:
    """A slip in the file can be mended: the same name does not stand there with the slip."""
    back_up(site)
    lose_the_database()
    said = {"name": "again", "type": "local", "config": {"path": str(tmp_path / "stare")}}
    with pytest.raises(CommandError, match="does not exist"):
        rebuild("--config", config_file(tmp_path, said))
    (tmp_path / "stare").mkdir()
    assert "So it is not added" in said_by("--config", config_file(tmp_path, said))
    assert not Storage.objects.exists()
    assert not AuditEntry.objects.filter(action="storage.add").exists()
    said["config"] = {"path": str(tmp_path / "store")}
    assert len(rebuild("--config", config_file(tmp_path, said))["backups"]) == 1
    assert Storage.objects.get().name == "again"


def test_storage_must_be_named_rightly(db: None, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="no such storage"):
        rebuild()
    add_storage(tmp_path)
    with pytest.raises(CommandError, match="there: folder"):
        rebuild("--storage", "other")
    assert AuditEntry.objects.filter(action="catalogue.rebuild", outcome="refused").count() == 2


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ("{", "holds no JSON"),
        ([], "must hold an object"),
        ({"name": "x", "type": "local"}, "must hold an object with name, type, config"),
        ({"name": "x", "type": "local", "config": []}, "config must be a JSON dict"),
        ({"name": "x", "type": "local", "config": {}, "secret": "s"}, "unknown fields: secret"),
        ({"name": "x", "type": "tape", "config": {}}, "tape"),
        ({"name": "folder", "type": "local", "config": {"path": "/srv"}}, "another configuration"),
    ],
)
def test_file_of_a_storage_must_be_right(
    said: object, error: str, db: None, tmp_path: Path
) -> None:
    add_storage(tmp_path)
    with pytest.raises(CommandError, match=error):
        rebuild("--config", config_file(tmp_path, said))
    assert Storage.objects.count() == 1
