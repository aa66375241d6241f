"""What must hold on every database that the panel's rows may live in."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import pytest
from cryptography.fernet import Fernet

from tests.servers.cluster import Cluster
from tests.servers.secrets_search import SEARCH

pytestmark = pytest.mark.slow

RACERS = 6
NUMBERS = itertools.count(1)
MAKE_ROWS = """
from pathlib import Path
from tests.workers.factories import make_site, dispatched_job
from backups.models import Job
site = make_site(Path({directory!r}), {name!r})
job = dispatched_job(site) if {with_job} else None
print(site.pk, job.pk if job else "")
"""


@pytest.fixture(scope="module")
def cluster(panel_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    # Nobody listens on port 9: what is started here must only be recorded.
    directory = tmp_path_factory.mktemp("cluster")
    nodes_reach = {
        "HOLDFAST_NODE_DATABASE_URL": "mysql://holdfast@db.example.com/holdfast",
        "HOLDFAST_NODE_BROKER_URL": "redis://redis.example.com/0",
    }
    cluster = Cluster(directory, panel_database_url, "redis://127.0.0.1:9/0", nodes_reach)
    with cluster.warmed_up():
        # The others begin with what is kept of such a run.
        cluster.manage("migrate", "--verbosity", "0")
        yield cluster


SECRETS_UNDER_OLD_KEY = """
from backups.models import Storage
for number in range(3):
    Storage.objects.create(name=f"rotated {number}", type="local", secrets={"key": "geheim"})
"""
READ_SECRETS = """
from backups.models import Storage
print([storage.secrets["key"] for storage in Storage.objects.filter(name__startswith="rotated")])
"""


def test_secrets_move_to_a_new_key_where_they_are(cluster: Cluster) -> None:
    old, new = Fernet.generate_key().decode(), Fernet.generate_key().decode()

    def under(*keys: str) -> Cluster:
        settings = {**cluster.settings, "HOLDFAST_ENCRYPTION_KEYS": ",".join(keys)}
        return dataclasses.replace(cluster, settings=settings, warm=None)

    under(old).manage("shell", "--verbosity", "0", "-c", SECRETS_UNDER_OLD_KEY)
    assert under(new, old).manage("rotate_secrets", "--check", check=False).returncode == 1
    assert under(new, old).manage("rotate_secrets").stdout.startswith("3 encrypted anew")
    under(new).manage("rotate_secrets", "--check")
    said = under(new).manage("shell", "--verbosity", "0", "-c", READ_SECRETS).stdout
    assert said.strip() == "['geheim', 'geheim', 'geheim']"


def make_rows(cluster: Cluster, *, with_job: bool) -> tuple[str, str]:
    name = f"site-{next(NUMBERS)}.example.com"
    code = MAKE_ROWS.format(directory=str(cluster.directory), name=name, with_job=with_job)
    said = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
    site, _, job = said.strip().partition(" ")
    return site, job


def race(cluster: Cluster, what: str | list[str], subject: str) -> list[str]:
    """Let several processes do one thing, or one each, at the same moment; return their answers."""
    each = [what] * RACERS if isinstance(what, str) else what
    assert cluster.warm is not None
    return cluster.warm.race("tests.contracts.race:race", [(one, subject) for one in each])


def test_migrations_are_complete_and_run_from_nothing(cluster: Cluster) -> None:
    cluster.manage("makemigrations", "--check", "--dry-run")
    assert "[ ]" not in cluster.manage("showmigrations", "--plan").stdout


def test_exactly_one_wins_when_many_start_a_backup_at_once(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    said = race(cluster, "start", site)
    assert sorted(said) == ["False"] * (RACERS - 1) + ["True"]


QUOTA = """
from django.db.models.functions import Now
from backups.models import Backup, Node, Site
first = Site.objects.get(pk={site})
node = Node.objects.create(name=f"full-{{first.pk}}", storage_quota_gb=({racers} + 1.5) / 1024)
for number in range({racers}):
    site = Site.objects.create(name=f"full-{{number}}", node=node, storage=first.storage,
                               wp_path=f"/srv/{{number}}")
    Backup.objects.create(site=site, storage=first.storage, status="SUCCESS", object_key="k",
                          size_bytes=1 << 20, created_at=Now())
    print(site.pk)
"""


def test_exactly_one_begins_when_many_sites_of_a_node_want_its_last_room(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    code = QUOTA.format(site=site, racers=RACERS)
    sites = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()
    assert cluster.warm is not None
    tasks = [("start_within_quota", one) for one in sites]
    said = cluster.warm.race("tests.contracts.race:race", tasks)
    assert sorted(said) == ["False"] * (RACERS - 1) + ["True"]


def test_exactly_one_wins_when_many_claim_a_stage_at_once(cluster: Cluster) -> None:
    _, job = make_rows(cluster, with_job=True)
    assert sorted(race(cluster, "claim", job)) == ["False"] * (RACERS - 1) + ["True"]


def test_every_key_is_another_when_many_are_reserved_at_once(cluster: Cluster) -> None:
    _, job = make_rows(cluster, with_job=True)
    race(cluster, "claim", job)
    keys = race(cluster, "reserve", job)
    assert len(set(keys)) == RACERS
    assert all(key.endswith(".tar.zst") for key in keys)


def test_exactly_one_leads_when_many_want_to(cluster: Cluster) -> None:
    name = f"coordinator-{next(NUMBERS)}"
    assert sorted(race(cluster, "lead", name)) == ["False"] * (RACERS - 1) + ["True"]


LAST_STAGE = """
from backups.actions import attempts
from backups.models import Job
outputs = {{"key": "n/s/x.tar.zst", "size": 1, "verified_by": "md5", "sha256": "", "facts": {{}},
           "suspicions": []}}
for name in ("backup_db", "backup_files", "create_bundle", "upload_remote"):
    attempt = attempts.claim_stage(job_id={job!r}, epoch=1, stage_name=name, worker="w@h")
    attempts.finish_stage(
        attempt, outputs=outputs, detail="", warnings=[], progress=attempts.Progress()
    )
attempts.claim_stage(job_id={job!r}, epoch=1, stage_name="cleanup", worker="w@h")
"""
ENDED = """
from backups.models import Job
job = Job.objects.get(pk={job!r})
success = job.site.backups.filter(status="SUCCESS").count()
print(job.state, job.active_site_id, job.epoch, success)
"""


def test_one_ending_wins_when_stop_reset_and_the_last_write_come_at_once(cluster: Cluster) -> None:
    """However it ends, the site is free, and a backup counts only if the job completed."""
    _, job = make_rows(cluster, with_job=True)
    cluster.manage("shell", "--verbosity", "0", "-c", LAST_STAGE.format(job=job))
    what = ["reset", "reset", "stop", "stop", "finish"]
    first, second, *_stops, finished = race(cluster, what, job)
    said = cluster.manage("shell", "--verbosity", "0", "-c", ENDED.format(job=job)).stdout
    won = ["completed", "None", "1", "1"] if finished == "True" else ["reset", "None", "2", "0"]
    assert said.split() == won
    assert [first, second].count("True") == (finished != "True")


USED = """
from django.db.models import Max, Sum
from backups.models import Site
site = Site.objects.get(pk={site})
facts = site.backups.aggregate(Max("created_at"), Sum("size_bytes"))
assert facts["created_at__max"] == site.last_backup, facts
assert facts["size_bytes__sum"] == site.storage_used_bytes, facts
print(site.backup_count)
"""


def test_usage_is_right_when_many_store_backups_of_a_site_at_once(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    assert race(cluster, "store", site) == ["True"] * RACERS
    said = cluster.manage("shell", "--verbosity", "0", "-c", USED.format(site=site)).stdout
    assert said.split() == [str(RACERS)]


DUE = """
from datetime import timedelta
from django.db.models.functions import Now
from backups.actions import schedules
from backups.models import Site
site = Site.objects.get(pk={site})
schedules.set_schedule(site=site, frequency="daily", schedule_time="02:00")
Site.objects.filter(pk=site.pk).update(next_run_at=Now() - timedelta(seconds=1))
"""
SCHEDULED = """
from django.utils import timezone
from backups.models import Site
site = Site.objects.get(pk={site})
print(*site.jobs.values_list("trigger", flat=True), site.next_run_at > timezone.now())
"""


def test_each_run_starts_once_when_many_coordinators_see_it(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    cluster.manage("shell", "--verbosity", "0", "-c", DUE.format(site=site))
    said = race(cluster, "schedule", site)
    assert sorted(said) == ["False"] * (RACERS - 1) + ["True"]
    said = cluster.manage("shell", "--verbosity", "0", "-c", SCHEDULED.format(site=site)).stdout
    assert said.split() == ["schedule", "True"]


# Ten daily backups with objects, of which seven are kept; answers come from this process.
PRUNED = """
from datetime import UTC, datetime, timedelta
from pathlib import Path
from celery import current_app
from django.db.models.functions import Now
import workers.tasks
from backups.actions import housekeeping
from backups.actions.inventory import audit_storage
from backups.models import AuditEntry, Backup, Errand, Site, Worker
current_app.conf.update(task_always_eager=True, task_store_eager_result=True)
site = Site.objects.get(pk={site})
Worker.objects.get_or_create(name="w", defaults=dict(node=site.node, hostname="h", process_id=1,
                             started_at=Now(), last_seen_at=Now()))
Worker.objects.update(last_seen_at=Now())
for number in range(10):
    key = f"{{site.node.uuid}}/{{site.uuid}}/{{number}}.tar.zst"
    path = Path(site.storage.config["path"], key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"bundle")
    made = datetime.now(UTC) - timedelta(days=number, hours=1)
    Backup.objects.create(site=site, storage=site.storage, status="SUCCESS", object_key=key,
                          size_bytes=6, sha256=str(number), created_at=made)
Path(site.storage.config["path"], site.backups.first().object_key).write_bytes(b"cut")
for _ in range(2):
    Site.objects.filter(pk=site.pk).update(retention_due_at=Now())
    Errand.objects.update(not_before=None)
    housekeeping.keep_house()
    housekeeping.take_answers()
errand = Errand.objects.get(key=f"prune:{site}")
entries = AuditEntry.objects.filter(action="backup.prune", site_id=site.pk)
site.refresh_from_db()
print(site.backups.count(), site.backup_count, entries.count(), errand.done_count, errand.failures)
print([(one.kind, one.size) for one in audit_storage(site.storage) if str(site.uuid) in one.key])
print(site.backups.filter(checked_at=None).count(), site.backups.first().check_problem)
print(site.backups_amiss, site.last_backup == site.backups.all()[1].created_at)
"""
# Retention is off: only what somebody deleted goes. Then all is due in ten years.
DELETED = """
from datetime import UTC, datetime, timedelta
from celery import current_app
from django.conf import settings
from django.db.models.functions import Now
import workers.tasks
from backups.actions import backups, clock, housekeeping, schedules
from backups.models import Backup, Errand, Site, Worker
from backups.queries import metrics
current_app.conf.update(task_always_eager=True, task_store_eager_result=True)
settings.HOLDFAST_RETENTION = False
Worker.objects.update(last_seen_at=Now())
site = Site.objects.get(pk={site})
before = site.backups.count()
Site.objects.filter(pk=site.pk).update(retention_copies=1)
print(backups.begin_deletion(backup=site.backups.last()))
for _ in range(2):
    Site.objects.filter(pk=site.pk).update(retention_due_at=Now())
    housekeeping.keep_house()
print(before - site.backups.count(), site.backups.filter(removing_since__isnull=False).count())
later = datetime.now(UTC).replace(microsecond=0) + timedelta(days=3650)
schedules.set_schedule(site=site, frequency="cron", schedule_cron="0 2 * * 1-5")
right = Site.objects.get(pk=site.pk).next_run_at
Site.objects.filter(pk=site.pk).update(next_run_at=later, retention_due_at=later)
Backup.objects.filter(site=site).update(checked_at=later)
Errand.objects.filter(site=site).update(not_before=later, failures=3)
unchecked = metrics.backups_unchecked()
print(clock.mend_what_is_due_too_late(), clock.mend_what_is_due_too_late())
now = Site.objects.get(pk=site.pk)
late = Errand.objects.filter(not_before=later)
print(now.next_run_at == right, now.retention_due_at < later, late.count())
print(metrics.backups_unchecked() - unchecked == site.backups.count(),
      [row["failures"] for row in metrics.failing_prunings() if row["site_id"] == site.pk])
"""
BACKUP = """
from django.db.models.functions import Now
from backups.models import Backup, Site
site = Site.objects.get(pk={site})
print(Backup.objects.create(site=site, storage=site.storage, status="SUCCESS", object_key="k",
                            size_bytes=1, created_at=Now()).pk)
"""
CLAIMED = """
from backups.models import Backup
backup = Backup.objects.get(pk={backup})
print(backup.pinned_at is not None, backup.removing_since is not None)
"""


def test_old_backups_go_and_what_is_stored_is_looked_at(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    said = cluster.manage("shell", "--verbosity", "0", "-c", PRUNED.format(site=site)).stdout
    # The newest one is cut short: it stays and counts as no copy. First that held all back.
    assert said.splitlines() == [
        "8 8 2 2 0",
        "[('differs', 6)]",
        "0 The object has 3 bytes instead of 6.",
        "1 True",
    ]
    said = cluster.manage("shell", "--verbosity", "0", "-c", DELETED.format(site=site)).stdout
    assert said.splitlines() == ["True", "1 0", "1 0", "True True 0", "True [3]"]


def test_a_backup_is_either_pinned_or_removed_when_both_are_wanted_at_once(
    cluster: Cluster,
) -> None:
    site, _ = make_rows(cluster, with_job=False)
    backup = cluster.manage("shell", "--verbosity", "0", "-c", BACKUP.format(site=site)).stdout
    said = race(cluster, ["pin", "remove"] * (RACERS // 2), backup.strip())
    code = CLAIMED.format(backup=backup.strip())
    ended = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()
    assert sorted(ended) == ["False", "True"]
    assert said == [ended[0], ended[1]] * (RACERS // 2)


def test_a_backup_is_either_pinned_or_deleted_by_hand_when_both_are_wanted_at_once(
    cluster: Cluster,
) -> None:
    site, _ = make_rows(cluster, with_job=False)
    backup = cluster.manage("shell", "--verbosity", "0", "-c", BACKUP.format(site=site)).stdout
    said = race(cluster, ["pin", "delete"] * (RACERS // 2), backup.strip())
    code = CLAIMED.format(backup=backup.strip())
    pinned, going = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()
    assert sorted([pinned, going]) == ["False", "True"]
    assert said[::2] == [pinned] * (RACERS // 2)
    assert said[1::2].count("True") == (going == "True"), "who comes second begins nothing"


PEOPLE = """
from backups.models import Job
from panel.accounts.models import User
site = Job.objects.get(pk={job!r}).site
for name in ("a", "b"):
    site.admins.add(User.objects.create_user(f"{{name}}-{job}@example.com"))
"""
TASKS = """
from django.db.models import F
from backups.actions import followups
from backups.models import FollowUpTask, Job
from backups.queries import task_stats, tasks_with_state
job = Job.objects.get(pk={job!r})
tasks = FollowUpTask.objects.filter(site=job.site_id).order_by("pk")
print(job.state, job.backup.status, tasks.count())
followups.open_tasks_of_failed(job)
print(*tasks.values_list("description", flat=True))
task = followups.toggle_task(task=tasks[0])
print(task.is_completed, *tasks_with_state(tasks).values_list("completed", flat=True))
print(followups.toggle_task(task=task).completed_at, task_stats(tasks)["pending"])
changed = followups.change_task(task=task, title="\U0001f389" * 200, completed=True)
print(len(changed.title), task_stats(tasks)["completion_rate"])
ordered = tasks.order_by(F("due_at").asc(nulls_last=True), "title")
print([one.pk for one in ordered] == [tasks[1].pk, tasks[0].pk])
followups.close_tasks_of(job.site_id)
print(task_stats(tasks)["pending"])
"""


def test_tasks_are_opened_once_and_closed_when_a_failure_is_recorded_by_many(
    cluster: Cluster,
) -> None:
    _, job = make_rows(cluster, with_job=True)
    for code in (LAST_STAGE, PEOPLE):
        cluster.manage("shell", "--verbosity", "0", "-c", code.format(job=job))
    said = race(cluster, "fail", job)
    assert sorted(said) == ["False"] * (RACERS - 1) + ["True"]
    said = cluster.manage("shell", "--verbosity", "0", "-c", TASKS.format(job=job)).stdout
    assert said.splitlines() == [
        "failed FAILED 2",
        "It failed. Look. It failed. Look.",
        "True True False",
        "None 2",
        "200 50.0",
        "True",
        "0",
    ]


def test_exactly_one_host_joins_when_many_have_the_same_token(cluster: Cluster) -> None:
    name = f"node-{next(NUMBERS)}"
    made = cluster.manage("node", "token", name, "--root", "/srv", "--quiet")
    said = race(cluster, "join", made.stdout.strip())
    assert sorted(said) == ["False"] * (RACERS - 1) + ["True"]


def test_lost_lease_is_seen_by_the_databases_own_clock(cluster: Cluster) -> None:
    _, job = make_rows(cluster, with_job=True)
    race(cluster, "claim", job)
    code = f"""
from datetime import timedelta
from django.db.models.functions import Now
from backups.actions import recovery
from backups.models import Job
Job.objects.filter(pk={job!r}).update(lease_expires_at=Now() + timedelta(seconds=60))
recovery.recover_lost_jobs()
print(Job.objects.get(pk={job!r}).state, end=" ")
Job.objects.filter(pk={job!r}).update(lease_expires_at=Now() - timedelta(seconds=1))
recovery.recover_lost_jobs()
job = Job.objects.get(pk={job!r})
print(job.state, job.epoch, job.token)
"""
    said = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
    assert said.split() == ["running", "queued", "2", "None"]


def test_hostile_texts_are_kept_when_stages_end_with_them(cluster: Cluster) -> None:
    """A refusal by the database would cost a finished stage, or hide why another one failed."""
    _, job = make_rows(cluster, with_job=True)
    code = f"""
from backups.actions import attempts
from backups.models import Job
hostile = "NUL \\0 surrogate \\udcff emoji \\U0001f389"
def claim(stage):
    return attempts.claim_stage(job_id={job!r}, epoch=1, stage_name=stage, worker="w@h")
attempt = claim("backup_db")
progress = attempts.Progress(1, 2, hostile)
print(attempts.renew_lease(attempt, progress, moved=True).name)
outputs = {{hostile: [hostile]}}
print(attempts.finish_stage(
    attempt, outputs=outputs, detail=hostile, warnings=[hostile], progress=progress
))
print(attempts.fail_stage(
    claim("backup_files"), code="c" * 99, message=hostile, hint=hostile, permanent=True
).value)
job = Job.objects.get(pk={job!r})
legible = "NUL \\\\x00 surrogate \\\\udcff emoji \\U0001f389"
print(job.warnings == [legible] and job.error_message == job.error_hint == legible)
print(job.stages.get(name="backup_db").outputs == {{legible: [legible]}})
"""
    said = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
    assert said.split() == ["GO_ON", "True", "failed", "True", "True"]


def test_audit_trail_is_written_read_and_cleared(cluster: Cluster) -> None:
    """Its entries hold what strangers send, and go by the database's own clock."""
    code = """
from datetime import timedelta
from django.db.models.functions import Now
from backups.actions import audit
from backups.actions.audit import Fact
from backups.models import AuditEntry, AuditOutcome, AuditSource
from backups.queries import AuditedObject, audit_entries_visible_to, audited_object
from panel.accounts.models import User
hostile = "NUL \\0 surrogate \\udcff emoji \\U0001f389" * 50
user = User.objects.create_user("gone@example.com", role="node_admin")
for number in range(3):
    audit.record_entry(Fact(
        action="site.add", source=AuditSource.API, outcome=AuditOutcome.REFUSED, detail=hostile,
        what=AuditedObject("site", "1", hostile, site_id=2**62), actor_id=user.pk,
        user_agent=hostile, fields=(hostile,), address="2001:db8::1",
    ))
print(audit_entries_visible_to(user).count())
user.delete()
print(AuditEntry.objects.filter(actor=None, site_id=2**62).count())
audit.record_entry(Fact(
    action="x", source=AuditSource.API, outcome=AuditOutcome.SUCCESS, actor_id=10**9
))
print(AuditEntry.objects.get(action="x").actor_id)
old = AuditEntry._base_manager.filter(action="site.add")
old.update(created_at=Now() - timedelta(days=800))
print(audit.remove_old_entries(), AuditEntry.objects.filter(action__in=("site.add", "x")).count())
print(audited_object("job", "no-uuid").label or audited_object("site", "9" * 30).label or "none")
"""
    said = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
    assert said.split() == ["3", "3", "None", "3", "1", "none"]


MAKE_PEOPLE = """
from panel.accounts import sign_ins, tokens
from panel.accounts.models import User
user = User.objects.create_user("{name}@example.com", "a-fine-password")
for number in range(3):
    User.objects.create_superuser(f"{name}-{{number}}@example.com", "a-fine-password")
print(tokens.issue(user)["refresh_token"])
print(sign_ins.give_stream_ticket(user=user, sign_in_id=user.sign_ins.get().pk))
"""
COUNT_SUPERS = """
from panel.accounts.models import User
print(User.objects.filter(role="super_admin", is_active=True).count())
"""


def make_people(cluster: Cluster) -> list[str]:
    """Return a refresh token and a ticket of a new user, beside whom there are super admins."""
    code = MAKE_PEOPLE.format(name=f"person-{next(NUMBERS)}")
    return cluster.manage("shell", "--verbosity", "0", "-c", code).stdout.split()


def test_exactly_one_has_new_tokens_or_a_stream_when_many_show_the_same_thing(
    cluster: Cluster,
) -> None:
    refresh_token, ticket = make_people(cluster)
    one = ["False"] * (RACERS - 1) + ["True"]
    assert sorted(race(cluster, "renew", refresh_token)) == one
    assert sorted(race(cluster, "open_stream", ticket)) == one


def test_one_super_admin_is_left_when_many_deactivate_all_of_them_at_once(
    cluster: Cluster,
) -> None:
    make_people(cluster)
    refused = race(cluster, "deactivate", "")
    assert len(set(refused)) == 1
    assert refused[0].isdigit()
    left = cluster.manage("shell", "--verbosity", "0", "-c", COUNT_SUPERS).stdout.strip()
    assert left == "1"


SECRETS = """
from backups.actions import nodes, sites, storages
from panel.accounts import sign_ins, tokens
from panel.accounts.models import User
config = {"bucket": "b", "region": "r", "access_key_id": "AKI", "secret_access_key": "s3cret-key"}
storages.create_storage(name="secret", type="s3", config=config)
node = nodes.add_node(name="secret-node", allowed_roots=["/srv"])
sites.create_site(node=node, name="secret.example", wp_path=f"{node.allowed_roots[0]}/secret",
                  db_password="s3cret-database")
user = User.objects.create_user("secret@example.com", "s3cret-password")
issued = tokens.issue(user)
ticket = sign_ins.give_stream_ticket(user=user, sign_in_id=None)
print("GIVEN", issued["access_token"], issued["refresh_token"], ticket)
"""


def test_no_row_holds_a_secret_in_plain_text(cluster: Cluster) -> None:
    said = cluster.manage("shell", "--verbosity", "0", "-c", SECRETS).stdout
    (given,) = (line.split()[1:] for line in said.splitlines() if line.startswith("GIVEN"))
    wanted = ["s3cret-key", "s3cret-database", "s3cret-password", *given]
    code = SEARCH.format(wanted=wanted)
    said = cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
    assert "SEARCHED" in said
    assert "FOUND" not in said
    # What is there is found.
    code = SEARCH.format(wanted=["secret@example.com"])
    assert "FOUND" in cluster.manage("shell", "--verbosity", "0", "-c", code).stdout
