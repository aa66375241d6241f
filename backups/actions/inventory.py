"""Catalogue and storage held against each other: what one has and the other has not."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Any

from django.db.models import Q

from backups.actions import questions
from backups.actions.findings import note_findings
from backups.errors import DeletionRefusedError, DomainError, NodeUnavailableError
from backups.models import AuditSource, Backup, Job, Node, Site, Stage, Storage
from backups.queries import node_of_backup, nodes_with_live_workers
from backups.queries.checks import stored_backups
from backups.registry import NODE_BOUND_STORES
from backups.states import ACTIVE, StageState

# What is younger may belong to a job whose row is just being written.
SETTLED = timedelta(days=1)
PAGE_OBJECTS, MOST_SECONDS, POLL_SECONDS = 5000, 600, 0.2
_UUID = r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_BUNDLE = re.compile(rf"{_UUID}/{_UUID}/[^/]+")

MISSING, DIFFERS, ORPHAN, UPLOAD, UNSEEN = "missing", "differs", "orphan", "upload", "unseen"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it should be; `detail` is a sentence for a person.

    `missing` and `differs` are backups whose object is not there or has another size; `orphan` an
    object that no backup refers to; `upload` one that never ended; `unseen` a part of the storage
    that nobody could look at.
    """

    kind: str
    storage: str
    node: str
    key: str
    size: int
    detail: str
    backup_id: int | None = None
    modified_at: str = ""


@dataclass(frozen=True, slots=True)
class Listing:
    """What a node sees in a storage: objects by key, and unfinished uploads."""

    node: Node
    objects: dict[str, dict[str, Any]]
    uploads: list[dict[str, Any]]


def audit_storage(storage: Storage) -> list[Finding]:
    """Return every finding in a storage; backups that are not whole are noted on their rows."""
    findings: list[Finding] = []
    seen_orphans: set[str] = set()
    nodes = _nodes_to_ask(storage)
    if not nodes and storage.type not in NODE_BOUND_STORES:
        findings.append(Finding(UNSEEN, storage.name, "", "", 0, "There is no node to ask."))
    for node in nodes:
        # Before the listing: what is stored while it goes on must not look lost.
        rows = list(_rows_of(storage, node))
        try:
            listing = _listing(storage, node)
        except DomainError as error:
            findings.append(Finding(UNSEEN, storage.name, node.name, "", 0, error.message))
            continue
        findings += _not_whole(storage, rows, listing)
        orphans = [one for one in _orphans(storage, listing) if one.key not in seen_orphans]
        seen_orphans |= {one.key for one in orphans}
        findings += orphans
        findings += _unfinished(storage, listing)
    return findings


def delete_orphans(storage: Storage, findings: list[Finding]) -> list[str]:
    """Delete the objects that nothing refers to; return their keys.

    Raises `DeletionRefusedError` where the catalogue knows of nothing in the storage: then it is
    the catalogue that is lost, and these are the backups.
    """
    orphans = [one for one in findings if one.kind == ORPHAN]
    if orphans and not Backup.objects.filter(storage=storage).exclude(object_key="").exists():
        raise DeletionRefusedError(
            f"No backup refers to anything in {storage}: the catalogue may be lost, and these may "
            "be its backups. See: manage.py catalogue rebuild"
        )
    nodes = {node.name: node for node in Node.objects.filter(name__in={o.node for o in orphans})}
    deleted = []
    for orphan in orphans:
        if orphan.key not in _known_keys(storage):
            arguments = {"storage_id": storage.pk, "key": orphan.key}
            _asked(nodes[orphan.node], "delete_object", arguments)
            deleted.append(orphan.key)
    return deleted


def _nodes_to_ask(storage: Storage) -> list[Node]:
    """Return each node that has a folder of its own, or one that reaches the bucket."""
    if storage.type not in NODE_BOUND_STORES:
        return list(nodes_with_live_workers()[:1]) or list(Node.objects.all()[:1])
    made_here = Job.objects.filter(storage=storage).order_by().values("node").distinct()
    sites = Site.objects.filter(
        Q(storage=storage) | Q(pk__in=Backup.objects.filter(storage=storage).values("site"))
    )
    nodes = Node.objects.filter(Q(pk__in=made_here) | Q(pk__in=sites.order_by().values("node")))
    found = {node.pk: node for node in nodes}
    # Where its job is forgotten, the key names the node that made it: the site may have moved.
    forgotten = stored_backups().filter(storage=storage, job__isnull=True)
    forgotten = forgotten.select_related("site__node").defer("facts", "site__db_password")
    for backup in forgotten.iterator():
        found.setdefault((node := node_of_backup(backup)).pk, node)
    return sorted(found.values(), key=attrgetter("name"))


def _rows_of(storage: Storage, node: Node) -> Iterator[Backup]:
    backups = stored_backups().filter(storage=storage).select_related("job__node", "site__node")
    for backup in backups.defer("facts", "site__db_password"):
        if storage.type not in NODE_BOUND_STORES or node_of_backup(backup) == node:
            yield backup


def _listing(storage: Storage, node: Node) -> Listing:
    objects: dict[str, dict[str, Any]] = {}
    uploads: list[dict[str, Any]] = []
    after, more = "", True
    while more:
        arguments = {"storage_id": storage.pk, "after": after, "limit": PAGE_OBJECTS}
        page = _asked(node, "list_objects", arguments)
        objects |= {one["key"]: one for one in page["objects"]}
        uploads += page["uploads"]
        more = page["more"]
        after = page["objects"][-1]["key"] if more else ""
    return Listing(node, objects, uploads)


def _asked(node: Node, query: str, arguments: dict[str, Any]) -> dict[str, Any]:
    task_id = questions.ask(node=node, query=query, arguments=arguments)
    deadline = time.monotonic() + MOST_SECONDS
    while (answer := questions.read_answer(task_id=task_id)) is None:
        if time.monotonic() > deadline:
            raise NodeUnavailableError(f"{node} did not answer in {MOST_SECONDS} seconds.")
        time.sleep(POLL_SECONDS)
    return answer


def _not_whole(storage: Storage, rows: list[Backup], listing: Listing) -> Iterator[Finding]:
    for row in rows:
        found = listing.objects.get(row.object_key)
        if found is not None and found["size"] == row.size_bytes:
            continue
        if not stored_backups().filter(pk=row.pk).exists():
            continue  # removed while the storage was listed
        kind, words = MISSING, "The object is not there."
        if found is not None:
            kind = DIFFERS
            words = f"The object has {found['size']} bytes instead of {row.size_bytes}."
        note_findings({row.pk: words}, source=AuditSource.COMMAND)
        yield Finding(
            kind, storage.name, listing.node.name, row.object_key, row.size_bytes, words, row.pk
        )


def _orphans(storage: Storage, listing: Listing) -> Iterator[Finding]:
    known = _known_keys(storage)
    for key, found in listing.objects.items():
        # Other programs may keep what they like below the same prefix.
        if key in known or not _BUNDLE.fullmatch(key) or _is_young(found["modified_at"]):
            continue
        words = f"No backup refers to it; {_age(found['modified_at'])} old."
        yield Finding(
            ORPHAN, storage.name, listing.node.name, key, found["size"], words,
            modified_at=found["modified_at"],
        )  # fmt: skip


def _unfinished(storage: Storage, listing: Listing) -> Iterator[Finding]:
    wanted = _keys_of_jobs(storage)
    for upload in listing.uploads:
        key, begun = upload["key"], upload["begun_at"]
        if key in wanted or not _BUNDLE.fullmatch(key) or _is_young(begun):
            continue
        words = f"An upload that never ended; begun {_age(begun)} ago."
        yield Finding(UPLOAD, storage.name, listing.node.name, key, 0, words, modified_at=begun)


def _known_keys(storage: Storage) -> set[str]:
    """Return the keys that some row speaks of: backups', also those being removed, and jobs'."""
    backups = Backup.objects.filter(storage=storage).exclude(object_key="")
    return set(backups.values_list("object_key", flat=True)) | _keys_of_jobs(storage)


def _keys_of_jobs(storage: Storage) -> set[str]:
    """Return the keys of jobs that run, or that the agents are not done with."""
    at_work = Q(job__state__in=ACTIVE) | Q(job__cleanup_pending=True)
    kept = at_work | Q(job__work_kept_until__isnull=False)
    sealed = Stage.objects.filter(kept, job__storage=storage, name="create_bundle",
                                  state=StageState.COMPLETED)  # fmt: skip
    return {str(outputs.get("key", "")) for outputs in sealed.values_list("outputs", flat=True)}


def _is_young(moment: str) -> bool:
    return datetime.now(UTC) - datetime.fromisoformat(moment) < SETTLED


def _age(moment: str) -> str:
    days = (datetime.now(UTC) - datetime.fromisoformat(moment)).days
    return f"{days} day" if days == 1 else f"{days} days"
