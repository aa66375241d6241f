"""What must hold on every database that the panel's rows may live in."""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import sys

import pytest
from cryptography.fernet import Fernet

from tests.servers.cluster import ROOT, Cluster

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
def cluster(panel_database_url: str, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    # Nobody listens on port 9: what is started here must only be recorded.
    directory = tmp_path_factory.mktemp("cluster")
    nodes_reach = {
        "HOLDFAST_NODE_DATABASE_URL": "mysql://holdfast@db.example.com/holdfast",
        "HOLDFAST_NODE_BROKER_URL": "redis://redis.example.com/0",
    }
    cluster = Cluster(directory, panel_database_url, "redis://127.0.0.1:9/0", nodes_reach)
    cluster.manage("migrate", "--verbosity", "0")
    return cluster


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
        return dataclasses.replace(cluster, settings=settings)

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
    barrier = cluster.directory / f"go-{next(NUMBERS)}"
    environment = {**os.environ, **cluster.environment, "DJANGO_SETTINGS_MODULE": "panel.settings"}
    racers = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.contracts.race", one, str(barrier), subject],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        for one in each
    ]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    barrier.touch()
    said = [racer.communicate(timeout=60)[0].strip() for racer in racers]
    assert [racer.returncode for racer in racers] == [0] * len(each)
    return said


def test_migrations_are_complete_and_run_from_nothing(cluster: Cluster) -> None:
    cluster.manage("makemigrations", "--check", "--dry-run")
    assert "[ ]" not in cluster.manage("showmigrations", "--plan").stdout


def test_exactly_one_wins_when_many_start_a_backup_at_once(cluster: Cluster) -> None:
    site, _ = make_rows(cluster, with_job=False)
    said = race(cluster, "start", site)
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
