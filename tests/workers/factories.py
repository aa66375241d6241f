"""Rows that many tests begin with."""

from __future__ import annotations

from pathlib import Path

from backups.actions import jobs
from backups.models import Job, Node, Site, Storage


def make_site(directory: Path, name: str = "example.com") -> Site:
    """Return a site without a database on a node of its own, stored in a folder."""
    content = directory / name / "wp-content"
    content.mkdir(parents=True)
    (content / "index.php").write_text("<?php // Silence is golden.\n")
    (directory / "store").mkdir(exist_ok=True)
    node, _ = Node.objects.get_or_create(name="web-01", allowed_roots=[str(directory)])
    storage, _ = Storage.objects.get_or_create(
        name="folder", type="local", config={"path": str(directory / "store")}, is_default=True
    )
    return Site.objects.create(
        name=name, node=node, storage=storage, wp_path=str(directory / name), db_engine="none"
    )


def dispatched_job(site: Site) -> Job:
    """Return a backup of the site that was given out but that nobody has claimed."""
    job = jobs.start_backup(site=site)
    Job.objects.filter(pk=job.pk).update(state="dispatched")
    return Job.objects.get(pk=job.pk)
