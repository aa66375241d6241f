"""What a site uses is on its row: the same as what its backups add up to, whatever happens."""

from __future__ import annotations

import pkgutil
import threading
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module

import pytest
from django.apps import apps
from django.db import connection
from django.db.models import Max, Sum
from django.db.models.functions import Now

from backups import migrations
from backups.actions import attempts
from backups.actions.backups import forget_backup
from backups.actions.usage import usage_kept
from backups.models import Backup, BackupStatus, Site, Storage
from tests.backups.conftest import claimed

OUTPUTS = {
    "key": "n/s/x.tar.zst",
    "size": 1234,
    "verified_by": "md5",
    "sha256": "",
    "facts": {},
    "suspicions": [],
}


def assert_true(site: Site, *, backups: int) -> None:
    """The columns say what the rows say, and there are so many good backups."""
    good = site.backups.filter(status=BackupStatus.SUCCESS)
    facts = good.aggregate(at=Max("created_at"), size=Sum("size_bytes"))
    site.refresh_from_db()
    assert site.backup_count == good.count() == backups
    assert site.storage_used_bytes == (facts["size"] or 0)
    assert site.last_backup == facts["at"]


def complete_a_backup(site: Site) -> None:
    """Take a job of the site through all its stages."""
    attempt: attempts.Attempt | None = claimed(site)
    for name in ("backup_files", "create_bundle", "upload_remote", "cleanup", None):
        assert attempt is not None
        assert attempts.finish_stage(
            attempt, outputs=OUTPUTS, detail="", warnings=[], progress=attempts.Progress()
        )
        if name:
            attempt = attempts.claim_stage(
                job_id=str(attempt.job_id), epoch=1, stage_name=name, worker="web-01.1@host"
            )


@pytest.mark.usefixtures("settled_dispatch")
@pytest.mark.django_db(transaction=True)
def test_usage_is_what_the_rows_say_when_jobs_end_and_backups_go(
    site: Site, other_site: Site, make_backup: Callable[..., Backup]
) -> None:
    assert_true(site, backups=0)
    complete_a_backup(site)
    assert_true(site, backups=1)
    assert site.storage_used_bytes == 1234
    complete_a_backup(site)
    assert_true(site, backups=2)
    attempt = claimed(site)
    attempts.fail_stage(attempt, code="x", message="Broken.", hint="", permanent=True)
    assert_true(site, backups=2)
    newest, oldest = site.backups.filter(status=BackupStatus.SUCCESS)
    forget_backup(backup=newest)
    assert_true(site, backups=1)
    forget_backup(backup=newest)
    assert_true(site, backups=1)
    forget_backup(backup=site.backups.get(status=BackupStatus.FAILED))
    assert_true(site, backups=1)
    forget_backup(backup=oldest)
    assert_true(site, backups=0)
    make_backup(other_site, b"of another site")
    assert_true(site, backups=0)
    assert_true(other_site, backups=1)


def test_usage_of_old_sites_is_there_when_the_migration_has_run(
    site: Site, other_site: Site, make_backup: Callable[..., Backup]
) -> None:
    make_backup(site, b"old")
    make_backup(site, b"older", number=2)
    make_backup(site, number=3, status=BackupStatus.FAILED)
    Site.objects.update(backup_count=7, last_backup=None, storage_used_bytes=7)
    names = [name for _, name, _ in pkgutil.iter_modules(migrations.__path__)]
    scale = next(name for name in names if name.endswith("_scale"))
    import_module(f"{migrations.__name__}.{scale}").count_what_sites_use(apps, None)
    assert_true(site, backups=2)
    assert_true(other_site, backups=0)


def test_one_of_a_clock_that_was_ahead_is_not_the_newest_good_one(
    site: Site, make_backup: Callable[..., Backup]
) -> None:
    """The site would look protected until that time comes."""
    good = make_backup(site)
    make_backup(site, number=2, created_at=good.created_at + timedelta(days=400))
    site.refresh_from_db()
    assert (site.backup_count, site.last_backup) == (2, good.created_at)


def test_what_is_amiss_is_counted_when_the_migration_has_run(
    site: Site, other_site: Site, make_backup: Callable[..., Backup]
) -> None:
    good = make_backup(site)
    Backup.objects.filter(pk=make_backup(site, number=2).pk).update(check_problem="Gone.")
    make_backup(other_site, number=3)
    names = [name for _, name, _ in pkgutil.iter_modules(migrations.__path__)]
    keepers = next(name for name in names if name.endswith("_keepers"))
    import_module(f"{migrations.__name__}.{keepers}").count_what_is_amiss(apps, None)
    site.refresh_from_db()
    assert (site.backups_amiss, site.last_backup) == (1, good.created_at)
    assert_true(other_site, backups=1)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_lost_when_many_change_a_sites_backups_at_once(
    site: Site, storage: Storage, make_backup: Callable[..., Backup]
) -> None:
    """On SQLite writers wait for one another anyway; `test_panel_databases` has the others."""
    old = [make_backup(site, number=number) for number in range(4)]
    barrier = threading.Barrier(8)

    def change(number: int) -> None:
        try:
            barrier.wait(30)
            if number < len(old):
                forget_backup(backup=old[number])
                return
            with usage_kept(site.pk):
                Backup.objects.create(
                    site_id=site.pk,
                    storage=storage,
                    status=BackupStatus.SUCCESS,
                    size_bytes=10**number,
                    created_at=Now(),
                )
        finally:
            connection.close()

    threads = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert_true(site, backups=4)
